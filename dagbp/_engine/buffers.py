"""What kernels write: tiles and gradients of the threads of a schedule, and the clock of a run."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._engine.tile_plan import Cuts, TilePlan
from dagbp._kernels.formulas.dropout import drop
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
    ClockFrame,
    WorkFrame,
    pack,
)
from dagbp._kernels.passes.barrier import meet, yield_address
from dagbp._kernels.passes.timing import add_time, clock_address
from dagbp._layout.layout import Layout
from dagbp._layout.refresh import within
from dagbp._memory import aligned as aligned

Array = npt.NDArray[Any]
Frame = npt.NDArray[np.uint64]


class Dropout(NamedTuple):
    """Which rows are dropped, and how often.

    stays: float64 (n,), the probability that a row stays; key: uint64 (2,), the run's seed, and
    the step's number for kernels to write.
    """

    stays: npt.NDArray[np.float64]
    key: npt.NDArray[np.uint64]


def new_clock(epochs: int, batch_size: int, shuffle: bool, seed: int) -> ClockFrame:
    """Return the clock of a run that has not begun."""
    count = np.zeros(int(COUNTS), np.int64)
    count[LAST_EPOCH], count[BATCH_SIZE], count[SHUFFLE] = epochs, batch_size, shuffle
    count[LAST_UPDATE] = np.iinfo(np.int64).max
    random = np.array([seed, seed], np.uint64)
    return ClockFrame(count, random, np.zeros(epochs), np.zeros(1), None)


def signal_bytes(layout: Layout, tile_plan: TilePlan) -> int:
    """Return the bytes that kept signals take."""
    return tile_plan.n_teams * tile_plan.group * len(layout.plan.node) * tile_plan.row_bytes


def step_bytes(layout: Layout, tile_plan: TilePlan, n_values: int) -> int:
    """Return the bytes of tiles and gradients of a step, without kept signals.

    Parameters
    ----------
    n_values : int
        Of a gradient, padding included.
    """
    n, n_outputs = len(layout.plan.node), len(layout.plan.outputs)
    lanes = tile_plan.row_bytes // layout.itemsize
    rows = n + 3 * n_outputs + int(N_ROWS)
    tile = rows * tile_plan.row_bytes + lanes * layout.stride * layout.itemsize
    scratch = tile_plan.n_threads * SEGMENT_ROWS * tile_plan.row_bytes
    gradients = tile_plan.n_teams * n_values * layout.itemsize
    return int(tile_plan.n_teams * tile_plan.group * tile + scratch + gradients)


class Buffers:
    """What threads write while a schedule runs.

    Attributes
    ----------
    frames : list of uint64 arrays
        Each thread's `WorkFrame`.
    gradients : (n_crews, P), or (n_crews, 0) as long as there is none
    losses, barrier, meetings
        As in `WorkFrame`; meetings of all threads, (n_threads, 8).

    Parameters
    ----------
    n_values : int
        P, the parameters with padding.
    in_strips : bool
        Whether what strips read is to be copied after an update.
    """

    def __init__(
        self,
        layout: Layout,
        dtype: np.dtype[Any],
        n_values: int,
        tile_plan: TilePlan,
        cuts: Cuts,
        by_source_block: bool,
    ) -> None:
        n_threads, team_size = tile_plan.n_threads, tile_plan.team_size
        self._n_values = n_values
        self.gradients = aligned((tile_plan.n_teams, 0), dtype)
        self.losses = aligned((n_threads, int(LOSS_COLUMNS)), np.float64)
        self.barrier = aligned((BARRIER_SIZE,), np.int64)
        self.arrivals = aligned((n_threads, 8), np.int64)  # a cache line each
        of_all = {
            "group": tile_plan.group,
            "n_threads": n_threads,
            "n_teams": tile_plan.n_teams,
            "team_size": team_size,
            "in_stages": len(cuts.forward),
            "out_stages": len(cuts.backward),
            "in_cuts": cuts.forward,
            "out_cuts": cuts.backward,
            "losses": self.losses,
            "squares": np.zeros(n_values // int(BLOCK) + 1),
            "barrier": self.barrier,
            "meet": meet.compiled().address if n_threads > 1 else 0,
            "yield_address": yield_address(),
        }
        teams = [_tiles(layout, dtype, tile_plan) for _ in range(tile_plan.n_teams)]
        shares = _shares(layout, n_values, tile_plan, by_source_block)
        scratch = aligned((n_threads, SEGMENT_ROWS, tile_plan.row_bytes // dtype.itemsize), dtype)
        self._works = [
            WorkFrame(
                **of_all,
                **teams[thread // team_size],
                **shares[thread],
                thread=thread,
                team=thread // team_size,
                member=thread % team_size,
                scratch=scratch[thread],
                loss=self.losses[thread],
                arrivals=self.arrivals[thread],
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
        self._works = [work._replace(s=signals[work.team]) for work in self._works]
        self.frames = [pack(work) for work in self._works]

    def learning(
        self, times: npt.NDArray[np.int64] | None = None, dropout: Dropout | None = None
    ) -> list[Frame]:
        """Return each thread's `WorkFrame` with a gradient, and what else is given."""
        if self._works[0].gradient is None:
            self.gradients = aligned((len(self.gradients), self._n_values), self.gradients.dtype)
            self._works = [
                work._replace(gradient=self.gradients[work.team], gradients=self.gradients)
                for work in self._works
            ]
            self.frames = [pack(work) for work in self._works]
        more: dict[str, Any] = {}
        if dropout is not None:
            address = drop.compiled(self.gradients.dtype).address
            more |= {"drop": address, "keep_probability": dropout.stays, "drop_key": dropout.key}
        if times is not None:
            more |= {"tick": add_time.compiled().address, "clock": clock_address()}
        if not more:
            return self.frames
        rows = [None] * len(self._works) if times is None else times
        pairs = zip(self._works, rows, strict=True)
        return [pack(work._replace(**more, times=row)) for work, row in pairs]


def _tiles(layout: Layout, dtype: np.dtype[Any], tile_plan: TilePlan) -> dict[str, Array]:
    """Return what the members of a crew share: a group of tiles."""
    group, lanes = tile_plan.group, tile_plan.row_bytes // dtype.itemsize
    n, n_outputs = len(layout.plan.node), len(layout.plan.outputs)
    rows = {"x": n, "out": n_outputs, "y": n_outputs, "e": n_outputs, "row": int(N_ROWS)}
    return {
        **{name: aligned((group, count, lanes), dtype) for name, count in rows.items()},
        "tile_loss": np.zeros(group),
        "transposed": aligned((group, lanes, layout.stride), dtype),
    }


def _shares(
    layout: Layout, n_values: int, tile_plan: TilePlan, by_source_block: bool
) -> list[dict[str, Any]]:
    """Return what each thread updates, copies and clears of the parameters."""
    updated = _in_blocks(n_values, tile_plan.n_threads)
    cleared, uncovered = _in_blocks(n_values, tile_plan.team_size), layout.uncovered(n_values)
    result = []
    for thread, share in enumerate(layout.shares(tile_plan.n_threads, by_source_block)):
        member, (first, last) = thread % tile_plan.team_size, updated[thread]
        unstored = within(uncovered, first, last)
        result.append(
            {
                "patches": share.patches,
                "n_patches": len(share.patches),
                "stretches": share.stretches,
                "n_stretches": len(share.stretches),
                "first_blocked": share.source_blocks[0],
                "last_blocked": share.source_blocks[1],
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
