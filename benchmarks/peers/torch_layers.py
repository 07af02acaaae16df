"""PyTorch layers: dense, dense in bfloat16, masked, and CSR."""

import numpy as np
import torch
from torch.nn.functional import linear

from . import LEARNING_RATE
from .bases.torch_stack import TorchStack


class TorchMatrices(TorchStack):
    """Dense matrices with zeros for absent edges. Subclasses define the product."""

    def __init__(self, case, parameters, threads):
        self.masks = []
        super().__init__(case, parameters, threads)

    def _weight(self, layer, w):
        self.masks.append(torch.from_numpy(layer.dense(np.ones_like(w))))
        return torch.from_numpy(layer.dense(w))

    def _by_slot(self, k, gradient):
        layer = self.layers.layers[k]
        return gradient[layer.target, layer.source]


class TorchDense(TorchMatrices):
    """The zeros train too."""

    name = "PyTorch dense"

    def _signals(self, k, W, b, x):
        return linear(x, W, b)


class TorchBfloat16(TorchMatrices):
    """The same under autocast: products in bfloat16."""

    name = "PyTorch dense, bf16 autocast"
    exact = False

    def _signals(self, k, W, b, x):
        with torch.autocast("cpu", torch.bfloat16):
            return linear(x, W, b)


class TorchMasked(TorchMatrices):
    """The matrices times a mask, as in pruning libraries."""

    name = "PyTorch masked"

    def _signals(self, k, W, b, x):
        return linear(x, W * self.masks[k], b)


class TorchCSR(TorchStack):
    """`torch.sparse.mm` of a CSR weight. Its gradient is sparse.

    The gradients of `linear(x, W)` and ``W @ x`` are dense.
    """

    name = "torch.sparse CSR"
    by_row = False

    def _weight(self, layer, w):
        parts = (torch.from_numpy(a) for a in (layer.ptr, layer.source, w))
        return torch.sparse_csr_tensor(*parts, layer.shape, check_invariants=False)

    def _signals(self, k, W, b, x):
        return torch.sparse.mm(W, x) + b

    def _by_slot(self, k, gradient):
        return gradient.values()

    def _update(self):
        for W in self.weights:
            W.values().sub_(W.grad.values(), alpha=LEARNING_RATE)
        for b in self.biases:
            b.sub_(b.grad, alpha=LEARNING_RATE)
