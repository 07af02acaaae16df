"""Helper of peers that run level by level: nodes by level, and edges by target.

It uses NumPy and SciPy only, so that the start-up times of peers do not include dagbp.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp


class Levels(NamedTuple):
    """A topology with its nodes renumbered as rows: inputs first, then level by level.

    Outputs are the last rows of their level, so that rows with an activation are consecutive.
    Slots order the edges by target row, then by source row.

    Attributes
    ----------
    row : int64 (n,)
        Row of each of the case's nodes.
    start : list of int, n_levels + 1
        Level k >= 1 has the rows ``start[k]:start[k + 1]``; level 0 is the inputs.
    hidden : list of int, n_levels
        Rows of level k below ``hidden[k]`` are not outputs.
    in_ptr, in_src : int32 (n + 1,), int32 (E,)
        In-edges by target row.
    out_ptr, out_dst, out_slot : int32 (n + 1,), int32 (E,), int64 (E,)
        Out-edges by source row, and the slot of each.
    edge : int64 (E,)
        The case's edge in each slot.
    target : int32 (E,)
        Target row of each slot.
    outputs : int64 (n_outputs,)
        Rows of the outputs, in the case's order.
    """

    row: np.ndarray
    start: list
    hidden: list
    in_ptr: np.ndarray
    in_src: np.ndarray
    out_ptr: np.ndarray
    out_dst: np.ndarray
    out_slot: np.ndarray
    edge: np.ndarray
    target: np.ndarray
    outputs: np.ndarray

    @property
    def n_nodes(self):
        """Number of nodes."""
        return len(self.row)

    @property
    def n_inputs(self):
        """Number of inputs."""
        return self.start[1]

    @property
    def spans(self):
        """Return (first row, first output, end) of each level above the inputs."""
        return list(zip(self.start[1:-1], self.hidden[1:], self.start[2:], strict=True))

    def from_case(self, case, parameters):
        """Return the weights by slot, and the biases by row without the inputs."""
        biases = np.empty(case.n_nodes, parameters.dtype)
        biases[self.row[case.computed]] = parameters[len(self.edge) :]
        return parameters[: len(self.edge)][self.edge], biases[self.n_inputs :]

    def to_case(self, case, weights, biases):
        """Return values in the order of the case's parameters; inverts `from_case`."""
        by_edge = np.empty_like(weights)
        by_edge[self.edge] = weights
        return np.concatenate([by_edge, biases[self.row[case.computed] - self.n_inputs]])


def make_levels(case):
    """Return the levels of a case."""
    n, inputs, outputs = case.n_nodes, np.asarray(case.inputs), np.asarray(case.outputs)
    assert not np.isin(case.src, outputs).any(), "peers by level need outputs without out-edges"
    level = _level_of_nodes(case)
    level[inputs] = -1  # before all others, also before computed nodes without in-edges
    is_output = np.zeros(n, np.int8)
    is_output[outputs] = 1
    place = np.arange(n)
    place[inputs] = np.arange(len(inputs))
    order = np.lexsort((place, is_output, level))
    row = np.empty(n, np.int64)
    row[order] = np.arange(n)

    _, widths = np.unique(level, return_counts=True)
    start = [0, *np.cumsum(widths).tolist()]
    n_outputs = np.add.reduceat(is_output[order].astype(np.int64), start[:-1])
    hidden = (np.array(start[1:]) - n_outputs).tolist()

    by_target = _csr(row[case.dst], row[case.src], np.arange(len(case.src)), n)
    target = np.repeat(np.arange(n, dtype=np.int32), np.diff(by_target.indptr))
    by_source = _csr(by_target.indices, target, np.arange(len(target)), n)
    return Levels(
        row=row,
        start=start,
        hidden=hidden,
        in_ptr=by_target.indptr,
        in_src=by_target.indices,
        out_ptr=by_source.indptr,
        out_dst=by_source.indices,
        out_slot=by_source.data,
        edge=by_target.data,
        target=target,
        outputs=row[outputs],
    )


def _csr(rows, columns, values, n):
    """Return a sorted CSR matrix. Its indices are int32: all libraries read them fastest."""
    matrix = sp.csr_array((values, (rows, columns)), shape=(n, n))
    matrix.sort_indices()
    matrix.indptr, matrix.indices = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    return matrix


def _level_of_nodes(case):
    """Return the length of the longest path to each node, by Kahn's algorithm."""
    n = case.n_nodes
    out = sp.csr_array((np.ones(len(case.src), np.int8), (case.src, case.dst)), shape=(n, n))
    waiting = np.bincount(case.dst, minlength=n)
    level = np.zeros(n, np.int64)
    front, depth = np.flatnonzero(waiting == 0), 0
    while len(front):
        level[front] = depth
        counts = out.indptr[front + 1] - out.indptr[front]
        first = np.repeat(out.indptr[front] - np.cumsum(counts) + counts, counts)
        fed, times = np.unique(out.indices[first + np.arange(len(first))], return_counts=True)
        waiting[fed] -= times
        front, depth = fed[waiting[fed] == 0], depth + 1
    return level
