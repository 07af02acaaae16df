"""Runs a compiled function as Python for a small graph, which is faster than compiling it."""

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt

SMALL = 30_000  # nodes and edges up to which Python is faster than compiling


def call(
    function: Any,
    inputs: tuple[Any, ...],
    outputs: tuple[npt.NDArray[Any], ...],
    *numbers: int,
    in_python: bool,
) -> Any:
    """Return ``function(*inputs, *outputs, *numbers)``, which fills the output arrays in place.

    inputs: arrays, and named tuples of arrays. In Python the function gets lists.
    """
    if not in_python:
        return function(*inputs, *outputs, *numbers)
    lists = [array.tolist() for array in outputs]
    result = _as_python(function)(*map(_as_lists, inputs), *lists, *numbers)
    for array, values in zip(outputs, lists, strict=True):
        array[:] = values
    return result


def _as_lists(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else type(value)(*map(_as_lists, value))


@cache
def _as_python(function: Any) -> Callable[..., Any]:
    """Return the Python function of a compiled one; it calls Python functions only."""
    python: FunctionType = function.py_func
    names = dict(python.__globals__)
    for name in python.__code__.co_names:
        if hasattr(names.get(name), "py_func"):
            names[name] = _as_python(names[name])
    return FunctionType(python.__code__, names, python.__name__)
