"""Exactness: all results equal plain Python and differences, and keep the algorithm's laws."""

import random

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near, assert_same_backprop, oracle
from hypothesis import given
from hypothesis import strategies as st
from naive import LOSSES
from strategies import RandomNetwork, networks, random_network, random_samples, samples

import dagbp
from dagbp._network import model_of

EXACT = 1e-12  # of the largest number compared, in float64
# float32 rounds at 6e-8; sums and depth lose a few bits, and a kink would lose all: smooth nets.
SINGLE = 1e-5


@pytest.mark.parametrize("block", range(20))
def test_1000_random_networks_equal_the_oracle(block):
    """Fifty of a thousand: s, x, delta and every gradient in float64, any loss, 1 to 9 samples."""
    names = list(LOSSES)
    for seed in range(50 * block, 50 * (block + 1)):
        case = random_network(seed, max_nodes=30)
        loss = names[seed % len(names)]
        if loss == "softmax_cross_entropy" and len(case.outputs) < 2:
            loss = "squared_error"
        if "entropy" in loss:
            case = with_raw_outputs(case)
        X, Y = random_samples(seed, case, 1 + seed % 9, loss)
        bp = case.compile(dtype="float64").backprop(X, Y, loss=loss)
        assert_same_backprop(bp, oracle(case, X, Y, loss), EXACT)


def with_raw_outputs(case):
    """Return the network with identity outputs, as the cross-entropies require."""
    graph = case.G.copy()
    for node in case.outputs:
        graph.nodes[node]["activation"] = "identity"
    return RandomNetwork(graph, case.inputs, case.outputs)


@given(networks(), st.data())
def test_weighted_samples_equal_the_oracle(case, data):
    X, Y = data.draw(samples(case, 5))
    weight = data.draw(st.lists(st.floats(0, 4), min_size=5, max_size=5).filter(any))
    weight[0] += 0.5
    bp = case.compile(dtype="float64").backprop(X, Y, sample_weight=weight)
    assert_same_backprop(bp, oracle(case, X, Y, sample_weight=weight), EXACT)


@given(networks(smooth_only=True), st.data(), st.sampled_from([1, 15, 16, 17, 63, 64, 65, 130]))
def test_single_precision_within_its_rounding(case, data, n):
    X, Y = data.draw(samples(case, n))
    X, Y = X.astype("float32").astype(float), Y.astype("float32").astype(float)
    single = case.compile(dtype="float32").backprop(X, Y)
    double = case.compile(dtype="float64").backprop(X, Y)
    assert_same_backprop(single, double, SINGLE)


@pytest.mark.parametrize("block", range(10))
def test_1000_random_networks_by_central_differences(block):
    """A hundred of a thousand: the slope along a random direction, of nets without kinks."""
    step = 1e-5
    for seed in range(100 * block, 100 * (block + 1)):
        case = random_network(seed, max_nodes=30, smooth_only=True)
        X, Y = random_samples(seed, case, 3)
        net = case.compile(dtype="float64")
        here, (_, gradient) = net.parameters, net.loss_and_gradient(X, Y)
        direction = np.random.default_rng(seed).normal(size=len(here))
        direction *= model_of(net).engine.parameters.trained
        values = []
        for sign in (1, -1):
            net.parameters = here + sign * step * direction
            values.append(net.evaluate(X, Y))
        slope = (values[0] - values[1]) / (2 * step)
        assert abs(slope - gradient @ direction) <= 1e-7 * max(1.0, abs(slope), *np.abs(values))


@given(networks(smooth_only=True), st.data())
def test_gradient_by_central_differences(case, data):
    X, Y = data.draw(samples(case, 3))
    net = case.compile(dtype="float64")
    here = net.parameters.copy()
    _, gradient = net.loss_and_gradient(X, Y)
    fixed = ~model_of(net).engine.parameters.trained
    step = 1e-5
    for k in range(len(here)):
        if fixed[k]:
            assert gradient[k] == 0
            continue
        values = []
        for sign in (1, -1):
            moved = here.copy()
            moved[k] += sign * step
            net.parameters = moved
            values.append(net.evaluate(X, Y))
        assert_near(gradient[k], (values[0] - values[1]) / (2 * step), 1e-7)


@given(networks(), st.data(), st.integers(1, 150))
def test_a_batch_of_n_equals_n_batches_of_one(case, data, n):
    X, Y = data.draw(samples(case, n))
    net = case.compile(dtype="float64")
    assert_near(net.predict(X), np.vstack([net.predict(X[k : k + 1]) for k in range(n)]), EXACT)
    value, gradient = net.loss_and_gradient(X, Y)
    each = [net.loss_and_gradient(X[k : k + 1], Y[k : k + 1]) for k in range(n)]
    assert_near(value, np.mean([v for v, _ in each]), EXACT)
    assert_near(gradient, np.mean([g for _, g in each], axis=0), EXACT)


@given(networks(), st.data(), st.randoms(use_true_random=False))
def test_new_labels_and_another_order_change_nothing(case, data, rng):
    X, Y = data.draw(samples(case, 4))
    renamed = {node: f"new {k}" for k, node in enumerate(case.G)}
    order = list(case.G)
    rng.shuffle(order)
    other = nx.DiGraph()
    other.add_nodes_from((renamed[node], case.G.nodes[node]) for node in order)
    edges = list(case.G.edges(data=True))
    rng.shuffle(edges)
    other.add_edges_from((renamed[u], renamed[v], d) for u, v, d in edges)
    moved = RandomNetwork(
        other, [renamed[v] for v in case.inputs], [renamed[v] for v in case.outputs]
    )
    one, two = (c.compile(dtype="float64").backprop(X, Y) for c in (case, moved))
    assert_near(two.loss, one.loss, EXACT)
    for node in one.delta:
        assert_near(two.delta[renamed[node]], one.delta[node], EXACT)
    for u, v in one.grad_weight:
        assert_near(two.grad_weight[renamed[u], renamed[v]], one.grad_weight[u, v], EXACT)


@given(networks(max_nodes=12), st.data(), st.integers(0, 2**32 - 1))
def test_an_edge_of_weight_zero_changes_no_value_and_no_delta(case, data, seed):
    X, Y = data.draw(samples(case, 3))
    rng = random.Random(seed)
    order = list(nx.topological_sort(case.G))
    free = [
        (u, v)
        for k, u in enumerate(order)
        for v in order[k + 1 :]
        if not case.G.has_edge(u, v) and v not in case.inputs
    ]
    if not free:
        return
    graph = case.G.copy()
    graph.add_edge(*rng.choice(free), weight=0.0)
    one = case.compile(dtype="float64").backprop(X, Y)
    two = RandomNetwork(graph, case.inputs, case.outputs).compile(dtype="float64").backprop(X, Y)
    for node in one.delta:
        assert_near(two.x[node], one.x[node], EXACT)
        assert_near(two.delta[node], one.delta[node], EXACT)


@given(networks(min_inputs=1), st.data())
def test_memorylessness_on_a_cut(case, data):
    """Given the values on a cut, the error does not depend on nodes before it.

    The nodes up to some place in topological order are made inputs that hold their own values;
    every later delta and gradient stays what it was.
    """
    X, Y = data.draw(samples(case, 3))
    whole = case.compile(dtype="float64").backprop(X, Y)
    order = [*case.inputs, *(v for v in nx.topological_sort(case.G) if v not in case.inputs)]
    place = data.draw(st.integers(len(case.inputs), len(order)))
    before, after = order[:place], order[place:]
    if not after:
        return
    graph = case.G.subgraph([*before, *after]).copy()
    graph.remove_edges_from([e for e in case.G.edges if e[1] in set(before)])
    for node in before:
        graph.nodes[node].clear()
    values = np.column_stack([whole.x[node] for node in before])
    rest = RandomNetwork(graph, before, case.outputs).compile(dtype="float64").backprop(values, Y)
    assert_near(rest.loss, whole.loss, EXACT)
    for node in after:
        assert_near(rest.delta[node], whole.delta[node], EXACT)
    for edge in graph.edges:
        assert_near(rest.grad_weight[edge], whole.grad_weight[edge], EXACT)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_to_rounding(dtype, n_threads):
    case = random_network(5, max_nodes=40, min_inputs=2)
    X, Y = random_samples(0, case, 500)
    one = case.compile(dtype=dtype, n_threads=1)
    many = case.compile(dtype=dtype, n_threads=n_threads)
    tolerance = EXACT if dtype == "float64" else 1e-5
    assert_near(many.predict(X), one.predict(X), tolerance)
    (value, gradient), (expected, slope) = (n.loss_and_gradient(X, Y) for n in (many, one))
    assert_near(value, expected, tolerance)
    assert_near(gradient, slope, tolerance)


def test_a_deep_chain():
    n = 20_000
    net = dagbp.Network.from_edges(
        np.arange(n - 1), np.arange(1, n), n, activation="identity", weight=np.full(n - 1, 1.0)
    )
    assert net.predict([[3.0]]) == 3
    assert net.backprop([[3.0]], [[2.0]]).delta[1] == 2
