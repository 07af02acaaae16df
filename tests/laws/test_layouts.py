"""Every layout equals the plain-Python oracle, before and after a step of SGD."""

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near, assert_same_backprop, oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import RandomNetwork

import dagbp
from dagbp._network import model_of


def with_random_values(G, seed=0):
    """Return a graph with random weights and biases, as a case of the oracle."""
    rng = np.random.default_rng(seed)
    for node in G:
        if G.in_degree(node):
            G.nodes[node].update(activation=G.nodes[node].get("activation", "tanh"))
            G.nodes[node]["bias"] = rng.normal()
    for _, v, attributes in G.edges(data=True):
        attributes["weight"] = rng.normal() / G.in_degree(v) ** 0.5
    return RandomNetwork(
        G, [v for v in G if not G.in_degree(v)], [v for v in G if not G.out_degree(v)]
    )


def layered(*sizes, density=1.0):
    """Return a layered case with two activations in each layer."""
    G = dagbp.layered(sizes, density=density, activation="tanh", seed=0)
    for layer, k in G:
        if layer and k >= 17:
            G.nodes[layer, k]["activation"] = "gelu"
    return with_random_values(G)


def shuffled_blocks():
    """Return two full nets side by side, with shuffled nodes."""
    G = nx.disjoint_union(*(dagbp.layered([40, 48, 40], seed=0) for _ in range(2)))
    order = np.random.default_rng(0).permutation(len(G))
    shuffled = nx.DiGraph()
    shuffled.add_nodes_from((int(v), dict(G.nodes[v])) for v in order)
    shuffled.add_edges_from(G.edges)
    return with_random_values(shuffled)


# name: case, dense_above, and what the layout must have
LAYOUTS = {
    "sparse rows": (lambda: layered(30, 30, 20, density=0.2), None, lambda a: a.ins.n_edges == 0),
    "panels": (lambda: layered(40, 45, 33), None, lambda a: a.ins.n_edges and a.outs.n_edges),
    "panels with shortcuts": (
        lambda: with_random_values(dagbp.residual([34, 34, 34, 33], skip=2, seed=0)),
        None,
        lambda a: a.ins.n_edges and not a.n_explicit_zeros,
    ),
    "nearly full": (
        lambda: layered(40, 33, 34, density=0.95),
        None,
        lambda a: a.n_explicit_zeros,
    ),
    "half full": (lambda: layered(18, 33, 20, density=0.5), 0.1, lambda a: a.n_explicit_zeros),
    "never filled": (lambda: layered(18, 33, 20, density=0.85), 2.0, lambda a: a.slot is None),
    "clustered": (shuffled_blocks, None, lambda a: a.plan.cluster.any() and a.ins.n_edges),
    "source blocks": (
        lambda: layered(400, 300, 7, density=0.4),
        None,
        lambda a: a.source_blocks is not None,
    ),
}


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", LAYOUTS)
def test_backprop_and_training_equal_the_oracle(name, n_threads):
    make, dense_above, has = LAYOUTS[name]
    case, n = make(), 33
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(n, len(case.inputs))), rng.normal(size=(n, len(case.outputs)))
    net = case.compile(dtype="float64", dense_above=dense_above, n_threads=n_threads)
    assert has(model_of(net).engine.layout)
    expected = oracle(case, X, Y)
    assert_same_backprop(net.backprop(X, Y), expected, 1e-12)
    net.fit(X, Y, optimizer="sgd", learning_rate=0.1, epochs=1, batch_size=n, verbose=0)
    for (u, v), gradient in expected.grad_weight.items():
        assert_near(net.weights[u, v], case.G.edges[u, v]["weight"] - 0.1 * gradient, 1e-12)
    one = net.forward(X).x
    assert_near(net.predict(X), np.array([one[v] for v in case.outputs]).T, 1e-12)


@settings(max_examples=25)
@given(
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.sampled_from([0.05, 0.3, None]),
    st.integers(1, 70),
    st.integers(16, 36),
)
def test_any_share_of_edges_and_any_batch_equals_the_oracle(density, dense_above, n, width):
    case = layered(16, width, 18, density=density)
    rng = np.random.default_rng(n)
    X, Y = rng.normal(size=(n, 16)), rng.normal(size=(n, 18))
    net = case.compile(dtype="float64", dense_above=dense_above)
    assert_same_backprop(net.backprop(X, Y), oracle(case, X, Y), 1e-12)
