"""Sums over the lanes of vectors: the horizontal adds that compilers do not find by themselves."""

from functools import cache

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._kernels.vector import REGISTER_BYTES, Vec, load_vector, store_vector


def shuffle(builder, a, b, picks):
    index = ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks)
    return builder.shuffle_vector(a, b, index)


def _fold(builder, value, width):
    """Add halves until `width` lanes are left."""
    while value.type.count > width:
        half = value.type.count // 2
        low = shuffle(builder, value, value, list(range(half)))
        high = shuffle(builder, value, value, list(range(half, 2 * half)))
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
    return builder.fadd(shuffle(builder, a, b, low), shuffle(builder, a, b, high))


def register_lanes(vec):
    """Return how many lanes of a vector go in one register."""
    return min(vec.lanes, REGISTER_BYTES * 8 // vec.dtype.bitwidth)


def all_totals(builder, vec, product):
    """Return the totals of as many vectors as a register has lanes, each in its lane.

    Parameters
    ----------
    product : callable
        ``product(c)`` emits the vector whose total is to be in lane c.

    Notes
    -----
    A binary tree: two vectors are merged into one whose halves are theirs, each summed by halves,
    until every lane is a total. That takes two shuffles and an add a vector, of which shuffles of
    16 bytes and within them are single instructions on x86. Depth first, few wait in registers.
    """
    n, block = register_lanes(vec), 128 // vec.dtype.bitwidth
    stages, lane = _tree(n, block)

    def subtree(height, leaf):
        if height == 0:
            return _fold(builder, product(lane[leaf]), n)
        a = subtree(height - 1, leaf)
        b = subtree(height - 1, leaf + 2 ** (height - 1))
        low, high = stages[height - 1]
        return builder.fadd(shuffle(builder, a, b, low), shuffle(builder, a, b, high))

    return subtree(len(stages), 0)


@cache
def _tree(n, block):
    """Return the picks (low, high) of each stage of merging, and in which lane each leaf ends."""
    stages = [
        [_picks(n, size, count, unit) for unit in halves]
        for size, count in ((block, n // block), (1, block))
        for halves in _HALVES[count]
    ]
    owners = [[leaf] * n for leaf in range(n)]
    for low, _ in stages:
        pairs = zip(owners[::2], owners[1::2], strict=True)
        owners = [[(a + b)[pick] for pick in low] for a, b in pairs]
    return stages, [owners[0].index(leaf) for leaf in range(n)]


# By the number of units in a group: which of them are added to which, stage by stage.
_HALVES = {1: [], 2: [((0,), (1,))], 4: [((0, 1), (2, 3)), ((0, 2), (1, 3))]}


def _picks(n, size, count, units):
    """Return those units, of `size` lanes, of each group of `count`: of a, then of b."""
    return [
        of + group + size * unit + lane
        for group in range(0, n, size * count)
        for of in (0, n)
        for unit in units
        for lane in range(size)
    ]


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
        return shuffle(builder, pq, rs, [0, 1, 2, 3])

    return result(a, four), codegen


@intrinsic
def add_vector(typingctx, target, element, value):
    """target[element : ...] += value, as many elements as it has lanes."""

    def codegen(context, builder, sig, args):
        pointer = builder.gep(args[0], [args[1]])
        align = target.dtype.bitwidth // 8
        old = load_vector(context, builder, pointer, value, align)
        store_vector(builder, builder.fadd(old, args[2]), pointer, align)
        return context.get_dummy_value()

    return types.void(target, types.uintp, value), codegen
