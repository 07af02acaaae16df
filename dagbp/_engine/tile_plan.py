"""Tile plans: the width of tiles, the number of threads, and each thread's segments.

`_kernels.passes.entry_points` explains tiles, groups, teams, segments and stages.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._engine.workers import available_cores
from dagbp._layout.layout import Layout
from dagbp._layout.segments import cut_stages
from dagbp._machine import (
    BARRIER_NS,
    DENSE_NS,
    EXCHANGE_NS,
    NARROW_ROW,
    NODE_NS,
    REDUCE_NS,
    SINGLE_COST,
    SPARSE_NS,
    STREAMED_DENSE,
    STREAMED_SPARSE,
    STREAMING_GROUP,
    TILE_COST,
    WIDE_ROW,
    WORTH_BARRIER,
    WORTH_THREAD_NS,
)

Int64 = npt.NDArray[np.int64]

STRATEGIES = ("auto", "tiles", "levels")
# "auto" is "levels" if its cost is at most this many times the cost of "tiles".
SAME_BITS = 1.05


class TilePlan(NamedTuple):
    """The tiles and threads of a batch.

    A row of a tile has the samples of one node, in `row_bytes` bytes. A team takes `group` tiles
    through the network side by side. There is one team of all threads, or a team for each thread.
    """

    row_bytes: int
    group: int
    n_teams: int
    team_size: int

    @property
    def n_threads(self) -> int:
        """The number of all threads."""
        return self.n_teams * self.team_size


class Cuts(NamedTuple):
    """The segments of each member of a team, as `in_cuts` and `out_cuts` of WorkFrame."""

    forward: Int64
    backward: Int64


class TilePlanner:
    """Chooses a tile plan for each batch of one network, by a model of costs.

    With "tiles", each thread takes tiles of its own through the network, and the gradients are
    summed. With "levels", all threads share each level, and the results have the same bits on any
    number of threads. "auto" is one of them, see `SAME_BITS`.
    """

    worth_barrier = WORTH_BARRIER

    def __init__(self, layout: Layout, strategy: str = "auto") -> None:
        self._layout, self._strategy = layout, strategy
        dense = layout.ins.n_edges + layout.outs.n_edges
        sparse = 2 * layout.n_slots - dense
        nodes = len(layout.plan.node) - layout.plan.n_inputs
        self._tile_ns = (dense * DENSE_NS + sparse * SPARSE_NS) / 2 + nodes * NODE_NS
        least = STREAMED_DENSE if dense > sparse else STREAMED_SPARSE
        self._streams = layout.n_slots * layout.itemsize > least
        self._teams: dict[tuple[int, int], tuple[int, float]] = {}
        self._chosen: dict[tuple[int, int | None, bool], TilePlan] = {}
        self._singles: dict[tuple[int | None, bool], bool] = {}

    def choose(self, n_samples: int, max_threads: int | None, back: bool = True) -> TilePlan:
        """Return the tile plan for `n_samples` samples; back: whether there is a backward pass."""
        key = n_samples, max_threads, back
        if key not in self._chosen:
            self._chosen = {key: self._choose(*key)}  # steps ask for the same plan again and again
        return self._chosen[key]

    def single(self, max_threads: int | None, back: bool) -> bool:
        """Return whether one sample is faster outside of tiles, on one thread.

        Always false with "levels", as the bits must not depend on the number of threads.
        """
        key = max_threads, back
        if key not in self._singles:
            tile_plan = self._choose(1, max_threads, back)
            share = 1.0
            if tile_plan.team_size > 1:
                stages, busiest_share = self._team(tile_plan.team_size, tile_plan.row_bytes)
                between = self._between_ns(tile_plan.team_size, tile_plan.row_bytes, stages, back)
                share = busiest_share + between / self._one_ns(back)
            self._singles[key] = self._strategy != "levels" and share > SINGLE_COST
        return self._singles[key]

    def _one_ns(self, back: bool) -> float:
        """Return the time of one narrow tile on one thread."""
        return max(1.0, self._tile_ns * TILE_COST[NARROW_ROW] * (1.0 if back else 1 / 3))

    def _choose(self, n_samples: int, max_threads: int | None, back: bool) -> TilePlan:
        row_bytes, tiles, tile_ns = self._width(n_samples)
        tile_ns *= 1.0 if back else 1 / 3
        chosen = max_threads is not None
        if max_threads is None:
            max_threads = max(1, min(available_cores(), int(tiles * tile_ns / WORTH_THREAD_NS)))
        group = min(tiles, STREAMING_GROUP) if self._streams else 1
        one = TilePlan(row_bytes, group, 1, 1)
        if max_threads == 1:
            return one
        teams = min(max_threads, tiles)
        busiest = -(-tiles // teams)
        reduction = self._layout.n_slots * REDUCE_NS * teams if back else 0.0
        by_tiles = busiest * tile_ns + reduction
        stages, busiest_share = self._team(max_threads, row_bytes)
        between = self._between_ns(max_threads, row_bytes, stages, back)
        by_levels = tiles * (tile_ns * busiest_share + between)
        by_one = tiles * tile_ns
        if self._strategy == "levels" or (
            self._strategy == "auto" and by_levels < SAME_BITS * by_tiles
        ):
            worth = by_levels < by_one or (chosen and self._strategy == "levels")
            return TilePlan(row_bytes, group, 1, max_threads) if worth else one
        if teams == 1:
            return one
        return TilePlan(row_bytes, min(group, busiest), teams, 1)

    def _between_ns(self, team_size: int, row_bytes: int, stages: int, back: bool) -> float:
        """Return a team's time for barriers and for reading each other's rows, for one tile."""
        rows = len(self._layout.plan.node) * row_bytes / WIDE_ROW * (1 - 1 / team_size)
        return (2 if back else 1) * (stages * BARRIER_NS + rows * EXCHANGE_NS)

    def _width(self, n_samples: int) -> tuple[int, int, float]:
        """Return the bytes of a row, the number of tiles, and the time of one, forward and back."""
        size = n_samples * self._layout.itemsize
        tiles = {row_bytes: max(1, -(-size // row_bytes)) for row_bytes in TILE_COST}
        chosen = min(TILE_COST, key=lambda row_bytes: tiles[row_bytes] * TILE_COST[row_bytes])
        return chosen, tiles[chosen], self._tile_ns * TILE_COST[chosen]

    def _team(self, team_size: int, row_bytes: int) -> tuple[int, float]:
        """Return the forward stages, and the share of the work that the busiest members have."""
        key = team_size, row_bytes
        if key not in self._teams:
            cuts = self._forward_cuts(TilePlan(row_bytes, 1, 1, team_size))
            plan, first = self._layout.plan, self._layout.in_segment
            nodes = np.diff(first)  # a node counts as several edges: an activation, a call
            work = np.diff(plan.in_ptr[first]) + NODE_NS / SPARSE_NS * nodes
            total = np.concatenate([[0.0], np.cumsum(work)])
            busiest = np.diff(total[cuts], axis=1).max(axis=1).sum()
            self._teams[key] = len(cuts), float(busiest / max(total[-1], 1.0))
        return self._teams[key]

    def _samples(self, tile_plan: TilePlan) -> int:
        return tile_plan.group * tile_plan.row_bytes // self._layout.itemsize

    def _forward_cuts(self, tile_plan: TilePlan) -> Int64:
        plan, first = self._layout.plan, self._layout.in_segment
        work = np.diff(plan.in_ptr[first]) * self._samples(tile_plan)
        return self._stages(plan.level[first[:-1]], work, tile_plan.team_size)

    def _stages(self, level: Int64, work: Int64, team_size: int) -> Int64:
        return cut_stages(level, work, team_size, self.worth_barrier)

    def cuts(self, tile_plan: TilePlan) -> Cuts:
        """Return the segments of each member at each stage."""
        plan, outs, team_size = self._layout.plan, self._layout.out_segment, tile_plan.team_size
        samples, out_work = self._samples(tile_plan), np.diff(plan.out_ptr[outs])
        if team_size == 1:
            backward = np.array([[0, len(outs) - 1]])
        else:
            first = int(np.searchsorted(outs, plan.n_inputs))  # inputs before, computed from here
            level = plan.level[outs[:-1]]
            computed = first + self._stages(level[first:], out_work[first:] * samples, team_size)
            inputs = self._stages(np.zeros(first, np.int64), out_work[:first] * samples, team_size)
            backward = np.concatenate([computed[::-1], inputs])
        return Cuts(self._forward_cuts(tile_plan), np.ascontiguousarray(backward))
