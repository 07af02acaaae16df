"""SparseLab, a C++ extension of PyTorch; and its fastest kernel within `ExpertStack`."""

import numpy as np
import torch
from sparselab import PaddedCSR, SparseLinear, _core, ops

from .bases.torch_stack import TorchStack
from .torch_expert import ExpertStack, csr


class SparseLab(TorchStack):
    """`SparseLinear` layers, with SparseLab's default of spare room in each row.

    SparseLab keeps a cache of transposes by ``id(W)``. A new layer could get the transpose of a
    deleted one, so the cache is cleared here.
    """

    name = "SparseLab"
    package = "sparselab"

    def __init__(self, case, parameters, threads):
        ops._clear_transpose_cache()
        self.linears, self.slots = [], []
        super().__init__(case, parameters, threads)

    def _weight(self, layer, w):
        linear = SparseLinear(layer.n_in, layer.n_out, bias=False)
        linear._csr, slots = padded(layer, w)
        linear._values = torch.nn.Parameter(torch.from_numpy(np.asarray(linear._csr.values)))
        self.linears.append(linear)
        self.slots.append(slots)
        return linear._values

    def _signals(self, k, W, b, x):
        return self.linears[k](x) + b

    def _by_slot(self, k, gradient):
        return gradient[self.slots[k]]


class TorchComposite(ExpertStack):
    """The PyTorch expert's layer with SparseLab's kernel for the weight's gradient."""

    name = "PyTorch expert, SparseLab's dW"
    package = "sparselab"

    def _weight_gradient(self, layer):
        matrix, slots = padded(layer, np.zeros(len(layer.edge), np.float32), 0.0)
        has_gaps = len(slots) < len(matrix.values)  # a row without edges has room for one edge

        def product(dy, x):
            dw = _core.spmm_grad_w_simd(matrix, dy.contiguous().numpy(), x.contiguous().numpy())
            return torch.from_numpy(dw)[slots] if has_gaps else torch.from_numpy(dw)

        return product


def padded(layer, w, padding_ratio=0.2):
    """Return SparseLab's matrix of a layer, and the place of each slot's value in it."""
    tight = csr(layer.ptr, layer.source, torch.from_numpy(w), layer.shape)
    matrix = PaddedCSR.from_torch_sparse_csr(tight, padding_ratio=padding_ratio)
    within = np.arange(len(w)) - layer.ptr[layer.target]
    return matrix, torch.from_numpy(np.asarray(matrix.row_start)[layer.target] + within)
