"""Sums and deltas of rows in a net with dense panels.

For each panel the dense kernels go first. Then each row adds its edges outside the panel's runs.

C kernels: a net without panels never compiles them.
"""

import numpy as np

from dagbp._compiler.decorators import FAST, jit
from dagbp._kernels.edges.sparse import edges_back, gathered
from dagbp._kernels.frames import HEADER, LENGTH, N_RUNS, RUN_WORDS, START, open_net, open_work
from dagbp._kernels.passes.timing import DENSE, SPARSE, tick
from dagbp._kernels.signatures import c_function
from dagbp._kernels.vectors.arithmetic import any_nan
from dagbp._kernels.vectors.vector import ONE, ZERO, call_address, fill, given, load, offset, store
from dagbp._machine import PANEL_ROWS

u = np.uintp
PANEL = u(PANEL_ROWS)


@jit(forceinline=True)
def _edges_in(first, end, weights, sources, program, r, x, s):
    """Return `gathered` over the slots first ... end - 1 outside the runs of panel row r.

    The edges after the last run are one more turn of the same loop, so its code is compiled once.
    """
    n_runs = u(program[N_RUNS])
    run = offset(program, HEADER)
    for m in range(n_runs + ONE):
        last = u(run[START + r]) if m < n_runs else end
        s = gathered(first, last, weights, sources, x, s)
        if m < n_runs:
            first = last + u(run[LENGTH])
            run = offset(run, RUN_WORDS)
    return s


@jit(forceinline=True)
def _edges_out(first, end, weights, targets, program, r, xi, d, de_dx, gradient, summed):
    """Return `edges_back` over the slots first ... end - 1 outside the runs of panel row r."""
    n_runs = u(program[N_RUNS])
    run = offset(program, HEADER)
    for m in range(n_runs + ONE):
        last = u(run[START + r]) if m < n_runs else end
        de_dx = edges_back(first, last, weights, targets, xi, d, de_dx, gradient, summed)
        if m < n_runs:
            first = last + u(run[LENGTH])
            run = offset(run, RUN_WORDS)
    return de_dx


@c_function("tile, tile, frame, frame, size, size", fastmath=FAST)
def mixed_sums(x, out, net, work, first, last):
    """out[j] <- s_j = b_j + sum_{i->j} w_ij x_i of the rows j = first ... last - 1."""
    net, work = open_net(net, x), open_work(work, x)
    ptr, weights, sources = net.in_ptr, net.by_target, net.in_src
    panel, runs, is_edge = net.in_panel, net.in_runs, net.in_is_edge
    bias = offset(weights, net.n_edges)
    j = first
    while j < last:
        program = offset(runs, u(panel[j]))
        rows = ONE
        if panel[j] != ZERO:
            rows = PANEL
            call_address(net.panel_sums, (program, weights, x, offset(out, j)))
            tick(work, DENSE)
        for r in range(rows):
            s = fill(x, bias[j - net.n_inputs])
            if rows > ONE:
                s = s + load(out, j)
            begin, end = u(ptr[j]), u(ptr[j + ONE])
            s = _edges_in(begin, end, weights, sources, program, r, x, s)
            if given(is_edge) and any_nan(s):
                args = (weights, sources, is_edge, begin, end, x, offset(out, j))
                call_address(net.edge_sum, args)
                s = load(out, j) + fill(x, bias[j - net.n_inputs])
            store(out, j, s)
            j += ONE
    tick(work, SPARSE)


@c_function("tile, frame, frame, size, size, size", fastmath=FAST)
def mixed_deltas(x, net, work, g, first, last):
    """Scratch <- de/dx_i of the rows i = first ... last - 1 of tile g; add dw_ij outside of runs.

    de/dx_i = e_i + sum_{i->j} w_ij delta_j, dw_ij = <x_i, delta_j>. Inputs have no de/dx.
    """
    net, work = open_net(net, x), open_work(work, x)
    e = offset(work.e, g * net.n_outputs)
    ptr, weights, targets = net.out_ptr, net.by_source, net.out_dst
    panel, runs, is_edge = net.out_panel, net.out_runs, net.out_is_edge
    gradient, scratch, output_slot = work.gradient, work.scratch, net.output_slot
    computed = first >= net.n_inputs
    i = first
    while i < last:
        program = offset(runs, u(panel[i]))
        rows = ONE
        sums = offset(scratch, i - first)
        if panel[i] != ZERO:
            rows = PANEL
            if computed:
                call_address(net.panel_sums, (program, weights, x, sums))
                tick(work, DENSE)
        for r in range(rows):
            de_dx = fill(x, 0)
            if rows > ONE:
                de_dx = load(sums, r)
            begin, end, xi = u(ptr[i]), u(ptr[i + ONE]), load(x, i)
            de_dx = _edges_out(
                begin, end, weights, targets, program, r, xi, x, de_dx, gradient, computed
            )
            if given(is_edge) and any_nan(de_dx):
                args = (weights, targets, is_edge, begin, end, x, offset(sums, r))
                call_address(net.edge_sum, args)
                de_dx = load(sums, r)
            if output_slot[i] >= 0:
                de_dx = de_dx + load(e, u(output_slot[i]))
            store(sums, r, de_dx)
            i += ONE
    tick(work, SPARSE)


# `NetFrame` has the address of each, in the field of the same name.
MIXED_KERNELS = mixed_sums, mixed_deltas
