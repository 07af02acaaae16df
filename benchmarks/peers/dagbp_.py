"""dagbp through its public functions: `fit`, `predict` and `loss_and_gradient`."""

import warnings
from itertools import pairwise

import numpy as np

import dagbp

from . import LEARNING_RATE

OPTIONS = {"optimizer": "sgd", "learning_rate": LEARNING_RATE, "verbose": 0, "seed": 0}


class Dagbp:
    """The network of the case's edges."""

    name = "dagbp"
    package = "dagbp"

    def __init__(self, case, parameters, threads, dense_above=None):
        self.case, self.threads, self.dense_above = case, threads, dense_above
        self.net = self._compile(parameters, "float32")

    def _compile(self, parameters, dtype):
        case = self.case
        biases = np.zeros(case.n_nodes, parameters.dtype)
        biases[case.computed] = parameters[case.n_edges :]
        with warnings.catch_warnings():  # at 0.5 % density an output may have no edges
            warnings.simplefilter("ignore", dagbp.UnreachableWarning)
            return dagbp.Network.from_edges(
                case.src,
                case.dst,
                case.n_nodes,
                inputs=case.inputs,
                outputs=case.outputs,
                weight=parameters[: case.n_edges],
                bias=biases,
                activation="relu",
                dtype=dtype,
                n_threads=self.threads,
                dense_above=self.dense_above,
            )

    def set_batch(self, X, Y):
        """Store a batch."""
        self.X, self.Y = X, Y

    def step(self):
        """Take one training step."""
        self.steps(1)

    def steps(self, count):
        """Take training steps: epochs of one batch."""
        self.net.fit(self.X, self.Y, epochs=count, batch_size=len(self.X), **OPTIONS)

    def raw_gradient(self):
        """Return the gradient in the order of `Network.parameters`."""
        return self.net.loss_and_gradient(self.X, self.Y)[1]

    def gradient(self):
        """Return the gradient in the order of the case's parameters."""
        return self.in_order_of_case(self.raw_gradient())

    def in_order_of_case(self, values):
        """Reorder values from the order of `Network.parameters` to the order of the case.

        A network with the parameters 0, 1, 2, ... shows the permutation.
        """
        numbered = self._compile(np.arange(len(values), dtype=np.float64), "float64")
        ordered = np.empty_like(values)
        ordered[numbered.parameters.astype(np.int64)] = values
        return ordered

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        return self.net.predict(X)


class DagbpDense:
    """The layers of the case with all possible edges; absent ones have weight 0."""

    name = "dagbp, zeros drawn too"
    package = "dagbp"

    def __init__(self, case, parameters, threads):
        full, self.place = _fully_connected(case)
        drawn = np.zeros(full.n_edges + len(full.computed), np.float32)
        self.place = np.concatenate([self.place, np.arange(full.n_edges, len(drawn))])
        drawn[self.place] = parameters
        self.filled = Dagbp(full, drawn, threads)

    def set_batch(self, X, Y):
        """Store a batch."""
        self.filled.set_batch(X, Y)

    def step(self):
        """Take one training step."""
        self.filled.step()

    def steps(self, count):
        """Take training steps."""
        self.filled.steps(count)

    def gradient(self):
        """Return the gradient in the order of the case's parameters."""
        return self.filled.gradient()[self.place]

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        return self.filled.predict(X)


def _fully_connected(case):
    """Return the case with all edges between neighbouring layers, and the places of its own."""
    sizes = np.array(case.levels)
    first = np.cumsum([0, *sizes])
    before = np.cumsum([0, *(sizes[:-1] * sizes[1:])])  # edges in the layers below
    src = [np.repeat(np.arange(a) + first[k], b) for k, (a, b) in enumerate(pairwise(sizes))]
    dst = [np.tile(np.arange(b) + first[k + 1], a) for k, (a, b) in enumerate(pairwise(sizes))]
    layer = np.searchsorted(first, case.src, side="right") - 1
    row, column = case.src - first[layer], case.dst - first[layer + 1]
    place = before[layer] + row * sizes[layer + 1] + column
    return case._replace(src=np.concatenate(src), dst=np.concatenate(dst)), place
