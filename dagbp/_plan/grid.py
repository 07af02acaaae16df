"""The grid of cells over the matrix of edges, in which dense blocks are looked for."""

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

CELL = 48  # rows of a cell: a multiple of the rows of a dense panel and of the 16 of its runs
LEAST = 16  # cells with a shorter side stay sparse


def cells(row_class: Int64, group: Int64) -> Int64:
    """Return the first row of each cell: of one kind and group, cut every `CELL`; the end is last.

    Fewer than `LEAST` rows that are left go with the cell before.
    """
    new = (np.diff(row_class) != 0) | (np.diff(group) != 0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    sizes = np.diff(starts, append=len(row_class))
    parts = np.maximum(1, (sizes + CELL - LEAST) // CELL)
    before = np.cumsum(parts) - parts
    part = np.arange(parts.sum()) - np.repeat(before, parts)
    return np.append(np.repeat(starts, parts) + CELL * part, len(row_class))
