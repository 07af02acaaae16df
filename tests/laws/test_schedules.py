"""Schedules: tile plans equal the oracle; levels give the same bits on any number of threads."""

import numpy as np
import pytest
from comparing import assert_near, assert_same_backprop, oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import blocky, dense_layers, share_levels, user_activation
from strategies import RandomNetwork, networks, random_network, random_samples

import dagbp
from dagbp._engine.tile_plan import TilePlan
from dagbp._machine import TILE_COST
from dagbp._network import model_of
from dagbp._plan import edge_order
from dagbp.optimizers import SGD, Adam

EXACT = 1e-12
TILES = [1, 5, 16, 17, 32, 33, 64, 65, 200]


def everything(net, X, Y, batch_size):
    """Return all results of training and running: first the losses, then arrays."""
    value, gradient = net.loss_and_gradient(X, Y)
    losses, found = [value, net.evaluate(X, Y)], [net.predict(X), gradient]
    optimizers = (
        "sgd",
        Adam(learning_rate=0.01),
        SGD(learning_rate=0.1, momentum=0.5, clip_norm=0.1),
        SGD(learning_rate=0.1, clip_value=0.001, weight_decay=0.1),
    )
    for optimizer in optimizers:
        history = net.fit(
            X, Y, optimizer=optimizer, epochs=2, batch_size=batch_size, seed=0, verbose=0
        )
        losses += history.loss
        found.append(net.parameters)
    return [np.array(losses), *found, net.predict(X), net.predict(X[:3])]


def assert_same_bits(found, expected):
    for one, two in zip(found, expected, strict=True):
        assert np.array_equal(one, two)


def dense_case(activation="tanh"):
    G = dense_layers(activation)
    return RandomNetwork(G, list(G)[:20], list(G)[-20:])


CASES = {
    "one activation": dense_case,
    "random": lambda: random_network(7, max_nodes=40, min_inputs=2, smooth_only=True),
    "user's activation": lambda: dense_case(user_activation()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_levels_give_the_same_bits_on_any_number_of_threads(case, dtype):
    case = CASES[case]()
    X, Y = random_samples(0, case, 150)
    results = []
    for n_threads in (1, 2, 3, 7):
        net = case.compile(dtype=dtype, schedule="levels", n_threads=n_threads, seed=0)
        results.append(everything(share_levels(net), X, Y, batch_size=70))
        assert {tile_plan.team_size for tile_plan in model_of(net).engine._buffers} == {n_threads}
    for result in results[1:]:
        assert_same_bits(result, results[0])


@settings(max_examples=12)
@given(
    st.one_of(networks(max_nodes=30, smooth_only=True), blocky()),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([2, 3, 7]),
    st.sampled_from(TILES),
)
def test_levels_of_random_networks_give_the_same_bits(case, dtype, n_threads, n):
    X, Y = random_samples(n, case, n)
    results = []
    for limit in (1, n_threads):
        net = case.compile(dtype=dtype, schedule="levels", n_threads=limit, seed=0)
        history = share_levels(net).fit(X, Y, optimizer="sgd", epochs=2, seed=0, verbose=0)
        results.append([net.predict(X), *net.loss_and_gradient(X, Y), history.loss, net.parameters])
    assert_same_bits(*results)


def test_levels_shared_by_the_cost_model_give_the_same_bits():
    """The levels exceed the default threshold, and each has a panel."""
    G = dense_layers(widths=(100, 300, 300, 50))
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, 100)), rng.normal(size=(300, 50))
    results = []
    for n_threads in (1, 2, 3):
        net = dagbp.compile(G, schedule="levels", n_threads=n_threads, seed=0)
        results.append(everything(net, X, Y, batch_size=128))
        for tile_plan in model_of(net).engine._buffers:
            cuts = model_of(net).engine.tile_planner.cuts(tile_plan).forward
            assert n_threads == 1 or (cuts[:, 1] < cuts[:, -1]).any()
    for result in results[1:]:
        assert_same_bits(result, results[0])


# ---------------------------------------------------------------------------- the oracle


@pytest.mark.parametrize("ways", ["tiles", "levels"])
@pytest.mark.parametrize("n", TILES)
def test_every_schedule_and_batch_size_equals_the_oracle(ways, n):
    for seed, n_threads in ((1, 1), (2, 2), (3, 4)):
        case = random_network(seed, max_nodes=25, min_inputs=1)
        X, Y = random_samples(seed, case, n)
        net = share_levels(case.compile(dtype="float64", schedule=ways, n_threads=n_threads))
        assert_same_backprop(net.backprop(X, Y), oracle(case, X, Y), EXACT)
        outputs = np.array([net.forward(X).x[v] for v in case.outputs]).T
        assert_near(net.predict(X), outputs, EXACT)


@settings(max_examples=25)
@given(
    blocky(),
    st.sampled_from(["tiles", "levels"]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 8, 9, 33]),
)
def test_dense_networks_equal_the_oracle(case, ways, n_threads, n):
    X, Y = random_samples(n, case, n)
    net = share_levels(case.compile(dtype="float64", schedule=ways, n_threads=n_threads))
    assert_same_backprop(net.backprop(X, Y), oracle(case, X, Y), EXACT)


def test_user_activations_on_dense_layers_equal_finite_differences():
    case = CASES["user's activation"]()
    X, Y = random_samples(0, case, 40)
    direction = None
    for ways, n_threads in (("tiles", 1), ("tiles", 2), ("levels", 3)):
        net = case.compile(dtype="float64", schedule=ways, n_threads=n_threads, seed=0)
        here, (_, gradient) = net.parameters, share_levels(net).loss_and_gradient(X, Y)
        if direction is None:
            direction = np.random.default_rng(0).normal(size=here.shape)
        values = []
        for sign in (1, -1):
            net.parameters = here + sign * 1e-6 * direction
            values.append(net.evaluate(X, Y))
        assert_near(gradient @ direction, (values[0] - values[1]) / 2e-6, 1e-6)


# ---------------------------------------------------------------------------- every tile plan


def run_by(case, tile_plan, dtype, X, Y):
    """Return all results and deltas of a network that uses this tile plan for every call."""
    one = tile_plan._replace(n_teams=1, team_size=1)
    chosen = {1: one}  # backprop, which returns the values of all nodes, allows one thread
    net = share_levels(case.compile(dtype=dtype, seed=0))
    planner = model_of(net).engine.tile_planner
    planner._choose = lambda n, limit, back: chosen.get(limit, tile_plan)
    found = everything(net, X, Y, batch_size=90)
    bp = net.backprop(X, Y)
    return [*found, np.array([bp.delta[v] for v in bp.delta])]


@pytest.mark.parametrize("case", ["one activation", "random"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_groups_and_teams_change_nothing_but_rounding(case, dtype, tolerance):
    case = CASES[case]()
    X, Y = random_samples(1, case, 200)
    teams = [(1, 1), (1, 2), (1, 4), (2, 1), (3, 1), (4, 1)]
    plain = None
    for row_bytes in TILE_COST:
        one = None
        for group in (1, 2, 4):
            for n_teams, team_size in teams:
                tile_plan = TilePlan(row_bytes, group, n_teams, team_size)
                found = run_by(case, tile_plan, dtype, X, Y)
                plain = plain or found
                for result, expected in zip(found, plain, strict=True):
                    assert_near(result, expected, tolerance)
                if n_teams == 1:
                    one = one or found
                    assert_near(found[0], one[0], 1e-14)  # a group's losses are summed together
                    assert_same_bits(found[1:], one[1:])


@pytest.mark.parametrize("case", ["one activation", "random"])
def test_slots_of_64_bits_give_the_same_bits(case):
    case = CASES[case]()
    X, Y = random_samples(0, case, 150)
    results = []
    for dtype in (np.uint32, np.int64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(edge_order, "slots_dtype", lambda n_edges, dtype=dtype: dtype)
            net = case.compile(n_threads=2, seed=0)
            assert model_of(net).engine.layout.plan.in_slot.dtype == dtype
            results.append(everything(net, X, Y, batch_size=70))
    assert_same_bits(*results)
