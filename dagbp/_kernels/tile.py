"""One slice of a batch: samples in, through the net, loss, back, and out again."""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels.records import LOSS, WEIGHT
from dagbp._kernels.vector import (
    as_element,
    call_address,
    fill,
    lanes,
    load,
    row_pointer,
    store,
)

u = np.uintp
BLOCK = 16  # columns copied together: a cache line of float32 samples, and 16 rows of a tile in L1


@jit
def sample_index(data, position):
    """Return which sample stands at `position`."""
    return u(data.order[position]) if data.has_order else position


@jit
def copy_in(data, source, columns, first, count, tile):
    """tile[j][b] = source[sample first + b, j]; lanes beyond `count` repeat the last sample.

    Repeated samples stay in the range of real ones: no overflow that the batch itself has not.
    """
    width = lanes(tile)
    cells = row_pointer(tile, u(0))
    for block in range(u(0), columns, u(BLOCK)):
        stop = min(block + u(BLOCK), columns)
        for b in range(width):
            start = sample_index(data, first + min(b, count - u(1))) * columns
            for j in range(block, stop):
                cells[j * width + b] = source[start + j]


@jit
def copy_labels_in(data, first, count, tile):
    """tile[j][b] = 1 if the label of sample first + b is j else 0."""
    width = lanes(tile)
    cells = row_pointer(tile, u(0))
    for j in range(data.n_outputs):
        store(tile, j, fill(tile, 0))
    for b in range(width):
        sample = sample_index(data, first + min(b, count - u(1)))
        cells[u(data.labels[sample]) * width + b] = as_element(cells, 1)


@jit
def copy_weight_in(data, first, count, scale, cells, width):
    """cells[b] = scale * weight of sample first + b; lanes beyond `count` weigh nothing."""
    for b in range(width):
        weight = scale if b < count else 0.0
        if b < count and data.has_weight:
            weight *= data.weight[sample_index(data, first + b)]
        cells[b] = as_element(cells, weight)


@jit
def copy_targets_in(data, work, first, count, scale):
    """Fill the tiles of targets and weights with those of `count` samples from `first`."""
    if data.has_labels:
        copy_labels_in(data, first, count, work.y)
    else:
        copy_in(data, data.targets, data.n_outputs, first, count, work.y)
    copy_weight_in(data, first, count, scale, row_pointer(work.row, u(WEIGHT)), lanes(work.row))


@jit
def copy_out(net, tile, first, count, target):
    """target[first + b, k] = the k-th output of the `count` valid samples."""
    cells = row_pointer(tile, u(0))
    for b in range(count):
        for k in range(net.n_outputs):
            target[(first + b) * net.n_outputs + k] = cells[u(net.outputs[k]) * lanes(tile) + b]


@jit
def copy_all_out(net, n_samples, tile, first, count, target):
    """target[j, first + b] = tile[j][b] for every node j and the `count` valid samples."""
    cells = row_pointer(tile, u(0))
    for j in range(net.n_nodes):
        for b in range(count):
            target[j * n_samples + first + b] = cells[j * lanes(tile) + b]


@jit
def loss(net, function, work):
    """Fill e with the weighted de/dx of the outputs; return the weighted loss of all lanes."""
    for k in range(net.n_outputs):
        store(work.out, k, load(work.x, u(net.outputs[k])))
    value = row_pointer(work.row, u(LOSS))
    weight = row_pointer(work.row, u(WEIGHT))
    call_address(
        function.address,
        (
            row_pointer(work.out, u(0)),
            row_pointer(work.y, u(0)),
            row_pointer(work.e, u(0)),
            value,
            function.hyper,
            net.n_outputs,
            lanes(work.x),
        ),
    )
    weights = load(work.row, u(WEIGHT))
    for k in range(net.n_outputs):
        store(work.e, k, load(work.e, k) * weights)
    result = 0.0
    for b in range(lanes(work.x)):
        if weight[b] != 0:
            result += np.float64(weight[b]) * np.float64(value[b])
    return result
