"""Readers: copy samples from the user's array, of any dtype, into a tile.

A memory-mapped array of bytes or a sparse matrix therefore trains without a converted copy. All
readers have the same arguments and do the same:

    cells[j * width + b] = source[sample of position first + b, column of row j]

tile, width     the tile, and its lanes
data            the samples' frame: order, stride, places, and the arrays of a sparse matrix
source          the features or targets
columns         the number of rows j
first, count    the positions of the samples; lanes b >= count repeat the last sample, so that they
                overflow only if the batch does
member,         the threads of a team take turns at blocks of rows
team_size

Row j reads column data.places[j] of a dense array, or j without places. For a sparse matrix,
data.places is the inverse: the row of each column.
"""

import numpy as np

from dagbp._compiler.decorators import jit
from dagbp._kernels.frames import open_data
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.transpose import copy_square, new_starts, side
from dagbp._kernels.vectors.vector import ONE, ZERO, as_element, clear, given, least, row_pointer

u = np.uintp
BLOCK = u(16)  # rows in a block: a multiple of any square's side
ARGUMENTS = "tag, frame, source*, size, size, size, size, size, size"


@jit
def sample_index(data, position):
    """Return the sample at a position of the order."""
    return u(data.order[position]) if given(data.order) else position


@c_function(ARGUMENTS)
def read_squares(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- rows of a C-contiguous array of the tile's dtype, without places.

    Squares of samples and columns are transposed in registers. The remaining columns are copied
    one by one.
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


@c_function(ARGUMENTS)
def read_rows(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- rows of an array of any dtype; rows begin data.stride elements apart."""
    data, cells = open_data(data, tile), row_pointer(tile, ZERO)
    for block in range(member * BLOCK, columns, team_size * BLOCK):
        stop = least(block + BLOCK, columns)
        for b in range(width):
            start = sample_index(data, first + least(b, count - ONE)) * data.stride
            for j in range(block, stop):
                column = u(data.places[j]) if given(data.places) else j
                cells[j * width + b] = as_element(cells, source[start + column])


@c_function(ARGUMENTS)
def read_csr(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- rows of a sparse matrix in CSR form; duplicate entries are added."""
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


@c_function(ARGUMENTS)
def read_labels(tile, data, source, columns, first, count, width, member, team_size):
    """Cells <- 1 in the row of each sample's label, else 0 (one-hot); by one member alone."""
    data, cells = open_data(data, tile), row_pointer(tile, ZERO)
    clear(cells, ZERO, columns * width)
    for b in range(width):
        label = u(source[sample_index(data, first + least(b, count - ONE))])
        cells[label * width + b] = as_element(cells, 1)
