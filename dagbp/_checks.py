"""Checks of options and arrays that any module may need."""

from collections.abc import Callable, Container
from math import isfinite
from numbers import Real
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from dagbp._errors import DataError, OptionError


def is_number(value: object) -> bool:
    """Return whether `value` is a real number, finite in float64, and not a bool."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an int or a Fraction beyond float64
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether `value` is an integer and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_one_of(value: object, names: Container[str]) -> bool:
    """Return whether `value` is one of `names`. An array never is one."""
    return isinstance(value, str) and value in names


def check_whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """Return a whole number from `least` to `most`; raise `OptionError` for any other value."""
    if is_whole(value) and least <= value and (most is None or value <= most):
        return int(value)
    limit = "" if most is None else f" and <= {most:,}"
    raise OptionError(f"{name} must be a whole number >= {least}{limit}, got {value!r}")


class Requirement(NamedTuple):
    """The valid values of a hyper-parameter: a test, and its text for errors."""

    text: str
    holds: Callable[[Any], bool]

    def check(self, name: str, value: Any) -> None:
        """Raise `OptionError` unless `value` is valid for the hyper-parameter `name`."""
        if not self.holds(value):
            raise OptionError(f"{name} must be {self.text}, got {value!r}")


def real_array(values: Any, name: str) -> npt.NDArray[Any]:
    """Return `values` as an array of real numbers of any dtype; `name` is for error texts."""
    if hasattr(values, "toarray"):
        raise DataError(f"{name} must be a dense array; pass {name}.toarray()")
    if values is None:
        raise DataError(f"{name} must be an array of real numbers, got None")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{name} has masked entries; fill them first")
    try:
        array = np.asarray(values)
        if array.dtype == object:
            if any(isinstance(value, (str, bytes)) for value in array.flat):
                array = np.array(["text"])  # refused below
            else:
                array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name} must be an array of real numbers: {error}") from error
    if array.dtype.kind in "US":
        hint = "; number the classes 0, 1, ..., or use DAGClassifier" if name == "Y" else ""
        raise DataError(f"{name} must hold real numbers, got text{hint}")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def generator(seed: Any) -> np.random.Generator:
    """Return a NumPy generator; `seed` is None, a whole number >= 0 or a Generator."""
    try:
        if not isinstance(seed, (bool, float, str)):
            return np.random.default_rng(seed)
    except (TypeError, ValueError):  # a negative number, for example
        pass
    raise OptionError(f"seed must be None, a whole number >= 0 or a Generator, got {seed!r}")


def real_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return `dtype` as a NumPy dtype, which must be float32 or float64."""
    try:
        real = None if dtype is None else np.dtype(dtype)
    except TypeError:
        real = None
    if real is None or real not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise OptionError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return real
