"""NumPy, node by node: a textbook's equations, with arrays over samples."""

from itertools import pairwise

import numpy as np

from .bases.by_hand import ByHand


class NumpyNodes(ByHand):
    """Each node gathers the rows of its sources, and takes one matrix-vector product."""

    name = "NumPy per node"

    def __init__(self, case, parameters, threads):
        super().__init__(case, parameters, threads)
        levels = self.levels
        is_output = np.zeros(levels.n_nodes, bool)
        is_output[levels.outputs] = True
        self.is_output = is_output.tolist()
        # Views are made once: slicing costs more than a small product.
        in_pieces = _slices(levels.in_ptr)
        self.sources = [levels.in_src[piece] for piece in in_pieces]
        self.weights = [self.w[piece] for piece in in_pieces]
        self.weight_gradients = [self.dw[piece] for piece in in_pieces]
        out_pieces = _slices(levels.out_ptr)
        self.targets = [levels.out_dst[piece] for piece in out_pieces]
        self.out_weights = [self.w_out[piece] for piece in out_pieces]

    def _forward(self, X, x):
        """s_j = w_0j + sum over i->j of w_ij x_i,  x_j = max(s_j, 0)."""
        n_inputs = self.levels.n_inputs
        x[:n_inputs] = X.T
        for j in range(n_inputs, self.levels.n_nodes):
            s = np.dot(self.weights[j], x.take(self.sources[j], axis=0), out=x[j])
            s += self.b[j - n_inputs]
            if not self.is_output[j]:
                np.maximum(s, 0, out=s)

    def _backward(self):
        """delta_i = θ'(s_i) sum over i->j of w_ij delta_j,  dw_ij = sum over samples of x_i δ_j."""
        x, delta, levels = self.x, self.delta, self.levels
        for j in range(levels.n_nodes - 1, levels.n_inputs - 1, -1):
            if not self.is_output[j]:
                np.dot(self.out_weights[j], delta.take(self.targets[j], axis=0), out=delta[j])
                delta[j] *= x[j] > 0
            np.dot(x.take(self.sources[j], axis=0), delta[j], out=self.weight_gradients[j])


def _slices(ptr):
    return [slice(start, stop) for start, stop in pairwise(ptr.tolist())]
