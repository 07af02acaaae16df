"""Features that are not an array of the net's dtype, copied into tiles straight from their source.

So a memory-mapped array of bytes, or a sparse matrix, trains without a whole copy of it. As
`tile.copy_in`: cells[j * width + b] = source[sample of position first + b, j], or from column
places[j] if given; lanes beyond `count` repeat the last sample; the members of a crew take turns at
blocks of rows. Of a sparse matrix, places has the row of each column.
"""

import numba
import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._jit import compile_callback
from dagbp._kernels.rows import specialise
from dagbp._kernels.vector import as_element, clear, given, least

u = np.uintp
ONE, BLOCK = u(1), u(16)


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


def compile_reader(sparse, dtype, source):
    """Return a reader for tiles of `dtype` from features of dtype `source`, compiled."""
    p = types.CPointer(types.float32 if dtype == np.float32 else types.float64)
    q, n = types.CPointer(numba.from_dtype(source)), types.uintp
    longs, ints = types.CPointer(types.int64), types.CPointer(types.int32)
    arguments = signature(types.void, p, q, n, longs, ints, longs, longs, *[n] * 6)
    template = read_csr if sparse else read_rows
    return compile_callback(specialise(template, f"{source}_{dtype}"), arguments)
