"""The matrix recursion against complex steps, the oracle and the engine."""

from dataclasses import dataclass
from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import dagbp
from dagbp import reference
from dagbp.reference import THETA

#: Activations with formulas in THETA that hold for complex s, too.
ANALYTIC = ("identity", "tanh", "sigmoid", "sin", "gaussian")


@dataclass(frozen=True)
class Case:
    W: list[np.ndarray]
    names: list[str]
    X: np.ndarray
    Y: np.ndarray

    @property
    def theta(self):
        return [THETA[name] for name in self.names]

    @property
    def graph(self):
        return reference.graph_from_weights(self.W, self.names)


@st.composite
def cases(draw, names=tuple(THETA)):
    """Draw a layered network of 1 to 5 layers of 1 to 7 nodes, and 1 to 6 samples."""
    width = draw(st.lists(st.integers(1, 7), min_size=2, max_size=6))
    n_layers, n_samples = len(width) - 1, draw(st.integers(1, 6))
    activation = draw(st.lists(st.sampled_from(names), min_size=n_layers, max_size=n_layers))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    W = [rng.normal(size=(a + 1, b)) / np.sqrt(a + 1) for a, b in pairwise(width)]
    X = rng.normal(size=(n_samples, width[0]))
    return Case(W, activation, X, rng.normal(size=(n_samples, width[-1])))


def by_layer(case, bp):
    """Return s, x, delta (n_samples, d[l]) and dW of layers 1 to L from a result by node."""
    width = [case.X.shape[1], *(W_l.shape[1] for W_l in case.W)]
    layers = [[(k, i) for i in range(d)] for k, d in enumerate(width)]

    def columns(by_node):
        return [np.column_stack([by_node[v] for v in nodes]) for nodes in layers[1:]]

    dW = [
        np.array(
            [[bp.grad_bias[v] for v in after]]
            + [[bp.grad_weight[u, v] for v in after] for u in before]
        )
        for before, after in pairwise(layers)
    ]
    return columns(bp.s), columns(bp.x), columns(bp.delta), dW


def assert_same(case, bp, tolerance=1e-12):
    """Assert that a result by node has the loss, s, x, delta and dW of the matrix recursion."""
    s, x = reference.forward_batch(case.W, case.X, case.theta)
    delta = reference.backward_batch(case.W, s, x, case.Y, case.theta)
    dW = reference.gradient_batch(x, delta)
    values = [x_l[:, 1:] for x_l in x[1:-1]] + x[-1:]
    for expected, found in zip((s, values, delta, dW), by_layer(case, bp), strict=True):
        for a, b in zip(expected, found, strict=True):
            assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    assert_allclose(bp.loss, reference.error_batch(x, case.Y), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", THETA)
def test_theta_equals_the_oracle(name):
    f, df = naive.ACTIVATIONS[name]
    s = np.linspace(-9, 9, 361)
    assert_allclose(THETA[name].f(s), [f(v) for v in s], rtol=1e-13, atol=1e-15)
    assert_allclose(THETA[name].df(s), [df(v) for v in s], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ANALYTIC)
def test_theta_derivative_by_complex_step(name):
    s = np.linspace(-4, 4, 97)
    slope = THETA[name].f(s + 1e-30j).imag / 1e-30
    assert_allclose(THETA[name].df(s), slope, rtol=1e-12, atol=1e-15)


@given(cases())
def test_equals_the_oracle(case):
    inputs = [(0, i) for i in range(case.X.shape[1])]
    outputs = [(len(case.W), j) for j in range(case.Y.shape[1])]
    samples = naive.as_samples(inputs, case.X)
    assert_same(
        case, naive.backprop(case.graph, samples, case.Y.tolist(), "squared_error", outputs)
    )


@given(cases(ANALYTIC))
def test_gradient_by_complex_step(case):
    x_n, y_n = case.X[0], case.Y[0]
    s, x = reference.forward(case.W, x_n, case.theta)
    dW = reference.gradient(x, reference.backward(case.W, s, x, y_n, case.theta))
    for k, W_k in enumerate(case.W):
        for index in np.ndindex(W_k.shape):
            W = [W_l.astype(complex) for W_l in case.W]
            W[k][index] += 1e-30j
            _, moved = reference.forward(W, x_n, case.theta)
            slope = np.sum((moved[-1] - y_n) ** 2).imag / 1e-30
            assert_allclose(dW[k][index], slope, rtol=1e-11, atol=1e-13)


@given(cases())
def test_a_batch_is_the_mean_of_its_samples(case):
    S, X = reference.forward_batch(case.W, case.X, case.theta)
    Delta = reference.backward_batch(case.W, S, X, case.Y, case.theta)
    errors, gradients = [], []
    for n, (x_n, y_n) in enumerate(zip(case.X, case.Y, strict=True)):
        s, x = reference.forward(case.W, x_n, case.theta)
        delta = reference.backward(case.W, s, x, y_n, case.theta)
        for rows, row in zip((*S, *X, *Delta), (*s, *x, *delta), strict=True):
            assert_allclose(rows[n], row, rtol=1e-12, atol=1e-13)
        errors.append(reference.error(x, y_n))
        gradients.append(reference.gradient(x, delta))
    assert reference.error_batch(X, case.Y) == pytest.approx(np.mean(errors), rel=1e-12)
    for mean, terms in zip(
        reference.gradient_batch(X, Delta), zip(*gradients, strict=True), strict=True
    ):
        assert_allclose(mean, np.mean(terms, axis=0), rtol=1e-12, atol=1e-13)


@given(cases())
def test_weights_to_graph_and_back(case):
    for before, after in zip(case.W, reference.weights_from_graph(case.graph), strict=True):
        assert_array_equal(after, before)


def test_absent_edges_and_biases_read_as_zero():
    G = reference.graph_from_weights([np.ones((3, 2))], ["tanh"])
    G.remove_edge((0, 1), (1, 0))
    G.nodes[1, 1]["bias"] = None
    (W,) = reference.weights_from_graph(G)
    assert_array_equal(W, [[1, 0], [1, 1], [0, 1]])


def test_a_skip_is_refused():
    G = reference.graph_from_weights([np.ones((2, 1)), np.ones((2, 1))], ["tanh", "tanh"])
    G.add_edge((0, 0), (2, 0), weight=1.0)
    with pytest.raises(
        ValueError, match=r"edge \(0, 0\) -> \(2, 0\) must join a layer to the next"
    ):
        reference.weights_from_graph(G)


@given(cases())
def test_the_engine_equals_the_recursion(case):
    net = dagbp.compile(case.graph, dtype="float64")
    assert_same(case, net.backprop(case.X, case.Y, loss="squared_error"))


@pytest.mark.parametrize(
    ("shapes", "names", "text"),
    [
        ([(2, 2), (2, 1)], 2, r"the matrix of layer 2 must have 3 rows, got shape \(2, 1\); row 0"),
        ([(3, 2), (6, 1)], 2, r"the matrix of layer 2 must have 3 rows, got shape \(6, 1\)"),
        ([(3,)], 1, r"the matrix of layer 1 must have a row for the biases .*, got shape \(3,\)"),
        ([(3, 1)], 2, "W has 1 matrices and activation 2 names; each layer has one"),
        ([], 0, "W has 0 matrices"),
    ],
)
def test_matrices_that_do_not_follow_each_other(shapes, names, text):
    with pytest.raises(ValueError, match=text):
        reference.graph_from_weights([np.ones(shape) for shape in shapes], ["tanh"] * names)
