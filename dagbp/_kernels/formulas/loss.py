"""Losses as C row functions: value and derivative of one sample's error, for a tile of samples.

Signature: `void loss(T *x, T *y, T *e, T *errors, double *hyper, uintp n_outputs, uintp lanes)`
with x, y, e tiles of (n_outputs, lanes): e = de/dx, and errors (lanes,) summed over outputs.
"""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import EXACT, jit
from dagbp._kernels.formulas.math import exp, log, log1p
from dagbp._kernels.vectors.arithmetic import fabs, maximum, select
from dagbp._kernels.vectors.vector import (
    as_element,
    chunk_lanes,
    load_chunk,
    store_chunk,
    zero_chunk,
)

u = np.uintp


def row_signature(dtype):
    """Return the C signature of a loss row for values of `dtype`."""
    p = types.CPointer(types.float32 if dtype == np.float32 else types.float64)
    return signature(
        types.void, p, p, p, p, types.CPointer(types.float64), types.uintp, types.uintp
    )


# --- elementwise: (x, y, hyper) -> (error, derivative), as vectors --------------------------------


@jit(fastmath=EXACT)
def squared_error(x, y, hyper):
    """Squared: e = (x - y)^2, de/dx = 2 (x - y): the lecture's, with no half."""
    r = x - y
    return r * r, 2 * r


@jit(fastmath=EXACT)
def absolute_error(x, y, hyper):
    """Absolute: e = |x - y|, de/dx = sign(x - y), 0 where they are equal."""
    r = x - y
    return fabs(r), select(r > 0, 1, select(r < 0, -1, r * 0))


@jit(fastmath=EXACT)
def huber(x, y, hyper):
    """Huber: e = r^2 / 2 where |r| <= h, else h (|r| - h/2); de/dx = r clipped to [-h, h].

    r = x - y, h = hyper[0].
    """
    r = x - y
    h = hyper[0]
    near = fabs(r) <= h
    far = select(r > 0, r * 0 + h, r * 0 - h)
    return select(near, 0.5 * r * r, h * (fabs(r) - 0.5 * h)), select(near, r, far)


@jit(fastmath=EXACT)
def binary_cross_entropy(x, y, hyper):
    """Entropy of the raw output x: e = max(x, 0) - x y' + log(1 + exp(-|x|)).

    de/dx = sigmoid(x) - y', with y' = (1 - h) y + h/2 smoothed by h = hyper[0].
    """
    y = (1 - hyper[0]) * y + 0.5 * hyper[0]
    t = exp(-fabs(x))
    e = select(x > 0, x, 0 * x) - x * y + log1p(t)
    return e, select(x > 0, 1, t) / (1 + t) - y


def elementwise_row(x, y, e, errors, hyper, n_outputs, lanes):
    """Template: the sum over outputs of `formula`, 64 bytes of samples at a time."""
    step = chunk_lanes(x)
    for b in range(u(0), lanes, step):
        error = zero_chunk(x)
        for k in range(b, n_outputs * lanes, lanes):
            value, slope = formula(load_chunk(x, k), load_chunk(y, k), hyper)  # noqa: F821
            error = error + value
            store_chunk(e, k, slope)
        store_chunk(errors, b, error)


def scalar_row(x, y, e, errors, hyper, n_outputs, lanes):
    """Template: the sum over outputs of a user's scalar `f(x, y)`, with its derivative `df`.

    NaN where one of them raises.
    """
    for b in range(lanes):
        error = as_element(x, 0)
        for k in range(b, n_outputs * lanes, lanes):
            try:
                error += f(x[k], y[k])  # noqa: F821
                e[k] = df(x[k], y[k])  # noqa: F821
            except Exception:
                error = e[k] = as_element(x, np.nan)
        errors[b] = error


def softmax_cross_entropy_row(x, y, e, errors, hyper, n_outputs, lanes):
    """Entropy of raw outputs: e = sum_k y'_k (log sum_i exp(x_i) - x_k).

    de/dx_k = softmax(x)_k sum(y') - y'_k, with y' = (1 - h) y + h/K smoothed over the K outputs by
    h = hyper[0] (Szegedy et al., 2016). The largest x is taken off first: nothing overflows.
    """
    end = n_outputs * lanes
    keep, share = 1 - hyper[0], hyper[0] / np.float64(n_outputs)
    step = chunk_lanes(x)
    for b in range(u(0), lanes, step):
        top = load_chunk(x, b)
        for k in range(b + lanes, end, lanes):
            top = maximum(top, load_chunk(x, k))
        total, mass, agreement = zero_chunk(x), zero_chunk(x), zero_chunk(x)
        for k in range(b, end, lanes):
            z, target = load_chunk(x, k) - top, load_chunk(y, k) * keep + share
            p = exp(z)
            store_chunk(e, k, p)
            total, mass, agreement = total + p, mass + target, agreement + target * z
        store_chunk(errors, b, mass * log(total) - agreement)
        for k in range(b, end, lanes):
            target = load_chunk(y, k) * keep + share
            store_chunk(e, k, load_chunk(e, k) / total * mass - target)
