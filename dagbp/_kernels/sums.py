"""Sums over the lanes of vectors: the horizontal adds that compilers do not find by themselves."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._kernels.vector import REGISTER_BYTES, Vec, load_vector, store_vector


def _shuffle(builder, a, b, picks):
    index = ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks)
    return builder.shuffle_vector(a, b, index)


def _fold(builder, value, width):
    """Add halves until `width` lanes are left."""
    while value.type.count > width:
        half = value.type.count // 2
        low = _shuffle(builder, value, value, list(range(half)))
        high = _shuffle(builder, value, value, list(range(half, 2 * half)))
        value = builder.fadd(low, high)
    return value


@intrinsic
def total(typingctx, a):
    """Return the sum over lanes, by halving: the shape a compiler does not find by itself."""

    def codegen(context, builder, sig, args):
        one = _fold(builder, args[0], 1)
        return builder.extract_element(one, ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), codegen


def _zip_blocks(builder, a, b, block, size):
    """Return a + b summed by halves of each `block` lanes, `size` neighbours kept together.

    With a block of 16 bytes both shuffles are single in-lane instructions on x86 and NEON:
    [a0 a1 a2 a3], [b0 b1 b2 b3] -> [a0 b0 a1 b1] + [a2 b2 a3 b3].
    """
    n, half = a.type.count, block // 2
    low, high = [], []
    for start in range(0, n, block):
        for group in range(0, half, size):
            for picks, first in ((low, start + group), (high, start + half + group)):
                picks += [*range(first, first + size), *range(n + first, n + first + size)]
    return builder.fadd(_shuffle(builder, a, b, low), _shuffle(builder, a, b, high))


@intrinsic
def totals(typingctx, a, four):
    """Return the inner products of a with four vectors, as a 4-lane vector.

    They share the horizontal adds: two shuffles and five quarters of an add a vector, where four
    calls of `total` take four each.
    """
    result = Vec(a.dtype, 4)

    def codegen(context, builder, sig, args):
        block = 128 // a.dtype.bitwidth
        register = max(block, min(a.lanes, REGISTER_BYTES * 8 // a.dtype.bitwidth))
        products = (builder.fmul(args[0], builder.extract_value(args[1], c)) for c in range(4))
        p, q, r, s = (_fold(builder, value, register) for value in products)
        pq = _zip_blocks(builder, p, q, block, 1)
        rs = _zip_blocks(builder, r, s, block, 1)
        if block == 4:
            return _fold(builder, _zip_blocks(builder, pq, rs, 4, 2), 4)
        pq, rs = _fold(builder, pq, 2), _fold(builder, rs, 2)
        return _shuffle(builder, pq, rs, [0, 1, 2, 3])

    return result(a, four), codegen


@intrinsic
def add_four(typingctx, target, element, value):
    """target[element : element + 4] += value, a 4-lane vector."""

    def codegen(context, builder, sig, args):
        pointer = builder.gep(args[0], [args[1]])
        align = target.dtype.bitwidth // 8
        old = load_vector(context, builder, pointer, value, align)
        store_vector(builder, builder.fadd(old, args[2]), pointer, align)
        return context.get_dummy_value()

    return types.void(target, types.uintp, value), codegen
