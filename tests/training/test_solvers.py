"""Solvers: SciPy's minimisers of a network's loss."""

from functools import partial

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from networks import CASE
from networks import network as compiled
from scipy.optimize import minimize
from strategies import random_samples

import dagbp
from dagbp import CallbackError, DivergenceError, OptionError, Penalty
from dagbp._network import model_of
from dagbp.callbacks import (
    Callback,
    CosineDecay,
    EarlyStopping,
    ModelCheckpoint,
    ReduceOnPlateau,
    TerminateOnNaN,
    TimeLimit,
)
from dagbp.optimizers import Solver, solvers

network = partial(compiled, CASE, dtype="float64")
X, Y = random_samples(0, CASE, 23)
V = random_samples(1, CASE, 9)


@pytest.mark.parametrize("name", solvers())
def test_every_method_lowers_the_loss(name):
    net = network()
    before, start = net.evaluate(X, Y), net.parameters
    history = net.fit(X, Y, optimizer=name, epochs=15)
    assert net.evaluate(X, Y) < before
    assert 1 <= len(history.loss) <= 15
    assert_near(history.loss[-1], net.evaluate(X, Y), 1e-6)
    fixed = ~model_of(net).engine.parameters.trained
    assert np.array_equal(net.parameters[fixed], start[fixed])


def test_the_result_is_that_of_scipy():
    net = network()
    trained = model_of(net).engine.parameters.trained
    start, other = net.parameters.copy(), network()

    def objective(x):
        parameters = start.copy()
        parameters[trained] = x
        other.parameters = parameters
        value, gradient = other.loss_and_gradient(X, Y)
        return value, gradient[trained]

    expected = minimize(objective, start[trained], jac=True, method="BFGS", options={"maxiter": 12})
    history = net.fit(X, Y, optimizer="bfgs", epochs=12)
    assert history.loss[-1] == pytest.approx(expected.fun, rel=1e-12)
    assert_near(net.parameters[trained], expected.x, 1e-12)


def test_least_squares_by_lbfgs():
    """A network without a hidden node is linear regression, and has one best answer."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 3))
    targets = features @ [1.0, -2.0, 0.5] + 3 + 0.1 * rng.normal(size=50)
    net = dagbp.compile(dagbp.layered([3, 1], seed=0), seed=0, dtype="float64")
    history = net.fit(features, targets, optimizer="lbfgs", epochs=100)
    design = np.column_stack([features, np.ones(50)])
    expected = np.linalg.lstsq(design, targets, rcond=None)[0]
    assert_near(net.parameters, expected, 1e-5)
    assert history.stopped is None or "CONVERGENCE" in history.stopped
    ridge = dagbp.compile(dagbp.layered([3, 1], seed=0), seed=0, dtype="float64")
    tight = Solver("lbfgs", options={"gtol": 1e-10, "ftol": 1e-15})
    ridge.fit(features, targets, optimizer=tight, epochs=500, penalties=[Penalty(l2=2.0)])
    # mean (Xw + b - y)^2 + |w|^2: the normal equations with 50 on the weights' diagonal
    system = design.T @ design + np.diag([50.0, 50.0, 50.0, 0.0])
    assert_near(ridge.parameters, np.linalg.solve(system, design.T @ targets), 1e-6)


@pytest.mark.parametrize("name", ["l-bfgs-b", "tnc", "slsqp", "nelder-mead", "powell", "cobyqa"])
def test_bounds_hold(name):
    net = network()
    net.fit(X, Y, optimizer=Solver(name, bounds=(-0.1, 0.2)), epochs=10)
    free = net.parameters[model_of(net).engine.parameters.trained]
    assert free.min() >= -0.1
    assert free.max() <= 0.2


def test_bounds_by_name():
    edge = next(e for e in CASE.G.edges if CASE.G.edges[e].get("trainable", True))
    free = {j for j in CASE.G if CASE.G.nodes[j].get("bias", 0) not in (None, False)}
    free = [j for j in free - set(CASE.inputs) if CASE.G.nodes[j].get("trainable", True)]
    net = network()
    bounds = {edge: (5, None), free[0]: (None, -4)}
    net.fit(X, Y, optimizer=Solver("lbfgs", bounds=bounds), epochs=5)
    assert net.weights[edge] >= 5
    assert net.biases[free[0]] <= -4


def test_an_unknown_option_of_the_method():
    with pytest.raises(OptionError, match=r"'L-BFGS-B' of .*Unknown solver options: ftoll"):
        network().fit(X, Y, optimizer=Solver("lbfgs", options={"ftoll": 1e-9}))
    with pytest.raises(OptionError, match=r"method 'L-BFGS-B' of scipy.optimize: "):
        network().fit(X, Y, optimizer=Solver("lbfgs", options={"ftol": "x"}))


@pytest.mark.parametrize("name", solvers())
def test_nothing_to_solve_for(name):
    G = nx.DiGraph()
    G.add_edge("a", "y", trainable=False)
    G.nodes["y"]["bias"] = None
    with pytest.raises(OptionError, match="no parameter of the network trains"):
        dagbp.compile(G).fit([[1.0]], [1.0], optimizer=name)


def test_float32_networks():
    net = network(dtype="float32")
    before = net.evaluate(X, Y)
    net.fit(X, Y, optimizer="lbfgs", epochs=30)
    assert net.parameters.dtype == np.float32
    assert net.evaluate(X, Y) < 0.8 * before


def test_validation_and_callbacks(tmp_path):
    seen = []

    class Look(Callback):
        def on_epoch_end(self, progress):
            seen.append((progress.epoch, progress.loss, progress.val_loss))
            assert progress.val_loss == progress.network.evaluate(*V)

    net = network()
    save = ModelCheckpoint(tmp_path / "net")
    history = net.fit(X, Y, optimizer="cg", epochs=6, validation_data=V, callbacks=[Look(), save])
    rows = zip(range(1, 7), history.loss, history.val_loss, strict=True)
    assert seen == list(rows)
    assert np.array_equal(dagbp.load(tmp_path / "net").parameters, net.parameters)
    stopping = EarlyStopping(lambda progress: 0.0, patience=2)
    history = network().fit(X, Y, optimizer="cg", epochs=20, callbacks=[stopping])
    assert len(history.loss) == 3
    assert "has not improved for 2 epochs" in history.stopped
    history = network().fit(X, Y, optimizer="bfgs", epochs=50, callbacks=[TimeLimit(0.0)])
    assert (len(history.loss), history.stopped) == (1, "the time limit of 0 s has passed")


def test_a_failing_callback_leaves_the_last_iterate():
    kept = []

    class Fail(Callback):
        def on_epoch_end(self, progress):
            kept.append(progress.network.parameters)
            if progress.epoch == 2:
                raise ZeroDivisionError("by design")

    net = network()
    with pytest.raises(CallbackError, match="ZeroDivisionError: by design"):
        net.fit(X, Y, optimizer="lbfgs", epochs=9, callbacks=[Fail()])
    assert np.array_equal(net.parameters, kept[1])
    net.fit(X, Y, epochs=1)


def test_a_loss_that_is_not_finite_where_it_begins():
    net = network()
    with pytest.raises(DivergenceError, match="not finite where the solver begins") as caught:
        net.fit(X, 1e300 * Y, optimizer="lbfgs")
    assert caught.value.history.loss == []
    assert np.array_equal(net.parameters, network().parameters)


def test_terminate_on_nan_in_place_of_that_error():
    net = network()
    history = net.fit(X, 1e300 * Y, optimizer="lbfgs", callbacks=[TerminateOnNaN()])
    assert history.stopped == "the loss, its gradient or the update is not finite"
    assert net.history == history
    assert np.array_equal(net.parameters, network().parameters)


def test_an_interrupt_is_recorded_in_the_history():
    class Interrupt(Callback):
        def on_epoch_end(self, progress):
            raise KeyboardInterrupt

    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, optimizer="lbfgs", epochs=9, callbacks=[Interrupt()])
    assert (len(net.history.loss), net.history.stopped) == (1, "interrupted")


def test_no_epochs():
    net = network()
    assert net.fit(X, Y, optimizer="lbfgs", epochs=0).loss == []
    assert np.array_equal(net.parameters, network().parameters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "lbgfs"}, r"unknown optimizer 'lbgfs'; did you mean 'lbfgs'\?"),
        ({"learning_rate": 0.1}, r"a solver has no learning_rate, got 0.1"),
        ({"dropout": 0.1}, r"a solver \('L-BFGS-B'\) cannot use dropout"),
        ({"max_norm": 1.0}, r"a solver \(.*\) cannot use max_norm"),
        ({"resume": True}, r"a solver \(.*\) cannot use resume"),
        (
            {"callbacks": [CosineDecay()]},
            r"a solver \(.*\) cannot use CosineDecay: it has neither steps nor",
        ),
        ({"callbacks": [ReduceOnPlateau("loss")]}, r"a solver \(.*\) cannot use ReduceOnPlateau"),
        ({"optimizer": Solver("tnc", bounds=3)}, r"bounds must be a pair \(lower, upper\), got 3"),
        ({"optimizer": Solver("tnc", bounds=(1, 0))}, r"the lower one must be <= the upper one"),
        (
            {"optimizer": Solver("tnc", bounds={"no": (0, 1)})},
            r"keys other than edges must be nodes of",
        ),
        (
            {"optimizer": Solver("tnc", bounds={CASE.inputs[0]: (0, 1)})},
            r"bounds: node .* is an input, which has no bias",
        ),
        (
            {"optimizer": Solver("tnc", bounds=(np.zeros(3), 1))},
            r"bounds must be numbers or arrays of shape \(\d+,\)",
        ),
    ],
)
def test_bad_options(arguments, message):
    net = network()
    with pytest.raises(OptionError, match=message):
        net.fit(X, Y, **{"optimizer": "lbfgs", **arguments})
    assert np.array_equal(net.parameters, network().parameters)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Solver("newton"), r"unknown method 'newton' of scipy.optimize.minimize; did you"),
        (lambda: Solver(3), r"unknown method 3"),
        (
            lambda: Solver("cg", bounds=(0, 1)),
            r"method 'CG' takes no bounds; these do: L-BFGS",
        ),
        (lambda: Solver("cg", options=3), r"options must be a mapping, got 3"),
    ],
)
def test_bad_solvers(make, message):
    with pytest.raises(OptionError, match=message):
        make()
