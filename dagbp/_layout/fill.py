"""Nearly full blocks of edges, filled up with held zeros so that they run as dense panels.

A block is a cell of a grid over the matrix of edges, about `CELL` targets by `CELL` sources, each
side of one kind (level and activation) and one group of alike rows. Where enough of its edges
exist, the absent ones become slots whose weight is exactly zero and stays so: their gradient counts
for nothing. The network means the same; only the kernels that run it change. Results that are not
finite are summed again without the held zeros, as 0 times infinity is not zero.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._checks import is_number
from dagbp._errors import OptionError
from dagbp._machine import FAR_SHARE, NEAR_SHARE
from dagbp._memory import require
from dagbp._plan.grid import LEAST, cells
from dagbp._plan.plan import Plan, by_source, grouped, row_slices

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

LEAST_SHARE = 0.05  # 20 slots an edge
SLOT_BYTES = 40  # what filling takes for each slot of a block at least
SLICE = 2_000_000  # edges looked at together: what counting takes of memory


MANY_SOURCES = 640
PART_SHARE = 0.8  # of that share a cell needs to be part of such a block


class Filled(NamedTuple):
    """A plan whose dense blocks are full.

    Attributes
    ----------
    plan : Plan
        With held zeros among its edges: `in_edge` is -1 for them.
    slot : int64 (E,), or None
        In-slot of each in-slot of the plan before; None where nothing was filled.
    """

    plan: Plan
    slot: Int64 | None


def check_dense_above(share: object) -> None:
    """Refuse what is no share of a block; with a smaller one, memory would go to zeros alone."""
    if share is not None and not (is_number(share) and share >= LEAST_SHARE):  # type: ignore[operator]
        raise OptionError(f"dense_above must be a number >= {LEAST_SHARE}, or None, got {share!r}")


def fill_blocks(plan: Plan, row_class: Int64, dense_above: float | None = None) -> Filled:
    """Return the plan with every block filled of which more than this share of the edges exist.

    Without a share, where that is faster.
    """
    found = _blocks(plan, row_class, dense_above)
    if found is None:
        return Filled(plan, None)
    src, dst = found
    n, old = len(plan.node), len(plan.in_src)
    target = np.repeat(np.arange(n), np.diff(plan.in_ptr))
    key = np.concatenate([target, dst]) * n + np.concatenate([plan.in_src, src])
    key, place = np.unique(key, return_inverse=True)  # edges come first, so held ones drop out
    in_src, (in_ptr, _) = (key % n).astype(np.int32), grouped(key // n, n)
    in_edge = np.full(len(key), -1, np.int64)
    in_edge[place[:old]] = plan.in_edge
    out_ptr, out_dst, in_slot = by_source(in_ptr, in_src)
    filled = plan._replace(
        in_ptr=in_ptr,
        in_src=in_src,
        in_edge=in_edge,
        out_ptr=out_ptr,
        out_dst=out_dst,
        in_slot=in_slot,
    )
    return Filled(filled, place[:old])


def _faster(a: Int64, b: Int64, counts: Int64, sizes: Int64) -> Bool:
    """Return which cells to fill, of those that may be: neighbours together or not at all.

    Parameters
    ----------
    a, b : int64 (n,)
        Target and source cells, sorted by both; neighbours in b run as one block.
    counts : int64 (n,)
        Edges.
    """
    new = (np.diff(a, prepend=-1) != 0) | (np.diff(b, prepend=-1) != 1)
    block = np.cumsum(new) - 1
    n_sources = np.bincount(block, sizes[b])
    share = np.bincount(block, counts) / np.bincount(block, sizes[a] * sizes[b])
    few = np.maximum(NEAR_SHARE, NEAR_SHARE - 0.15 + 8 / n_sources)
    chosen: Bool = (share > np.where(n_sources > MANY_SOURCES, FAR_SHARE, few))[block]
    return chosen


def _blocks(plan: Plan, row_class: Int64, dense_above: float | None) -> tuple[Int64, Int64] | None:
    """Return sources and targets of all slots of the blocks to fill, or None for no such block."""
    first = cells(row_class, plan.group)
    sizes = np.diff(first)
    cell = np.repeat(np.arange(len(sizes)), sizes)
    least = PART_SHARE * FAR_SHARE if dense_above is None else dense_above
    pairs, counts = _count(plan, cell, sizes, least)
    a, b = pairs // len(sizes), pairs % len(sizes)
    area = sizes[a] * sizes[b]
    chosen = (np.minimum(sizes[a], sizes[b]) >= LEAST) & (counts > least * area)
    if dense_above is None and chosen.any():
        chosen[chosen] = _faster(a[chosen], b[chosen], counts[chosen], sizes)
    chosen &= counts < area
    if not chosen.any():
        return None
    slots = int(area[chosen].sum())
    require(SLOT_BYTES * slots, f"filling blocks of {slots:,} edges, held ones included,")
    ends = [
        np.meshgrid(
            np.arange(first[i], first[i + 1]), np.arange(first[j], first[j + 1]), indexing="ij"
        )
        for i, j in zip(b[chosen].tolist(), a[chosen].tolist(), strict=True)
    ]
    src, dst = (np.concatenate([grid[k].ravel() for grid in ends]) for k in range(2))
    return src, dst


def _count(plan: Plan, cell: Int64, sizes: Int64, least: float) -> tuple[Int64, Int64]:
    """Return the numbers (target cell, source cell) as one number, and how many edges each has.

    Rows with a small part of a cell's edges are left out: fewer than half of what a block needs
    on average, the share `least`. A count may so miss some edges, never enough to matter where most
    exist.
    """
    keys, counts = [], []
    few = max(1, math.ceil(least / 2 * LEAST))  # of a row's edges, fewer in a cell are left out
    for first, last in row_slices(plan.in_ptr, SLICE):
        slots = slice(plan.in_ptr[first], plan.in_ptr[last])
        source = cell[plan.in_src[slots]]
        degrees = np.diff(plan.in_ptr[first : last + 1])
        if degrees.max(initial=0) < LEAST * least:
            continue
        if not (source[few - 1 :] == source[: max(0, len(source) + 1 - few)]).any():
            continue
        row = np.repeat(np.arange(first, last), degrees)
        new = np.flatnonzero((np.diff(source) != 0) | (np.diff(row) != 0)) + 1
        begin = np.concatenate([[0], new])
        length = np.diff(np.append(begin, len(source)))
        some = length >= least / 2 * np.maximum(sizes[source[begin]], LEAST)
        keys.append(cell[row[begin[some]]] * len(sizes) + source[begin[some]])
        counts.append(length[some])
    if not keys:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pairs, where = np.unique(np.concatenate(keys), return_inverse=True)
    return pairs, np.bincount(where, np.concatenate(counts)).astype(np.int64)
