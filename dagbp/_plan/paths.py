"""Walks along the edges: levels by Kahn's algorithm, cycles, depth, and reached rows.

A. B. Kahn, "Topological sorting of large networks", Communications of the ACM 5, 1962.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._compiler.decorators import entry
from dagbp._plan.edge_order import Int32, Int64
from dagbp._plan.small import SMALL, call

Bool = npt.NDArray[np.bool_]


def first_levels(n_nodes: int, inputs: Int64) -> Int64:
    """Return the level of each node before any edge is followed: 0 for inputs, 1 for others."""
    level = np.ones(n_nodes, np.int64)
    level[inputs] = 0
    return level


def node_levels(ptr: Int64, dst: Int32, inputs: Int64, small: int = SMALL) -> tuple[Int64, Bool]:
    """Return each node's level, and whether it is neither on a cycle nor reachable from one.

    ptr, dst: the edges sorted by source: first position of each source, and the targets.
    """
    n = len(ptr) - 1
    level = first_levels(n, inputs)
    waiting, queue = np.zeros(n, np.int64), np.empty(n, np.int64)
    call(_kahn, (ptr, dst), (waiting, level, queue), in_python=len(dst) + n <= small)
    return level, waiting == 0


def one_cycle(src: Int32, dst: Int32, stuck: Bool) -> list[int]:
    """Return a cycle among the `stuck` nodes, each of which has a stuck predecessor."""
    inside = stuck[src] & stuck[dst]
    predecessor = np.full(len(stuck), -1, np.int64)
    predecessor[dst[inside]] = src[inside]
    walk: dict[int, None] = {}  # in the order of the walk, against the edges
    node = int(np.argmax(stuck))
    while node not in walk:
        walk[node] = None
        node = int(predecessor[node])
    backwards = list(walk)
    cycle = backwards[backwards.index(node) :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def path_lengths(in_ptr: Int64, in_src: Int32, small: int = SMALL) -> Int64:
    """Return the number of edges of the longest path to each row."""
    length = np.zeros(len(in_ptr) - 1, np.int64)
    in_python = len(in_src) + len(length) <= small
    call(raise_levels, (in_ptr, in_src), (length,), in_python=in_python)
    return length


def reached_rows(in_ptr: Int64, in_src: Int32, n_inputs: int) -> Bool:
    """Return for each row whether a path leads to it from one of the inputs, the first rows."""
    found = np.arange(len(in_ptr) - 1) < n_inputs
    constants = np.diff(in_ptr)[n_inputs:] == 0
    if not constants.any():  # then each walk against the edges ends at an input
        return np.ones_like(found)
    _spread(in_ptr, in_src, found)
    return found


@entry
def raise_levels(ptr: Any, src: Any, level: Any) -> None:
    """level_j = max(level_j, 1 + max over i->j of level_i), in place; each i is less than its j."""
    for j in range(len(level)):
        for k in range(ptr[j], ptr[j + 1]):
            level[j] = max(level[j], level[src[k]] + 1)


@entry
def _kahn(ptr: Any, dst: Any, waiting: Any, level: Any, queue: Any) -> None:
    """level_j = max(level_j, 1 + max over i->j of level_i), in place, by Kahn's algorithm.

    waiting (n,) of zeros: counts in-edges not yet seen. It stays positive for nodes on a cycle or
    reachable from one.
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
