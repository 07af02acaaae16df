"""Row clustering: reorders the rows of a class so that dense blocks become contiguous.

A block of edges, full or nearly full, is a set of targets by a set of sources. Kernels find it only
where the rows of both sides are neighbours (see `_layout.panels` and `_layout.fill`), which the
order of the graph does not ensure. So the rows of each class are clustered twice: as targets by
their sources, and as sources by their targets. Clusters that form a dense block with a cluster of
the other side move together. All other rows keep their order, and a plan that gains too few edges
in blocks keeps its whole order.

Clusters are found in two steps. *MinHash* [1]_ puts rows into buckets: two rows have the same least
hash of their neighbours with a probability equal to their Jaccard similarity, the shared neighbours
over the neighbours of either. *Leader clustering* [2]_ then compares the leader of each
bucket, its row with most edges, with all rows of its class that share a neighbour with it. Rows
that are similar to the leader form a cluster.

The order is part of what users see (`Network.parameters`), so it is the same on every machine: all
numbers are whole, and no constant depends on the processor.

.. [1] A. Z. Broder, "On the resemblance and containment of documents", SEQUENCES 1997.
.. [2] J. A. Hartigan, "Clustering Algorithms", 1975, chapter 3.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._compiler.decorators import entry, jit
from dagbp._plan.edge_order import by_source, by_target, grouped, inverse, row_slices
from dagbp._plan.plan import Plan
from dagbp._plan.row_class import cells, row_classes
from dagbp._plan.small import SMALL, call

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

GAIN = 10  # at least 1 / GAIN of all edges must come into blocks, else the order stays
RUN_ROWS = 16  # consecutive rows that make a run in any order
ROUNDS = 6  # of MinHash, each with other hash functions
# Rounds after which the clustering of a large plan stops if it has found no cluster. Blocks with
# 1 / GAIN of the edges would have been found by then.
IN_VAIN = 2
WORK = 4  # limit of the steps, for each edge, that form no cluster; see `_lead_clusters`
# Jaccard similarity, in thousandths. Rows join a cluster from SIMILAR on. A row that is as similar
# to its own leader as SAME leads no other cluster.
SIMILAR, SAME = 200, 667
AGREE = 12  # at least 1 / AGREE of a bucket must have the leader's second least hash too


class Clustering(NamedTuple):
    """Options of `cluster_rows`.

    A block has at least `rows` rows on either side and at least `percent` percent of its edges:
    smaller and emptier ones gain nothing, as `benchmarks/suites/blocks.py` shows.
    """

    rows: int = 32
    percent: int = 75
    slice_edges: int = 1_000_000  # hashed together: limits memory; more edges make a large plan
    small: int = SMALL  # nodes and edges up to which nothing is compiled


DEFAULT = Clustering()


class View(NamedTuple):
    """The edges by one of their ends: row j has edges to the rows ``other[ptr[j]:ptr[j + 1]]``."""

    ptr: Int64
    other: npt.NDArray[np.int32]


def cluster_rows(plan: Plan, node_class: npt.ArrayLike, options: Clustering = DEFAULT) -> Plan:
    """Return the plan with its rows in an order that brings more edges into dense blocks.

    Rows move within their class only, so inputs stay among inputs. The plan has the rows of each
    class in graph order; `node_class` is by node, as `make_plan` takes it. Return the plan
    unchanged if too few edges are gained. Return it with its old order and with `cluster` set if
    the clusters gain enough without a move of rows.
    """
    n_edges = len(plan.in_src)
    gain = n_edges // GAIN
    ins, outs = View(plan.in_ptr, plan.in_src), View(plan.out_ptr, plan.out_dst)
    if not n_edges or min(_edges_of_large(view, options) for view in (ins, outs)) < gain:
        return plan
    row_class = row_classes(plan, np.asarray(node_class)[plan.node])
    first = cells(row_class, plan.cluster)
    cell = np.repeat(np.arange(1, len(first)), np.diff(first))
    in_cells = _edges_in_blocks(ins, cell, cell, options)[0]
    if in_cells + gain > n_edges:
        return plan
    keys = _dense_clusters(ins, outs, row_class, options)
    if keys is None:
        return plan
    order = np.lexsort((keys[1], keys[0], row_class))
    stay, move = _numbered(keys), _numbered([key[order] for key in keys])
    in_stay, in_move = (
        _edges_in_blocks(ins, cluster, cluster, options)[0]
        for cluster in (stay, move[inverse(order)])
    )
    # Panels find runs in any order, in blocks or not: a banded matrix keeps its order.
    if in_move >= gain + max(in_cells, in_stay, _edges_in_runs(plan.in_src)):
        return _reordered(plan, order, move, options.small)
    return plan._replace(cluster=stay) if in_stay >= gain + in_cells else plan


def _edges_of_large(view: View, options: Clustering) -> int:
    """Return the number of edges of the rows with enough edges to be in a block."""
    degree = np.diff(view.ptr)
    return int(degree[degree >= options.rows // 2].sum())


def _edges_in_runs(other: npt.NDArray[np.int32]) -> int:
    """Return the number of slots in runs that name at least RUN_ROWS consecutive rows."""
    breaks = np.flatnonzero(other[1:] - other[:-1] != 1)
    lengths = np.diff(breaks, prepend=-1, append=len(other) - 1)
    return int(lengths[lengths >= RUN_ROWS].sum())


def _dense_clusters(
    ins: View, outs: View, row_class: Int64, options: Clustering
) -> list[Int64] | None:
    """Return by row the first row of its cluster, as a target and as a source; None for none.

    Rows without a cluster, or with one that forms no dense block, have n.
    """
    targets = _clusters(ins, outs, row_class, options)
    if not targets.any():
        return None
    sources = _clusters(outs, ins, row_class, options)
    _, *dense = _edges_in_blocks(ins, targets, sources, options)
    return [
        np.where(flags[cluster], _first_members(cluster), len(cluster))
        for flags, cluster in zip(dense, (targets, sources), strict=True)
    ]


def _first_members(cluster: Int64) -> Int64:
    """Return by row the first row of its cluster, by which clusters are sorted in graph order."""
    _, first, label = np.unique(cluster, return_index=True, return_inverse=True)
    return first[label]


def _numbered(keys: list[Int64]) -> Int64:
    """Return a number from 1 on for each run of equal pairs of keys; 0 where both are n."""
    (first, second), n = keys, len(keys[0])
    new = (np.diff(first, prepend=-1) != 0) | (np.diff(second, prepend=-1) != 0)
    return np.where((first < n) | (second < n), np.cumsum(new), 0)


def _reordered(plan: Plan, order: Int64, cluster: Int64, small: int) -> Plan:
    """Return the plan with its rows in this order."""
    row, out_edge = inverse(order), inverse(plan.in_slot)
    in_ptr, in_src, slot = by_target(order, plan.out_ptr, out_edge, plan.out_dst, small)
    nodes = plan.node[order], row[plan.row], plan.level[order]
    edges = in_ptr, in_src, plan.in_edge[slot], *by_source(in_ptr, in_src, small)
    outputs, column = row[plan.outputs], plan.input_column[order[: plan.n_inputs]]
    arrays = *nodes, *edges, outputs, plan.output_slot[order], cluster, column
    return Plan(*arrays, n_inputs=plan.n_inputs)


def _clusters(view: View, back: View, row_class: Int64, options: Clustering) -> Int64:
    """Return the number from 1 on of each row's cluster of similar rows, 0 for none, (n,)."""
    n, n_edges = len(row_class), len(view.other)
    cluster, best, shared, seen = (np.zeros(n, np.int64) for _ in range(4))
    n_clusters, work = 0, WORK * n_edges
    hashes = (_min_hash(view, number, options.slice_edges) for number in range(ROUNDS + 1))
    for number, (first, second) in enumerate(pairwise(hashes)):
        if number == IN_VAIN and n_clusters == 0 and n_edges > options.slice_edges:
            break
        leaders = _leaders(view, row_class, best, first, second, options.rows)
        if len(leaders):
            n_clusters, work = call(
                _lead_clusters,
                (leaders, row_class, view, back),
                (cluster, best, shared, seen),
                *(n_clusters, work, options.rows),
                in_python=n + n_edges <= options.small,
            )
    return cluster


def _min_hash(view: View, number: int, slice_edges: int) -> Int64:
    """Return the least hash of each row's neighbours, 0 if it has none, (n,).

    number: of the hash function, which multiplies and shifts like the last steps of xxHash.
    """
    ptr, other = view
    hashes = np.arange(len(ptr) - 1, dtype=np.uint32) + np.uint32(number << 28)
    for factor in (0x9E3779B1, 0x85EBCA77):  # odd, so no two rows have the same hash
        hashes *= np.uint32(factor)
        hashes ^= hashes >> np.uint32(15)
    least = np.zeros(len(ptr) - 1, np.int64)
    for first, last in row_slices(ptr, slice_edges):
        rows = first + np.flatnonzero(np.diff(ptr[first : last + 1]))
        of_slots = hashes[other[ptr[first] : ptr[last]]]
        least[rows] = np.minimum.reduceat(of_slots, ptr[rows] - ptr[first])
    return least


def _leaders(
    view: View, row_class: Int64, best: Int64, first: Int64, second: Int64, block_rows: int
) -> Int64:
    """Return the row with most edges of each bucket, the one of the largest bucket first.

    A bucket holds the rows of one class with the same first least hash. Dissimilar rows that share
    one frequent neighbour can fill a bucket too: then few of them agree with the leader in the
    second least hash, which is independent of the first, and the bucket is left out.
    """
    degree = np.diff(view.ptr)
    rows = np.flatnonzero((degree >= block_rows // 2) & (best < SAME))
    key = row_class[rows] << 32 | first[rows]
    order = np.lexsort((degree[rows], key))
    last = np.flatnonzero(np.diff(key[order], append=-1))
    size = np.diff(last, prepend=-1)
    leader, second = rows[order[last]], second[rows[order]]
    agree = np.add.reduceat(second == np.repeat(second[last], size), last - size + 1, dtype=int) - 1
    large = np.flatnonzero((size >= block_rows // 4) & (AGREE * agree >= size))
    return leader[large[np.argsort(-size[large], kind="stable")]]


@entry
def _lead_clusters(  # type: ignore[no-untyped-def]
    leaders, row_class, view, back, cluster, best, shared, seen, n_clusters, work, rows
):
    """Form clusters of at least `rows` rows around leaders; return n_clusters and work after it.

    In place: cluster (n,); best (n,), each row's similarity to its cluster's leader; shared (n,) of
    zeros, seen (n,): scratch. work: how many more steps may form no cluster. A step is one
    edge, in the view `back`, of one neighbour of the leader. A leader that needs more is skipped.
    """
    for leader in leaders:
        steps = _count_steps(leader, view, back)
        if best[leader] >= SAME or steps > work:
            continue
        n_seen = _count_shared(leader, row_class, view, back, shared, seen)
        if _count_joining(leader, view, best, shared, seen, n_seen) >= rows:
            n_clusters += 1
            _join(n_clusters, shared, seen, n_seen, cluster, best)
        else:
            work -= steps
        for k in range(n_seen):
            shared[seen[k]] = 0
    return n_clusters, work


@jit
def _count_steps(leader: Any, view: Any, back: Any) -> Any:
    """Return the number of edges, in the view `back`, of all neighbours of the leader."""
    steps = 0
    for slot in range(view.ptr[leader], view.ptr[leader + 1]):
        i = view.other[slot]
        steps += back.ptr[i + 1] - back.ptr[i]
    return steps


@jit
def _count_shared(leader: Any, row_class: Any, view: Any, back: Any, shared: Any, seen: Any) -> Any:
    """shared_j = |intersection of N(leader) and N(j)| for rows j of its class, in place.

    Return the number of rows with shared_j > 0. They are the first entries of `seen`.
    """
    n_seen = 0
    for slot in range(view.ptr[leader], view.ptr[leader + 1]):
        i = view.other[slot]
        for k in range(back.ptr[i], back.ptr[i + 1]):
            j = back.other[k]
            if row_class[j] == row_class[leader]:
                if shared[j] == 0:
                    seen[n_seen] = j
                    n_seen += 1
                shared[j] += 1
    return n_seen


@jit
def _count_joining(leader: Any, view: Any, best: Any, shared: Any, seen: Any, n_seen: Any) -> Any:
    """shared_j = 1000 times the Jaccard similarity of N(leader) and N(j), for all rows seen.

    In place. Return the number of rows that would join the leader's cluster.
    """
    n_joining = 0
    degree = view.ptr[leader + 1] - view.ptr[leader]
    for k in range(n_seen):
        j = seen[k]
        union = degree + view.ptr[j + 1] - view.ptr[j] - shared[j]
        shared[j] = 1000 * shared[j] // union
        n_joining += _joins(shared[j], best[j])
    return n_joining


@jit
def _joins(similarity: Any, best: Any) -> Any:
    """Return whether a row joins: similar, and over 1.5 times as similar as to its cluster."""
    return similarity >= SIMILAR and 2 * similarity > 3 * best


@jit
def _join(number: Any, shared: Any, seen: Any, n_seen: Any, cluster: Any, best: Any) -> None:
    """Put the rows that join into the cluster with this number, in place."""
    for k in range(n_seen):
        j = seen[k]
        if _joins(shared[j], best[j]):
            cluster[j] = number
            best[j] = shared[j]


def _edges_in_blocks(
    ins: View, targets: Int64, sources: Int64, options: Clustering
) -> tuple[int, Bool, Bool]:
    """Return the number of edges in dense blocks, and the clusters of each side that have one."""
    sizes = np.bincount(sources)
    start, rows = grouped(targets, int(targets.max()) + 1, options.small)
    dense = np.zeros(len(start) - 1, np.int64), np.zeros(len(sizes), np.int64)
    count, seen = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    total = call(
        _count_dense,
        (start, rows.astype(np.int64), ins, sources, sizes),
        (*dense, count, seen),
        *(options.rows, options.percent),
        in_python=len(targets) + len(ins.other) <= options.small,
    )
    return int(total), dense[0] > 0, dense[1] > 0


@entry
def _count_dense(  # type: ignore[no-untyped-def]
    start, members, ins, sources, sizes, dense_targets, dense_sources, count, seen, rows, percent
):
    """Return the number of edges in dense blocks; mark the clusters that have one, in place.

    members: rows sorted by their cluster as targets, each cluster's from `start` on; sources (n,):
    each row's cluster as a source, of `sizes` rows; cluster 0 is none. count of zeros, seen:
    scratch by cluster.
    """
    total = 0
    for a in range(1, len(start) - 1):
        n_targets = start[a + 1] - start[a]
        if n_targets < rows:
            continue
        n_seen = _count_edges(start[a], start[a + 1], members, ins, sources, count, seen)
        for k in range(n_seen):
            b = seen[k]
            full = 100 * count[b] >= percent * n_targets * sizes[b]
            if b > 0 and sizes[b] >= rows and full:
                total += count[b]
                dense_targets[a] = 1
                dense_sources[b] = 1
            count[b] = 0
    return total


@jit
def _count_edges(
    begin: Any, end: Any, members: Any, ins: Any, sources: Any, count: Any, seen: Any
) -> Any:
    """count_b = number of edges from cluster b to members[begin:end], in place.

    Return the number of clusters with count_b > 0. They are the first entries of `seen`.
    """
    n_seen = 0
    for k in range(begin, end):
        j = members[k]
        for slot in range(ins.ptr[j], ins.ptr[j + 1]):
            b = sources[ins.other[slot]]
            if count[b] == 0:
                seen[n_seen] = b
                n_seen += 1
            count[b] += 1
    return n_seen
