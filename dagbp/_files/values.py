"""Encodes Python values as JSON and decodes them to the same types and bits.

Strings, bools, None, integers and finite floats are JSON values. Any other value is an object with
one key, the name of its type. Arrays are stored outside the JSON, which holds their numbers.
"""

import base64
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


MAX_EQUAL_HASHES = 100  # values in one set or dict; a larger group takes quadratic time to insert


class Arrays:
    """The arrays that a tree of values refers to by number."""

    def __init__(self, found: list[Array] | None = None) -> None:
        self.found = [] if found is None else found

    def add(self, array: Array) -> int:
        """Add an array and return its number."""
        self.found.append(array)
        return len(self.found) - 1

    def get(self, number: Any, dtype: Any = None, shape: tuple[int, ...] | None = None) -> Array:
        """Return an array; refuse another dtype or shape, if they are given."""
        if type(number) is not int or number < 0:
            raise ValueError(f"an array's number must be a whole number >= 0, got {number!r}")
        array = self.found[number]
        if dtype is not None and array.dtype != dtype:
            raise ValueError(f"an array must have dtype {np.dtype(dtype)}, got {array.dtype}")
        if shape is not None and array.shape != shape:
            raise ValueError(f"an array must have shape {shape}, got {array.shape}")
        return array


def encode(value: Any, arrays: Arrays) -> Any:
    """Encode a value as JSON.

    Raises TypeError, with the value in its text, if the value is or contains anything but None,
    bools, numbers, strings, bytes, arrays, and tuples, lists, sets and dicts of these.
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
    """Return the value that `encode` was given.

    Raises ValueError, TypeError or IndexError if `encode` cannot have made the tree.
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
        keys = hashable(decode(key, arrays) for key, _ in content)
        return dict(zip(keys, (decode(value, arrays) for _, value in content), strict=True))
    if name in _SEQUENCES:
        items = [decode(item, arrays) for item in content]
        return _SEQUENCES[name](hashable(items) if "set" in name else items)
    raise ValueError(f"a value of unknown type {name!r:.40}")


def hashable(values: Iterable[Any]) -> list[Any]:
    """Return values that a set or dict can hold; refuse many of them with the same hash.

    This prevents a hash-collision attack. Integers that differ by a multiple of 2^61 - 1 share a
    hash. A set of 35,000 of them (0.7 MB) took two minutes.
    """
    values = list(values)
    if len(values) > MAX_EQUAL_HASHES:
        hashes = np.fromiter(map(hash, values), np.int64, len(values))
        most = int(np.unique(hashes, return_counts=True)[1].max())
        if most > MAX_EQUAL_HASHES:
            raise ValueError(
                f"at most {MAX_EQUAL_HASHES} values of a set, dict or list of labels may share a "
                f"hash, got {most:,}"
            )
    return values


_SEQUENCES: dict[str, Any] = {"tuple": tuple, "list": list, "set": set, "frozenset": frozenset}
