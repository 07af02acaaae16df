"""Base class of PyTorch's layered peers: autograd, loss and SGD. Subclasses define a layer."""

from abc import ABC, abstractmethod

import torch

from .. import LEARNING_RATE
from .layers import Layers


class TorchStack(ABC):
    """Layers under autograd.

    With ``by_row`` activations are (batch, nodes), as in `torch.nn`; otherwise (nodes, batch), the
    layout for products with a sparse matrix on the left.
    """

    package = "torch"
    by_row = True

    def __init__(self, case, parameters, threads):
        torch.set_num_threads(threads)
        self.layers = Layers(case)
        weights, biases = self.layers.from_case(parameters)
        self.weights = [
            self._weight(layer, w) for layer, w in zip(self.layers, weights, strict=True)
        ]
        self.biases = [torch.tensor(b if self.by_row else b[:, None]) for b in biases]
        for parameter in (*self.weights, *self.biases):
            parameter.requires_grad_()

    @abstractmethod
    def _weight(self, layer, w):
        """Return the trained tensor of a layer, from its weights by slot; called once a layer."""

    @abstractmethod
    def _signals(self, k, W, b, x):
        """Return layer k's signals."""

    @abstractmethod
    def _by_slot(self, k, gradient):
        """Return the gradient of layer k's weights by slot."""

    def set_batch(self, X, Y):
        """Store a batch."""
        self.X, self.Y = self._laid_out(X), self._laid_out(Y)
        self.n_samples = len(X)

    def step(self):
        """Take one training step."""
        self.raw_gradient()
        with torch.no_grad():
            self._update()

    def raw_gradient(self):
        """Store the gradient in the parameters' ``grad``."""
        for parameter in (*self.weights, *self.biases):
            parameter.grad = None
        loss = ((self._forward(self.X) - self.Y) ** 2).sum() / self.n_samples
        loss.backward()

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        self.raw_gradient()
        weights = [self._by_slot(k, W.grad).numpy() for k, W in enumerate(self.weights)]
        return self.layers.to_case(weights, [b.grad.numpy().ravel() for b in self.biases])

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        with torch.no_grad():
            y = self._forward(self._laid_out(X)).float().numpy()
        return y if self.by_row else y.T

    def _update(self):
        """Take a step of plain SGD in place; faster than `torch.optim`."""
        for parameter in (*self.weights, *self.biases):
            parameter.sub_(parameter.grad, alpha=LEARNING_RATE)

    def _forward(self, x):
        last = len(self.layers) - 1
        for k, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = self._signals(k, W, b, x)
            x = torch.relu(x) if k < last else x
        return x

    def _laid_out(self, X):
        return torch.from_numpy(X) if self.by_row else torch.from_numpy(X).T.contiguous()
