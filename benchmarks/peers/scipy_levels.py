"""SciPy: a CSR product for each level, forward and backward; SGD in place."""

import numpy as np
import scipy.sparse as sp

from .bases.by_hand import ByHand

GATHERED = 1024  # edges whose rows are gathered at a time: both factors stay in a core's L2 cache


class ScipyLevels(ByHand):
    """One matrix a level in each direction. Its values are views of the weights."""

    name = "SciPy CSR per level"

    def __init__(self, case, parameters, threads):
        super().__init__(case, parameters, threads)
        levels = self.levels
        computed = [(first, end) for first, _, end in levels.spans]
        self.hidden = [(first, output) for first, output, _ in levels.spans]
        self.products = _products(levels.in_ptr, levels.in_src, self.w, computed)
        self.back_products = _products(levels.out_ptr, levels.out_dst, self.w_out, self.hidden)

    def _forward(self, X, x):
        n_inputs = self.levels.n_inputs
        x[:n_inputs] = X.T
        for (first, output, end), W in zip(self.levels.spans, self.products, strict=True):
            np.add(W @ x, self.b[first - n_inputs : end - n_inputs, None], out=x[first:end])
            np.maximum(x[first:output], 0, out=x[first:output])

    def _backward(self):
        x, delta = self.x, self.delta
        for (first, end), W in zip(
            reversed(self.hidden), reversed(self.back_products), strict=True
        ):
            if end > first:
                np.multiply(W @ delta, x[first:end] > 0, out=delta[first:end])
        self._weight_gradient()

    def _weight_gradient(self):
        """dw_e = sum over samples of x_source delta_target, at existing edges only.

        This is faster on all graphs here than a dense product a level.
        """
        sources, targets = self.levels.in_src, self.levels.target
        for k in range(0, len(self.w), GATHERED):
            piece = slice(k, k + GATHERED)
            x = self.x.take(sources[piece], axis=0)
            delta = self.delta.take(targets[piece], axis=0)
            np.einsum("eb,eb->e", x, delta, out=self.dw[piece])


def _products(ptr, columns, values, spans):
    """Return a matrix of each span of rows. Its values are views, so updates change them."""
    matrices = []
    for first, end in spans:
        slots = slice(ptr[first], ptr[end])
        matrix = sp.csr_array((end - first, len(ptr) - 1), dtype=values.dtype)
        matrix.data, matrix.indices = values[slots], columns[slots]
        matrix.indptr = ptr[first : end + 1] - ptr[first]
        matrices.append(matrix)
    return matrices
