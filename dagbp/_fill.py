"""Nearly full blocks of edges, filled up with held zeros so that they run as dense panels.

A block is a cell of a grid over the matrix of edges, about `CELL` targets by `CELL` sources, each
side of one kind (level and activation) and one group of alike rows. Where enough of its edges
exist, the absent ones become slots whose weight is exactly zero and stays so: their gradient counts
for nothing. The network means the same; only the kernels that run it change. Results that are not
finite are summed again without the held zeros, as 0 times infinity is not zero.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._errors import OptionError
from dagbp._kernels.vector import REGISTER_BYTES
from dagbp._numbers import is_number
from dagbp._plan import Plan, by_source, grouped, row_slices

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

CELL = 48  # a multiple of every PANEL_ROWS and of the runs' 16
LEAST = 16  # cells with a shorter side stay as they are
LEAST_SHARE = 0.05  # 20 slots an edge
SLICE = 2_000_000  # edges looked at together: what counting takes of memory


# What a slot takes as part of a panel, over what an edge takes by itself. Measured with AVX-512: at
# this density of `benchmarks/layers.py` a step takes as long filled as not. With the 16 registers
# of AVX2 panels gain less, so it should be more: that number is assumed.
DENSE_OVER_SPARSE = 0.65 if REGISTER_BYTES == 64 else 0.75


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


def fill_blocks(plan: Plan, kind: Int64, dense_above: float = DENSE_OVER_SPARSE) -> Filled:
    """Return the plan with every block filled of which more than this share of the edges exist."""
    found = _blocks(plan, kind, dense_above)
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


def _blocks(plan: Plan, kind: Int64, dense_above: float) -> tuple[Int64, Int64] | None:
    """Return sources and targets of all slots of the blocks to fill, or None for no such block."""
    first = cells(kind, plan.group)
    sizes = np.diff(first)
    cell = np.repeat(np.arange(len(sizes)), sizes)
    pairs, counts = _count(plan, cell, sizes, dense_above)
    a, b = pairs // len(sizes), pairs % len(sizes)
    area = sizes[a] * sizes[b]
    wide = np.minimum(sizes[a], sizes[b]) >= LEAST
    chosen = wide & (counts > dense_above * area) & (counts < area)
    if not chosen.any():
        return None
    ends = [
        np.meshgrid(
            np.arange(first[i], first[i + 1]), np.arange(first[j], first[j + 1]), indexing="ij"
        )
        for i, j in zip(b[chosen].tolist(), a[chosen].tolist(), strict=True)
    ]
    src, dst = (np.concatenate([grid[k].ravel() for grid in ends]) for k in range(2))
    return src, dst


def cells(kind: Int64, group: Int64) -> Int64:
    """Return the first row of each cell: of one kind and group, cut every `CELL`; the end is last.

    Fewer than `LEAST` rows that are left go with the cell before.
    """
    new = (np.diff(kind) != 0) | (np.diff(group) != 0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    sizes = np.diff(starts, append=len(kind))
    parts = np.maximum(1, (sizes + CELL - LEAST) // CELL)
    before = np.cumsum(parts) - parts
    part = np.arange(parts.sum()) - np.repeat(before, parts)
    return np.append(np.repeat(starts, parts) + CELL * part, len(kind))


def _count(plan: Plan, cell: Int64, sizes: Int64, dense_above: float) -> tuple[Int64, Int64]:
    """Return the numbers (target cell, source cell) as one number, and how many edges each has.

    Rows with a small part of a cell's edges are left out: fewer than half of what a block needs
    on average. A count may so miss some edges, never enough to matter where most exist.
    """
    keys, counts = [], []
    for first, last in row_slices(plan.in_ptr, SLICE):
        slots = slice(plan.in_ptr[first], plan.in_ptr[last])
        source = cell[plan.in_src[slots]]
        degrees = np.diff(plan.in_ptr[first : last + 1])
        if degrees.max(initial=0) < LEAST * dense_above:
            continue
        row = np.repeat(np.arange(first, last), degrees)
        new = np.flatnonzero((np.diff(source) != 0) | (np.diff(row) != 0)) + 1
        begin = np.concatenate([[0], new])
        length = np.diff(np.append(begin, len(source)))
        some = length >= dense_above / 2 * np.maximum(sizes[source[begin]], LEAST)
        keys.append(cell[row[begin[some]]] * len(sizes) + source[begin[some]])
        counts.append(length[some])
    if not keys:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pairs, where = np.unique(np.concatenate(keys), return_inverse=True)
    return pairs, np.bincount(where, np.concatenate(counts)).astype(np.int64)
