"""Times, and the limits of the machine. Times are medians of warm calls."""

import functools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

# --- times ---


def median_time(call: Callable[[], object], seconds: float = 0.6, least: int = 5) -> float:
    """Return the median duration of a call, warm, over at least `least` calls."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def interleaved(
    calls: dict[str, Callable[[], object]], rounds: int = 5, seconds: float = 0.15, least: int = 3
) -> dict[str, float]:
    """Return each call's median time. The calls take turns, so that drift affects all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(median_time(call, seconds, least))
    return {name: statistics.median(values) for name, values in times.items()}


# --- the limits of the machine ---


def sgemm_rate(n: int = 1024) -> float:
    """Return GFLOP/s of NumPy's float32 matrix product, the machine's limit of arithmetic."""
    a = np.random.default_rng(0).random((n, n), dtype=np.float32)
    return 2 * n**3 / median_time(lambda: a @ a) / 1e9


def bandwidth() -> float:
    """Return GB/s of one core's float32 copy of 128 MiB, read and written once each."""
    a = np.zeros(2**25, np.float32)
    b = np.ones_like(a)
    return 2 * a.nbytes / median_time(lambda: np.copyto(a, b)) / 1e9


@functools.cache
def limits() -> dict[str, float]:
    """Return the limits, measured once in a run."""
    return {"sgemm_gflops": sgemm_rate(), "copy_gbs": bandwidth()}


# --- curves ---


def crossing(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the least x > 0 at which y, given by points, falls to 1; straight lines in log-log.

    Returns NaN if y never falls to 1. The values of x ascend.
    """
    for (x0, x1), (y0, y1) in zip(pairwise(x), pairwise(y), strict=True):
        if y0 >= 1 > y1:
            share = math.log(y0) / math.log(y0 / y1)
            return math.exp(math.log(x0) + share * math.log(x1 / x0))
    return math.nan
