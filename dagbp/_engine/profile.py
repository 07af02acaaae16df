"""Profiles: the time of each part of a training step, beside the machine's limits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from dagbp._data.problem import Problem
from dagbp._engine.clock import Clock
from dagbp._engine.engine import CpuEngine
from dagbp._engine.optimizer_state import Update
from dagbp._errors import DivergenceError
from dagbp._kernels.passes import timing
from dagbp._kernels.passes.peak import multiply_adds
from dagbp._machine import PANEL_ROWS, PART_BYTES
from dagbp._memory import aligned

LEAST_SECONDS = 0.3


@dataclass(frozen=True)
class Part:
    """One kind of work in a step.

    Attributes
    ----------
    name : str
    seconds : float
        The time in one step, as a mean over the threads.
    rate : float
        The rate over all threads, in `unit`; 0 if nothing is counted.
    unit : {"GF/s", "GB/s", ""}
        GF/s count a multiply-add with an existing weight as two operations; GB/s count the bytes
        that are read and written.
    share : float
        The rate as a share of the machine's limit: multiply-adds in registers, or a copy of 64 MiB.
    """

    name: str
    seconds: float
    rate: float = 0.0
    unit: str = ""
    share: float = 0.0


@dataclass(frozen=True)
class Profile:
    """The result of `Network.profile`; `print` shows a table.

    Attributes
    ----------
    seconds : float
        The time of one training step, measured without timers.
    parts : tuple of Part
        Measured with timers, which take time too.
    batch_size, n_threads : int
    gflops, bandwidth : float
        The machine's limits: GF/s of multiply-adds on `n_threads` threads, GB/s of one thread's
        copy.
    """

    seconds: float
    parts: tuple[Part, ...]
    batch_size: int
    n_threads: int
    gflops: float
    bandwidth: float

    def __str__(self) -> str:
        plural = "s" * (self.n_threads > 1)
        lines = [
            f"{self.seconds * 1e3:,.3f} ms a training step of {self.batch_size:,} samples on "
            f"{self.n_threads} thread{plural}",
            f"limits here: {self.gflops:,.0f} GF/s of multiply-adds, "
            f"{self.bandwidth:,.1f} GB/s of a copy in memory",
            f"{'part':<24}{'ms':>9}{'share':>8}{'rate':>14}{'of limit':>10}",
        ]
        total = sum(part.seconds for part in self.parts)
        for part in self.parts:
            rate = f"{part.rate:,.1f} {part.unit}" if part.unit else ""
            limit = f"{part.share:.0%}" if part.unit else ""
            if part.unit == "GB/s" and part.share > 1:
                limit = "cached"  # faster than memory: the data comes from caches
            lines.append(
                f"{part.name:<24}{part.seconds * 1e3:>9.3f}{part.seconds / total:>8.1%}"
                f"{rate:>14}{limit:>10}"
            )
        return "\n".join(lines)


def take_profile(
    engine: CpuEngine,
    problem: Problem,
    update: Update,
    max_threads: int | None,
    least_seconds: float = LEAST_SECONDS,
) -> Profile:
    """Return the profile of training steps on the whole problem as one batch.

    Afterwards the parameters are restored. `update` is for this profile only.
    least_seconds: the least time of all profiled steps together.
    """
    n = len(problem.features)
    n_threads = engine.tile_planner.choose(n, max_threads).n_threads
    before = engine.parameters.copy()
    times = np.zeros((n_threads, timing.N_TIMES), np.int64)
    try:
        seconds = _step_time(engine, problem, update, max_threads, least_seconds)
        timed = _step_time(engine, problem, update, max_threads, least_seconds, times)
    finally:
        engine.parameters.assign(before)
    spent = times[:, : timing.N_PARTS].sum(axis=0)
    by_part = timed * spent / max(1, spent.sum())
    gflops, bandwidth = peak_gflops(engine.dtype.str) * n_threads, copy_bandwidth()
    flops, moved = _flops(engine, n), _bytes(engine, n)
    parts = []
    for part, name in _NAMES.items():
        took = float(by_part[part])
        if took == 0.0:
            continue
        if name in flops:
            rate = flops[name] / took / 1e9
            parts.append(Part(name, took, rate, "GF/s", rate / gflops))
        elif name in moved:
            rate = moved[name] / took / 1e9
            parts.append(Part(name, took, rate, "GB/s", rate / bandwidth))
        else:
            parts.append(Part(name, took))
    return Profile(seconds, tuple(parts), n, n_threads, gflops, bandwidth)


def _step_time(
    engine: CpuEngine,
    problem: Problem,
    update: Update,
    max_threads: int | None,
    least_seconds: float,
    times: npt.NDArray[np.int64] | None = None,
) -> float:
    """Return the seconds of a step: the mean over `least_seconds`, after a step to warm up."""
    steps, seconds = 1, 0.0
    order = np.arange(len(problem.features))
    for _ in range(2):
        if times is not None:
            times[:] = 0
        clock = Clock(steps, len(order))
        start = time.perf_counter()
        engine.train(
            problem, order, update, clock, max_threads=max_threads, watch=lambda: None, times=times
        )
        seconds = (time.perf_counter() - start) / max(1, clock.updates)
        if clock.diverged:
            raise DivergenceError("the step to profile is not finite: check X, Y and the weights")
        steps = max(3, min(100_000, int(least_seconds / seconds)))
    return seconds


def _flops(engine: CpuEngine, n_samples: int) -> dict[str, float]:
    """Return the operations of a step: two for each multiply-add with an existing edge."""
    plan, layout = engine.layout.plan, engine.layout
    from_inputs = int(plan.out_ptr[plan.n_inputs])
    sums = 2 * layout.n_slots + layout.n_slots - from_inputs  # forward, gradient, and back
    # Edges in panels. Their share of edges from inputs is taken to be the same as overall.
    back = (2 * layout.n_slots - from_inputs) / max(1, layout.n_slots)
    dense = layout.ins.n_edges + back * layout.outs.n_edges
    exist = engine.n_edges / max(1, layout.n_slots)
    return {
        "edges, dense panels": 2.0 * dense * exist * n_samples,
        "edges, sparse rows": 2.0 * (sums - dense) * exist * n_samples,
    }


def _bytes(engine: CpuEngine, n_samples: int) -> dict[str, float]:
    """Return the least bytes that a step reads and writes, for the parts that only move data."""
    size = engine.dtype.itemsize
    return {
        "copy in": 2.0 * n_samples * engine.plan.n_inputs * size,
        "reduction, optimizer": 4.0 * engine.parameters.n_values * size,
        "refresh of weights": engine.parameters.n_values * (2.0 * size + 4),
    }


@cache
def peak_gflops(dtype: str) -> float:
    """Return GF/s of one core's multiply-adds between registers."""
    call = multiply_adds.call_from_python(dtype, PART_BYTES)
    rows = aligned((PANEL_ROWS, PART_BYTES), np.uint8)
    n, flops = 20_000, 2 * rows.nbytes // np.dtype(dtype).itemsize
    return float(flops * n) / _fastest(lambda: call(rows.ctypes.data, n, 0.5)) / 1e9


@cache
def copy_bandwidth() -> float:
    """Return the GB/s of one thread's copy of 64 MiB, counting reads and writes."""
    source = np.ones(2**26, np.uint8)
    target = np.zeros_like(source)
    return 2 * source.nbytes / _fastest(lambda: np.copyto(target, source)) / 1e9


def _fastest(call: Callable[[], object], times: int = 7) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


_NAMES = {
    timing.COPY_IN: "copy in",
    timing.SPARSE: "edges, sparse rows",
    timing.DENSE: "edges, dense panels",
    timing.ACTIVATIONS: "activations",
    timing.LOSSES: "loss",
    timing.WAITING: "waiting",
    timing.UPDATE: "reduction, optimizer",
    timing.REFRESH: "refresh of weights",
}
