"""Optimizers equal the rules of textbooks in plain Python, step by step."""

import math

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from naive import backprop, clip_by_norm, clip_by_value, descend
from strategies import random_network, random_samples

import dagbp
from dagbp import OptionError, optimizers
from dagbp._network import model_of
from dagbp.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, Rprop

#: id -> (record, rule of `naive`, its hyper-parameters)
TABLE = {
    "sgd": (SGD(), "sgd", {"lr": 0.01}),
    "sgd, decay": (
        SGD(learning_rate=0.1, weight_decay=0.3),
        "sgd",
        {"lr": 0.1, "weight_decay": 0.3},
    ),
    "momentum": (SGD(learning_rate=0.05, momentum=0.8), "momentum", {"lr": 0.05, "mu": 0.8}),
    "momentum, decay": (
        SGD(learning_rate=0.05, momentum=0.5, weight_decay=0.2),
        "momentum",
        {"lr": 0.05, "mu": 0.5, "weight_decay": 0.2},
    ),
    "nesterov, decay": (
        SGD(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
        "nesterov",
        {"lr": 0.05, "mu": 0.9, "weight_decay": 0.1},
    ),
    "adam": (Adam(), "adam", {"lr": 0.001}),
    "adam, all": (
        Adam(learning_rate=0.1, beta1=0.5, beta2=0.9, epsilon=1e-3, weight_decay=0.2),
        "adam",
        {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.2},
    ),
    "adam, no memory": (
        Adam(learning_rate=0.1, beta1=0.0, beta2=0.0, epsilon=1e-3),
        "adam",
        {"lr": 0.1, "beta1": 0.0, "beta2": 0.0, "eps": 1e-3},
    ),
    "adamw": (AdamW(), "adamw", {"lr": 0.001}),
    "adamw, all": (
        AdamW(learning_rate=0.1, beta1=0.7, beta2=0.8, epsilon=1e-2, weight_decay=0.5),
        "adamw",
        {"lr": 0.1, "beta1": 0.7, "beta2": 0.8, "eps": 1e-2, "weight_decay": 0.5},
    ),
    "rmsprop": (RMSprop(), "rmsprop", {"lr": 0.001}),
    "rmsprop, all": (
        RMSprop(learning_rate=0.02, rho=0.5, momentum=0.6, epsilon=1e-2, weight_decay=0.1),
        "rmsprop",
        {"lr": 0.02, "alpha": 0.5, "mu": 0.6, "eps": 1e-2, "weight_decay": 0.1},
    ),
    "adagrad": (Adagrad(), "adagrad", {"lr": 0.01}),
    "adagrad, all": (
        Adagrad(learning_rate=0.1, epsilon=1e-3, weight_decay=0.2),
        "adagrad",
        {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.2},
    ),
    "rprop": (Rprop(), "rprop", {"lr": 0.01}),
    "rprop, all": (
        Rprop(
            learning_rate=0.2,
            increase=1.5,
            decrease=0.3,
            least_step=0.05,
            most_step=0.4,
            weight_decay=0.2,
        ),
        "rprop",
        {
            **{"lr": 0.2, "grow": 1.5, "shrink": 0.3, "least_step": 0.05, "most_step": 0.4},
            "weight_decay": 0.2,
        },
    ),
}
STEPS = 7
CASE = random_network(11, max_nodes=14, min_inputs=2, smooth_only=True)
X, Y = random_samples(0, CASE, 6)


def same(gradient):
    return gradient


class Textbook:
    """The parameters of a network, moved by `naive` alone."""

    def __init__(self, net):
        self.net = net
        self.trained = model_of(net).engine.parameters.trained.astype(bool)
        self.parameters = net.parameters

    def descend(self, rule, hyper, clip=same, steps=STEPS):
        """Take full-batch steps; gradients are recomputed after each, at parameters so far."""
        gradients = []
        for _ in range(steps):
            self.net.parameters = self.parameters
            gradients.append(clip(self.net.loss_and_gradient(X, Y)[1].tolist()))
            moved = descend(rule, self.start(), gradients, **hyper)
            self.parameters = np.where(self.trained, moved, self.parameters)
        return self.parameters

    def start(self):
        return CASE.compile(dtype="float64", seed=0).parameters.tolist()


def fitted(optimizer, dtype="float64", steps=STEPS, **options):
    net = CASE.compile(dtype=dtype, seed=0)
    net.fit(
        X,
        Y,
        optimizer=optimizer,
        epochs=steps,
        batch_size=len(X),
        shuffle=False,
        verbose=0,
        **options,
    )
    return net.parameters


def textbook():
    return Textbook(CASE.compile(dtype="float64", seed=0))


@pytest.mark.parametrize("name", TABLE)
def test_every_optimizer_equals_the_textbook(name):
    record, rule, hyper = TABLE[name]
    expected = textbook().descend(rule, hyper)
    assert_near(fitted(record), expected, 1e-10)
    assert_near(fitted(record, "float32"), expected, 1e-4)
    moved = np.abs(expected - textbook().parameters).max()
    assert moved > 1e-3, "a rule that moves nothing shows nothing"


def test_the_gradients_used_above_are_the_oracles():
    samples = [dict(zip(CASE.inputs, map(float, row), strict=True)) for row in X]
    expected = backprop(CASE.G, samples, Y.tolist(), "squared_error", CASE.outputs)
    net = CASE.compile(dtype="float64")
    net_gradient = net.backprop(X, Y)
    for edge, value in expected.grad_weight.items():
        assert_near(net_gradient.grad_weight[edge], value, 1e-12)


@pytest.mark.parametrize("name", TABLE)
def test_frozen_parameters_never_move(name):
    record, _, _ = TABLE[name]
    net = textbook()
    assert 0 < net.trained.sum() < len(net.trained), "the case has some that train and some not"
    start, end = net.parameters, fitted(record)
    assert np.array_equal(end[~net.trained], start[~net.trained])
    assert not np.array_equal(end[net.trained], start[net.trained])


# ---------------------------------------------------------------------------- clipping


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("limit", [1e-6, 0.05, 0.5, 1e6])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_clip_norm(limit, dtype, n_threads):
    hyper = {"lr": 0.1, "weight_decay": 0.2}  # the decay is added after the clipping
    record = SGD(learning_rate=0.1, weight_decay=0.2, clip_norm=limit)
    expected = textbook().descend("sgd", hyper, lambda g: clip_by_norm(g, limit))
    net = CASE.compile(dtype=dtype, seed=0, n_threads=n_threads)
    net.fit(X, Y, optimizer=record, epochs=STEPS, batch_size=6, shuffle=False, verbose=0)
    assert_near(net.parameters, expected, 1e-10 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("limit", [1e-6, 0.05, 0.5, 1e6])
def test_clip_value(limit):
    expected = textbook().descend("momentum", {"lr": 0.1}, lambda g: clip_by_value(g, limit))
    assert_near(fitted(SGD(learning_rate=0.1, momentum=0.9, clip_value=limit)), expected, 1e-10)


def test_the_norm_is_clipped_before_the_value():
    def both(gradient):
        return clip_by_value(clip_by_norm(gradient, 1.0), 0.3)

    assert both([3.0, 0.1]) != clip_by_norm(clip_by_value([3.0, 0.1], 0.3), 1.0)
    expected = textbook().descend("adam", {"lr": 0.1}, both)
    assert_near(fitted(Adam(learning_rate=0.1, clip_norm=1.0, clip_value=0.3)), expected, 1e-10)


def test_frozen_gradients_count_in_no_norm():
    """The norm is taken over trained parameters only; the whole gradient is far longer."""
    net = CASE.compile(dtype="float64", seed=0)
    bp = net.backprop(X, Y)
    whole = math.hypot(*bp.grad_weight.values(), *bp.grad_bias.values())
    trained = math.hypot(*net.loss_and_gradient(X, Y)[1])
    assert whole > 1.001 * trained
    limit = (whole + trained) / 2
    one = fitted(SGD(learning_rate=0.1, clip_norm=limit), steps=1)
    assert_near(one, textbook().descend("sgd", {"lr": 0.1}, steps=1), 1e-12)


# ---------------------------------------------------------------------------- names and options


def test_the_table_of_this_file_is_complete():
    assert {type(record) for record, _, _ in TABLE.values()} == set(Optimizer.__subclasses__())
    assert {kind.__name__ for kind in Optimizer.__subclasses__()} <= set(optimizers.__all__)


def test_names_stand_for_defaults():
    records = [SGD(), Adam(), AdamW(), RMSprop(), Adagrad(), Rprop()]
    assert [optimizers.get(name) for name in optimizers.names()] == records
    for record in records:
        assert optimizers.get(record) is record


@pytest.mark.parametrize("name", optimizers.names())
def test_a_learning_rate_beside_the_optimizer(name):
    record = optimizers.get(name, learning_rate=0.25)
    assert record.learning_rate == 0.25
    assert np.array_equal(fitted(name, learning_rate=0.25), fitted(record))
    assert np.array_equal(fitted(record, learning_rate=0.5), fitted(name, learning_rate=0.5))


@pytest.mark.parametrize("name", optimizers.names())
def test_a_learning_rate_of_zero_moves_nothing(name):
    assert np.array_equal(fitted(name, learning_rate=0), textbook().parameters)


def test_whole_and_numpy_numbers_are_numbers():
    assert SGD(learning_rate=1, momentum=np.float32(0.5)).hyper().tolist() == [1.0, 0.0, 0.5]


def test_every_fit_starts_with_a_new_state():
    net = CASE.compile(dtype="float64", seed=0)
    options = {
        "optimizer": Adam(learning_rate=0.1),
        "batch_size": 6,
        "shuffle": False,
        "verbose": 0,
    }
    net.fit(X, Y, epochs=1, **options)
    net.fit(X, Y, epochs=1, **options)
    book = textbook()
    book.descend("adam", {"lr": 0.1}, steps=1)
    book.net.parameters = book.parameters
    second = book.net.loss_and_gradient(X, Y)[1].tolist()
    moved = descend("adam", book.parameters.tolist(), [second], lr=0.1)
    assert_near(net.parameters, np.where(book.trained, moved, book.parameters), 1e-10)


NUMBERS = [-1e-9, math.nan, math.inf, None, "1", [0.1], True, 10**400, 1j]


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad, Rprop])
@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
@pytest.mark.parametrize("bad", NUMBERS)
def test_bad_rates(kind, name, bad):
    with pytest.raises(OptionError, match=rf"{kind.__name__}: {name} must be a number >= 0, got "):
        kind(**{name: bad})


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("bad", [0, *(v for v in NUMBERS if v is not None)])
def test_bad_clips(name, bad):
    with pytest.raises(OptionError, match=rf"Adam: {name} must be a number > 0, or None, got "):
        Adam(**{name: bad})


@pytest.mark.parametrize(
    ("kind", "name"),
    [(SGD, "momentum"), (RMSprop, "momentum"), (RMSprop, "rho"), (Adam, "beta1"), (AdamW, "beta2")],
)
@pytest.mark.parametrize("bad", [1, 1.5, *NUMBERS])
def test_bad_decay_rates(kind, name, bad):
    message = rf"{kind.__name__}: {name} must be a number in \[0, 1\), got "
    with pytest.raises(OptionError, match=message):
        kind(**{name: bad})


@pytest.mark.parametrize("kind", [Adam, AdamW, RMSprop, Adagrad])
@pytest.mark.parametrize("bad", [0, *NUMBERS])
def test_bad_epsilons(kind, bad):
    with pytest.raises(
        OptionError, match=rf"{kind.__name__}: epsilon must be a number >= 1e-30, got "
    ):
        kind(epsilon=bad)


@pytest.mark.parametrize("bad", [0.9, *NUMBERS])
def test_bad_factors_of_rprop(bad):
    with pytest.raises(OptionError, match=r"Rprop: increase must be a number >= 1, got "):
        Rprop(increase=bad)
    if bad != 0.9:
        message = r"Rprop: decrease must be a number in \(0, 1\], got "
        with pytest.raises(OptionError, match=message):
            Rprop(decrease=bad)
    if bad is not True:
        with pytest.raises(OptionError, match=r"Rprop: least_step must be a number"):
            Rprop(least_step=bad if bad != 0.9 else 51.0)


def test_rprop_takes_no_step_on_a_gradient_that_is_not_finite():
    G = nx.DiGraph()
    G.add_edge("a", "y", weight=1e-30)
    net = dagbp.compile(G, output_activation="identity")
    x, y = np.array([[1e30]], "f4"), np.array([[1e12]], "f4")
    assert not np.isfinite(net.loss_and_gradient(x, y)[1]).all()
    before = net.parameters
    with pytest.raises(dagbp.DivergenceError):
        net.fit(x, y, optimizer="rprop", epochs=1)
    assert np.array_equal(net.parameters, before)


def test_nesterov_needs_momentum():
    with pytest.raises(OptionError, match=r"SGD: nesterov=True needs momentum > 0"):
        SGD(nesterov=True)
    with pytest.raises(OptionError, match=r"SGD: nesterov must be True or False, got 1"):
        SGD(nesterov=1, momentum=0.5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("adm", r"unknown optimizer 'adm'; did you mean 'adam'\? Known: sgd, adam, adamw, rms"),
        ("SGD", r"unknown optimizer 'SGD'"),
        (None, r"optimizer must be a name or a record of dagbp.optimizers, got None"),
        (Adam, r"optimizer must be a name or a record of dagbp.optimizers, got <class"),
        (["sgd"], r"optimizer must be a name or a record"),
    ],
)
def test_bad_optimizers(bad, message):
    with pytest.raises(OptionError, match=message):
        fitted(bad)


def test_records_are_frozen():
    with pytest.raises(AttributeError, match="learning_rate"):
        SGD().learning_rate = 2.0
