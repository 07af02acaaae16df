"""Entry points: what Python calls, once a thread. Crew c of n takes groups of tiles c, c + n, ... .

Groups are assigned and sums taken in a fixed order, so results repeat bit for bit with the same
schedule. C functions of frames (see `records`), and of `tag`, a null tile of the net's dtype.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import FAST, compile_callback, jit
from dagbp._kernels.formulas.update import BLOCK, apply, is_finite
from dagbp._kernels.frames import (
    ABORT,
    ABORTED,
    ADD,
    AGAIN,
    BATCH_SIZE,
    BROKEN,
    DIVERGED,
    EPOCH,
    EPOCH_BEGAN,
    FINISHED,
    FINITE,
    FIRST_RATE,
    LAST_EPOCH,
    LAST_UPDATE,
    LOSS_COLUMNS,
    NOW,
    NUMBER,
    RATE,
    RUNNING,
    SHUFFLE,
    STATUS,
    STAY,
    STEP,
    STORE,
    UPDATES,
    VALUE,
    open_clock,
    open_data,
    open_net,
    open_update,
    open_work,
)
from dagbp._kernels.passes.barrier import atomic_load, sync_all
from dagbp._kernels.passes.net import copy_biases, copy_slots, copy_source_blocks, refresh
from dagbp._kernels.passes.timing import REFRESH, UPDATE, tick
from dagbp._kernels.vectors.vector import (
    ONE,
    ZERO,
    Tile,
    call_address,
    clear,
    given,
    least,
)

u = np.uintp
TWO = u(2)


def predict(tag, net, data, work, out):
    """out.x <- the outputs of every sample, (N, n_outputs)."""
    net, data, work = open_net(net, tag), open_data(data, tag), open_work(work, tag)
    size = work.group * net.width
    for first in range(work.team * size, data.n_samples, work.n_teams * size):
        count = least(size, data.n_samples - first)
        call_address(net.read, (tag, net, data, work, first, count))
        call_address(net.write, (tag, net, work, out, first, count))


def inspect(tag, net, data, loss, work, out, back):
    """out.s, out.x <- every node's values, (n, N); with `back`, out.delta likewise.

    delta is that of each sample's own error: not averaged, not weighted. One thread, one tile a
    group; net.write is `parts.write_all`.
    """
    net, data = open_net(net, tag), open_data(data, tag)
    for first in range(ZERO, data.n_samples, net.width):
        count = least(net.width, data.n_samples - first)
        call_address(net.read, (tag, net, data, work, first, count))
        call_address(net.write, (tag, net, data, work, out, first, count, ZERO))
        if back != ZERO:
            call_address(net.learn, (tag, net, data, loss, work, first, count, 1.0, ADD))
            call_address(net.write, (tag, net, data, work, out, first, count, ONE))


def evaluate(tag, net, data, loss, work, back):
    """work.loss[VALUE] <- this thread's share of the mean loss; with `back`, the gradient too."""
    net, data, work = open_net(net, tag), open_data(data, tag), open_work(work, tag)
    if back != STAY:
        _clear_gradient(work)
    scale = 1.0 / np.float64(data.n_samples)
    _share_of_batch(tag, net, data, loss, work, ZERO, data.n_samples, scale, back)


@jit
def _clear_gradient(work):
    """Clear this thread's share of its crew's gradient, but what the first tile stores."""
    if work.n_teams > ONE:  # a crew may have no tile
        clear(work.gradient, work.first_cleared, work.last_cleared)
    else:
        for k in range(work.n_unstored):
            clear(work.gradient, u(work.unstored[TWO * k]), u(work.unstored[TWO * k + ONE]))


@jit
def _share_of_batch(tag, net, data, loss, work, start, stop, scale, back):
    """Take this crew's groups of samples through the net and back."""
    size = work.group * net.width
    work.loss[VALUE] = 0.0
    for first in range(start + work.team * size, stop, work.n_teams * size):
        count = least(size, stop - first)
        call_address(net.read, (tag, net, data, work, first, count))
        args = (tag, net, data, loss, work, first, count, scale, back)
        call_address(net.learn, args)
        if back == STORE:
            back = ADD


def train(tag, net, data, loss, update, work, clock):
    """Take steps to clock.count[LAST_EPOCH] or [LAST_UPDATE], an abort, or a loss not finite.

    All threads run this at once and meet at barriers. A step is taken whole or not at all; one
    whose update is not finite is left for the caller to undo.
    """
    net, data, work = open_net(net, tag), open_data(data, tag), open_work(work, tag)
    update, clock = open_update(update, tag), open_clock(clock, tag)
    _clear_gradient(work)
    taken = True
    while taken:
        if work.thread == ZERO:
            _begin_step(data, update, work, clock)
        sync_all(work)
        if atomic_load(work.barrier, ABORT) == BROKEN or clock.count[STATUS] != RUNNING:
            return
        batch = u(clock.count[BATCH_SIZE])
        start = u(clock.count[STEP]) * batch
        size = least(batch, data.n_samples - start)
        scale = 1.0 / np.float64(size)
        _share_of_batch(tag, net, data, loss, work, start, start + size, scale, STORE)
        sync_all(work)
        if atomic_load(work.barrier, ABORT) == BROKEN:
            return
        number = u(clock.count[UPDATES] + 1)
        taken = _step(tag, net, update, work, number)
        if work.thread == ZERO:
            _end_step(net, data, update, work, clock, size, taken)


@jit
def _begin_step(data, update, work, clock):
    """Decide for all threads whether to go on; shuffle where an epoch begins."""
    count = clock.count
    if atomic_load(work.barrier, ABORT) != 0:
        count[STATUS] = ABORTED
    elif count[EPOCH] >= count[LAST_EPOCH] or count[UPDATES] >= count[LAST_UPDATE]:
        count[STATUS] = FINISHED
    else:
        count[STATUS] = RUNNING
        if count[SHUFFLE] == AGAIN or (count[STEP] == 0 and count[SHUFFLE] != 0):
            clock.random[EPOCH_BEGAN] = clock.random[NOW]
            call_address(clock.shuffle, (data.order, data.n_samples, clock.random))
            count[SHUFFLE] = 1
        if given(clock.rates):
            update.hyper[RATE] = clock.rates[u(count[UPDATES] - count[FIRST_RATE])]
        if work.drop != ZERO:
            work.drop_key[NUMBER] = np.uint64(count[UPDATES])


@jit
def _over_threads(work, column):
    """Return the sum over threads of a column of their losses."""
    result = 0.0
    for t in range(work.n_threads):
        result += work.losses[t * LOSS_COLUMNS + column]
    return result


@jit
def _step(tag, net, update, work, number):
    """Reduce the gradient and update the parameters; return whether all stayed finite."""
    if not is_finite(_over_threads(work, VALUE)):
        return False
    if update.penalise_and_clip != ZERO:
        call_address(update.penalise_and_clip, (tag, net, update, work))
    work.loss[FINITE] = apply(net, update, work, number)
    tick(work, UPDATE)
    sync_all(work)
    if _over_threads(work, FINITE) != 0.0:
        return False
    if update.project_max_norm == ZERO:
        refresh(net, work)
    else:  # in whole rows of `flat`
        first, last = work.first_row, work.last_row
        copy_slots(net, u(net.in_ptr[first]), u(net.in_ptr[last]))
        copy_biases(net, work)
        call_address(update.project_max_norm, (tag, net, update, first, last))
        if given(net.source_blocks):
            sync_all(work)
            copy_source_blocks(net, work)
    tick(work, REFRESH)
    return True


@jit
def _end_step(net, data, update, work, clock, size, taken):
    """Advance the clock by one step of `size` samples and add its loss to the epoch's mean."""
    count = clock.count
    if not taken:
        count[STATUS] = DIVERGED
        return
    value = _over_threads(work, VALUE)
    if given(update.penalties):
        for first in range(ZERO, net.n_values, BLOCK):
            value += update.penalties[first // BLOCK]
    part = np.float64(size) / np.float64(data.n_samples)
    clock.epoch_loss[u(count[EPOCH])] += part * value
    clock.step_loss[ZERO] = value
    count[UPDATES] += 1
    count[STEP] += 1
    if u(count[STEP] * count[BATCH_SIZE]) >= data.n_samples:
        count[STEP] = 0
        count[EPOCH] += 1


# How many frames and how many numbers an entry point takes, in this order.
ARITY = {predict: (4, 0), inspect: (5, 1), evaluate: (4, 1), train: (6, 0)}


def compile_entry(entry, dtype):
    """Return one of the functions here, compiled."""
    tag = Tile(types.float32 if dtype == np.float32 else types.float64, 1)
    frames, numbers = ARITY[entry]
    arguments = [types.CPointer(types.uint64)] * frames + [types.uintp] * numbers
    return compile_callback(entry, signature(types.void, tag, *arguments), fastmath=FAST)
