"""The work on a group of tiles, as C functions: entry points call them by address.

So each is compiled once a dtype and width of a tile, and only once it is needed.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import FAST, compile_callback
from dagbp._kernels.frames import (
    STAY,
    VALUE,
    open_data,
    open_loss,
    open_net,
    open_result,
    open_work,
)
from dagbp._kernels.passes import tile
from dagbp._kernels.passes.barrier import sync_team
from dagbp._kernels.passes.net import backward, forward
from dagbp._kernels.vectors.vector import ZERO, Tile, least, offset

FRAME, INDEX = types.CPointer(types.uint64), types.uintp


def read(tag, net, data, work, first, count):
    """x, s <- those of `count` samples from `first`: features in, and forward."""
    net, data = open_net(net, tag), open_data(data, tag)
    work = open_work(work, tag)
    tiles = tile.group_in(net, data, work, first, count)
    sync_team(work)
    forward(net, work, first, tiles)


def learn(tag, net, data, loss, work, first, count, scale, back):
    """Add scale times the loss of what `read` left; then `back`: deltas and gradient, or STAY."""
    net, data, loss = open_net(net, tag), open_data(data, tag), open_loss(loss, tag)
    work = open_work(work, tag)
    tiles = (count + net.width - np.uintp(1)) // net.width
    tile.group_loss(net, data, loss, work, first, count, tiles, scale)
    sync_team(work)
    if work.member == ZERO:
        for g in range(tiles):
            work.loss[VALUE] += work.tile_loss[g]
    if back != STAY:
        backward(net, work, first, tiles, back)


def write(tag, net, work, out, first, count):
    """out.x <- the outputs of what `read` left, this member's tiles; (N, n_outputs)."""
    net, work, out = open_net(net, tag), open_work(work, tag), open_result(out, tag)
    tiles = (count + net.width - np.uintp(1)) // net.width
    for g in range(work.member, tiles, work.team_size):
        start = g * net.width
        some, x = least(net.width, count - start), offset(work.x, g * net.n_nodes)
        tile.copy_out(net, x, first + start, some, out.x)
    sync_team(work)


def write_all(tag, net, data, work, out, first, count, back):
    """out.s, out.x, or with `back` out.delta <- every node's values of one tile, (n, N)."""
    net, data = open_net(net, tag), open_data(data, tag)
    work, out = open_work(work, tag), open_result(out, tag)
    if back != ZERO:
        tile.copy_all_out(net, data.n_samples, work.x, first, count, out.delta)
    else:
        tile.copy_all_out(net, data.n_samples, work.s, first, count, out.s)
        tile.copy_all_out(net, data.n_samples, work.x, first, count, out.x)


_ARGUMENTS = {
    read: (FRAME, FRAME, FRAME, INDEX, INDEX),
    learn: (FRAME, FRAME, FRAME, FRAME, INDEX, INDEX, types.float64, INDEX),
    write: (FRAME, FRAME, FRAME, INDEX, INDEX),
    write_all: (FRAME, FRAME, FRAME, FRAME, INDEX, INDEX, INDEX),
}


def compile_part(part, dtype, row_bytes):
    """Return one of the functions here, compiled for tiles with rows of so many bytes."""
    scalar = types.float32 if dtype == np.float32 else types.float64
    tag = Tile(scalar, row_bytes * 8 // scalar.bitwidth)
    arguments = signature(types.void, tag, *_ARGUMENTS[part])
    return compile_callback(part, arguments, fastmath=FAST)
