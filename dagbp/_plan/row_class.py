"""Row classes, and the cells of the matrix of edges that may become dense blocks."""

import numpy as np
import numpy.typing as npt

from dagbp._plan.plan import Plan

Int64 = npt.NDArray[np.int64]

CELL_ROWS = 48  # of a cell: a multiple of the rows of a dense panel and of 16, its shortest run
LEAST_ROWS = 16  # cells with a shorter side stay sparse


def row_classes(plan: Plan, activation: Int64, alone: npt.NDArray[np.bool_] | None = None) -> Int64:
    """Return the number of each row's class: its level and activation; all inputs are one class.

    No row feeds another one of its class. Classes are consecutive rows, numbered from 0. Rows
    marked by `alone` (n,), all of them computed, are a class by themselves.
    """
    new = (np.diff(plan.level) != 0) | (np.diff(activation) != 0)
    if alone is not None:
        new |= alone[1:] | alone[:-1]
    new[: max(0, plan.n_inputs - 1)] = False
    new[plan.n_inputs - 1 : plan.n_inputs] = True
    return np.concatenate([[0], np.cumsum(new)])


def cells(row_class: Int64, cluster: Int64) -> Int64:
    """Return the first row of each cell, and the end.

    A cell is `CELL_ROWS` rows of one class and one cluster. Fewer than `LEAST_ROWS` remaining rows
    go with the cell before.
    """
    new = (np.diff(row_class) != 0) | (np.diff(cluster) != 0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    sizes = np.diff(starts, append=len(row_class))
    parts = np.maximum(1, (sizes + CELL_ROWS - LEAST_ROWS) // CELL_ROWS)
    before = np.cumsum(parts) - parts
    part = np.arange(parts.sum()) - np.repeat(before, parts)
    return np.append(np.repeat(starts, parts) + CELL_ROWS * part, len(row_class))
