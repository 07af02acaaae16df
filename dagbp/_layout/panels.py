"""Finds panels: consecutive rows with edges to the same runs of consecutive rows.

Panels are the supernodes of sparse factorisation [1]_, dense row blocks: fully connected layers
consist of them, and so do the dense parts of sparse nets, where `_plan.clustering` made them
contiguous. Panels change the order of work only (see `_kernels.edges.dense`). Every edge outside
their runs stays with the sparse rows.

.. [1] J. W. H. Liu, E. G. Ng and B. W. Peyton, "On finding supernodes for sparse matrix
   computations", SIAM Journal on Matrix Analysis and Applications 14, 1993.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from dagbp._compiler.decorators import entry, jit
from dagbp._kernels import frames
from dagbp._machine import PANEL_ROWS as ROWS
from dagbp._plan.plan import Plan

HEADER, N_RUNS = int(frames.HEADER), int(frames.N_RUNS)
FIRST, LENGTH, START = int(frames.FIRST), int(frames.LENGTH), int(frames.START)
RUN_WORDS = int(frames.RUN_WORDS)

Int64 = npt.NDArray[np.int64]

LEAST_RUN = 16  # edges of a run: shorter ones cost more to set up than they gain
SLICE_EDGES = 2**18  # that are searched together for a run


class Panels(NamedTuple):
    """The panels of one view of the edges."""

    of_row: Int64  # (n,): place in `program` of the panel that begins at a row, 0 for none
    program: Int64  # see `_kernels.edges.dense`; its first word is unused
    n_edges: int  # edges in runs


def in_panels(plan: Plan, row_class: Int64, rows: int = ROWS) -> Panels:
    """Return the panels of targets, for the forward pass; inputs are in none."""
    return _find_panels(plan.in_ptr, plan.in_src, row_class, plan.n_inputs, 1, rows)


def out_panels(plan: Plan, row_class: Int64, multiple: int) -> Panels:
    """Return the panels of sources, for backward; runs have multiples of `multiple` slots."""
    return _find_panels(plan.out_ptr, plan.out_dst, row_class, 0, multiple, ROWS)


def columns(panels: Panels, n_nodes: int) -> npt.NDArray[np.int64]:
    """Return 1 for each row that is in a run of some panel, (n,)."""
    runs = runs_of(panels)
    first, length = runs[:, FIRST], runs[:, LENGTH]
    steps = np.zeros(n_nodes + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, first + length, -1)
    return (np.cumsum(steps[:-1]) > 0).astype(np.int64)


def in_runs(panels: Panels, n_slots: int) -> npt.NDArray[np.bool_]:
    """Return whether each slot of the view is in a run of some panel, (n_slots,)."""
    runs = runs_of(panels)
    return covered(runs[:, START:], runs[:, LENGTH], n_slots)


def covered(start: Int64, length: Int64, n_slots: int) -> npt.NDArray[np.bool_]:
    """Return whether each slot is in some run; run r starts at the slots start[r], (R, rows)."""
    steps = np.zeros(n_slots + 1, np.int32)
    np.add.at(steps, start, 1)
    np.add.at(steps, start + length[:, None], -1)
    return np.cumsum(steps[:-1], dtype=np.int32) > 0


def runs_of(panels: Panels, rows: int = ROWS) -> Int64:
    """Return all runs (R, START + rows): first row, length, and the start slots."""
    program, place, words = panels.program, 1, START + rows
    found = [np.empty((0, words), np.int64)]
    while place < len(program):
        runs = program[place + HEADER :][: program[place + N_RUNS] * words]
        found.append(runs.reshape(-1, words))
        place += HEADER + runs.size
    return np.concatenate(found)


def _find_panels(
    ptr: Int64, other: Any, row_class: Int64, first: int, multiple: int, rows: int
) -> Panels:
    n, n_edges = len(row_class), len(other)
    of_row = np.zeros(n, np.int64)
    if not has_run(other):
        return Panels(of_row, np.zeros(1, np.int64), 0)
    words = 1 + n // rows * HEADER + n_edges // (LEAST_RUN * rows) * (START + rows)
    program = np.zeros(words, np.int64)
    position = np.zeros(rows, np.int64)
    size = _find(ptr, other, row_class, first, multiple, of_row, program, position)
    panels = Panels(of_row, program[:size].copy(), 0)
    return panels._replace(n_edges=rows * int(runs_of(panels, rows)[:, LENGTH].sum()))


def has_run(other: Any, slice_edges: int = SLICE_EDGES) -> bool:
    """Return whether any LEAST_RUN consecutive slots hold consecutive rows, in one row or not."""
    span = LEAST_RUN - 1
    for first in range(0, len(other) - span, slice_edges):
        part = other[first : first + slice_edges + span]
        # Rows ascend within a target. So if both ends of a window fit, the window is mostly a run.
        ends_fit = np.flatnonzero(part[span:] - part[:-span] == span)
        if (np.diff(sliding_window_view(part, LEAST_RUN)[ends_fit]) == 1).all(axis=1).any():
            return True
    return False


@entry
def _find(ptr, other, row_class, first, multiple, of_row, program, position):  # type: ignore[no-untyped-def]
    """Fill of_row and program, in place; return the size of the program.

    position (rows,): scratch, a slot of each row of a panel.

    Greedy, in row order. Rows of a panel are of one class, so none feeds another.
    """
    n, rows = row_class.shape[0], position.shape[0]
    size = 1
    while first + rows <= n:
        begin = end = size + HEADER
        if row_class[first] == row_class[first + rows - 1]:
            end = _write_runs(ptr, other, first, multiple, position, program, begin)
        if end > begin:
            program[size + N_RUNS] = (end - begin) // (START + rows)
            of_row[first] = size
            size = end
            first += rows
        else:
            first += 1
    return size


@jit
def _write_runs(
    ptr: Any, other: Any, first: Any, multiple: Any, position: Any, program: Any, place: Any
) -> Any:
    """Write the runs that rows ``first + [0, rows)`` share, in place; return where they end."""
    rows = position.shape[0]
    for r in range(rows):
        position[r] = ptr[first + r]
    common = _next_common(ptr, other, first, position)
    while common >= 0:
        length = _common_length(ptr, other, first, position)
        kept = length // multiple * multiple
        if kept >= LEAST_RUN:
            program[place + FIRST] = common
            program[place + LENGTH] = kept
            for r in range(rows):
                program[place + START + r] = position[r]
            place += START + rows
        for r in range(rows):
            position[r] += length
        common = _next_common(ptr, other, first, position)
    return place


@jit
def _next_common(ptr: Any, other: Any, first: Any, position: Any) -> Any:
    """Advance position to the next value that all rows share, in place; return it, or -1."""
    rows = position.shape[0]
    common, r, agreeing = 0, 0, 0
    while agreeing < rows:
        end = ptr[first + r + 1]
        while position[r] < end and other[position[r]] < common:
            position[r] += 1
        if position[r] == end:
            return -1
        if other[position[r]] > common:
            common = other[position[r]]
            agreeing = 0
        agreeing += 1
        r = r + 1 if r + 1 < rows else 0
    return common


@jit
def _common_length(ptr: Any, other: Any, first: Any, position: Any) -> Any:
    """Return how many consecutive values all rows share from position on."""
    common, length = other[position[0]], 1
    while True:
        for r in range(position.shape[0]):
            slot = position[r] + length
            if slot >= ptr[first + r + 1] or other[slot] != common + length:
                return length
        length += 1
