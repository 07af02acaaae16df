"""Strips of sources, for levels with many edges: rows that are gathered again while L1 holds them.

Forward, an edge of a sparse row is a load of its source's row of samples, from L2 where the sources
of a level do not fit L1. Where rows have many edges, those are gone through in *strips*: first all
edges from the first so many rows, of one target after the other, then those from the next. Each
target's sum waits in memory meanwhile, which costs a load and a store a *piece*: the edges of one
target in one strip. Pieces follow each other in an order of slots of their own.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._machine import BLOCK_EDGE_NS, FAR_EDGE_NS, L1_BYTES, PIECE_NS, WIDE_ROW
from dagbp._plan.plan import Plan

Int64 = npt.NDArray[np.int64]

SEGMENT_ROWS = 128  # targets that go through the strips together
LEAST_DEGREE = 16  # of rows for which to look: fewer edges make no pieces worth having


class SourceBlocks(NamedTuple):
    """The edges that run in strips, in an order of their own.

    Attributes
    ----------
    of_segment : int64 (n_segments,)
        Where the program of a segment of in-edges begins; 0 for none.
    program : int64
        Of a segment: the number of strips, then where each piece begins, strip by strip and target
        by target, and the end of the last one.
    slot : int64 (S,)
        In-slot of each edge.
    source : int32 (S,)
    value_slot : uint32 (S,)
        Out-slot of each edge.
    """

    of_segment: Int64
    program: Int64
    slot: Int64
    source: npt.NDArray[np.int32]
    value_slot: npt.NDArray[np.uint32]


def rows_by_source_block(plan: Plan, row_class: Int64, mixed: npt.NDArray[np.bool_]) -> Int64:
    """Return for each row how many sources a strip of its edges has, 0 where there are none.

    None are where rows of a kind, level and activation, are mixed: have panels or held zeros.
    """
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
    """Return the number of sources a strip for the edges of a kind of rows, or 0."""
    sources = _distinct(source)
    n_sources = len(sources)
    if n_sources * WIDE_ROW <= L1_BYTES:
        return 0
    n_segments = -(-n_targets // SEGMENT_ROWS)
    far = min(len(source), n_sources * n_segments)  # edges that bring their source to L1
    best, least_ns = 0, FAR_EDGE_NS * len(source)
    for size, edge_ns in BLOCK_EDGE_NS.items():
        n_blocks = len(_distinct(sources // (size // WIDE_ROW)))
        ns = edge_ns * (len(source) - far) + FAR_EDGE_NS * far + PIECE_NS * n_blocks * n_targets
        if ns < least_ns:
            best, least_ns = size // WIDE_ROW, ns
    return best


def _distinct(values: npt.NDArray[Any]) -> Int64:
    """Return the distinct values: a mark for each of the range, where that is not much wider."""
    least, most = int(values.min()), int(values.max())
    if most - least > 8 * len(values):
        return np.unique(values).astype(np.int64)
    found = np.zeros(most - least + 1, np.bool_)
    found[values - least] = True
    return least + np.flatnonzero(found)


def cut_source_blocks(plan: Plan, rows: Int64, segment: Int64) -> SourceBlocks | None:
    """Return the strips of segments whose rows have some; None if there are none.

    Parameters
    ----------
    rows : int64 (n,)
        Sources a strip, 0 for none: the same for all rows of a segment.
    segment : int64 (n_segments + 1,)
        First row of each segment, and the end.
    """
    of_segment = np.zeros(len(segment) - 1, np.int64)
    program, slots, n_words, n_slots = [np.zeros(1, np.int64)], [], 1, 0
    for k in np.flatnonzero(rows[segment[:-1]]):
        first, last = segment[k], segment[k + 1]
        begin, end = plan.in_ptr[first], plan.in_ptr[last]
        if begin == end:
            continue
        target = np.repeat(np.arange(last - first), np.diff(plan.in_ptr[first : last + 1]))
        _, strip = np.unique(plan.in_src[begin:end] // rows[first], return_inverse=True)
        piece = strip * (last - first) + target
        n_blocks = strip.max() + 1
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
