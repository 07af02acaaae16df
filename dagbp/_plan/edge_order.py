"""The edges sorted by target and by source: counting sorts, in time linear in nodes and edges.

The forward pass reads the *view by target* (CSR), the backward pass the *view by source* (CSC). The
place of an edge in a view is its *slot*.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._compiler.decorators import entry
from dagbp._plan.small import SMALL

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Slots = npt.NDArray[Any]  # of `slots_dtype`


def slots_dtype(n_edges: int) -> type[np.uint32] | type[np.int64]:
    """Return the dtype of slots and edge numbers: 32 bits where they are enough."""
    return np.uint32 if n_edges < 2**32 else np.int64


def pointers(key: npt.NDArray[Any], n_keys: int) -> Int64:
    """Return the first position of each key among the sorted keys, and the end, (n_keys + 1,)."""
    start = np.zeros(n_keys + 1, np.int64)
    np.cumsum(np.bincount(key, minlength=n_keys), out=start[1:])
    return start


def inverse(permutation: Int64) -> Int64:
    """Return the position of each number in a permutation of 0, 1, 2, ..."""
    place = np.empty_like(permutation)
    place[permutation] = np.arange(len(permutation))
    return place


def grouped(key: npt.NDArray[Any], n_keys: int, small: int = SMALL) -> tuple[Int64, Slots]:
    """Return the pointers of the keys, (n_keys + 1,), and the positions sorted stably by key."""
    dtype = slots_dtype(len(key))
    if len(key) + n_keys <= small:
        return pointers(key, n_keys), np.argsort(key, kind="stable").astype(dtype)
    start = np.zeros(n_keys + 2, np.int64)
    order = np.empty(len(key), dtype)
    _counting_sort(np.require(key, np.int32, ["C", "W"]), start, order)
    return start[:-1], order


def by_target(
    node: Int64, ptr: Int64, edge: Slots, dst: Int32, small: int = SMALL
) -> tuple[Int64, Int32, Slots]:
    """Return the view by target: its pointers, source rows (ascending) and edges.

    node (n,): the node of each row. ptr, edge, dst: the edges sorted by source: first position of
    each source, edge numbers, and targets. Up to `small` nodes and edges NumPy sorts.
    """
    n_nodes, n_edges, row = len(node), len(edge), inverse(node).astype(np.int32)
    if n_edges + n_nodes <= small:
        source, target = row[np.repeat(np.arange(n_nodes), np.diff(ptr))], row[dst]
        order = np.lexsort((source, target))
        return pointers(target, n_nodes), source[order], edge[order]
    start = np.zeros(n_nodes + 2, np.int64)
    in_src, in_edge = np.empty(n_edges, np.int32), np.empty_like(edge)
    _sort_by_target(node, row, ptr, edge, dst, start, in_src, in_edge)
    return start[:-1], in_src, in_edge


def by_source(in_ptr: Int64, in_src: Int32, small: int = SMALL) -> tuple[Int64, Int32, Slots]:
    """Return the view by source: its pointers and targets, and the out-slot of each in-slot."""
    n_nodes, n_edges = len(in_ptr) - 1, len(in_src)
    if n_edges + n_nodes <= small:
        out_ptr, order = grouped(in_src, n_nodes, small)
        target = np.repeat(np.arange(n_nodes, dtype=np.int32), np.diff(in_ptr))
        in_slot = np.empty_like(order)
        in_slot[order] = np.arange(n_edges)
        return out_ptr, target[order], in_slot
    start = np.zeros(n_nodes + 2, np.int64)
    out_dst, in_slot = np.empty(n_edges, np.int32), np.empty(n_edges, slots_dtype(n_edges))
    _transpose(in_ptr, in_src, start, out_dst, in_slot)
    return start[:-1], out_dst, in_slot


def row_slices(ptr: Int64, n_edges: int) -> list[tuple[int, int]]:
    """Return ranges of rows [first, last) with about `n_edges` edges each, together all edges."""
    cuts = np.searchsorted(ptr, np.arange(0, ptr[-1], n_edges), side="right") - 1
    bounds = [*np.unique(cuts).tolist(), len(ptr) - 1]
    return [(a, b) for a, b in pairwise(bounds) if ptr[b] > ptr[a]]


@entry
def _counting_sort(key: Any, start: Any, order: Any) -> None:
    """Sort positions stably by key, in place: start (n_keys + 2,) of zeros, order (len(key),).

    Counts are kept two places up, so that filling moves each start to its final place.
    """
    for k in key:
        start[k + 2] += 1
    for k in range(2, start.shape[0]):
        start[k] += start[k - 1]
    for position in range(key.shape[0]):
        k = key[position] + 1
        order[start[k]] = position
        start[k] += 1


@entry
def _sort_by_target(  # type: ignore[no-untyped-def]
    node, row, ptr, edge, dst, start, in_src, in_edge
):
    """Fill the view by target, in place: start (n + 2,) of zeros as above; see `by_target`."""
    for j in dst:
        start[row[j] + 2] += 1
    for j in range(2, start.shape[0]):
        start[j] += start[j - 1]
    for i in range(node.shape[0]):
        for k in range(ptr[node[i]], ptr[node[i] + 1]):
            j = row[dst[k]] + 1
            in_src[start[j]] = i
            in_edge[start[j]] = edge[k]
            start[j] += 1


@entry
def _transpose(in_ptr: Any, in_src: Any, start: Any, out_dst: Any, in_slot: Any) -> None:
    """Fill the view by source from the view by target, in place: start (n + 2,) as above."""
    for i in in_src:
        start[i + 2] += 1
    for i in range(2, start.shape[0]):
        start[i] += start[i - 1]
    for j in range(in_ptr.shape[0] - 1):
        for slot in range(in_ptr[j], in_ptr[j + 1]):
            i = in_src[slot] + 1
            out_dst[start[i]] = j
            in_slot[slot] = start[i]
            start[i] += 1
