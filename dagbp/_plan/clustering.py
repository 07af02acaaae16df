"""Rows with alike neighbours, brought together: dense blocks are found whatever way one draws.

A block of edges, full or nearly, is a set of targets by a set of sources. Kernels find it where the
rows of both stand side by side (see `_panels` and `_fill`), which the drawn order may not give. So
the rows of each level and kind are clustered twice: as targets by their sources, and as sources by
their targets. Clusters that make a block with one of the other side are put together; other
rows keep their order, and a net that gains too little keeps it whole.

The order is part of what users see (`Network.parameters`), so it is the same on every machine: all
numbers are whole, and no constant depends on the processor.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._compiler.decorators import entry
from dagbp._plan.grid import cells
from dagbp._plan.plan import SMALL, Plan, by_source, by_target, grouped, inverse, row_slices

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# A block has at least LEAST rows on either side and FULL percent of its edges: smaller or emptier
# ones gain nothing, as `benchmarks/suites/blocks.py` shows.
LEAST, FULL = 32, 75
GAIN = 10  # one edge out of so many must come into blocks for the drawn order to be given up
RUN = 16  # consecutive rows that make a run by themselves
# Of buckets, each by other hashes; fewer where the first IN_VAIN find no cluster among more than
# SLICE edges, whose blocks would be many or large if they held one edge out of GAIN.
ROUNDS, IN_VAIN = 6, 2
WORK = 4  # steps in vain that clustering takes for each edge, at most
SLICE = 1_000_000  # edges hashed together
# Likeness: edges shared over edges of either, in thousandths. Rows join a cluster from ALIKE on;
# one whose likeness with its own is SAME leads no other.
ALIKE, SAME = 200, 667
AGREE = 12  # one row of a bucket out of so many must agree with its leader once more


class View(NamedTuple):
    """The edges by one of their ends: row j has those to the rows ``other[ptr[j]:ptr[j + 1]]``."""

    ptr: Int64
    other: npt.NDArray[np.int32]


def cluster_rows(plan: Plan, node_class: npt.ArrayLike) -> Plan:
    """Return the plan with its rows in an order that brings more edges into dense blocks.

    Rows move among those of their level and kind, inputs among inputs.

    Parameters
    ----------
    plan : Plan
        With the rows of each level and kind as drawn.
    kind : array_like of int, shape (n_nodes,)
        By drawing index, as `make_plan` takes it.

    Returns
    -------
    Plan
        The same one if too few edges are gained; with its order and groups if those alone gain.

    Examples
    --------
    Two layers of 80, drawn in turns, each of whose nodes feeds one half of the other 80.

    >>> from dagbp._plan.plan import make_plan
    >>> src, dst = np.meshgrid(np.arange(80), np.arange(80, 160))
    >>> edges = (src + dst) % 2 == 0
    >>> plan = make_plan(160, src[edges], dst[edges], np.arange(80), np.arange(80, 160))
    >>> bring_together(plan, np.zeros(160)).node[118:122]
    array([156, 158,  81,  83])
    """
    n, n_edges = len(plan.node), len(plan.in_src)
    ins, outs = View(plan.in_ptr, plan.in_src), View(plan.out_ptr, plan.out_dst)
    if not n_edges or min(map(_edges_of_many, (ins, outs))) < n_edges // GAIN:
        return plan
    gain = n_edges // GAIN
    stretch = _stretches(plan, np.asarray(node_class))
    first = cells(stretch, plan.group)
    cell = np.repeat(np.arange(1, len(first)), np.diff(first))
    in_cells = _edges_in_blocks(ins, cell, cell)[0]
    if in_cells + gain > n_edges:
        return plan
    targets = _clusters(ins, outs, stretch)
    if not targets.any():
        return plan
    sources = _clusters(outs, ins, stretch)
    _, *dense = _edges_in_blocks(ins, targets, sources)
    keys = [
        np.where(flags[one], _first_members(one), n)
        for flags, one in zip(dense, (targets, sources), strict=True)
    ]
    order = np.lexsort((keys[1], keys[0], stretch))
    drawn, moved = _runs(keys, n), _runs([key[order] for key in keys], n)
    in_drawn, in_moved = (
        _edges_in_blocks(ins, group, group)[0] for group in (drawn, moved[inverse(order)])
    )
    # Panels find runs in any order, in blocks or not: bands stay as they are.
    if in_moved >= gain + max(in_cells, in_drawn, _edges_in_runs(plan.in_src)):
        return _reordered(plan, order, moved)
    return plan._replace(group=drawn) if in_drawn >= gain + in_cells else plan


def _edges_of_many(view: View) -> int:
    """Return how many edges belong to rows that have enough of them to be in a block."""
    degree = np.diff(view.ptr)
    return int(degree[degree >= LEAST // 2].sum())


def _edges_in_runs(other: npt.NDArray[np.int32]) -> int:
    """Return how many slots are in runs that name at least RUN consecutive rows."""
    breaks = np.flatnonzero(other[1:] - other[:-1] != 1)
    lengths = np.diff(breaks, prepend=-1, append=len(other) - 1)
    return int(lengths[lengths >= RUN].sum())


def _stretches(plan: Plan, node_class: npt.NDArray[Any]) -> Int64:
    """Return a number for each row, from 0 on, equal where rows may change places."""
    row, node_class = np.arange(len(plan.node)), node_class[plan.node]
    new = (np.diff(plan.level) != 0) | (np.diff(node_class) != 0)
    new[: max(0, plan.n_inputs - 1)] = False
    new[row[1:] == plan.n_inputs] = True
    return np.concatenate([[0], np.cumsum(new)])


def _first_members(cluster: Int64) -> Int64:
    """Return, by row, the first row of the same cluster: so clusters come as they were drawn."""
    _, first, label = np.unique(cluster, return_index=True, return_inverse=True)
    return first[label]


def _runs(keys: list[Int64], none: int) -> Int64:
    """Return a number from 1 on for each run of equal pairs of keys; 0 where both are `none`."""
    first, second = keys
    new = (np.diff(first, prepend=-1) != 0) | (np.diff(second, prepend=-1) != 0)
    return np.where((first < none) | (second < none), np.cumsum(new), 0)


def _reordered(plan: Plan, order: Int64, group: Int64) -> Plan:
    """Return the plan with these of its rows in this order."""
    row, out_edge = inverse(order), inverse(plan.in_slot)
    in_ptr, in_src, slot = by_target(order, plan.out_ptr, out_edge, plan.out_dst)
    out_ptr, out_dst, in_slot = by_source(in_ptr, in_src)
    return plan._replace(
        node=plan.node[order],
        row=row[plan.row],
        level=plan.level[order],
        in_ptr=in_ptr,
        in_src=in_src,
        in_edge=plan.in_edge[slot],
        out_ptr=out_ptr,
        out_dst=out_dst,
        in_slot=in_slot,
        outputs=row[plan.outputs],
        output_slot=plan.output_slot[order],
        group=group,
        input_column=plan.input_column[order[: plan.n_inputs]],
    )


# --- clusters ---


def _clusters(view: View, back: View, stretch: Int64) -> Int64:
    """Return the number from 1 on of each row's cluster of alike rows, 0 for none, (n,)."""
    cluster, best, shared, seen = (np.zeros(len(stretch), np.int64) for _ in range(4))
    state = np.array([0, WORK * len(view.other)])
    hashes = (_least_hash(view, number) for number in range(ROUNDS + 1))
    for done, (first, second) in enumerate(pairwise(hashes)):
        if done == IN_VAIN and state[0] == 0 and len(view.other) > SLICE:
            break
        leaders = _leaders(view, stretch, best, first, second)
        if len(leaders):
            given = leaders, stretch, *view, *back
            _call(_gather, given, (cluster, best, shared, seen, state), LEAST)
    return cluster


def _leaders(view: View, stretch: Int64, best: Int64, first: Int64, second: Int64) -> Int64:
    """Return a row of each bucket, that with most edges, of the largest bucket first.

    A bucket is the rows of one stretch whose neighbours have the same least hash. Two rows are in
    one with a chance that is their likeness. Many may be so by chance, who share one neighbour that
    many have; then few of them agree with the leader in the second of two independent hashes.
    """
    degree = np.diff(view.ptr)
    rows = np.flatnonzero((degree >= LEAST // 2) & (best < SAME))
    key = stretch[rows] << 32 | first[rows]
    order = np.lexsort((degree[rows], key))
    last = np.flatnonzero(np.diff(key[order], append=-1))
    size = np.diff(last, prepend=-1)
    leader, second = rows[order[last]], second[rows[order]]
    agree = np.add.reduceat(second == np.repeat(second[last], size), last - size + 1, dtype=int) - 1
    large = np.flatnonzero((size >= LEAST // 4) & (AGREE * agree >= size))
    return leader[large[np.argsort(-size[large], kind="stable")]]


def _least_hash(view: View, round_: int) -> Int64:
    """Return the least hash of each row's neighbours, 0 if there are none, (n,)."""
    ptr, other = view
    hashes = np.arange(len(ptr) - 1, dtype=np.uint32) + np.uint32(round_ << 28)
    for factor in (0x9E3779B1, 0x85EBCA77):  # odd, so no two rows have the same
        hashes *= np.uint32(factor)
        hashes ^= hashes >> np.uint32(15)
    least = np.zeros(len(ptr) - 1, np.int64)
    for first, last in row_slices(ptr, SLICE):
        rows = first + np.flatnonzero(np.diff(ptr[first : last + 1]))
        of_slots = hashes[other[ptr[first] : ptr[last]]]
        least[rows] = np.minimum.reduceat(of_slots, ptr[rows] - ptr[first])
    return least


def _edges_in_blocks(ins: View, targets: Int64, sources: Int64) -> tuple[int, Bool, Bool]:
    """Return how many edges are in blocks, each of a cluster of targets and one of sources.

    And which clusters of either side have a block, by their numbers.
    """
    sizes = np.bincount(sources)
    start, rows = grouped(targets, int(targets.max()) + 1)
    dense = np.zeros(len(start) - 1, np.int64), np.zeros(len(sizes), np.int64)
    count, seen = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    inputs = start, rows.astype(np.int64), *ins, sources, sizes
    total = _call(_count_dense, inputs, (*dense, count, seen), LEAST, FULL)
    return total, dense[0] > 0, dense[1] > 0


def _call(function: Any, given: Any, changed: Any, *more: int) -> int:
    """Call a jitted function that changes the last arrays; of few edges without compiling it."""
    if sum(map(len, given)) > 2 * SMALL:
        return int(function(*given, *changed, *more))
    lists = [array.tolist() for array in changed]
    result = function.py_func(*(array.tolist() for array in given), *lists, *more)
    for array, values in zip(changed, lists, strict=True):
        array[:] = values
    return int(result)


@entry
def _gather(  # type: ignore[no-untyped-def]
    leaders, stretch, ptr, other, back_ptr, back_other, cluster, best, shared, seen, state, least
):
    """Cluster rows around leaders, in place; return how many clusters there are.

    best (n,): likeness with the cluster's leader; shared (n,) of zeros, seen (n,): scratch; state
    (2,): clusters so far, and the work that is left.

    Whoever is alike joins the first that leads, and leaves for another that is half as much more
    alike. What follows a leader's edges there and back is work; leaders with too much are left out.
    """
    n_clusters, work = state[0], state[1]
    for leader in leaders:
        first, last = ptr[leader], ptr[leader + 1]
        steps = 0
        for slot in range(first, last):
            i = other[slot]
            steps += back_ptr[i + 1] - back_ptr[i]
        if best[leader] >= SAME or steps > work:
            continue
        work -= steps
        n_seen = 0
        for slot in range(first, last):
            i = other[slot]
            for k in range(back_ptr[i], back_ptr[i + 1]):
                j = back_other[k]
                if stretch[j] == stretch[leader]:
                    if shared[j] == 0:
                        seen[n_seen] = j
                        n_seen += 1
                    shared[j] += 1
        n_alike = 0
        for k in range(n_seen):
            j = seen[k]
            either = last - first + ptr[j + 1] - ptr[j] - shared[j]
            shared[j] = 1000 * shared[j] // either
            if shared[j] >= ALIKE and 2 * shared[j] > 3 * best[j]:
                n_alike += 1
        if n_alike >= least:
            n_clusters += 1
            work += steps
        for k in range(n_seen):
            j = seen[k]
            if n_alike >= least and shared[j] >= ALIKE and 2 * shared[j] > 3 * best[j]:
                cluster[j] = n_clusters
                best[j] = shared[j]
            shared[j] = 0
    state[0], state[1] = n_clusters, work
    return n_clusters


@entry
def _count_dense(  # type: ignore[no-untyped-def]
    start, rows, ptr, other, sources, sizes, dense_targets, dense_sources, count, seen, least, full
):
    """Return the edges in blocks, and mark the clusters that have one, in place.

    rows: sorted by their cluster, whose members begin at start; sources (n,): each row's cluster
    as a source, and sizes theirs; cluster 0 is none. count of zeros, seen: scratch by cluster.
    """
    total = 0
    for a in range(1, len(start) - 1):
        n_targets = start[a + 1] - start[a]
        if n_targets < least:
            continue
        n_seen = 0
        for k in range(start[a], start[a + 1]):
            j = rows[k]
            for slot in range(ptr[j], ptr[j + 1]):
                b = sources[other[slot]]
                if count[b] == 0:
                    seen[n_seen] = b
                    n_seen += 1
                count[b] += 1
        for k in range(n_seen):
            b = seen[k]
            if b > 0 and sizes[b] >= least and 100 * count[b] >= full * n_targets * sizes[b]:
                total += count[b]
                dense_targets[a] = 1
                dense_sources[b] = 1
            count[b] = 0
    return total
