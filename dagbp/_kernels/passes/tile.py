"""Samples, losses and results of a group of tiles: what happens before and after `net`."""

import numpy as np

from dagbp._compiler.decorators import jit
from dagbp._kernels.frames import LOSS, N_ROWS, WEIGHT
from dagbp._kernels.passes.net import drop_rows
from dagbp._kernels.passes.readers import BLOCK, sample_index
from dagbp._kernels.passes.timing import COPY_IN, LOSSES, tick
from dagbp._kernels.vectors.vector import (
    ONE,
    ZERO,
    as_element,
    call_address,
    given,
    lanes,
    least,
    load,
    offset,
    row_pointer,
    store,
)

u = np.uintp


@jit
def targets_in(data, work, g, first, count, scale):
    """Fill tile g of y and of row with the targets and weights of `count` samples from `first`.

    Lanes beyond `count` get weight 0.
    """
    y, row = offset(work.y, g * data.n_outputs), offset(work.row, g * N_ROWS)
    args = (y, data, data.targets, data.n_outputs, first, count, lanes(y), ZERO, ONE)
    call_address(data.read_targets, args)
    cells = row_pointer(row, WEIGHT)
    for b in range(lanes(row)):
        weight = scale if b < count else 0.0
        if b < count and given(data.weight):
            weight *= data.weight[sample_index(data, first + b)]
        cells[b] = as_element(cells, weight)


@jit
def loss(net, function, work, g):
    """Fill tile g of e with the weighted de/dx of the outputs; return the tile's weighted loss."""
    first, tile = g * net.n_outputs, offset(work.x, g * net.n_nodes)
    out, e, row = offset(work.out, first), offset(work.e, first), offset(work.row, g * N_ROWS)
    for k in range(net.n_outputs):
        store(out, k, load(tile, u(net.outputs[k])))
    value, weight = row_pointer(row, LOSS), row_pointer(row, WEIGHT)
    x, y = row_pointer(out, ZERO), row_pointer(work.y, first)
    slope, width = row_pointer(e, ZERO), lanes(tile)
    args = (x, y, slope, value, function.hyper, net.n_outputs, width)
    call_address(function.address, args)
    weights = load(row, WEIGHT)
    for k in range(net.n_outputs):
        store(e, k, load(e, k) * weights)
    result = 0.0
    for b in range(lanes(tile)):
        if weight[b] != 0:
            result += np.float64(weight[b]) * np.float64(value[b])
    return result


@jit
def group_in(net, data, work, first, count):
    """Fill a group's tiles with the features of `count` samples; return the number of tiles."""
    tiles = (count + net.width - ONE) // net.width
    for g in range(tiles):
        start = g * net.width
        some = least(net.width, count - start)
        x = offset(work.x, g * net.n_nodes)
        turns = lanes(x), work.member, work.team_size
        args = (x, data, data.features, data.n_inputs, first + start, some, *turns)
        call_address(data.read_features, args)
        if work.drop != ZERO:
            for block in range(work.member * BLOCK, net.n_inputs, work.team_size * BLOCK):
                stop = least(block + BLOCK, net.n_inputs)
                drop_rows(work, x, block, stop, first + start)
    tick(work, COPY_IN)
    return tiles


@jit
def group_loss(net, data, function, work, first, count, tiles, scale):
    """Fill e and tile_loss of this member's share of the tiles."""
    for g in range(work.member, tiles, work.team_size):
        start = g * net.width
        targets_in(data, work, g, first + start, least(net.width, count - start), scale)
        work.tile_loss[g] = loss(net, function, work, g)
    tick(work, LOSSES)


@jit
def copy_out(net, tile, first, count, target):
    """target[first + b, k] <- the k-th output of sample b, for `count` samples."""
    cells = row_pointer(tile, ZERO)
    for b in range(count):
        for k in range(net.n_outputs):
            target[(first + b) * net.n_outputs + k] = cells[u(net.outputs[k]) * lanes(tile) + b]


@jit
def copy_all_out(net, n_samples, tile, first, count, target):
    """target[j, first + b] <- tile[j][b], for every node j and `count` samples."""
    cells = row_pointer(tile, ZERO)
    for j in range(net.n_nodes):
        for b in range(count):
            target[j * n_samples + first + b] = cells[j * lanes(tile) + b]
