"""Copies of updated weights: every slot is copied once, by one of the threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import complete_layers

import dagbp
from dagbp._layout.refresh import stretches, within
from dagbp._network import model_of

OPTIONS = {"optimizer": "sgd", "learning_rate": 0.01, "verbose": 0, "seed": 0}


def full_net(dtype, n_threads):
    """Return a fully connected net with widths that divide by no vector width."""
    G = dagbp.layered((70, 53, 41, 3), seed=0)
    return dagbp.compile(G, dtype=dtype, n_threads=n_threads, seed=0)


def patch_slots(share, n_rows):
    """Yield the in-slots of each row of a share's patches."""
    for slot, stride, length in share.patches.tolist():
        for r in range(n_rows):
            yield range(slot + r * stride, slot + r * stride + length)


@settings(max_examples=50)
@given(complete_layers(), st.integers(1, 5), st.sampled_from(["float32", "float64"]))
def test_every_slot_and_every_row_is_copied_once(case, n_threads, dtype):
    layout = model_of(case.compile(dtype=dtype)).engine.layout
    plan, n_rows = layout.plan, 64 // np.dtype(dtype).itemsize
    copied, rows = np.zeros(layout.n_slots, int), np.zeros(len(plan.node), int)
    for share in layout.shares(n_threads, by_source_block=False):
        for slots in patch_slots(share, n_rows):
            copied[slots] += 1
        for first, last in share.stretches.tolist():
            assert first < last
            copied[first:last] += 1
        rows[slice(*share.rows)] += 1
    assert (copied == 1).all()
    assert (rows[plan.n_inputs :] == 1).all()
    assert not rows[: plan.n_inputs].any()


@given(complete_layers(), st.sampled_from(["float32", "float64"]))
def test_patches_are_whole_lines_of_values(case, dtype):
    layout = model_of(case.compile(dtype=dtype)).engine.layout
    in_slot, n_rows = layout.plan.in_slot.astype(np.int64), 64 // np.dtype(dtype).itemsize
    (share,) = layout.shares(1, by_source_block=False)
    for slot, stride, length in share.patches.tolist():
        first = in_slot[slot : slot + length]
        for r in range(n_rows):
            assert np.array_equal(in_slot[slot + r * stride :][:length], first + r)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_every_edge_of_the_source_blocks_is_copied_once(n_threads):
    net = dagbp.compile(dagbp.layered((500, 400, 5), density=0.3, seed=0))
    layout = model_of(net).engine.layout
    copied, by_source_block = (
        np.zeros(layout.n_slots, int),
        np.zeros(len(layout.source_blocks.slot), int),
    )
    for share in layout.shares(n_threads, by_source_block=True):
        by_source_block[slice(*share.source_blocks)] += 1
        for first, last in share.stretches.tolist():
            copied[first:last] += 1
    assert (by_source_block == 1).all()
    copied[layout.source_blocks.slot] += 1
    assert (copied == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_both_orders_of_the_weights_agree_after_training(dtype, n_threads):
    net = full_net(dtype, n_threads)
    engine, rng = model_of(net).engine, np.random.default_rng(0)
    assert len(engine.layout.shares(1, by_source_block=False)[0].patches)
    X, Y = rng.normal(size=(150, 70)), rng.normal(size=(150, 3))
    net.fit(X, Y, epochs=3, batch_size=150, **OPTIONS)
    n = engine.layout.n_slots
    flat, values = engine.parameters.by_target, engine.parameters.by_source
    assert np.array_equal(flat[:n], values[engine.layout.plan.in_slot])
    assert np.array_equal(flat[n:], values[n : engine.parameters.n_values])


@pytest.mark.parametrize("batch_size", [64, 100, 150])
def test_each_step_of_a_full_net_uses_its_own_gradient_only(batch_size):
    """The kernels store the gradient of full blocks and do not add it to the one before."""
    net = full_net("float64", 1)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(150, 70)), rng.normal(size=(150, 3))
    by_hand = net.parameters.copy()
    for _ in range(2):
        for first in range(0, 150, batch_size):
            part = slice(first, first + batch_size)
            net.parameters = by_hand
            by_hand = by_hand - 0.01 * net.loss_and_gradient(X[part], Y[part])[1]
    net = full_net("float64", 1)
    net.fit(X, Y, epochs=2, batch_size=batch_size, shuffle=False, **OPTIONS)
    np.testing.assert_allclose(net.parameters, by_hand, rtol=1e-12, atol=1e-13)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_ranges_and_intersections_of_ranges(chosen, first, last):
    mask = np.array(chosen, np.bool_)
    again = np.zeros(len(mask), np.bool_)
    for begin, end in within(stretches(mask), first, last).tolist():
        assert begin < end
        again[begin:end] = True
    mask[:first] = False
    mask[max(first, last) :] = False
    assert np.array_equal(again, mask)
