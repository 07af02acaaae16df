"""Dense panels: register blocking for fully connected blocks.

A *panel* is `PANEL_ROWS` consecutive rows of one level with the same *runs*; see
`dagbp._layout.panels`. A run is a stretch of consecutive rows on the other side, and each panel row
has edges to all of them. The kernels here compute all rows of a panel together and keep their sums
in registers, so each row of the tile is loaded once for the whole panel. Within a run, the weights
of panel row r are consecutive from slot `start[r]`. The sparse kernels read the same arrays; only
the order of work differs.

C kernels: a net without panels never compiles them.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._compiler.decorators import FAST, jit
from dagbp._kernels.frames import FIRST, HEADER, LENGTH, N_RUNS, RUN_WORDS, START
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.arithmetic import call_llvm, fma
from dagbp._kernels.vectors.transpose import copy_square, new_starts, side
from dagbp._kernels.vectors.vector import (
    CHUNK_BYTES,
    ONE,
    ZERO,
    Vec,
    chunk_lanes,
    element,
    fill,
    given,
    greatest,
    lanes,
    least,
    load,
    load_element,
    load_vector,
    offset,
    repeat,
    row_pointer,
    size_by_type,
    slot_at,
    store,
    store_vector,
    zeros_by_type,
)
from dagbp._machine import COPY_WINDOW, PART_BYTES
from dagbp._machine import PANEL_ROWS as ROWS

u = np.uintp
TWO, THREE = u(2), u(3)
PART_ALIGN = min(64, PART_BYTES)
LEAVES_REST = PART_BYTES > CHUNK_BYTES  # the length of a run is a multiple of CHUNK_BYTES
WINDOW = u(COPY_WINDOW)


def _part_vec(tile):
    return Vec(tile.dtype, min(tile.lanes, PART_BYTES * 8 // tile.dtype.bitwidth))


def _part_pointer(context, builder, tile, tile_, row, part):
    """Return a pointer to the first lane of a part of a row."""
    lane = builder.mul(part, ir.Constant(part.type, _part_vec(tile).lanes))
    return element(context, builder, tile, tile_, row, lane)


# The number of parts of a tile's row. `products` sums one part at once.
parts = size_by_type(lambda tile: tile.lanes // _part_vec(tile).lanes)


@intrinsic
def load_part(typingctx, tile, row, part):
    """Return a part of a row as a vector."""
    vec = _part_vec(tile)

    def codegen(context, builder, sig, args):
        pointer = _part_pointer(context, builder, tile, *args)
        return load_vector(context, builder, pointer, vec, PART_ALIGN)

    return vec(tile, types.uintp, types.uintp), codegen


# A panel of zeros, as wide as a part of the tile's rows.
sums = zeros_by_type(lambda tile: types.UniTuple(_part_vec(tile), ROWS))


@intrinsic
def starts(typingctx, run):
    """Return the slot of a run's first weight for each panel row."""
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
    """tile[r][part] = panel[r] for every r."""

    def codegen(context, builder, sig, args):
        tile_, part_, panel_ = args
        for r in range(ROWS):
            row = ir.Constant(part_.type, r)
            pointer = _part_pointer(context, builder, tile, tile_, row, part_)
            store_vector(builder, builder.extract_value(panel_, r), pointer, PART_ALIGN)
        return context.get_dummy_value()

    return types.void(tile, types.uintp, panel), codegen


def _columns(n_bytes):
    """Return the type of a panel that is `n_bytes` wide, as a function of the gradient's."""
    return lambda g: types.UniTuple(Vec(g.dtype, n_bytes * 8 // g.dtype.bitwidth), ROWS)


no_columns = zeros_by_type(_columns(PART_BYTES))
no_columns_narrow = zeros_by_type(_columns(CHUNK_BYTES))


@intrinsic
def load_slots(typingctx, gradient, slots, k, panel):
    """Return gradient[slots[r] + k ...] for every r, as a panel."""

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
    """Return deltas[first ...], as wide as a row of the panel."""

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


@c_function("i64*, real*, tile, tile", fastmath=FAST)
def panel_sums(program, weights, tile, out):
    """out[r] <- the panel's sums over its runs of w_rk tile[k]."""
    for part in range(parts(tile)):
        store_panel(out, part, products(program, weights, tile, part))


@c_function("tile, i64*, size, size, real*, size", fastmath=FAST)
def transpose_rows(tile, column, first, last, transposed, stride):
    """transposed[b, j] <- tile[j][b] for the rows j = first ... last - 1 with column[j] != 0.

    `outer_products` sums over the samples b, and reads the rows j of one sample together.
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
            together += ONE  # skips the row that ended the loop above, if one did
        j += together


@jit(forceinline=True)
def block_products(block, slots, k, first, x, n_nodes, deltas, stride, tiles, gradient, fresh):
    """gradient[slots[r] + k ...] += sum_b x[first + r][b] deltas[b stride ...]; `=` if fresh.

    Summed over the samples b of all tiles. block: a panel of zeros.
    """
    if fresh == ZERO:
        block = load_slots(gradient, slots, k, block)
    for _ in range(tiles):
        for b in range(lanes(x)):
            columns = load_columns(deltas, b * stride, block)
            block = add_outer(block, x, first, b, columns)
        x, deltas = offset(x, n_nodes), offset(deltas, stride * lanes(x))
    store_slots(gradient, slots, k, block)


@c_function("i64*, size, tile, size, real*, size, size, real*, size", fastmath=FAST)
def outer_products(program, first, x, n_nodes, deltas, stride, tiles, gradient, fresh):
    """gradient[r, k] += sum_b x[first + r][b] delta[k][b] over the panel's runs.

    With `=` instead of `+=` if fresh.

    Summed over the samples b of all tiles. Register blocking: the gradient of a panel of rows by a
    block of columns k stays in registers for all samples. The rest of a run takes blocks of 64
    bytes. deltas (b, k): of all tiles, transposed.
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


@c_function("i64*, size, real*, real*, u32*, i64*", fastmath=FAST)
def copy_patches(patches, count, flat, values, in_slot, wide_slot):
    """Copy in place: flat <- values, at the slots of `count` patches; see `dagbp._layout.refresh`.

    Cache blocking: all patches copy one window of sources before the next window, so that the
    cache lines of the window are read from memory once. If the number of targets is a power of
    two, the lines evict each other, and more of them if the window is wider.
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


@c_function("i64*, size, real*, real*, u32*, i64*", fastmath=FAST)
def copy_ranges(ranges, count, flat, values, in_slot, wide_slot):
    """Copy in place: flat <- values, at the slots of `count` ranges [first, last)."""
    for q in range(count):
        copy_range(flat, values, in_slot, wide_slot, u(ranges[TWO * q]), u(ranges[TWO * q + ONE]))


@jit
def copy_range(flat, values, in_slot, wide_slot, first, last):
    """Copy in place: flat <- values, at the slots first ... last - 1."""
    if given(in_slot):
        for k in range(first, last):
            flat[k] = values[u(in_slot[k])]
    else:
        for k in range(first, last):
            flat[k] = values[u(wide_slot[k])]


@c_function("real*, i32*, u8*, size, size, tile, tile", fastmath=FAST)
def edge_sum(weights, rows, is_edge, first, last, tile, out):
    """out[0] <- sum_k w_k tile[rows[k]] over the slots k = first ... last - 1 with is_edge[k] != 0.

    Replaces a sum that is NaN: 0 * inf of an explicit zero may have caused it.
    """
    s = fill(tile, 0)
    for k in range(first, last):
        if is_edge[k] != 0:
            s = fma(weights[k], load(tile, u(rows[k])), s)
    store(out, ZERO, s)


# `NetFrame` has the address of each, in the field of the same name.
PANEL_KERNELS = panel_sums, outer_products, transpose_rows, copy_patches, edge_sum
