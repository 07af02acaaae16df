"""Base class: a training step written by hand on NumPy arrays. Subclasses run the passes."""

from abc import ABC, abstractmethod

import numpy as np

from .. import LEARNING_RATE
from .levels import make_levels


class ByHand(ABC):
    """Parameters, buffers and SGD. Activations and sensitivities are arrays (n_nodes, batch).

    Weights `w` and their gradient `dw` are ordered by slot (see `Levels`), `w_out` by source; `b`
    and `db` by row above the inputs. All are updated in place, so that peers can keep views.
    """

    package = None

    def __init__(self, case, parameters, threads):
        self.case, self.levels = case, make_levels(case)
        self.w, self.b = self.levels.from_case(case, parameters)
        self.w_out = self.w[self.levels.out_slot]
        self.dw, self.db = np.zeros_like(self.w), np.zeros_like(self.b)

    @abstractmethod
    def _forward(self, X, x):
        """Fill the activations x from the features X."""

    @abstractmethod
    def _backward(self):
        """Fill `dw` and the rows of `delta`, except those of outputs, which are filled already."""

    def set_batch(self, X, Y):
        """Store a batch, and allocate the buffers for its size."""
        self.X, self.Y = X, Y
        shape = self.levels.n_nodes, len(X)
        self.x, self.delta = np.zeros(shape, X.dtype), np.zeros(shape, X.dtype)

    def step(self):
        """Take one training step."""
        self.raw_gradient()
        self.w -= LEARNING_RATE * self.dw
        self.b -= LEARNING_RATE * self.db
        np.take(self.w, self.levels.out_slot, out=self.w_out)

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        return self.levels.to_case(self.case, *self.raw_gradient())

    def raw_gradient(self):
        """Return the gradient by slot, and by row."""
        self._forward(self.X, self.x)
        outputs = self.levels.outputs
        self.delta[outputs] = (self.x[outputs] - self.Y.T) * (2 / len(self.X))
        self._backward()
        self.delta[self.levels.n_inputs :].sum(axis=1, out=self.db)
        return self.dw, self.db

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        x = np.empty((self.levels.n_nodes, len(X)), X.dtype)
        self._forward(X, x)
        return x[self.levels.outputs].T
