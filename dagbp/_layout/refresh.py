"""Copies of updated weights to the order of the forward pass, shared among threads.

Weights are updated in out-edge order. In a fully connected block a cache line there holds one
source and many targets, and in in-edge order one target and many sources. Such blocks are copied by
*patches* that fill cache lines on both sides, transposed between registers. The rest is copied slot
by slot.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._layout.panels import LENGTH, START, Panels, covered, runs_of
from dagbp._layout.source_blocks import SourceBlocks
from dagbp._plan.plan import Plan

Int64 = npt.NDArray[np.int64]


class Copies(NamedTuple):
    """All in-slots, once each; slots in source blocks are left out where these are in use.

    A patch is a run that as many consecutive targets as fill a cache line have in common: the first
    in-slot of the first target, the distance to the first in-slot of the next target, the length.
    """

    patches: Int64  # (n, 3)
    stretches: Int64  # (m, 2): the other in-slots as ranges [first, last), ascending


class Share(NamedTuple):
    """The copies of one thread: patches, stretches, edges in source blocks, rows with a bias."""

    patches: Int64
    stretches: Int64
    source_blocks: tuple[int, int]
    rows: tuple[int, int]


def find_copies(
    panels: Panels | None, n_rows: int, n_slots: int, source_blocks: SourceBlocks | None
) -> Copies:
    """Return the copies. panels: of `n_rows` targets, a cache line. source_blocks: if in use."""
    runs = np.empty((0, START + n_rows), np.int64) if panels is None else runs_of(panels, n_rows)
    starts = runs[:, -n_rows:]
    strides = np.diff(starts, axis=1)
    regular = (strides == strides[:, :1]).all(axis=1)
    runs, starts, strides = runs[regular], starts[regular], strides[regular]
    patches = np.column_stack([starts[:, 0], strides[:, 0], runs[:, LENGTH]])
    if len(patches) == 0 and source_blocks is None:
        return Copies(patches, within(np.array([[0, n_slots]]), 0, n_slots))
    left = ~covered(starts, patches[:, 2], n_slots)
    if source_blocks is not None:
        left[source_blocks.slot] = False
    return Copies(patches, stretches(left))


def stretches(chosen: npt.NDArray[np.bool_]) -> Int64:
    """Return the maximal ranges [first, last) of chosen slots, (m, 2)."""
    edges = np.diff(chosen.astype(np.int8), prepend=0, append=0)
    return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])


def within(given: Int64, first: int, last: int) -> Int64:
    """Return the intersection of the given ranges with [first, last)."""
    clipped = np.clip(given, first, last)
    return np.ascontiguousarray(clipped[clipped[:, 0] < clipped[:, 1]])


def share_out(
    copies: Copies, source_blocks: SourceBlocks | None, plan: Plan, shares: int
) -> list[Share]:
    """Return the share of each thread, which is about equal in each of the four parts."""
    by_length = _even(copies.patches[:, 2], shares)
    slots = _cut(copies.stretches, shares)
    n_blocks = 0 if source_blocks is None else len(source_blocks.slot)
    by_source_block = [n_blocks * t // shares for t in range(shares + 1)]
    rows = plan.n_inputs + _even(1 + np.diff(plan.in_ptr)[plan.n_inputs :], shares)
    return [
        Share(
            copies.patches[by_length[t] : by_length[t + 1]],
            slots[t],
            (by_source_block[t], by_source_block[t + 1]),
            (int(rows[t]), int(rows[t + 1])),
        )
        for t in range(shares)
    ]


def _cut(given: Int64, shares: int) -> list[Int64]:
    """Return the given ranges cut into shares with the same number of slots."""
    if len(given) == 0:
        return [given] * shares
    ends = np.cumsum(given[:, 1] - given[:, 0])
    bounds = ends[-1] * np.arange(1, shares) // shares
    at = np.searchsorted(ends, bounds, side="right")
    cuts = given[at, 1] - (ends[at] - bounds)
    edges = [0, *cuts.tolist(), int(given[-1, 1])]
    return [within(given, first, last) for first, last in pairwise(edges)]


def _even(work: Int64, shares: int) -> Int64:
    """Return the first piece of each share of about equal work, and the end."""
    total = np.concatenate([[0], np.cumsum(work)])
    inner = np.searchsorted(total, total[-1] * np.arange(1, shares) // shares)
    return np.array([0, *inner.tolist(), len(work)], np.int64)
