"""Entry points: the C functions that Python calls, once on each thread.

Terms
-----
tile
    Every node's values for a slice of the batch (mini-batch tiling): one row for each node, one
    lane for each sample. It fits the caches, and its rows fill the vector registers.
group
    Tiles that pass each segment one after the other, so that weights are read from memory once.
team
    The threads that take one group through the network together. Team c of n takes the groups
    c, c + n, ... . A plan has either one team of all threads or one team for each thread.
segment
    Consecutive rows of one level and one activation. No row of a segment feeds another, so all sums
    come first, and one call applies the activation.
stage
    Segments between two barriers of a team (level scheduling, as in sparse triangular solvers). No
    segment depends on a segment that another member computes in the same stage. A team of one
    thread has one stage and never waits.

Calls: entry point -> group function (`tile_group`, by address) -> `tile`, `net` -> `edges`.

Groups are assigned and sums taken in a fixed order, so the same tile plan gives the same bits.
Arguments are frames (see `frames`) and `tag`, a null pointer that carries the network's dtype.
"""

import numpy as np

from dagbp._compiler.decorators import FAST, jit
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
    FORWARD_ONLY,
    LAST_EPOCH,
    LAST_UPDATE,
    LOSS_COLUMNS,
    NOW,
    NUMBER,
    RATE,
    RUNNING,
    SHUFFLE,
    STATUS,
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
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import ONE, ZERO, call_address, clear, given, least

u = np.uintp
TWO = u(2)


@c_function("tag, frame, frame, frame, frame", fastmath=FAST)
def predict(tag, net, data, work, out):
    """out.x, (N, n_outputs) <- the outputs of every sample."""
    net, data, work = open_net(net, tag), open_data(data, tag), open_work(work, tag)
    size = work.group * net.width
    for first in range(work.team * size, data.n_samples, work.n_teams * size):
        count = least(size, data.n_samples - first)
        call_address(net.load_and_forward, (tag, net, data, work, first, count))
        call_address(net.store_outputs, (tag, net, work, out, first, count))


@c_function("tag, frame, frame, frame, frame, frame, size", fastmath=FAST)
def inspect(tag, net, data, loss, work, out, back):
    """out.s, out.x, (n, N) <- every node's values; with `back`, out.delta likewise.

    delta is the derivative of each sample's own error, neither averaged nor weighted. For one
    thread and one tile in a group.
    """
    net, data = open_net(net, tag), open_data(data, tag)
    for first in range(ZERO, data.n_samples, net.width):
        count = least(net.width, data.n_samples - first)
        call_address(net.load_and_forward, (tag, net, data, work, first, count))
        call_address(net.store_all, (tag, net, data, work, out, first, count, ZERO))
        if back != ZERO:
            args = (tag, net, data, loss, work, first, count, 1.0, ADD)
            call_address(net.loss_and_backward, args)
            call_address(net.store_all, (tag, net, data, work, out, first, count, ONE))


@c_function("tag, frame, frame, frame, frame, size", fastmath=FAST)
def evaluate(tag, net, data, loss, work, back):
    """work.loss[VALUE] <- this thread's share of the mean loss. back: see FORWARD_ONLY."""
    net, data, work = open_net(net, tag), open_data(data, tag), open_work(work, tag)
    if back != FORWARD_ONLY:
        _clear_gradient(work)
    scale = 1.0 / np.float64(data.n_samples)
    _share_of_batch(tag, net, data, loss, work, ZERO, data.n_samples, scale, back)


@jit
def _clear_gradient(work):
    """Clear this thread's share of its team's gradient, except where the first tile stores it."""
    if work.n_teams > ONE:  # a team may have no tile
        clear(work.gradient, work.first_cleared, work.last_cleared)
    else:
        for k in range(work.n_unstored):
            clear(work.gradient, u(work.unstored[TWO * k]), u(work.unstored[TWO * k + ONE]))


@jit
def _share_of_batch(tag, net, data, loss, work, start, stop, scale, back):
    """Take this team's groups of the samples start ... stop - 1 through the network and back."""
    size = work.group * net.width
    work.loss[VALUE] = 0.0
    for first in range(start + work.team * size, stop, work.n_teams * size):
        count = least(size, stop - first)
        call_address(net.load_and_forward, (tag, net, data, work, first, count))
        args = (tag, net, data, loss, work, first, count, scale, back)
        call_address(net.loss_and_backward, args)
        if back == STORE:
            back = ADD


@c_function("tag, frame, frame, frame, frame, frame, frame", fastmath=FAST)
def train(tag, net, data, loss, update, work, clock):
    """Take training steps until clock.count[LAST_EPOCH] or [LAST_UPDATE] is reached.

    An abort ends the run earlier, and so does a loss or an update that is not finite; the caller
    then undoes this update. All threads run this function at once and wait at barriers. A step is
    taken whole or not at all.
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
    """Set the status for all threads; shuffle the samples if an epoch begins."""
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
    """Return the sum of one column of `losses` over all threads."""
    result = 0.0
    for t in range(work.n_threads):
        result += work.losses[t * LOSS_COLUMNS + column]
    return result


@jit
def _step(tag, net, update, work, number):
    """Sum the gradients, update the parameters, refresh the copies; return if all is finite."""
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
    else:  # `project_max_norm` works on whole rows of `by_target`
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
    """Advance the clock by one step of `size` samples; add its loss to the epoch's mean loss."""
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
