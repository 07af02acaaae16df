"""What passes for a number where an option is one."""

from math import isfinite
from numbers import Real
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from dagbp._errors import OptionError


def is_number(value: object) -> bool:
    """Return whether `value` is a finite real number that float64 can hold; bools are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an int or a Fraction beyond float64
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether `value` is an integer; bools are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number in a range."""
    if not is_whole(value) or value < least or (most is not None and value > most):
        limit = "" if most is None else f" and <= {most:,}"
        raise OptionError(f"{name} must be a whole number >= {least}{limit}, got {value!r}")


def generator(seed: Any) -> np.random.Generator:
    """Return a NumPy generator; `seed` is None, a whole number >= 0 or a Generator."""
    if isinstance(seed, (bool, float, str)) or (isinstance(seed, (int, np.integer)) and seed < 0):
        raise OptionError(f"seed must be None, a whole number >= 0 or a Generator, got {seed!r}")
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"seed must be None, a whole number >= 0 or a Generator, got {seed!r}"
        ) from error


def real_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return one of the two precisions."""
    try:
        real = None if dtype is None else np.dtype(dtype)
    except TypeError:
        real = None
    if real is None or real not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise OptionError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return real
