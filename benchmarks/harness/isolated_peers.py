"""Peers in processes of their own: first steps with empty caches, time limits, one library in each.

    python -m benchmarks.harness.isolated_peers MODULE.CLASS PROBLEM.npz

is the command of the child process that `IsolatedPeer` starts. It takes the peer's first step at
once, then answers questions.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from .. import peers
from . import environment, measuring, networks, processes

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = "left out"  # the note of a peer that is not installed begins so
LEAST_SECONDS = 0.02  # of a timed call: far more than reading the clock or calling `fit` takes


class IsolatedPeer(processes.Child):
    """A peer in a process of its own.

    Parameters
    ----------
    place : str
        "module.Class" of the peer.
    problem : path
        A file that `write_problem` has written.
    cache : path
        Folder of the compilers' caches. An empty one makes a cold start.
    limit : float
        Seconds for the first step, from the start of the process.

    Attributes
    ----------
    name : str
        The peer's name in tables.
    forward_only : bool
        Whether its steps are forward passes, as it has no gradient.
    first_step : float
        Seconds from before the peer's import to after its first step.
    since_start : float
        The same from the start of the process. It includes the interpreter's and NumPy's start.

    Raises
    ------
    processes.NoAnswerError
        With the reason why there was no first step.
    """

    def __init__(self, place, problem, cache, limit):
        variables = {
            **os.environ,
            "PYTHONWARNINGS": "ignore",
            "NUMBA_CACHE_DIR": str(cache),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        start = time.perf_counter()
        super().__init__(["-m", __name__, place, str(problem)], variables, ROOT)
        peer = self.answer(limit, start)
        self.name, self.forward_only = peer["name"], peer["forward_only"]
        self.first_step = self.answer(limit, start)["seconds"]
        self.since_start = time.perf_counter() - start

    def gap(self):
        """Return the largest difference of its gradient; see `peers.check`."""
        return self.ask("check")["gap"]

    def step_time(self):
        """Return the median time of a step, warm."""
        return self.ask("time")["seconds"]


def take_turns(ready, rounds):
    """Return each peer's median step time. Peers take turns, so that drift affects all of them.

    Parameters
    ----------
    ready : dict of IsolatedPeer
    rounds : int

    Returns
    -------
    times : dict of float
    failed : dict of str
        The reasons of peers that gave no time.
    """
    times, failed = {name: [] for name in ready}, {}
    for _ in range(rounds):
        for name in [name for name in ready if name not in failed]:
            try:
                times[name].append(ready[name].step_time())
            except processes.NoAnswerError as error:
                failed[name] = str(error)
    return {name: statistics.median(times[name]) for name in ready if name not in failed}, failed


def write_problem(path, case, parameters, X, Y, **gradients):
    """Write a problem for child processes.

    `gradients` are the reference gradients by the activation of hidden nodes.
    """
    arrays = {**case._asdict(), "parameters": parameters, "X": X, "Y": Y, **gradients}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def read_problem(path):
    """Return the case and all arrays of a problem."""
    with np.load(path) as file:
        arrays = dict(file)
    levels = arrays.get("levels")
    case = networks.Case(
        name=str(arrays["name"]),
        src=arrays["src"],
        dst=arrays["dst"],
        n_nodes=int(arrays["n_nodes"]),
        inputs=arrays["inputs"],
        outputs=arrays["outputs"],
        levels=None if levels is None else levels.tolist(),
    )
    return case, arrays


def _answers(place, path):
    """Yield the peer's name, its first step, then an answer to each line of standard input."""
    case, arrays = read_problem(path)
    start = time.perf_counter()
    try:
        peer_class = peers.find(place)
    except ImportError as error:
        yield {"error": f"{LEFT_OUT}: {error}"}
        return
    yield {"name": peer_class.name, "forward_only": getattr(peer_class, "forward_only", False)}
    peer = peer_class(case, arrays["parameters"], environment.THREADS)
    peer.set_batch(arrays["X"], arrays["Y"])
    peer.step()
    yield {"seconds": time.perf_counter() - start}
    for line in sys.stdin:
        if line.strip() == "check":
            reference = arrays[getattr(peer, "activation", "relu")]
            yield {"gap": peers.check(peer, reference)}
        else:
            yield {"seconds": _step_time(peer)}


def _step_time(peer):
    """Return the median time of a step, from calls of at least `LEAST_SECONDS`."""
    count = peers.steps_lasting(peer, LEAST_SECONDS)
    start = time.perf_counter()
    peers.take_steps(peer, count)
    least = 3 if time.perf_counter() - start < 1 else 1
    return measuring.median_time(lambda: peers.take_steps(peer, count), 0.2, least) / count


if __name__ == "__main__":
    processes.serve(_answers, sys.argv[1], Path(sys.argv[2]))
