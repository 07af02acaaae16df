"""Plain Python values as JSON, to the same types and bits; arrays stand apart.

Strings, true, false, null, integers and finite floats are themselves. Anything else is an object
with one key that says what it is.
"""

import base64
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Arrays:
    """The arrays of a tree, by number."""

    def __init__(self, found: list[Array] | None = None) -> None:
        self.found = [] if found is None else found

    def add(self, array: Array) -> int:
        """Keep an array; return its number."""
        self.found.append(array)
        return len(self.found) - 1

    def get(self, number: Any, dtype: Any = None, shape: tuple[int, ...] | None = None) -> Array:
        """Return an array, which must be of this dtype and shape where they are given."""
        if type(number) is not int or number < 0:
            raise ValueError(f"the number of an array is {number!r}")
        array = self.found[number]
        if dtype is not None and array.dtype != dtype:
            raise ValueError(f"an array of dtype {array.dtype} in place of {np.dtype(dtype)}")
        if shape is not None and array.shape != shape:
            raise ValueError(f"an array of shape {array.shape} in place of {shape}")
        return array


def encode(value: Any, arrays: Arrays) -> Any:
    """Return what JSON can hold in place of a value.

    Raises
    ------
    TypeError
        For a value that is, or holds, something else than these: None, bools, numbers, strings,
        bytes, arrays; tuples, lists, sets and dicts of such. It is shown.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return encode(value.item(), arrays)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray) and value.dtype.char in "?Bilqfd" and value.ndim <= 2:
        return {"array": arrays.add(value)}
    for name, kind in _SEQUENCES.items():
        if type(value) is kind:
            return {name: [encode(item, arrays) for item in value]}
    if type(value) is dict:
        return {"dict": [[encode(k, arrays), encode(v, arrays)] for k, v in value.items()]}
    raise TypeError(f"{value!r:.80} of type {type(value).__name__}")


def decode(tree: Any, arrays: Arrays) -> Any:
    """Return the value that `encode` turned into a tree.

    Raises
    ------
    ValueError, TypeError, IndexError
        If it is no such tree.
    """
    if tree is None or isinstance(tree, (bool, str, int, float)):
        return tree
    ((name, content),) = tree.items()
    if name == "float":
        return float(content)
    if name == "bytes":
        return base64.b64decode(content, validate=True)
    if name == "array":
        return arrays.get(content)
    if name == "dict":
        return {decode(key, arrays): decode(value, arrays) for key, value in content}
    if name in _SEQUENCES:
        return _SEQUENCES[name](decode(item, arrays) for item in content)
    raise ValueError(f"a value of kind {name!r:.40}")


_SEQUENCES: dict[str, Any] = {"tuple": tuple, "list": list, "set": set, "frozenset": frozenset}
