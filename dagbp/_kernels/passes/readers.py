"""Samples copied into tiles, straight from where they are: features and targets of any kind.

So a memory-mapped array of bytes, or a sparse matrix, trains without a whole copy of it. All read
alike: cells[j * width + b] = source[sample of position first + b, j], or from column places[j] if
given; lanes beyond `count` repeat the last sample: no overflow that the batch itself has not. The
members of a crew take turns at blocks of rows. Of a sparse matrix, places has the row of each
column. Each is a C function, which kernels call by address: cells are those of a tile of `width`
lanes, source and columns those of features or targets, data has the rest.
"""

import numba
import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import compile_callback, jit
from dagbp._kernels.frames import open_data
from dagbp._kernels.vectors.transpose import copy_square, new_starts, side
from dagbp._kernels.vectors.vector import (
    ONE,
    ZERO,
    Tile,
    as_element,
    clear,
    given,
    least,
    row_pointer,
)

u = np.uintp
BLOCK = u(16)  # rows that a member copies together: whole squares of any side


@jit
def sample_index(data, position):
    """Return which sample stands at `position`."""
    return u(data.order[position]) if given(data.order) else position


def read_squares(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- rows of a C-contiguous array of the tile's dtype, its columns in their order.

    Squares of samples and columns are transposed between registers, what is left of the columns
    goes one by one.
    """
    data, cells = open_data(data, tile), row_pointer(tile, ZERO)
    square, starts = side(source), new_starts(source)
    for b in range(ZERO, width, square):
        for c in range(square):
            starts[c] = sample_index(data, first + least(b + c, count - ONE)) * columns
        for block in range(member * BLOCK, columns, team_size * BLOCK):
            stop = least(block + BLOCK, columns)
            whole = block + (stop - block) // square * square
            for j in range(block, whole, square):
                copy_square(source, starts, j, cells, j * width + b, width)
            for j in range(whole, stop):
                for c in range(square):
                    cells[j * width + b + c] = source[starts[c] + j]


def read_rows(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- rows of an array of any dtype, `stride` elements apart."""
    data, cells = open_data(data, tile), row_pointer(tile, ZERO)
    for block in range(member * BLOCK, columns, team_size * BLOCK):
        stop = least(block + BLOCK, columns)
        for b in range(width):
            start = sample_index(data, first + least(b, count - ONE)) * data.stride
            for j in range(block, stop):
                column = u(data.places[j]) if given(data.places) else j
                cells[j * width + b] = as_element(cells, source[start + column])


def read_csr(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- rows of a sparse matrix in CSR form; entries of the same place are added."""
    data, cells = open_data(data, tile), row_pointer(tile, ZERO)
    for block in range(member * BLOCK, columns, team_size * BLOCK):
        clear(cells, block * width, least(block + BLOCK, columns) * width)
    for b in range(width):
        row = sample_index(data, first + least(b, count - ONE))
        for k in range(u(data.indptr[row]), u(data.indptr[row + ONE])):
            j = u(data.indices[k])
            if given(data.places):
                j = u(data.places[j])
            if j // BLOCK % team_size == member:
                cells[j * width + b] += as_element(cells, source[k])


def read_labels(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- 1 in the row of each sample's label, 0 in the others; for one member."""
    data, cells = open_data(data, tile), row_pointer(tile, ZERO)
    clear(cells, ZERO, columns * width)
    for b in range(width):
        label = u(source[sample_index(data, first + least(b, count - ONE))])
        cells[label * width + b] = as_element(cells, 1)


def compile_reader(template, dtype, source):
    """Return a reader for tiles of `dtype` from what has dtype `source`, compiled."""
    tile = Tile(types.float32 if dtype == np.float32 else types.float64, 1)
    frame, of_source = types.CPointer(types.uint64), types.CPointer(numba.from_dtype(source))
    arguments = signature(types.void, tile, frame, of_source, *[types.uintp] * 6)
    return compile_callback(template, arguments)
