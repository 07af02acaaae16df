"""The sums of rows with many edges, strip by strip of their sources; see `dagbp._strips`.

Called by address: a net without strips never compiles it.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import FAST, compile_callback
from dagbp._kernels.edges.sparse import gathered
from dagbp._kernels.vectors.vector import ONE, ZERO, Tile, fill, load, offset, store

u = np.uintp


def strip_sums(program, weights, sources, bias, x, out, first, last):
    """out[j] <- bias[j] + sum_{i->j} w_ij x_i of the rows j = first ... last - 1."""
    piece = offset(program, ONE)
    for strip in range(u(program[ZERO])):
        for j in range(first, last):
            s = load(out, j) if strip != ZERO else fill(out, bias[j])
            store(out, j, gathered(u(piece[ZERO]), u(piece[ONE]), weights, sources, x, s))
            piece = offset(piece, ONE)


def compile_strips(dtype, row_bytes):
    """Return `strip_sums`, compiled for tiles with rows of so many bytes."""
    scalar = types.float32 if dtype == np.float32 else types.float64
    tile, real = Tile(scalar, row_bytes * 8 // scalar.bitwidth), types.CPointer(scalar)
    program, rows, size = types.CPointer(types.int64), types.CPointer(types.int32), types.uintp
    arguments = signature(types.void, program, real, rows, real, tile, tile, size, size)
    return compile_callback(strip_sums, arguments, fastmath=FAST)
