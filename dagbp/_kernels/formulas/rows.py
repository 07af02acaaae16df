"""Activations as C functions of whole rows, which kernels call by address.

    void forward(T *s, T *x, uintp n)                    x = theta(s)
    void backward(T *s, T *x, T *g, T *d, uintp n)       d = g theta'(s)

One template each, specialised by what its free names `f` and `df` mean. d may be any of the others;
built-in rows take n in multiples of 64 bytes.
"""

from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import compile_callback
from dagbp._kernels.vectors.arithmetic import select
from dagbp._kernels.vectors.vector import align_stack, chunk_lanes, load_chunk, store_chunk

u = np.uintp


def forward(s, x, n):
    """Template: x = f(s), 64 bytes at a time."""
    align_stack()
    for i in range(u(0), n, chunk_lanes(s)):
        store_chunk(x, i, f(load_chunk(s, i)))  # noqa: F821


def backward(s, x, g, d, n):
    """Template: d = g df(s, x), 64 bytes at a time; 0 where df is, whatever g is."""
    align_stack()
    for i in range(u(0), n, chunk_lanes(s)):
        slope = df(load_chunk(s, i), load_chunk(x, i))  # noqa: F821
        store_chunk(d, i, select(slope == 0, 0, load_chunk(g, i) * slope))


def scalar_forward(s, x, n):
    """Template: x = f(s), of a user's scalar function; NaN where it raises."""
    for i in range(n):
        try:
            x[i] = f(s[i])  # noqa: F821
        except Exception:
            x[i] = np.nan


def scalar_backward(s, x, g, d, n):
    """Template: d = g df(s, x), of a user's scalar function; NaN where it raises."""
    for i in range(n):
        try:
            d[i] = g[i] * df(s[i], x[i])  # noqa: F821
        except Exception:
            d[i] = np.nan


def specialise(template, name, **names):
    """Return a copy of a template in which its free names mean `names`, called after `name`.

    A closure would never hit Numba's disk cache. The copies share one code object: only the name
    tells their files there apart, so it must be the same in every process.
    """
    function = FunctionType(template.__code__, {**template.__globals__, **names})
    function.__name__ = function.__qualname__ = f"{template.__name__}_{name}"
    function.__module__ = template.__module__
    return function


def _compile(template, n_pointers, name, dtype, disk, **formula):
    pointer = types.CPointer(numba.from_dtype(np.dtype(dtype)))
    row = signature(types.void, *[pointer] * n_pointers, types.uintp)
    return compile_callback(specialise(template, name, **formula), row, disk=disk)


def compile_pair(name: str, f: Any, df: Any, dtype: Any) -> tuple[Any, Any]:
    """Compile the forward and the backward row of a pair of vector formulas; keep them on disk."""
    return (
        _compile(forward, 2, name, dtype, True, f=f),
        _compile(backward, 4, name, dtype, True, df=df),
    )


def compile_scalar_pair(name: str, f: Any, df: Any, dtype: Any) -> tuple[Any, Any]:
    """Compile the rows of a user's pair of scalar functions, for this process only."""
    return (
        _compile(scalar_forward, 2, name, dtype, False, f=_scalar(f)),
        _compile(scalar_backward, 4, name, dtype, False, df=_scalar(df)),
    )


def _scalar(function):
    """Compile a user's function, jitted by its author or not."""
    plain = getattr(function, "py_func", function)
    # Not _jit.jit: its disk cache is stamped with the library's files, which this is none of.
    return numba.jit(nopython=True, error_model="numpy")(plain)
