"""How much memory there is, so that what cannot fit is refused before it is allocated."""

import os
from pathlib import Path

from dagbp._errors import MemoryLimitError

CONTAINER = Path("/sys/fs/cgroup")  # of version 2


def available_bytes() -> int | None:
    """Return what this process can still get, within its container; None if nobody tells."""
    limits = [_machine(), _container()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def require(n_bytes: int, what: str) -> None:
    """Raise if so many bytes are not to be had.

    Raises
    ------
    MemoryLimitError
    """
    available = available_bytes() if n_bytes else None
    if available is not None and n_bytes > available:
        raise MemoryLimitError(
            f"{what} needs {readable(n_bytes)}, but only {readable(available)} are available"
        )


def readable(n: int) -> str:
    """Return a number of bytes as text.

    Examples
    --------
    >>> readable(3 * 2**20)
    '3.0 MiB'
    """
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


def _container() -> int | None:
    try:
        limit, used, *facts = (
            (CONTAINER / f"memory.{name}").read_text() for name in ("max", "current", "stat")
        )
        # Files that the kernel keeps in memory, and gives up when it is wanted, count as used.
        kept = dict(line.split() for line in facts[0].splitlines())["inactive_file"]
        return max(0, int(limit) - int(used) + int(kept))
    except (OSError, ValueError, KeyError):  # no such file, or "max"
        return None
