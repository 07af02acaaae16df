"""How a batch runs: in which tiles, on how many threads, and who takes which segments."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._engine.workers import available_cores
from dagbp._kernels.vectors.vector import CPU, REGISTER_BYTES
from dagbp._layout.segments import cut_stages

if TYPE_CHECKING:
    from dagbp._layout.layout import Wiring

Int64 = npt.NDArray[np.int64]

WAYS = ("auto", "tiles", "levels")


# Bytes of a tile's row, and what such a tile takes over the widest: four vector registers, never
# less than two cache lines, and fewer for small batches. `benchmarks/scaling.py` shows batches.
TILE_COST = {64: 0.4, 128: 0.67, 256: 1.0} if REGISTER_BYTES == 64 else {64: 0.6, 128: 1.0}
NARROW_ROW, WIDE_ROW = min(TILE_COST), max(TILE_COST)


# What a wide tile takes, in ns, as `Network.profile` shows it on AVX-512; meetings are assumed, and
# all of AVX2. Ratios count.
SPARSE_NS, DENSE_NS, NODE_NS = 4.5, 2.0, 40.0  # an edge there and back, by itself or in a panel
SINGLE_COST = 0.4  # one sample by itself over a narrow tile, on one thread: 0.28 to 0.41 if sparse
REDUCE_NS = 0.2  # a parameter's gradient into the sum, for each crew
MEETING_NS = 800.0
# A wide row that a member reads and another has computed. The nets of `layers.py` at 5-20 %, batch
# 1,024, with schedule="levels": two threads took 85 to 140 us a tile more than half of one's time.
EXCHANGE_NS = 35.0
WORTH_THREAD_NS = 50_000.0  # work that another thread needs to be worth waking
# Tiles that share what full blocks read of weights and gradient from beyond L2 (`layers.py` at
# 100 %). With AVX2, whose tiles are half as wide, eight take 0.9 of the time of one on a Zen 3, and
# 0.93 on a Zen 4 of 1 MiB L2. On an Intel of 2 MiB L2 one takes 0.8 of the time of four.
STREAMING_GROUP = 8 if REGISTER_BYTES < 64 or CPU == "znver4" else 1
SAME_BITS = 1.05  # what the same bits on any number of threads may cost


class Schedule(NamedTuple):
    """How a batch runs.

    Attributes
    ----------
    row_bytes : int
        Of one node's samples in a tile.
    group : int
        Tiles that a crew takes through the net side by side.
    n_crews, members : int
        Crews, and threads in each: one crew of all threads, or a crew of each.
    """

    row_bytes: int
    group: int
    n_crews: int
    members: int

    @property
    def n_threads(self) -> int:
        """Threads in all."""
        return self.n_crews * self.members


class Cuts(NamedTuple):
    """The segments of each thread, as `Work` has them."""

    forward: Int64
    backward: Int64


class Scheduler:
    """Chooses how batches run through one net, by a model of what each way takes.

    Parameters
    ----------
    wiring : Wiring
    ways : {"auto", "tiles", "levels"}
        "tiles": each thread takes tiles of its own through the net, and gradients are summed.
        "levels": all threads share each level, and results are the same bits on any number of
        them. "auto": the faster one, but "levels" where it loses less than `SAME_BITS`.
    """

    def __init__(self, wiring: "Wiring", ways: str = "auto") -> None:
        self._wiring, self._ways = wiring, ways
        dense = wiring.ins.n_edges + wiring.outs.n_edges
        sparse = 2 * wiring.n_slots - dense
        nodes = len(wiring.plan.node) - wiring.plan.n_inputs
        self._tile_ns = (dense * DENSE_NS + sparse * SPARSE_NS) / 2 + nodes * NODE_NS
        self._streams = dense > sparse and wiring.n_slots * wiring.itemsize > 2**20
        self._crews: dict[tuple[int, int], tuple[int, float]] = {}
        self._chosen: dict[tuple[int, int | None, bool], Schedule] = {}
        self._singles: dict[tuple[int | None, bool], bool] = {}

    def choose(self, n_samples: int, limit: int | None, back: bool = True) -> Schedule:
        """Return the schedule for batches of so many samples, on at most `limit` threads.

        Without a limit, as many threads as the batch keeps busy.
        """
        key = n_samples, limit, back
        if key not in self._chosen:
            self._chosen = {key: self._choose(*key)}  # the last one is asked for again and again
        return self._chosen[key]

    def single(self, limit: int | None, back: bool) -> bool:
        """Return whether one sample goes by itself, on one thread, and not as a tile.

        Never with "levels", whose bits must not depend on the number of threads.
        """
        key = limit, back
        if key not in self._singles:
            schedule = self._choose(1, limit, back)
            share = 1.0
            if schedule.members > 1:
                stages, busiest_share = self._crew(schedule.members, schedule.row_bytes)
                between = self._between_ns(schedule.members, schedule.row_bytes, stages, back)
                share = busiest_share + between / self._one_ns(back)
            self._singles[key] = self._ways != "levels" and share > SINGLE_COST
        return self._singles[key]

    def _one_ns(self, back: bool) -> float:
        """Return what one narrow tile takes on one thread."""
        return max(1.0, self._tile_ns * TILE_COST[NARROW_ROW] * (1.0 if back else 1 / 3))

    def _choose(self, n_samples: int, limit: int | None, back: bool) -> Schedule:
        row_bytes, tiles, tile_ns = self._width(n_samples)
        tile_ns *= 1.0 if back else 1 / 3
        chosen = limit is not None
        if limit is None:
            limit = max(1, min(available_cores(), int(tiles * tile_ns / WORTH_THREAD_NS)))
        group = min(tiles, STREAMING_GROUP) if self._streams else 1
        one = Schedule(row_bytes, group, 1, 1)
        if limit == 1:
            return one
        crews = min(limit, tiles)
        busiest = -(-tiles // crews)
        reduction = self._wiring.n_slots * REDUCE_NS * crews if back else 0.0
        by_tiles = busiest * tile_ns + reduction
        stages, busiest_share = self._crew(limit, row_bytes)
        between = self._between_ns(limit, row_bytes, stages, back)
        by_levels = tiles * (tile_ns * busiest_share + between)
        by_one = tiles * tile_ns
        if self._ways == "levels" or (self._ways == "auto" and by_levels < SAME_BITS * by_tiles):
            worth = by_levels < by_one or (chosen and self._ways == "levels")
            return Schedule(row_bytes, group, 1, limit) if worth else one
        if crews == 1:
            return one
        return Schedule(row_bytes, min(group, busiest), crews, 1)

    def _between_ns(self, members: int, row_bytes: int, stages: int, back: bool) -> float:
        """Return what the members of a crew take to meet, and to read each other's rows, a tile."""
        rows = len(self._wiring.plan.node) * row_bytes / WIDE_ROW * (1 - 1 / members)
        return (2 if back else 1) * (stages * MEETING_NS + rows * EXCHANGE_NS)

    def _width(self, n_samples: int) -> tuple[int, int, float]:
        """Return a row's bytes, the number of tiles, and what one takes there and back."""
        size = n_samples * self._wiring.itemsize
        tiles = {row_bytes: max(1, -(-size // row_bytes)) for row_bytes in TILE_COST}
        chosen = min(TILE_COST, key=lambda row_bytes: tiles[row_bytes] * TILE_COST[row_bytes])
        return chosen, tiles[chosen], self._tile_ns * TILE_COST[chosen]

    def _crew(self, members: int, row_bytes: int) -> tuple[int, float]:
        """Return how often a crew meets on the way forward, and what of the work takes its time.

        At each stage that is the share of its busiest member.
        """
        key = members, row_bytes
        if key not in self._crews:
            cuts = self._forward_cuts(Schedule(row_bytes, 1, 1, members))
            plan, first = self._wiring.plan, self._wiring.in_segment
            nodes = np.diff(first)  # a node counts as some edges: an activation, a call
            work = np.diff(plan.in_ptr[first]) + NODE_NS / SPARSE_NS * nodes
            total = np.concatenate([[0.0], np.cumsum(work)])
            busiest = np.diff(total[cuts], axis=1).max(axis=1).sum()
            self._crews[key] = len(cuts), float(busiest / max(total[-1], 1.0))
        return self._crews[key]

    def _samples(self, schedule: Schedule) -> int:
        return schedule.group * schedule.row_bytes // self._wiring.itemsize

    def _forward_cuts(self, schedule: Schedule) -> Int64:
        plan, first = self._wiring.plan, self._wiring.in_segment
        work = np.diff(plan.in_ptr[first]) * self._samples(schedule)
        return cut_stages(plan.level[first[:-1]], work, schedule.members)

    def cuts(self, schedule: Schedule) -> Cuts:
        """Return who takes which segments."""
        plan, outs, members = self._wiring.plan, self._wiring.out_segment, schedule.members
        samples, out_work = self._samples(schedule), np.diff(plan.out_ptr[outs])
        if members == 1:
            backward = np.array([[0, len(outs) - 1]])
        else:
            first = int(np.searchsorted(outs, plan.n_inputs))  # inputs before, computed from here
            level = plan.level[outs[:-1]]
            computed = first + cut_stages(level[first:], out_work[first:] * samples, members)
            inputs = cut_stages(np.zeros(first, np.int64), out_work[:first] * samples, members)
            backward = np.concatenate([computed[::-1], inputs])
        return Cuts(self._forward_cuts(schedule), np.ascontiguousarray(backward))
