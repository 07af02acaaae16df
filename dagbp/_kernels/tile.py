"""One slice of a batch: samples in, through the net, loss, back, and out again."""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels import sparse
from dagbp._kernels.vector import (
    array_pointer,
    call_address,
    fill,
    get,
    lanes,
    load,
    put,
    row_pointer,
    store,
)

u = np.uintp
BLOCK = 16  # columns copied together: one cache line of float32 samples, 16 rows of a tile in L1

SCRATCH, LOSS, WEIGHT = 0, 1, 2  # rows of Work.row


@jit
def sample_index(order, position):
    """Return which sample stands at `position`; an empty order is 0, 1, 2, ..."""
    return u(order[position]) if order.shape[0] > 0 else u(position)


@jit
def copy_in(source, order, first, count, tile):
    """tile[j][b] = source[order[first + b], j]; lanes beyond `count` repeat the last sample.

    Repeated samples stay in the range of real ones: no overflow that the batch itself has not.
    """
    columns = u(source.shape[1])
    for block in range(u(0), columns, u(BLOCK)):
        stop = min(block + u(BLOCK), columns)
        for b in range(lanes(tile)):
            sample = sample_index(order, u(first) + min(b, u(count) - u(1)))
            for j in range(block, stop):
                put(tile, j, b, source[sample, j])


@jit
def copy_labels_in(labels, order, first, count, tile):
    """tile[j][b] = 1 if the label of sample b is j else 0."""
    for j in range(u(tile.shape[0])):
        store(tile, j, fill(tile, 0))
    for b in range(lanes(tile)):
        sample = sample_index(order, u(first) + min(b, u(count) - u(1)))
        put(tile, u(labels[sample]), b, 1)


@jit
def copy_weight_in(weight, order, first, count, scale, tile, row):
    """row[b] = scale * weight[order[first + b]]; lanes beyond `count` weigh nothing."""
    for b in range(lanes(tile)):
        value = 0.0
        if b < u(count):
            value = scale
            if weight.shape[0] > 0:
                value *= weight[sample_index(order, u(first) + b)]
        put(tile, u(row), b, value)


@jit
def copy_out(tile, rows, first, count, target):
    """target[first + b, k] = tile[rows[k]][b] for the `count` valid lanes."""
    for b in range(u(count)):
        for k in range(u(rows.shape[0])):
            target[u(first) + b, k] = get(tile, u(rows[k]), b)


@jit
def copy_all_out(tile, first, count, target):
    """target[j, first + b] = tile[j][b] for every node j and the `count` valid lanes."""
    for j in range(u(tile.shape[0])):
        for b in range(u(count)):
            target[j, u(first) + b] = get(tile, j, b)


@jit
def copy_samples_in(net, data, work, t, first, count, scale):
    """Fill thread t's tiles with `count` samples from `first`: features, targets and weights."""
    copy_in(data.features, data.order, first, count, work.x[t])
    if data.labels.shape[0] > 0:
        copy_labels_in(data.labels, data.order, first, count, work.y[t])
    else:
        copy_in(data.targets, data.order, first, count, work.y[t])
    copy_weight_in(data.weight, data.order, first, count, scale, work.row[t], WEIGHT)


@jit
def forward(net, work, t):
    """Signals and activations of every computed node, in topological order."""
    edges = net.in_src.shape[0]
    sparse.forward(net, net.values[edges:], work.x[t], work.d[t])


@jit
def loss(net, function, work, t):
    """Fill e with the weighted de/dx of the outputs; return the weighted loss, summed over lanes."""
    x, out, y, e, row = work.x[t], work.out[t], work.y[t], work.e[t], work.row[t]
    n_outputs = u(net.outputs.shape[0])
    for k in range(n_outputs):
        store(out, k, load(x, u(net.outputs[k])))
    call_address(
        u(function.address),
        (
            row_pointer(out, u(0)),
            row_pointer(y, u(0)),
            row_pointer(e, u(0)),
            row_pointer(row, u(LOSS)),
            array_pointer(function.hyper),
            n_outputs,
            lanes(x),
        ),
    )
    weight = load(row, u(WEIGHT))
    for k in range(n_outputs):
        store(e, k, load(e, k) * weight)
    result = 0.0
    for b in range(lanes(row)):
        w = np.float64(get(row, u(WEIGHT), b))
        if w != 0.0:
            result += w * np.float64(get(row, u(LOSS), b))
    return result


@jit
def backward(net, work, t):
    """Deltas of every computed node in reverse order, and every gradient, added to thread t's."""
    sparse.backward(net, work.x[t], work.d[t], work.e[t], work.row[t], work.gradient[t])
