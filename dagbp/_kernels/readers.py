"""Samples copied into tiles, straight from where they are: features and targets of any kind.

So a memory-mapped array of bytes, or a sparse matrix, trains without a whole copy of it. All read
alike: cells[j * width + b] = source[sample of position first + b, j], or from column places[j] if
given; lanes beyond `count` repeat the last sample: no overflow that the batch itself has not. The
members of a crew take turns at blocks of rows. Of a sparse matrix, places has the row of each
column. Each is a C function, which kernels call by address.
"""

import numba
import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._jit import compile_callback
from dagbp._kernels.rows import specialise
from dagbp._kernels.transpose import copy_square, new_starts, side
from dagbp._kernels.vector import ZERO, as_element, clear, given, least

u = np.uintp
ONE, BLOCK = u(1), u(16)  # rows that a member copies together: whole squares of any side


def read_squares(
    cells,
    source,
    stride,
    indptr,
    indices,
    order,
    places,
    columns,
    first,
    count,
    width,
    member,
    members,
):
    """Cells <- rows of a C-contiguous array of the tile's dtype, its columns in their order.

    Squares of samples and columns are transposed between registers, what is left of the columns
    goes one by one.
    """
    square, starts = side(source), new_starts(source)
    for b in range(ZERO, width, square):
        for c in range(square):
            place = first + least(b + c, count - ONE)
            starts[c] = (u(order[place]) if given(order) else place) * columns
        for block in range(member * BLOCK, columns, members * BLOCK):
            stop = least(block + BLOCK, columns)
            whole = block + (stop - block) // square * square
            for j in range(block, whole, square):
                copy_square(source, starts, j, cells, j * width + b, width)
            for j in range(whole, stop):
                for c in range(square):
                    cells[j * width + b + c] = source[starts[c] + j]


def read_rows(
    cells,
    source,
    stride,
    indptr,
    indices,
    order,
    places,
    columns,
    first,
    count,
    width,
    member,
    members,
):
    """Cells <- rows of an array of any dtype, `stride` elements apart."""
    for block in range(member * BLOCK, columns, members * BLOCK):
        stop = least(block + BLOCK, columns)
        for b in range(width):
            place = first + least(b, count - ONE)
            start = (u(order[place]) if given(order) else place) * stride
            for j in range(block, stop):
                column = u(places[j]) if given(places) else j
                cells[j * width + b] = as_element(cells, source[start + column])


def read_csr(
    cells,
    source,
    stride,
    indptr,
    indices,
    order,
    places,
    columns,
    first,
    count,
    width,
    member,
    members,
):
    """Cells <- rows of a sparse matrix in CSR form; entries of the same place are added."""
    for block in range(member * BLOCK, columns, members * BLOCK):
        clear(cells, block * width, least(block + BLOCK, columns) * width)
    for b in range(width):
        place = first + least(b, count - ONE)
        row = u(order[place]) if given(order) else place
        for k in range(u(indptr[row]), u(indptr[row + ONE])):
            j = u(indices[k])
            if given(places):
                j = u(places[j])
            if j // BLOCK % members == member:
                cells[j * width + b] += as_element(cells, source[k])


def read_labels(
    cells,
    source,
    stride,
    indptr,
    indices,
    order,
    places,
    columns,
    first,
    count,
    width,
    member,
    members,
):
    """Cells <- 1 in the row of each sample's label, 0 in the others; for one member."""
    clear(cells, ZERO, columns * width)
    for b in range(width):
        place = first + least(b, count - ONE)
        label = source[u(order[place]) if given(order) else place]
        cells[u(label) * width + b] = as_element(cells, 1)


def compile_reader(template, dtype, source):
    """Return a reader for tiles of `dtype` from what has dtype `source`, compiled."""
    p = types.CPointer(types.float32 if dtype == np.float32 else types.float64)
    q, n = types.CPointer(numba.from_dtype(source)), types.uintp
    longs, ints = types.CPointer(types.int64), types.CPointer(types.int32)
    arguments = signature(types.void, p, q, n, longs, ints, longs, longs, *[n] * 6)
    return compile_callback(specialise(template, f"{source}_{dtype}"), arguments)
