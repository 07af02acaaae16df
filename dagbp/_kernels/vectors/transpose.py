"""Transposition in registers: copies squares with as many values a side as one register holds."""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from dagbp._kernels.vectors.sums import register_lanes, shuffle
from dagbp._kernels.vectors.vector import (
    CHUNK_BYTES,
    Vec,
    element,
    load_element,
    load_vector,
    size_by_type,
    store_vector,
)


def _square(pointer):
    """Return the type of one row of a square: a register, of 64 bytes at most."""
    vec = Vec(pointer.dtype, CHUNK_BYTES * 8 // pointer.dtype.bitwidth)
    return Vec(pointer.dtype, register_lanes(vec))


side = size_by_type(lambda pointer: _square(pointer).lanes)  # values in a side


@intrinsic
def new_starts(typingctx, pointer):
    """Return an array on the stack for the starts of a square's rows."""

    def codegen(context, builder, sig, args):
        return cgutils.alloca_once(builder, ir.IntType(64), size=_square(pointer).lanes)

    return types.CPointer(types.uintp)(pointer), codegen


@intrinsic
def copy_square(typingctx, source, starts, column, target, first, stride):
    """target[first + r stride + c] = source[starts[c] + column + r] for all r and c of a square."""
    vec = _square(source)
    align = vec.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        source_, starts_, column_, target_, first_, stride_ = args
        rows = []
        for c in range(vec.lanes):
            constant = ir.Constant(ir.IntType(64), c)
            start = load_element(context, builder, starts, starts_, constant)
            pointer = element(context, builder, source, source_, builder.add(start, column_))
            rows.append(load_vector(context, builder, pointer, vec, align))
        for row in _transposed(builder, rows):
            pointer = element(context, builder, target, target_, first_)
            store_vector(builder, row, pointer, align)
            first_ = builder.add(first_, stride_)
        return context.get_dummy_value()

    size = types.uintp
    return types.void(source, starts, size, target, size, size), codegen


def _transposed(builder, rows):
    """Return n rows' columns: log2(n) perfect shuffles (Stone, 1971) of rows k and k + n/2."""
    n = len(rows)
    half = n // 2
    low = [lane for k in range(half) for lane in (k, n + k)]
    high = [half + lane for lane in low]
    for _ in range(n.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [shuffle(builder, a, b, picks) for a, b in pairs for picks in (low, high)]
    return rows
