"""PyTorch, optimised: an `autograd.Function` over MKL's sparse products.

This is the fastest sparse layer that we know of in PyTorch. It stores the transpose and permutes
its values in each step, and it computes the gradient of weights at existing edges only.
"""

from abc import abstractmethod

import torch

from .bases.torch_stack import TorchStack


class ExpertStack(TorchStack):
    """Weights by slot. The products read CSR matrices that share their memory."""

    by_row = False

    def __init__(self, case, parameters, threads):
        self.products = []
        super().__init__(case, parameters, threads)

    @abstractmethod
    def _weight_gradient(self, layer):
        """Return a callable that takes dy and x and returns dy xᵀ at existing edges, by slot."""

    def _weight(self, layer, w):
        values = torch.from_numpy(w)
        self.products.append(Products(layer, values, self._weight_gradient(layer)))
        return values

    def _signals(self, k, W, b, x):
        return SparseProduct.apply(W, x, self.products[k]) + b

    def _by_slot(self, k, gradient):
        return gradient


class TorchExpert(ExpertStack):
    """The weight's gradient by `torch.sparse.sampled_addmm`."""

    name = "PyTorch expert"

    def _weight_gradient(self, layer):
        zeros = torch.zeros(len(layer.edge))
        pattern = csr(layer.ptr, layer.source, zeros, layer.shape)
        return lambda dy, x: torch.sparse.sampled_addmm(pattern, dy, x.T, beta=0.0).values()


class SparseProduct(torch.autograd.Function):
    """W x for x (n_in, batch), where W is a layer's values by slot."""

    @staticmethod
    def forward(ctx, values, x, products):
        """Return W x."""
        ctx.save_for_backward(x)
        ctx.products = products
        return products.W @ x

    @staticmethod
    def backward(ctx, dy):
        """Return dW = dy xᵀ at existing edges, and dx = Wᵀ dy if a layer below needs it."""
        (x,), products = ctx.saved_tensors, ctx.products
        dx = products.transposed() @ dy if ctx.needs_input_grad[1] else None
        return products.weight_gradient(dy, x), dx, None


class Products:
    """The matrix of a layer and its transpose. The values are updated in place.

    Parameters
    ----------
    layer : Layer
    values : tensor (E,)
        By slot; not copied.
    weight_gradient : callable
        Takes dy and x, returns dy xᵀ at existing edges, by slot.
    """

    def __init__(self, layer, values, weight_gradient):
        self.values, self.weight_gradient = values, weight_gradient
        self.W = csr(layer.ptr, layer.source, values, layer.shape)
        self.out_slot = torch.from_numpy(layer.out_slot)
        self.out_values = values[self.out_slot]
        self.W_out = csr(layer.out_ptr, layer.out_target, self.out_values, layer.shape[::-1])

    def transposed(self):
        """Return the transpose with the current values."""
        torch.index_select(self.values.detach(), 0, self.out_slot, out=self.out_values)
        return self.W_out


def csr(ptr, columns, values, shape):
    """Return a CSR matrix that shares these arrays."""
    parts = torch.from_numpy(ptr), torch.from_numpy(columns), values.detach()
    return torch.sparse_csr_tensor(*parts, shape, check_invariants=False)
