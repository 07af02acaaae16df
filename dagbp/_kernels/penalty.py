"""Penalties and constraints on parameters, as C functions over a thread's share of them."""

import numpy as np
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._jit import FAST, compile_callback
from dagbp._kernels.update import BLOCK
from dagbp._kernels.vector import as_element, given, least, slot_at

u = np.uintp


def penalise(values, gradient, l1, l2, penalties, first, last):
    """Add the slope of l1 |p| + l2 p^2 / 2 to the gradient, in place; 0 is |p|'s at 0.

    penalties: the penalty of each block of parameters, in an order that no number of threads
    changes.
    """
    for block in range(first, last, BLOCK):
        total = 0.0
        for k in range(block, least(block + BLOCK, last)):
            p, a, b = values[k], l1[k], l2[k]
            side = as_element(values, 1) if p > 0 else as_element(values, -1 if p < 0 else 0)
            gradient[k] += a * side + b * p
            total += np.float64(a * side * p) + 0.5 * np.float64(b * p * p)
        penalties[block // BLOCK] = total


def compile_penalise(dtype):
    """Return `penalise`, compiled."""
    p, n = types.CPointer(types.float32 if dtype == np.float32 else types.float64), types.uintp
    arguments = signature(types.void, p, p, p, p, types.CPointer(types.float64), n, n)
    return compile_callback(penalise, arguments, fastmath=FAST)


def constrain(values, flat, in_ptr, in_slot, wide_slot, keep, most, first, last):
    """Scale the in-weights of rows first ... last - 1 to a norm of `most` where it is larger.

    In place, in both copies: `flat` in in-edge order, `values` in out-edge order. Weights that do
    not train, where `keep` is 0, neither count nor change.
    """
    for j in range(first, last):
        if most[j] == np.inf:
            continue
        begin, end = u(in_ptr[j]), u(in_ptr[j + u(1)])
        square = 0.0
        for k in range(begin, end):
            if not given(keep) or keep[slot_at(in_slot, wide_slot, k)] != 0:
                square += np.float64(flat[k]) * np.float64(flat[k])
        norm = np.sqrt(square)
        if norm > most[j]:
            scale = as_element(flat, most[j] / norm)
            for k in range(begin, end):
                slot = slot_at(in_slot, wide_slot, k)
                if not given(keep) or keep[slot] != 0:
                    flat[k] *= scale
                    values[slot] = flat[k]


def compile_constrain(dtype):
    """Return `constrain`, compiled."""
    p, n = types.CPointer(types.float32 if dtype == np.float32 else types.float64), types.uintp
    slots = types.CPointer(types.uint32), types.CPointer(types.int64)
    ptr, most = types.CPointer(types.int64), types.CPointer(types.float64)
    keep = types.CPointer(types.uint8)
    arguments = signature(types.void, p, p, ptr, *slots, keep, most, n, n)
    return compile_callback(constrain, arguments, fastmath=FAST)
