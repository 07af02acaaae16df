"""Edges one by one, gathered: sums over in-edges forward, over out-edges back.

Per edge and tile row of 256 bytes: forward one load and one multiply-add a register; backward one
load serves both products. `benchmarks/training_step.py` prints the rates beside the machine's
limit. A *program* names runs of slots that a dense panel does instead; see `dense`.
"""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels.sums import add_four, total, totals
from dagbp._kernels.vector import PANEL_ROWS, fma, load, offset

u = np.uintp  # signed rows make Numba emit negative-index code for every access

# Layout of a program of int64: the number of runs, then for each run its first row on the other
# side, its length, and the slot of each panel row's first weight.
N_RUNS, HEADER = 0, 1
FIRST, LENGTH, START, RUN_WORDS = 0, 1, 2, 2 + PANEL_ROWS


@jit(forceinline=True)
def edges_in(net, j, program, r, x, s):
    """Return s + sum_{i->j} w_ij x_i over the in-edges outside the runs of panel row r."""
    n_runs = u(program[u(N_RUNS)])
    run = offset(program, u(HEADER))
    first = u(net.in_ptr[j])
    for m in range(n_runs + u(1)):
        last = u(run[u(START) + r]) if m < n_runs else u(net.in_ptr[j + u(1)])
        for k in range(first, last):
            s = fma(net.flat[k], load(x, u(net.in_src[k])), s)
        if m < n_runs:
            first = last + u(run[u(LENGTH)])
            run = offset(run, u(RUN_WORDS))
    return s


@jit(forceinline=True)  # for inputs the sum is not used, and so not computed
def edges_out(net, i, program, r, x, d, de_dx, gradient):
    """Return de_dx + sum_{i->j} w_ij delta_j and add <x_i, delta_j> to gradient[ij].

    Over the out-edges outside the runs of panel row r. Four edges at a time share their
    horizontal sums, which take half of the work for one at a time.
    """
    n_runs = u(program[u(N_RUNS)])
    run = offset(program, u(HEADER))
    first = u(net.out_ptr[i])
    xi = load(x, i)
    for m in range(n_runs + u(1)):
        last = u(run[u(START) + r]) if m < n_runs else u(net.out_ptr[i + u(1)])
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
        if m < n_runs:
            first = last + u(run[u(LENGTH)])
            run = offset(run, u(RUN_WORDS))
    return de_dx
