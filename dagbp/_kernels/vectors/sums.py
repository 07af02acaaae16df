"""Horizontal sums: sums over the lanes of a vector, as LLVM does not generate them itself."""

from functools import cache

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._kernels.vectors.vector import Vec, element, load_vector, store_vector
from dagbp._machine import REGISTER_BYTES


def shuffle(builder, a, b, picks):
    """Emit a vector of lanes of a and b: lane `pick` of both, one after the other."""
    index = ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks)
    return builder.shuffle_vector(a, b, index)


def _fold(builder, value, width):
    """Emit the sum of a vector's halves, and again until `width` lanes are left."""
    while value.type.count > width:
        half = value.type.count // 2
        low = shuffle(builder, value, value, list(range(half)))
        high = shuffle(builder, value, value, list(range(half, 2 * half)))
        value = builder.fadd(low, high)
    return value


@intrinsic
def total(typingctx, a):
    """Return the sum over lanes, by halving."""

    def codegen(context, builder, sig, args):
        one = _fold(builder, args[0], 1)
        return builder.extract_element(one, ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), codegen


def register_lanes(vec):
    """Return the number of a vector's lanes in one register."""
    return min(vec.lanes, REGISTER_BYTES * 8 // vec.dtype.bitwidth)


def few_lanes(vec):
    """Return the number of totals that are computed together for the last edges of a row."""
    return min(4, register_lanes(vec))


def all_totals(builder, vec, product, count):
    """Emit the totals of `count` vectors, one in each lane; ``product(c)`` emits one vector.

    The total of ``product(c)`` goes to lane c. count: a power of two from 2 to a register's lanes.

    A binary tree: each step merges two vectors into one. One half of its lanes holds partial sums
    of the first, the other half of the second. At the root every lane in a group of `count` is a
    total of that group, and the groups are added last. A step takes two shuffles and one add.
    Shuffles of blocks of 16 bytes, and within such blocks, are single instructions on x86. The tree
    is walked depth first, so that few vectors wait in registers.
    """
    n, block = register_lanes(vec), min(count, 128 // vec.dtype.bitwidth)
    stages, lane = _tree(n, count, block)

    def subtree(height, leaf):
        if height == 0:
            return _fold(builder, product(lane[leaf]), n)
        a = subtree(height - 1, leaf)
        b = subtree(height - 1, leaf + 2 ** (height - 1))
        low, high = stages[height - 1]
        return builder.fadd(shuffle(builder, a, b, low), shuffle(builder, a, b, high))

    return _fold(builder, subtree(len(stages), 0), count)


@cache
def _tree(n, count, block):
    """Return the picks (low, high) of each stage of merging, and the lane of each leaf's total."""
    stages = [
        [_picks(n, size, units, half) for half in halves]
        for size, units in ((block, count // block), (1, block))
        for halves in _HALVES[units]
    ]
    owners = [[leaf] * n for leaf in range(count)]
    for low, _ in stages:
        pairs = zip(owners[::2], owners[1::2], strict=True)
        owners = [[(a + b)[pick] for pick in low] for a, b in pairs]
    return stages, [owners[0].index(leaf) for leaf in range(count)]


# For each number of units in a group, by stage: the units that are added to each other.
_HALVES = {1: [], 2: [((0,), (1,))], 4: [((0, 1), (2, 3)), ((0, 2), (1, 3))]}


def _picks(n, size, count, units):
    """Return the lanes of these units, `size` lanes each, in groups of `count`: first a, then b."""
    return [
        of + group + size * unit + lane
        for group in range(0, n, size * count)
        for of in (0, n)
        for unit in units
        for lane in range(size)
    ]


@intrinsic
def row_totals(typingctx, tile, first):
    """Return the totals of `few_lanes` rows of a tile from `first`, one in each lane."""
    vec = Vec(tile.dtype, tile.lanes)
    count = few_lanes(vec)

    def codegen(context, builder, sig, args):
        def row(c):
            place = builder.add(args[1], ir.Constant(args[1].type, c))
            pointer = element(context, builder, tile, args[0], place)
            return load_vector(context, builder, pointer, vec, 64)

        return all_totals(builder, vec, row, count)

    return Vec(tile.dtype, count)(tile, types.uintp), codegen


@intrinsic
def add_vector(typingctx, target, first, value):
    """target[first ...] += value, one element for each lane."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, target, *args[:2])
        align = target.dtype.bitwidth // 8
        old = load_vector(context, builder, pointer, value, align)
        store_vector(builder, builder.fadd(old, args[2]), pointer, align)
        return context.get_dummy_value()

    return types.void(target, types.uintp, value), codegen
