"""Group functions: the passes over one group of tiles, as C functions.

The entry points call them by the addresses in NetFrame, in the fields of the same names. They call
`tile` for samples, losses and results, and `net` for the two passes over the network. Each is
compiled once for each dtype and width of tiles, when a network first needs it.
"""

import numpy as np

from dagbp._compiler.decorators import FAST
from dagbp._kernels.frames import (
    FORWARD_ONLY,
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
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import ZERO, least, offset


@c_function("tile, frame, frame, frame, size, size", fastmath=FAST)
def load_and_forward(tag, net, data, work, first, count):
    """Load the features of `count` samples from `first`, and compute x and s of every node."""
    net, data = open_net(net, tag), open_data(data, tag)
    work = open_work(work, tag)
    tiles = tile.group_in(net, data, work, first, count)
    sync_team(work)
    forward(net, work, first, tiles)


@c_function("tile, frame, frame, frame, frame, size, size, f64, size", fastmath=FAST)
def loss_and_backward(tag, net, data, loss, work, first, count, scale, back):
    """Add scale times the loss; compute deltas and gradient too if back is ADD or STORE."""
    net, data, loss = open_net(net, tag), open_data(data, tag), open_loss(loss, tag)
    work = open_work(work, tag)
    tiles = (count + net.width - np.uintp(1)) // net.width
    tile.group_loss(net, data, loss, work, first, count, tiles, scale)
    sync_team(work)
    if work.member == ZERO:
        for g in range(tiles):
            work.loss[VALUE] += work.tile_loss[g]
    if back != FORWARD_ONLY:
        backward(net, work, first, tiles, back)


@c_function("tile, frame, frame, frame, size, size", fastmath=FAST)
def store_outputs(tag, net, work, out, first, count):
    """out.x, (N, n_outputs) <- the outputs of the loaded samples, this member's tiles."""
    net, work, out = open_net(net, tag), open_work(work, tag), open_result(out, tag)
    tiles = (count + net.width - np.uintp(1)) // net.width
    for g in range(work.member, tiles, work.team_size):
        start = g * net.width
        some, x = least(net.width, count - start), offset(work.x, g * net.n_nodes)
        tile.copy_out(net, x, first + start, some, out.x)
    sync_team(work)


@c_function("tile, frame, frame, frame, frame, size, size, size", fastmath=FAST)
def store_all(tag, net, data, work, out, first, count, back):
    """out.s and out.x, or with `back` out.delta, (n, N) <- every node's values of one tile."""
    net, data = open_net(net, tag), open_data(data, tag)
    work, out = open_work(work, tag), open_result(out, tag)
    if back != ZERO:
        tile.copy_all_out(net, data.n_samples, work.x, first, count, out.delta)
    else:
        tile.copy_all_out(net, data.n_samples, work.s, first, count, out.s)
        tile.copy_all_out(net, data.n_samples, work.x, first, count, out.x)
