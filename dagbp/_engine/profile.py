"""Where a training step's time goes, part by part, beside the machine's limits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from dagbp._data.features import Problem
from dagbp._engine.buffers import aligned, new_clock
from dagbp._engine.engine import Engine
from dagbp._engine.tile_plan import TilePlan
from dagbp._errors import DivergenceError
from dagbp._kernels.frames import DIVERGED, STATUS, UPDATES, UpdateFrame
from dagbp._kernels.passes import timing
from dagbp._kernels.passes.peak import multiply_adds
from dagbp._machine import PANEL_ROWS, PART_BYTES

SECONDS = 0.3  # that profiled steps take together, at least


@dataclass(frozen=True)
class Part:
    """One kind of work in a step.

    Attributes
    ----------
    name : str
    seconds : float
        Of one step, summed over threads and divided by their number.
    rate : float
        What it reaches, in `unit`; 0 where nothing is counted.
    unit : {"GF/s", "GB/s", ""}
        Over all threads: of multiply-adds with weights that exist, counted twice each, or of
        bytes read and written.
    share : float
        Of the machine's limit: multiply-adds in registers, or a copy of 64 MiB.
    """

    name: str
    seconds: float
    rate: float = 0.0
    unit: str = ""
    share: float = 0.0


@dataclass(frozen=True)
class Profile:
    """What `Network.profile` found; `print` shows a table.

    Attributes
    ----------
    seconds : float
        Of one training step, without the timers.
    parts : tuple of Part
        Measured with timers on, which take time too.
    batch_size, n_threads : int
    gflops, bandwidth : float
        The machine's limits: GF/s of multiply-adds on so many threads, GB/s of one thread's copy.
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
                limit = "cached"  # what it moves does not come from memory
            lines.append(
                f"{part.name:<24}{part.seconds * 1e3:>9.3f}{part.seconds / total:>8.1%}"
                f"{rate:>14}{limit:>10}"
            )
        return "\n".join(lines)


def take_profile(
    engine: Engine, problem: Problem, update: UpdateFrame, limit: int | None
) -> Profile:
    """Return the profile of steps that take the whole problem as their batch.

    The parameters are as before when it returns; the optimizer's state is the profile's own.
    """
    n = len(problem.features)
    tile_plan = engine.tile_planner.choose(n, limit)
    before = engine.parameters.copy()
    times = np.zeros((tile_plan.n_threads, timing.N_TIMES), np.int64)
    try:
        seconds = _step_time(engine, problem, update, tile_plan)
        timed = _step_time(engine, problem, update, tile_plan, times)
    finally:
        engine.parameters.assign(before)
    spent = times[:, : timing.N_PARTS].sum(axis=0)
    by_part = timed * spent / max(1, spent.sum())
    gflops, bandwidth = peak_gflops(engine.dtype.str) * tile_plan.n_threads, copy_bandwidth()
    flops, moved = _flops(engine, n), _bytes(engine, n)
    parts = []
    for index, name in enumerate(_NAMES):
        took = float(by_part[index])
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
    return Profile(seconds, tuple(parts), n, tile_plan.n_threads, gflops, bandwidth)


def _step_time(
    engine: Engine,
    problem: Problem,
    update: UpdateFrame,
    tile_plan: TilePlan,
    times: npt.NDArray[np.int64] | None = None,
) -> float:
    """Return the seconds of a step, over as many as take a while, after a first one."""
    steps, seconds = 1, 0.0
    order = np.arange(len(problem.features))
    for _ in range(2):
        if times is not None:
            times[:] = 0
        clock = new_clock(steps, len(order), shuffle=False, seed=0)
        start = time.perf_counter()
        engine.train(problem, order, update, clock, tile_plan, lambda: None, times=times)
        seconds = (time.perf_counter() - start) / max(1, int(clock.count[UPDATES]))
        if clock.count[STATUS] == DIVERGED:
            raise DivergenceError("the step to profile is not finite: check X, Y and the weights")
        steps = max(3, min(100_000, int(SECONDS / seconds)))
    return seconds


def _flops(engine: Engine, n_samples: int) -> dict[str, float]:
    """Return the multiply-adds of a step, counted twice each, of edges that exist."""
    plan, layout = engine.layout.plan, engine.layout
    from_inputs = int(plan.out_ptr[plan.n_inputs])
    sums = 2 * layout.n_slots + layout.n_slots - from_inputs  # forward, gradient, and back
    # What panels take, with the sources that are inputs in the proportion of all edges.
    back = (2 * layout.n_slots - from_inputs) / max(1, layout.n_slots)
    dense = layout.ins.n_edges + back * layout.outs.n_edges
    exist = engine.n_edges / max(1, layout.n_slots)
    return {
        "edges, dense panels": 2.0 * dense * exist * n_samples,
        "edges, sparse rows": 2.0 * (sums - dense) * exist * n_samples,
    }


def _bytes(engine: Engine, n_samples: int) -> dict[str, float]:
    """Return the bytes that a step reads and writes outside the kernels, at least."""
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
    """Return GB/s of one thread's copy of 64 MiB, read and written."""
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


# In the order of the indices in `timing`.
_NAMES = (
    "copy in",
    "edges, sparse rows",
    "edges, dense panels",
    "activations",
    "loss",
    "waiting",
    "reduction, optimizer",
    "refresh of weights",
)
