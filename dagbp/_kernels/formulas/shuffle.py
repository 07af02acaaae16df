"""Shuffling of samples by a random generator with one number of state, which a file can keep."""

import numpy as np

from dagbp._compiler.decorators import jit
from dagbp._kernels.signatures import c_function

u64 = np.uint64


@jit
def next_random(state):
    """Return 64 random bits and advance state (1,) in place: SplitMix64 (Steele, 2014)."""
    state[0] += u64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
    return z ^ (z >> u64(31))


@c_function("i64*, size, u64*")
def shuffle(order, n, state):
    """Order <- a random permutation of 0 ... n - 1: Fisher-Yates shuffle, from the end.

    It does not depend on the previous order, only on the state.
    """
    for i in range(n):
        order[i] = np.int64(i)
    i = n
    while i > np.uintp(1):
        i -= np.uintp(1)
        unit = np.float64(next_random(state) >> u64(11)) * 2.0**-53
        j = np.uintp(unit * np.float64(i + np.uintp(1)))
        order[i], order[j] = order[j], order[i]
