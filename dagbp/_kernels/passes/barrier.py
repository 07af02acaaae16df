"""A centralised counting barrier, for threads that run the same kernel without the GIL.

All threads share one counter of arrivals. It only counts up, so nothing needs to be reset between
two uses of the barrier: each thread counts its own arrivals too, which takes the place of the sense
in a sense-reversing barrier (Mellor-Crummey and Scott, 1991). A thread adds 1 and waits until the
counter has reached its own arrivals times the number of threads. No thread arrives once more before
that, so the counter gets there exactly when all have arrived. Waiting threads spin, and after
`SPINS` turns they yield the processor between two looks.

Memory order. All writes of a thread before a barrier are visible to all threads after it:

1. `atomic_add` is a sequentially consistent read-modify-write, hence also a release: the thread's
   earlier reads and writes come before it.
2. All adds form one release sequence, as nothing else writes to the counter. A load of the final
   count therefore synchronises with every thread's add, not only with the last one.
3. A thread leaves after an acquire load that has read the final count. Its later reads and writes
   come after that load, so they see all writes of step 1. They also cannot overtake another
   thread's reads of step 1, so memory may be overwritten after a barrier.

This is LLVM's memory model and holds on any processor. On x86 the add is a locked instruction and
the load a plain one. On Arm, where plain loads and stores may pass each other, the add becomes
`ldaddal` (or `ldaxr` and `stlxr`) and the load `ldar` or `ldapr`. LLVM moves no other access across
them, nor across the call by address.

The abort flag publishes nothing but itself: Python stores it as one aligned word, and a thread that
reads it late only spins or computes a little longer. It lies some cache lines behind the counter,
and each thread's arrivals have a line of their own.
"""

import ctypes
import os
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._compiler.decorators import jit
from dagbp._kernels.frames import ABORT, ARRIVALS, BROKEN
from dagbp._kernels.passes.timing import WAITING, tick
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.vector import ONE, ZERO, call_address, element
from dagbp._machine import SPINS


@intrinsic
def atomic_add(typingctx, pointer, index, value):
    """Add to an int64 element, sequentially consistent, and return the value before."""

    def codegen(context, builder, sig, args):
        place = element(context, builder, pointer, *args[:2])
        return builder.atomic_rmw("add", place, args[2], "seq_cst")

    return types.int64(pointer, types.uintp, types.int64), codegen


@intrinsic
def atomic_load(typingctx, pointer, index):
    """Return an int64 element by an acquire load."""

    def codegen(context, builder, sig, args):
        place = element(context, builder, pointer, *args)
        return builder.load_atomic(place, "acquire", 8, typ=ir.IntType(64))

    return types.int64(pointer, types.uintp), codegen


@c_function("i64*, i64*, i64, size")
def wait(barrier, arrivals, n_threads, yield_address):
    """Wait until all threads have arrived as often as this one, or until one of them has failed.

    barrier[ARRIVALS]: the arrivals of all threads. arrivals (1,): of this thread.
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


@jit
def sync_all(work):
    """Wait for all threads at the barrier, if there are several."""
    if work.n_threads > ONE:
        count = np.int64(work.n_threads)
        call_address(work.wait, (work.barrier, work.arrivals, count, work.yield_address))
        tick(work, WAITING)


@jit
def sync_team(work):
    """Wait for this team's threads, if there are several: such a team has all threads."""
    if work.team_size > ONE:
        sync_all(work)


@cache
def yield_address():
    """Return the address of the C function that yields the processor to another thread."""
    if os.name == "nt":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value
