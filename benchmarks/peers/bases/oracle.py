"""The reference gradient in float64, and a choice of samples away from the kinks of relu."""

import numpy as np
import scipy.sparse as sp

from .levels import make_levels

GATHERED = 4096  # edges whose rows are gathered at a time


class Oracle:
    """The network in float64; rows are nodes, columns are samples (see `Levels`).

    Parameters
    ----------
    case : networks.Case
    parameters : array
    sigmoid : bool
        Sigmoid in every computed node, outputs included. Default: relu, and identity of outputs.
    """

    def __init__(self, case, parameters, sigmoid=False):
        self.case, self.levels, self.sigmoid = case, make_levels(case), sigmoid
        levels, shape = self.levels, (case.n_nodes, case.n_nodes)
        w, b = levels.from_case(case, parameters.astype(np.float64))
        self.b = b[:, None]
        self.W = sp.csr_array((w, levels.in_src, levels.in_ptr), shape=shape)
        self.W_out = sp.csr_array((w[levels.out_slot], levels.out_dst, levels.out_ptr), shape=shape)

    def signals(self, X):
        """Return s of every computed row: s_j = w_0j + sum over i->j of w_ij x_i."""
        return self._forward(X)[0]

    def gradient(self, X, Y):
        """Return the mean squared error's gradient, in the order of the case's parameters."""
        levels, (_, x) = self.levels, self._forward(X)
        delta = np.zeros_like(x)
        delta[levels.outputs] = 2 * (x[levels.outputs] - Y.T) / len(X)
        if self.sigmoid:
            delta[levels.outputs] *= self._slope(x[levels.outputs])
        for first, output, _ in reversed(levels.spans):
            hidden = slice(first, output)
            delta[hidden] = (self.W_out[hidden] @ delta) * self._slope(x[hidden])
        dw = np.empty(len(levels.edge))
        for k in range(0, len(dw), GATHERED):
            piece = slice(k, k + GATHERED)
            x_source, delta_target = x[levels.in_src[piece]], delta[levels.target[piece]]
            dw[piece] = np.einsum("eb,eb->e", x_source, delta_target)
        return levels.to_case(self.case, dw, delta[levels.n_inputs :].sum(axis=1))

    def _slope(self, x):
        """Return θ' from x = θ(s)."""
        return x * (1 - x) if self.sigmoid else x > 0

    def _forward(self, X):
        """Return s of the computed rows, and x of all."""
        n_inputs = self.levels.n_inputs
        x = np.zeros((self.levels.n_nodes, len(X)))
        x[:n_inputs] = X.T
        s = np.empty((len(x) - n_inputs, len(X)))
        for first, output, end in self.levels.spans:
            rows = slice(first - n_inputs, end - n_inputs)
            s[rows] = self.W[first:end] @ x + self.b[rows]
            if self.sigmoid:
                x[first:end] = 1 / (1 + np.exp(-s[rows]))
            else:
                x[first:end] = s[rows]
                np.maximum(x[first:output], 0, out=x[first:output])
        return s, x


def clear_of_kinks(oracle, X, size):
    """Return the `size` samples with signals farthest from 0, the kink of relu.

    Near the kink a rounding error decides on relu's derivative, so that correct gradients differ by
    the share of a whole sample. Distances are relative to a signal's mean over the samples.
    """
    distance = np.abs(oracle.signals(X))
    distance /= np.maximum(distance.mean(axis=1, keepdims=True), np.finfo(float).tiny)
    return X[np.sort(np.argsort(distance.min(axis=0))[-size:])]
