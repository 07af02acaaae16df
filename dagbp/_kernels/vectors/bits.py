"""Operations on the bits of floating-point vectors, and polynomials for both precisions."""

from llvmlite import ir
from numba.extending import intrinsic

from dagbp._kernels.vectors.arithmetic import call_llvm
from dagbp._kernels.vectors.vector import Vec


def polynomial(float32, float64):
    """Return an intrinsic c[0] x^n + ... + c[n] (Horner); c depends on x's precision."""
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


# A whole number n is stored as the float n + MAGIC. Its low bits are n in two's complement. Adding
# MAGIC also rounds to the nearest whole number. So neither a rounding instruction is needed nor a
# conversion to integers, which AVX2 lacks for float64.

_MANTISSA_BITS = {32: 23, 64: 52}
_EXPONENT_BIAS = {32: 127, 64: 1023}
_SQRT_HALF_BITS = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}

MAGIC = polynomial(float32=[1.5 * 2**23], float64=[1.5 * 2**52])


def _bits(builder, x, value):
    """Return a vector's bits as integers, and a function that makes such constants."""
    ints = ir.VectorType(ir.IntType(x.dtype.bitwidth), x.lanes)
    return builder.bitcast(value, ints), lambda n: ir.Constant(ints, [n] * x.lanes)


def _from_bits(builder, context, x, value):
    return builder.bitcast(value, context.get_value_type(x))


@intrinsic
def power_of_two(typingctx, t):
    """Return 2**n, given t = n + MAGIC, for 2**n in the normal range."""

    def codegen(context, builder, sig, args):
        bits, constant = _bits(builder, t, args[0])
        size = t.dtype.bitwidth
        biased = builder.add(bits, constant(_EXPONENT_BIAS[size]))
        return _from_bits(builder, context, t, builder.shl(biased, constant(_MANTISSA_BITS[size])))

    return t(t), codegen


@intrinsic
def negate_if_odd(typingctx, t, x):
    """Return -x where n is odd, else x, given t = n + MAGIC."""

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
        # With m bits in a mantissa, the float 2^m + raw has the bits of 2^m, and raw as mantissa.
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
        divided = builder.sub(bits, builder.shl(e, constant(_MANTISSA_BITS[size])))
        return _from_bits(builder, context, x, divided)

    return x(x), codegen


@intrinsic
def leading_half(typingctx, x):
    """Return x with the lower half of its mantissa cleared, so that its square is exact."""

    def codegen(context, builder, sig, args):
        bits, constant = _bits(builder, x, args[0])
        kept = -1 << (_MANTISSA_BITS[x.dtype.bitwidth] // 2 + 1)
        return _from_bits(builder, context, x, builder.and_(bits, constant(kept)))

    return x(x), codegen
