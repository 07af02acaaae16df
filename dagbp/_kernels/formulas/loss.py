"""The built-in losses as C kernels: value and derivative of one sample's error, tile by tile.

A loss is stated once here, by a decorator: `elementwise` where the error is a sum over outputs of a
formula of x and y, `across_outputs` where outputs depend on each other. The decorator also says
which class labels the loss takes, and gives default and requirement of each hyper-parameter:

    @elementwise(threshold=(1.0, POSITIVE))
    def huber(x, y, hyper):
        ...

The first line of each docstring is the entry in the table of `dagbp.losses`.

Each kernel reads x, y, tiles of (n_outputs, lanes), and writes e = de/dx, a tile likewise, and
errors (lanes,), the error of each sample summed over outputs.
"""

from typing import Any, NamedTuple

import numpy as np

from dagbp._checks import Requirement, is_number
from dagbp._compiler.decorators import EXACT, jit
from dagbp._kernels.formulas.math import exp, log, log1p
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.arithmetic import fabs, maximum, select
from dagbp._kernels.vectors.vector import (
    as_element,
    chunk_lanes,
    load_chunk,
    store_chunk,
    zero_chunk,
)

u = np.uintp

POSITIVE = Requirement("a finite number > 0", lambda h: is_number(h) and h > 0)
FRACTION = Requirement("a number in [0, 1]", lambda h: is_number(h) and 0 <= h <= 1)

LOSS = "real*, real*, real*, real*, f64*, size, size"
FORMULAS: dict[str, "LossFormula"] = {}  # by name, in the order of definition


class LossFormula(NamedTuple):
    """A built-in loss."""

    name: str
    labels: Any  # the class labels that it takes in place of targets: "no", "binary" or "classes"
    hyper: Any  # default and requirement of each hyper-parameter, in the kernel's order
    compiled: Any  # returns the C function for a dtype
    text: str  # the error of one sample, for the documentation


def _register(function, labels, hyper, compiled):
    text = (function.__doc__ or "").split("\n")[0]  # none under python -OO
    text = text.partition("Error: ")[2].rstrip(".")
    FORMULAS[function.__name__] = LossFormula(function.__name__, labels, hyper, compiled, text)


def elementwise(labels="no", **hyper):
    """Return a decorator for a formula (x, y, hyper) -> (error, de/dx) of vectors."""

    def decorate(function):
        formula = jit(function, fastmath=EXACT)

        def compiled(dtype):
            return elementwise_row.specialised(function.__name__, dtype, formula=formula)

        _register(function, labels, hyper, compiled)
        return formula

    return decorate


def across_outputs(labels="no", **hyper):
    """Return a decorator for a loss kernel with the arguments (x, y, e, errors, hyper, ...)."""

    def decorate(function):
        kernel = c_function(LOSS)(function)
        _register(function, labels, hyper, kernel.compiled)
        return kernel

    return decorate


@c_function(LOSS)
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


@c_function(LOSS)
def scalar_row(x, y, e, errors, hyper, n_outputs, lanes):
    """Template: sum over outputs of a user's scalar `f(x, y)`, and `df`; NaN where one raises."""
    for b in range(lanes):
        error = as_element(x, 0)
        for k in range(b, n_outputs * lanes, lanes):
            try:
                error += f(x[k], y[k])  # noqa: F821
                e[k] = df(x[k], y[k])  # noqa: F821
            except Exception:
                error = e[k] = as_element(x, np.nan)
        errors[b] = error


@elementwise()
def squared_error(x, y, hyper):
    """Error: sum of (x - y)^2, without the factor 1/2.

    de/dx = 2 (x - y).
    """
    r = x - y
    return r * r, 2 * r


@elementwise()
def absolute_error(x, y, hyper):
    """Error: sum of abs(x - y).

    de/dx = sign(x - y), 0 where x = y.
    """
    r = x - y
    return fabs(r), select(r > 0, 1, select(r < 0, -1, r * 0))


@elementwise(threshold=(1.0, POSITIVE))
def huber(x, y, hyper):
    """Error: sum of r^2/2 where abs(r) <= h, else h (abs(r) - h/2), r = x - y, h = 1.

    de/dx = r clipped to [-h, h]; h = hyper[0], the threshold.
    """
    r = x - y
    h = hyper[0]
    near = fabs(r) <= h
    far = select(r > 0, r * 0 + h, r * 0 - h)
    return select(near, 0.5 * r * r, h * (fabs(r) - 0.5 * h)), select(near, r, far)


@elementwise(labels="binary", label_smoothing=(0.0, FRACTION))
def binary_cross_entropy(x, y, hyper):
    """Error: -sum of y log p + (1 - y) log(1 - p), p = sigmoid(x).

    Computed as max(x, 0) - x y' + log(1 + exp(-abs(x))); de/dx = sigmoid(x) - y'. The targets are
    smoothed, y' = (1 - h) y + h/2, with h = hyper[0], the label smoothing.
    """
    y = (1 - hyper[0]) * y + 0.5 * hyper[0]
    t = exp(-fabs(x))
    e = select(x > 0, x, 0 * x) - x * y + log1p(t)
    return e, select(x > 0, 1, t) / (1 + t) - y


@across_outputs(labels="classes", label_smoothing=(0.0, FRACTION))
def softmax_cross_entropy(x, y, e, errors, hyper, n_outputs, lanes):
    """Error: -sum of y log p, p = softmax(x).

    Computed as sum_k y'_k (log sum_i exp(x_i) - x_k); de/dx_k = softmax(x)_k sum(y') - y'_k. The
    targets are smoothed over the K outputs, y' = (1 - h) y + h/K, with h = hyper[0], the label
    smoothing (Szegedy et al., 2016). The largest x is subtracted first, so exp cannot overflow.
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
