"""Dropout as a C function over rows: masks that are a function of where a value stands.

No state and no order: row j of the sample at position b of step t is dropped or not whichever
thread asks, whatever the tile, forward and back. Srivastava et al., 2014; what stays is scaled up.
"""

from functools import cache

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler.decorators import compile_callback, jit
from dagbp._kernels.frames import NUMBER, SEED
from dagbp._kernels.vectors.vector import as_element

u, u32, u64 = np.uintp, np.uint32, np.uint64


@jit
def row_key(seed, number, row):
    """Return 32 bits that differ by seed, step and row: SplitMix64's finaliser (Steele, 2014)."""
    z = seed + number * u64(0x9E3779B97F4A7C15) + (u64(row) << u64(32))
    z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
    return u32(z ^ (z >> u64(31)))


@jit
def mix(key, position):
    """Return 32 bits of one sample, each half of the time 1: key + position, mixed.

    Multiplications in 32 bits, which LLVM does for a whole row of samples at once.
    """
    h = u32(key + u32(position) * u32(0x9E3779B9))
    h = u32(u32(h ^ (h >> u32(16))) * u32(0x7FEB352D))
    h = u32(u32(h ^ (h >> u32(15))) * u32(0x846CA68B))
    return u32(h ^ (h >> u32(16)))


def drop(rows, stays, key, first, last, sample, lanes):
    """Multiply rows first ... last - 1 by m / stays, in place; m is 1 with probability `stays`.

    rows: (last - first, lanes), of the samples at positions `sample` and on. stays: by row of the
    net; rows with 1 are left alone. m = 1 where the mixed bits are at most stays * (2^32 - 1).
    """
    for row in range(first, last):
        if stays[row] < 1.0:
            limit = u32(stays[row] * 4294967295.0)
            scale = as_element(rows, 1.0 / stays[row])
            row_bits = row_key(key[SEED], key[NUMBER], row)
            start = (row - first) * lanes
            for b in range(lanes):
                kept = mix(row_bits, u32(sample + b)) <= limit
                rows[start + b] = rows[start + b] * scale if kept else as_element(rows, 0)


@cache
def compile_drop(dtype):
    """Return `drop`, compiled."""
    p, n = types.CPointer(types.float32 if dtype == np.float32 else types.float64), types.uintp
    stays, key = types.CPointer(types.float64), types.CPointer(types.uint64)
    return compile_callback(drop, signature(types.void, p, stays, key, n, n, n, n))
