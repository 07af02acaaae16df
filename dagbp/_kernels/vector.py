"""Rows of a tile as single LLVM vector values, inside Numba.

A *tile* holds the values of all nodes for one slice of a batch: a row of `lanes` samples a node,
64-byte aligned. In a kernel it is a `Tile(dtype, lanes)`, a pointer to its first row; the number of
lanes is part of the type, so one source serves every width.

`Vec(dtype, lanes)` is a Numba type whose value is an LLVM `<lanes x dtype>`. LLVM splits it into
as many machine registers as it needs, keeps it in registers across a loop and emits fused
multiply-adds with broadcast operands: none of which it does for a small NumPy array. Numbers meet
vectors by a cast that repeats them in every lane, so formulas read the same for both precisions.

Pointers in place of arrays: no reference counts, no shapes to pass, a third of the time to compile.
"""

import operator

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

CHUNK_BYTES = 64  # what activation and loss rows work on; every tile's row is a multiple of it


def _register_bytes() -> int:
    """Return the width of the widest vector register that Numba compiles for."""
    _, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    if "+avx512f" in features or cpu in ("skylake-avx512", "icelake-server", "znver4"):
        return 64
    return 32 if "+avx" in features or cpu in ("haswell", "znver3") else 16


REGISTER_BYTES = _register_bytes()
# Rows of a dense panel: with 4 registers a row, 24 of AVX-512's 32 hold sums, or 12 of 16.
PANEL_ROWS = 6 if REGISTER_BYTES == 64 else 3


def tile_dtype(dtype, row_bytes):
    """Return the record of one tile row: `row_bytes` of lanes of `dtype`."""
    return np.dtype([("lane", dtype, (row_bytes // np.dtype(dtype).itemsize,))])


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


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        row = ir.ArrayType(_ir_scalar(fe_type.dtype), fe_type.lanes)
        super().__init__(dmm, fe_type, row.as_pointer())


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(_ir_scalar(fe_type.dtype), fe_type.lanes))


def repeat(builder, vector, scalar):
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


def inlined(formula):
    """Copy a formula of vectors into its callers, before they are compiled.

    On its own it would take 40 ms, and a row of formulas that call formulas a third of a second.
    It gets its caller's floating-point flags, which must be EXACT: with "reassoc" rounding by
    adding MAGIC is undone.
    """
    return numba.jit(nopython=True, inline="always")(formula)  # not _jit.jit: no code, no cache


# --- memory --------------------------------------------------------------------------------------


def _row_vec(tile):
    return Vec(tile.dtype, tile.lanes)


def load_vector(context, builder, pointer, vec, align):
    vector = context.get_value_type(vec)
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = align
    return value


def store_vector(builder, value, pointer, align):
    pointer = builder.bitcast(pointer, value.type.as_pointer())
    builder.store(value, pointer).align = align


@intrinsic
def no_tile(typingctx, kind):
    """Return a null tile whose rows are the records of an array; see `tile_dtype`."""
    lane = kind.dtype.fields["lane"].type
    tile = Tile(lane.dtype, lane.shape[0])

    def codegen(context, builder, sig, args):
        return cgutils.get_null_value(context.get_value_type(tile))

    return tile(kind), codegen


@intrinsic
def array_pointer(typingctx, array):
    """Return a C pointer to the first element of a flat array."""
    pointer_type = types.CPointer(array.dtype)

    def codegen(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return pointer_type(array), codegen


@intrinsic
def offset(typingctx, pointer, elements):
    """Return the pointer so many elements, or the tile so many rows, further on."""

    def codegen(context, builder, sig, args):
        return builder.gep(args[0], [args[1]], inbounds=True)

    return pointer(pointer, types.uintp), codegen


@intrinsic
def load(typingctx, tile, row):
    """Return row `row` of a tile as a vector."""
    vec = _row_vec(tile)

    def codegen(context, builder, sig, args):
        return load_vector(context, builder, builder.gep(args[0], [args[1]]), vec, 64)

    return vec(tile, types.uintp), codegen


@intrinsic
def store(typingctx, tile, row, value):
    """Write a vector (or a number, repeated) to row `row` of a tile."""
    vec = _row_vec(tile)

    def codegen(context, builder, sig, args):
        store_vector(builder, args[2], builder.gep(args[0], [args[1]]), 64)
        return context.get_dummy_value()

    return types.void(tile, types.uintp, vec), codegen


@intrinsic
def fill(typingctx, tile, number):
    """Return a vector as wide as the tile's rows with `number` in every lane."""
    vec = _row_vec(tile)
    return vec(tile, vec), lambda context, builder, sig, args: args[1]


@intrinsic
def lanes(typingctx, tile):
    """Return the number of samples in a row of a tile, a compile-time constant."""
    constant = ir.Constant(ir.IntType(64), tile.lanes)
    return types.uintp(tile), lambda context, builder, sig, args: constant


@intrinsic
def row_pointer(typingctx, tile, row):
    """Return a C pointer to the first lane of row `row`."""
    pointer_type = types.CPointer(tile.dtype)

    def codegen(context, builder, sig, args):
        pointer = builder.gep(args[0], [args[1]], inbounds=True)
        return builder.bitcast(pointer, context.get_value_type(pointer_type))

    return pointer_type(tile, types.uintp), codegen


@intrinsic
def load_chunk(typingctx, source, element):
    """Return 64 bytes from any element of a C pointer as a vector."""
    vec = Vec(source.dtype, CHUNK_BYTES * 8 // source.dtype.bitwidth)

    def codegen(context, builder, sig, args):
        pointer = builder.gep(args[0], [args[1]])
        return load_vector(context, builder, pointer, vec, vec.dtype.bitwidth // 8)

    return vec(source, types.uintp), codegen


@intrinsic
def store_chunk(typingctx, target, element, value):
    """Write a vector (or a number, repeated to 64 bytes) to any element of a C pointer."""
    vec = Vec(target.dtype, CHUNK_BYTES * 8 // target.dtype.bitwidth)
    vec = value if isinstance(value, Vec) else vec

    def codegen(context, builder, sig, args):
        pointer = builder.gep(args[0], [args[1]])
        store_vector(builder, args[2], pointer, target.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(target, types.uintp, vec), codegen


@intrinsic
def zero_chunk(typingctx, source):
    """Return a 64-byte vector of zeros of the pointer's dtype."""
    vec = Vec(source.dtype, CHUNK_BYTES * 8 // source.dtype.bitwidth)

    def codegen(context, builder, sig, args):
        return ir.Constant(context.get_value_type(vec), None)

    return vec(source), codegen


@intrinsic
def as_element(typingctx, source, number):
    """Return the number in the dtype of a pointer's elements."""
    return source.dtype(source, source.dtype), lambda context, builder, sig, args: args[1]


@intrinsic
def chunk_lanes(typingctx, source):
    """Return how many elements of a pointer fill 64 bytes, a compile-time constant."""
    constant = ir.Constant(ir.IntType(64), CHUNK_BYTES * 8 // source.dtype.bitwidth)
    return types.uintp(source), lambda context, builder, sig, args: constant


@intrinsic
def align_stack(typingctx):
    """Align the stack of the function that calls this to 64 bytes.

    Vectors are spilled there. Across cache lines, as chance has it, a row of sines takes 38 ns, and
    not 20.
    """

    def codegen(context, builder, sig, args):
        attributes = builder.function.attributes
        attributes.alignstack = CHUNK_BYTES
        attributes.add("nounwind")  # llvmlite prints no attributes if alignstack is the only one
        return context.get_dummy_value()

    return types.void(), codegen


# --- arithmetic ----------------------------------------------------------------------------------


def _common_vec(args):
    """Return the one vector type among `args`, or None; numbers are repeated to fit it."""
    vecs = {a for a in args if isinstance(a, Vec)}
    numbers_fit = all(isinstance(a, (Vec, types.Float, types.Integer)) for a in args)
    return vecs.pop() if len(vecs) == 1 and numbers_fit else None


def _define_operator(symbol, build, result=lambda vec: vec):
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            vec = None if kws else _common_vec(args)
            if vec is not None:
                return signature(result(vec), *([vec] * len(args)))

    infer_global(symbol)(Template)

    def lower(context, builder, sig, args):
        return build(builder, *args)

    arity = 1 if symbol is operator.neg else 2
    lower_builtin(symbol, *[Vec] * arity)(lower)


def _mask_of(vec):
    return Vec(types.boolean, vec.lanes)


for _symbol, _build in {
    operator.add: lambda b, x, y: b.fadd(x, y),
    operator.sub: lambda b, x, y: b.fsub(x, y),
    operator.mul: lambda b, x, y: b.fmul(x, y),
    operator.truediv: lambda b, x, y: b.fdiv(x, y),
    operator.neg: lambda b, x: b.fneg(x),
}.items():
    _define_operator(_symbol, _build)

for _symbol, _sign in {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
}.items():
    _define_operator(
        _symbol, lambda b, x, y, sign=_sign: b.fcmp_ordered(sign, x, y), result=_mask_of
    )


@intrinsic
def select(typingctx, mask, yes, no):
    """Return `yes` where `mask`, else `no`, lane by lane."""
    vec = _common_vec((yes, no))
    if vec is None:
        return None
    return vec(mask, vec, vec), lambda context, builder, sig, args: builder.select(*args)


def call_llvm(context, builder, name, vec, args):
    vector = context.get_value_type(vec)
    function = ir.FunctionType(vector, [vector] * len(args))
    full = f"llvm.{name}.v{vec.lanes}f{vec.dtype.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, full), args)


def _llvm_intrinsic(name, types_):
    vec = _common_vec(types_)
    if vec is None:
        return None

    def codegen(context, builder, sig, args):
        return call_llvm(context, builder, name, vec, args)

    return vec(*[vec] * len(types_)), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Return a*b + c, fused where the machine can.

    `llvm.fma` proper becomes a libm call a lane without FMA hardware, 30 times slower.
    """
    return _llvm_intrinsic("fmuladd", (a, b, c))


@intrinsic
def maximum(typingctx, a, b):
    """Return the greater; of a number and a NaN, the number."""
    return _llvm_intrinsic("maxnum", (a, b))


@intrinsic
def fabs(typingctx, a):
    """Return the absolute value."""
    return _llvm_intrinsic("fabs", (a,))


@intrinsic
def sqrt(typingctx, a):
    """Return the square root."""
    return _llvm_intrinsic("sqrt", (a,))


@intrinsic
def copysign(typingctx, a, b):
    """Return |a| with the sign of b."""
    return _llvm_intrinsic("copysign", (a, b))


@intrinsic
def libm_sin(typingctx, a):
    """Return the sine by the C library, lane by lane."""
    return _llvm_intrinsic("sin", (a,))


@intrinsic
def libm_cos(typingctx, a):
    """Return the cosine by the C library, lane by lane."""
    return _llvm_intrinsic("cos", (a,))


@intrinsic
def any_lane(typingctx, mask):
    """Return whether a mask is true anywhere."""

    def codegen(context, builder, sig, args):
        whole = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", whole, ir.Constant(whole.type, 0))

    return types.boolean(mask), codegen


# --- polynomials, with coefficients by precision -------------------------------------------------


def polynomial(float32, float64):
    """Return an intrinsic p(x) = c[0] x^n + ... + c[n], its coefficients chosen by x's precision.

    A single coefficient makes a constant of that precision.
    """
    by_bits = {32: float32, 64: float64}

    @intrinsic
    def evaluate(typingctx, x):
        def codegen(context, builder, sig, args):
            vector = context.get_value_type(x)
            first, *rest = (ir.Constant(vector, [c] * x.lanes) for c in by_bits[x.dtype.bitwidth])
            for c in rest:
                first = call_llvm(context, builder, "fmuladd", x, (first, args[0], c))
            return first

        return (x(x), codegen) if isinstance(x, Vec) else None

    return evaluate


# --- bits of a number ----------------------------------------------------------------------------
# Whole numbers n travel as n + MAGIC, whose low bits are n in two's complement: adding MAGIC rounds
# to nearest without an instruction for it, and no conversion to integers is needed, which AVX2 has
# not for float64.

_MANTISSA_BITS = {32: 23, 64: 52}
_EXPONENT_BIAS = {32: 127, 64: 1023}
_SQRT_HALF_BITS = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}

MAGIC = polynomial(float32=[1.5 * 2**23], float64=[1.5 * 2**52])


def _bits(builder, x, value):
    """Return a vector's bits as integers, and a function that makes constants like them."""
    ints = ir.VectorType(ir.IntType(x.dtype.bitwidth), x.lanes)
    return builder.bitcast(value, ints), lambda n: ir.Constant(ints, [n] * x.lanes)


def _from_bits(builder, context, x, value):
    return builder.bitcast(value, context.get_value_type(x))


@intrinsic
def power_of_two(typingctx, t):
    """Return 2**n of t = n + MAGIC, for 2**n in the normal range."""

    def codegen(context, builder, sig, args):
        bits, constant = _bits(builder, t, args[0])
        size = t.dtype.bitwidth
        biased = builder.add(bits, constant(_EXPONENT_BIAS[size]))
        return _from_bits(builder, context, t, builder.shl(biased, constant(_MANTISSA_BITS[size])))

    return t(t), codegen


@intrinsic
def negate_if_odd(typingctx, t, x):
    """Return x, or -x where n of t = n + MAGIC is odd."""

    def codegen(context, builder, sig, args):
        whole, constant = _bits(builder, t, args[0])
        bits, _ = _bits(builder, x, args[1])
        sign = builder.shl(whole, constant(x.dtype.bitwidth - 1))
        return _from_bits(builder, context, x, builder.xor(bits, sign))

    return x(t, x), codegen


def _raw_exponent(builder, x, bits, constant):
    """Return e + bias with x / 2**e in [sqrt(1/2), sqrt(2)), as integers."""
    size = x.dtype.bitwidth
    shift = (_EXPONENT_BIAS[size] << _MANTISSA_BITS[size]) - _SQRT_HALF_BITS[size]
    return builder.lshr(builder.add(bits, constant(shift)), constant(_MANTISSA_BITS[size]))


@intrinsic
def exponent(typingctx, x):
    """Return e such that x / 2**e is in [sqrt(1/2), sqrt(2)), for a positive normal x."""

    def codegen(context, builder, sig, args):
        size = x.dtype.bitwidth
        two_to_mantissa = _EXPONENT_BIAS[size] + _MANTISSA_BITS[size]
        bits, constant = _bits(builder, x, args[0])
        raw = _raw_exponent(builder, x, bits, constant)
        # The bits of 2^m + raw are those of 2^m with raw as mantissa.
        magic = builder.or_(raw, constant(two_to_mantissa << _MANTISSA_BITS[size]))
        offset = 2.0 ** _MANTISSA_BITS[size] + _EXPONENT_BIAS[size]
        value = _from_bits(builder, context, x, magic)
        return builder.fsub(value, ir.Constant(value.type, [offset] * x.lanes))

    return x(x), codegen


@intrinsic
def significand(typingctx, x):
    """Return x / 2**exponent(x), in [sqrt(1/2), sqrt(2)), for a positive normal x."""

    def codegen(context, builder, sig, args):
        size = x.dtype.bitwidth
        bits, constant = _bits(builder, x, args[0])
        raw = _raw_exponent(builder, x, bits, constant)
        e = builder.sub(raw, constant(_EXPONENT_BIAS[size]))
        taken = builder.sub(bits, builder.shl(e, constant(_MANTISSA_BITS[size])))
        return _from_bits(builder, context, x, taken)

    return x(x), codegen


@intrinsic
def leading_half(typingctx, x):
    """Return x with the lower half of its mantissa cleared: its square is exact."""

    def codegen(context, builder, sig, args):
        bits, constant = _bits(builder, x, args[0])
        kept = -1 << (_MANTISSA_BITS[x.dtype.bitwidth] // 2 + 1)
        return _from_bits(builder, context, x, builder.and_(bits, constant(kept)))

    return x(x), codegen


# --- sums over lanes -----------------------------------------------------------------------------


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
def totals(typingctx, a, b, c, d):
    """Return the four sums over lanes as a 4-lane vector, sharing the horizontal adds.

    Two shuffles and five quarters of an add a vector, where four calls of `total` take four each.
    """
    result = Vec(a.dtype, 4)

    def codegen(context, builder, sig, args):
        block = 128 // a.dtype.bitwidth
        register = max(block, min(a.lanes, REGISTER_BYTES * 8 // a.dtype.bitwidth))
        p, q, r, s = (_fold(builder, value, register) for value in args)
        pq = _zip_blocks(builder, p, q, block, 1)
        rs = _zip_blocks(builder, r, s, block, 1)
        if block == 4:
            return _fold(builder, _zip_blocks(builder, pq, rs, 4, 2), 4)
        pq, rs = _fold(builder, pq, 2), _fold(builder, rs, 2)
        return _shuffle(builder, pq, rs, [0, 1, 2, 3])

    return result(a, b, c, d), codegen


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


# --- calls by address ----------------------------------------------------------------------------


@intrinsic
def call_address(typingctx, address, arguments):
    """Call the C function `void f(*arguments)` at an address: nothing recompiles for a new f."""

    def codegen(context, builder, sig, args):
        values = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [v.type for v in values])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.uintp, arguments), codegen
