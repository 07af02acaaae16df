"""The plan: a graph as the integer arrays that every kernel reads.

Rows number the nodes in topological order: the inputs first, in the user's order, then level by
level, and within a level by class (of a network: by activation) and then in graph order.
`clustering` then moves rows among the inputs, or among the rows of one level and class, where that
makes dense blocks contiguous.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._plan import edge_order, paths
from dagbp._plan.edge_order import Int32, Int64, Slots
from dagbp._plan.small import SMALL


class CycleFound(Exception):
    """The edges hold a cycle; `nodes` are its nodes in order, each once."""

    def __init__(self, nodes: list[int]) -> None:
        super().__init__(nodes)
        self.nodes = nodes


class EdgeRepeated(Exception):
    """Two edges have the same ends; `edges` are their numbers, in order."""

    def __init__(self, edges: tuple[int, int]) -> None:
        super().__init__(edges)
        self.edges = edges


class Plan(NamedTuple):
    """A graph as arrays: n nodes, E edges, all arrays C-contiguous.

    A *row* is a node's place in topological order, a *slot* an edge's place in one of the two
    views. The graph's own numbers of nodes and edges appear only in `node`, `row` and `in_edge`.
    Levels are 0 for inputs, 1 for constants (no in-edges, yet no input), and else one more than the
    highest level among the predecessors.
    """

    node: Int64  # (n,): the node of each row
    row: Int64  # (n,): the row of each node
    level: Int64  # (n,): by row, ascending
    in_ptr: Int64  # (n + 1,): in-edges of row j are the slots in_ptr[j]:in_ptr[j + 1]
    in_src: Int32  # (E,): source row of each in-slot, ascending within a target
    in_edge: Slots  # (E,): edge of each in-slot
    out_ptr: Int64  # (n + 1,): out-edges of row i are the slots out_ptr[i]:out_ptr[i + 1]
    out_dst: Int32  # (E,): target row of each out-slot, ascending within a source
    in_slot: Slots  # (E,): out-slot of each in-slot
    outputs: Int64  # (n_outputs,): rows of the outputs, in the user's order
    output_slot: Int64  # (n,): by row: place in `outputs`, -1 for any other node
    cluster: Int64  # (n,): by row: number of its cluster, see `clustering`; 0 for none
    input_column: Int64  # (n_inputs,): the column of the features for each input row
    n_inputs: int  # rows below it are the inputs


def make_plan(
    n_nodes: int,
    src: npt.ArrayLike,
    dst: npt.ArrayLike,
    inputs: npt.ArrayLike,
    outputs: npt.ArrayLike,
    node_class: npt.ArrayLike | None = None,
    *,
    small: int = SMALL,
) -> Plan:
    """Order the nodes and build both views of the edges, in O(n_nodes + n_edges).

    src, dst (n_edges,): ends of each edge, not checked to be in range. inputs, outputs: nodes that
    hold features (without in-edges) and nodes that are read out, in column order. node_class
    (n_nodes,): small numbers; nodes of one level are sorted by them. Up to `small` nodes and edges
    nothing is compiled. Raises CycleFound or EdgeRepeated.
    """
    src, dst = (np.require(ends, np.int32, ["C", "W"]) for ends in (src, dst))
    inputs, outputs = _int64(inputs), _int64(outputs)
    node_class = None if node_class is None else _int64(node_class)
    level, node, view = _in_order(n_nodes, src, dst, inputs, node_class, small)
    row = edge_order.inverse(node)
    _refuse_repeats(*view)
    back = edge_order.by_source(*view[:2], small)
    output_slot = np.full(n_nodes, -1, np.int64)
    output_slot[row[outputs]] = np.arange(len(outputs))
    cluster, column = np.zeros(n_nodes, np.int64), np.arange(len(inputs))
    ports = row[outputs], output_slot, cluster, column
    arrays = node, row, level, *view, *back, *ports
    return Plan(*arrays, n_inputs=len(inputs))


def depth(plan: Plan) -> int:
    """Return the number of edges of the longest path."""
    if not len(plan.in_src):
        return 0
    # Constants, the computed nodes without in-edges, stand one level above the inputs.
    fed = np.diff(plan.in_ptr) > 0
    longest = np.where(fed, plan.level, 0)
    if (plan.level[plan.n_inputs :][~fed[plan.n_inputs :]] > 0).any():
        longest = paths.path_lengths(plan.in_ptr, plan.in_src)
    return int(longest.max())


def reached(plan: Plan) -> npt.NDArray[np.bool_]:
    """Return, by row, whether a path leads there from some input, shape (n,)."""
    return paths.reached_rows(plan.in_ptr, plan.in_src, plan.n_inputs)


def _int64(values: npt.ArrayLike) -> Int64:
    """Return `values` as the one type of array that the compiled functions take."""
    return np.require(values, np.int64, ["C", "W"])


def _in_order(
    n_nodes: int, src: Int32, dst: Int32, inputs: Int64, node_class: Int64 | None, small: int
) -> tuple[Int64, Int64, tuple[Int64, Int32, Slots]]:
    """Return each row's level and node, and the view by target."""
    if len(src) + n_nodes > small and _is_by_target(src, dst):
        ptr = edge_order.pointers(dst, n_nodes)
        level = paths.first_levels(n_nodes, inputs)
        paths.raise_levels(ptr, src, level)
        node = _topological_order(level, inputs, node_class, small)
        if (node == np.arange(n_nodes)).all():
            edge = np.arange(len(src), dtype=edge_order.slots_dtype(len(src)))
            return level, node, (ptr, src, edge)
    ptr, edge = edge_order.grouped(src, n_nodes, small)
    target = dst[edge]
    level, done = paths.node_levels(ptr, target, inputs, small)
    if not done.all():
        raise CycleFound(paths.one_cycle(src, dst, ~done))
    node = _topological_order(level, inputs, node_class, small)
    return level[node], node, edge_order.by_target(node, ptr, edge, target, small)


def _is_by_target(src: Int32, dst: Int32) -> bool:
    """Return whether edges are sorted by target and source, and lead to higher numbers only."""
    some = 2**16  # tested first: in most graphs that are not sorted, these show it
    for a, b in (src[:some], dst[:some]), (src, dst):
        rises = (b[1:] > b[:-1]) | ((b[1:] == b[:-1]) & (a[1:] >= a[:-1]))
        if not (rises.all() and (a < b).all()):
            return False
    return True


def _topological_order(level: Int64, inputs: Int64, node_class: Int64 | None, small: int) -> Int64:
    """Return the nodes in row order: inputs as given, others by level, class and number."""
    other = np.ones(len(level), np.bool_)
    other[inputs] = False
    others = np.flatnonzero(other)
    if node_class is not None:
        n_classes = int(node_class.max(initial=0)) + 1
        others = others[edge_order.grouped(node_class[others], n_classes, small)[1]]
    _, order = edge_order.grouped(level[others], int(level.max(initial=0)) + 1, small)
    return np.concatenate([inputs, others[order]])


def _refuse_repeats(in_ptr: Int64, in_src: Int32, in_edge: Slots) -> None:
    """Raise `EdgeRepeated` if a target has the same source twice, in neighbouring slots."""
    same = in_src[1:] == in_src[:-1]
    starts = in_ptr[1:-1]
    same[starts[(starts > 0) & (starts < len(in_src))] - 1] = False
    if same.any():
        k = int(np.argmax(same))
        raise EdgeRepeated((int(in_edge[k]), int(in_edge[k + 1])))
