"""Source blocks: cache blocking (Lam, Rothberg and Wolf, 1991) for rows with many edges.

The rows of a segment first take their edges from one block of sources, which fits the L1 cache,
then the edges from the next block; see `dagbp._layout.source_blocks`.

A C kernel: a net without source blocks never compiles it.
"""

import numpy as np

from dagbp._compiler.decorators import FAST
from dagbp._kernels.edges.sparse import gathered
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import ONE, ZERO, fill, load, offset, store

u = np.uintp


@c_function("i64*, real*, i32*, real*, tile, tile, size, size", fastmath=FAST)
def source_block_sums(program, weights, sources, bias, x, out, first, last):
    """out[j] <- bias[j] + sum_{i->j} w_ij x_i of the rows j = first ... last - 1.

    program: the number of blocks, then the first slot of each piece, which is one row's edges from
    one block.
    """
    piece = offset(program, ONE)
    for block in range(u(program[ZERO])):
        for j in range(first, last):
            s = load(out, j) if block != ZERO else fill(out, bias[j])
            store(out, j, gathered(u(piece[ZERO]), u(piece[ONE]), weights, sources, x, s))
            piece = offset(piece, ONE)
