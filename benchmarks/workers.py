"""Peers in processes of their own: first steps from nothing, time limits, one library in each.

    python workers.py MODULE.CLASS PROBLEM.npz

is what `Worker` starts: it takes the peer's first step at once, then does what it is asked.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

import concurrent.futures
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import networks
import peers

LEFT_OUT = "left out"  # begins the reason of a peer that is not installed
LEAST_SECONDS = 0.02  # of a timed call: many times what reading the clock or calling `fit` takes


class NoResultError(Exception):
    """Why there is no figure for a peer."""


class Worker:
    """A peer in a process of its own, which sleeps while it is not asked.

    Parameters
    ----------
    place : str
        The peer's "module.Class".
    problem : path
        Of a file that `write_problem` has written.
    cache : path
        Folder for what compilers keep on disk: an empty one makes the start a cold one.
    limit : float
        Seconds for the first step, from the start of the process.

    Attributes
    ----------
    name : str
        What tables call the peer.
    forward_only : bool
        Whether its steps are forward passes, for want of a gradient.
    first_step : float
        Seconds from before the peer's import to after its first step.
    since_start : float
        The same from the start of the process: with the interpreter's and NumPy's.

    Raises
    ------
    NoResultError
        Saying why there was no first step.
    """

    def __init__(self, place, problem, cache, limit):
        environment = {
            **os.environ,
            "PYTHONWARNINGS": "ignore",
            "NUMBA_CACHE_DIR": str(cache),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, __file__, place, str(problem)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        peer = self._answer(limit, start)
        self.name, self.forward_only = peer["name"], peer["forward_only"]
        self.first_step = self._answer(limit, start)["seconds"]
        self.since_start = time.perf_counter() - start

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def gap(self, limit=600):
        """Return how far its gradient is off; see `peers.check`."""
        return self._ask("check", limit)["gap"]

    def step_time(self, limit=600):
        """Return the median time of a step, warm."""
        return self._ask("time", limit)["seconds"]

    def close(self):
        """End the process; that may have happened already."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what it was asked last may be unread
                pipe.close()

    def _ask(self, question, limit):
        with contextlib.suppress(OSError):  # if it has died, there will be no answer either
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        return self._answer(limit, time.perf_counter())

    def _answer(self, limit, start):
        """Return the next line, read; end the process where none comes in time from the start."""
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            line = reader.submit(self.process.stdout.readline)
            try:
                answer = json.loads(line.result(start + limit - time.perf_counter()) or "{}")
            except TimeoutError:
                answer = {"error": f"no result in {limit:.0f} s"}
                self.process.kill()  # which ends the reader's wait
        if not answer or "error" in answer:
            self.close()
            code = self.process.returncode
            raise NoResultError(answer.get("error", f"its process ended with code {code}"))
        return answer


def take_turns(workers, rounds):
    """Return each worker's median step time; they take turns, so that drift hits all alike.

    Parameters
    ----------
    workers : dict of Worker
    rounds : int

    Returns
    -------
    times : dict of float
    failed : dict of str
        Why a worker gave none.
    """
    times, failed = {name: [] for name in workers}, {}
    for _ in range(rounds):
        for name in [name for name in workers if name not in failed]:
            try:
                times[name].append(workers[name].step_time())
            except NoResultError as error:
                failed[name] = str(error)
    return {name: statistics.median(times[name]) for name in workers if name not in failed}, failed


def write_problem(path, case, parameters, X, Y, **gradients):
    """Write what a worker reads; `gradients` are the right ones, by activation of hidden nodes."""
    arrays = {**case._asdict(), "parameters": parameters, "X": X, "Y": Y, **gradients}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def _read_problem(path):
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


def _serve(place, path, reply):
    """Take the first step, then answer what standard input asks."""
    case, arrays = _read_problem(path)
    start = time.perf_counter()
    module, name = place.split(".")
    peer_class = getattr(importlib.import_module(f"peers.{module}"), name)
    reply(name=peer_class.name, forward_only=getattr(peer_class, "forward_only", False))
    peer = peer_class(case, arrays["parameters"], measuring.THREADS)
    peer.set_batch(arrays["X"], arrays["Y"])
    peer.step()
    reply(seconds=time.perf_counter() - start)
    for line in sys.stdin:
        if line.strip() == "check":
            right = arrays[getattr(peer, "activation", "relu")]
            reply(gap=peers.check(peer, right))
        else:
            reply(seconds=_step_time(peer))


def _step_time(peer):
    """Return the median time of a step, over calls of as many steps as make one long enough."""
    count = peers.steps_lasting(peer, LEAST_SECONDS)
    start = time.perf_counter()
    peers.take_steps(peer, count)
    least = 3 if time.perf_counter() - start < 1 else 1
    return measuring.median_time(lambda: peers.take_steps(peer, count), 0.2, least) / count


def main():
    """Serve one peer; answers are lines of JSON on what was standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes where errors go

    def reply(**answer):
        print(json.dumps(answer), file=answers, flush=True)

    try:
        _serve(sys.argv[1], Path(sys.argv[2]), reply)
    except ImportError as error:
        reply(error=f"{LEFT_OUT}: {error}")
    except Exception as error:
        reply(error=f"{type(error).__name__}: {error}".splitlines()[0])


if __name__ == "__main__":
    main()
