"""Fully connected blocks over the same tile: a panel of rows at once, its sums in registers.

A *panel* is a few consecutive rows of one level whose edges include the same runs of consecutive
rows on the other side; see `dagbp._panels`. Within a run, row r's weights are consecutive from
slot `start[r]`, so the arrays stay those of the sparse kernels and only the order of work changes:
each load of a tile row serves the whole panel.

The four functions at this end are called by address: a net without panels never compiles them.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from dagbp._jit import FAST, compile_callback, jit
from dagbp._kernels.sparse import FIRST, HEADER, LENGTH, N_RUNS, RUN_WORDS, START
from dagbp._kernels.vector import PANEL_ROWS as ROWS
from dagbp._kernels.vector import (
    Tile,
    Vec,
    call_llvm,
    chunk_lanes,
    lanes,
    load,
    load_vector,
    offset,
    repeat,
    row_pointer,
    store_vector,
)

u = np.uintp


@intrinsic
def sums(typingctx, tile):
    """Return a panel of vectors as wide as the tile's rows, all zero."""
    panel = types.UniTuple(Vec(tile.dtype, tile.lanes), ROWS)

    def codegen(context, builder, sig, args):
        return cgutils.get_null_value(context.get_value_type(panel))

    return panel(tile), codegen


@intrinsic
def starts(typingctx, run):
    """Return the slots of a run's first weights, one a panel row."""
    result = types.UniTuple(types.uintp, ROWS)

    def codegen(context, builder, sig, args):
        words = [ir.Constant(ir.IntType(64), START + r) for r in range(ROWS)]
        slots = [builder.load(builder.gep(args[0], [word])) for word in words]
        return context.make_tuple(builder, result, slots)

    return result(run), codegen


@intrinsic
def add_products(typingctx, panel, weights, slots, k, row):
    """Return panel[r] + weights[slots[r] + k] * row for every r."""

    def codegen(context, builder, sig, args):
        old, pointer, slots_, k_, vector = args
        result = []
        for r in range(ROWS):
            slot = builder.add(builder.extract_value(slots_, r), k_)
            weight = repeat(builder, vector.type, builder.load(builder.gep(pointer, [slot])))
            acc = builder.extract_value(old, r)
            result.append(call_llvm(context, builder, "fmuladd", row, [weight, vector, acc]))
        return context.make_tuple(builder, panel, result)

    return panel(panel, weights, slots, types.uintp, row), codegen


@intrinsic
def store_panel(typingctx, tile, first, panel):
    """Write a panel to consecutive rows of a tile."""

    def codegen(context, builder, sig, args):
        for r in range(ROWS):
            row = builder.add(args[1], ir.Constant(args[1].type, r))
            pointer = builder.gep(args[0], [row])
            store_vector(builder, builder.extract_value(args[2], r), pointer, 64)
        return context.get_dummy_value()

    return types.void(tile, types.uintp, panel), codegen


def _wide(vec_of):
    """Return the intrinsics that load and store a panel at slots of a gradient."""

    @intrinsic
    def load_slots(typingctx, gradient, slots, k, tile):
        vec = vec_of(tile)
        panel = types.UniTuple(vec, ROWS)

        def codegen(context, builder, sig, args):
            values = []
            for r in range(ROWS):
                slot = builder.add(builder.extract_value(args[1], r), args[2])
                pointer = builder.gep(args[0], [slot])
                values.append(load_vector(context, builder, pointer, vec, 4))
            return context.make_tuple(builder, panel, values)

        return panel(gradient, slots, types.uintp, tile), codegen

    @intrinsic
    def load_columns(typingctx, transposed, element, tile):
        vec = vec_of(tile)

        def codegen(context, builder, sig, args):
            pointer = builder.gep(args[0], [args[1]])
            return load_vector(context, builder, pointer, vec, 4)

        return vec(transposed, types.uintp, tile), codegen

    return load_slots, load_columns


load_slots, load_columns = _wide(lambda tile: Vec(tile.dtype, tile.lanes))
load_slots_narrow, load_columns_narrow = _wide(
    lambda tile: Vec(tile.dtype, 512 // tile.dtype.bitwidth)
)


@intrinsic
def store_slots(typingctx, gradient, slots, k, panel):
    """gradient[slots[r] + k ...] = panel[r] for every r."""

    def codegen(context, builder, sig, args):
        for r in range(ROWS):
            slot = builder.add(builder.extract_value(args[1], r), args[2])
            pointer = builder.gep(args[0], [slot])
            store_vector(builder, builder.extract_value(args[3], r), pointer, 4)
        return context.get_dummy_value()

    return types.void(gradient, slots, types.uintp, panel), codegen


@intrinsic
def add_outer(typingctx, panel, tile, first, lane, columns):
    """Return panel[r] + tile[first + r][lane] * columns for every r."""
    vec = panel.dtype

    def codegen(context, builder, sig, args):
        old, tile_, first_, lane_, vector = args
        zero, result = ir.Constant(ir.IntType(64), 0), []
        for r in range(ROWS):
            row = builder.add(first_, ir.Constant(first_.type, r))
            pointer = builder.gep(tile_, [row])
            cells = builder.gep(pointer, [zero, lane_])
            value = repeat(builder, vector.type, builder.load(cells))
            acc = builder.extract_value(old, r)
            result.append(call_llvm(context, builder, "fmuladd", vec, [value, vector, acc]))
        return context.make_tuple(builder, panel, result)

    return panel(panel, tile, types.uintp, types.uintp, vec), codegen


@jit
def products(program, weights, tile):
    """Return the panel's sums over its runs of w_rk tile[k]."""
    panel = sums(tile)
    run = offset(program, u(HEADER))
    for _ in range(u(program[u(N_RUNS)])):
        first, slots = u(run[u(FIRST)]), starts(run)
        for k in range(u(run[u(LENGTH)])):
            panel = add_products(panel, weights, slots, k, load(tile, first + k))
        run = offset(run, u(RUN_WORDS))
    return panel


def panel_sums(program, weights, tile, out):
    """out[r] <- the panel's sums over its runs of w_rk tile[k]."""
    store_panel(out, u(0), products(program, weights, tile))


def transpose_row(tile, row, transposed, stride):
    """transposed[b, row] <- tile[row][b]: the gradient's sum over samples wants them in order."""
    cells = row_pointer(tile, row)
    for b in range(lanes(tile)):
        transposed[b * stride + row] = cells[b]


def outer_products(program, first, x, transposed, stride, gradient):
    """gradient[r, k] += sum_b x[first + r][b] delta[k][b] over the panel's runs.

    A panel of rows by a tile's width of columns stays in registers for all samples; what is left
    of a run goes by 64 bytes, of which its length is a multiple.
    """
    width, narrow = lanes(x), chunk_lanes(gradient)
    run = offset(program, u(HEADER))
    for _ in range(u(program[u(N_RUNS)])):
        column, length, slots = u(run[u(FIRST)]), u(run[u(LENGTH)]), starts(run)
        k = u(0)
        while k + width <= length:
            panel = load_slots(gradient, slots, k, x)
            for b in range(width):
                deltas = load_columns(transposed, b * stride + column + k, x)
                panel = add_outer(panel, x, first, b, deltas)
            store_slots(gradient, slots, k, panel)
            k += width
        while k + narrow <= length:
            block = load_slots_narrow(gradient, slots, k, x)
            for b in range(width):
                deltas_ = load_columns_narrow(transposed, b * stride + column + k, x)
                block = add_outer(block, x, first, b, deltas_)
            store_slots(gradient, slots, k, block)
            k += narrow
        run = offset(run, u(RUN_WORDS))


@intrinsic
def copy_slots(typingctx, target, slots, k, source, element):
    """target[slots[r] + k] = source[element + r] for every r."""

    def codegen(context, builder, sig, args):
        for r in range(ROWS):
            one = builder.add(args[4], ir.Constant(args[4].type, r))
            slot = builder.add(builder.extract_value(args[1], r), args[2])
            value = builder.load(builder.gep(args[3], [one]))
            builder.store(value, builder.gep(args[0], [slot]))
        return context.get_dummy_value()

    return types.void(target, slots, types.uintp, source, types.uintp), codegen


def copy_panel(program, flat, values, in_slot):
    """Copy in place: flat <- values, for the edges in a panel's runs."""
    run = offset(program, u(HEADER))
    for _ in range(u(program[u(N_RUNS)])):
        slots = starts(run)
        first = u(run[u(START)])
        for k in range(u(run[u(LENGTH)])):
            copy_slots(flat, slots, k, values, u(in_slot[first + k]))
        run = offset(run, u(RUN_WORDS))


def compile_panels(dtype, row_bytes):
    """Return `panel_sums`, `outer_products`, `transpose_row` and `copy_panel`, compiled."""
    scalar = types.float32 if dtype == np.float32 else types.float64
    tile, real = Tile(scalar, row_bytes * 8 // scalar.bitwidth), types.CPointer(scalar)
    program, size = types.CPointer(types.int64), types.uintp
    signatures = {
        panel_sums: (program, real, tile, tile),
        outer_products: (program, size, tile, real, size, real),
        transpose_row: (tile, size, real, size),
        copy_panel: (program, real, real, program),
    }
    return tuple(
        compile_callback(function, signature(types.void, *args), fastmath=FAST)
        for function, args in signatures.items()
    )
