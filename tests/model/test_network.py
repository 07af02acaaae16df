"""Methods of `Network`: results, refused arguments, and unchanged state."""

import copy
import pickle
from functools import partial

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from comparing import assert_near, assert_same_backprop, oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network as compiled
from scipy.optimize import minimize
from strategies import networks, random_network, random_samples

import dagbp
from dagbp import DataError, History, OptionError
from dagbp._model import model
from dagbp._model.initial_values import draw_parameters
from dagbp._network import model_of

X = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5], [0.0, 3.0], [1.0, 1.0]])
Y = np.array([[0.25], [-1.0], [0.5], [2.0], [-0.125]])


def graph():
    """Return a small graph with every attribute: skips, a frozen edge, a node without bias."""
    G = nx.DiGraph(name="drawn by hand")
    G.add_node("a", pos=(0, 0))
    G.add_node(("b", 1))
    G.add_node("h", activation="sin", bias=0.25, colour="red")
    G.add_node(3, activation="softplus", bias=None)
    G.add_node("y", bias=-0.5)
    G.add_edge("a", "h", weight=0.5, label="first")
    G.add_edge(("b", 1), "h", weight=-1.0, trainable=False)
    G.add_edge("h", 3, weight=1.5)
    G.add_edge("a", "y", weight=0.75)
    G.add_edge(3, "y", weight=-0.25)
    return G


network = partial(compiled, graph(), dtype="float64")


# ---------------------------------------------------------------------------- what it returns


def test_predict_by_hand():
    a, b = X.T
    hidden = np.log1p(np.exp(1.5 * np.sin(0.5 * a - b + 0.25)))
    assert_near(network().predict(X)[:, 0], 0.75 * a - 0.25 * hidden - 0.5, 1e-14)


def test_shapes_and_dtypes():
    for dtype in (np.float32, np.float64):
        net = network(dtype=dtype)
        assert net.dtype == dtype
        for n in (0, 1, 5, 300):
            rows = np.ones((n, 2))
            assert net.predict(rows).shape == (n, 1)
            assert net.predict(rows).dtype == dtype
            assert net.forward(rows).s["y"].shape == (n,)
        bp = net.backprop(X, Y)
        assert isinstance(bp.loss, float)
        assert bp.x["a"].dtype == bp.delta["h"].dtype == bp.grad_weight["a", "h"].dtype == dtype
        value, gradient = net.loss_and_gradient(X, Y)
        assert isinstance(value, float)
        assert gradient.shape == net.parameters.shape
        assert gradient.dtype == net.parameters.dtype == dtype


def test_names_of_values():
    bp = network().backprop(X, Y)
    computed, nodes = ["h", 3, "y"], list(graph())
    assert list(bp.x) == nodes
    assert list(bp.s) == list(bp.delta) == list(bp.grad_bias) == computed
    assert list(bp.grad_weight) == list(graph().edges)
    assert np.array_equal(bp.x["a"], X[:, 0])
    for missing, text in (
        ("nobody", "the network has no node 'nobody'"),
        ("a", "node 'a' is an input; inputs have no such value"),
    ):
        assert missing not in bp.s
        with pytest.raises(KeyError, match=text):
            bp.s[missing]
    for missing in (("h", "a"), ("a", 3), "a", ("a", "h", "y"), ("a",), None, ("q", "h"), 7):
        assert missing not in bp.grad_weight
    for missing, text in (
        (("h", "a"), "the network has no edge from 'h' to 'a'"),
        (("q", "h"), "the network has no node 'q'"),
        (("a", "h", "y"), r"\('a', 'h', 'y'\) is no edge; it must be a tuple \(source, target\)"),
        (("a", []), r"\('a', \[\]\) is no edge: its ends are not hashable"),
    ):
        with pytest.raises(KeyError, match=text):
            bp.grad_weight[missing]


def test_the_summary_shows_whether_the_graph_is_stored():
    G = dagbp.layered([20, 30, 5])
    assert "about 206.1 KiB for its NetworkX graph" in dagbp.compile(G).summary()
    src, dst = zip(*nx.convert_node_labels_to_integers(G).edges, strict=True)
    assert "NetworkX" not in dagbp.Network.from_edges(src, dst).summary()


def test_one_weight_or_bias_is_assigned_by_name():
    net = network()
    expected = np.array(net.parameters)
    weights, biases = net.weights, net.biases
    for key, view, value in ((("a", "h"), weights, 0.5), ("h", biases, -2.0)):
        view[key] = value
        expected[net.parameter_names.index(key)] = value
        assert view[key] == value
        assert np.array_equal(net.parameters, expected)
    assert net.weights["a", "h"] == 0.5
    for key, value, error in ((("h", "a"), 1.0, KeyError), (("a", "h"), np.nan, DataError)):
        with pytest.raises(error):
            net.weights[key] = value
    G = nx.DiGraph([("a", "y")])
    G.add_node("y", bias=None)
    with pytest.raises(DataError, match="node 'y' has no bias, so its parameter must be 0"):
        dagbp.compile(G).biases["y"] = 1.0
    for view, key in ((net.backprop(X, Y).grad_weight, ("a", "h")), (net.forward(X).x, "h")):
        with pytest.raises(TypeError, match="these values are results and cannot be assigned"):
            view[key] = 1.0
    assert np.array_equal(net.parameters, expected)


def test_two_letters_are_no_edge():
    weights = dagbp.compile(nx.DiGraph([("a", "y")])).weights
    assert ("a", "y") in weights
    assert "ay" not in weights
    assert ["a", "y"] not in weights


def test_all_calls_agree():
    net = network()
    bp, forward = net.backprop(X, Y), net.forward(X)
    value, gradient = net.loss_and_gradient(X, Y)
    assert_near(net.evaluate(X, Y), value, 1e-14)
    assert_near(bp.loss, value, 1e-14)
    assert_near(net.predict(X)[:, 0], forward.x["y"], 1e-15)
    for node in forward.s:
        assert np.array_equal(forward.s[node], bp.s[node])
        assert np.array_equal(forward.x[node], bp.x[node])
    frozen = [*bp.grad_weight.values(), *bp.grad_bias.values()].count(0.0)
    assert frozen == 0, "gradients of frozen edges are there"
    # what does not train: the edge ("b", 1) -> "h" and the absent bias of 3
    assert np.count_nonzero(gradient) == len(gradient) - 2
    assert bp.grad_weight[("b", 1), "h"] != 0


def test_weights_and_biases_are_the_parameters():
    net = network()
    G = graph()
    assert dict(net.weights) == {(u, v): d["weight"] for u, v, d in G.edges(data=True)}
    assert dict(net.biases) == {"h": 0.25, 3: 0.0, "y": -0.5}
    flat = net.parameters
    assert sorted(flat) == sorted([*net.weights.values(), *net.biases.values()])
    before = net.weights
    net.parameters = 2 * flat
    assert net.weights["a", "h"] == 1.0
    assert before["a", "h"] == 0.5, "a view shows the moment it was taken"


@given(networks(), st.integers(0, 2**31))
def test_gradient_is_aligned_with_parameters(case, seed):
    """Gradients and parameters have the same names: a change of one parameter shows it."""
    net = case.compile(dtype="float64", seed=seed)
    flat = np.arange(1.0, len(net.parameters) + 1)
    nodes = net.to_networkx().nodes
    absent = [
        not isinstance(nodes[v].get("bias"), float) for v in net.parameter_names[net.n_edges :]
    ]
    flat[net.n_edges :][np.array(absent, bool)] = 0
    net.parameters = flat
    assert np.array_equal(net.parameters, flat)
    placed = [*net.weights.values(), *net.biases.values()]
    assert sorted(placed) == sorted(flat.tolist())
    data = random_samples(seed, case, 3)
    bp = net.backprop(*data)
    gradient = net.loss_and_gradient(*data)[1]
    place = {value: k for k, value in enumerate(flat) if value}
    names = net.parameter_names
    for edge, weight in net.weights.items():
        assert gradient[place[weight]] in (0, bp.grad_weight[edge])
        assert names[place[weight]] == edge
    for node, value in net.biases.items():
        assert value == 0 or gradient[place[value]] in (0, bp.grad_bias[node])
        assert value == 0 or names[place[value]] == node
    assert len(names) == len(flat)


def test_texts():
    net = network()
    assert repr(net) == ("<Network: 5 nodes (2 inputs, 1 outputs), 5 edges, depth 3, float64>")
    summary = net.summary()
    for part in ("2 inputs, 2 hidden, 1 outputs", "5 weights, 2 biases; 6 trained", "softplus 1"):
        assert part in summary
    assert repr(net.biases) == (
        "<3 nodes: {'h': np.float64(0.25), 3: np.float64(0.0), 'y': np.float64(-0.5)}>"
    )
    assert repr(net.weights).startswith("<5 edges: {('a', 'h'): np.float64(0.5), ")
    assert repr(net.forward(np.zeros((1000, 2)))).startswith(
        "Forward(s=<3 nodes: {'h': array of 1,000, 3: array of 1,000, 'y': array of 1,000}>, x="
    )
    history = History([0.5, 0.25], [0.75, 1.0], 1_234, 0.5)
    assert repr(history) == (
        "<History: 2 epochs, loss 0.5 -> 0.25, val_loss 0.75 -> 1, 1,234 steps in 0.5 s>"
    )
    assert repr(History(stopped="no")) == "<History: 0 epochs, 0 steps in 0 s; no>"


# ---------------------------------------------------------------------------- unusual networks


def test_outputs_that_are_inputs_and_hidden_nodes():
    net = dagbp.compile(graph(), inputs=["a", ("b", 1)], outputs=["h", "a", "y"], dtype="float64")
    assert net.outputs == ["h", "a", "y"]
    P = net.predict(X)
    assert np.array_equal(P[:, 1], X[:, 0])
    bp = net.backprop(X, P)
    assert bp.loss == 0
    bp = net.backprop(X, P + np.array([0, 1, 0]))
    assert_near(bp.loss, 1, 1e-14)
    assert all(gradient == 0 for gradient in bp.grad_weight.values())


def test_no_inputs_and_no_edges():
    G = nx.DiGraph()
    G.add_node("c", activation="sigmoid", bias=1.0)
    net = dagbp.compile(G, inputs=[], dtype="float64")
    assert net.inputs == []
    assert_near(net.predict(np.empty((3, 0))), np.full((3, 1), 1 / (1 + np.exp(-1))), 1e-15)
    history = net.fit(np.empty((8, 0)), np.full(8, 0.25), epochs=400, learning_rate=0.1, verbose=0)
    assert history.loss[-1] < 1e-6
    assert net.predict(pd.DataFrame(index=range(2))).shape == (2, 1)


def test_from_edges_is_the_same_network():
    src, dst, weight = [0, 1, 0, 2], [2, 2, 3, 3], [1.0, -2.0, 0.5, 3.0]
    net = dagbp.Network.from_edges(src, dst, 4, weight=weight, dtype="float64")
    G = nx.DiGraph()
    G.add_nodes_from(range(4))
    G.add_weighted_edges_from(zip(src, dst, weight, strict=True))
    same = dagbp.compile(G, dtype="float64")
    assert np.array_equal(net.predict(X), same.predict(X))
    assert np.array_equal(net.parameters, same.parameters)
    back = net.to_networkx()
    assert set(back.edges(data="weight")) == {*zip(src, dst, weight, strict=True)}
    again = dagbp.compile(back, dtype="float64")
    assert np.array_equal(again.predict(X), net.predict(X))


# ---------------------------------------------------------------------------- round trips


def test_to_networkx_keeps_everything_else():
    net = network()
    net.fit(X, Y, epochs=3, verbose=0)
    back = net.to_networkx()
    G = graph()
    assert list(back) == list(G)
    assert list(back.edges) == list(G.edges)
    assert back.graph == G.graph
    for node, attributes in G.nodes(data=True):
        expected = dict(attributes)
        if node in net.biases:
            expected["activation"] = attributes.get("activation", "identity")
        if node in ("h", "y"):
            expected["bias"] = net.biases[node]
        assert back.nodes[node] == expected
    for u, v, attributes in G.edges(data=True):
        assert back.edges[u, v] == attributes | {"weight": net.weights[u, v]}
    again = dagbp.compile(back, dtype="float64")
    assert np.array_equal(again.parameters, net.parameters)
    assert np.array_equal(again.predict(X), net.predict(X))


def test_the_users_graph_may_change_after_compiling():
    G = graph()
    net = dagbp.compile(G, dtype="float64")
    G.remove_edge("a", "h")
    G.nodes["h"]["activation"] = "relu"
    G.add_edge("a", "later")
    back = net.to_networkx()
    assert list(back.edges) == list(graph().edges)
    assert back.nodes["h"]["activation"] == "sin"


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
)
def test_copies(twin):
    net = network(n_threads=2)
    net.predict(X)
    other = twin(net)
    assert np.array_equal(other.parameters, net.parameters)
    assert np.array_equal(other.predict(X), net.predict(X))
    assert (other.inputs, other.outputs, other.n_threads) == (net.inputs, net.outputs, 2)
    assert nx.utils.graphs_equal(other.to_networkx(), net.to_networkx())
    assert (
        other.fit(X, Y, seed=1, verbose=0).loss
        == twin(network(n_threads=2)).fit(X, Y, seed=1, verbose=0).loss
    )
    if twin is not copy.copy:
        assert np.array_equal(net.parameters, network().parameters), "a copy trains alone"


def test_parameters_are_read_only_and_round_trip():
    net = network()
    flat = net.parameters
    with pytest.raises(ValueError, match="read-only"):
        flat[0] = 1
    net.parameters = flat
    assert np.array_equal(net.parameters, flat)
    net.parameters = [float(v) for v in 3 * flat]
    assert np.array_equal(net.parameters, 3 * flat)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:-1], r"parameters must have shape \(8,\), got shape \(7,\)"),
        (lambda p: p[None], r"parameters must have shape \(8,\), got shape \(1, 8\)"),
        (
            lambda p: p * [1] * 7 + [np.nan] * 8,
            r"parameters must be finite, got nan at index \(0,\)",
        ),
        (lambda p: p + np.inf, r"parameters must be finite, got inf"),
        (lambda p: p + 1, r"node 3 has no bias, so its parameter must be 0, got 1"),
        (lambda p: p + 1j, r"parameters must hold real numbers, got dtype complex128"),
        (lambda p: ["x"] * 8, r"parameters must hold real numbers"),
        (lambda p: None, r"parameters must"),
    ],
)
def test_bad_parameters_change_nothing(change, message):
    net = network()
    before, prediction = net.parameters, net.predict(X)
    with pytest.raises(DataError, match=message):
        net.parameters = change(before)
    assert np.array_equal(net.parameters, before)
    assert np.array_equal(net.predict(X), prediction)


@pytest.mark.parametrize("bad", [0, -1, 1.0, "2", True, 513, 10**30, [1], np.nan])
def test_bad_thread_counts(monkeypatch, bad):
    monkeypatch.setattr(model, "available_cores", lambda: 512)
    net = network(n_threads=2)
    with pytest.raises(OptionError, match="n_threads must be None or a whole number from 1 to 512"):
        net.n_threads = bad
    assert net.n_threads == 2


def test_scipy_minimises_it():
    net = network()
    data = np.random.default_rng(0).normal(size=(50, 2))
    target = network().predict(data)

    def objective(flat):
        net.parameters = flat
        return net.loss_and_gradient(data, target)

    start = net.parameters + 0.2 * (net.loss_and_gradient(data, target + 1)[1] != 0)
    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-10})
    assert found.fun < 1e-12
    assert net.weights[("b", 1), "h"] == -1.0, "a frozen edge stays"


@settings(max_examples=20)
@given(networks(min_inputs=1), st.data())
def test_oracle_after_a_round_trip(case, data):
    """A network equals the oracle on its graph, also after pickling."""
    net = pickle.loads(pickle.dumps(case.compile(dtype="float64")))
    X, Y = random_samples(data.draw(st.integers(0, 99)), case, 4)
    assert_same_backprop(net.backprop(X, Y), oracle(case, X, Y), 1e-12)


def test_seeds_determine_the_weights():
    G = nx.gnp_random_graph(12, 0.5, seed=1, directed=True)
    G = nx.DiGraph((u, v) for u, v in G.edges if u < v)
    one, same, other = (dagbp.compile(G, seed=s).parameters for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    by_generator = dagbp.compile(G, seed=np.random.default_rng(1)).parameters
    assert np.array_equal(one, by_generator)


@pytest.mark.parametrize("given_share", [0.0, 0.5, 1.0])
def test_initial_weights_in_slices_keep_those_of_the_graph(given_share):
    rng = np.random.default_rng(0)
    src, dst = np.nonzero(np.triu(rng.random((30, 30)) < 0.5, k=1))
    weight = rng.normal(size=len(src))
    G = nx.DiGraph(zip(src.tolist(), dst.tolist(), strict=True))
    for e in np.flatnonzero(rng.random(len(src)) < given_share).tolist():
        G.edges[int(src[e]), int(dst[e])]["weight"] = weight[e]
    at_once, net = (dagbp.compile(G, seed=0, dtype="float64") for _ in range(2))
    of = model_of(net)
    of.parameters = draw_parameters(of.graph, of.plan, "auto", 0, net.dtype, slice_edges=10)
    for u, v, value in G.edges(data="weight"):
        assert np.isfinite(net.weights[u, v])
        assert value is None or net.weights[u, v] == at_once.weights[u, v] == value


def test_a_wide_random_network_equals_the_oracle():
    case = random_network(3, max_nodes=40, min_inputs=2)
    X, Y = random_samples(0, case, 70)
    assert_same_backprop(case.compile(dtype="float64").backprop(X, Y), oracle(case, X, Y), 1e-12)
