"""Buffers: the arrays that kernels write, and each thread's WorkFrame."""

from array import array
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._engine.tile_plan import Cuts, TilePlan
from dagbp._kernels.formulas.dropout import drop
from dagbp._kernels.formulas.update import BLOCK
from dagbp._kernels.frames import (
    BARRIER_SIZE,
    LOSS_COLUMNS,
    N_ROWS,
    SEED,
    SEGMENT_ROWS,
    WorkFrame,
    pack,
)
from dagbp._kernels.passes.barrier import wait, yield_address
from dagbp._kernels.passes.timing import add_time, clock_address
from dagbp._layout.layout import Layout
from dagbp._layout.refresh import within
from dagbp._memory import aligned

Array = npt.NDArray[Any]


class Dropout(NamedTuple):
    """The probability that each row is kept, and a key: the run's seed, the number of the step."""

    keep_probability: npt.NDArray[np.float64]
    key: npt.NDArray[np.uint64]

    @classmethod
    def seeded(cls, keep_probability: npt.NDArray[np.float64], seed: int) -> "Dropout":
        """Return the dropout of a run with this seed."""
        key = np.zeros(2, np.uint64)
        key[SEED] = seed
        return cls(keep_probability, key)


def shapes(layout: Layout, tile_plan: TilePlan, n_values: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of a step, by its field of WorkFrame.

    The first axis counts teams; of `scratch` it counts threads. `n_values` is the number of
    parameters with padding.
    """
    teams, group = tile_plan.n_teams, tile_plan.group
    lanes = tile_plan.row_bytes // layout.itemsize
    n, n_outputs = len(layout.plan.node), len(layout.plan.outputs)
    rows = {"x": n, "s": n, "out": n_outputs, "y": n_outputs, "e": n_outputs, "row": int(N_ROWS)}
    return {
        **{name: (teams, group, count, lanes) for name, count in rows.items()},
        "transposed": (teams, group, lanes, layout.stride),
        "scratch": (tile_plan.n_threads, SEGMENT_ROWS, lanes),
        "gradients": (teams, n_values),
    }


def step_bytes(layout: Layout, tile_plan: TilePlan, n_values: int, signals: bool) -> int:
    """Return the bytes of a step's tiles and gradients, and of stored signals if there are some."""
    found = shapes(layout, tile_plan, n_values)
    numbers = sum(prod(shape) for name, shape in found.items() if signals or name != "s")
    return numbers * layout.itemsize


class Buffers:
    """The arrays that threads of a tile plan write. by_source_block: if source blocks are used."""

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
        self._dtype, self._shapes = dtype, shapes(layout, tile_plan, n_values)
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
            "wait": wait.compiled().address if n_threads > 1 else 0,
            "yield_address": yield_address(),
        }
        of_team = {name: self._new(name) for name in ("x", "out", "y", "e", "row", "transposed")}
        of_team["tile_loss"] = np.zeros((tile_plan.n_teams, tile_plan.group))
        shares = _shares(layout, n_values, tile_plan, by_source_block)
        scratch = self._new("scratch")
        self._works = [
            WorkFrame(
                **of_all,
                **{name: array[thread // team_size] for name, array in of_team.items()},
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
        self._pack()

    def _new(self, name: str) -> Array:
        return aligned(self._shapes[name], self._dtype)

    def _pack(self) -> None:
        self._frames = [pack(work, self._dtype) for work in self._works]

    @property
    def stores_signals(self) -> bool:
        """Whether there is room for every node's signal."""
        return self._works[0].s is not None

    def store_signals(self) -> None:
        """Make room for every node's signal."""
        signals = self._new("s")
        self._works = [work._replace(s=signals[work.team]) for work in self._works]
        self._pack()

    def gradients(self) -> Array:
        """Return the gradients (n_teams, P); the first call makes them."""
        gradients = self._works[0].gradients
        if gradients is None:
            gradients = self._new("gradients")
            self._works = [
                work._replace(gradient=gradients[work.team], gradients=gradients)
                for work in self._works
            ]
            self._pack()
        return gradients

    def frames(
        self, dropout: Dropout | None = None, times: npt.NDArray[np.int64] | None = None
    ) -> "list[array[int]]":
        """Return each thread's packed WorkFrame, with dropout and a clock if they are given."""
        if dropout is None and times is None:
            return self._frames
        more: dict[str, Any] = {}
        if dropout is not None:
            more["drop"] = drop.compiled(self._dtype).address
            more |= {"keep_probability": dropout.keep_probability, "drop_key": dropout.key}
        if times is not None:
            more |= {"tick": add_time.compiled().address, "clock": clock_address()}
        rows = [None] * len(self._works) if times is None else times
        pairs = zip(self._works, rows, strict=True)
        return [pack(work._replace(**more, times=row), self._dtype) for work, row in pairs]


def _shares(
    layout: Layout, n_values: int, tile_plan: TilePlan, by_source_block: bool
) -> list[dict[str, Any]]:
    """Return the parameters that each thread updates, copies and clears, as fields of WorkFrame."""
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
    """Return the first and last parameter of each share of n parameters, in whole blocks."""
    blocks = -(-n // int(BLOCK))
    ends = [min(n, blocks * k // shares * int(BLOCK)) for k in range(shares + 1)]
    return list(pairwise(ends))
