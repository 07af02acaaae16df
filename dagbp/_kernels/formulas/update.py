"""The built-in optimizers as C kernels over a range of parameters, and reductions of gradients.

`update_rule` marks a kernel that updates n parameters in place:

    update(p, g, state, hyper, n, stride, step)

p, g (n,) are the parameters and their gradient. Slot k of the optimizer's state is at
state + k * stride. step is 1, 2, ... . hyper holds the learning rate, the weight decay, and then
the hyper-parameters that the decorator names. Every operation rounds to the dtype of p. The loops
are plain, so that LLVM vectorises them; memory bandwidth limits a step.
"""

from typing import Any, NamedTuple

import numpy as np

from dagbp._compiler.decorators import FAST, jit
from dagbp._kernels.signatures import c_function
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
)

u = np.uintp
BLOCK = u(4096)  # parameters updated at once: 16 or 32 KiB each of values, gradient, states
TWO = u(2)


class UpdateRule(NamedTuple):
    """The update kernel of an optimizer."""

    kernel: Any
    slots: int  # state arrays: numbers that are kept for each parameter
    hyper: tuple[str, ...]  # names of the hyper-parameters after learning rate and weight decay


def update_rule(*hyper, slots):
    """Return a decorator for an update kernel; see `UpdateRule`."""
    kernel = c_function("real*, real*, real*, f64*, size, size, size")
    return lambda function: UpdateRule(kernel(function), slots, hyper)


@update_rule(slots=0)
def sgd(p, g, state, hyper, n, stride, step):
    """Gradient descent in place: p -= a (g + d p)."""
    a, d = as_element(p, hyper[0]), as_element(p, hyper[1])
    for i in range(n):
        p[i] -= a * (g[i] + d * p[i])


@update_rule("momentum", slots=1)
def momentum(p, g, state, hyper, n, stride, step):
    """Heavy ball in place: v <- mu v + (g + d p); p -= a v."""
    a, d, mu = as_element(p, hyper[0]), as_element(p, hyper[1]), as_element(p, hyper[2])
    for i in range(n):
        v = mu * state[i] + (g[i] + d * p[i])
        state[i] = v
        p[i] -= a * v


@update_rule("momentum", slots=1)
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
    """Return the change of p_i, and update m and v in place.

    m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; a m^ / (sqrt(v^) + eps) with the bias
    corrections m^ = m / (1 - b1^t), v^ = v / (1 - b2^t) folded into step_size and root_scale.
    """
    b1, b2, eps = as_element(p, hyper[2]), as_element(p, hyper[3]), as_element(p, hyper[4])
    m = b1 * state[i] + as_element(p, 1 - hyper[2]) * g
    v = b2 * state[stride + i] + as_element(p, 1 - hyper[3]) * g * g
    state[i] = m
    state[stride + i] = v
    return step_size * m / (np.sqrt(v) * root_scale + eps)


@update_rule("beta1", "beta2", "epsilon", slots=2)
def adam(p, g, state, hyper, n, stride, step):
    """Adam (Kingma and Ba, 2015) in place, with the decay added to the gradient."""
    d = as_element(p, hyper[1])
    step_size = as_element(p, hyper[0] / (1 - hyper[2] ** step))
    root_scale = as_element(p, 1 / np.sqrt(1 - hyper[3] ** step))
    for i in range(n):
        gi = g[i] + d * p[i]
        p[i] -= _adam_step(p, gi, state, hyper, i, stride, step_size, root_scale)


@update_rule("beta1", "beta2", "epsilon", slots=2)
def adamw(p, g, state, hyper, n, stride, step):
    """Adam in place with decoupled decay, p -= a d p (Loshchilov and Hutter, 2019)."""
    shrink = as_element(p, 1 - hyper[0] * hyper[1])
    step_size = as_element(p, hyper[0] / (1 - hyper[2] ** step))
    root_scale = as_element(p, 1 / np.sqrt(1 - hyper[3] ** step))
    for i in range(n):
        change = _adam_step(p, g[i], state, hyper, i, stride, step_size, root_scale)
        p[i] = shrink * p[i] - change


@update_rule("rho", "momentum", "epsilon", slots=2)
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


@update_rule("epsilon", slots=1)
def adagrad(p, g, state, hyper, n, stride, step):
    """AdaGrad in place: v <- v + g^2; p -= a g / (sqrt(v) + eps) (Duchi et al., 2011)."""
    a, d, eps = as_element(p, hyper[0]), as_element(p, hyper[1]), as_element(p, hyper[2])
    for i in range(n):
        gi = g[i] + d * p[i]
        v = state[i] + gi * gi
        state[i] = v
        p[i] -= a * gi / (np.sqrt(v) + eps)


@update_rule("increase", "decrease", "least_step", "most_step", slots=2)
def rprop(p, g, state, hyper, n, stride, step):
    """Rprop in place, for whole batches: p -= sign(g) d, with one step size d per parameter.

    d starts at the learning rate and stays within [hyper[4], hyper[5]]. It grows by the factor
    hyper[2] while g keeps its sign. When g changes its sign, d shrinks by the factor hyper[3] and
    p does not move: the variant iRprop- (Igel and Huesken, 2000) of Riedmiller and Braun, 1993.
    A gradient that is not finite makes p not finite, and the caller then undoes the step.
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


@c_function("real*, u8*, size, size, size, size", fastmath=FAST)
def reduce(gradients, trained, stride, first, last, n_teams):
    """First team's stretch <- sum over teams, 0 where `trained` is 0; the others' <- 0."""
    for team in range(ONE, n_teams):
        other = offset(gradients, team * stride)
        for k in range(first, last):
            gradients[k] += other[k]
            other[k] = as_element(other, 0)
    if given(trained):
        for k in range(first, last):
            gradients[k] = gradients[k] if trained[k] != 0 else as_element(gradients, 0)


@jit
def is_finite(x):
    """Return whether a number is neither infinite nor NaN.

    `math.isfinite` tests whether x - x is a number. With FAST, LLVM cancels x - x of a sum.
    """
    return abs(x) < np.inf


@jit
def reduce_gradients(net, update, work, first, last):
    """Call `reduce` if there are several teams or untrained parameters."""
    if update.reduce != ZERO:
        args = (work.gradients, update.trained, net.n_values, first, last, work.n_teams)
        call_address(update.reduce, args)


@jit
def apply(net, update, work, step):
    """Sum the teams' gradients and call the optimizer on this thread's trained stretches.

    `penalise_and_clip` has summed them already where it runs. The work goes block by block, so that
    a block is still in the cache when its gradient is cleared. Return 0 if the new values are
    finite, else NaN.
    """
    zero = 0.0
    gradient = work.gradients
    run = hole = ZERO
    for block in range(work.first, work.last, BLOCK):
        stop = least(block + BLOCK, work.last)
        if update.penalise_and_clip == ZERO:
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
