"""The forward and the backward pass of one group of tiles over all rows of a network.

`tile_group` calls `forward` and `backward`, and `entry_points` calls `refresh` after an update; it
explains tiles, groups, teams, stages and segments. The sums over edges come from `edges.sparse`.
Rows with dense panels or explicit zeros call `edges.mixed` and `edges.dense` by address, and
segments with source blocks call `edges.source_blocks`.

A field that an inner loop reads is named at the top of its function: LLVM loads it once there.
"""

import numpy as np

from dagbp._compiler.decorators import jit
from dagbp._kernels.edges.dense import copy_range
from dagbp._kernels.edges.sparse import edges_back, few_count, gathered
from dagbp._kernels.frames import (
    CALL_IN_PLACE,
    CALL_KEEPING_SIGNAL,
    FUSED_RELU,
    SEGMENT_ROWS,
    STORE,
)
from dagbp._kernels.passes.barrier import sync_team
from dagbp._kernels.passes.timing import ACTIVATIONS, DENSE, SPARSE, tick
from dagbp._kernels.vectors.arithmetic import select
from dagbp._kernels.vectors.sums import add_vector, row_totals, total
from dagbp._kernels.vectors.vector import (
    ONE,
    ZERO,
    call_address,
    fill,
    given,
    lanes,
    least_positive,
    load,
    offset,
    row_pointer,
    store,
)
from dagbp._machine import PANEL_ROWS

u = np.uintp
TWO = u(2)


@jit
def forward(net, work, first_sample, tiles):
    """s_j = w_0j + sum_{i->j} w_ij x_i, x_j = theta_j(s_j) into x, in topological order.

    x, s: `tiles` tiles of n rows; x holds the inputs' features. s_j goes into s if it is needed
    later, else into x itself. All tiles of the group pass a segment before the next segment begins,
    so its weights are read from memory once. With dropout, x_j = theta_j(s_j) m_j.
    """
    for stage in range(work.in_stages):
        cut = stage * (work.team_size + ONE) + work.member
        for k in range(u(work.in_cuts[cut]), u(work.in_cuts[cut + ONE])):
            first, last = u(net.in_segment[k]), u(net.in_segment[k + ONE])
            for g in range(tiles):
                x = offset(work.x, g * net.n_nodes)
                applied, s = _applied(net, first), x
                if applied == CALL_KEEPING_SIGNAL:
                    s = offset(work.s, g * net.n_nodes)
                _sums(net, work, x, s, k, first, last, 0.0 if applied == FUSED_RELU else -np.inf)
                if applied <= CALL_IN_PLACE:
                    rows = row_pointer(s, first), row_pointer(x, first)
                    call_address(net.theta[first], (*rows, (last - first) * lanes(x)))
                drop_rows(work, x, first, last, first_sample + g * net.width)
                tick(work, ACTIVATIONS)
        sync_team(work)


@jit
def _applied(net, row):
    """Return how a row's activation is applied, see `CALL_KEEPING_SIGNAL`."""
    return u(net.applied[row]) if given(net.applied) else CALL_KEEPING_SIGNAL


@jit
def _sums(net, work, x, out, k, first, last, floor):
    """out[j] <- max(s_j, floor) for the rows j = first ... last - 1 of segment k."""
    bias = offset(net.by_target, net.n_edges - net.n_inputs)
    by_source_block = given(net.source_blocks) and net.source_blocks[k] != ZERO
    if by_source_block or net.in_mixed[k] != ZERO:
        if by_source_block:
            program = offset(net.block_ptr, u(net.source_blocks[k]))
            args = (program, net.block_weights, net.block_src, bias, x, out, first, last)
            call_address(net.source_block_sums, args)
        else:
            call_address(net.mixed_sums, (x, out, net, work, first, last))
        if floor > -np.inf:
            for j in range(first, last):
                store(out, j, _at_least(load(out, j), fill(x, floor)))
    else:
        ptr, weights, sources = net.in_ptr, net.by_target, net.in_src
        for j in range(first, last):
            s = gathered(u(ptr[j]), u(ptr[j + ONE]), weights, sources, x, fill(x, bias[j]))
            store(out, j, _at_least(s, fill(x, floor)))
    tick(work, SPARSE)


@jit
def _at_least(s, floor):
    """Return the greater of two vectors; NaN where s is NaN."""
    return select(s < floor, floor, s)


@jit
def backward(net, work, first_sample, tiles, back):
    """delta_i = theta'_i(s_i) [e_i + sum_{i->j} w_ij delta_j]; dw_ij += <x_i, delta_j>.

    In reverse topological order. delta_i takes the place of x_i, which only the edges out of i
    read: so the caches hold half as many rows, and x_i is in a cache when delta_i is written. The
    gradient has the weights in out-edge order, then the biases. Inputs come last; they need no
    delta and keep their x. back: ADD or STORE.
    """
    for stage in range(work.out_stages):
        cut = stage * (work.team_size + ONE) + work.member
        k = u(work.out_cuts[cut + ONE])
        while k > u(work.out_cuts[cut]):
            k -= ONE
            first, last = u(net.out_segment[k]), u(net.out_segment[k + ONE])
            mixed = u(net.out_mixed[k])
            if mixed != ZERO:
                _products(net, work, tiles, first, last, u(back == STORE))
            for g in range(tiles):
                _deltas(net, work, first_sample + g * net.width, g, first, last, mixed)
        sync_team(work)


@jit
def _products(net, work, tiles, first, last, fresh):
    """Store (if `fresh`) or add dw_ij of these rows in dense panels, summed over all tiles."""
    for i in range(first, last):
        if net.out_panel[i] != ZERO:
            program = offset(net.out_runs, u(net.out_panel[i]))
            places = (net.n_nodes, work.transposed, net.stride, tiles, work.gradient, fresh)
            call_address(net.outer_products, (program, i, work.x, *places))
    tick(work, DENSE)


@jit
def _deltas(net, work, sample, g, first, last, mixed):
    """Compute delta_i, dw_ij and dw_0i of the rows first ... last - 1; of inputs only dw_ij."""
    x, applied = offset(work.x, g * net.n_nodes), _applied(net, first)
    _de_dx(net, work, x, g, first, last, applied, mixed)
    if first < net.n_inputs:
        return
    if applied <= CALL_IN_PLACE:
        s = x if applied == CALL_IN_PLACE else offset(work.s, g * net.n_nodes)
        _slopes(net, work, x, s, first, last)
        drop_rows(work, x, first, last, sample)
    bias = offset(work.gradient, net.n_edges - net.n_inputs)
    some = few_count(x)
    several = first + (last - first) // some * some
    for i in range(first, several, some):
        add_vector(bias, i, row_totals(x, i))
    for i in range(several, last):
        bias[i] += total(load(x, i))
    if net.transpose_rows != ZERO:
        transposed = offset(work.transposed, g * net.stride * lanes(x))
        call_address(net.transpose_rows, (x, net.column, first, last, transposed, net.stride))
    tick(work, ACTIVATIONS)


@jit
def _de_dx(net, work, x, g, first, last, applied, mixed):
    """Add dw_ij of the rows first ... last - 1 of tile g, and put de/dx_i into scratch.

    If the kernels apply the activation themselves, delta_i goes into x_i instead. dw_ij in dense
    panels is left out: `_products` computes it for all tiles together.
    """
    computed = first >= net.n_inputs
    in_place = computed and applied > CALL_IN_PLACE
    out, gate = work.scratch, fill(x, -np.inf)
    if in_place:
        out = offset(x, first)
        if applied == FUSED_RELU:
            gate = fill(x, least_positive(x))
    if mixed != ZERO:
        call_address(net.mixed_deltas, (x, net, work, g, first, last))
        if in_place:
            for i in range(first, last):
                de_dx = load(work.scratch, i - first)
                store(x, i, _gated(de_dx, load(x, i), gate))
        return
    e = offset(work.e, g * net.n_outputs)
    ptr, weights, targets, gradient = net.out_ptr, net.by_source, net.out_dst, work.gradient
    output_slot = net.output_slot
    for i in range(first, last):
        begin, end, xi, zero = u(ptr[i]), u(ptr[i + ONE]), load(x, i), fill(x, 0)
        de_dx = edges_back(begin, end, weights, targets, xi, x, zero, gradient, computed)
        if computed:
            if output_slot[i] >= 0:
                de_dx = de_dx + load(e, u(output_slot[i]))
            store(out, i - first, _gated(de_dx, xi, gate))
    tick(work, SPARSE)


@jit
def _gated(de_dx, x, gate):
    """Return de/dx where x >= gate; elsewhere x, which is 0 or NaN there."""
    return select(x >= gate, de_dx, x)


@jit
def _slopes(net, work, x, s, first, last):
    """Overwrite x = theta(s) of these rows with delta = theta'(s) de/dx, by a call.

    With dropout x_i = theta_i(s_i) m_i. The derivative needs theta_i(s_i), which is computed again
    first; the caller then multiplies delta_i by m_i.
    """
    signals, values = row_pointer(s, first), row_pointer(x, first)
    de_dx, size = row_pointer(work.scratch, ZERO), (last - first) * lanes(x)
    if work.drop != ZERO:
        call_address(net.theta[first], (signals, values, size))
    call_address(net.d_theta[first], (signals, values, de_dx, values, size))


@jit
def drop_rows(work, tile, first, last, sample):
    """Multiply rows by their masks, if any; sample: the tile's first position in the epoch."""
    if work.drop != ZERO:
        rows, width = row_pointer(tile, first), lanes(tile)
        args = (rows, work.keep_probability, work.drop_key, first, last, sample, width)
        call_address(work.drop, args)


@jit
def refresh(net, work):
    """Copy this thread's share of `by_source` for the forward pass; see `_layout.refresh`."""
    if work.n_patches != ZERO:
        slots = (net.in_slot, net.wide_slot)
        args = (work.patches, work.n_patches, net.by_target, net.by_source)
        call_address(net.copy_patches, args + slots)
    stretches = work.stretches
    for k in range(work.n_stretches):
        copy_slots(net, u(stretches[TWO * k]), u(stretches[TWO * k + ONE]))
    if given(net.source_blocks):
        copy_source_blocks(net, work)
    copy_biases(net, work)


@jit
def copy_biases(net, work):
    """by_target <- by_source, for the biases of this thread's rows."""
    shift = net.n_edges - net.n_inputs
    for j in range(work.first_row + shift, work.last_row + shift):
        net.by_target[j] = net.by_source[j]


@jit
def copy_source_blocks(net, work):
    """block_weights <- by_source, for this thread's share of the source blocks."""
    weights, by_source, slots = net.block_weights, net.by_source, net.block_slot
    for k in range(work.first_blocked, work.last_blocked):
        weights[k] = by_source[u(slots[k])]


@jit
def copy_slots(net, begin, end):
    """by_target <- by_source, for the in-slots begin ... end - 1."""
    copy_range(net.by_target, net.by_source, net.in_slot, net.wide_slot, begin, end)


assert SEGMENT_ROWS % PANEL_ROWS == 0
