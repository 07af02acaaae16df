"""A race: peers are built on one problem, checked, and timed in turns."""

import time
import warnings
from typing import NamedTuple

import numpy as np

from .. import peers
from ..peers.bases.oracle import Oracle, clear_of_kinks
from ..peers.dagbp_ import Dagbp
from . import environment, measuring, networks

CHECKED = 64  # samples on which dagbp's own gradient is compared with one in float64


class Problem(NamedTuple):
    """A case with its parameters, a batch, and the reference gradient."""

    case: networks.Case
    parameters: np.ndarray
    X: np.ndarray
    Y: np.ndarray
    gradient: np.ndarray

    def reference_for(self, peer):
        """Return the reference gradient: with sigmoids if the peer has no other activation."""
        if getattr(peer, "activation", "relu") == "relu":
            return self.gradient
        oracle = Oracle(self.case, self.parameters, sigmoid=True)
        return oracle.gradient(self.X, self.Y)


def make_problem(case, size, seed=0):
    """Return a problem. Its gradient is dagbp's, which is first checked in float64."""
    parameters = networks.draw_parameters(case, seed)
    X, Y = networks.draw_batch(case, size + size // 4 + 8, seed + 1)
    oracle = Oracle(case, parameters)
    X, Y = clear_of_kinks(oracle, X, size), Y[:size]
    ours = Dagbp(case, parameters, threads=1)
    ours.set_batch(X[:CHECKED], Y[:CHECKED])
    gap = peers.difference(ours.gradient(), oracle.gradient(X[:CHECKED], Y[:CHECKED]))
    assert gap < peers.TOLERANCE, f"dagbp's gradient is {gap:.2g} off that in float64"
    ours.set_batch(X, Y)
    return Problem(case, parameters, X, Y, ours.gradient())


class Contender(NamedTuple):
    """A peer that is ready, or the reason why there is none.

    Attributes
    ----------
    peer : object or None
    note : str
        The reason, or a remark for the tables.
    gap : float or None
        Largest difference of its gradient, as a share of the largest entry.
    first_step : float or None
        Seconds from its arrays to the end of its first step, its package already imported.
    """

    peer: object | None
    note: str = ""
    gap: float | None = None
    first_step: float | None = None


def prepare(peer_class, problem, threads, longest=2.0, longest_first=60.0):
    """Build and check a peer, or note why that failed.

    Parameters
    ----------
    longest, longest_first : float
        Limits in seconds: of a step, and of the first step with its compilation.
    """
    first = None
    try:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            peer = peer_class(problem.case, problem.parameters.copy(), threads)
            peer.set_batch(problem.X, problem.Y)
            peer.step()
        first = time.perf_counter() - start
        if first > longest_first:
            return Contender(None, f"no result: first step after {first:.0f} s", None, first)
        start = time.perf_counter()
        peer.step()
        took = time.perf_counter() - start
        gap = None
        if not getattr(peer, "forward_only", False):
            gap = peers.check(peer, problem.reference_for(peer))
    except peers.WrongGradientError as error:
        return Contender(None, str(error), None, first)
    except Exception as error:  # a peer's failure is a result
        return Contender(None, f"no result: {_brief(error)}", None, first)
    if took > longest:
        return Contender(None, f"skipped: {took:.1f} s a step", gap, first)
    note = "" if getattr(peer, "exact", True) else "not float32"
    return Contender(peer, note, gap, first)


def time_steps(contenders, rounds=5, least=0.02):
    """Return the seconds of a training step by name.

    Parameters
    ----------
    contenders : dict of str to peer
    least : float
        Seconds of a timed call, at least. A call takes as many steps as that needs.
    """
    counts = {name: peers.steps_lasting(peer, least) for name, peer in contenders.items()}
    calls = {
        name: lambda peer=peer, count=counts[name]: peers.take_steps(peer, count)
        for name, peer in contenders.items()
    }
    times = measuring.interleaved(calls, rounds, seconds=5 * least, least=1)
    return {name: seconds / counts[name] for name, seconds in times.items()}


def race(problem, classes, threads=environment.THREADS, quick=False, **limits):
    """Return a row for each class, by name: time, rate and share of the limit, or a note."""
    prepared = {name: prepare(c, problem, threads, **limits) for name, c in classes.items()}
    ready = {name: c.peer for name, c in prepared.items() if c.peer is not None}
    times = time_steps(ready, rounds=1, least=0.002) if quick else time_steps(ready)
    work = 6 * problem.case.n_edges * len(problem.X)
    sgemm = measuring.limits()["sgemm_gflops"]
    rows = {}
    for name, c in prepared.items():
        seconds = times.get(name)
        rate = work / seconds / 1e9 if seconds else None
        rows[name] = {
            "ms": seconds and seconds * 1e3,
            "gflops": rate,
            "share_of_sgemm": rate and rate / sgemm,
            "first_step_s": c.first_step,
            "gradient_gap": c.gap,
            "note": c.note,
        }
    return rows


def _brief(error):
    """Return an error's class and the beginning of its first line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:120]
