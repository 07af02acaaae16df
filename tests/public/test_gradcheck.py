"""`dagbp.testing.gradcheck`: right gradients pass; wrong ones are found and named."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from strategies import random_network, random_samples

import dagbp
from dagbp import DataError, OptionError, activations
from dagbp._network import model_of
from dagbp.testing import gradcheck

CASE = random_network(11, max_nodes=14, min_inputs=2, smooth_only=True)
X, Y = random_samples(0, CASE, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_a_right_gradient_passes(dtype, loss):
    net = CASE.compile(dtype=dtype, seed=0)
    before = net.parameters
    report = gradcheck(net, X, Y, loss, sample_weight=[1, 2, 3, 4, 5])
    assert report.passed
    assert 0 <= report.error <= report.tolerance
    assert report.n_checked + report.n_kinks == model_of(net).engine.parameters.trained.sum()
    assert "agrees with differences" in str(report)
    assert np.array_equal(net.parameters, before)


def test_a_wrong_derivative_is_found_by_its_parameter():
    """The derivative is right at the points that registering checks, and wrong beyond."""

    def slope(s, x):
        return 1.0 if s < 50 else 1.5

    activations.register("late_lie", lambda s: s, slope, overwrite=True)
    G = nx.DiGraph([("a", "h"), ("b", "g"), ("h", "y"), ("g", "y")])
    nx.set_edge_attributes(G, 1.0, "weight")
    G.nodes["h"]["activation"] = "late_lie"
    net = dagbp.compile(G, activation="identity", dtype="float64")
    assert gradcheck(net, [[1.0, 2.0]], [0.5]).passed
    report = gradcheck(net, [[100.0, 1.0]], [0.5])
    assert not report.passed
    assert (report.worst, report.kind) == (("a", "h"), "weight")
    assert report.gradient == pytest.approx(1.5 * report.difference)
    assert "DISAGREES" in str(report)
    assert "the weight of ('a', 'h')" in str(report)


def test_kinks_are_left_out():
    G = nx.DiGraph([("a", "y")])
    G.edges["a", "y"]["weight"] = 0.0
    net = dagbp.compile(G, output_activation="relu", dtype="float64")
    report = gradcheck(net, [[1.0]], [1.0])
    assert (report.n_checked, report.n_kinks, report.passed) == (0, 2, False)
    assert str(report) == "gradient not compared: the loss has a kink at all 2 parameters"
    net = dagbp.compile(G, output_activation="relu", dtype="float32")
    assert gradcheck(net, [[1.0]], [1.0]).n_checked == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [[3, 2], [3, 8, 2]])
def test_a_perfect_fit_has_no_gradient_but_of_rounding(sizes, dtype):
    net = dagbp.compile(dagbp.layered(sizes, activation="tanh", seed=0), seed=1, dtype=dtype)
    X = np.random.default_rng(0).normal(size=(20, 3))
    report = gradcheck(net, X, net.predict(X))
    assert report.passed
    assert report.n_kinks == 0


def test_a_sample_of_many_parameters_is_checked():
    net = dagbp.compile(dagbp.layered([8, 30, 3], seed=0), seed=0, dtype="float64")
    report = gradcheck(net, np.ones((2, 8)), np.zeros((2, 3)), most=40)
    assert report.passed
    assert report.n_checked == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"most": 0}, r"most must be a whole number >= 1, got 0"),
        ({"tolerance": 0}, r"tolerance must be a number > 0, or None, got 0"),
        ({"net": 3}, r"net must be a dagbp Network, got 3"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(OptionError, match=message):
        gradcheck(**{"net": CASE.compile(seed=0), "X": X, "Y": Y, **arguments})


def test_nothing_trains():
    G = nx.DiGraph()
    G.add_edge("a", "y", trainable=False)
    G.nodes["y"]["bias"] = None
    with pytest.raises(DataError, match="no parameter of the network trains"):
        gradcheck(dagbp.compile(G), [[1.0]], [1.0])


def test_a_report_is_true_if_the_check_passed():
    net = dagbp.compile(dagbp.layered([2, 3, 1], activation="tanh", seed=0), dtype="float64")
    report = gradcheck(net, [[0.3, -0.2]], [[0.5]])
    assert report
    assert not replace(report, passed=False)
