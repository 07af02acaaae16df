"""Finds panels: consecutive rows whose edges share runs of consecutive rows on the other side.

Fully connected layers are panels through and through; so are the dense parts of residual nets and
of dense cores in sparse ones, wherever the order of rows keeps them together, for which `_alike`
cares. Panels only change the order of work (see `_kernels.dense`): every edge outside their runs
stays with the sparse rows.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from dagbp._compiler.decorators import entry
from dagbp._kernels import frames as records
from dagbp._machine import PANEL_ROWS as ROWS
from dagbp._plan.plan import Plan

HEADER, N_RUNS = int(records.HEADER), int(records.N_RUNS)
FIRST, LENGTH, START = int(records.FIRST), int(records.LENGTH), int(records.START)
RUN_WORDS = int(records.RUN_WORDS)

Int64 = npt.NDArray[np.int64]

LEAST = 16  # shorter runs do not pay for a panel's set-up
SLICE = 2**18  # edges looked at together


class Panels(NamedTuple):
    """The panels of one view of the edges.

    Attributes
    ----------
    of_row : int64 (n,)
        Where the program begins of the panel that starts in a row; 0 where none does: there the
        program is empty.
    program : int64
        See `_kernels.dense`.
    n_edges : int
        Edges in runs.
    """

    of_row: Int64
    program: Int64
    n_edges: int


def in_panels(plan: Plan, row_class: Int64, rows: int = ROWS) -> Panels:
    """Return the panels of targets, for the forward pass: of rows of one kind; none of inputs."""
    return _find_panels(plan.in_ptr, plan.in_src, row_class, plan.n_inputs, 1, rows)


def out_panels(plan: Plan, row_class: Int64, multiple: int) -> Panels:
    """Return the panels of sources, for the backward pass; runs are multiples of so many rows."""
    return _find_panels(plan.out_ptr, plan.out_dst, row_class, 0, multiple, ROWS)


def columns(panels: Panels, n_nodes: int) -> npt.NDArray[np.int64]:
    """Return 1 for each row that is in some panel's run, (n,)."""
    runs = runs_of(panels)
    first, length = runs[:, FIRST], runs[:, LENGTH]
    steps = np.zeros(n_nodes + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, first + length, -1)
    return (np.cumsum(steps[:-1]) > 0).astype(np.int64)


def in_runs(panels: Panels, n_slots: int) -> npt.NDArray[np.bool_]:
    """Return whether each slot of the view is in some panel's run, (n_slots,)."""
    runs = runs_of(panels)
    return covered(runs[:, START:], runs[:, LENGTH], n_slots)


def covered(start: Int64, length: Int64, n_slots: int) -> npt.NDArray[np.bool_]:
    """Return whether each slot is in some run; starts (R, rows) have a length each, (R,)."""
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
    if not _has_run(other):
        return Panels(of_row, np.zeros(1, np.int64), 0)
    words = 1 + n // rows * HEADER + n_edges // (LEAST * rows) * (START + rows)
    program = np.zeros(words, np.int64)
    position = np.zeros(rows, np.int64)
    size, edges = _find(ptr, other, row_class, first, multiple, of_row, program, position)
    return Panels(of_row, program[:size].copy(), int(edges))


def _has_run(other: Any) -> bool:
    """Return whether any LEAST consecutive slots hold consecutive rows, whoever's they are."""
    span = LEAST - 1
    for first in range(0, len(other) - span, SLICE):
        part = other[first : first + SLICE + span]
        # Where a target's slots begin and end as a run does, they are one: sources ascend.
        alike = np.flatnonzero(part[span:] - part[:-span] == span)
        if (np.diff(sliding_window_view(part, LEAST)[alike]) == 1).all(axis=1).any():
            return True
    return False


@entry
def _find(ptr, other, row_class, first, multiple, of_row, program, position):  # type: ignore[no-untyped-def]
    """Fill of_row and program, in place; return the program's size and the edges in runs.

    position (rows,): where the walks stand, one for each row of a panel.

    Rows of a panel are of one kind, level and activation: none feeds another. Greedy, in row
    order: the runs common to rows j ... j + rows - 1 come from walking their edges side by side.
    """
    n, rows = row_class.shape[0], position.shape[0]
    words = START + rows
    size, edges = 1, 0
    j = first
    while j + rows <= n:
        found = 0
        if row_class[j] == row_class[j + rows - 1]:
            begin = size + HEADER
            for r in range(rows):
                position[r] = ptr[j + r]
            while True:
                # The least row that may be common: the greatest of those the walks stand at.
                common, inside = -1, True
                for r in range(rows):
                    if position[r] == ptr[j + r + 1]:
                        inside = False
                        break
                    common = max(common, other[position[r]])
                if not inside:
                    break
                together = True
                for r in range(rows):
                    while position[r] < ptr[j + r + 1] and other[position[r]] < common:
                        position[r] += 1
                    at_end = position[r] == ptr[j + r + 1]
                    if at_end or other[position[r]] != common:
                        together = False
                if not together:
                    continue
                length, longer = 1, True
                while longer:
                    for r in range(rows):
                        slot = position[r] + length
                        if slot >= ptr[j + r + 1] or other[slot] != common + length:
                            longer = False
                            break
                    if longer:
                        length += 1
                kept = length // multiple * multiple
                if kept >= LEAST:
                    run = begin + found * words
                    program[run + FIRST] = common
                    program[run + LENGTH] = kept
                    for r in range(rows):
                        program[run + START + r] = position[r]
                    found += 1
                    edges += kept * rows
                for r in range(rows):
                    position[r] += length
        if found > 0:
            program[size + N_RUNS] = found
            of_row[j] = size
            size += HEADER + found * words
            j += rows
        else:
            j += 1
    return size, edges
