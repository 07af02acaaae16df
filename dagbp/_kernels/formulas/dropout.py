"""Dropout as a C kernel over rows (Srivastava et al., 2014).

A mask is a hash of seed, step, row and sample. So it needs no state, and it is the same in both
directions, for any thread and any tile.

.. [1] C. Wellons, "Hash function prospector", 2018.
"""

import numpy as np

from dagbp._compiler.decorators import jit
from dagbp._kernels.frames import NUMBER, SEED
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import as_element

u32, u64 = np.uint32, np.uint64


@jit
def row_key(seed, number, row):
    """Return a hash of seed, step and row in 32 bits: SplitMix64's finaliser (Steele, 2014)."""
    z = seed + number * u64(0x9E3779B97F4A7C15) + (u64(row) << u64(32))
    z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
    return u32(z ^ (z >> u64(31)))


@jit
def mix(key, position):
    """Return a 32-bit hash of a row's key and a sample: the function lowbias32 [1]_.

    The multiplications have 32 bits, so that LLVM vectorises them over a row of samples.
    """
    h = u32(key + u32(position) * u32(0x9E3779B9))
    h = u32(u32(h ^ (h >> u32(16))) * u32(0x7FEB352D))
    h = u32(u32(h ^ (h >> u32(15))) * u32(0x846CA68B))
    return u32(h ^ (h >> u32(16)))


@c_function("real*, f64*, u64*, size, size, size, size")
def drop(rows, keep_probability, key, first, last, sample, lanes):
    """Multiply rows first ... last - 1 by m / q, in place; m is 1 with probability q, else 0.

    rows: (last - first, lanes), of the samples at positions `sample` and on. q = keep_probability,
    by row of the net; rows with q = 1 do not change. m = 1 where the hash is at most q (2^32 - 1).
    """
    for row in range(first, last):
        if keep_probability[row] < 1.0:
            limit = u32(keep_probability[row] * 4294967295.0)
            scale = as_element(rows, 1.0 / keep_probability[row])
            row_bits = row_key(key[SEED], key[NUMBER], row)
            start = (row - first) * lanes
            for b in range(lanes):
                kept = mix(row_bits, u32(sample + b)) <= limit
                rows[start + b] = rows[start + b] * scale if kept else as_element(rows, 0)
