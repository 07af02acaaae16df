"""Helper of layered peers: the edges of a layered case, layer by layer.

It uses NumPy and SciPy only, so that the start-up times of peers do not include dagbp.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp


class Layer(NamedTuple):
    """The edges between two layers as a CSR matrix of shape (n_out, n_in), and its transpose.

    Attributes
    ----------
    n_out, n_in : int
        Nodes of the layer, and of the one below.
    ptr, source, target : int64 (n_out + 1,), int32 (E,), int32 (E,)
        Slots order the edges by target, then by source. Nodes are counted within their layer.
    out_ptr, out_target, out_slot : int64 (n_in + 1,), int32 (E,), int64 (E,)
        The same edges by source, and the slot of each.
    edge : int64 (E,)
        The case's edge in each slot.
    """

    n_out: int
    n_in: int
    ptr: np.ndarray
    source: np.ndarray
    target: np.ndarray
    out_ptr: np.ndarray
    out_target: np.ndarray
    out_slot: np.ndarray
    edge: np.ndarray

    @property
    def shape(self):
        """Shape of the layer's matrix."""
        return self.n_out, self.n_in

    def dense(self, w):
        """Return values by slot as a matrix with zeros where there is no edge."""
        W = np.zeros(self.shape, w.dtype)
        W[self.target, self.source] = w
        return W


class Layers:
    """The layers of a case. Distributes the case's parameters among them."""

    def __init__(self, case):
        first = np.cumsum([0, *case.levels])
        below = np.searchsorted(first, case.src, side="right") - 1  # an edge's lower layer
        assert (case.dst >= first[below + 1]).all()
        assert (case.dst < first[below + 2]).all()
        self.n_edges = case.n_edges
        self.cuts = first[2:-1] - first[1]  # between the layers' biases
        self.layers = []
        for k, (n_in, n_out) in enumerate(pairwise(case.levels)):
            edge = np.flatnonzero(below == k)
            source, target = case.src[edge] - first[k], case.dst[edge] - first[k + 1]
            self.layers.append(_make_layer(n_out, n_in, source, target, edge))

    def __iter__(self):
        return iter(self.layers)

    def __len__(self):
        return len(self.layers)

    def from_case(self, parameters):
        """Return each layer's weights by slot, and each layer's biases."""
        weights = [parameters[: self.n_edges][layer.edge] for layer in self.layers]
        return weights, np.split(parameters[self.n_edges :], self.cuts)

    def to_case(self, weights, biases):
        """Return values in the order of the case's parameters; inverts `from_case`."""
        flat = np.empty(self.n_edges, weights[0].dtype)
        for layer, values in zip(self.layers, weights, strict=True):
            flat[layer.edge] = values
        return np.concatenate([flat, *biases])


def _make_layer(n_out, n_in, source, target, edge):
    into = _csr(target, source, edge, (n_out, n_in))
    by_slot = np.repeat(np.arange(n_out, dtype=np.int32), np.diff(into.indptr))
    out = _csr(into.indices, by_slot, np.arange(len(edge)), (n_in, n_out))
    return Layer(
        n_out=n_out,
        n_in=n_in,
        ptr=into.indptr,
        source=into.indices,
        target=by_slot,
        out_ptr=out.indptr,
        out_target=out.indices,
        out_slot=out.data,
        edge=into.data,
    )


def _csr(rows, columns, values, shape):
    """Return a sorted CSR matrix. Its column indices are int32: all libraries read them fastest."""
    matrix = sp.csr_array((values, (rows, columns)), shape=shape)
    matrix.sort_indices()
    matrix.indices = matrix.indices.astype(np.int32, copy=False)
    return matrix
