"""What stands between a gradient and its update, and after it: penalties, clipping, norms.

C functions of frames, called by address and compiled only where a run has something of the kind.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import FAST, compile_callback, jit
from dagbp._kernels.formulas.update import BLOCK, is_finite, reduce_gradients
from dagbp._kernels.frames import open_net, open_update, open_work
from dagbp._kernels.passes.barrier import sync_all
from dagbp._kernels.vectors.vector import ONE, ZERO, Tile, as_element, given, least, slot_at

u = np.uintp


def prepare(tag, net, update, work):
    """Gather this thread's share of the gradient, add the penalties' slopes, and clip it."""
    net, update, work = open_net(net, tag), open_update(update, tag), open_work(work, tag)
    first, last = work.first, work.last
    reduce_gradients(net, update, work, first, last)
    if given(update.l1):
        penalise(net, update, work.gradients, first, last)
    if given(update.limits):
        add_squares(work, first, last)
        sync_all(work)
        clip(work, update.limits, first, last, net.n_values)


@jit
def penalise(net, update, gradient, first, last):
    """Add the slope of l1 |p| + l2 p^2 / 2 to the gradient, in place; 0 is |p|'s at 0.

    update.penalties: the penalty of each block of parameters, in an order that no number of threads
    changes.
    """
    values = net.by_source
    for block in range(first, last, BLOCK):
        stop = least(block + BLOCK, last)
        total = 0.0
        for k in range(block, stop):
            p, a, b = values[k], update.l1[k], update.l2[k]
            side = as_element(values, 1) if p > 0 else as_element(values, -1 if p < 0 else 0)
            gradient[k] += a * side + b * p
            wide = np.float64(p)
            total += (np.float64(a * side) + 0.5 * np.float64(b) * wide) * wide
        update.penalties[block // BLOCK] = total
        if not is_finite(total):
            for i in range(block, stop):  # seen after the update, as below, by one that trains
                gradient[i] = as_element(gradient, np.nan)


@jit
def add_squares(work, first, last):
    """work.squares <- the sum of squares of each block of the gradient, as `penalise` has them."""
    gradient = work.gradients
    for block in range(first, last, BLOCK):
        total = 0.0
        for k in range(block, least(block + BLOCK, last)):
            total += np.float64(gradient[k]) * np.float64(gradient[k])
        work.squares[block // BLOCK] = total


@jit
def clip(work, limits, first, last, n_values):
    """Clip in place: g <- scale g, then clipped to [-limits[1], limits[1]].

    scale = limits[0] / norm where the whole gradient's norm is larger, else 1.
    """
    gradient, total = work.gradients, 0.0
    for block in range(ZERO, n_values, BLOCK):
        total += work.squares[block // BLOCK]
    norm = np.sqrt(total)
    scale = as_element(gradient, limits[ZERO] / norm if norm > limits[ZERO] else 1.0)
    if not is_finite(total):
        scale = as_element(gradient, np.nan)  # seen after the update, which is then undone
    most = as_element(gradient, limits[ONE])
    for k in range(first, last):
        g = scale * gradient[k]
        if g > most:
            g = most
        if g < -most:
            g = -most
        gradient[k] = g


def constrain(tag, net, update, first, last):
    """Scale the in-weights of rows first ... last - 1 to a norm of update.most where it is larger.

    In place, in both copies: `flat` in in-edge order, `values` in out-edge order. Weights that do
    not train, where `trained` is 0, neither count nor change.
    """
    net, update = open_net(net, tag), open_update(update, tag)
    flat, values, trained, most = net.by_target, net.by_source, update.trained, update.most
    for j in range(first, last):
        if most[j] == np.inf:
            continue
        begin, end = u(net.in_ptr[j]), u(net.in_ptr[j + ONE])
        norm = _norm(net, trained, begin, end, 1.0)
        if norm == np.inf:  # a square was beyond float64
            norm = _norm(net, trained, begin, end, 2.0**600)
        if norm > most[j]:
            scale = as_element(flat, most[j] / norm)
            for k in range(begin, end):
                slot = slot_at(net.in_slot, net.wide_slot, k)
                if not given(trained) or trained[slot] != 0:
                    flat[k] *= scale
                    values[slot] = flat[k]


@jit
def _norm(net, trained, begin, end, unit):
    """Return the norm of the weights begin ... end - 1 of `flat` that train, squared in units."""
    square = 0.0
    for k in range(begin, end):
        if not given(trained) or trained[slot_at(net.in_slot, net.wide_slot, k)] != 0:
            weight = np.float64(net.by_target[k]) / unit
            square += weight * weight
    return np.sqrt(square) * unit


_FRAME, _INDEX = types.CPointer(types.uint64), types.uintp
_ARGUMENTS = {prepare: (_FRAME, _FRAME, _FRAME), constrain: (_FRAME, _FRAME, _INDEX, _INDEX)}


def compile_restraint(part, dtype):
    """Return one of `prepare` and `constrain`, compiled."""
    tag = Tile(types.float32 if dtype == np.float32 else types.float64, 1)
    return compile_callback(part, signature(types.void, tag, *_ARGUMENTS[part]), fastmath=FAST)
