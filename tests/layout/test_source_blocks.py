"""Source blocks: each edge runs once, and results equal a net without source blocks."""

from contextlib import nullcontext
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from comparing import assert_near
from hypothesis import given, settings
from hypothesis import strategies as st

import dagbp
from dagbp._layout import layout
from dagbp._layout.source_blocks import SourceBlocks, cut_source_blocks, distinct
from dagbp._machine import NARROW_ROW, WIDE_ROW
from dagbp._network import model_of
from dagbp._plan.plan import make_plan

SIZES = (400, 300, 7)
WIDE, NARROW = 200, 5  # samples: of batches in wide tiles and in narrow ones
OPTIONS = {"optimizer": "sgd", "learning_rate": 0.01, "verbose": 0, "seed": 0}


def net_of_long_rows(dtype="float64", source_blocks=True, **options):
    """Return a net with many edges a row, with source blocks or without."""
    G = dagbp.layered(SIZES, density=0.4, activation="tanh", seed=0)
    without = mock.patch.object(layout, "cut_source_blocks", return_value=None)
    with nullcontext() if source_blocks else without:
        net = dagbp.compile(G, dtype=dtype, seed=1, **options)
    assert (model_of(net).engine.layout.source_blocks is not None) == source_blocks
    return net


def samples(n):
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, SIZES[0])), rng.normal(size=(n, SIZES[-1]))


# ---------------------------------------------------------------------------- programs


@st.composite
def levels(draw):
    """Draw a plan of two levels, sources of a block, and segments of the computed rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_inputs, n_targets = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    exists = rng.random((n_inputs, n_targets)) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    src, dst = np.nonzero(exists)
    n = n_inputs + n_targets
    plan = make_plan(n, src, dst + n_inputs, np.arange(n_inputs), np.arange(n_inputs, n))
    cuts = draw(st.lists(st.integers(n_inputs + 1, max(n_inputs + 1, n - 1)), max_size=4))
    segment = np.unique([n_inputs, *cuts, n])
    size = draw(st.integers(1, 12))
    rows = np.zeros(n, np.int64)
    for first, last in pairwise(segment.tolist()):
        rows[first:last] = size * draw(st.booleans())
    return plan, rows, segment


def pieces(source_blocks: SourceBlocks, segment):
    """Yield (block, target, first slot, last slot) of every piece."""
    for k in np.flatnonzero(source_blocks.of_segment):
        place, n_rows = source_blocks.of_segment[k], segment[k + 1] - segment[k]
        n_blocks = source_blocks.program[place]
        ends = source_blocks.program[place + 1 :][: n_blocks * n_rows + 1]
        for p in range(n_blocks * n_rows):
            yield p // n_rows, segment[k] + p % n_rows, ends[p], ends[p + 1]


@given(levels())
def test_every_edge_of_a_row_with_source_blocks_is_in_one_piece(drawn):
    plan, rows, segment = drawn
    source_blocks = cut_source_blocks(plan, rows, segment)
    by_block = np.repeat(rows > 0, np.diff(plan.in_ptr))
    if source_blocks is None:
        assert not by_block.any()
        return
    assert np.array_equal(np.sort(source_blocks.slot), np.flatnonzero(by_block))
    assert np.array_equal(source_blocks.source, plan.in_src[source_blocks.slot])
    assert np.array_equal(source_blocks.value_slot, plan.in_slot[source_blocks.slot])
    covered = 0
    for _, target, first, last in pieces(source_blocks, segment):
        assert first == covered
        covered = last
        slots = source_blocks.slot[first:last]
        assert ((plan.in_ptr[target] <= slots) & (slots < plan.in_ptr[target + 1])).all()
        assert len(set((source_blocks.source[first:last] // rows[target]).tolist())) <= 1
    assert covered == len(source_blocks.slot)


def test_levels_of_few_edges_a_row_and_of_few_sources_have_none():
    for sizes, density in (((500, 500, 5), 0.02), ((100, 120, 5), 0.5)):
        net = dagbp.compile(dagbp.layered(sizes, density=density, seed=0))
        assert model_of(net).engine.layout.source_blocks is None
    net = dagbp.compile(dagbp.layered((500, 500, 5), density=0.2, seed=0))
    assert model_of(net).engine.layout.source_blocks is not None


# ---------------------------------------------------------------------------- results


@given(st.lists(st.integers(0, 60), min_size=1, max_size=9), st.integers(0, 100), st.booleans())
def test_distinct_values_of_a_narrow_and_of_a_wide_range(values, first, wide):
    values = np.array(values, np.int32) * (100 if wide else 1) + np.int32(first)
    assert distinct(values).tolist() == sorted(set(values.tolist()))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_with_and_without_source_blocks(dtype, tolerance, n_threads):
    found = []
    for source_blocks in (True, False):
        net = net_of_long_rows(dtype, source_blocks, n_threads=n_threads)
        X, Y = samples(WIDE)
        before = net.predict(X), *net.loss_and_gradient(X, Y)
        net.fit(X, Y, epochs=5, batch_size=WIDE, **OPTIONS)
        found.append((*before, net.parameters, net.predict(X), net.predict(X[:1])))
    for ours, theirs in zip(*found, strict=True):
        assert_near(ours, theirs, tolerance)


def test_wide_and_narrow_batches_alternately():
    """Wide and narrow tiles read the weights in different orders; training updates both."""
    found = []
    for source_blocks in (True, False):
        net = net_of_long_rows(source_blocks=source_blocks)
        for n in (WIDE, NARROW, WIDE, WIDE, NARROW, NARROW):
            X, Y = samples(n)
            row_bytes = model_of(net).engine.tile_planner.choose(n, 1).row_bytes
            assert row_bytes == (WIDE_ROW if n == WIDE else NARROW_ROW)
            net.fit(X, Y, epochs=2, batch_size=n, **OPTIONS)
            values = [net.predict(samples(m)[0]) for m in (1, NARROW, WIDE)]
        found.append((*values, net.parameters))
    for ours, theirs in zip(*found, strict=True):
        assert_near(ours, theirs, 1e-12)


def test_assigned_parameters_reach_both_orders():
    net, other = net_of_long_rows(), net_of_long_rows(source_blocks=False)
    X, Y = samples(WIDE)
    net.fit(X, Y, epochs=1, batch_size=WIDE, **OPTIONS)
    net.parameters = other.parameters
    assert np.array_equal(net.parameters, other.parameters)
    for n in (1, NARROW, WIDE):
        assert_near(net.predict(X[:n]), other.predict(X[:n]), 1e-13)


def test_a_step_that_diverges_is_undone():
    net = net_of_long_rows()
    X, Y = samples(WIDE)
    net.fit(X, Y, epochs=2, batch_size=WIDE, **OPTIONS)
    before, predicted = net.parameters, net.predict(X)
    with pytest.raises(dagbp.DivergenceError):
        net.fit(X, 1e3 * Y, epochs=1, batch_size=WIDE, **{**OPTIONS, "learning_rate": 1e308})
    assert np.array_equal(net.parameters, before)
    assert np.array_equal(net.predict(X), predicted)


def test_max_norm_holds_in_both_orders():
    X, Y = samples(WIDE)
    found = []
    for source_blocks in (True, False):
        net = net_of_long_rows(source_blocks=source_blocks)
        net.fit(X, Y, epochs=4, batch_size=WIDE, max_norm=0.5, **OPTIONS)
        found.append((net.parameters, net.predict(X)))
    for ours, theirs in zip(*found, strict=True):
        assert_near(ours, theirs, 1e-13)


@settings(max_examples=10)
@given(st.lists(st.sampled_from(["wide", "narrow", "one", "set"]), max_size=5))
def test_any_order_of_calls(calls):
    ours, theirs = net_of_long_rows(), net_of_long_rows(source_blocks=False)
    for k, call in enumerate(calls):
        X, Y = samples({"wide": WIDE, "narrow": NARROW, "one": 1}.get(call, 2))
        for net in (ours, theirs):
            if call == "set":
                net.parameters = net.parameters * (1 + 0.01 * k)
            else:
                net.fit(X, Y, epochs=1, batch_size=len(X), **OPTIONS)
    X, Y = samples(WIDE)
    assert_near(ours.parameters, theirs.parameters, 1e-12)
    assert_near(ours.loss_and_gradient(X, Y)[1], theirs.loss_and_gradient(X, Y)[1], 1e-12)
