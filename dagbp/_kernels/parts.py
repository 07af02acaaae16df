"""The work on one tile, as C functions: entry points call them by address.

So each is compiled once a dtype, not once for each entry point, and an entry point is a small loop.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._jit import FAST, compile_callback
from dagbp._kernels import tile
from dagbp._kernels.net import backward, forward
from dagbp._kernels.records import (
    VALUE,
    open_data,
    open_loss,
    open_net,
    open_work,
)
from dagbp._kernels.vector import Tile

u = np.uintp
FRAME, INDEX = types.CPointer(types.uint64), types.uintp


def read(kind, net, data, work, first, count):
    """x, s <- those of `count` samples from `first`: features in, and forward."""
    net, data = open_net(net, kind), open_data(data, kind)
    work = open_work(work, kind)
    tile.copy_in(data, data.features, data.n_inputs, first, count, work.x)
    forward(net, work.x, work.d)


def learn(kind, net, data, loss, work, first, count, scale, back):
    """Add scale times the loss of what `read` left; with `back`, deltas and gradient too."""
    net, data, loss = open_net(net, kind), open_data(data, kind), open_loss(loss, kind)
    work = open_work(work, kind)
    tile.copy_targets_in(data, work, first, count, scale)
    work.loss[u(VALUE)] += tile.loss(net, loss, work)
    if back:
        backward(net, work)


def compile_parts(dtype, row_bytes):
    """Return `read` and `learn`, compiled for tiles of `dtype`."""
    scalar = types.float32 if dtype == np.float32 else types.float64
    kind = Tile(scalar, row_bytes * 8 // scalar.bitwidth)
    reads = signature(types.void, kind, FRAME, FRAME, FRAME, INDEX, INDEX)
    learns = signature(
        types.void, kind, FRAME, FRAME, FRAME, FRAME, INDEX, INDEX, types.float64, types.boolean
    )
    return (
        compile_callback(read, reads, fastmath=FAST),
        compile_callback(learn, learns, fastmath=FAST),
    )
