"""Fully connected blocks over the same tile: a panel of rows at once, its sums in registers.

A *panel* is a few consecutive rows of one level whose edges include the same runs of consecutive
rows on the other side; see `dagbp._panels`. Within a run, row r's weights are consecutive from
slot `start[r]`, so the arrays stay those of the sparse kernels and only the order of work changes:
each load of a tile row serves the whole panel.

The functions at this end are called by address: a net without panels never compiles them.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from dagbp._compiler.decorators import FAST, compile_callback, jit
from dagbp._kernels.frames import FIRST, HEADER, LENGTH, N_RUNS, RUN_WORDS, START
from dagbp._kernels.vectors.transpose import copy_square, new_starts, side
from dagbp._kernels.vectors.vector import (
    CHUNK_BYTES,
    ONE,
    ZERO,
    Tile,
    Vec,
    call_llvm,
    chunk_lanes,
    element,
    fill,
    fma,
    greatest,
    lanes,
    least,
    load,
    load_element,
    load_vector,
    offset,
    repeat,
    row_pointer,
    slot_at,
    store,
    store_vector,
)
from dagbp._machine import PANEL_ROWS as ROWS
from dagbp._machine import PART_BYTES

u = np.uintp
TWO, THREE = u(2), u(3)
PART_ALIGN = min(64, PART_BYTES)
LEAVES_REST = PART_BYTES > CHUNK_BYTES  # runs are multiples of the latter
WINDOW = u(256)  # sources, in `copy_patches`: the fastest of 16 ... 1,024


def _part_vec(tile):
    return Vec(tile.dtype, min(tile.lanes, PART_BYTES * 8 // tile.dtype.bitwidth))


def _part_pointer(context, builder, tile, tile_, row, part):
    """Return a pointer to the first lane of a part of a row."""
    lane = builder.mul(part, ir.Constant(part.type, _part_vec(tile).lanes))
    return element(context, builder, tile, tile_, row, lane)


@intrinsic
def parts(typingctx, tile):
    """Return in how many parts the rows of a tile are summed, a compile-time constant."""
    constant = ir.Constant(ir.IntType(64), tile.lanes // _part_vec(tile).lanes)
    return types.uintp(tile), lambda context, builder, sig, args: constant


@intrinsic
def load_part(typingctx, tile, row, part):
    """Return a part of a row as a vector."""
    vec = _part_vec(tile)

    def codegen(context, builder, sig, args):
        pointer = _part_pointer(context, builder, tile, *args)
        return load_vector(context, builder, pointer, vec, PART_ALIGN)

    return vec(tile, types.uintp, types.uintp), codegen


@intrinsic
def sums(typingctx, tile):
    """Return a panel of vectors as wide as a part of the tile's rows, all zero."""
    panel = types.UniTuple(_part_vec(tile), ROWS)

    def codegen(context, builder, sig, args):
        return cgutils.get_null_value(context.get_value_type(panel))

    return panel(tile), codegen


@intrinsic
def starts(typingctx, run):
    """Return the slots of a run's first weights, one a panel row."""
    result = types.UniTuple(types.uintp, ROWS)

    def codegen(context, builder, sig, args):
        words = [ir.Constant(ir.IntType(64), int(START) + r) for r in range(ROWS)]
        slots = [load_element(context, builder, run, args[0], word) for word in words]
        return context.make_tuple(builder, result, slots)

    return result(run), codegen


@intrinsic
def add_products(typingctx, panel, weights, slots, k, row):
    """Return panel[r] + weights[slots[r] + k] * row for every r."""

    def codegen(context, builder, sig, args):
        old, weights_, slots_, k_, vector = args
        result = []
        for r in range(ROWS):
            slot = builder.add(builder.extract_value(slots_, r), k_)
            weight = load_element(context, builder, weights, weights_, slot)
            weight = repeat(builder, vector.type, weight)
            acc = builder.extract_value(old, r)
            result.append(call_llvm(context, builder, "fmuladd", row, [weight, vector, acc]))
        return context.make_tuple(builder, panel, result)

    return panel(panel, weights, slots, types.uintp, row), codegen


@intrinsic
def store_panel(typingctx, tile, part, panel):
    """Write a panel to a part of the first rows of a tile."""

    def codegen(context, builder, sig, args):
        tile_, part_, panel_ = args
        for r in range(ROWS):
            row = ir.Constant(part_.type, r)
            pointer = _part_pointer(context, builder, tile, tile_, row, part_)
            store_vector(builder, builder.extract_value(panel_, r), pointer, PART_ALIGN)
        return context.get_dummy_value()

    return types.void(tile, types.uintp, panel), codegen


def _no_columns(n_bytes):
    """Return the intrinsic for a panel of vectors of so many bytes, all zero."""

    @intrinsic
    def no_columns(typingctx, gradient):
        vec = Vec(gradient.dtype, n_bytes * 8 // gradient.dtype.bitwidth)
        panel = types.UniTuple(vec, ROWS)

        def codegen(context, builder, sig, args):
            return cgutils.get_null_value(context.get_value_type(panel))

        return panel(gradient), codegen

    return no_columns


no_columns, no_columns_narrow = _no_columns(PART_BYTES), _no_columns(CHUNK_BYTES)


@intrinsic
def load_slots(typingctx, gradient, slots, k, panel):
    """Return gradient[slots[r] + k ...] for every r, as wide as a panel."""

    def codegen(context, builder, sig, args):
        values = []
        for r in range(ROWS):
            slot = builder.add(builder.extract_value(args[1], r), args[2])
            pointer = element(context, builder, gradient, args[0], slot)
            values.append(load_vector(context, builder, pointer, panel.dtype, 4))
        return context.make_tuple(builder, panel, values)

    return panel(gradient, slots, types.uintp, panel), codegen


@intrinsic
def load_columns(typingctx, deltas, first, panel):
    """Return deltas[first ...] as a vector of a panel."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, deltas, *args[:2])
        return load_vector(context, builder, pointer, panel.dtype, 4)

    return panel.dtype(deltas, types.uintp, panel), codegen


@intrinsic
def store_slots(typingctx, gradient, slots, k, panel):
    """gradient[slots[r] + k ...] = panel[r] for every r."""

    def codegen(context, builder, sig, args):
        for r in range(ROWS):
            slot = builder.add(builder.extract_value(args[1], r), args[2])
            pointer = element(context, builder, gradient, args[0], slot)
            store_vector(builder, builder.extract_value(args[3], r), pointer, 4)
        return context.get_dummy_value()

    return types.void(gradient, slots, types.uintp, panel), codegen


@intrinsic
def add_outer(typingctx, panel, tile, first, lane, columns):
    """Return panel[r] + tile[first + r][lane] * columns for every r."""
    vec = panel.dtype

    def codegen(context, builder, sig, args):
        old, tile_, first_, lane_, vector = args
        result = []
        for r in range(ROWS):
            row = builder.add(first_, ir.Constant(first_.type, r))
            pointer = element(context, builder, tile, tile_, row, lane_)
            value = repeat(builder, vector.type, builder.load(pointer, typ=vector.type.element))
            acc = builder.extract_value(old, r)
            result.append(call_llvm(context, builder, "fmuladd", vec, [value, vector, acc]))
        return context.make_tuple(builder, panel, result)

    return panel(panel, tile, types.uintp, types.uintp, vec), codegen


@jit
def products(program, weights, tile, part):
    """Return a part of the panel's sums over its runs of w_rk tile[k]."""
    panel = sums(tile)
    run = offset(program, HEADER)
    for _ in range(u(program[N_RUNS])):
        first, slots = u(run[FIRST]), starts(run)
        for k in range(u(run[LENGTH])):
            panel = add_products(panel, weights, slots, k, load_part(tile, first + k, part))
        run = offset(run, RUN_WORDS)
    return panel


def panel_sums(program, weights, tile, out):
    """out[r] <- the panel's sums over its runs of w_rk tile[k]."""
    for part in range(parts(tile)):
        store_panel(out, part, products(program, weights, tile, part))


def transpose_rows(tile, column, first, last, transposed, stride):
    """transposed[b, j] <- tile[j][b] for the rows j = first ... last - 1 of which column[j] is set.

    The gradient's sum over samples wants them in order.
    """
    cells, width = row_pointer(tile, ZERO), lanes(tile)
    part, starts = side(transposed), new_starts(transposed)
    j = first
    while j < last:
        together = ZERO
        while together < part and j + together < last and column[j + together] != ZERO:
            starts[together] = (j + together) * width
            together += ONE
        if together == part:
            for b in range(ZERO, width, part):
                copy_square(cells, starts, b, transposed, b * stride + j, stride)
        else:
            for i in range(j, j + together):
                for b in range(width):
                    transposed[b * stride + i] = cells[i * width + b]
            together += ONE  # with the row that stopped it, if any
        j += together


@jit(forceinline=True)
def block_products(block, slots, k, first, x, n_nodes, deltas, stride, tiles, gradient, fresh):
    """gradient[slots[r] + k ...] += sum_b x[first + r][b] deltas[b stride ...]; = if fresh.

    Over the samples of all tiles. block: zeros, as wide as the block of columns.
    """
    if fresh == ZERO:
        block = load_slots(gradient, slots, k, block)
    for _ in range(tiles):
        for b in range(lanes(x)):
            columns = load_columns(deltas, b * stride, block)
            block = add_outer(block, x, first, b, columns)
        x, deltas = offset(x, n_nodes), offset(deltas, stride * lanes(x))
    store_slots(gradient, slots, k, block)


def outer_products(program, first, x, n_nodes, deltas, stride, tiles, gradient, fresh):
    """gradient[r, k] += sum_b x[first + r][b] delta[k][b] over the panel's runs; = if fresh.

    Over the samples of all tiles: a panel of rows by a block of columns stays in registers for all
    of them. What is left of a run goes by 64 bytes, of which its length is a multiple.
    deltas[b, k]: by sample, all tiles.
    """
    narrow = chunk_lanes(gradient)
    width = narrow * u(PART_BYTES) // u(CHUNK_BYTES)
    run = offset(program, HEADER)
    for _ in range(u(program[N_RUNS])):
        length, slots = u(run[LENGTH]), starts(run)
        columns = offset(deltas, u(run[FIRST]))
        k = ZERO
        while k + width <= length:
            args = (first, x, n_nodes, offset(columns, k), stride, tiles, gradient, fresh)
            block_products(no_columns(gradient), slots, k, *args)
            k += width
        if LEAVES_REST:
            while k + narrow <= length:
                args = (first, x, n_nodes, offset(columns, k), stride, tiles, gradient, fresh)
                block_products(no_columns_narrow(gradient), slots, k, *args)
                k += narrow
        run = offset(run, RUN_WORDS)


def copy_patches(patches, count, flat, values, in_slot, wide_slot):
    """Copy in place: flat <- values, the slots of so many patches; see `dagbp._copies`.

    They take turns at a window of sources, whose lines stay near meanwhile. With as many targets as
    a power of two lines evict each other, the more the wider the window.
    """
    rows, part, starts = chunk_lanes(flat), side(flat), new_starts(flat)
    longest = ZERO
    for q in range(count):
        longest = greatest(longest, u(patches[THREE * q + TWO]))
    for window in range(ZERO, longest, WINDOW):
        for q in range(count):
            slot, stride = u(patches[THREE * q]), u(patches[THREE * q + ONE])
            stop = least(window + WINDOW, u(patches[THREE * q + TWO]))
            k = window
            while k + part <= stop:
                for c in range(part):
                    starts[c] = slot_at(in_slot, wide_slot, slot + k + c)
                for r in range(ZERO, rows, part):
                    copy_square(values, starts, r, flat, slot + k + r * stride, stride)
                k += part
            while k < stop:
                first = slot_at(in_slot, wide_slot, slot + k)
                for r in range(rows):
                    flat[slot + k + r * stride] = values[first + r]
                k += ONE


def edge_sum(weights, rows, is_edge, first, last, tile, out):
    """out[0] <- the sum of w_k tile[rows[k]] over the slots first ... last - 1 that are kept.

    Where 0 * inf of a held zero would make NaN of a sum.
    """
    s = fill(tile, 0)
    for k in range(first, last):
        if is_edge[k] != 0:
            s = fma(weights[k], load(tile, u(rows[k])), s)
    store(out, ZERO, s)


def compile_panels(dtype, row_bytes):
    """Return the functions that `Net` has addresses of, compiled, by name."""
    scalar = types.float32 if dtype == np.float32 else types.float64
    tile, real = Tile(scalar, row_bytes * 8 // scalar.bitwidth), types.CPointer(scalar)
    program, size, rows = types.CPointer(types.int64), types.uintp, types.CPointer(types.int32)
    narrow, is_edge = types.CPointer(types.uint32), types.CPointer(types.uint8)
    arguments = {
        panel_sums: (program, real, tile, tile),
        outer_products: (program, size, tile, size, real, size, size, real, size),
        transpose_rows: (tile, program, size, size, real, size),
        copy_patches: (program, size, real, real, narrow, program),
        edge_sum: (real, rows, is_edge, size, size, tile, tile),
    }
    return {
        function.__name__: compile_callback(function, signature(types.void, *types_), fastmath=FAST)
        for function, types_ in arguments.items()
    }
