"""One thread, one tile, every node: sums over in-edges forward, over out-edges back. Gather only.

Per edge and tile row of 256 bytes: forward one load and one multiply-add a register; backward one
load serves both products. `benchmarks/kernels.py` prints the rates beside the machine's limits.
"""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels.vector import (
    add_four,
    call_address,
    fill,
    fma,
    lanes,
    load,
    offset,
    row_pointer,
    store,
    total,
    totals,
)

u = np.uintp  # signed rows make Numba emit negative-index code for every access


@jit
def forward(net, x, d):
    """s_j = w_0j + sum_{i->j} w_ij x_i into d, x_j = theta_j(s_j) into x, in topological order.

    x, d: tiles of n rows; x holds the inputs' features.
    """
    bias = offset(net.values, net.n_edges)
    for j in range(net.n_inputs, net.n_nodes):
        s = fill(x, bias[j - net.n_inputs])
        for k in range(u(net.in_ptr[j]), u(net.in_ptr[j + u(1)])):
            s = fma(net.w_in[k], load(x, u(net.in_src[k])), s)
        store(d, j, s)
        call_address(net.theta[j], (row_pointer(d, j), row_pointer(x, j), lanes(x)))


@jit
def backward(net, x, d, e, scratch, gradient):
    """delta_i = theta'_i(s_i) [e_i + sum_{i->j} w_ij delta_j]; dw_ij += <x_i, delta_j>.

    In reverse topological order; d holds s and ends up holding delta. e: tile of de/dx of the
    outputs. gradient: weights in out-edge order, then biases. Inputs need no delta.
    """
    bias = offset(gradient, net.n_edges)
    i = net.n_nodes
    while i > net.n_inputs:
        i -= u(1)
        de_dx = fill(x, 0)
        if net.output_slot[i] >= 0:
            de_dx = load(e, u(net.output_slot[i]))
        de_dx = _both_products(net, i, x, d, de_dx, gradient)
        store(scratch, u(0), de_dx)
        s = delta = row_pointer(d, i)
        call_address(
            net.d_theta[i],
            (s, row_pointer(x, i), row_pointer(scratch, u(0)), delta, lanes(x)),
        )
        bias[i - net.n_inputs] += total(load(d, i))
    while i > u(0):
        i -= u(1)
        _weight_product(net, i, x, d, gradient)


@jit
def _both_products(net, i, x, d, de_dx, gradient):
    """Return de_dx + sum_{i->j} w_ij delta_j and add <x_i, delta_j> to gradient[ij].

    Four edges at a time share their horizontal sums: 90 against 50 GF/s for one at a time.
    """
    first, last = u(net.out_ptr[i]), u(net.out_ptr[i + u(1)])
    fours = first + (last - first) // u(4) * u(4)
    xi = load(x, i)
    for k in range(first, fours, u(4)):
        d0 = load(d, u(net.out_dst[k]))
        d1 = load(d, u(net.out_dst[k + u(1)]))
        d2 = load(d, u(net.out_dst[k + u(2)]))
        d3 = load(d, u(net.out_dst[k + u(3)]))
        de_dx = fma(net.values[k], d0, de_dx)
        de_dx = fma(net.values[k + u(1)], d1, de_dx)
        de_dx = fma(net.values[k + u(2)], d2, de_dx)
        de_dx = fma(net.values[k + u(3)], d3, de_dx)
        add_four(gradient, k, totals(xi * d0, xi * d1, xi * d2, xi * d3))
    for k in range(fours, last):
        dk = load(d, u(net.out_dst[k]))
        de_dx = fma(net.values[k], dk, de_dx)
        gradient[k] += total(xi * dk)
    return de_dx


@jit
def _weight_product(net, i, x, d, gradient):
    """gradient[ij] += <x_i, delta_j> over the out-edges of an input node."""
    first, last = u(net.out_ptr[i]), u(net.out_ptr[i + u(1)])
    fours = first + (last - first) // u(4) * u(4)
    xi = load(x, i)
    for k in range(first, fours, u(4)):
        d0 = load(d, u(net.out_dst[k]))
        d1 = load(d, u(net.out_dst[k + u(1)]))
        d2 = load(d, u(net.out_dst[k + u(2)]))
        d3 = load(d, u(net.out_dst[k + u(3)]))
        add_four(gradient, k, totals(xi * d0, xi * d1, xi * d2, xi * d3))
    for k in range(fours, last):
        gradient[k] += total(xi * load(d, u(net.out_dst[k])))
