"""Masked and gathered loads of vectors over one row's edges, for single samples.

Each load takes the number of lanes that count, so the rest of a row needs no loop of its own. The
processor would mispredict the end of such a loop for each row: for 200,000 edges in 10,000 rows,
plain loops took 98 us and these loads 58 us. In 1,000 rows, the lengths of which a processor
learns, both took 5.4 us.

LLVM emits a load for each lane where the processor has no gather instructions.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from dagbp._kernels.vectors.vector import Vec, element, repeat, size_by_type, zeros_by_type
from dagbp._machine import GATHER_BYTES


def _vec(pointer):
    return Vec(pointer.dtype, GATHER_BYTES * 8 // pointer.dtype.bitwidth)


def _masked(context, builder, operation, args, result):
    """Emit a call of `llvm.masked.<operation>`."""
    function = ir.FunctionType(result, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.{operation}")
    return builder.call(function, args)


def _first_lanes(builder, count, lanes):
    """Return a mask of the first `count` lanes; LLVM folds it if the count is known."""
    numbers = ir.VectorType(ir.IntType(32), lanes)
    limit = repeat(builder, numbers, builder.trunc(count, numbers.element))
    return builder.icmp_unsigned("<", ir.Constant(numbers, list(range(lanes))), limit)


def _load_some(context, builder, pointer, vector, name, mask):
    """Return consecutive elements where the mask is set, and zeros elsewhere."""
    size = context.get_abi_sizeof(vector.element)
    align, zeros = ir.Constant(ir.IntType(32), size), ir.Constant(vector, None)
    operation = f"load.v{vector.count}{name}.p0"
    return _masked(context, builder, operation, [pointer, align, mask, zeros], vector)


lanes_of = size_by_type(lambda pointer: _vec(pointer).lanes)
no_sum = zeros_by_type(_vec)


@intrinsic
def some(typingctx, source, first, count):
    """Return source[first : first + count], and zeros in the other lanes."""
    vec = _vec(source)

    def codegen(context, builder, sig, args):
        mask = _first_lanes(builder, args[2], vec.lanes)
        pointer = element(context, builder, source, *args[:2])
        vector = context.get_value_type(vec)
        name = f"f{vec.dtype.bitwidth}"
        return _load_some(context, builder, pointer, vector, name, mask)

    return vec(source, types.uintp, types.uintp), codegen


@intrinsic
def take(typingctx, source, rows, first, count):
    """Return source[rows[first : first + count]], and zeros in the other lanes.

    Those lanes read element 0 first, as a masked gather would branch for each lane on processors
    without gather instructions.
    """
    vec = _vec(source)

    def codegen(context, builder, sig, args):
        vector = context.get_value_type(vec)
        mask = _first_lanes(builder, args[3], vec.lanes)
        every = ir.Constant(mask.type, [1] * vec.lanes)
        indices = ir.VectorType(ir.IntType(32), vec.lanes)
        place = element(context, builder, rows, *args[1:3])
        row = _load_some(context, builder, place, indices, "i32", mask)
        pointers = element(context, builder, source, args[0], row)
        pointers.type = ir.VectorType(ir.PointerType(), vec.lanes)  # llvmlite says: one pointer
        align = ir.Constant(ir.IntType(32), vec.dtype.bitwidth // 8)
        operation = f"gather.v{vec.lanes}f{vec.dtype.bitwidth}.v{vec.lanes}p0"
        zeros = ir.Constant(vector, None)
        found = _masked(context, builder, operation, [pointers, align, every, zeros], vector)
        return builder.select(mask, found, zeros)

    return vec(source, rows, types.uintp, types.uintp), codegen


@intrinsic
def put(typingctx, target, first, count, value):
    """target[first : first + count] = value, for up to as many elements as it has lanes."""
    vec = _vec(target)

    def codegen(context, builder, sig, args):
        pointer, value_ = element(context, builder, target, *args[:2]), args[3]
        mask = _first_lanes(builder, args[2], vec.lanes)
        align = ir.Constant(ir.IntType(32), vec.dtype.bitwidth // 8)
        operation = f"store.v{vec.lanes}f{vec.dtype.bitwidth}.p0"
        _masked(context, builder, operation, [value_, pointer, align, mask], ir.VoidType())
        return context.get_dummy_value()

    return types.void(target, types.uintp, types.uintp, vec), codegen
