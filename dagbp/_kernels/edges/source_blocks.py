"""The sums of rows with many edges, strip by strip of their sources; see `dagbp._strips`.

Called by address: a net without strips never compiles it.
"""

import numpy as np

from dagbp._compiler.decorators import FAST
from dagbp._kernels.edges.sparse import gathered
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import ONE, ZERO, fill, load, offset, store

u = np.uintp


@c_function("i64*, real*, i32*, real*, tile, tile, size, size", fastmath=FAST)
def source_block_sums(program, weights, sources, bias, x, out, first, last):
    """out[j] <- bias[j] + sum_{i->j} w_ij x_i of the rows j = first ... last - 1."""
    piece = offset(program, ONE)
    for strip in range(u(program[ZERO])):
        for j in range(first, last):
            s = load(out, j) if strip != ZERO else fill(out, bias[j])
            store(out, j, gathered(u(piece[ZERO]), u(piece[ONE]), weights, sources, x, s))
            piece = offset(piece, ONE)
