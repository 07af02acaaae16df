"""Where a step's time goes: kernels call `tick` after each part, which is empty unless profiled."""

import ctypes
import os
import time
from functools import cache

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import compile_callback, jit
from dagbp._kernels.vectors.vector import ZERO, call_address, offset

# Parts of a step: indices into Work.times. Behind them: the last tick, and what the clock writes.
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


def add_time(clock, times, part):
    """times[part] += now - times[LAST], in units of the clock; times[LAST] = now, 0 at first."""
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
def compile_tick():
    """Return `add_time`, compiled."""
    pointer = types.CPointer(types.int64)
    return compile_callback(add_time, signature(types.void, types.uintp, pointer, types.uintp))


@cache
def clock_address():
    """Return the address of the C function that reads the clock."""
    if _POSIX:
        function = ctypes.CDLL(None).clock_gettime
    else:
        function = ctypes.windll.kernel32.QueryPerformanceCounter
    return ctypes.cast(function, ctypes.c_void_p).value
