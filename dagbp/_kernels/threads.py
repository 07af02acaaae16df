"""A spin barrier over LLVM atomics, for threads that run the same kernel without the GIL."""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._jit import jit
from dagbp._kernels.records import ARRIVALS
from dagbp._kernels.vector import call_address

SPINS = 2000  # some microseconds: the threads' tiles are alike, so waits are short


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index], inbounds=True)


@intrinsic
def atomic_add(typingctx, array, index, value):
    """Add to an int64 element, sequentially consistent, and return what it held."""

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, sig.args[0], *args[:2])
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return types.int64(array, types.uintp, types.int64), codegen


@intrinsic
def atomic_load(typingctx, array, index):
    """Read an int64 element, acquiring what was written before it was stored."""

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, sig.args[0], *args)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, types.uintp), codegen


@jit
def wait_for_all(barrier, rounds, n_threads, yield_address):
    """Return when every thread has arrived `rounds` times; arrivals count up and never reset."""
    atomic_add(barrier, np.uintp(ARRIVALS), 1)
    spins = 0
    while atomic_load(barrier, np.uintp(ARRIVALS)) < rounds * n_threads:
        spins += 1
        if spins > SPINS:
            call_address(np.uintp(yield_address), ())
