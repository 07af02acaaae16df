"""Sparse edges: each edge reads its row of the tile by index.

Forward, a row sums over its in-edges; backward, over its out-edges. Forward, an edge takes one load
and one multiply-add for each register of a tile's row. Backward, one load serves two products: the
sum and the gradient. `python -m benchmarks limits` prints the rate of edges beside the machine's
limit.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._compiler.decorators import jit
from dagbp._kernels.vectors.arithmetic import call_llvm, fma
from dagbp._kernels.vectors.sums import add_vector, all_totals, few_lanes, register_lanes, total
from dagbp._kernels.vectors.vector import (
    Vec,
    element,
    load,
    load_element,
    load_vector,
    repeat,
    size_by_type,
    zeros_by_type,
)
from dagbp._machine import FMAS_IN_FLIGHT, REGISTER_BYTES

u = np.uintp


def _n_chains(tile):
    """Return the number of independent sums, which hide the latency of multiply-adds."""
    per_row = max(1, tile.lanes * tile.dtype.bitwidth // 8 // REGISTER_BYTES)
    return max(1, min(4, FMAS_IN_FLIGHT // per_row))


# The number of chains, and zeros: a vector as wide as the tile's rows for each chain.
chain_count = size_by_type(_n_chains)
chains = zeros_by_type(lambda tile: types.UniTuple(Vec(tile.dtype, tile.lanes), _n_chains(tile)))


def _edge_row(context, builder, tile, rows, tile_, rows_, slot, c):
    """Return tile[rows[slot + c]] as a vector, and slot + c."""
    k = builder.add(slot, ir.Constant(slot.type, c))
    row = builder.zext(load_element(context, builder, rows, rows_, k), k.type)
    pointer = element(context, builder, tile, tile_, row)
    return load_vector(context, builder, pointer, Vec(tile.dtype, tile.lanes), 64), k


def _edge_weight(context, builder, vector, weights, weights_, k):
    """Return weights[k] in every lane of a vector."""
    return repeat(builder, vector.type, load_element(context, builder, weights, weights_, k))


@intrinsic
def add_edges(typingctx, sums, weights, rows, slot, tile):
    """Return sums[c] + weights[slot + c] * tile[rows[slot + c]] for every chain c."""

    def codegen(context, builder, sig, args):
        old, weights_, rows_, slot_, tile_ = args
        result = []
        for c in range(sums.count):
            vector, k = _edge_row(context, builder, tile, rows, tile_, rows_, slot_, c)
            weight = _edge_weight(context, builder, vector, weights, weights_, k)
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


def _together(count_of):
    """Return three intrinsics that process several edges at once.

    These are the number of edges, which `count_of` returns for a vector type; the sum and inner
    products of the edges; and the inner products alone.
    """

    @intrinsic
    def inner_products(typingctx, xi, targets, slot, d):
        result = Vec(xi.dtype, count_of(xi))

        def codegen(context, builder, sig, args):
            xi_, targets_, slot_, d_ = args

            def product(c):
                delta, _ = _edge_row(context, builder, d, targets, d_, targets_, slot_, c)
                return builder.fmul(xi_, delta)

            return all_totals(builder, xi, product, count_of(xi))

        return result(xi, targets, types.uintp, d), codegen

    @intrinsic
    def back(typingctx, de_dx, xi, weights, targets, slot, d):
        result = types.Tuple([de_dx, Vec(xi.dtype, count_of(xi))])
        n_chains = max(1, _n_chains(d) // 2)

        def codegen(context, builder, sig, args):
            s, xi_, weights_, targets_, slot_, d_ = args
            sums = [s] + [ir.Constant(s.type, None)] * (n_chains - 1)

            def product(c):
                delta, k = _edge_row(context, builder, d, targets, d_, targets_, slot_, c)
                weight = _edge_weight(context, builder, delta, weights, weights_, k)
                terms = [weight, delta, sums.pop(0)]  # the oldest sum
                sums.append(call_llvm(context, builder, "fmuladd", xi, terms))
                return builder.fmul(xi_, delta)

            totals = all_totals(builder, xi, product, count_of(xi))
            while len(sums) > 1:
                sums.append(builder.fadd(sums.pop(0), sums.pop(0)))
            return context.make_tuple(builder, result, [sums[0], totals])

        return result(de_dx, xi, weights, targets, types.uintp, d), codegen

    return size_by_type(count_of), back, inner_products


# Several edges share their horizontal sums, at half the work for each edge or less.
# *_count(d): the number n of edges.
# *_back: de_dx + the sum of w_ij delta_j over n slots, and the n inner products <x_i, delta_j>, one
# in each lane. The sum has several chains if a row is so short that multiply-adds would wait.
# *_products: the inner products alone.
many_count, many_back, many_products = _together(register_lanes)
few_count, few_back, few_products = _together(few_lanes)


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
    """Over the slots ij = first ... last - 1: gradient[ij] += <x_i, delta_j>.

    Return de_dx + sum_{i->j} w_ij delta_j over the same slots if `summed`, else de_dx.
    """
    many, few = many_count(d), few_count(d)
    whole = first + (last - first) // many * many
    rest = whole + (last - whole) // few * few
    if summed:
        for k in range(first, whole, many):
            de_dx, sums = many_back(de_dx, xi, weights, targets, k, d)
            add_vector(gradient, k, sums)
        for k in range(whole, rest, few):
            de_dx, few_sums = few_back(de_dx, xi, weights, targets, k, d)
            add_vector(gradient, k, few_sums)
    else:
        for k in range(first, whole, many):
            add_vector(gradient, k, many_products(xi, targets, k, d))
        for k in range(whole, rest, few):
            add_vector(gradient, k, few_products(xi, targets, k, d))
    for k in range(rest, last):
        dk = load(d, u(targets[k]))
        if summed:
            de_dx = fma(weights[k], dk, de_dx)
        gradient[k] += total(xi * dk)
    return de_dx
