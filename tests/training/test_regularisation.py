"""Penalties, norms and dropout equal plain Python, step by step."""

import math
from functools import partial

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from naive import as_samples, dropout_mask, forward
from networks import CASE
from networks import network as compiled
from strategies import random_samples

import dagbp
from dagbp import OptionError, Penalty
from dagbp._kernels.formulas.dropout import drop
from dagbp._network import model_of
from dagbp.losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from dagbp.optimizers import SGD

network = partial(compiled, CASE, dtype="float64")
X, Y = random_samples(0, CASE, 23)
RATE = 0.05
ONE_STEP = {
    "optimizer": SGD(learning_rate=RATE),
    "epochs": 1,
    "batch_size": len(X),
    "shuffle": False,
    "verbose": 0,
}


def trained_edges():
    return [e for e in CASE.G.edges if CASE.G.edges[e].get("trainable", True)]


def penalty_by_hand(net, penalty, edges, nodes=()):
    """Return the value, and the gradient by edge and node, of l1 |p| + l2 p^2 / 2."""
    value, weight, bias = 0.0, {}, {}
    for found, keys, values in ((weight, edges, net.weights), (bias, nodes, net.biases)):
        for key in keys:
            p = float(values[key])
            value += penalty.l1 * abs(p) + penalty.l2 * p * p / 2
            found[key] = penalty.l1 * math.copysign(p != 0, p) + penalty.l2 * p
    return value, weight, bias


# ---------------------------------------------------------------------------- penalties


def in_edges_of(nodes):
    return [e for e in trained_edges() if e[1] in nodes]


CHOICES = {
    "all weights": ({}, lambda: (trained_edges(), [])),
    "some edges": (
        {"edges": trained_edges()[::2]},
        lambda: (trained_edges()[::2], []),
    ),
    "nodes": (
        {"nodes": list(CASE.G)[-3:], "biases": True},
        lambda: (in_edges_of(list(CASE.G)[-3:]), trained_biases(list(CASE.G)[-3:])),
    ),
}


def trained_biases(nodes):
    return [
        j
        for j in nodes
        if j not in CASE.inputs
        and CASE.G.nodes[j].get("bias", 0.0) not in (None, False)
        and CASE.G.nodes[j].get("trainable", True)
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("choice", CHOICES)
def test_penalties_equal_plain_python(choice, n_threads, dtype):
    arguments, chosen = CHOICES[choice]
    penalty = Penalty(l1=0.3, l2=0.2, **arguments)
    net, other = network(dtype=dtype, n_threads=n_threads), network(dtype=dtype)
    plain = other.fit(X, Y, **ONE_STEP)
    value, weight, bias = penalty_by_hand(network(dtype=dtype), penalty, *chosen())
    history = net.fit(X, Y, penalties=[penalty], **ONE_STEP)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert value > 0.1
    assert_near(history.loss[0], plain.loss[0] + value, tolerance)
    for e in CASE.G.edges:
        assert_near(net.weights[e], other.weights[e] - RATE * weight.get(e, 0.0), tolerance)
    for j in net.biases:
        assert_near(net.biases[j], other.biases[j] - RATE * bias.get(j, 0.0), tolerance)


def test_penalties_add_up_and_come_before_the_clipping():
    both = [Penalty(l2=0.1), Penalty(l2=0.3, edges=trained_edges()[:2]), Penalty(l1=0.2)]
    net = network()
    limit = SGD(learning_rate=RATE, clip_norm=0.01)
    net.fit(X, Y, penalties=both, **{**ONE_STEP, "optimizer": limit})
    start = network()
    moved = net.parameters - start.parameters
    assert_near(np.linalg.norm(moved), RATE * 0.01, 1e-12)
    gradient = start.loss_and_gradient(X, Y)[1]
    for penalty, edges in zip(
        both, (trained_edges(), trained_edges()[:2], trained_edges()), strict=True
    ):
        _, weight, _ = penalty_by_hand(start, penalty, edges)
        for e, slope in weight.items():
            gradient[model_of(start).names.slot(e)] += slope
    assert_near(moved, -RATE * 0.01 * gradient / np.linalg.norm(gradient), 1e-10)


def test_an_iterator_of_edges_is_not_used_up():
    penalty = Penalty(l2=10.0, edges=iter(trained_edges()[:2]))
    losses = [network().fit(X, Y, penalties=[penalty], **ONE_STEP).loss for _ in range(2)]
    assert losses[0] == losses[1] != network().fit(X, Y, **ONE_STEP).loss


def test_a_mask_of_edges():
    net, other = network(), network()
    mask = np.zeros(net.n_edges, np.bool_)
    mask[::3] = True
    net.fit(X, Y, penalties=[Penalty(l2=0.5, edges=mask)], **ONE_STEP)
    other.fit(X, Y, **ONE_STEP)
    start, chosen = network().parameters, np.append(mask, np.zeros(len(net.biases), np.bool_))
    chosen &= model_of(net).engine.parameters.trained
    assert_near(net.parameters, other.parameters - RATE * 0.5 * start * chosen, 1e-12)


def test_the_l1_of_zero_has_no_slope():
    G = nx.DiGraph([("a", "y")])
    G.edges["a", "y"]["weight"] = 0.0
    net = dagbp.compile(G)
    history = net.fit([[0.0]], [0.0], penalties=[Penalty(l1=1.0)], **ONE_STEP)
    assert (history.loss, net.weights["a", "y"]) == ([0.0], 0.0)


def test_explicit_zeros_and_frozen_parameters_are_not_penalised():
    G = dagbp.layered([40, 48, 3], density=0.9, activation="tanh", seed=0)
    data = np.random.default_rng(0).normal(size=(2, 30, 40))
    nets = [dagbp.compile(G, seed=0, dtype="float64", dense_above=d) for d in (0.5, 1.0)]
    assert model_of(nets[0]).engine.layout.n_explicit_zeros > 0
    options = {"penalties": [Penalty(l1=0.01, l2=0.1)], "max_norm": 0.8, "epochs": 3, "verbose": 0}
    histories = [net.fit(data[0], data[1, :, :3], seed=0, **options) for net in nets]
    assert_near(histories[0].loss, histories[1].loss, 1e-10)
    assert_near(nets[0].parameters, nets[1].parameters, 1e-10)


def test_a_penalty_beyond_the_dtype_counts_and_one_beyond_float64_diverges():
    edge = {"src": [0], "dst": [1], "activation": "identity"}
    step = {**ONE_STEP, "optimizer": SGD(learning_rate=1e-9), "penalties": [Penalty(l2=1e-3)]}
    none = np.zeros((2, 1)), np.zeros((2, 1))
    net = dagbp.Network.from_edges(**edge, weight=[1e25])
    assert net.fit(*none, **step).loss == pytest.approx([0.5e-3 * 1e50])
    net = dagbp.Network.from_edges(**edge, weight=[1e200], dtype="float64")
    with pytest.raises(dagbp.DivergenceError):
        net.fit(*none, **step)
    assert net.weights[0, 1] == 1e200


def test_an_infinite_penalty_diverges_beside_frozen_parameters():
    net = dagbp.Network.from_edges(
        [0, 1], [2, 2], weight=[1.0, 1e200], trainable=[False, True], dtype="float64"
    )
    with pytest.raises(dagbp.DivergenceError):
        net.fit(np.zeros((2, 2)), [0.0, 0.0], penalties=[Penalty(l2=1e-3)], **ONE_STEP)
    assert (net.weights[0, 2], net.weights[1, 2]) == (1.0, 1e200)


# ---------------------------------------------------------------------------- norms


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("limit", [0.3, 1.0, 100.0])
def test_max_norm(limit, n_threads, dtype):
    net, other = network(dtype=dtype, n_threads=n_threads), network(dtype=dtype)
    net.fit(X, Y, max_norm=limit, **ONE_STEP)
    other.fit(X, Y, **ONE_STEP)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    bound = 0
    for j in CASE.G:
        edges = in_edges_of([j])
        norm = math.hypot(*(float(other.weights[e]) for e in edges))
        scale = min(1.0, limit / norm) if norm else 1.0
        bound += scale < 1
        for e in edges:
            assert_near(net.weights[e], scale * other.weights[e], tolerance)
    assert (bound > 0) == (limit < 100)
    frozen = [e for e in CASE.G.edges if e not in trained_edges()]
    start = network(dtype=dtype)
    assert all(net.weights[e] == start.weights[e] for e in frozen)
    assert np.array_equal(
        net.parameters,
        model_of(net).engine.parameters.to_user_order(model_of(net).engine.parameters.by_source),
    )


def test_the_norm_of_weights_whose_squares_overflow():
    net = dagbp.Network.from_edges(
        [0, 1], [2, 2], weight=[3e200, 4e200], activation="identity", dtype="float64"
    )
    net.fit(np.zeros((2, 2)), [0.0, 0.0], max_norm=5.0, **ONE_STEP)
    assert_near(net.parameters, [3.0, 4.0, 0.0], 1e-15)


def test_max_norm_by_node():
    node = next(j for j in CASE.G if len(in_edges_of([j])) > 1)
    net, other = network(), network()
    net.fit(X, Y, max_norm={node: 1e-3}, **ONE_STEP)
    other.fit(X, Y, **ONE_STEP)
    assert_near(math.hypot(*(net.weights[e] for e in in_edges_of([node]))), 1e-3, 1e-12)
    rest = [e for e in CASE.G.edges if e[1] != node]
    assert all(net.weights[e] == other.weights[e] for e in rest)


# ---------------------------------------------------------------------------- dropout


def wide(n_hidden, **options):
    """Return a fixed network of one output, the sum of n hidden nodes of value 1."""
    G = nx.DiGraph()
    for k in range(n_hidden):
        G.add_node(k, activation="identity", bias=1.0, trainable=False)
        G.add_edge("in", k, weight=0.0, trainable=False)
        G.add_edge(k, "out", weight=1.0)
    G.nodes["out"]["bias"] = None
    return dagbp.compile(G, dtype="float64", **options)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(rate):
    """The loss of a frozen sum of n ones: its mean over samples is that of (sum m / stays)^2."""
    n, n_samples = 50, 4000
    net = wide(n)
    history = net.fit(
        np.zeros((n_samples, 1)),
        np.zeros(n_samples),
        optimizer=SGD(learning_rate=0.0),
        batch_size=n_samples,
        epochs=1,
        dropout=rate,
        seed=0,
        verbose=0,
    )
    expected = n * n + n * rate / (1 - rate)  # mean squared plus variance of the sum
    sd = 2 * n * math.sqrt(n * rate / (1 - rate)) / math.sqrt(n_samples)
    assert abs(history.loss[0] - expected) < 5 * sd + 0.01 * expected
    assert history.loss[0] != n * n


def dropped_step(net, rate, seed=0, **options):
    return net.fit(X, Y, dropout=rate, seed=seed, **{**ONE_STEP, **options})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_masks_on_any_schedule_and_any_number_of_threads(dtype):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(300, 12)), rng.normal(size=(300, 3))
    G = dagbp.layered([12, 40, 40, 3], density=0.6, activation="tanh", seed=0)
    options = {"epochs": 3, "batch_size": 130, "dropout": 0.3, "input_dropout": 0.2}
    found = []
    for n_threads, ways, dense_above in ((1, "auto", None), (3, "tiles", 1), (2, "levels", 0.3)):
        ways = {"schedule": ways, "dense_above": dense_above}
        net = dagbp.compile(G, dtype=dtype, n_threads=n_threads, seed=0, **ways)
        history = net.fit(*data, seed=5, verbose=0, **options)
        found.append((history.loss, net.parameters))
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for loss, parameters in found[1:]:
        assert_near(loss, found[0][0], tolerance)
        assert_near(parameters, found[0][1], tolerance)


def test_the_gradient_is_that_of_the_masked_network():
    """Compare with differences of the loss under the same masks: the same seed and step."""
    rates = {"dropout": 0.4, "input_dropout": 0.3}

    def loss_at(parameters):
        net = network()
        net.parameters = parameters
        still = {**ONE_STEP, "optimizer": SGD(learning_rate=0.0)}
        return net.fit(X, Y, seed=3, **rates, **still).loss[0]

    net = network()
    start = net.parameters
    loss = net.fit(X, Y, seed=3, **rates, **ONE_STEP).loss[0]
    assert loss == loss_at(start)
    assert abs(loss - network().evaluate(X, Y)) > 1e-3
    gradient, h = (start - net.parameters) / RATE, 1e-5
    trained = np.flatnonzero(model_of(net).engine.parameters.trained)
    for k in trained:
        up, down = start.copy(), start.copy()
        up[k] += h
        down[k] -= h
        difference = (loss_at(up) - loss_at(down)) / (2 * h)
        assert abs(gradient[k] - difference) < 1e-6 * max(1, np.abs(gradient).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_lanes", [1, 16, 64])
def test_masks_are_those_of_plain_python(dtype, n_lanes):
    stays = np.array([1.0, 0.5, 0.9, 0.2, 0.5])
    key = np.array([2**63 + 12345, 77], np.uint64)
    rows = np.full((3, n_lanes), 2.0, dtype)
    call = drop.call_from_python(np.dtype(dtype))
    call(*(a.ctypes.data for a in (rows, stays, key)), 2, 5, 2**32 - 5, n_lanes)
    for row in range(3):
        for b in range(n_lanes):
            of = int(key[0]), int(key[1]), 2 + row, 2**32 - 5 + b, stays[2 + row]
            assert rows[row, b] == np.dtype(dtype).type(2 * dropout_mask(*of))
    if n_lanes > 1:
        assert len(np.unique(rows)) > 2


def test_a_rate_by_node_and_inputs_alone():
    node = CASE.outputs[0]
    sole = next(k for k in CASE.G if k not in CASE.inputs and k not in CASE.outputs)
    losses = [
        dropped_step(network(), rate).loss[0]
        for rate in (0.0, {sole: 0.5}, {node: 0.5}, {CASE.inputs[0]: 0.5})
    ]
    assert losses[0] == network().fit(X, Y, **ONE_STEP).loss[0]
    assert len(set(losses)) == 4
    same = dropped_step(network(), 0.0, input_dropout=0.5).loss[0]
    by_name = dropped_step(network(), dict.fromkeys(CASE.inputs, 0.5)).loss[0]
    assert same == by_name


def test_each_step_and_seed_has_other_masks():
    options = {**ONE_STEP, "optimizer": SGD(learning_rate=0.0), "epochs": 4}
    one = network().fit(X, Y, dropout=0.3, seed=1, **options).loss
    two = network().fit(X, Y, dropout=0.3, seed=2, **options).loss
    again = network().fit(X, Y, dropout=0.3, seed=1, **options).loss
    assert len(set(one + two)) == 8
    assert one == again


def test_predictions_and_validation_drop_nothing():
    net = network()
    history = net.fit(X, Y, dropout=0.5, seed=0, validation_data=(X, Y), **ONE_STEP)
    assert history.val_loss == [net.evaluate(X, Y)]
    s, x = forward(net.to_networkx(), as_samples(CASE.inputs, X[:1])[0])
    assert_near(net.predict(X[:1])[0], [x[k] for k in CASE.outputs], 1e-10)
    assert set(s) < set(x)


# ---------------------------------------------------------------------------- label smoothing


@pytest.mark.parametrize("kind", [BinaryCrossEntropy, SoftmaxCrossEntropy])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_is_a_change_of_targets(kind, smoothing):
    G = dagbp.layered([3, 5, 4], activation="tanh", seed=0)
    net = dagbp.compile(G, seed=0, dtype="float64")
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(20, 3)), rng.integers(4, size=20)
    targets = np.eye(4)[labels]
    parts = 2 if kind is BinaryCrossEntropy else 4
    smooth = (1 - smoothing) * targets + smoothing / parts
    found = net.loss_and_gradient(features, targets, kind(label_smoothing=smoothing))
    expected = net.loss_and_gradient(features, smooth, kind())
    assert_near(found[0], expected[0], 1e-13)
    assert_near(found[1], expected[1], 1e-13)
    if kind is SoftmaxCrossEntropy:
        by_label = net.loss_and_gradient(features, labels, kind(label_smoothing=smoothing))
        assert by_label[0] == found[0]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, "0.1", None, True])
def test_bad_label_smoothing(bad):
    with pytest.raises(OptionError, match=r"label_smoothing must be a number in \[0, 1\], got "):
        SoftmaxCrossEntropy(label_smoothing=bad)


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "1", None, True])
def test_bad_coefficients(bad):
    with pytest.raises(OptionError, match=r"Penalty: l1 must be a number >= 0, got "):
        Penalty(l1=bad)
    with pytest.raises(OptionError, match=r"Penalty: l2 must be a number >= 0, got "):
        Penalty(l2=bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"penalties": Penalty(l1=1)}, r"penalties must be a list of dagbp.Penalty, got Penalty"),
        ({"penalties": 3}, r"penalties must be a list of dagbp.Penalty, got 3"),
        ({"penalties": [0.1]}, r"penalties must be a list of dagbp.Penalty, got 0.1 in it"),
        (
            {"penalties": [Penalty(l1=1, edges=[("no", "edge")])]},
            r"edges must be edges of the graph, \(source, target\): the network has no node 'no'",
        ),
        (
            {"penalties": [Penalty(l1=1, nodes=list(CASE.inputs))]},
            r"Penalty: nodes must have in-edges, got ",
        ),
        (
            {"max_norm": dict.fromkeys(CASE.inputs, 1.0)},
            r"max_norm: nodes must have in-edges, got ",
        ),
        (
            {"penalties": [Penalty(l1=1, nodes=["no"])]},
            r"nodes must be nodes of the graph, got 'no",
        ),
        (
            {"penalties": [Penalty(l1=1, edges=np.ones(2, np.bool_))]},
            r"edges, as a bool array, must have shape \(\d+,\), one for each edge, got shape",
        ),
        ({"max_norm": 0}, r"max_norm must be a number > 0, got 0"),
        ({"max_norm": {"no": 1}}, r"max_norm must be nodes of the graph, got 'no'"),
        ({"max_norm": {CASE.outputs[0]: -1}}, r"max_norm of node .* must be a number > 0, got -1"),
        ({"dropout": 1}, r"dropout must be a number in \[0, 1\), got 1"),
        ({"dropout": {"no": 0.5}}, r"dropout must be nodes of the graph, got 'no'"),
        ({"dropout": {CASE.outputs[0]: 2}}, r"dropout of node .* must be a number in \[0, 1\)"),
        ({"input_dropout": -0.1}, r"input_dropout must be a number in \[0, 1\), got -0.1"),
    ],
)
def test_bad_regularisation_changes_nothing(arguments, message):
    net = network()
    with pytest.raises(OptionError, match=message):
        net.fit(X, Y, **arguments, **ONE_STEP)
    assert np.array_equal(net.parameters, network().parameters)
