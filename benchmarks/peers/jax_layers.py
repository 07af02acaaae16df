"""JAX: one compiled step over dense layers, or over its BCOO matrices."""

from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from . import LEARNING_RATE
from .bases.layers import Layers


class JaxStack(ABC):
    """Layers under `jax.grad` and `jax.jit`; a step donates the memory of the parameters."""

    package = "jax"

    def __init__(self, case, parameters, threads):
        self.layers = Layers(case)
        weights, biases = self.layers.from_case(parameters)
        pairs = zip(self.layers, weights, strict=True)
        self.parameters = (
            [jnp.asarray(self._weight(layer, w)) for layer, w in pairs],
            [jnp.asarray(b) for b in biases],
        )
        self.forward = jax.jit(self._forward)
        self.differentiate = jax.jit(jax.grad(self._loss))
        self.update = jax.jit(self._update, donate_argnums=0)

    @abstractmethod
    def _weight(self, layer, w):
        """Return the trained array of a layer, from its weights by slot."""

    @abstractmethod
    def _forward(self, parameters, X):
        """Return the outputs, (n_samples, n_outputs)."""

    @abstractmethod
    def _by_slot(self, layer, gradient):
        """Return a weight's gradient by slot."""

    def set_batch(self, X, Y):
        """Store a batch."""
        self.X, self.Y = jnp.asarray(X), jnp.asarray(Y)

    def step(self):
        """Take one training step."""
        self.parameters = self.update(self.parameters, self.X, self.Y)
        jax.block_until_ready(self.parameters)

    def raw_gradient(self):
        """Return the gradient, one array a layer."""
        return jax.block_until_ready(self.differentiate(self.parameters, self.X, self.Y))

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        weights, biases = self.raw_gradient()
        pairs = zip(self.layers, weights, strict=True)
        by_slot = [self._by_slot(layer, np.asarray(dW)) for layer, dW in pairs]
        return self.layers.to_case(by_slot, [np.asarray(b) for b in biases])

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        return np.asarray(self.forward(self.parameters, X))

    def _loss(self, parameters, X, Y):
        return ((self._forward(parameters, X) - Y) ** 2).sum() / len(X)

    def _update(self, parameters, X, Y):
        gradient = jax.grad(self._loss)(parameters, X, Y)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradient)


class JaxDense(JaxStack):
    """Dense layers with zeros for absent edges. The zeros train too."""

    name = "JAX dense"

    def _weight(self, layer, w):
        return layer.dense(w)

    def _forward(self, parameters, X):
        *hidden, last = zip(*parameters, strict=True)
        for W, b in hidden:
            X = jax.nn.relu(X @ W.T + b)
        return X @ last[0].T + last[1]

    def _by_slot(self, layer, gradient):
        return gradient[layer.target, layer.source]


class JaxBCOO(JaxStack):
    """`jax.experimental.sparse`: its products become gathers and scatters on the CPU."""

    name = "JAX BCOO"

    def __init__(self, case, parameters, threads):
        super().__init__(case, parameters, threads)
        pairs = [np.stack([layer.target, layer.source], axis=1) for layer in self.layers]
        self.indices = [jnp.asarray(pair) for pair in pairs]

    def _weight(self, layer, w):
        return w

    def _forward(self, parameters, X):
        x = X.T
        for k, (layer, w, b) in enumerate(zip(self.layers, *parameters, strict=True)):
            W = sparse.BCOO(
                (w, self.indices[k]), shape=layer.shape, indices_sorted=True, unique_indices=True
            )
            x = W @ x + b[:, None]
            x = jax.nn.relu(x) if k < len(self.layers) - 1 else x
        return x.T

    def _by_slot(self, layer, gradient):
        return gradient
