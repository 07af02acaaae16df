"""Entry points: what Python calls, once a thread. Thread t of n_threads takes tiles t, t + n, ... .

Tiles are assigned and sums taken in a fixed order, so results repeat bit for bit at a given number
of threads.
"""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels import tile
from dagbp._kernels.random import shuffle
from dagbp._kernels.records import (
    ABORT,
    ABORTED,
    BATCH_SIZE,
    DIVERGED,
    EPOCH,
    FINISHED,
    LAST_EPOCH,
    RUNNING,
    SHUFFLE,
    STATUS,
    STEP,
    UPDATES,
)
from dagbp._kernels.threads import atomic_load, wait_for_all
from dagbp._kernels.update import apply, clip, reduce_gradients, refresh_in_weights, share
from dagbp._kernels.vector import lanes

u = np.uintp


@jit
def predict(net, data, work, out, t, n_threads):
    """out (N, n_outputs) <- the outputs of every sample."""
    width = lanes(work.x[0])
    n = u(data.features.shape[0])
    for first in range(u(t) * width, n, u(n_threads) * width):
        count = min(width, n - first)
        tile.copy_in(data.features, data.order, first, count, work.x[t])
        tile.forward(net, work, t)
        tile.copy_out(work.x[t], net.outputs, first, count, out)


@jit
def inspect(net, data, loss, work, s, x, delta, t, n_threads):
    """s, x, delta (n, N) <- every node's values; without targets, s and x alone.

    delta is that of each sample's own error: not averaged, not weighted.
    """
    width = lanes(work.x[0])
    n = u(data.features.shape[0])
    for first in range(u(t) * width, n, u(n_threads) * width):
        count = min(width, n - first)
        if delta.shape[0] == 0:
            tile.copy_in(data.features, data.order, first, count, work.x[t])
        else:
            tile.copy_samples_in(net, data, work, t, first, count, 1.0)
        tile.forward(net, work, t)
        tile.copy_all_out(work.x[t], first, count, x)
        tile.copy_all_out(work.d[t], first, count, s)
        if delta.shape[0] > 0:
            tile.loss(net, loss, work, t)
            tile.backward(net, work, t)
            tile.copy_all_out(work.d[t], first, count, delta)


@jit
def evaluate(net, data, loss, work, t, n_threads):
    """work.loss[t, 0] <- thread t's share of the mean loss."""
    work.loss[t, 0] = _pass(net, data, loss, work, 0, data.features.shape[0], False, t, n_threads)


@jit
def differentiate(net, data, loss, work, t, n_threads):
    """work.loss[t, 0] <- thread t's share of the mean loss, work.gradient[t] += of its gradient."""
    work.loss[t, 0] = _pass(net, data, loss, work, 0, data.features.shape[0], True, t, n_threads)


@jit
def _pass(net, data, loss, work, start, size, back, t, n_threads):
    """Return thread t's share of the mean loss of `size` samples from `start`."""
    width = lanes(work.x[0])
    stop = u(start) + u(size)
    result = 0.0
    for first in range(u(start) + u(t) * width, stop, u(n_threads) * width):
        count = min(width, stop - first)
        tile.copy_samples_in(net, data, work, t, first, count, 1.0 / size)
        tile.forward(net, work, t)
        result += tile.loss(net, loss, work, t)
        if back:
            tile.backward(net, work, t)
    return result


@jit
def train(net, data, loss, update, work, clock, t, n_threads):
    """Take steps until clock.count[LAST_EPOCH], an abort, or a loss that is not finite.

    All threads run this at once and meet at barriers. A step is taken whole or not at all.
    """
    rounds = 0
    while True:
        if t == 0:
            _begin_step(data, clock)
        rounds = _meet(clock, rounds, n_threads)
        if clock.count[STATUS] != RUNNING:
            return
        start = clock.count[STEP] * clock.count[BATCH_SIZE]
        size = min(clock.count[BATCH_SIZE], data.features.shape[0] - start)
        work.loss[t, 0] = _pass(net, data, loss, work, start, size, True, t, n_threads)
        rounds = _meet(clock, rounds, n_threads)
        rounds, taken = _step(net, update, work, clock, rounds, t, n_threads)
        if t == 0:
            _end_step(data, work, clock, size, taken, n_threads)
        if not taken:
            return


@jit
def _meet(clock, rounds, n_threads):
    """Wait for the other threads, if there are any; return the number of meetings so far."""
    if n_threads > 1:
        wait_for_all(clock.barrier, rounds + 1, n_threads, clock.yield_address)
    return rounds + 1


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
            shuffle(data.order, clock.random)


@jit
def _step(net, update, work, clock, rounds, t, n_threads):
    """Reduce the gradient, then update the parameters if loss and gradient are finite.

    Return the number of meetings so far, and whether the step was taken.
    """
    first, last = share(net.values.shape[0], t, n_threads)
    work.loss[t, 1] = reduce_gradients(work.gradient, update.runs, first, last, n_threads)
    rounds = _meet(clock, rounds, n_threads)
    squares, value = 0.0, 0.0
    for k in range(n_threads):
        value += work.loss[k, 0]
        squares += work.loss[k, 1]
    if not (np.isfinite(value) and np.isfinite(squares)):
        work.gradient[u(0), first:last] = 0
        return rounds, False
    norm = np.sqrt(squares)
    if norm > update.clip[0] or np.isfinite(update.clip[1]):
        scale = min(1.0, update.clip[0] / norm) if norm > 0 else 1.0
        clip(work.gradient[u(0)], first, last, scale, update.clip[1])
    step = clock.count[UPDATES] + 1
    apply(update, net.values, work.gradient[u(0)], first, last, step)
    rounds = _meet(clock, rounds, n_threads)
    first, last = share(net.w_in.shape[0], t, n_threads)
    refresh_in_weights(net, first, last)
    return rounds, True


@jit
def _end_step(data, work, clock, size, taken, n_threads):
    """Advance the clock by one step of `size` samples and add its loss to the epoch's mean."""
    count = clock.count
    if not taken:
        count[STATUS] = DIVERGED
        return
    n = data.features.shape[0]
    for k in range(n_threads):
        clock.epoch_loss[count[EPOCH]] += work.loss[k, 0] * size / n
    count[UPDATES] += 1
    count[STEP] += 1
    if count[STEP] * count[BATCH_SIZE] >= n:
        count[STEP] = 0
        count[EPOCH] += 1
