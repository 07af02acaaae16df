"""One thread, one tile, every node, in topological order and back."""

import numpy as np

from dagbp._jit import jit
from dagbp._kernels.sparse import (
    HEADER,
    LENGTH,
    N_RUNS,
    RUN_WORDS,
    START,
    edges_in,
    edges_out,
)
from dagbp._kernels.sums import total
from dagbp._kernels.vector import (
    PANEL_ROWS,
    call_address,
    fill,
    lanes,
    load,
    offset,
    row_pointer,
    store,
)

u = np.uintp


@jit
def forward(net, x, d):
    """s_j = w_0j + sum_{i->j} w_ij x_i into d, x_j = theta_j(s_j) into x, in topological order.

    x, d: tiles of n rows; x holds the inputs' features.
    """
    bias = offset(net.flat, net.n_edges)
    j = net.n_inputs
    while j < net.n_nodes:
        program = offset(net.in_runs, u(net.in_panel[j]))
        rows = u(1)
        if net.in_panel[j] != 0:
            call_address(net.panel_sums, (program, net.flat, x, offset(d, j)))
            rows = u(PANEL_ROWS)
        for r in range(rows):
            s = fill(x, bias[j - net.n_inputs])
            if rows > u(1):
                s = s + load(d, j)
            store(d, j, edges_in(net, j, program, r, x, s))
            call_address(net.theta[j], (row_pointer(d, j), row_pointer(x, j), lanes(x)))
            j += u(1)


@jit
def backward(net, work):
    """delta_i = theta'_i(s_i) [e_i + sum_{i->j} w_ij delta_j]; dw_ij += <x_i, delta_j>.

    In reverse topological order; work.d holds s and ends up holding delta. The gradient has
    weights in out-edge order, then biases. Inputs need no delta.
    """
    x, d, gradient = work.x, work.d, work.gradient
    i = net.n_nodes
    while i > net.n_inputs:
        program = offset(net.out_runs, u(net.out_panel[i - u(1)]))
        rows = u(1)
        if net.out_panel[i - u(1)] != 0:
            rows = u(PANEL_ROWS)
            call_address(net.panel_sums, (program, net.values, d, work.scratch))
            _panel_gradient(net, work, program, i - rows)
        for k in range(rows):
            i -= u(1)
            r = rows - u(1) - k
            de_dx = fill(x, 0)
            if rows > u(1):
                de_dx = load(work.scratch, r)
            if net.output_slot[i] >= 0:
                de_dx = de_dx + load(work.e, u(net.output_slot[i]))
            de_dx = edges_out(net, i, program, r, x, d, de_dx, gradient)
            _delta(net, work, i, r, de_dx)
    while i > u(0):
        program = offset(net.out_runs, u(net.out_panel[i - u(1)]))
        rows = u(1)
        if net.out_panel[i - u(1)] != 0:
            rows = u(PANEL_ROWS)
            _panel_gradient(net, work, program, i - rows)
        for k in range(rows):
            i -= u(1)
            r = rows - u(1) - k
            edges_out(net, i, program, r, x, d, fill(x, 0), gradient)  # an unused sum costs nothing


@jit
def _panel_gradient(net, work, program, first):
    args = (program, first, work.x, work.transposed, net.stride, work.gradient)
    call_address(net.outer_products, args)


@jit
def _delta(net, work, i, r, de_dx):
    """delta_i = theta'_i(s_i) de_dx into d, and its sum into the bias's gradient."""
    store(work.scratch, r, de_dx)
    s = delta = row_pointer(work.d, i)
    de_dx_ = row_pointer(work.scratch, r)
    call_address(net.d_theta[i], (s, row_pointer(work.x, i), de_dx_, delta, lanes(work.x)))
    work.gradient[net.n_edges + i - net.n_inputs] += total(load(work.d, i))
    if net.column[i] != 0:
        call_address(net.transpose_row, (work.d, i, work.transposed, net.stride))


@jit
def share_of_rows(net, t, n_threads):
    """Return where thread t's share of the rows begins: at about as many edges each, by panels."""
    if t == 0 or t == n_threads:
        return net.n_nodes if t > 0 else u(0)
    edge = net.n_edges * t // n_threads
    low, high = u(0), net.n_nodes
    while low < high:
        middle = (low + high) // u(2)
        if u(net.in_ptr[middle]) < edge:
            low = middle + u(1)
        else:
            high = middle
    for back in range(u(1), min(u(PANEL_ROWS), low + u(1))):
        if net.in_panel[low - back] != 0:
            return low - back + u(PANEL_ROWS)
    return low


@jit
def refresh_flat(net, first_row, last_row):
    """Copy in place: flat <- values, the parameters of target rows first_row ... last_row - 1.

    A panel's targets stand side by side with each source, so its rows are copied together: one by
    one they would read a cache line for each weight, at strides that evict each other.
    """
    j = first_row
    while j < last_row:
        program = offset(net.in_runs, u(net.in_panel[j]))
        rows = u(PANEL_ROWS) if net.in_panel[j] != 0 else u(1)
        if rows > u(1):
            call_address(net.copy_panel, (program, net.flat, net.values, net.in_slot))
        n_runs = u(program[u(N_RUNS)])
        for r in range(rows):
            first = u(net.in_ptr[j])
            run = offset(program, u(HEADER))
            for m in range(n_runs + u(1)):
                stop = u(run[u(START) + r]) if m < n_runs else u(net.in_ptr[j + u(1)])
                for k in range(first, stop):
                    net.flat[k] = net.values[u(net.in_slot[k])]
                if m < n_runs:
                    first = stop + u(run[u(LENGTH)])
                    run = offset(run, u(RUN_WORDS))
            if j >= net.n_inputs:
                bias = net.n_edges + j - net.n_inputs
                net.flat[bias] = net.values[bias]
            j += u(1)


@jit
def restore_values(net, first, last):
    """values[first:last] <- flat, in place: undoes an update before `flat` is refreshed."""
    for k in range(first, last):
        if k < net.n_edges:
            net.values[k] = net.flat[u(net.out_slot[k])]
        elif k < net.n_edges + net.n_nodes - net.n_inputs:
            net.values[k] = net.flat[k]
