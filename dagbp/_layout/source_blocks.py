"""Source blocks, which are cache blocking: sources are read again while they are in the L1 cache.

Forward, each edge of a sparse row loads the samples of its source, from L2 where the sources of a
level do not fit L1. Where rows have many edges, their sources are cut into blocks that fit L1 [1]_.
All edges from the first block run first, target after target, then all edges from the second. The
sum of each target waits in memory meanwhile. This costs a load and a store for each *piece*: the
edges of one target from one block. Pieces lie one after the other in an order of their own.

.. [1] M. S. Lam, E. E. Rothberg and M. E. Wolf, "The cache performance and optimizations of blocked
   algorithms", ASPLOS IV, 1991.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._machine import BLOCK_EDGE_NS, FAR_EDGE_NS, L1_BYTES, PIECE_NS, WIDE_ROW
from dagbp._plan.plan import Plan

Int64 = npt.NDArray[np.int64]

SEGMENT_ROWS = 128  # targets that go through the source blocks together
LEAST_DEGREE = 16  # edges a row on average: with fewer, pieces are too short to gain anything


class SourceBlocks(NamedTuple):
    """The edges that run by source blocks, in an order of their own.

    The program of a segment: the number of blocks, then the first edge of each piece, block by
    block and target by target, and the end of the last one.
    """

    of_segment: Int64  # (n_segments,): place in `program` of a segment of in-edges, 0 for none
    program: Int64
    slot: Int64  # (S,): in-slot of each edge
    source: npt.NDArray[np.int32]  # (S,)
    value_slot: npt.NDArray[np.uint32]  # (S,): out-slot of each edge


def rows_by_source_block(plan: Plan, row_class: Int64, mixed: npt.NDArray[np.bool_]) -> Int64:
    """Return for each row the sources of a block, 0 (none) in classes with mixed rows."""
    rows = np.zeros(len(row_class), np.int64)
    if plan.in_slot.dtype != np.uint32:
        return rows
    first = np.flatnonzero(np.append(True, np.diff(row_class) != 0)[: len(row_class)])
    last = np.append(first[1:], len(row_class))
    degree = (plan.in_ptr[last] - plan.in_ptr[first]) / np.maximum(1, last - first)
    for a, b in zip(first[degree >= LEAST_DEGREE], last[degree >= LEAST_DEGREE], strict=True):
        if not mixed[a:b].any():
            rows[a:b] = _best_rows(plan.in_src[plan.in_ptr[a] : plan.in_ptr[b]], b - a)
    return rows


def _best_rows(source: npt.NDArray[np.int32], n_targets: int) -> int:
    """Return the number of sources of a block for the edges of one class of rows, or 0."""
    sources = distinct(source)
    n_sources = len(sources)
    if n_sources * WIDE_ROW <= L1_BYTES:
        return 0
    n_segments = -(-n_targets // SEGMENT_ROWS)
    far = min(len(source), n_sources * n_segments)  # edges that load their source into L1
    best, least_ns = 0, FAR_EDGE_NS * len(source)
    for size, edge_ns in BLOCK_EDGE_NS.items():
        n_blocks = len(distinct(sources // (size // WIDE_ROW)))
        ns = edge_ns * (len(source) - far) + FAR_EDGE_NS * far + PIECE_NS * n_blocks * n_targets
        if ns < least_ns:
            best, least_ns = size // WIDE_ROW, ns
    return best


def distinct(values: npt.NDArray[Any]) -> Int64:
    """Return the distinct values, ascending; by marks where their range is narrow."""
    least, greatest = int(values.min()), int(values.max())
    if greatest - least > 8 * len(values):
        return np.unique(values).astype(np.int64)
    found = np.zeros(greatest - least + 1, np.bool_)
    found[values - least] = True
    return least + np.flatnonzero(found)


def cut_source_blocks(plan: Plan, rows: Int64, segment: Int64) -> SourceBlocks | None:
    """Return the source blocks of all segments that have some; None if no segment has.

    rows (n,): sources of a block, 0 for none; the same for all rows of a segment. segment: its
    first row, and the end.
    """
    of_segment = np.zeros(len(segment) - 1, np.int64)
    program, slots, n_words, n_slots = [np.zeros(1, np.int64)], [], 1, 0
    for k in np.flatnonzero(rows[segment[:-1]]):
        first, last = segment[k], segment[k + 1]
        begin, end = plan.in_ptr[first], plan.in_ptr[last]
        if begin == end:
            continue
        target = np.repeat(np.arange(last - first), np.diff(plan.in_ptr[first : last + 1]))
        _, block = np.unique(plan.in_src[begin:end] // rows[first], return_inverse=True)
        piece = block * (last - first) + target
        n_blocks = block.max() + 1
        sizes = np.bincount(piece, minlength=n_blocks * (last - first))
        words = np.concatenate([[n_blocks, n_slots], n_slots + np.cumsum(sizes)])
        of_segment[k] = n_words
        program.append(words)
        slots.append(begin + np.argsort(piece, kind="stable"))
        n_words += len(words)
        n_slots += end - begin
    if not slots:
        return None
    slot = np.concatenate(slots)
    return SourceBlocks(
        of_segment, np.concatenate(program), slot, plan.in_src[slot], plan.in_slot[slot]
    )
