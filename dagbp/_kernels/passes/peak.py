"""The peak rate of a core's arithmetic: multiply-adds between registers, without loads."""

from llvmlite import ir
from numba.extending import intrinsic

from dagbp._compiler.decorators import FAST
from dagbp._kernels.edges.dense import store_panel, sums
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.arithmetic import call_llvm
from dagbp._kernels.vectors.vector import ZERO, fill


@intrinsic
def multiply_all(typingctx, panel, factor):
    """Return panel[r] * factor + factor for every r."""

    def codegen(context, builder, sig, args):
        result = ir.Constant(args[0].type, ir.Undefined)
        for r in range(panel.count):
            terms = [builder.extract_value(args[0], r), args[1], args[1]]
            value = call_llvm(context, builder, "fmuladd", factor, terms)
            result = builder.insert_value(result, value, r)
        return result

    return panel(panel, factor), codegen


@c_function("tile, size, f64", fastmath=FAST)
def multiply_adds(tile, n, factor):
    """Tile <- a panel after n multiply-adds of each of its registers; for rows of PART_BYTES."""
    panel, factor = sums(tile), fill(tile, factor)
    for _ in range(n):
        panel = multiply_all(panel, factor)
    store_panel(tile, ZERO, panel)
