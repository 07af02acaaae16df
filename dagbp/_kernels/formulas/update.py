"""Optimizers as C row functions over a stretch of parameters, and the passes around them.

Signature: `void update(T *p, T *g, T *state, double *hyper, uintp n, uintp stride, uintp step)`:
parameters and gradients p, g (n,), slot k of the state at state + k * stride, step = 1, 2, ... .
Hyper-parameters: learning rate, weight decay, then the optimizer's own. Every operation rounds in
T. The loops are plain so that LLVM vectorises them; a step is bound by memory.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import FAST, compile_callback, jit
from dagbp._kernels.vectors.vector import (
    ONE,
    ZERO,
    as_element,
    call_address,
    clear,
    given,
    greatest,
    least,
    offset,
    slot_at,
)

u = np.uintp
BLOCK = u(4096)  # parameters updated at once: 16 KiB each of values, gradient and states
TWO = u(2)


def row_signature(dtype):
    """Return the C signature of an update row for parameters of `dtype`."""
    p = types.CPointer(types.float32 if dtype == np.float32 else types.float64)
    n = types.uintp
    return signature(types.void, p, p, p, types.CPointer(types.float64), n, n, n)


def sgd(p, g, state, hyper, n, stride, step):
    """Gradient descent in place: p -= a (g + d p)."""
    a, d = as_element(p, hyper[0]), as_element(p, hyper[1])
    for i in range(n):
        p[i] -= a * (g[i] + d * p[i])


def momentum(p, g, state, hyper, n, stride, step):
    """Heavy ball in place: v <- mu v + (g + d p); p -= a v."""
    a, d, mu = as_element(p, hyper[0]), as_element(p, hyper[1]), as_element(p, hyper[2])
    for i in range(n):
        v = mu * state[i] + (g[i] + d * p[i])
        state[i] = v
        p[i] -= a * v


def nesterov(p, g, state, hyper, n, stride, step):
    """Nesterov in place: v <- mu v + (g + d p); p -= a (g + d p + mu v)."""
    a, d, mu = as_element(p, hyper[0]), as_element(p, hyper[1]), as_element(p, hyper[2])
    for i in range(n):
        gi = g[i] + d * p[i]
        v = mu * state[i] + gi
        state[i] = v
        p[i] -= a * (gi + mu * v)


@jit
def _adam_step(p, g, state, hyper, i, stride, step_size, root_scale):
    """Return the change of p_i; m and v in place.

    m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; a m^ / (sqrt(v^) + eps) with the bias
    corrections m^ = m / (1 - b1^t), v^ = v / (1 - b2^t) folded into two numbers of the step.
    """
    b1, b2, eps = as_element(p, hyper[2]), as_element(p, hyper[3]), as_element(p, hyper[4])
    m = b1 * state[i] + as_element(p, 1 - hyper[2]) * g
    v = b2 * state[stride + i] + as_element(p, 1 - hyper[3]) * g * g
    state[i] = m
    state[stride + i] = v
    return step_size * m / (np.sqrt(v) * root_scale + eps)


def adam(p, g, state, hyper, n, stride, step):
    """Adam (Kingma and Ba, 2015), the decay added to the gradient, in place."""
    d = as_element(p, hyper[1])
    step_size = as_element(p, hyper[0] / (1 - hyper[2] ** step))
    root_scale = as_element(p, 1 / np.sqrt(1 - hyper[3] ** step))
    for i in range(n):
        gi = g[i] + d * p[i]
        p[i] -= _adam_step(p, gi, state, hyper, i, stride, step_size, root_scale)


def adamw(p, g, state, hyper, n, stride, step):
    """Adam with decoupled decay, p -= a d p (Loshchilov and Hutter, 2019), in place."""
    shrink = as_element(p, 1 - hyper[0] * hyper[1])
    step_size = as_element(p, hyper[0] / (1 - hyper[2] ** step))
    root_scale = as_element(p, 1 / np.sqrt(1 - hyper[3] ** step))
    for i in range(n):
        change = _adam_step(p, g[i], state, hyper, i, stride, step_size, root_scale)
        p[i] = shrink * p[i] - change


def rmsprop(p, g, state, hyper, n, stride, step):
    """RMSprop in place: v <- r v + (1 - r) g^2; b <- mu b + g / (sqrt(v) + eps); p -= a b."""
    a, d, r = as_element(p, hyper[0]), as_element(p, hyper[1]), as_element(p, hyper[2])
    mu, eps, rest = as_element(p, hyper[3]), as_element(p, hyper[4]), as_element(p, 1 - hyper[2])
    for i in range(n):
        gi = g[i] + d * p[i]
        v = r * state[i] + rest * gi * gi
        b = mu * state[stride + i] + gi / (np.sqrt(v) + eps)
        state[i] = v
        state[stride + i] = b
        p[i] -= a * b


def adagrad(p, g, state, hyper, n, stride, step):
    """AdaGrad in place: v <- v + g^2; p -= a g / (sqrt(v) + eps) (Duchi et al., 2011)."""
    a, d, eps = as_element(p, hyper[0]), as_element(p, hyper[1]), as_element(p, hyper[2])
    for i in range(n):
        gi = g[i] + d * p[i]
        v = state[i] + gi * gi
        state[i] = v
        p[i] -= a * gi / (np.sqrt(v) + eps)


def rprop(p, g, state, hyper, n, stride, step):
    """Rprop in place, for whole batches: p -= sign(g) d, each parameter with a step d of its own.

    d grows by hyper[2] while g keeps its sign and shrinks by hyper[3] when it changes, which also
    skips this step: the variant iRprop- (Igel and Huesken, 2000) of Riedmiller and Braun, 1993. d
    begins at the learning rate and stays within [hyper[4], hyper[5]]. A gradient that is not finite
    makes p so, which undoes the step.
    """
    decay, grow, shrink = as_element(p, hyper[1]), as_element(p, hyper[2]), as_element(p, hyper[3])
    least_step, most_step = as_element(p, hyper[4]), as_element(p, hyper[5])
    zero = as_element(p, 0)
    for i in range(n):
        gi = g[i] + decay * p[i]
        p[i] += zero * gi
        d = as_element(p, hyper[0]) if step == ONE else state[i]
        same = gi * state[stride + i]
        if same > zero:
            d = min(d * grow, most_step)
        if same < zero:
            d = max(d * shrink, least_step)
            gi = zero
        if gi > zero:
            p[i] -= d
        if gi < zero:
            p[i] += d
        state[i] = d
        state[stride + i] = gi


# --- passes of one thread over its share of the parameters ----------------------------------------


def reduce(gradients, trained, stride, first, last, n_teams):
    """Gather a stretch of the gradient in place: the first crew's <- all crews', theirs <- 0.

    Where `trained` is 0 it counts for nothing: held zeros, and what is frozen.
    """
    for team in range(ONE, n_teams):
        other = offset(gradients, team * stride)
        for k in range(first, last):
            gradients[k] += other[k]
            other[k] = as_element(other, 0)
    if given(trained):
        for k in range(first, last):
            gradients[k] = gradients[k] if trained[k] != 0 else as_element(gradients, 0)


def compile_reduce(dtype):
    """Return `reduce`, compiled."""
    p, n = types.CPointer(types.float32 if dtype == np.float32 else types.float64), types.uintp
    trained = types.CPointer(types.uint8)
    return compile_callback(reduce, signature(types.void, p, trained, n, n, n, n), fastmath=FAST)


def gather(gradients, n_teams, stride, in_slot, wide_slot, n_edges, n_values, flat):
    """Flat <- the sum of all crews' gradients, in the order of `Net.flat`."""
    if given(in_slot):
        for k in range(n_edges):
            flat[k] = gradients[u(in_slot[k])]
    else:
        for k in range(n_edges):
            flat[k] = gradients[u(wide_slot[k])]
    for k in range(n_edges, n_values):
        flat[k] = gradients[k]
    for team in range(ONE, n_teams):
        other = offset(gradients, team * stride)
        for k in range(n_edges):
            flat[k] += other[slot_at(in_slot, wide_slot, k)]
        for k in range(n_edges, n_values):
            flat[k] += other[k]


def compile_gather(dtype):
    """Return `gather`, compiled."""
    p, n = types.CPointer(types.float32 if dtype == np.float32 else types.float64), types.uintp
    slots = types.CPointer(types.uint32), types.CPointer(types.int64)
    arguments = signature(types.void, p, n, n, *slots, n, n, p)
    return compile_callback(gather, arguments, fastmath=FAST)


@jit
def is_finite(x):
    """Return whether a number is neither infinite nor NaN.

    Not `math.isfinite`, which asks whether x - x is a number: of a sum, FAST lets LLVM cancel that.
    """
    return abs(x) < np.inf


@jit
def reduce_gradients(net, update, work, first, last):
    """Call `reduce` where there is something to do."""
    if update.reduce != ZERO:
        args = (work.gradients, update.trained, net.n_values, first, last, work.n_teams)
        call_address(update.reduce, args)


@jit
def apply(net, update, work, step):
    """Reduce, unless `prepare` has, and call the optimizer on this thread's trained stretches.

    By blocks, which stay in the cache until the gradient is cleared, where it must be. Return 0 if
    the new values are finite, else NaN.
    """
    zero = 0.0
    gradient = work.gradients
    run = hole = ZERO
    for block in range(work.first, work.last, BLOCK):
        stop = least(block + BLOCK, work.last)
        if update.prepare == ZERO:
            reduce_gradients(net, update, work, block, stop)
        while run < update.n_runs:
            begin, end = u(update.runs[TWO * run]), u(update.runs[TWO * run + ONE])
            if begin >= stop:
                break
            if end > block:
                begin = greatest(block, begin)
                values, g = offset(net.by_source, begin), offset(gradient, begin)
                state, size = offset(update.state, begin), least(stop, end) - begin
                args = (values, g, state, update.hyper, size, net.n_values, step)
                call_address(update.address, args)
            if end > stop:
                break
            run += ONE
        while hole < work.n_unstored:
            begin, end = u(work.unstored[TWO * hole]), u(work.unstored[TWO * hole + ONE])
            if begin < stop:
                clear(gradient, greatest(block, begin), least(stop, end))
            if end > stop:
                break
            hole += ONE
        part = as_element(gradient, 0)
        for k in range(block, stop):
            part += as_element(gradient, 0) * net.by_source[k]
        zero += np.float64(part)
    return zero
