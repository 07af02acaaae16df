"""SciPy: one CSR product a layer in each direction, and NumPy for the gradient of weights."""

import time

import numpy as np
import scipy.sparse as sp

from . import LEARNING_RATE
from .bases.layers import Layers

GATHERED = 1024  # edges whose rows are gathered at a time: both factors stay in a core's L2 cache


class ScipyLayers:
    """Activations and sensitivities are (nodes, batch)."""

    name = "SciPy CSR"
    package = None

    def __init__(self, case, parameters, threads):
        self.layers = Layers(case)
        self.w, self.b = self.layers.from_case(parameters)
        self.w_out = [w[layer.out_slot] for layer, w in zip(self.layers, self.w, strict=True)]
        self.W = [
            sp.csr_array((w, layer.source, layer.ptr), shape=layer.shape)
            for layer, w in zip(self.layers, self.w, strict=True)
        ]
        self.W_out = [
            sp.csr_array((w, layer.out_target, layer.out_ptr), shape=layer.shape[::-1])
            for layer, w in zip(self.layers, self.w_out, strict=True)
        ]

    def set_batch(self, X, Y):
        """Store a batch, and choose the fastest gradient of weights for each layer."""
        self.X, self.Y = np.ascontiguousarray(X.T), np.ascontiguousarray(Y.T)
        self.weight_gradient = [_fastest(layer, len(X)) for layer in self.layers]

    def step(self):
        """Take one training step."""
        for k, (dw, db) in self._gradients():
            self.w[k] -= LEARNING_RATE * dw
            self.b[k] -= LEARNING_RATE * db
            np.take(self.w[k], self.layers.layers[k].out_slot, out=self.w_out[k])

    def raw_gradient(self):
        """Return the gradient, a pair (weights, biases) a layer, from the first."""
        return [pair for _, pair in self._gradients()][::-1]

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        return self.layers.to_case(*zip(*self.raw_gradient(), strict=True))

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        return self._forward(X.T)[-1].T

    def _forward(self, x):
        """Return the activations of every layer, from the inputs on."""
        xs = [x]
        for k, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            s = W @ xs[-1]
            s += b[:, None]
            if k < len(self.layers) - 1:
                np.maximum(s, 0, out=s)
            xs.append(s)
        return xs

    def _gradients(self):
        """Yield (k, (dw, db)) from the last layer to the first. Layer k is not read after that."""
        xs = self._forward(self.X)
        delta = (xs[-1] - self.Y) * np.float32(2 / self.Y.shape[1])
        for k in reversed(range(len(self.layers))):
            dw, db = self.weight_gradient[k](self.layers.layers[k], xs[k], delta), delta.sum(axis=1)
            if k > 0:
                delta = self.W_out[k] @ delta
                delta *= xs[k] > 0
            yield k, (dw, db)


def by_dense_product(layer, x, delta):
    """Return dw_ij = sum over samples of δ_i x_j by slot, from the whole matrix."""
    return (delta @ x.T)[layer.target, layer.source]


def by_gathering(layer, x, delta):
    """Return the same, computed at existing edges only."""
    dw = np.empty(len(layer.edge), x.dtype)
    for k in range(0, len(dw), GATHERED):
        piece = slice(k, k + GATHERED)
        x_source, delta_target = x[layer.source[piece]], delta[layer.target[piece]]
        np.einsum("eb,eb->e", x_source, delta_target, out=dw[piece])
    return dw


def _fastest(layer, n_samples):
    """Return the faster of two functions for this layer and batch."""
    x, delta = (np.ones((n, n_samples), np.float32) for n in (layer.n_in, layer.n_out))
    took = {}
    for way in (by_dense_product, by_gathering):
        way(layer, x, delta)
        start = time.perf_counter()
        way(layer, x, delta)
        took[way] = time.perf_counter() - start
    return min(took, key=took.get)
