"""Edges one by one, gathered: sums over in-edges forward, over out-edges back.

Per edge and tile row of 256 bytes: forward one load and one multiply-add a register; backward one
load serves both products. `benchmarks/training_step.py` prints the rates beside the machine's
limit. A *program* names runs of slots that a dense panel does instead; see `dense`.
"""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels.vector import PANEL_ROWS, add_four, fma, load, offset, total, totals

u = np.uintp  # signed rows make Numba emit negative-index code for every access

# Layout of a program of int64: the number of runs, then for each run its first row on the other
# side, its length, and the slot of each panel row's first weight.
N_RUNS, HEADER = 0, 1
FIRST, LENGTH, START, RUN_WORDS = 0, 1, 2, 2 + PANEL_ROWS


@jit
def edges_in(net, j, program, r, x, s):
    """Return s + sum_{i->j} w_ij x_i over the in-edges outside the runs of panel row r."""
    slot = u(net.in_ptr[j])
    run = offset(program, u(HEADER))
    for _ in range(u(program[u(N_RUNS)])):
        start = u(run[u(START) + r])
        s = _sum_in(net, slot, start, x, s)
        slot = start + u(run[u(LENGTH)])
        run = offset(run, u(RUN_WORDS))
    return _sum_in(net, slot, u(net.in_ptr[j + u(1)]), x, s)


@jit
def _sum_in(net, first, last, x, s):
    for k in range(first, last):
        s = fma(net.flat[k], load(x, u(net.in_src[k])), s)
    return s


@jit
def edges_out(net, i, program, r, x, d, de_dx, gradient):
    """Return de_dx + sum_{i->j} w_ij delta_j and add <x_i, delta_j> to gradient[ij].

    Over the out-edges outside the runs of panel row r.
    """
    slot = u(net.out_ptr[i])
    run = offset(program, u(HEADER))
    xi = load(x, i)
    for _ in range(u(program[u(N_RUNS)])):
        start = u(run[u(START) + r])
        de_dx = _both_products(net, slot, start, xi, d, de_dx, gradient)
        slot = start + u(run[u(LENGTH)])
        run = offset(run, u(RUN_WORDS))
    return _both_products(net, slot, u(net.out_ptr[i + u(1)]), xi, d, de_dx, gradient)


@jit
def _both_products(net, first, last, xi, d, de_dx, gradient):
    """Four edges at a time share their horizontal sums: 90 against 50 GF/s for one at a time."""
    fours = first + (last - first) // u(4) * u(4)
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
