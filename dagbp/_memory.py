"""Aligned arrays, and the memory that is available: large requests are refused in advance."""

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._errors import MemoryLimitError
from dagbp._machine import CACHE_LINE

CONTAINER = Path("/sys/fs/cgroup")  # cgroup v2


def available_bytes() -> int | None:
    """Return the bytes that this process can still allocate; None if the system does not say."""
    limits = [_machine(), _container()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def require(n_bytes: int, what: str) -> None:
    """Raise `MemoryLimitError` if `n_bytes` are not available; `what` needs them."""
    available = available_bytes() if n_bytes else None
    if available is not None and n_bytes > available:
        raise MemoryLimitError(
            f"{what} needs {readable(n_bytes)}, but only {readable(available)} are available"
        )


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return zeros whose first element begins a cache line, as vector loads require."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def readable(n: int) -> str:
    """Return a number of bytes as text, for example 3.0 MiB."""
    power = min(4, max(0, int(n).bit_length() - 1) // 10)
    unit = ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{n / 1024**power:,.{min(power, 1)}f} {unit}"


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _container(folder: Path = CONTAINER) -> int | None:
    try:
        limit, used, *facts = (
            (folder / f"memory.{name}").read_text() for name in ("max", "current", "stat")
        )
        # The kernel's file cache counts as used, but it is freed on demand.
        kept = dict(line.split() for line in facts[0].splitlines())["inactive_file"]
        return max(0, int(limit) - int(used) + int(kept))
    except (OSError, ValueError, KeyError):  # no such file, or "max"
        return None
