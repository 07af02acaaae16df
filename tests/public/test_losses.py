"""Losses equal the oracle, in both dtypes and for extreme outputs; losses of users."""

import math
from dataclasses import replace
from types import FunctionType

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from naive import LOSSES
from numba import njit

import dagbp
from dagbp import DataError, DerivativeError, OptionError, losses
from dagbp.losses import Huber, Loss

ENTROPIES = ["binary_cross_entropy", "softmax_cross_entropy"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}  # of the largest output or target
LOGITS = [0.0, 1e-30, -1e-6, 0.3, -1.0, 1.0, 2.5, 17.0, -40.0, 88.0, -105.0, 750.0, -1e4, 1e4]


def pass_through(n_outputs, dtype="float64"):
    """Return a network that copies each input to an output."""
    G = nx.DiGraph()
    G.add_nodes_from(range(n_outputs))
    G.add_nodes_from(((k, "out") for k in range(n_outputs)), bias=None)
    G.add_weighted_edges_from((k, (k, "out"), 1.0) for k in range(n_outputs))
    return dagbp.compile(G, dtype=dtype)


def errors_and_slopes(x, y, loss, dtype="float64"):
    """Return each sample's error and de/dx, (N,) and (N, n_outputs), by the compiled loss."""
    net = pass_through(x.shape[1], dtype)
    delta = net.backprop(x, y, loss).delta
    slope = np.column_stack([delta[node] for node in net.outputs])
    return np.array([net.evaluate(x[k : k + 1], y[k : k + 1], loss) for k in range(len(x))]), slope


def assert_as_oracle(loss, x, y, dtype):
    x, y = (np.asarray(a, dtype).astype(float) for a in (x, y))
    error, slope = errors_and_slopes(x, y, loss, dtype)
    for k in range(len(x)):
        expected = LOSSES[loss](x[k].tolist(), y[k].tolist())
        size = max(1.0, np.abs(x[k]).max(), np.abs(y[k]).max())
        assert_near(error[k], expected[0], TOLERANCE[dtype] * size)
        assert_near(slope[k], expected[1], TOLERANCE[dtype] * size)


def test_the_table_of_this_file_is_complete():
    assert set(LOSSES) == set(losses.registry.built_in)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_equals_the_oracle(loss, dtype):
    rng = np.random.default_rng(0)
    for n_outputs in (2, 5):
        x = rng.normal(scale=3, size=(40, n_outputs))
        y = rng.dirichlet(np.ones(n_outputs), size=40)
        x[0] = y[0]  # the kink of the absolute error
        if loss == "huber":
            x[1] = y[1] + [1, -1, *[0] * (n_outputs - 2)]  # where parabola and lines meet
        assert_as_oracle(loss, x, y, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_outputs(loss, dtype):
    x = np.array([[a, b] for a in LOGITS for b in LOGITS])
    for y in ([0, 1], [1, 0], [0.25, 0.75], [0, 0]):
        y = np.tile(np.array(y, float), (len(x), 1))
        assert_as_oracle(loss, x, y, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ENTROPIES)
def test_entropies_never_overflow(loss, dtype):
    x = np.array([[1e30, -1e30], [-1e30, 1e30], [1e38, 1e38], [-1e38, -1e38]])
    error, slope = errors_and_slopes(x, np.tile([1.0, 0.0], (4, 1)), loss, dtype)
    assert error[0] == 0
    assert np.isfinite(error).all()
    assert np.isfinite(slope).all()


def test_a_tiny_binary_entropy_keeps_its_digits():
    x, y = np.array([[30.0], [200.0], [700.0]]), np.ones((3, 1))
    error, _ = errors_and_slopes(x, y, "binary_cross_entropy")
    assert np.allclose(error, np.exp(-x[:, 0]), rtol=1e-13, atol=0)


def test_class_labels_are_unit_targets():
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(70, 3)), rng.integers(3, size=70)
    net = pass_through(3)
    expected = net.loss_and_gradient(x, np.eye(3)[labels], "softmax_cross_entropy")
    for given in (labels, labels.tolist(), labels.astype(float), labels.astype("uint8")):
        value, gradient = net.loss_and_gradient(x, given, "softmax_cross_entropy")
        assert value == expected[0]
        assert np.array_equal(gradient, expected[1])
    options = {"loss": "softmax_cross_entropy", "batch_size": 7, "seed": 0, "verbose": 0}
    other = pass_through(3)
    assert net.fit(x, labels, **options).loss == other.fit(x, np.eye(3)[labels], **options).loss


@pytest.mark.parametrize("labels", [[0, 1, 1], [False, True, True], [[0], [1], [1]]])
def test_binary_labels(labels):
    net, x = pass_through(1), np.array([[0.5], [-1.0], [2.0]])
    p = 1 / (1 + np.exp(-x[:, 0]))
    expected = -np.mean(np.log([1 - p[0], p[1], p[2]]))
    assert_near(net.evaluate(x, labels, "binary_cross_entropy"), expected, 1e-14)


# ---------------------------------------------------------------------------- what does not fit


def test_softmax_of_one_output():
    with pytest.raises(DataError, match=r"needs at least 2 outputs.*use 'binary_cross_entropy'"):
        pass_through(1).evaluate([[1.0]], [[1.0]], "softmax_cross_entropy")


@pytest.mark.parametrize("loss", ENTROPIES)
@pytest.mark.parametrize("activation", ["sigmoid", "hard_sigmoid"])
def test_entropies_after_outputs_that_are_probabilities_are_refused(loss, activation):
    net = dagbp.compile(dagbp.layered([2, 2], output_activation=activation))
    with pytest.raises(DataError, match=rf"{loss}.* raw outputs .* has activation '{activation}'"):
        net.fit([[0, 1]], [[0, 1]], loss=loss, verbose=0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("squared_eror", r"unknown loss 'squared_eror'; did you mean 'squared_error'\? Known: sq"),
        ("", r"unknown loss ''"),
        (None, r"loss must be a name or a Loss, got None"),
        (["huber"], r"loss must be a name or a Loss, got \['huber'\]"),
        (Loss("nobody"), r"unknown loss 'nobody'"),
        (Loss(7), r"loss must be a name or a Loss"),
        (Loss("huber"), r"loss 'huber' has 1 hyper-parameter, got \(\)"),
        (Loss("huber", ("a",)), r"loss 'huber': threshold must be a finite number > 0, got 'a'"),
        (
            Loss("huber", (math.nan,)),
            r"loss 'huber': threshold must be a finite number > 0, got nan",
        ),
        (Loss("huber", (-1.0,)), r"loss 'huber': threshold must be a finite number > 0, got -1.0"),
        (Loss("squared_error", (1.0,)), r"loss 'squared_error' has 0 hyper-parameters"),
        (
            Loss("squared_error", (), "classes"),
            r"loss 'squared_error': labels must be 'no', got 'classes'",
        ),
    ],
)
def test_bad_losses(bad, message):
    net = pass_through(2)
    for call in (net.backprop, net.loss_and_gradient, net.evaluate):
        with pytest.raises(OptionError, match=message):
            call(np.eye(2), np.eye(2), bad)
    with pytest.raises(OptionError, match=message):
        net.fit(np.eye(2), np.eye(2), loss=bad)
    assert np.array_equal(net.parameters, pass_through(2).parameters)


# ---------------------------------------------------------------------------- Huber


@pytest.mark.parametrize("threshold", [1e-3, 0.5, 1, 1.0, 7.25, 1e6])
def test_huber_thresholds(threshold):
    x = np.array([[0.0], [1e-3], [-0.5], [1.0], [-7.25], [9.0], [-2e6]])
    error, slope = errors_and_slopes(x, np.zeros_like(x), Huber(threshold))
    r = x[:, 0]
    near = np.abs(r) <= threshold
    expected = np.where(near, r * r / 2, threshold * (np.abs(r) - threshold / 2))
    assert np.allclose(error, expected, rtol=1e-14, atol=0)
    assert np.allclose(slope[:, 0], np.clip(r, -threshold, threshold), rtol=1e-14, atol=0)


def test_the_name_huber_means_a_threshold_of_one():
    assert dagbp.losses.get("huber") == Huber(1.0)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, None, "1", [1.0], 10**400, True])
def test_bad_huber_thresholds(bad):
    with pytest.raises(OptionError, match=r"'huber': threshold must be a finite number > 0, got "):
        Huber(bad)


# ---------------------------------------------------------------------------- users' own


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_of_a_user(dtype):
    shift = 0.5  # a closure is Python that Numba can compile

    def f(x, y):
        return (x - y) ** 4 + shift * x

    def df(x, y):
        return 4 * (x - y) ** 3 + shift

    name = f"quartic {dtype}"
    loss = dagbp.losses.register(name, f, df)
    assert loss.name == name
    assert dagbp.losses.get(name) is loss
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 100, 3))
    error, slope = errors_and_slopes(x, y, name, dtype)
    assert_near(error, f(x, y).sum(axis=1), 10 * TOLERANCE[dtype])
    assert_near(slope, df(x, y), 10 * TOLERANCE[dtype])
    net = pass_through(3, dtype)
    history = net.fit(x, y, loss=loss, epochs=3, learning_rate=0.01, seed=0, verbose=0)
    assert history.loss[-1] < history.loss[0]


def test_a_loss_of_a_user_that_raises_is_nan():
    def f(x, y):
        if y > 100:
            raise ValueError
        return (x - y) ** 2

    dagbp.losses.register("fails", f, lambda x, y: 2 * (x - y))
    net, x = pass_through(2), np.ones((5, 2))
    assert net.loss_and_gradient(x, 0 * x, "fails")[0] == 2
    y = 0 * x
    y[3, 1] = 1e3
    value, gradient = net.loss_and_gradient(x, y, "fails")
    assert math.isnan(value)
    assert np.isnan(gradient[: net.n_edges]).tolist() == [False, True]
    with pytest.raises(dagbp.DivergenceError):
        net.fit(x, y, loss="fails", verbose=0)
    assert np.array_equal(net.parameters, pass_through(2).parameters)


def test_a_kink_and_jitted_functions_are_fine():
    f = njit(lambda x, y: abs(x - y))
    df = njit(lambda x, y: 1.0 if x > y else -1.0)
    dagbp.losses.register("crease", f, df)
    assert pass_through(1).evaluate([[3.0]], [[1.0]], "crease") == 2


@pytest.mark.parametrize(
    ("name", "f", "df", "error", "message"),
    [
        ("huber", abs, abs, OptionError, r"loss 'huber' is built in"),
        ("", abs, abs, OptionError, r"name of loss must be a non-empty string, got ''"),
        (7, abs, abs, OptionError, r"name of loss must be a non-empty string, got 7"),
        (
            "wrong",
            lambda x, y: (x - y) ** 2,
            lambda x, y: x - y,
            DerivativeError,
            r"loss 'wrong': at x = \S+, y = \S+, df gives \S+, but the derivative of f with "
            r"respect to x is \S+",
        ),
        (
            "by y",
            lambda x, y: (x - y) ** 2,
            lambda x, y: 2 * (y - x),
            DerivativeError,
            r"loss 'by y': at x = ",
        ),
        (
            "none",
            None,
            lambda x, y: x,
            OptionError,
            r"'none': f must be a Python function of \(x, y\), got None",
        ),
        (
            "text",
            lambda x, y: x,
            "df",
            OptionError,
            r"'text': df must be a Python .*, got 'df'",
        ),
        (
            "one",
            lambda x: x,
            lambda x, y: 1.0,
            OptionError,
            r"'one': f must be .*: too many",
        ),
        (
            "raw",
            lambda x, y: open("x"),
            lambda x, y: 1.0,
            OptionError,
            r"loss 'raw': Numba cannot compile f or df: ",
        ),
        (
            "s",
            lambda x, y: "s",
            lambda x, y: 1.0,
            OptionError,
            r"'s': Numba cannot compile",
        ),
        (
            "pair",
            lambda x, y: (x, y),
            lambda x, y: 1.0,
            OptionError,
            r"'pair': Numba cannot compile",
        ),
        (
            "log",
            lambda x, y: math.log(x - y),
            lambda x, y: 1 / (x - y),
            OptionError,
            r"loss 'log': f must be finite, but at x = -4, y = 0 it is nan",
        ),
        (
            "i",
            lambda x, y: 1j * x,
            lambda x, y: 1j,
            OptionError,
            r"'i': Numba cannot compile",
        ),
        ("nan", lambda x, y: x, lambda x, y: math.nan, OptionError, r"'nan': df must be finite"),
    ],
)
def test_bad_registrations(name, f, df, error, message):
    before = dagbp.losses.names()
    with pytest.raises(error, match=message):
        dagbp.losses.register(name, f, df)
    assert dagbp.losses.names() == before


def test_a_surrogate_replaces_the_derivative():
    f, df = (lambda x, y: abs(round(x) - y)), (lambda x, y: 1.0 if x > y else -1.0)
    with pytest.raises(DerivativeError, match="pass surrogate=True if this is intended"):
        losses.register("rounded", f, df)
    with pytest.raises(OptionError, match="surrogate must be True or False, got 1"):
        losses.register("rounded", f, df, surrogate=1)
    mine = losses.register("rounded", f, df, surrogate=True)
    error, slope = errors_and_slopes(np.array([[1.6], [-0.6]]), np.zeros((2, 1)), "rounded")
    assert error.tolist() == [2.0, 1.0]
    assert slope.tolist() == [[1.0], [-1.0]]
    losses.registry.remove("rounded")
    assert losses.get(mine) is mine


def test_an_overwritten_loss_is_another_loss():
    first = losses.register("mine", lambda x, y: x - y, lambda x, y: 1.0)
    second = losses.register("mine", lambda x, y: y - x, lambda x, y: -1.0, overwrite=True)
    assert pass_through(1).evaluate([[3.0]], [[1.0]], "mine") == -2
    assert losses.get(Loss("mine")) is losses.get(second) is second
    with pytest.raises(OptionError, match="'mine' is registered here with other functions"):
        pass_through(1).evaluate([[3.0]], [[1.0]], first)


def test_a_loss_of_another_process_is_registered():
    mine = losses.register("copied", lambda x, y: (x - y) ** 4, lambda x, y: 4 * (x - y) ** 3)
    f, df = (FunctionType(one.__code__, {}) for one in (mine.f, mine.df))  # as unpickled there
    copied = replace(mine, f=f, df=df)
    assert losses.get(copied) is mine
    losses.registry.remove("copied")
    assert losses.get(copied).f is f
    losses.register("copied", lambda x, y: x - y, lambda x, y: 1.0, overwrite=True)
    with pytest.raises(OptionError, match="'copied' is registered here with other functions"):
        losses.get(copied)
