"""A spin barrier over LLVM atomics, for threads that run the same kernel without the GIL."""

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from dagbp._jit import jit
from dagbp._kernels.records import ABORT, ARRIVALS, BROKEN
from dagbp._kernels.vector import call_address

SPINS = 2000  # some microseconds: the threads' tiles are alike, so waits are short


@intrinsic
def atomic_add(typingctx, pointer, index, value):
    """Add to an int64 element, sequentially consistent, and return what it held."""

    def codegen(context, builder, sig, args):
        element = builder.gep(args[0], [args[1]])
        return builder.atomic_rmw("add", element, args[2], "seq_cst")

    return types.int64(pointer, types.uintp, types.int64), codegen


@intrinsic
def atomic_load(typingctx, pointer, index):
    """Read an int64 element, acquiring what was written before it was stored."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(builder.gep(args[0], [args[1]]), "acquire", 8)

    return types.int64(pointer, types.uintp), codegen


@jit
def wait_for_all(barrier, rounds, n_threads, yield_address):
    """Return when every thread has arrived `rounds` times; arrivals count up and never reset.

    Return False at once if some thread is known not to come.
    """
    atomic_add(barrier, np.uintp(ARRIVALS), 1)
    spins = 0
    while atomic_load(barrier, np.uintp(ARRIVALS)) < np.int64(rounds * n_threads):
        spins += 1
        if spins > SPINS:
            if atomic_load(barrier, np.uintp(ABORT)) == BROKEN:
                return False
            call_address(yield_address, ())
    return True
