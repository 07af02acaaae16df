"""Times of the parts of a step: kernels call `tick` after each, for `Network.profile` only."""

import ctypes
import os
import time
from functools import cache

import numpy as np

from dagbp._compiler.decorators import jit
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import ZERO, call_address, offset

# Indices into WorkFrame.times: the parts of a step, then the time of the last tick, then two words
# that the clock writes.
COPY_IN, SPARSE, DENSE, ACTIVATIONS, LOSSES, WAITING, UPDATE, REFRESH = (
    np.uintp(k) for k in range(8)
)
N_PARTS = 8
LAST, CLOCK, NANOSECONDS, N_TIMES = np.uintp(8), np.uintp(9), np.uintp(10), 11

_POSIX = os.name != "nt"
_MONOTONIC = np.int32(getattr(time, "CLOCK_MONOTONIC", 0))


@jit
def tick(work, part):
    """Add the time since this thread's last tick to a part."""
    if work.tick != ZERO:
        call_address(work.tick, (work.clock, work.times, part))


@c_function("size, i64*, size")
def add_time(clock, times, part):
    """times[part] += now - times[LAST], but not at the first tick (0); times[LAST] = now."""
    if _POSIX:
        call_address(clock, (_MONOTONIC, offset(times, CLOCK)))
        now = times[CLOCK] * 1_000_000_000 + times[NANOSECONDS]
    else:
        call_address(clock, (offset(times, CLOCK),))
        now = times[CLOCK]
    if times[LAST] != 0:
        times[part] += now - times[LAST]
    times[LAST] = now


@cache
def clock_address():
    """Return the address of the C function that reads the clock."""
    if _POSIX:
        function = ctypes.CDLL(None).clock_gettime
    else:
        function = ctypes.windll.kernel32.QueryPerformanceCounter
    return ctypes.cast(function, ctypes.c_void_p).value
