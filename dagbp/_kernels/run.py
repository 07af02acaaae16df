"""Entry points: what Python calls, once a thread. Thread t of n_threads takes tiles t, t + n, ... .

Tiles are assigned and sums taken in a fixed order, so results repeat bit for bit at a given number
of threads. Arguments are frames (see `records`), and `kind`, an empty array of the tile's record.
"""

import math

import numpy as np

from dagbp._jit import entry, jit
from dagbp._kernels import tile
from dagbp._kernels.net import backward, first_row, forward, refresh_flat, restore_values
from dagbp._kernels.random import shuffle
from dagbp._kernels.records import (
    ABORT,
    ABORTED,
    BATCH_SIZE,
    DIVERGED,
    EPOCH,
    FINISHED,
    FINITE,
    LAST_EPOCH,
    LOSS_COLUMNS,
    N_ROWS,
    RUNNING,
    SHUFFLE,
    SQUARES,
    STATUS,
    STEP,
    UPDATES,
    VALUE,
    Work,
    open_clock,
    open_data,
    open_loss,
    open_net,
    open_result,
    open_update,
    open_work,
)
from dagbp._kernels.threads import atomic_load, wait_for_all
from dagbp._kernels.update import apply, clear, clip, reduce_gradients, share
from dagbp._kernels.vector import PANEL_ROWS, lanes, offset

u = np.uintp


@jit
def of_thread(work, net, t):
    """Return thread t's part of the buffers."""
    nodes, outputs = t * net.n_nodes, t * net.n_outputs
    return Work(
        offset(work.x, nodes),
        offset(work.d, nodes),
        offset(work.out, outputs),
        offset(work.y, outputs),
        offset(work.e, outputs),
        offset(work.row, t * u(N_ROWS)),
        offset(work.scratch, t * u(PANEL_ROWS)),
        offset(work.transposed, t * lanes(work.x) * net.stride),
        offset(work.gradient, t * net.n_values),
        work.gradients,
        work.loss,
    )


@entry
def predict(kind, net, data, work, out, t, n_threads):
    """out.x <- the outputs of every sample, (N, n_outputs)."""
    net, data, out = open_net(net, kind), open_data(data, kind), open_result(out, kind)
    work = of_thread(open_work(work, kind), net, u(t))
    width = lanes(work.x)
    for first in range(u(t) * width, data.n_samples, u(n_threads) * width):
        count = min(width, data.n_samples - first)
        tile.copy_in(data, data.features, data.n_inputs, first, count, work.x)
        forward(net, work.x, work.d)
        tile.copy_out(net, work.x, first, count, out.x)


@entry
def inspect(kind, net, data, loss, work, out, back):
    """out.s, out.x <- every node's values, (n, N); with `back`, out.delta likewise.

    delta is that of each sample's own error: not averaged, not weighted.
    """
    net, data, loss = open_net(net, kind), open_data(data, kind), open_loss(loss, kind)
    work, out = open_work(work, kind), open_result(out, kind)
    width, n = lanes(work.x), data.n_samples
    for first in range(u(0), n, width):
        count = min(width, n - first)
        if back:
            tile.copy_samples_in(data, work, first, count, 1.0)
        else:
            tile.copy_in(data, data.features, data.n_inputs, first, count, work.x)
        forward(net, work.x, work.d)
        tile.copy_all_out(net, n, work.d, first, count, out.s)
        tile.copy_all_out(net, n, work.x, first, count, out.x)
        if back:
            tile.loss(net, loss, work)
            backward(net, work)
            tile.copy_all_out(net, n, work.d, first, count, out.delta)


@entry
def evaluate(kind, net, data, loss, work, back, t, n_threads):
    """work.loss[t] <- thread t's share of the mean loss; with `back`, its gradient likewise."""
    net, data, loss = open_net(net, kind), open_data(data, kind), open_loss(loss, kind)
    work = of_thread(open_work(work, kind), net, u(t))
    if back:
        clear(work.gradient, u(0), net.n_values)
    value = _pass(net, data, loss, work, u(0), data.n_samples, back, u(t), u(n_threads))
    work.loss[u(t) * u(LOSS_COLUMNS) + u(VALUE)] = value


@jit
def _pass(net, data, loss, work, start, size, back, t, n_threads):
    """Return thread t's share of the mean loss of `size` samples from `start`."""
    width = lanes(work.x)
    stop = start + size
    result = 0.0
    for first in range(start + t * width, stop, n_threads * width):
        count = min(width, stop - first)
        tile.copy_samples_in(data, work, first, count, 1.0 / np.float64(size))
        forward(net, work.x, work.d)
        result += tile.loss(net, loss, work)
        if back:
            backward(net, work)
    return result


@entry
def train(kind, net, data, loss, update, work, clock, t, n_threads):
    """Take steps until clock.count[LAST_EPOCH], an abort, or a loss that is not finite.

    All threads run this at once and meet at barriers. A step is taken whole or not at all.
    """
    net, data, loss = open_net(net, kind), open_data(data, kind), open_loss(loss, kind)
    update, clock = open_update(update, kind), open_clock(clock, kind)
    t, n_threads = u(t), u(n_threads)
    work = of_thread(open_work(work, kind), net, t)
    clear(work.gradient, u(0), net.n_values)
    meetings = u(0)
    taken = True
    while taken:
        if t == 0:
            _begin_step(data, clock)
        meetings = _meet(clock, meetings, n_threads)
        if clock.count[STATUS] != RUNNING:
            return
        batch = u(clock.count[BATCH_SIZE])
        start = u(clock.count[STEP]) * batch
        size = min(batch, data.n_samples - start)
        value = _pass(net, data, loss, work, start, size, np.bool_(True), t, n_threads)
        work.loss[t * u(LOSS_COLUMNS) + u(VALUE)] = value
        meetings = _meet(clock, meetings, n_threads)
        meetings, taken = _step(net, update, work, clock, meetings, t, n_threads)
        if t == 0:
            _end_step(data, work, clock, size, taken, n_threads)


@jit
def _meet(clock, meetings, n_threads):
    """Wait for the other threads, if there are any; return the number of meetings so far."""
    if n_threads > 1:
        wait_for_all(clock.barrier, meetings + u(1), n_threads, clock.yield_address)
    return meetings + u(1)


@jit
def _begin_step(data, clock):
    """Decide for all threads whether to go on; shuffle where an epoch begins."""
    count = clock.count
    if atomic_load(clock.barrier, u(ABORT)) != 0:
        count[STATUS] = ABORTED
    elif count[EPOCH] >= count[LAST_EPOCH]:
        count[STATUS] = FINISHED
    else:
        count[STATUS] = RUNNING
        if count[STEP] == 0 and count[SHUFFLE] != 0:
            shuffle(data.order, data.n_samples, clock.random)


@jit
def _sum_over_threads(loss, column, n_threads):
    result = 0.0
    for k in range(n_threads):
        result += loss[k * u(LOSS_COLUMNS) + column]
    return result


@jit
def _step(net, update, work, clock, meetings, t, n_threads):
    """Reduce the gradient, then update the parameters if all stays finite.

    Return the number of meetings so far, and whether the step was taken.
    """
    first, last = share(net.n_values, t, n_threads)
    work.loss[t * u(LOSS_COLUMNS) + u(SQUARES)] = reduce_gradients(
        work.gradients, net.n_values, update.runs, update.n_runs, first, last, n_threads
    )
    meetings = _meet(clock, meetings, n_threads)
    value = _sum_over_threads(work.loss, u(VALUE), n_threads)
    squares = _sum_over_threads(work.loss, u(SQUARES), n_threads)
    if not (math.isfinite(value) and math.isfinite(squares)):
        clear(work.gradients, first, last)
        return meetings, False
    norm = math.sqrt(squares)
    if norm > update.clip[0] or math.isfinite(update.clip[1]):
        scale = update.clip[0] / norm if norm > update.clip[0] else 1.0
        clip(work.gradients, first, last, scale, update.clip[1])
    work.loss[t * u(LOSS_COLUMNS) + u(FINITE)] = apply(
        net, update, work.gradients, first, last, u(clock.count[UPDATES] + 1)
    )
    meetings = _meet(clock, meetings, n_threads)
    if _sum_over_threads(work.loss, u(FINITE), n_threads) != 0.0:
        restore_values(net, first, last)
        return meetings, False
    refresh_flat(net, first_row(net, t, n_threads), first_row(net, t + u(1), n_threads))
    return meetings, True


@jit
def _end_step(data, work, clock, size, taken, n_threads):
    """Advance the clock by one step of `size` samples and add its loss to the epoch's mean."""
    count = clock.count
    if not taken:
        count[STATUS] = DIVERGED
        return
    part = np.float64(size) / np.float64(data.n_samples)
    clock.epoch_loss[count[EPOCH]] += part * _sum_over_threads(work.loss, u(VALUE), n_threads)
    count[UPDATES] += 1
    count[STEP] += 1
    if u(count[STEP] * count[BATCH_SIZE]) >= data.n_samples:
        count[STEP] = 0
        count[EPOCH] += 1
