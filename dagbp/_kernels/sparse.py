"""Edges one by one, gathered: sums over in-edges forward, over out-edges back.

Per edge and tile row of 256 bytes: forward one load and one multiply-add a register; backward one
load serves both products. `benchmarks/limits.py` prints the rates of row updates beside the
machine's limit.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from dagbp._jit import jit
from dagbp._kernels.sums import add_four, all_totals, register_lanes, total, totals
from dagbp._kernels.vector import (
    FOUR,
    REGISTER_BYTES,
    Vec,
    call_llvm,
    fma,
    load,
    load_vector,
    repeat,
    store_vector,
)

u = np.uintp


def _n_chains(tile):
    """Return how many sums run side by side, which hides the latency of multiply-adds.

    Eight registers of sums do: two multiply-adds a cycle, each of four cycles.
    """
    per_row = max(1, tile.lanes * tile.dtype.bitwidth // 8 // REGISTER_BYTES)
    return max(1, min(4, 8 // per_row))


@intrinsic
def chain_count(typingctx, tile):
    """Return the number of chains, a compile-time constant."""
    constant = ir.Constant(ir.IntType(64), _n_chains(tile))
    return types.uintp(tile), lambda context, builder, sig, args: constant


@intrinsic
def chains(typingctx, tile):
    """Return sums as wide as the tile's rows, all zero, to run side by side."""
    result = types.UniTuple(Vec(tile.dtype, tile.lanes), _n_chains(tile))

    def codegen(context, builder, sig, args):
        return cgutils.get_null_value(context.get_value_type(result))

    return result(tile), codegen


@intrinsic
def add_edges(typingctx, sums, weights, rows, slot, tile):
    """Return sums[c] + weights[slot + c] * tile[rows[slot + c]] for every chain c."""

    def codegen(context, builder, sig, args):
        old, weights_, rows_, slot_, tile_ = args
        result = []
        for c in range(sums.count):
            k = builder.add(slot_, ir.Constant(slot_.type, c))
            row = builder.zext(builder.load(builder.gep(rows_, [k])), slot_.type)
            vector = load_vector(context, builder, builder.gep(tile_, [row]), sums.dtype, 64)
            weight = repeat(builder, vector.type, builder.load(builder.gep(weights_, [k])))
            terms = [weight, vector, builder.extract_value(old, c)]
            result.append(call_llvm(context, builder, "fmuladd", sums.dtype, terms))
        return context.make_tuple(builder, sums, result)

    return sums(sums, weights, rows, types.uintp, tile), codegen


@intrinsic
def add_chains(typingctx, sums, s):
    """Return s + the sum of all chains."""

    def codegen(context, builder, sig, args):
        values = [builder.extract_value(args[0], c) for c in range(sums.count)]
        while len(values) > 1:
            values = [builder.fadd(*values[c : c + 2]) for c in range(0, len(values), 2)]
        return builder.fadd(args[1], values[0])

    return sums.dtype(sums, sums.dtype), codegen


@intrinsic
def four_rows(typingctx, tile, rows, slot):
    """Return the rows of a tile that four slots name."""
    result = types.UniTuple(Vec(tile.dtype, tile.lanes), 4)

    def codegen(context, builder, sig, args):
        vectors = []
        for c in range(4):
            k = builder.add(args[2], ir.Constant(args[2].type, c))
            row = builder.zext(builder.load(builder.gep(args[1], [k])), k.type)
            pointer = builder.gep(args[0], [row])
            vectors.append(load_vector(context, builder, pointer, result.dtype, 64))
        return context.make_tuple(builder, result, vectors)

    return result(tile, rows, types.uintp), codegen


@intrinsic
def add_four_rows(typingctx, s, weights, slot, vectors):
    """Return s + the sum of weights[slot + c] * vectors[c]."""

    def codegen(context, builder, sig, args):
        result, weights_, slot_, vectors_ = args
        for c in range(4):
            k = builder.add(slot_, ir.Constant(slot_.type, c))
            weight = repeat(builder, result.type, builder.load(builder.gep(weights_, [k])))
            terms = [weight, builder.extract_value(vectors_, c), result]
            result = call_llvm(context, builder, "fmuladd", s, terms)
        return result

    return s(s, weights, types.uintp, vectors), codegen


@intrinsic
def many(typingctx, tile):
    """Return how many edges share their horizontal sums, a compile-time constant."""
    constant = ir.Constant(ir.IntType(64), register_lanes(tile))
    return types.uintp(tile), lambda context, builder, sig, args: constant


def _many_back(summed):
    """Return the intrinsic for `many` edges back, with or without the sum for de_dx."""

    @intrinsic
    def back(typingctx, de_dx, xi, weights, targets, slot, d, gradient):
        def codegen(context, builder, sig, args):
            sums, xi_, weights_, targets_, slot_, d_, gradient_ = args
            chain = [sums] + [None] * (_n_chains(d) // 2 - 1)
            turn = 0

            def product(c):
                nonlocal turn
                k = builder.add(slot_, ir.Constant(slot_.type, c))
                row = builder.zext(builder.load(builder.gep(targets_, [k])), slot_.type)
                delta = load_vector(context, builder, builder.gep(d_, [row]), de_dx, 64)
                if summed:
                    w = repeat(builder, delta.type, builder.load(builder.gep(weights_, [k])))
                    old = chain[turn]
                    terms = [w, delta] if old is None else [w, delta, old]
                    if old is None:
                        chain[turn] = builder.fmul(*terms)
                    else:
                        chain[turn] = call_llvm(context, builder, "fmuladd", de_dx, terms)
                    turn = (turn + 1) % len(chain)
                return builder.fmul(xi_, delta)

            totals_ = all_totals(builder, de_dx, product)
            pointer, align = builder.gep(gradient_, [slot_]), gradient.dtype.bitwidth // 8
            lanes_ = Vec(de_dx.dtype, register_lanes(de_dx))
            old = load_vector(context, builder, pointer, lanes_, align)
            store_vector(builder, builder.fadd(old, totals_), pointer, align)
            chain = [value for value in chain if value is not None]
            while len(chain) > 1:
                chain.append(builder.fadd(chain.pop(0), chain.pop(0)))
            return chain[0]

        return de_dx(de_dx, xi, weights, targets, types.uintp, d, gradient), codegen

    return back


many_back, many_outer = _many_back(True), _many_back(False)


@jit(forceinline=True)
def gathered(first, last, weights, sources, x, s):
    """Return s + sum_{i->j} w_ij x_i over the slots first ... last - 1."""
    step = chain_count(x)
    several = first + (last - first) // step * step
    sums = chains(x)
    for k in range(first, several, step):
        sums = add_edges(sums, weights, sources, k, x)
    s = add_chains(sums, s)
    for k in range(several, last):
        s = fma(weights[k], load(x, u(sources[k])), s)
    return s


@jit(forceinline=True)
def edges_back(first, last, weights, targets, xi, d, de_dx, gradient, summed):
    """Return de_dx + sum_{i->j} w_ij delta_j, if summed, and add <x_i, delta_j> to gradient[ij].

    Over the slots first ... last - 1. Edges share their horizontal sums, which take half of the
    work for one at a time: `many` of them, then four.
    """
    whole = first + (last - first) // many(d) * many(d)
    if summed:
        for k in range(first, whole, many(d)):
            de_dx = many_back(de_dx, xi, weights, targets, k, d, gradient)
    else:
        for k in range(first, whole, many(d)):
            many_outer(de_dx, xi, weights, targets, k, d, gradient)
    fours = whole + (last - whole) // FOUR * FOUR
    for k in range(whole, fours, FOUR):
        deltas = four_rows(d, targets, k)
        if summed:  # LLVM makes two loops of it
            de_dx = add_four_rows(de_dx, weights, k, deltas)
        add_four(gradient, k, totals(xi, deltas))
    for k in range(fours, last):
        dk = load(d, u(targets[k]))
        if summed:
            de_dx = fma(weights[k], dk, de_dx)
        gradient[k] += total(xi * dk)
    return de_dx
