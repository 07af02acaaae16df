"""From a drawing's arrays to the frozen tuple of integer arrays that every kernel reads.

Rows number the nodes in topological order: the inputs first, in the user's order, then level by
level, and within a level by kind (a network's: activation) and then as drawn; `_alike` then moves
rows among the inputs, or those of a level and kind, if that brings dense blocks together. Each edge
stands in two views of one sparse matrix: by target (CSR, read by the forward pass) and by source
(CSC, read by the backward pass).
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._compiler.decorators import entry

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Slots = npt.NDArray[Any]  # uint32 where that is enough, else int64

# Up to so many nodes and edges, Python takes less time than the compiler takes from an empty cache.
SMALL = 30_000


class CycleFound(Exception):
    """The edges hold a cycle; `nodes` are its drawing indices in order, each once."""

    def __init__(self, nodes: list[int]) -> None:
        super().__init__(nodes)
        self.nodes = nodes


class EdgeRepeated(Exception):
    """Two edges have the same ends; `edges` are their drawing indices, in order."""

    def __init__(self, edges: tuple[int, int]) -> None:
        super().__init__(edges)
        self.edges = edges


class Plan(NamedTuple):
    """A topology as arrays: n nodes, E edges, all arrays C-contiguous.

    "Row" is a node's place in topological order, "slot" an edge's place in one of the two views;
    a drawing's own numbering of nodes and edges appears only in `node`, `row` and `in_edge`.

    Attributes
    ----------
    node : int64 (n,)
        Drawing index of each row.
    row : int64 (n,)
        Row of each drawing index.
    level : int64 (n,)
        By row, ascending: 0 for inputs, 1 for constants (no in-edges, yet no input), and else one
        more than the highest level among the predecessors.
    in_ptr : int64 (n + 1,)
        In-edges of row j are the slots ``in_ptr[j]:in_ptr[j + 1]``.
    in_src : int32 (E,)
        Source row of each in-slot, ascending within a target.
    in_edge : uint32 or int64 (E,)
        Drawing edge of each in-slot.
    out_ptr : int64 (n + 1,)
        Out-edges of row i are the slots ``out_ptr[i]:out_ptr[i + 1]``.
    out_dst : int32 (E,)
        Target row of each out-slot, ascending within a source.
    in_slot : uint32 or int64 (E,)
        Out-slot of each in-slot.
    outputs : int64 (n_outputs,)
        Rows of the outputs, in the user's order.
    output_slot : int64 (n,)
        By row: place in `outputs`, -1 for any other node.
    group : int64 (n,)
        By row: equal where neighbouring rows stand together since they have alike neighbours; 0 for
        rows as drawn.
    input_column : int64 (n_inputs,)
        Each input's place among the inputs as the user names them: its column of the features.
    n_inputs : int
        Rows below it are the inputs.
    """

    node: Int64
    row: Int64
    level: Int64
    in_ptr: Int64
    in_src: Int32
    in_edge: Slots
    out_ptr: Int64
    out_dst: Int32
    in_slot: Slots
    outputs: Int64
    output_slot: Int64
    group: Int64
    input_column: Int64
    n_inputs: int


def make_plan(
    n_nodes: int,
    src: npt.ArrayLike,
    dst: npt.ArrayLike,
    inputs: npt.ArrayLike,
    outputs: npt.ArrayLike,
    node_class: npt.ArrayLike | None = None,
) -> Plan:
    """Order the nodes and build both views of the edges, in O(n_nodes + n_edges).

    Parameters
    ----------
    n_nodes : int
        Number of nodes, at most `MAX_NODES`.
    src, dst : array_like of int, shape (n_edges,)
        Ends of each edge. Trusted to be within range.
    inputs, outputs : array_like of int
        Nodes that hold features (without in-edges) and nodes that are read out, in column order.
    kind : array_like of int, shape (n_nodes,), optional
        Small numbers; nodes of a level come in their order, so that equal ones stand together.

    Returns
    -------
    Plan

    Raises
    ------
    CycleFound
        With the nodes of one cycle.
    EdgeRepeated
        With two edges that have the same ends.

    Examples
    --------
    >>> plan = make_plan(3, src=[2, 2, 0], dst=[0, 1, 1], inputs=[2], outputs=[1])
    >>> plan.node, plan.level
    (array([2, 0, 1]), array([0, 1, 2]))
    >>> plan.in_ptr, plan.in_src
    (array([0, 0, 1, 3]), array([0, 0, 1], dtype=int32))
    """
    src, dst = (np.require(ends, np.int32, ["C", "W"]) for ends in (src, dst))
    inputs, outputs = _int64(inputs), _int64(outputs)
    node_class = None if node_class is None else _int64(node_class)
    level, node, (in_ptr, in_src, in_edge) = _in_order(n_nodes, src, dst, inputs, node_class)
    row = inverse(node)
    _refuse_repeats(in_ptr, in_src, in_edge)
    out_ptr, out_dst, in_slot = by_source(in_ptr, in_src)
    output_slot = np.full(n_nodes, -1, np.int64)
    output_slot[row[outputs]] = np.arange(len(outputs))
    return Plan(
        node=node,
        row=row,
        level=level,
        in_ptr=in_ptr,
        in_src=in_src,
        in_edge=in_edge,
        out_ptr=out_ptr,
        out_dst=out_dst,
        in_slot=in_slot,
        outputs=row[outputs],
        output_slot=output_slot,
        group=np.zeros(n_nodes, np.int64),
        input_column=np.arange(len(inputs)),
        n_inputs=len(inputs),
    )


def _in_order(
    n_nodes: int, src: Int32, dst: Int32, inputs: Int64, node_class: Int64 | None
) -> tuple[Int64, Int64, tuple[Int64, Int32, Slots]]:
    """Return each row's level and node, and the view by target."""
    if len(src) + n_nodes > SMALL and _is_by_target(src, dst):
        ptr = _pointers(dst, n_nodes)
        level = np.ones(n_nodes, np.int64)
        level[inputs] = 0
        _levels_upwards(ptr, src, level)
        node = _topological_order(level, inputs, node_class)
        if (node == np.arange(n_nodes)).all():
            return level, node, (ptr, src, np.arange(len(src), dtype=slots_dtype(len(src))))
    ptr, edge = grouped(src, n_nodes)
    target = dst[edge]
    level, done = _levels(ptr, target, inputs)
    if not done.all():
        raise CycleFound(_one_cycle(src, dst, ~done))
    node = _topological_order(level, inputs, node_class)
    return level[node], node, by_target(node, ptr, edge, target)


def _is_by_target(src: Int32, dst: Int32) -> bool:
    """Return whether edges are sorted by target and source, and lead to higher numbers only."""
    some = 2**16  # of most others, these are not
    for a, b in (src[:some], dst[:some]), (src, dst):
        rises = (b[1:] > b[:-1]) | ((b[1:] == b[:-1]) & (a[1:] >= a[:-1]))
        if not (rises.all() and (a < b).all()):
            return False
    return True


def _pointers(key: npt.NDArray[Any], n_keys: int) -> Int64:
    """Return where each key's run begins among sorted ones, (n_keys + 1,)."""
    start = np.zeros(n_keys + 1, np.int64)
    np.cumsum(np.bincount(key, minlength=n_keys), out=start[1:])
    return start


def depth(plan: Plan) -> int:
    """Return the edges of the longest path."""
    if not len(plan.in_src):
        return 0
    # Constants, the computed nodes without in-edges, stand one level above the inputs.
    fed = np.diff(plan.in_ptr) > 0
    longest = np.where(fed, plan.level, 0)
    if (plan.level[plan.n_inputs :][~fed[plan.n_inputs :]] > 0).any():
        longest = _path_lengths(plan)
    return int(longest.max())


def _path_lengths(plan: Plan) -> Int64:
    """Return the edges of the longest path to each row."""
    arrays = plan.in_ptr, plan.in_src, np.zeros(len(plan.node), np.int64)
    if len(plan.in_src) + len(plan.node) > SMALL:
        _levels_upwards(*arrays)
        return arrays[2]
    lists = [array.tolist() for array in arrays]
    for j in range(len(lists[2])):
        sources = lists[1][lists[0][j] : lists[0][j + 1]]
        lists[2][j] = max((lists[2][i] + 1 for i in sources), default=0)
    return np.array(lists[2], np.int64)


def reached(plan: Plan) -> npt.NDArray[np.bool_]:
    """Return, by row, whether a path leads there from some input, shape (n,).

    Examples
    --------
    >>> plan = make_plan(4, src=[0, 2], dst=[1, 3], inputs=[0], outputs=[1, 3])
    >>> reached(plan)[plan.row]
    array([ True,  True, False, False])
    """
    found = np.arange(len(plan.node)) < plan.n_inputs
    constants = np.diff(plan.in_ptr)[plan.n_inputs :] == 0
    if not constants.any():  # then each walk against the edges ends at an input
        return np.ones_like(found)
    _spread(plan.in_ptr, plan.in_src, found)
    return found


def _int64(values: npt.ArrayLike) -> Int64:
    """Return `values` as the one kind of array that the jitted functions are compiled for."""
    return np.require(values, np.int64, ["C", "W"])


def _levels(ptr: Int64, target: Int32, inputs: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Return each node's level, by drawing index, and whether it is on no cycle nor behind one.

    target: of the edges by source, whose runs begin at `ptr`.
    """
    n_nodes = len(ptr) - 1
    level = np.ones(n_nodes, np.int64)
    level[inputs] = 0
    arrays = ptr, target, np.zeros(n_nodes, np.int64), level, np.empty(n_nodes, np.int64)
    if len(target) + n_nodes <= SMALL:
        lists = [array.tolist() for array in arrays]
        _longest_paths.py_func(*lists)
        waiting, level = (np.array(values, np.int64) for values in lists[2:4])
    else:
        _longest_paths(*arrays)
        waiting = arrays[2]
    return level, waiting == 0


def _topological_order(level: Int64, inputs: Int64, node_class: Int64 | None) -> Int64:
    """Return the nodes in row order: inputs as given, others by level, kind, and then as drawn."""
    other = np.ones(len(level), np.bool_)
    other[inputs] = False
    others = np.flatnonzero(other)
    if node_class is not None:
        others = others[grouped(node_class[others], int(node_class.max(initial=0)) + 1)[1]]
    _, order = grouped(level[others], int(level.max(initial=0)) + 1)
    return np.concatenate([inputs, others[order]])


def by_target(node: Int64, ptr: Int64, edge: Slots, dst: Int32) -> tuple[Int64, Int32, Slots]:
    """Return the pointers, source rows and edges of the view by target, sources ascending.

    Parameters
    ----------
    node : int64 (n,)
        Each row's number among those of the edges' ends.
    ptr, edge, dst : int64 (n + 1,), Slots (E,), int32 (E,)
        The edges by source: where each source's begin, which they are, and their targets.
    """
    n_nodes, n_edges, row = len(node), len(edge), inverse(node).astype(np.int32)
    if n_edges + n_nodes <= SMALL:
        source, target = row[np.repeat(np.arange(n_nodes), np.diff(ptr))], row[dst]
        order = np.lexsort((source, target))
        return grouped(target, n_nodes)[0], source[order], edge[order]
    start = np.zeros(n_nodes + 2, np.int64)
    in_src, in_edge = np.empty(n_edges, np.int32), np.empty_like(edge)
    _sort_by_target(node, row, ptr, edge, dst, start, in_src, in_edge)
    return start[:-1], in_src, in_edge


def by_source(in_ptr: Int64, in_src: Int32) -> tuple[Int64, Int32, Slots]:
    """Return the view by source: its pointers and targets, and the out-slot of each in-slot."""
    n_nodes, n_edges = len(in_ptr) - 1, len(in_src)
    if n_edges + n_nodes <= SMALL:
        out_ptr, order = grouped(in_src, n_nodes)
        target = np.repeat(np.arange(n_nodes, dtype=np.int32), np.diff(in_ptr))
        in_slot = np.empty_like(order)
        in_slot[order] = np.arange(n_edges)
        return out_ptr, target[order], in_slot
    start = np.zeros(n_nodes + 2, np.int64)
    out_dst, in_slot = np.empty(n_edges, np.int32), np.empty(n_edges, slots_dtype(n_edges))
    _transpose(in_ptr, in_src, start, out_dst, in_slot)
    return start[:-1], out_dst, in_slot


def slots_dtype(n_edges: int) -> type[np.uint32] | type[np.int64]:
    """Return the dtype of slots and edges: 32 bits where they are enough."""
    return np.uint32 if n_edges < 2**32 else np.int64


def row_slices(ptr: Int64, n_edges: int) -> list[tuple[int, int]]:
    """Return stretches of rows [first, last) with about so many edges each, together all edges."""
    cuts = np.searchsorted(ptr, np.arange(0, ptr[-1], n_edges), side="right") - 1
    bounds = [*np.unique(cuts).tolist(), len(ptr) - 1]
    return [(a, b) for a, b in pairwise(bounds) if ptr[b] > ptr[a]]


def _refuse_repeats(in_ptr: Int64, in_src: Int32, in_edge: Slots) -> None:
    """Raise `EdgeRepeated` if a target has the same source twice: the two stand side by side."""
    same = in_src[1:] == in_src[:-1]
    starts = in_ptr[1:-1]
    same[starts[(starts > 0) & (starts < len(in_src))] - 1] = False
    if same.any():
        k = int(np.argmax(same))
        raise EdgeRepeated((int(in_edge[k]), int(in_edge[k + 1])))


def _one_cycle(src: Int32, dst: Int32, stuck: npt.NDArray[np.bool_]) -> list[int]:
    """Return a cycle among the `stuck` nodes, each of which has a stuck predecessor."""
    inside = stuck[src] & stuck[dst]
    predecessor = np.full(len(stuck), -1, np.int64)
    predecessor[dst[inside]] = src[inside]
    walk: dict[int, None] = {}  # insertion order is the walk, against the edges
    node = int(np.argmax(stuck))
    while node not in walk:
        walk[node] = None
        node = int(predecessor[node])
    backwards = list(walk)
    cycle = backwards[backwards.index(node) :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def inverse(permutation: Int64) -> Int64:
    """Return where each number from 0 on stands in a permutation."""
    place = np.empty_like(permutation)
    place[permutation] = np.arange(len(permutation))
    return place


def grouped(key: npt.NDArray[Any], n_keys: int) -> tuple[Int64, Slots]:
    """Return where each key's run begins, (n_keys + 1,), and the positions sorted by key."""
    dtype = slots_dtype(len(key))
    if len(key) + n_keys <= SMALL:
        return _pointers(key, n_keys), np.argsort(key, kind="stable").astype(dtype)
    start = np.zeros(n_keys + 2, np.int64)
    order = np.empty(len(key), dtype)
    _counting_sort(np.require(key, np.int32, ["C", "W"]), start, order)
    return start[:-1], order


@entry
def _counting_sort(key: Any, start: Any, order: Any) -> None:
    """Sort positions stably by key, in place: start (n_keys + 2,) of zeros, order (len(key),).

    Counts are kept two places up, so that filling moves each start to where it belongs.
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
    """Fill the view by source from that by target, in place: start (n + 2,) of zeros as above."""
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


@entry
def _levels_upwards(ptr: Any, src: Any, level: Any) -> None:
    """Raise levels, in place, to one more than those of all sources, which have lower numbers."""
    for j in range(level.shape[0]):
        for k in range(ptr[j], ptr[j + 1]):
            level[j] = max(level[j], level[src[k]] + 1)


@entry
def _longest_paths(ptr: Any, dst: Any, waiting: Any, level: Any, queue: Any) -> None:
    """level_j = max(level_j, 1 + max over i->j of level_i), in place.

    waiting (n,) of zeros: counts in-edges not yet seen, and stays positive on and behind a cycle.
    """
    for j in dst:
        waiting[j] += 1
    tail = 0
    for i in range(len(waiting)):
        if waiting[i] == 0:
            queue[tail] = i
            tail += 1
    head = 0
    while head < tail:
        i = queue[head]
        head += 1
        for e in range(ptr[i], ptr[i + 1]):
            j = dst[e]
            level[j] = max(level[j], level[i] + 1)
            waiting[j] -= 1
            if waiting[j] == 0:
                queue[tail] = j
                tail += 1


@entry
def _spread(in_ptr: Any, in_src: Any, found: Any) -> None:
    """found_j |= any over i->j of found_i, in place, in topological order."""
    for j in range(in_ptr.shape[0] - 1):
        for e in range(in_ptr[j], in_ptr[j + 1]):
            found[j] |= found[in_src[e]]
