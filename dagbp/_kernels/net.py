"""One crew, one group of tiles, every node, in topological order and back.

Rows go by *segments*: consecutive rows of one level and one activation, which is called once for
all of them. A crew of several threads shares each stage's segments and meets after each stage; a
crew of one has a single stage and never waits. See `dagbp._schedule`.
"""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels.records import SEGMENT_ROWS
from dagbp._kernels.sparse import HEADER, LENGTH, N_RUNS, RUN_WORDS, START, edges_in, edges_out
from dagbp._kernels.sums import total
from dagbp._kernels.threads import meet_crew
from dagbp._kernels.timing import ACTIVATIONS, DENSE, SPARSE, tick
from dagbp._kernels.vector import (
    ONE,
    PANEL_ROWS,
    ZERO,
    any_nan,
    call_address,
    fill,
    given,
    lanes,
    load,
    offset,
    row_pointer,
    slot_at,
    store,
)

u = np.uintp
PANEL = u(PANEL_ROWS)


@jit
def forward(net, work, tiles):
    """s_j = w_0j + sum_{i->j} w_ij x_i into d, x_j = theta_j(s_j) into x, in topological order.

    x, d: `tiles` tiles of n rows; x holds the inputs' features. Tiles take turns at each segment,
    so that its weights are read from memory once.
    """
    for stage in range(work.in_stages):
        cut = stage * (work.members + ONE) + work.member
        for k in range(u(work.in_cuts[cut]), u(work.in_cuts[cut + ONE])):
            first, last = u(net.in_segment[k]), u(net.in_segment[k + ONE])
            for g in range(tiles):
                x, d = offset(work.x, g * net.n_nodes), offset(work.d, g * net.n_nodes)
                _sums(net, work, x, d, first, last)
                s, values = row_pointer(d, first), row_pointer(x, first)
                call_address(net.theta[first], (s, values, (last - first) * lanes(x)))
                tick(work, ACTIVATIONS)
        meet_crew(work)


@jit
def _sums(net, work, x, d, first, last):
    """s_j of the rows first ... last - 1, into d."""
    bias = offset(net.flat, net.n_edges)
    j = first
    while j < last:
        program = offset(net.in_runs, u(net.in_panel[j]))
        rows = ONE
        if net.in_panel[j] != ZERO:
            rows = PANEL
            call_address(net.panel_sums, (program, net.flat, x, offset(d, j)))
            tick(work, DENSE)
        for r in range(rows):
            s = fill(x, bias[j - net.n_inputs])
            if rows > ONE:
                s = s + load(d, j)
            s = edges_in(net, j, program, r, x, s)
            if given(net.in_keep) and any_nan(s):
                begin, end = u(net.in_ptr[j]), u(net.in_ptr[j + ONE])
                args = (net.flat, net.in_src, net.in_keep, begin, end, x, offset(d, j))
                call_address(net.kept_sum, args)
                s = load(d, j) + fill(x, bias[j - net.n_inputs])
            store(d, j, s)
            j += ONE
    tick(work, SPARSE)


@jit
def backward(net, work, tiles):
    """delta_i = theta'_i(s_i) [e_i + sum_{i->j} w_ij delta_j]; dw_ij += <x_i, delta_j>.

    In reverse topological order; work.d holds s and ends up holding delta. The gradient has
    weights in out-edge order, then biases. Inputs need no delta: theirs is the last stage.
    """
    for stage in range(work.out_stages):
        cut = stage * (work.members + ONE) + work.member
        k = u(work.out_cuts[cut + ONE])
        while k > u(work.out_cuts[cut]):
            k -= ONE
            first, last = u(net.out_segment[k]), u(net.out_segment[k + ONE])
            for g in range(tiles):
                _deltas(net, work, g, first, last)
        meet_crew(work)


@jit
def _deltas(net, work, g, first, last):
    """delta_i, dw_ij and the bias's gradient of the rows first ... last - 1; of inputs only dw."""
    x, d = offset(work.x, g * net.n_nodes), offset(work.d, g * net.n_nodes)
    e = offset(work.e, g * net.n_outputs)
    transposed = offset(work.transposed, g * net.stride * lanes(x))
    computed = first >= net.n_inputs
    i = first
    while i < last:
        program = offset(net.out_runs, u(net.out_panel[i]))
        rows = ONE
        sums = offset(work.scratch, i - first)
        if net.out_panel[i] != ZERO:
            rows = PANEL
            if computed:
                call_address(net.panel_sums, (program, net.values, d, sums))
            args = (program, i, x, transposed, net.stride, work.gradient)
            call_address(net.outer_products, args)
            tick(work, DENSE)
        for r in range(rows):
            de_dx = fill(x, 0)
            if rows > ONE:
                de_dx = load(sums, r)
            de_dx = edges_out(net, i, program, r, x, d, de_dx, work.gradient, computed)
            if given(net.out_keep) and any_nan(de_dx):
                begin, end = u(net.out_ptr[i]), u(net.out_ptr[i + ONE])
                args = (net.values, net.out_dst, net.out_keep, begin, end, d, offset(sums, r))
                call_address(net.kept_sum, args)
                de_dx = load(sums, r)
            if net.output_slot[i] >= 0:
                de_dx = de_dx + load(e, u(net.output_slot[i]))
            store(sums, r, de_dx)
            i += ONE
    tick(work, SPARSE)
    if not computed:
        return
    s, values = row_pointer(d, first), row_pointer(x, first)
    slope, size = row_pointer(work.scratch, ZERO), (last - first) * lanes(x)
    call_address(net.d_theta[first], (s, values, slope, s, size))
    bias = offset(work.gradient, net.n_edges)
    for i in range(first, last):
        bias[i - net.n_inputs] += total(load(d, i))
        if net.column[i] != ZERO:
            call_address(net.transpose_row, (d, i, transposed, net.stride))
    tick(work, ACTIVATIONS)


@jit
def refresh_flat(net, first, last):
    """Copy in place: flat <- values, the parameters of the target rows first ... last - 1.

    A panel's targets stand side by side with each source, so its rows are copied together: one by
    one they would read a cache line for each weight, at strides that evict each other.
    """
    j = first
    while j < last:
        program = offset(net.in_runs, u(net.in_panel[j]))
        n_runs = u(program[N_RUNS])
        rows = ONE
        if n_runs > ZERO:
            rows = PANEL
            args = (program, net.flat, net.values, net.in_slot, net.wide_slot)
            call_address(net.copy_panel, args)
        for r in range(rows):
            begin = u(net.in_ptr[j])
            run = offset(program, HEADER)
            for m in range(n_runs + ONE):
                end = u(run[START + r]) if m < n_runs else u(net.in_ptr[j + ONE])
                for k in range(begin, end):
                    net.flat[k] = net.values[slot_at(net.in_slot, net.wide_slot, k)]
                if m < n_runs:
                    begin = end + u(run[LENGTH])
                    run = offset(run, RUN_WORDS)
            bias = net.n_edges + j - net.n_inputs
            net.flat[bias] = net.values[bias]
            j += ONE


assert SEGMENT_ROWS % PANEL_ROWS == 0
