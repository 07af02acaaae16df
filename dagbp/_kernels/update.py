"""Optimizers as C row functions over a stretch of parameters, and the passes around them.

Signature: `void update(T *p, T *g, T *state, double *hyper, uintp n, uintp stride, uintp step)`:
parameters and gradients p, g (n,), slot k of the state at state + k * stride, step = 1, 2, ... .
Hyper-parameters: learning rate, weight decay, then the optimizer's own. Every operation rounds in
T. The loops are plain so that LLVM vectorises them; a step is bound by memory.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._jit import jit
from dagbp._kernels.vector import as_element, call_address, offset

u = np.uintp
BLOCK = 4096  # parameters updated at once: 16 KiB each of values, gradient and states


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


# --- passes of one thread over its share of the parameters ----------------------------------------


@jit
def share(n, t, n_threads):
    """Return thread t's stretch [first, last) of n elements, cut at multiples of 64."""
    size = (n // u(64) // n_threads + u(1)) * u(64)
    return min(t * size, n), min((t + u(1)) * size, n)


@jit
def reduce_gradients(gradients, stride, runs, n_runs, first, last, n_threads):
    """Thread 0's gradient <- the sum over threads, the others' <- 0, in place.

    Return the sum of squares over the trained stretches: what is frozen counts in no norm.
    """
    for t in range(u(1), n_threads):
        other = offset(gradients, t * stride)
        for k in range(first, last):
            gradients[k] += other[k]
            other[k] = as_element(other, 0)
    squares = 0.0
    for r in range(n_runs):
        begin, end = max(first, u(runs[u(2) * r])), min(last, u(runs[u(2) * r + u(1)]))
        for k in range(begin, end):
            squares += np.float64(gradients[k]) * np.float64(gradients[k])
    return squares


@jit
def clip(gradient, first, last, scale, magnitude):
    """Clip in place: g <- scale g, then clipped to [-magnitude, magnitude]."""
    scale, magnitude = as_element(gradient, scale), as_element(gradient, magnitude)
    for k in range(first, last):
        gradient[k] = min(max(scale * gradient[k], -magnitude), magnitude)


@jit
def clear(gradient, first, last):
    """Clear in place: g <- 0."""
    for k in range(first, last):
        gradient[k] = as_element(gradient, 0)


@jit
def apply(net, update, gradient, first, last, step):
    """Call the optimizer on the trained stretches in [first, last), then clear the gradient.

    By blocks, which stay in the cache meanwhile. Return 0 if the new values are finite, else NaN.
    """
    zero = 0.0
    for block in range(first, last, u(BLOCK)):
        stop = min(block + u(BLOCK), last)
        for r in range(update.n_runs):
            begin = max(block, u(update.runs[u(2) * r]))
            end = min(stop, u(update.runs[u(2) * r + u(1)]))
            if begin < end:
                call_address(
                    update.address,
                    (
                        offset(net.values, begin),
                        offset(gradient, begin),
                        offset(update.state, begin),
                        update.hyper,
                        end - begin,
                        net.n_values,
                        step,
                    ),
                )
        clear(gradient, block, stop)
        part = as_element(gradient, 0)
        for k in range(block, stop):
            part += as_element(gradient, 0) * net.values[k]
        zero += np.float64(part)
    return zero
