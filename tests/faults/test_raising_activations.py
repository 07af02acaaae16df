"""Activations that raise: NaN at their own node, other nodes unchanged."""

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from networks import share_levels
from strategies import RandomNetwork

import dagbp

EXACT = 1e-12


def raising():
    """Register activations that raise beyond 50, in f or in df, and return their names."""

    def limited(s):
        if s > 50:
            raise ValueError("too large")
        return s

    def slope(s, x):
        if s > 50:
            raise ValueError("too large")
        return 1.0

    if "raising" not in dagbp.activations.names():
        dagbp.activations.register("raising", limited, lambda s, x: 1.0)
        dagbp.activations.register("raising_slope", lambda s: s, slope)
    return "raising", "raising_slope"


def one_large_feature(activation, share, n_hidden=30):
    """Return a network in which the first of 20 inputs has one edge, to the fourth hidden node."""
    rng = np.random.default_rng(0)
    G = nx.DiGraph()
    G.add_nodes_from(("in", k) for k in range(20))
    G.add_nodes_from((("h", k) for k in range(n_hidden)), activation=activation)
    G.add_nodes_from((("y", k) for k in range(n_hidden)), activation="identity")
    for k in range(n_hidden):
        for i in range(1, 20):
            if rng.random() < share:
                G.add_edge(("in", i), ("h", k), weight=rng.normal() / 20)
        G.add_edge(("h", k), ("y", k), weight=1.0)
    G.add_edge(("in", 0), ("h", 3), weight=100.0)
    return RandomNetwork(G, [("in", k) for k in range(20)], [("y", k) for k in range(n_hidden)])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_activation_that_raises_gives_nan_at_its_own_node_alone(share, n_threads):
    case = one_large_feature(raising()[0], share)
    X = np.zeros((40, 20))
    X[:, 1:] = np.random.default_rng(1).normal(size=(40, 19))
    Y = np.zeros((40, 30))
    large = X.copy()
    large[20:, 0] = 1.0
    net = share_levels(case.compile(dtype="float64", schedule="levels", n_threads=n_threads))
    normal, found = net.backprop(X, Y), net.backprop(large, Y)
    predicted = net.predict(large)
    assert np.isnan(found.x["h", 3][20:]).all()
    assert np.isnan(predicted[20:, 3]).all()
    for k in set(range(30)) - {3}:
        for node in (("h", k), ("y", k)):
            assert_near(found.x[node], normal.x[node], EXACT)
            assert_near(found.delta[node], normal.delta[node], EXACT)
        for i in range(1, 20):
            if case.G.has_edge(("in", i), ("h", k)):
                edge = ("in", i), ("h", k)
                assert_near(found.grad_weight[edge], normal.grad_weight[edge], EXACT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_derivative_that_raises_gives_nan_and_no_wrong_number():
    case = one_large_feature(raising()[1], 0.3)
    X = np.zeros((8, 20))
    X[2, 0] = 1.0
    net = case.compile(dtype="float64", n_threads=1)
    found = net.backprop(X, np.zeros((8, 30)))
    assert np.isfinite(found.x["h", 3]).all()
    assert np.isnan(found.delta["h", 3][2])
    assert np.isnan(found.grad_weight[("in", 0), ("h", 3)])
    for k in set(range(30)) - {3}:
        assert np.isfinite(found.delta["h", k]).all()
