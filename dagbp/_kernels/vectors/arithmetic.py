"""Arithmetic on vectors: operators, comparisons, and LLVM's functions, lane by lane.

A number beside a vector is cast to a vector with the number in every lane. So one formula serves
both precisions.
"""

import operator

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin

from dagbp._compiler.type_rules import type_operator
from dagbp._kernels.vectors.vector import Vec


def inlined(formula):
    """Copy a formula of vectors into its callers before they are compiled.

    Compiled as a function, a formula takes 40 ms, and a row of formulas that call formulas a third
    of a second. The copy has the floating-point flags of its caller, which must be EXACT: "reassoc"
    would undo the rounding by `bits.MAGIC`.
    """
    return numba.jit(nopython=True, inline="always")(formula)  # no code of its own, hence no cache


def _common_vec(args):
    """Return the only vector type among `args`, or None; the others must be numbers."""
    vecs = {a for a in args if isinstance(a, Vec)}
    numbers_fit = all(isinstance(a, (Vec, types.Float, types.Integer)) for a in args)
    return vecs.pop() if len(vecs) == 1 and numbers_fit else None


def _define_operator(symbol, build, result=lambda vec: vec):
    """Define an operator for vectors, and for a vector and a number."""

    def signature_of(*args):
        vec = _common_vec(args)
        return None if vec is None else result(vec)(*[vec] * len(args))

    type_operator(symbol, signature_of)

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
    """Emit a call of `llvm.<name>` for vectors of this type."""
    vector = context.get_value_type(vec)
    function = ir.FunctionType(vector, [vector] * len(args))
    full = f"llvm.{name}.v{vec.lanes}f{vec.dtype.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, full), args)


def _llvm_intrinsic(name, arity):
    """Return an intrinsic that calls `llvm.<name>` for vectors, and numbers beside a vector."""

    def define(*types_):
        vec = _common_vec(types_)
        if vec is None:
            return None

        def codegen(context, builder, sig, args):
            return call_llvm(context, builder, name, vec, args)

        return vec(*[vec] * len(types_)), codegen

    by_arity = (  # Numba takes no *args here
        lambda typingctx, a: define(a),
        lambda typingctx, a, b: define(a, b),
        lambda typingctx, a, b, c: define(a, b, c),
    )
    return intrinsic(by_arity[arity - 1])


# fma(a, b, c) = a*b + c, fused if the processor has such an instruction. `llvm.fma` always fuses:
# without the instruction it calls libm for each lane, 30 times slower.
fma = _llvm_intrinsic("fmuladd", 3)
maximum = _llvm_intrinsic("maxnum", 2)  # the greater of a and b; if one is NaN, the other
fabs = _llvm_intrinsic("fabs", 1)
copysign = _llvm_intrinsic("copysign", 2)  # |a| with the sign of b
# The sine and the cosine of each lane by the C library.
libm_sin, libm_cos = _llvm_intrinsic("sin", 1), _llvm_intrinsic("cos", 1)


def _any_lane(builder, mask):
    whole = builder.bitcast(mask, ir.IntType(mask.type.count))
    return builder.icmp_unsigned("!=", whole, ir.Constant(whole.type, 0))


@intrinsic
def any_lane(typingctx, mask):
    """Return whether a mask is true anywhere."""

    def codegen(context, builder, sig, args):
        return _any_lane(builder, args[0])

    return types.boolean(mask), codegen


@intrinsic
def any_nan(typingctx, a):
    """Return whether any lane is NaN."""

    def codegen(context, builder, sig, args):
        return _any_lane(builder, builder.fcmp_unordered("uno", args[0], args[0]))

    return types.boolean(a), codegen
