"""Fills nearly full blocks of edges with explicit zeros, so that they run as dense panels.

These are relaxed supernodes [1]_. A block is a cell of a grid over the matrix of edges, about 48
targets by 48 sources, each side of one class (level and activation) and one cluster. Where enough
of its edges exist, the absent ones become slots with a weight of exactly zero. Their gradient is
ignored, so the weight stays zero. The network stays the same; only other kernels run it. A sum that
is NaN is computed again without the explicit zeros, because 0 times infinity is NaN.

.. [1] C. Ashcraft and R. Grimes, "The influence of relaxed supernode partitions on the multifrontal
   method", ACM Transactions on Mathematical Software 15, 1989.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._checks import is_number
from dagbp._errors import OptionError
from dagbp._machine import FAR_SHARE, FEW_SHARE, FEW_SOURCES, MANY_SOURCES, NEAR_SHARE
from dagbp._memory import require
from dagbp._plan.edge_order import by_source, grouped, row_slices
from dagbp._plan.plan import Plan
from dagbp._plan.row_class import LEAST_ROWS, cells

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

LEAST_SHARE = 0.05  # at most 20 slots for each edge
SLOT_BYTES = 40  # of memory that filling takes for each slot of a block at least
SLICE_EDGES = 2_000_000  # that are counted together, which limits the memory
PART_SHARE = 0.8  # a cell with less than this part of `FAR_SHARE` belongs to no block


class Filled(NamedTuple):
    """A plan with full dense blocks."""

    plan: Plan  # with explicit zeros among its edges: `in_edge` is -1 for them
    slot: Int64 | None  # (E,): new in-slot of each in-slot; None where nothing was filled


def check_dense_above(share: object) -> None:
    """Raise OptionError unless `share` is None or a share that leaves few enough zeros."""
    if share is not None and not (is_number(share) and share >= LEAST_SHARE):  # type: ignore[operator]
        raise OptionError(f"dense_above must be a number >= {LEAST_SHARE}, or None, got {share!r}")


def fill_blocks(
    plan: Plan, row_class: Int64, dense_above: float | None = None, slice_edges: int = SLICE_EDGES
) -> Filled:
    """Return the plan with filled blocks; they lie within the classes of `row_classes`.

    dense_above: fills every block with more than this share of its edges; None: every block that
    runs faster so. slice_edges: edges that are counted together.
    """
    found = _blocks(plan, row_class, dense_above, slice_edges)
    if found is None:
        return Filled(plan, None)
    src, dst = found
    n, old = len(plan.node), len(plan.in_src)
    target = np.repeat(np.arange(n), np.diff(plan.in_ptr))
    key = np.concatenate([target, dst]) * n + np.concatenate([plan.in_src, src])
    key, place = np.unique(key, return_inverse=True)
    in_src, (in_ptr, _) = (key % n).astype(np.int32), grouped(key // n, n)
    in_edge = np.full(len(key), -1, np.int64)
    in_edge[place[:old]] = plan.in_edge
    out_ptr, out_dst, in_slot = by_source(in_ptr, in_src)
    filled = plan._replace(in_ptr=in_ptr, in_src=in_src, in_edge=in_edge)
    filled = filled._replace(out_ptr=out_ptr, out_dst=out_dst, in_slot=in_slot)
    return Filled(filled, place[:old])


def _faster(a: Int64, b: Int64, counts: Int64, sizes: Int64) -> Bool:
    """Return which of the candidate cells to fill; cells that run as one block share the answer.

    a, b (n,): target and source cells, sorted by both; neighbours in b run as one block. counts
    (n,): their edges. sizes: the rows of every cell.
    """
    new = (np.diff(a, prepend=-1) != 0) | (np.diff(b, prepend=-1) != 1)
    block = np.cumsum(new) - 1
    n_sources = np.bincount(block, sizes[b])
    share = np.bincount(block, counts) / np.bincount(block, sizes[a] * sizes[b])
    few = NEAR_SHARE + np.maximum(0.0, FEW_SOURCES / n_sources - FEW_SHARE)
    chosen: Bool = (share > np.where(n_sources > MANY_SOURCES, FAR_SHARE, few))[block]
    return chosen


def _blocks(
    plan: Plan, row_class: Int64, dense_above: float | None, slice_edges: int
) -> tuple[Int64, Int64] | None:
    """Return sources and targets of all slots of the blocks to fill, or None for no such block."""
    first = cells(row_class, plan.cluster)
    sizes = np.diff(first)
    cell = np.repeat(np.arange(len(sizes)), sizes)
    least = PART_SHARE * FAR_SHARE if dense_above is None else dense_above
    pairs, counts = _count(plan, cell, sizes, least, slice_edges)
    a, b = pairs // len(sizes), pairs % len(sizes)
    area = sizes[a] * sizes[b]
    chosen = (np.minimum(sizes[a], sizes[b]) >= LEAST_ROWS) & (counts > least * area)
    if dense_above is None and chosen.any():
        chosen[chosen] = _faster(a[chosen], b[chosen], counts[chosen], sizes)
    chosen &= counts < area
    if not chosen.any():
        return None
    slots = int(area[chosen].sum())
    require(SLOT_BYTES * slots, f"filling blocks of {slots:,} edges, explicit zeros included,")
    ends = [
        np.meshgrid(
            np.arange(first[i], first[i + 1]), np.arange(first[j], first[j + 1]), indexing="ij"
        )
        for i, j in zip(b[chosen].tolist(), a[chosen].tolist(), strict=True)
    ]
    src, dst = (np.concatenate([grid[k].ravel() for grid in ends]) for k in range(2))
    return src, dst


def _count(
    plan: Plan, cell: Int64, sizes: Int64, least: float, slice_edges: int
) -> tuple[Int64, Int64]:
    """Return each pair of a target cell and a source cell as one number, and its edges.

    Rows with less than half of the average number of edges in a block of density `least` are not
    counted. So a count may be too small, but hardly in a block where most edges exist.
    """
    keys, counts = [], []
    few = max(1, math.ceil(least / 2 * LEAST_ROWS))  # edges of a row in a cell that count
    for first, last in row_slices(plan.in_ptr, slice_edges):
        slots = slice(plan.in_ptr[first], plan.in_ptr[last])
        source = cell[plan.in_src[slots]]
        degrees = np.diff(plan.in_ptr[first : last + 1])
        if degrees.max(initial=0) < LEAST_ROWS * least:
            continue
        if not (source[few - 1 :] == source[: max(0, len(source) + 1 - few)]).any():
            continue
        row = np.repeat(np.arange(first, last), degrees)
        new = np.flatnonzero((np.diff(source) != 0) | (np.diff(row) != 0)) + 1
        begin = np.concatenate([[0], new])
        length = np.diff(np.append(begin, len(source)))
        some = length >= least / 2 * np.maximum(sizes[source[begin]], LEAST_ROWS)
        keys.append(cell[row[begin[some]]] * len(sizes) + source[begin[some]])
        counts.append(length[some])
    if not keys:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pairs, where = np.unique(np.concatenate(keys), return_inverse=True)
    return pairs, np.bincount(where, np.concatenate(counts)).astype(np.int64)
