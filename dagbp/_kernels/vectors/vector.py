"""Numba types for tiles and vectors, and intrinsics that read and write memory.

A *tile* holds the values of all nodes for a slice of a batch. It has a row for each node, and each
row has `lanes` samples and is 64-byte aligned. In a kernel a tile is a `Tile(dtype, lanes)`, a
pointer to the first row. The number of lanes is part of the type, so one source serves all widths.

A row is loaded as a `Vec(dtype, lanes)`, an LLVM vector `<lanes x dtype>`. LLVM splits it into as
many registers as it needs, keeps it there across a loop, and emits fused multiply-adds with
broadcast operands. It does none of this for a small NumPy array. See `arithmetic` for operators.

Kernels use pointers in place of arrays: these need no reference counts, and no shapes that would be
passed and compiled.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_cast, models, register_model

CHUNK_BYTES = 64  # activations and losses compute so much at once; a tile's row has whole chunks

# Unsigned constants: with signed ones, Numba emits code for negative indices. A global
# constant compiles in half the time of a conversion in the kernel.
ZERO, ONE = np.uintp(0), np.uintp(1)


class Tile(types.Type):
    """A pointer to rows of `lanes` values of `dtype`, 64-byte aligned."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Tile({dtype}, {lanes})")


class Vec(types.Type):
    """`lanes` values of `dtype` in machine registers; a mask where `dtype` is boolean."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vec({dtype}, {lanes})")


def _ir_scalar(dtype):
    if dtype == types.boolean:
        return ir.IntType(1)
    return {32: ir.FloatType(), 64: ir.DoubleType()}[dtype.bitwidth]


def _ir_row(tile):
    return ir.ArrayType(_ir_scalar(tile.dtype), tile.lanes)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _ir_row(fe_type).as_pointer())


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(_ir_scalar(fe_type.dtype), fe_type.lanes))


def repeat(builder, vector, scalar):
    """Emit an LLVM vector of this type with the scalar in every lane."""
    first = ir.Constant(ir.IntType(32), 0)
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, first)
    picks = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, undefined, picks)


@lower_cast(types.Float, Vec)
@lower_cast(types.Integer, Vec)
@lower_cast(types.IntegerLiteral, Vec)
def _number_to_vec(context, builder, fromty, toty, value):
    if isinstance(fromty, types.Literal):
        fromty = fromty.literal_type
    scalar = context.cast(builder, value, fromty, toty.dtype)
    return repeat(builder, context.get_value_type(toty), scalar)


# LLVM's pointers have no element type, and llvmlite's will lose theirs: each access names it.


def element_type(context, pointer_type):
    """Return the LLVM type of a pointer's elements, which are rows if it is a tile."""
    if isinstance(pointer_type, Tile):
        return _ir_row(pointer_type)
    return context.get_data_type(pointer_type.dtype)


def element(context, builder, pointer_type, pointer, *index, inbounds=False):
    """Emit the address of an element; of a tile, of a row or of a lane of a row."""
    type_ = element_type(context, pointer_type)
    return builder.gep(pointer, index, inbounds=inbounds, source_etype=type_)


def load_element(context, builder, pointer_type, pointer, index):
    """Emit the load of an element of a C pointer."""
    place = element(context, builder, pointer_type, pointer, index)
    return builder.load(place, typ=element_type(context, pointer_type))


def load_vector(context, builder, pointer, vec, align):
    """Emit the load of a vector from any address."""
    return builder.load(pointer, align=align, typ=context.get_value_type(vec))


def store_vector(builder, value, pointer, align):
    """Emit the store of a vector to any address."""
    pointer = builder.bitcast(pointer, value.type.as_pointer())
    builder.store(value, pointer, align=align)


def _row_vec(tile):
    return Vec(tile.dtype, tile.lanes)


def _chunk_vec(pointer):
    return Vec(pointer.dtype, CHUNK_BYTES * 8 // pointer.dtype.bitwidth)


def size_by_type(size_of):
    """Return an intrinsic: `size_of` of its argument's type, a constant in compiled code."""

    @intrinsic
    def size(typingctx, argument):
        constant = ir.Constant(ir.IntType(64), size_of(argument))
        return types.uintp(argument), lambda context, builder, sig, args: constant

    return size


def zeros_by_type(kind_of):
    """Return an intrinsic: zeros (or null) of the type that `kind_of` gives for its argument's."""

    @intrinsic
    def zeros(typingctx, argument):
        kind = kind_of(argument)

        def codegen(context, builder, sig, args):
            return cgutils.get_null_value(context.get_value_type(kind))

        return kind(argument), codegen

    return zeros


# A null tile of an array's dtype: the `tag` of functions for tiles of any width.
tag_of = zeros_by_type(lambda array: Tile(array.dtype, 1))
zero_chunk = zeros_by_type(_chunk_vec)  # 64 bytes of zeros of a pointer's dtype
lanes = size_by_type(lambda tile: tile.lanes)  # samples in a row of a tile
chunk_lanes = size_by_type(lambda pointer: _chunk_vec(pointer).lanes)  # elements in 64 bytes


@intrinsic
def array_pointer(typingctx, array):
    """Return a C pointer to the first element of a flat array."""
    pointer_type = types.CPointer(array.dtype)

    def codegen(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return pointer_type(array), codegen


@intrinsic
def offset(typingctx, pointer, elements):
    """Return the pointer moved on by a number of elements, or the tile by a number of rows."""

    def codegen(context, builder, sig, args):
        return element(context, builder, pointer, *args, inbounds=True)

    return pointer(pointer, types.uintp), codegen


@intrinsic
def given(typingctx, pointer):
    """Return True if a pointer is not null."""

    def codegen(context, builder, sig, args):
        return cgutils.is_not_null(builder, args[0])

    return types.boolean(pointer), codegen


@intrinsic
def slot_at(typingctx, narrow, wide, k):
    """Return element k of a table of slots: of `narrow` unless it is null, else of `wide`."""

    def codegen(context, builder, sig, args):
        narrow_, wide_, k_ = args
        result = cgutils.alloca_once(builder, ir.IntType(64))
        with builder.if_else(cgutils.is_not_null(builder, narrow_)) as (then, otherwise):
            with then:
                slot = load_element(context, builder, narrow, narrow_, k_)
                builder.store(builder.zext(slot, ir.IntType(64)), result)
            with otherwise:
                builder.store(load_element(context, builder, wide, wide_, k_), result)
        return builder.load(result, typ=ir.IntType(64))

    return types.uintp(narrow, wide, types.uintp), codegen


def _first_if(comparison):
    """Return an intrinsic: the first of two sizes if the comparison is true, else the second."""

    @intrinsic
    def choice(typingctx, a, b):
        def codegen(context, builder, sig, args):
            return builder.select(builder.icmp_unsigned(comparison, *args), *args)

        return types.uintp(types.uintp, types.uintp), codegen

    return choice


# The smaller and the greater of two sizes: Numba compiles `min` again for each pair of types.
least, greatest = _first_if("<"), _first_if(">")


@intrinsic
def load(typingctx, tile, row):
    """Return row `row` of a tile as a vector."""
    vec = _row_vec(tile)

    def codegen(context, builder, sig, args):
        return load_vector(context, builder, element(context, builder, tile, *args), vec, 64)

    return vec(tile, types.uintp), codegen


@intrinsic
def store(typingctx, tile, row, value):
    """Write a vector (or a number, repeated) to row `row` of a tile."""
    vec = _row_vec(tile)

    def codegen(context, builder, sig, args):
        store_vector(builder, args[2], element(context, builder, tile, *args[:2]), 64)
        return context.get_dummy_value()

    return types.void(tile, types.uintp, vec), codegen


@intrinsic
def fill(typingctx, tile, number):
    """Return a vector as wide as the tile's rows, with `number` in every lane."""
    vec = _row_vec(tile)
    return vec(tile, vec), lambda context, builder, sig, args: args[1]


@intrinsic
def least_positive(typingctx, tile):
    """Return the smallest number above 0 of a tile's dtype, a compile-time constant."""
    dtype = np.float32 if tile.dtype == types.float32 else np.float64
    least = float(np.finfo(dtype).smallest_subnormal)
    constant = ir.Constant(_ir_scalar(tile.dtype), least)
    return tile.dtype(tile), lambda context, builder, sig, args: constant


@intrinsic
def row_pointer(typingctx, tile, row):
    """Return a C pointer to the first lane of row `row`."""
    pointer_type = types.CPointer(tile.dtype)

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, tile, *args, inbounds=True)
        return builder.bitcast(pointer, context.get_value_type(pointer_type))

    return pointer_type(tile, types.uintp), codegen


@intrinsic
def load_chunk(typingctx, source, first):
    """Return source[first ...], 64 bytes of a C pointer from any element, as a vector."""
    vec = _chunk_vec(source)

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, source, *args)
        return load_vector(context, builder, pointer, vec, vec.dtype.bitwidth // 8)

    return vec(source, types.uintp), codegen


@intrinsic
def store_chunk(typingctx, target, first, value):
    """target[first ...] = value: a vector, or a number that is repeated to 64 bytes."""
    vec = value if isinstance(value, Vec) else _chunk_vec(target)

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, target, *args[:2])
        store_vector(builder, args[2], pointer, target.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(target, types.uintp, vec), codegen


@intrinsic
def clear(typingctx, pointer, first, last):
    """Write zeros to the elements first ... last - 1."""

    def codegen(context, builder, sig, args):
        size = pointer.dtype.bitwidth // 8
        count = builder.mul(builder.sub(args[2], args[1]), ir.Constant(args[1].type, size))
        cgutils.memset(builder, element(context, builder, pointer, *args[:2]), count, 0)
        return context.get_dummy_value()

    return types.void(pointer, types.uintp, types.uintp), codegen


@intrinsic
def as_element(typingctx, source, number):
    """Return the number in the dtype of a pointer's elements."""
    return source.dtype(source, source.dtype), lambda context, builder, sig, args: args[1]


@intrinsic
def align_stack(typingctx):
    """Align the caller's stack to 64 bytes.

    Vectors are spilled to the stack. If they happen to cross cache lines, a row of sines takes
    38 ns, else 20 ns.
    """

    def codegen(context, builder, sig, args):
        attributes = builder.function.attributes
        attributes.alignstack = CHUNK_BYTES
        attributes.add("nounwind")  # llvmlite prints alignstack only beside another one
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call_address(typingctx, address, arguments):
    """Call the C function `void f(*arguments)` at an address; a new f recompiles nothing."""

    def codegen(context, builder, sig, args):
        values = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [v.type for v in values])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.uintp, arguments), codegen
