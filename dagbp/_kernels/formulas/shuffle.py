"""Random numbers whose whole state is one array element, so that training resumes bit for bit."""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import compile_callback, jit

u64 = np.uint64


@jit
def next_random(state):
    """Return 64 random bits and advance state (1,) uint64, in place: SplitMix64 (Steele 2014)."""
    state[0] += u64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
    return z ^ (z >> u64(31))


def shuffle(order, n, state):
    """Order <- 0 ... n - 1 permuted uniformly: Fisher and Yates, from the end.

    What came before does not count, so that an epoch's order follows from its state alone.
    """
    for i in range(n):
        order[i] = np.int64(i)
    i = n
    while i > np.uintp(1):
        i -= np.uintp(1)
        unit = np.float64(next_random(state) >> u64(11)) * 2.0**-53
        j = np.uintp(unit * np.float64(i + np.uintp(1)))
        order[i], order[j] = order[j], order[i]


def compile_shuffle():
    """Return `shuffle`, compiled."""
    order, state = types.CPointer(types.int64), types.CPointer(types.uint64)
    return compile_callback(shuffle, signature(types.void, order, types.uintp, state))
