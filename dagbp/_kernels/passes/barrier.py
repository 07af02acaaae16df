"""A spin barrier over LLVM atomics, for threads that run the same kernel without the GIL."""

import ctypes
import os
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from dagbp._compiler.decorators import compile_callback, jit
from dagbp._kernels.frames import ABORT, ARRIVALS, BROKEN
from dagbp._kernels.passes.timing import WAITING, tick
from dagbp._kernels.vectors.vector import ONE, ZERO, call_address, element

SPINS = 2000  # some microseconds: shares are alike, so waits are short


@intrinsic
def atomic_add(typingctx, pointer, index, value):
    """Add to an int64 element, sequentially consistent, and return what it held."""

    def codegen(context, builder, sig, args):
        place = element(context, builder, pointer, *args[:2])
        return builder.atomic_rmw("add", place, args[2], "seq_cst")

    return types.int64(pointer, types.uintp, types.int64), codegen


@intrinsic
def atomic_load(typingctx, pointer, index):
    """Read an int64 element, acquiring what was written before it was stored."""

    def codegen(context, builder, sig, args):
        place = element(context, builder, pointer, *args)
        return builder.load_atomic(place, "acquire", 8, typ=ir.IntType(64))

    return types.int64(pointer, types.uintp), codegen


def meet(barrier, arrivals, n_threads, yield_address):
    """Return when all threads have arrived as often as this one, or some will not come.

    Arrivals count up and never reset. Every thread comes to the same meetings: there is one crew
    of all threads, or one of each.
    """
    arrivals[ZERO] += 1
    due = arrivals[ZERO] * n_threads
    atomic_add(barrier, ARRIVALS, 1)
    spins = 0
    while atomic_load(barrier, ARRIVALS) < due:
        spins += 1
        if spins > SPINS:
            if atomic_load(barrier, ABORT) == BROKEN:
                break
            call_address(yield_address, ())


@cache
def compile_meet():
    """Return `meet`, compiled; a single thread does without it."""
    pointer = types.CPointer(types.int64)
    return compile_callback(meet, signature(types.void, pointer, pointer, types.int64, types.uintp))


@jit
def sync_all(work):
    """Meet, if there are several threads."""
    if work.n_threads > ONE:
        count = np.int64(work.n_threads)
        call_address(work.meet, (work.barrier, work.arrivals, count, work.yield_address))
        tick(work, WAITING)


@jit
def sync_team(work):
    """Meet, if the crew is several threads."""
    if work.team_size > ONE:
        sync_all(work)


@cache
def yield_address():
    """Return the address of the C function that gives the rest of a time slice away."""
    if os.name == "nt":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value
