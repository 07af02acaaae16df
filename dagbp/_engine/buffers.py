"""What kernels write: tiles and gradients of the threads of a schedule, and the clock of a run."""

from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._compiler.decorators import compiled
from dagbp._engine.schedule import Cuts, Schedule
from dagbp._kernels.formulas.dropout import compile_drop
from dagbp._kernels.formulas.update import BLOCK
from dagbp._kernels.frames import (
    BARRIER_SIZE,
    BATCH_SIZE,
    COUNTS,
    LAST_EPOCH,
    LAST_UPDATE,
    LOSS_COLUMNS,
    N_ROWS,
    SEGMENT_ROWS,
    SHUFFLE,
    Clock,
    Work,
    pack,
)
from dagbp._kernels.passes.barrier import compile_meet, yield_address
from dagbp._kernels.passes.timing import clock_address, compile_tick
from dagbp._layout.layout import CACHE_LINE, Wiring
from dagbp._layout.refresh import within

Array = npt.NDArray[Any]
Frame = npt.NDArray[np.uint64]


class Dropout(NamedTuple):
    """Which rows are dropped, and how often.

    stays: float64 (n,), the probability that a row stays; key: uint64 (2,), the run's seed, and
    the step's number for kernels to write.
    """

    stays: npt.NDArray[np.float64]
    key: npt.NDArray[np.uint64]


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return zeros that begin at a cache line; vector loads of tiles rely on it."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def new_clock(epochs: int, batch_size: int, shuffle: bool, seed: int) -> Clock:
    """Return the clock of a run that has not begun."""
    count = np.zeros(int(COUNTS), np.int64)
    count[LAST_EPOCH], count[BATCH_SIZE], count[SHUFFLE] = epochs, batch_size, shuffle
    count[LAST_UPDATE] = np.iinfo(np.int64).max
    random = np.array([seed, seed], np.uint64)
    return Clock(count, random, np.zeros(epochs), np.zeros(1), None)


def signal_bytes(wiring: Wiring, schedule: Schedule) -> int:
    """Return the bytes that kept signals take."""
    return schedule.n_crews * schedule.group * len(wiring.plan.node) * schedule.row_bytes


def step_bytes(wiring: Wiring, schedule: Schedule, n_values: int) -> int:
    """Return the bytes of tiles and gradients of a step, without kept signals.

    Parameters
    ----------
    n_values : int
        Of a gradient, padding included.
    """
    n, n_outputs = len(wiring.plan.node), len(wiring.plan.outputs)
    lanes = schedule.row_bytes // wiring.itemsize
    rows = n + 3 * n_outputs + int(N_ROWS)
    tile = rows * schedule.row_bytes + lanes * wiring.stride * wiring.itemsize
    scratch = schedule.n_threads * SEGMENT_ROWS * schedule.row_bytes
    gradients = schedule.n_crews * n_values * wiring.itemsize
    return int(schedule.n_crews * schedule.group * tile + scratch + gradients)


class Buffers:
    """What threads write while a schedule runs.

    Attributes
    ----------
    frames : list of uint64 arrays
        Each thread's `Work`.
    gradients : (n_crews, P), or (n_crews, 0) as long as there is none
    losses, barrier, meetings
        As in `Work`; meetings of all threads, (n_threads, 8).

    Parameters
    ----------
    n_values : int
        P, the parameters with padding.
    in_strips : bool
        Whether what strips read is to be copied after an update.
    """

    def __init__(
        self,
        wiring: Wiring,
        dtype: np.dtype[Any],
        n_values: int,
        schedule: Schedule,
        cuts: Cuts,
        in_strips: bool,
    ) -> None:
        n_threads, members = schedule.n_threads, schedule.members
        self._n_values = n_values
        self.gradients = aligned((schedule.n_crews, 0), dtype)
        self.losses = aligned((n_threads, int(LOSS_COLUMNS)), np.float64)
        self.barrier = aligned((BARRIER_SIZE,), np.int64)
        self.meetings = aligned((n_threads, 8), np.int64)  # a cache line each
        of_all = {
            "group": schedule.group,
            "n_threads": n_threads,
            "n_crews": schedule.n_crews,
            "members": members,
            "in_stages": len(cuts.forward),
            "out_stages": len(cuts.backward),
            "in_cuts": cuts.forward,
            "out_cuts": cuts.backward,
            "losses": self.losses,
            "squares": np.zeros(n_values // int(BLOCK) + 1),
            "barrier": self.barrier,
            "meet": compile_meet().address if n_threads > 1 else 0,
            "yield_address": yield_address(),
        }
        crews = [_tiles(wiring, dtype, schedule) for _ in range(schedule.n_crews)]
        shares = _shares(wiring, n_values, schedule, in_strips)
        scratch = aligned((n_threads, SEGMENT_ROWS, schedule.row_bytes // dtype.itemsize), dtype)
        self._works = [
            Work(
                **of_all,
                **crews[thread // members],
                **shares[thread],
                thread=thread,
                crew=thread // members,
                member=thread % members,
                scratch=scratch[thread],
                loss=self.losses[thread],
                meetings=self.meetings[thread],
            )
            for thread in range(n_threads)
        ]
        self.frames = [pack(work) for work in self._works]

    @property
    def keeps_signals(self) -> bool:
        """Whether there is room for every node's signal."""
        return self._works[0].s is not None

    def keep_signals(self) -> None:
        """Make room for every node's signal."""
        x = self._works[0].x
        signals = aligned((len(self.gradients), *x.shape), x.dtype)
        self._works = [work._replace(s=signals[work.crew]) for work in self._works]
        self.frames = [pack(work) for work in self._works]

    def learning(
        self, times: npt.NDArray[np.int64] | None = None, dropout: Dropout | None = None
    ) -> list[Frame]:
        """Return each thread's `Work` with a gradient, and what else is given."""
        if self._works[0].gradient is None:
            self.gradients = aligned((len(self.gradients), self._n_values), self.gradients.dtype)
            self._works = [
                work._replace(gradient=self.gradients[work.crew], gradients=self.gradients)
                for work in self._works
            ]
            self.frames = [pack(work) for work in self._works]
        more: dict[str, Any] = {}
        if dropout is not None:
            drop = compiled(compile_drop, self.gradients.dtype).address
            more |= {"drop": drop, "stays": dropout.stays, "drop_key": dropout.key}
        if times is not None:
            more |= {"tick": compile_tick().address, "clock": clock_address()}
        if not more:
            return self.frames
        rows = [None] * len(self._works) if times is None else times
        pairs = zip(self._works, rows, strict=True)
        return [pack(work._replace(**more, times=row)) for work, row in pairs]


def _tiles(wiring: Wiring, dtype: np.dtype[Any], schedule: Schedule) -> dict[str, Array]:
    """Return what the members of a crew share: a group of tiles."""
    group, lanes = schedule.group, schedule.row_bytes // dtype.itemsize
    n, n_outputs = len(wiring.plan.node), len(wiring.plan.outputs)
    rows = {"x": n, "out": n_outputs, "y": n_outputs, "e": n_outputs, "row": int(N_ROWS)}
    return {
        **{name: aligned((group, count, lanes), dtype) for name, count in rows.items()},
        "tile_loss": np.zeros(group),
        "transposed": aligned((group, lanes, wiring.stride), dtype),
    }


def _shares(
    wiring: Wiring, n_values: int, schedule: Schedule, in_strips: bool
) -> list[dict[str, Any]]:
    """Return what each thread updates, copies and clears of the parameters."""
    updated = _in_blocks(n_values, schedule.n_threads)
    cleared, uncovered = _in_blocks(n_values, schedule.members), wiring.uncovered(n_values)
    result = []
    for thread, share in enumerate(wiring.shares(schedule.n_threads, in_strips)):
        member, (first, last) = thread % schedule.members, updated[thread]
        unstored = within(uncovered, first, last)
        result.append(
            {
                "patches": share.patches,
                "n_patches": len(share.patches),
                "stretches": share.stretches,
                "n_stretches": len(share.stretches),
                "first_strip": share.strips[0],
                "last_strip": share.strips[1],
                "first_row": share.rows[0],
                "last_row": share.rows[1],
                "first": first,
                "last": last,
                "unstored": unstored,
                "n_unstored": len(unstored),
                "first_cleared": cleared[member][0],
                "last_cleared": cleared[member][1],
            }
        )
    return result


def _in_blocks(n: int, shares: int) -> list[tuple[int, int]]:
    """Return where each share of n parameters begins and ends, in whole blocks."""
    blocks = -(-n // int(BLOCK))
    ends = [min(n, blocks * k // shares * int(BLOCK)) for k in range(shares + 1)]
    return list(pairwise(ends))
