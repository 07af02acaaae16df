"""C kernels that apply an activation to rows: x = theta(s) and d = g theta'(s).

Each is a template with the free names `f` and `df`; `formulas.activation` has the formulas. d may
be the same array as any other argument. Rows of built-in activations take n in multiples of 64
bytes.
"""

from typing import Any

import numba
import numpy as np

from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.arithmetic import select
from dagbp._kernels.vectors.vector import align_stack, chunk_lanes, load_chunk, store_chunk

u = np.uintp

FORWARD, BACKWARD = "real*, real*, size", "real*, real*, real*, real*, size"


@c_function(FORWARD)
def forward(s, x, n):
    """Template: x = f(s), 64 bytes at a time."""
    align_stack()
    for i in range(u(0), n, chunk_lanes(s)):
        store_chunk(x, i, f(load_chunk(s, i)))  # noqa: F821


@c_function(BACKWARD)
def backward(s, x, g, d, n):
    """Template: d = g df(s, x), 64 bytes at a time; 0 where df is 0, even if g is infinite."""
    align_stack()
    for i in range(u(0), n, chunk_lanes(s)):
        slope = df(load_chunk(s, i), load_chunk(x, i))  # noqa: F821
        store_chunk(d, i, select(slope == 0, 0, load_chunk(g, i) * slope))


@c_function(FORWARD)
def scalar_forward(s, x, n):
    """Template: x = f(s) for a user's scalar function; NaN where it raises."""
    for i in range(n):
        try:
            x[i] = f(s[i])  # noqa: F821
        except Exception:
            x[i] = np.nan


@c_function(BACKWARD)
def scalar_backward(s, x, g, d, n):
    """Template: d = g df(s, x) for a user's scalar function; NaN where it raises."""
    for i in range(n):
        try:
            d[i] = g[i] * df(s[i], x[i])  # noqa: F821
        except Exception:
            d[i] = np.nan


def compile_scalar(function: Any) -> Any:
    """Compile a user's scalar function, whether its author has jitted it or not."""
    plain = getattr(function, "py_func", function)
    # Without the disk cache of kernels: its stamp does not cover the user's files.
    return numba.jit(nopython=True, error_model="numpy")(plain)
