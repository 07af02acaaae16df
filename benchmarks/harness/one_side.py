"""One side of the suite `compare`: a child process that runs dagbp from a given source tree.

    python -m benchmarks.harness.one_side TREE PROBLEM.npz ...

Each line of standard input is a question in JSON: the name of a method of `Side` under "do", and
its arguments, such as ``{"do": "time", "problem": 0, "call": "step", "count": 9}``. The child uses
public names of dagbp only, so that the trees may differ.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from . import processes
from .isolated_peers import read_problem

TURN = 0.04  # seconds
TRAINING = {"epochs": 3, "optimizer": "sgd", "learning_rate": 1e-4, "seed": 0, "verbose": 0}


class Side:
    """The networks of one side, and their calls."""

    def __init__(self, tree, paths):
        sys.path.insert(0, tree)
        from ..peers.dagbp_ import Dagbp  # imports dagbp from the tree

        self.new_peer = Dagbp
        self.problems = [read_problem(path) for path in paths]
        self.peers = [self._peer(*problem) for problem in self.problems]

    def _peer(self, case, arrays):
        peer = self.new_peer(case, arrays["parameters"], 1)
        peer.set_batch(arrays["X"], arrays["Y"])
        return peer

    def results(self, problem, path):
        """Write the gradient, the outputs, and the parameters after a few steps of SGD."""
        peer, fresh = self.peers[problem], self._peer(*self.problems[problem])
        fresh.net.fit(fresh.X, fresh.Y, batch_size=len(fresh.X), **TRAINING)
        np.savez(
            path,
            gradient=peer.gradient(),
            outputs=peer.predict(peer.X),
            trained=fresh.in_order_of_case(fresh.net.parameters),
        )

    def count(self, problem, call, seconds):
        """Return how many calls take so many seconds of processor time, at least one."""
        function = self._function(problem, call)
        count = 1
        while True:
            took = _processor_time(function, count)[0]
            if took >= seconds / 2:
                return max(1, round(count * seconds / took))
            count *= 2

    def time(self, problem, call, count):
        """Return seconds a call, of processor time and of wall time: the medians of one turn.

        A turn has at least two timed calls. It returns medians, not minima: in a
        virtual machine, the clock of processor time may not advance during a call.
        """
        function, taken = self._function(problem, call), []
        while len(taken) < 2 or sum(wall for _, wall in taken) < TURN:
            taken.append(_processor_time(function, count))
        return [statistics.median(times) / count for times in zip(*taken, strict=True)]

    def _function(self, problem, call):
        """Return a function that makes so many calls."""
        peer = self.peers[problem]
        if call == "step":
            return peer.steps
        one = {"predict": lambda: peer.predict(peer.X), "gradient": peer.raw_gradient}[call]

        def repeat(count):
            for _ in range(count):
                one()

        return repeat


def _processor_time(function, count):
    """Return the processor time and the wall time of a function."""
    processor, wall = time.process_time(), time.perf_counter()
    function(count)
    return time.process_time() - processor, time.perf_counter() - wall


def _answers(tree, paths):
    """Yield the place of dagbp, then an answer to each line of standard input."""
    side = Side(tree, paths)
    yield {"place": str(Path(sys.modules["dagbp"].__file__).resolve().parents[1])}
    for line in sys.stdin:
        question = json.loads(line)
        yield {"answer": getattr(side, question.pop("do"))(**question)}


if __name__ == "__main__":
    processes.serve(_answers, sys.argv[1], sys.argv[2:])
