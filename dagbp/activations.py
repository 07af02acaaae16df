"""Activations by name."""

from dataclasses import dataclass
from functools import cache
from threading import RLock
from typing import Any

import numpy as np

from dagbp._errors import OptionError, did_you_mean


@dataclass(frozen=True, slots=True)
class Activation:
    """WIP."""

    name: str


_table = {n: Activation(n) for n in ("identity", "relu", "tanh", "sigmoid")}
_lock = RLock()


def names() -> list[str]:
    """Return all names."""
    return list(_table)


def get(name: str | Activation) -> Activation:
    """Return the activation of a name."""
    if isinstance(name, Activation):
        return name
    if name not in _table:
        raise OptionError(f"unknown activation {name!r}{did_you_mean(name, names())}")
    return _table[name]


@cache
def _rows(name: str, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    from dagbp._kernels import activation, rows

    return rows.compile_pair(
        name, getattr(activation, name), getattr(activation, f"{name}_slope"), dtype
    )


def addresses(activation: str | Activation, dtype: Any) -> tuple[int, int]:
    """Return addresses of the forward and the backward row."""
    with _lock:
        a, b = _rows(get(activation).name, np.dtype(dtype))
    return a.address, b.address
