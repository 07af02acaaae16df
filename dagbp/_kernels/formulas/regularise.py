"""C kernels that run before or after an update: penalties, clipping and max-norm.

Max-norm writes weights, too.
"""

import numpy as np

from dagbp._compiler.decorators import FAST, jit
from dagbp._kernels.formulas.update import BLOCK, is_finite, reduce_gradients
from dagbp._kernels.frames import open_net, open_update, open_work
from dagbp._kernels.passes.barrier import sync_all
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import ONE, ZERO, as_element, given, least, slot_at

u = np.uintp


@c_function("tag, frame, frame, frame", fastmath=FAST)
def penalise_and_clip(tag, net, update, work):
    """Sum this thread's share of the gradient, add the penalty gradients, and clip, in place."""
    net, update, work = open_net(net, tag), open_update(update, tag), open_work(work, tag)
    first, last = work.first, work.last
    reduce_gradients(net, update, work, first, last)
    if given(update.l1):
        add_penalty_gradients(net, update, work.gradients, first, last)
    if given(update.limits):
        add_squares(work, first, last)
        sync_all(work)
        clip(work, update.limits, first, last, net.n_values)


@jit
def add_penalty_gradients(net, update, gradient, first, last):
    """Add the gradient of l1 |p| + l2 p^2 / 2 in place; the derivative of |p| at 0 is 0.

    update.penalties <- the penalty of each block of parameters. Blocks make the order of the sum
    independent of the number of threads.
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
            for i in range(block, stop):  # NaN is found after the update, which is then undone
                gradient[i] = as_element(gradient, np.nan)


@jit
def add_squares(work, first, last):
    """work.squares <- the sum of squares of the gradient in each block of parameters."""
    gradient = work.gradients
    for block in range(first, last, BLOCK):
        total = 0.0
        for k in range(block, least(block + BLOCK, last)):
            total += np.float64(gradient[k]) * np.float64(gradient[k])
        work.squares[block // BLOCK] = total


@jit
def clip(work, limits, first, last, n_values):
    """Clip in place: g <- scale g, then each component to [-limits[1], limits[1]].

    scale = limits[0] / norm if the norm of the whole gradient exceeds limits[0], else 1.
    """
    gradient, total = work.gradients, 0.0
    for block in range(ZERO, n_values, BLOCK):
        total += work.squares[block // BLOCK]
    norm = np.sqrt(total)
    scale = as_element(gradient, limits[ZERO] / norm if norm > limits[ZERO] else 1.0)
    if not is_finite(total):
        scale = as_element(gradient, np.nan)  # found after the update, which is then undone
    largest = as_element(gradient, limits[ONE])
    for k in range(first, last):
        g = scale * gradient[k]
        if g > largest:
            g = largest
        if g < -largest:
            g = -largest
        gradient[k] = g


@c_function("tag, frame, frame, size, size", fastmath=FAST)
def project_max_norm(tag, net, update, first, last):
    """Scale the in-weights of rows first ... last - 1 so that no norm exceeds max_norm, in place.

    Both copies of the weights are scaled, `by_target` and `by_source`. Weights that do not train,
    where `trained` is 0, neither count nor change.
    """
    net, update = open_net(net, tag), open_update(update, tag)
    by_target, by_source = net.by_target, net.by_source
    trained, limit = update.trained, update.max_norm
    for j in range(first, last):
        if limit[j] == np.inf:
            continue
        begin, end = u(net.in_ptr[j]), u(net.in_ptr[j + ONE])
        norm = _norm(net, trained, begin, end, 1.0)
        if norm == np.inf:  # a square was beyond float64
            norm = _norm(net, trained, begin, end, 2.0**600)
        if norm > limit[j]:
            scale = as_element(by_target, limit[j] / norm)
            for k in range(begin, end):
                slot = slot_at(net.in_slot, net.wide_slot, k)
                if not given(trained) or trained[slot] != 0:
                    by_target[k] *= scale
                    by_source[slot] = by_target[k]


@jit
def _norm(net, trained, begin, end, unit):
    """Return the norm of the trained weights begin ... end - 1 of `by_target`, summed in units."""
    square = 0.0
    for k in range(begin, end):
        if not given(trained) or trained[slot_at(net.in_slot, net.wide_slot, k)] != 0:
            weight = np.float64(net.by_target[k]) / unit
            square += weight * weight
    return np.sqrt(square) * unit
