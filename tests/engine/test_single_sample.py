"""One sample outside of tiles, against plain Python and against the same sample in a tile."""

import threading

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near, oracle
from hypothesis import given
from hypothesis import strategies as st
from naive import LOSSES
from strategies import RandomNetwork, networks, random_network, random_samples

import dagbp
from dagbp import _memory
from dagbp._engine import tile_plan as _tile_plan
from dagbp._engine.tile_plan import TilePlanner
from dagbp._network import model_of

TOLERANCES = {"float32": 2e-5, "float64": 1e-12}


def raw(case):
    """Return the network with identity outputs, as the cross-entropies require."""
    graph = case.G.copy()
    for node in set(case.outputs) - set(case.inputs):
        graph.nodes[node]["activation"] = "identity"
    return RandomNetwork(graph, case.inputs, case.outputs)


def in_tiles(case, **options):
    """Return the network compiled so that a single sample runs in a tile."""
    net = case.compile(schedule="levels", n_threads=1, **options)
    assert not model_of(net).engine.tile_planner.single(1, back=True)
    return net


def alone(case, **options):
    """Return the network compiled so that a single sample runs outside of tiles."""
    net = case.compile(n_threads=1, **options)
    assert model_of(net).engine.tile_planner.single(1, back=False)
    assert model_of(net).engine.tile_planner.single(1, back=True)
    return net


def results(net, X, Y, loss="squared_error", **options):
    """Return all results that one sample can have outside of tiles."""
    value, gradient = net.loss_and_gradient(X, Y, loss, **options)
    return [net.predict(X), net.evaluate(X, Y, loss, **options), value, gradient]


def assert_same(found, expected, tolerance):
    for one, two in zip(found, expected, strict=True):
        assert_near(one, two, tolerance)


# ---------------------------------------------------------------------------- values


@given(networks(max_nodes=30), st.sampled_from(list(LOSSES)), st.integers(0, 2**32 - 1))
def test_every_gradient_equals_the_oracle(case, loss, seed):
    if loss == "softmax_cross_entropy" and len(case.outputs) < 2:
        loss = "huber"
    case = raw(case)
    X, Y = random_samples(seed, case, 1, loss)
    net, expected = alone(case, dtype="float64"), oracle(case, X, Y, loss)
    found = net.backprop(X, Y, loss)  # its gradients are those of `loss_and_gradient`
    assert_near(found.loss, expected.loss, 1e-12)
    assert_near(net.evaluate(X, Y, loss), expected.loss, 1e-12)
    assert_near(net.predict(X)[0], [expected.x[node][0] for node in case.outputs], 1e-12)
    for edge, value in expected.grad_weight.items():
        assert_near(found.grad_weight[edge], value, 1e-12)
    for node, value in expected.grad_bias.items():
        assert_near(found.grad_bias[node], value, 1e-12)


@given(
    networks(max_nodes=60, smooth_only=True),
    st.sampled_from(list(TOLERANCES)),
    st.integers(0, 2**32 - 1),
)
def test_a_single_sample_equals_a_tile(case, dtype, seed):
    X, Y = random_samples(seed, case, 1)
    nets = (make(case, dtype=dtype, seed=0) for make in (alone, in_tiles))
    assert_same(*(results(net, X, Y) for net in nets), TOLERANCES[dtype])


SHAPES = {
    "full": ((33, 50, 50, 7), 1.0, 2.0),
    "filled": ((33, 50, 50, 7), 0.9, 0.5),
    "holes": ((33, 50, 50, 7), 0.9, 2.0),
    "sparse": ((70, 90, 90, 20), 0.1, 2.0),
    "narrow": ((2, 1, 3, 1), 1.0, 2.0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_layers_of_any_density(shape, dtype):
    """Panels, panels with explicit zeros, and rows of every length beside full vectors."""
    widths, density, dense_above = SHAPES[shape]
    G = dagbp.layered(widths, density=density, activation="tanh", seed=3)
    for k, node in enumerate(list(G)[widths[0] :]):
        G.nodes[node]["bias"] = None if k % 5 == 0 else 0.1 * (k % 7)
    nodes = list(G)
    case = RandomNetwork(G, nodes[: widths[0]], nodes[-widths[-1] :])
    options = {"dtype": dtype, "dense_above": dense_above, "seed": 0}
    net = alone(case, **options)
    layout = model_of(net).engine.layout
    assert (layout.n_explicit_zeros > 0) == (shape == "filled")
    assert layout.ins.n_edges > 0 or shape not in ("full", "filled")
    X, Y = random_samples(1, case, 1)
    assert_same(results(net, X, Y), results(in_tiles(case, **options), X, Y), TOLERANCES[dtype])


def test_rows_of_one_to_forty_edges():
    """Rows of less than a vector, one vector, several vectors and a part, in both directions."""
    triangle = [(i, 40 + j) for j in range(40) for i in range(j + 1)]
    mirrored = [(40 + i, 80 + j) for j in range(40) for i in range(j, 40)]
    G = nx.DiGraph(triangle + mirrored)
    case = RandomNetwork(G, list(range(40)), list(range(80, 120)))
    X, Y = random_samples(0, case, 1)
    for dtype, tolerance in TOLERANCES.items():
        options = {"dtype": dtype, "dense_above": 2.0, "seed": 0}
        nets = [make(case, **options) for make in (alone, in_tiles)]
        assert_same(*(results(net, X, Y) for net in nets), tolerance)


@pytest.mark.parametrize("labels", [[2], np.array([0]), np.array([1.0])])
def test_class_labels(labels):
    case = RandomNetwork(*_three_outputs())
    net, X = alone(case, dtype="float64", seed=0), np.array([[0.3, -0.4]])
    Y = np.eye(3)[np.array(labels, int)]
    assert_same(*(results(net, X, y, "softmax_cross_entropy") for y in (labels, Y)), 0)


def _three_outputs():
    G = dagbp.layered([2, 5, 3], seed=0)
    nodes = list(G)
    return G, nodes[:2], nodes[-3:]


def test_any_weight_of_the_only_sample_is_the_mean():
    net = alone(RandomNetwork(*_three_outputs()), seed=0)
    X, Y = np.ones((1, 2)), np.zeros((1, 3))
    plain = results(net, X, Y)
    for weight in (1e-300, 3.0, 1e300):
        assert_same(results(net, X, Y, sample_weight=[weight]), plain, 0)


# ---------------------------------------------------------------------------- users' functions


def test_users_activations_are_called_for_their_own_nodes_alone():
    """The activation would change any negative value of another node."""
    if "above_zero" not in dagbp.activations.names():
        dagbp.activations.register(
            "above_zero", lambda s: abs(s) + 1, lambda s, x: 1.0 if s > 0 else -1.0
        )
    case = random_network(11, activations=("above_zero", "tanh", "gelu"), min_inputs=2)
    for dtype, tolerance in TOLERANCES.items():
        X, Y = random_samples(0, case, 1)
        nets = (make(case, dtype=dtype, seed=0) for make in (alone, in_tiles))
        assert_same(*(results(net, X, Y) for net in nets), tolerance)


def test_a_users_loss():
    if "quartic" not in dagbp.losses.names():
        dagbp.losses.register("quartic", lambda x, y: (x - y) ** 4, lambda x, y: 4 * (x - y) ** 3)
    case = random_network(5, min_inputs=2)
    X, Y = random_samples(0, case, 1)
    nets = (make(case, dtype="float64", seed=0) for make in (alone, in_tiles))
    assert_same(*(results(net, X, Y, "quartic") for net in nets), 1e-12)


def test_an_overwritten_loss_replaces_the_old_one():
    net, X, Y = alone(RandomNetwork(*_three_outputs()), seed=0), np.ones((1, 2)), np.zeros((1, 3))
    for factor in (1.0, 3.0):
        dagbp.losses.register(
            "scaled",
            lambda x, y, c=factor: c * (x - y) ** 2,
            lambda x, y, c=factor: 2 * c * (x - y),
            overwrite=True,
        )
        assert_near(net.evaluate(X, Y, "scaled"), factor * net.evaluate(X, Y), 1e-6)


# ---------------------------------------------------------------------------- what is not finite


def pattern(values):
    """Return 0 for finite values, 1 for inf, -1 for -inf and 2 for NaN."""
    values = np.asarray(values)
    return np.where(np.isnan(values), 2, np.where(np.isinf(values), np.sign(values), 0))


@pytest.mark.parametrize("activation", ["identity", "relu", "silu"])
@pytest.mark.parametrize(("density", "dense_above"), [(0.3, 2.0), (0.9, 0.5), (1.0, 2.0)])
def test_overflow_is_not_finite_in_a_tile_and_outside(activation, density, dense_above):
    G = dagbp.layered([20, 40, 30, 5], density=density, activation=activation, seed=1)
    nodes = list(G)
    rng = np.random.default_rng(0)
    for u, v in G.edges:
        G.edges[u, v]["weight"] = rng.normal()
    loud = next(iter(G.succ[nodes[0]]))
    G.remove_edges_from([edge for edge in list(G.out_edges(nodes[0])) if edge[1] != loud])
    G.edges[nodes[0], loud]["weight"] = 1e200
    G.remove_edges_from(list(G.out_edges(loud))[3:])
    near = set(G.succ[loud])  # these alone have to do with the last output
    G.remove_edges_from(
        [(u, v) for u in nodes[60:90] for v in list(G.succ[u]) if (u in near) != (v == nodes[-1])]
    )
    G.add_edges_from((u, nodes[-1]) for u in near)
    case = RandomNetwork(G, nodes[:20], nodes[-5:])
    X, Y = random_samples(0, case, 1)
    X[0, 0] = 1e200  # times 1e200: no float64
    options = {"dtype": "float64", "dense_above": dense_above}
    one, two = (results(make(case, **options), X, Y) for make in (alone, in_tiles))
    assert not np.isfinite(one[-1]).all()
    assert np.isfinite(one[-1]).sum() > 100
    for found, expected in zip(one[:3], two[:3], strict=True):
        assert np.array_equal(pattern(found), pattern(expected))
    for found, expected in zip(one, two, strict=True):
        # Of infinite gradients a tile makes NaN: its idle lanes weigh 0.
        finite = np.isfinite(found)
        assert np.array_equal(finite, np.isfinite(expected))
        assert_near(np.asarray(found)[finite], np.asarray(expected)[finite], 1e-9)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "gelu"])
def test_a_node_without_out_edges_that_is_not_finite_gives_nan(activation):
    """Its x is not finite, the loss is: outside of tiles, in a tile, and with all signals."""
    G = nx.DiGraph()
    G.add_nodes_from(["p", "q", "y"], activation="identity")
    G.add_node("dead", activation=activation)
    G.add_weighted_edges_from([("a", "p", 3e38), ("a", "q", -3e38), ("b", "y", 1.0)])
    G.add_weighted_edges_from([("p", "dead", 2.0), ("q", "dead", 2.0)])
    options = {"inputs": ["a", "b"], "outputs": ["y"], "dtype": "float32", "n_threads": 1}
    net = dagbp.compile(G, **options)
    X, Y = np.array([[10.0, 1.0]] * 2), np.zeros((2, 1))
    one, two = net.loss_and_gradient(X[:1], Y[:1]), net.loss_and_gradient(X, Y)
    assert one[0] == two[0] == 1
    kept = net.backprop(X, Y)
    assert np.isnan(kept.delta["dead"]).all()
    assert np.isnan(kept.grad_bias["dead"])
    assert np.array_equal(pattern(one[1]), pattern(two[1]))


# ---------------------------------------------------------------------------- buffers


def test_buffers_of_earlier_calls_change_no_result():
    """Between two calls come other samples, batches, training and new parameters."""
    case = random_network(3, max_nodes=40, min_inputs=3, smooth_only=True)
    X, Y = random_samples(0, case, 30)
    net = alone(case, seed=0)
    first = results(net, X[:1], Y[:1])
    copies = [np.array(value) for value in first]
    net.loss_and_gradient(-X[1:2], -Y[1:2])
    net.predict(X)
    net.fit(X, Y, epochs=1, batch_size=1, seed=0, verbose=0)
    assert_same(first, copies, 0)
    trained = net.parameters
    assert_near(net.predict(X[:1]), net.predict(X)[:1], 1e-5)
    net.parameters = 0 * trained
    net.predict(X[:1])
    net.parameters = alone(case, seed=0).parameters
    assert_same(results(net, X[:1], Y[:1]), copies, 0)
    net.release()
    assert_same(results(net, X[:1], Y[:1]), copies, 0)


def test_threads_take_turns():
    case = random_network(3, max_nodes=40, min_inputs=3)
    X, Y = random_samples(0, case, 8)
    net = alone(case, seed=0)
    expected = [results(net, X[k : k + 1], Y[k : k + 1]) for k in range(8)]
    wrong = []

    def work(k):
        for _ in range(200):
            found = results(net, X[k : k + 1], Y[k : k + 1])
            if not all(map(np.array_equal, found, expected[k])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_calls_beyond_the_memory_are_refused(monkeypatch):
    net = alone(RandomNetwork(*_three_outputs()), seed=0)
    monkeypatch.setattr(_memory, "available_bytes", lambda: 100)
    text = r"^a sample's values and gradient needs [\d.,]+ \w+, but only 100 bytes are available$"
    for call in (net.predict, lambda X: net.loss_and_gradient(X, np.zeros((1, 3)))):
        with pytest.raises(dagbp.MemoryLimitError, match=text):
            call(np.ones((1, 2)))


# ---------------------------------------------------------------------------- the choice


def test_levels_never_run_a_sample_outside_of_tiles():
    """Results have the same bits on any number of threads."""
    chosen = model_of(alone(RandomNetwork(*_three_outputs()))).engine.tile_planner
    assert chosen.single(1, back=True)
    chosen = TilePlanner(chosen._layout, "levels")
    assert not any(chosen.single(limit, back) for limit in (None, 1, 7) for back in (False, True))


def test_many_threads_share_a_wide_net_and_no_other(monkeypatch):
    monkeypatch.setattr(_tile_plan, "available_cores", lambda: 16)
    there = np.random.default_rng(0).random((1000, 1000)) < 0.33
    wide = np.argwhere(there) + np.array([0, 1000])
    deep = np.array([(i, j) for i in range(8000) for j in range(i + 1, min(i + 40, 8000))])
    for edges, shared in ((wide, True), (deep, False)):
        net = dagbp.Network.from_edges(*edges.T, seed=0)
        assert net.n_edges > 300_000
        chosen = model_of(net).engine.tile_planner
        for back in (False, True):
            assert chosen.single(1, back)
            assert chosen.single(2, back)
            assert chosen.single(None, back) == (not shared)
            assert chosen.single(16, back) == (not shared)
