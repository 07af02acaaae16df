"""Entry points: what Python calls, once a thread. Thread t of n_threads takes tiles t, t + n, ... .

Tiles are assigned and sums taken in a fixed order, so results repeat bit for bit at a given number
of threads. Arguments are frames (see `records`), and `kind`, an empty array of the tile's record.
"""

import math

import numpy as np

from dagbp._jit import entry, jit
from dagbp._kernels import tile
from dagbp._kernels.net import refresh_flat, restore_values, share_of_rows
from dagbp._kernels.random import shuffle
from dagbp._kernels.records import (
    ABORT,
    ABORTED,
    BATCH_SIZE,
    BROKEN,
    DIVERGED,
    EPOCH,
    FINISHED,
    FINITE,
    LAST_EPOCH,
    LOSS_COLUMNS,
    RUNNING,
    SHUFFLE,
    SQUARES,
    STATUS,
    STEP,
    UPDATES,
    VALUE,
    open_clock,
    open_data,
    open_net,
    open_result,
    open_update,
    open_work,
)
from dagbp._kernels.threads import atomic_load, wait_for_all
from dagbp._kernels.update import apply, clear, clip, reduce_gradients, share
from dagbp._kernels.vector import array_pointer, call_address, lanes, no_tile

u = np.uintp


@entry
def predict(kind, net_, data_, work_, out, t, n_threads):
    """out.x <- the outputs of every sample, (N, n_outputs)."""
    kind, net_, data_ = no_tile(kind), array_pointer(net_), array_pointer(data_)
    work_, out = array_pointer(work_), open_result(array_pointer(out), kind)
    net, data = open_net(net_, kind), open_data(data_, kind)
    work = open_work(work_, kind)
    width = lanes(kind)
    for first in range(u(t) * width, data.n_samples, u(n_threads) * width):
        count = min(width, data.n_samples - first)
        call_address(net.read, (kind, net_, data_, work_, first, count))
        tile.copy_out(net, work.x, first, count, out.x)


@entry
def inspect(kind, net_, data_, loss_, work_, out, back):
    """out.s, out.x <- every node's values, (n, N); with `back`, out.delta likewise.

    delta is that of each sample's own error: not averaged, not weighted.
    """
    kind, net_, data_ = no_tile(kind), array_pointer(net_), array_pointer(data_)
    loss_, work_ = array_pointer(loss_), array_pointer(work_)
    net, data = open_net(net_, kind), open_data(data_, kind)
    work, out = open_work(work_, kind), open_result(array_pointer(out), kind)
    width, n = lanes(kind), data.n_samples
    for first in range(u(0), n, width):
        count = min(width, n - first)
        call_address(net.read, (kind, net_, data_, work_, first, count))
        tile.copy_all_out(net, n, work.d, first, count, out.s)
        tile.copy_all_out(net, n, work.x, first, count, out.x)
        if back:
            args = (kind, net_, data_, loss_, work_, first, count, 1.0, back)
            call_address(net.learn, args)
            tile.copy_all_out(net, n, work.d, first, count, out.delta)


@entry
def evaluate(kind, net_, data_, loss_, work_, back, t, n_threads):
    """work.loss[VALUE] <- thread t's share of the mean loss; with `back`, its gradient likewise."""
    kind, t, n_threads = no_tile(kind), u(t), u(n_threads)
    net_, data_ = array_pointer(net_), array_pointer(data_)
    loss_, work_ = array_pointer(loss_), array_pointer(work_)
    net, data = open_net(net_, kind), open_data(data_, kind)
    work = open_work(work_, kind)
    if back:
        clear(work.gradient, u(0), net.n_values)
    work.loss[u(VALUE)] = 0.0
    scale = 1.0 / np.float64(data.n_samples)
    width = lanes(kind)
    for first in range(t * width, data.n_samples, n_threads * width):
        count = min(width, data.n_samples - first)
        call_address(net.read, (kind, net_, data_, work_, first, count))
        args = (kind, net_, data_, loss_, work_, first, count, scale, back)
        call_address(net.learn, args)


@entry
def train(kind, net_, data_, loss_, update, work_, clock, t, n_threads):
    """Take steps until clock.count[LAST_EPOCH], an abort, or a loss that is not finite.

    All threads run this at once and meet at barriers. A step is taken whole or not at all.
    """
    kind, t, n_threads = no_tile(kind), u(t), u(n_threads)
    net_, data_ = array_pointer(net_), array_pointer(data_)
    loss_, work_ = array_pointer(loss_), array_pointer(work_)
    net, data = open_net(net_, kind), open_data(data_, kind)
    work = open_work(work_, kind)
    update = open_update(array_pointer(update), kind)
    clock = open_clock(array_pointer(clock), kind)
    clear(work.gradient, u(0), net.n_values)
    width = lanes(kind)
    back = np.bool_(True)
    meetings, taken = u(0), True
    while taken:
        if t == 0:
            _begin_step(data, clock)
        meetings = _meet(clock, meetings, n_threads)
        broken = atomic_load(clock.barrier, u(ABORT)) == BROKEN
        if broken or clock.count[STATUS] != RUNNING:
            return
        batch = u(clock.count[BATCH_SIZE])
        start = u(clock.count[STEP]) * batch
        size = min(batch, data.n_samples - start)
        stop = start + size
        work.loss[u(VALUE)] = 0.0
        for first in range(start + t * width, stop, n_threads * width):
            count, scale = min(width, stop - first), 1.0 / np.float64(size)
            call_address(net.read, (kind, net_, data_, work_, first, count))
            args = (kind, net_, data_, loss_, work_, first, count, scale, back)
            call_address(net.learn, args)
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
    work.loss[u(SQUARES)] = reduce_gradients(
        work.gradients, net.n_values, update.runs, update.n_runs, first, last, n_threads
    )
    meetings = _meet(clock, meetings, n_threads)
    value = _sum_over_threads(work.losses, u(VALUE), n_threads)
    squares = _sum_over_threads(work.losses, u(SQUARES), n_threads)
    if not (math.isfinite(value) and math.isfinite(squares)):
        clear(work.gradients, first, last)
        return meetings, False
    norm = math.sqrt(squares)
    if norm > update.clip[0] or math.isfinite(update.clip[1]):
        scale = update.clip[0] / norm if norm > update.clip[0] else 1.0
        clip(work.gradients, first, last, scale, update.clip[1])
    work.loss[u(FINITE)] = apply(
        net, update, work.gradients, first, last, u(clock.count[UPDATES] + 1)
    )
    meetings = _meet(clock, meetings, n_threads)
    if _sum_over_threads(work.losses, u(FINITE), n_threads) != 0.0:
        restore_values(net, first, last)
        return meetings, False
    first, last = share_of_rows(net, t, n_threads), share_of_rows(net, t + u(1), n_threads)
    refresh_flat(net, first, last)
    return meetings, True


@jit
def _end_step(data, work, clock, size, taken, n_threads):
    """Advance the clock by one step of `size` samples and add its loss to the epoch's mean."""
    count = clock.count
    if not taken:
        count[STATUS] = DIVERGED
        return
    part = np.float64(size) / np.float64(data.n_samples)
    clock.epoch_loss[count[EPOCH]] += part * _sum_over_threads(work.losses, u(VALUE), n_threads)
    count[UPDATES] += 1
    count[STEP] += 1
    if u(count[STEP] * count[BATCH_SIZE]) >= data.n_samples:
        count[STEP] = 0
        count[EPOCH] += 1
