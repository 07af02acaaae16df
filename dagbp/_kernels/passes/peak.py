"""What a core's arithmetic reaches at best: multiply-adds between registers, nothing loaded."""

from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from dagbp._compiler.decorators import FAST, compile_callback
from dagbp._kernels.edges.dense import store_panel, sums
from dagbp._kernels.vectors.vector import ZERO, Tile, call_llvm, fill
from dagbp._machine import PANEL_ROWS, PART_BYTES


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


def multiply_adds(tile, n, factor):
    """Take n multiply-adds a register of a panel, whose rows `tile` then holds."""
    panel, factor = sums(tile), fill(tile, factor)
    for _ in range(n):
        panel = multiply_all(panel, factor)
    store_panel(tile, ZERO, panel)


@cache
def compile_peak(dtype):
    """Return `multiply_adds`, compiled, and its flops for n = 1."""
    scalar = types.float32 if np.dtype(dtype) == np.float32 else types.float64
    tile = Tile(scalar, PART_BYTES * 8 // scalar.bitwidth)
    arguments = signature(types.void, tile, types.uintp, types.float64)
    return compile_callback(multiply_adds, arguments, fastmath=FAST), 2 * PANEL_ROWS * tile.lanes
