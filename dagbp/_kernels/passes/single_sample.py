"""One sample outside of tiles: one number for each node, vectors over the edges of a row.

In a tile, one sample would leave all lanes but one empty. Here a sum over edges gathers vectors of
activations (see `vectors.gather`); runs of consecutive rows (see `edges.dense`) need no indices.
Each weight is read once in each pass. `_engine.single_sample` calls `predict` and `differentiate`.

The backward pass computes deltas only. A last pass over the in-edges then writes the gradient in
the user's order, x_i delta_j.
"""

import numpy as np

from dagbp._compiler.decorators import entry, jit
from dagbp._kernels.frames import (
    FIRST,
    HEADER,
    LENGTH,
    N_RUNS,
    RUN_WORDS,
    START,
    open_net,
    open_single,
)
from dagbp._kernels.vectors.arithmetic import fma
from dagbp._kernels.vectors.gather import lanes_of, no_sum, put, some, take
from dagbp._kernels.vectors.sums import total
from dagbp._kernels.vectors.vector import (
    ONE,
    ZERO,
    array_pointer,
    as_element,
    call_address,
    chunk_lanes,
    given,
    offset,
    tag_of,
)
from dagbp._machine import PANEL_ROWS

u = np.uintp
PANEL = u(PANEL_ROWS)


@jit(forceinline=True)
def _gathered(first, last, weights, rows, values, sums):
    """Return the vector `sums` with w_k values[rows[k]] of the slots first ... last - 1 added."""
    step = lanes_of(weights)
    whole = first + (last - first) // step * step
    for k in range(first, whole, step):
        sums = fma(some(weights, k, step), take(values, rows, k, step), sums)
    left = last - whole
    return fma(some(weights, whole, left), take(values, rows, whole, left), sums)


@jit(forceinline=True)
def _panel_sum(first, end, weights, rows, program, r, values):
    """Return the sum of w_k values[rows[k]] over the slots first ... end - 1 of panel row r."""
    run = offset(program, HEADER)
    sums, in_runs = no_sum(weights), as_element(weights, 0)
    for _ in range(u(program[N_RUNS])):
        last = u(run[START + r])
        sums = _gathered(first, last, weights, rows, values, sums)
        w, x = offset(weights, last), offset(values, u(run[FIRST]))
        for k in range(u(run[LENGTH])):
            in_runs += w[k] * x[k]
        first = last + u(run[LENGTH])
        run = offset(run, RUN_WORDS)
    return in_runs + total(_gathered(first, end, weights, rows, values, sums))


@jit
def _edge_sum(first, end, weights, rows, is_edge, values):
    """Return the sum without explicit zeros: 0 times infinity would be NaN."""
    result = as_element(weights, 0)
    for k in range(first, end):
        if is_edge[k] != 0:
            result += weights[k] * values[u(rows[k])]
    return result


@jit(forceinline=True)
def _sums(ptr, rows, weights, panel, runs, is_edge, values, first, last, added, shift, target):
    """target[j] <- added[j + shift] + sum_k w_k values[rows[k]], rows first ... last - 1."""
    j = first
    while j < last:
        if panel[j] == ZERO:
            begin, end = u(ptr[j]), u(ptr[j + ONE])
            sums = _gathered(begin, end, weights, rows, values, no_sum(weights))
            target[j] = added[j + shift] + total(sums)
            j += ONE
        else:
            program = offset(runs, u(panel[j]))
            for r in range(PANEL):
                begin, end = u(ptr[j]), u(ptr[j + ONE])
                s = _panel_sum(begin, end, weights, rows, program, r, values)
                target[j] = added[j + shift] + s
                j += ONE
    if given(is_edge):
        for j in range(first, last):
            if target[j] != target[j]:
                args = u(ptr[j]), u(ptr[j + ONE]), weights, rows, is_edge, values
                target[j] = added[j + shift] + _edge_sum(*args)


@jit(forceinline=True)
def _scaled(first, last, rows, x, delta, target):
    """target[k] <- x[rows[k]] delta, over the slots first ... last - 1."""
    step = lanes_of(target)
    whole = first + (last - first) // step * step
    for k in range(first, whole, step):
        put(target, k, step, take(x, rows, k, step) * delta)
    left = last - whole
    put(target, whole, left, take(x, rows, whole, left) * delta)


@jit(forceinline=True)
def _panel_scaled(first, end, rows, program, r, x, delta, target):
    """target[k] <- x[rows[k]] delta, over the slots first ... end - 1 of panel row r."""
    run = offset(program, HEADER)
    for _ in range(u(program[N_RUNS])):
        last = u(run[START + r])
        _scaled(first, last, rows, x, delta, target)
        to, of = offset(target, last), offset(x, u(run[FIRST]))
        for k in range(u(run[LENGTH])):
            to[k] = of[k] * delta
        first = last + u(run[LENGTH])
        run = offset(run, RUN_WORDS)
    _scaled(first, end, rows, x, delta, target)


@jit
def _forward(net, one):
    """s_j = w_0j + sum_{i->j} w_ij x_i, x_j = theta_j(s_j), in topological order.

    Built-in activations write whole chunks of 64 bytes. Values beyond a segment belong to later
    rows, which overwrite them.
    """
    x, s = one.x, one.s
    weights, panel, runs, is_edge = net.by_target, net.in_panel, net.in_runs, net.in_is_edge
    shift = net.n_edges - net.n_inputs  # where the biases are
    for m in range(one.n_segments):
        first, last = u(one.segment[m]), u(one.segment[m + ONE])
        args = net.in_ptr, net.in_src, weights, panel, runs, is_edge, x, first, last, weights, shift
        _sums(*args, s)
        call_address(net.theta[first], (offset(s, first), offset(x, first), u(one.size[m])))


@jit
def _loss(net, one, function, hyper):
    """one.e of the outputs <- de/dx; return the loss. All lanes of an output hold one number."""
    lanes = chunk_lanes(one.x)
    for k in range(net.n_outputs):
        value, target = one.x[u(net.outputs[k])], one.target[k]
        for b in range(k * lanes, (k + ONE) * lanes):
            one.out[b], one.y[b] = value, target
    args = (one.out, one.y, one.slope, one.error, hyper, net.n_outputs, lanes)
    call_address(function, args)
    for k in range(net.n_outputs):
        one.e[u(net.outputs[k])] = one.slope[k * lanes]
    return np.float64(one.error[ZERO])


@jit
def _backward(net, one):
    """delta_i = theta'_i(s_i) [e_i + sum_{i->j} w_ij delta_j], in reverse topological order.

    Derivatives write whole chunks of 64 bytes, which may begin before the segment. The values there
    belong to earlier rows, which are computed later and overwrite them.
    """
    x, s, d, e = one.x, one.s, one.d, one.e
    weights, panel, runs, is_edge = net.by_source, net.out_panel, net.out_runs, net.out_is_edge
    m = one.n_segments
    while m > ZERO:
        m -= ONE
        first, last = u(one.segment[m]), u(one.segment[m + ONE])
        args = net.out_ptr, net.out_dst, weights, panel, runs, is_edge, d, first, last, e, ZERO
        _sums(*args, d)
        size = u(one.size[m])
        start = last - size
        g = offset(d, start)
        call_address(net.d_theta[first], (offset(s, start), offset(x, start), g, g, size))


@jit
def _gradient(net, one, gradient):
    """dw_ij <- x_i delta_j in the user's order, then dw_0j <- delta_j."""
    x, d = one.x, one.d
    ptr, sources, panel, runs = one.ptr, one.src, one.panel, net.in_runs
    j = net.n_inputs
    while j < net.n_nodes:
        if panel[j] == ZERO:
            _scaled(u(ptr[j]), u(ptr[j + ONE]), sources, x, d[j], gradient)
            j += ONE
        else:
            program = offset(runs, u(panel[j]))
            for r in range(PANEL):
                begin, end = u(ptr[j]), u(ptr[j + ONE])
                _panel_scaled(begin, end, sources, program, r, x, d[j], gradient)
                j += ONE
    shift = u(ptr[net.n_nodes]) - net.n_inputs
    for j in range(net.n_inputs, net.n_nodes):
        gradient[j + shift] = d[j]


@entry
def predict(out, one_):
    """out, (1, n_outputs) <- the outputs for the features in one.x."""
    tag, target = tag_of(out), array_pointer(out)
    one = open_single(array_pointer(one_), tag)
    net = open_net(one.net, tag)
    _forward(net, one)
    for k in range(net.n_outputs):
        target[k] = one.x[u(net.outputs[k])]


@entry
def differentiate(gradient, one_, function, hyper, back):
    """Return the loss for the features in one.x and one.target; if `back`, fill the gradient.

    gradient: (E + n_computed,), in the order of `Network.parameters`.
    """
    tag = tag_of(gradient)
    one = open_single(array_pointer(one_), tag)
    net = open_net(one.net, tag)
    _forward(net, one)
    loss = _loss(net, one, u(function), array_pointer(hyper))
    if u(back) != ZERO:
        _backward(net, one)
        _gradient(net, one, array_pointer(gradient))
    return loss
