"""ffnet: arbitrary DAGs in Fortran, float64, sigmoid in every node, outputs included."""

import numpy as np
from ffnet import ffnet
from ffnet.fortran import _ffnet as propagation

from . import LEARNING_RATE


class Ffnet:
    """The gradient routine of `ffnet.train_*`, without their scaling of the data, plus SGD.

    Its constructor searches a list for each edge, which takes minutes beyond 100,000 edges.
    """

    name = "ffnet (float64, sigmoid)"
    package = "ffnet"
    activation = "sigmoid"

    def __init__(self, case, parameters, threads):
        src = np.concatenate([case.src + 1, np.zeros_like(case.computed)])  # node 0 is the bias
        dst = np.concatenate([case.dst, case.computed]) + 1
        self.net = ffnet(list(zip(src.tolist(), dst.tolist(), strict=True)))
        # ffnet has its own order of edges and ports.
        n = case.n_nodes + 1
        keys, order = src * n + dst, np.asarray(self.net.conec, np.int64) @ [n, 1]
        rank = np.argsort(keys)
        self.parameter = rank[np.searchsorted(keys[rank], order)]
        self.net.weights = parameters[self.parameter].astype(np.float64)
        self.columns = _places(case.inputs, self.net.inno)
        self.out_columns = _places(case.outputs, self.net.outno)

    def set_batch(self, X, Y):
        """Store a batch in Fortran's layout."""
        self.X = np.asfortranarray(X[:, self.columns], np.float64)
        self.Y = np.asfortranarray(Y[:, self.out_columns], np.float64)

    def step(self):
        """Take one training step."""
        self.net.weights -= LEARNING_RATE * self.raw_gradient()

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        gradient = np.empty(len(self.parameter))
        gradient[self.parameter] = self.raw_gradient()
        return gradient

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        outputs = self.net(X[:, self.columns].astype(np.float64))
        return outputs[:, np.argsort(self.out_columns)]

    def raw_gradient(self):
        """Return the gradient in ffnet's order. ffnet's loss is half the sum over samples."""
        net = self.net
        ports = net.units, net.inno, net.outno
        gradient = propagation.grad(net.weights, net.conec, net.bconecno, *ports, self.X, self.Y)
        gradient *= 2 / len(self.X)
        return gradient


def _places(nodes, numbers):
    """Return the index, among the case's nodes, of each of ffnet's port numbers."""
    place = {int(node) + 1: k for k, node in enumerate(nodes)}
    return np.array([place[int(number)] for number in numbers])
