"""Training: minibatches, history, repeatability, progress, divergence and interrupts."""

import _thread
import io
import math
import threading
from functools import partial

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from networks import CASE
from networks import network as compiled
from strategies import random_samples
from tqdm import tqdm

import dagbp
from dagbp import DataError, DivergenceError, OptionError
from dagbp.optimizers import SGD, Adam

network = partial(compiled, CASE, dtype="float64")
X, Y = random_samples(0, CASE, 23)
W = np.random.default_rng(0).uniform(0.1, 3, 23)
V = random_samples(1, CASE, 9)
PLAIN = {"optimizer": SGD(learning_rate=0.05), "verbose": 0}


def bias_outputs(n, edge=0.0, **options):
    """Return a network of n outputs that are a bias each, beside an input of weight `edge`."""
    G = nx.DiGraph()
    G.add_weighted_edges_from(("in", k, edge) for k in range(n))
    nx.set_edge_attributes(G, edge != 0, "trainable")
    return dagbp.compile(G, **{"dtype": "float64", **options})


# ---------------------------------------------------------------------------- minibatches


def by_hand(net, epochs, batch_size, weight=None, lr=0.05):
    """Train by plain Python; return the loss of each epoch."""
    weight = np.ones(len(X)) if weight is None else weight / weight.mean()
    losses = []
    for _ in range(epochs):
        losses.append(0.0)
        for start in range(0, len(X), batch_size):
            batch = slice(start, start + batch_size)
            x, y, w = X[batch], Y[batch], weight[batch]
            value, gradient = net.loss_and_gradient(x, y, sample_weight=w)
            # loss_and_gradient scales the weights of a batch alone to a mean of one
            net.parameters = net.parameters - lr * w.mean() * gradient
            losses[-1] += w.mean() * value * len(x) / len(X)
    return losses


@pytest.mark.parametrize("batch_size", [1, 2, 5, 11, 22, 23, 24, 10**30])
@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
def test_minibatches_equal_plain_python(batch_size, weight):
    net, other = network(), network()
    history = net.fit(
        X, Y, epochs=3, batch_size=batch_size, shuffle=False, sample_weight=weight, **PLAIN
    )
    expected = by_hand(other, 3, min(batch_size, len(X)), weight)
    assert_near(history.loss, expected, 1e-11)
    assert_near(net.parameters, other.parameters, 1e-11)
    assert history.n_updates == 3 * -(-len(X) // batch_size)
    assert history.val_loss == []
    assert history.seconds > 0


def test_validation_after_each_epoch():
    weight = np.linspace(0, 1, 9)
    net, other = network(), network()
    options = {"batch_size": 4, "shuffle": False, **PLAIN}
    history = net.fit(X, Y, epochs=3, validation_data=(*V, weight), **options)
    expected = []
    for _ in range(3):
        other.fit(X, Y, epochs=1, **options)
        expected.append(other.evaluate(*V, sample_weight=weight))
    assert history.val_loss == expected
    assert len(history.loss) == 3
    assert history.n_updates == 3 * 6
    unweighted = network().fit(X, Y, epochs=3, validation_data=list(V), **options)
    assert unweighted.loss == history.loss
    assert unweighted.val_loss != history.val_loss


def test_validation_does_not_change_the_training():
    one, two = network(), network()
    one.fit(X, Y, epochs=4, batch_size=5, seed=0, verbose=0)
    two.fit(X, Y, epochs=4, batch_size=5, seed=0, verbose=0, validation_data=V)
    assert np.array_equal(one.parameters, two.parameters)


def test_no_epochs():
    net = network()
    history = net.fit(X, Y, epochs=0, verbose=0, validation_data=V)
    assert (history.loss, history.val_loss, history.n_updates) == ([], [], 0)
    assert np.array_equal(net.parameters, network().parameters)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_no_samples(optimizer):
    net = network()
    with pytest.raises(DataError, match=r"^X has no samples; a loss needs at least one$"):
        net.fit(X[:0], Y[:0], epochs=2, verbose=0, sample_weight=[], optimizer=optimizer)
    with pytest.raises(DataError, match=r"^validation_data: X has no samples"):
        net.fit(X, Y, epochs=2, verbose=0, validation_data=(X[:0], Y[:0]), optimizer=optimizer)
    assert np.array_equal(net.parameters, network().parameters)


# ---------------------------------------------------------------------------- shuffling


def places(seed, n=8, epochs=1, **options):
    """Return in which steps each sample was used, (n, epochs), read off the biases' bits.

    Sample k is the k-th unit vector; each step halves every bias and adds 1/2 to that of its
    sample, so the one of the i-th last step stands at bit -i.
    """
    net = bias_outputs(n)
    net.fit(
        np.zeros((n, 1)),
        np.eye(n),
        optimizer=SGD(learning_rate=0.25),
        batch_size=1,
        epochs=epochs,
        seed=seed,
        verbose=0,
        **options,
    )
    total = n * epochs
    whole = [int(math.ldexp(net.biases[k], total)) for k in range(n)]
    return np.array([[i for i in range(total) if bits >> i & 1] for bits in whole])


def test_each_epoch_uses_each_sample_once_in_a_new_order():
    used = places(seed=0, epochs=5)
    assert used.shape == (8, 5)
    orders = used % 8
    assert np.array_equal(used // 8, np.tile(np.arange(5), (8, 1)))
    assert np.array_equal(np.sort(orders, axis=0), np.tile(np.arange(8)[:, None], 5))
    assert len({tuple(order) for order in orders.T}) == 5


def test_without_shuffling_samples_come_in_their_order():
    used = places(seed=0, epochs=2, shuffle=False)
    assert np.array_equal(used, np.arange(8)[:, None] + [0, 8])


def test_all_orders_of_samples_are_equally_likely():
    """Chi-squared over the 24 orders of 4 samples: 23 degrees of freedom, mean 23, sd 6.8."""
    n, expected = 1200, 1200 / 24
    orders = [tuple(places(seed, n=4)[:, 0]) for seed in range(n)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 24
    assert ((counts - expected) ** 2 / expected).sum() < 60


# ---------------------------------------------------------------------------- repeatability


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_seed_gives_the_same_bits(n_threads, dtype):
    data = random_samples(2, CASE, 500)

    def trained(seed):
        net = network(dtype=dtype, n_threads=n_threads)
        history = net.fit(*data, epochs=5, batch_size=220, seed=seed, verbose=0)
        return history.loss, net.parameters.tobytes()

    one = trained(7)
    assert all(trained(7) == one for _ in range(4))
    assert trained(8) != one
    assert trained(None) != trained(None)
    assert trained(np.random.default_rng(7)) == trained(np.random.default_rng(7))


def test_any_number_of_threads_trains_to_the_same_numbers():
    data = random_samples(2, CASE, 500)
    nets = [network(n_threads=n) for n in (1, 2, 3, 7, None)]
    for net in nets:
        net.fit(*data, epochs=3, batch_size=220, seed=0, verbose=0)
        assert_near(net.parameters, nets[0].parameters, 1e-11)


# ---------------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def at_once(monkeypatch):
    """Show the bar at once, not after a second."""

    def bar(**options):
        return tqdm(**{**options, "delay": 0, "mininterval": 0})

    monkeypatch.setattr("tqdm.tqdm", bar)


@pytest.mark.usefixtures("at_once")
def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    network().fit(X, Y, epochs=4, batch_size=8, validation_data=V)
    assert "12/12" in terminal.getvalue()
    assert "step" in terminal.getvalue()
    assert "epoch 4, loss " in terminal.getvalue()


@pytest.mark.usefixtures("at_once")
def test_no_bar_elsewhere(monkeypatch, capsys):
    network().fit(X, Y, epochs=4)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    network().fit(X, Y, epochs=4, verbose=0)
    assert terminal.getvalue() == ""


def test_no_bar_for_a_short_run(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    network().fit(X, Y, epochs=4)
    assert terminal.getvalue().strip() == ""


def test_no_standard_error_at_all(monkeypatch):
    """As with pythonw, which has no standard error."""
    monkeypatch.setattr("sys.stderr", None)
    assert len(network().fit(X, Y, epochs=2).loss) == 2


# ---------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("optimizer", [SGD(learning_rate=30.0), SGD(learning_rate=9, momentum=0.5)])
def test_diverging_training_stops_at_the_last_finite_step(dtype, n_threads, optimizer):
    G = dagbp.layered([3, 4, 2], activation="identity", seed=0)
    data = np.random.default_rng(0).normal(size=(2, 200, 3))
    net = dagbp.compile(G, dtype=dtype, n_threads=n_threads, seed=0)
    options = {"optimizer": optimizer, "batch_size": 100, "shuffle": False, "verbose": 0}
    message = r"diverged: .* at step \d of epoch \d+ .*learning_rate=(30.0|9)\. .*Lower the lear"
    with pytest.raises(DivergenceError, match=message) as caught:
        net.fit(data[0], data[1, :, :2], epochs=10_000, **options)
    history = caught.value.history
    assert isinstance(caught.value, ArithmeticError)
    assert np.isfinite(net.parameters).all()
    assert np.isfinite(history.loss).all()
    epochs, steps = divmod(history.n_updates, 2)
    assert len(history.loss) == epochs
    assert f"step {steps} of epoch {epochs} " in str(caught.value)
    if steps == 0:  # and those are the parameters of that step
        same = dagbp.compile(G, dtype=dtype, n_threads=n_threads, seed=0)
        assert same.fit(data[0], data[1, :, :2], epochs=epochs, **options).loss == history.loss
        assert np.array_equal(same.parameters, net.parameters)


def test_a_loss_that_is_infinite_from_the_start_changes_nothing():
    net = network()
    with pytest.raises(DivergenceError, match="at step 0 of epoch 0") as caught:
        net.fit(X, Y * 1e300, verbose=0)
    assert np.array_equal(net.parameters, network().parameters)
    assert (caught.value.history.loss, caught.value.history.n_updates) == ([], 0)
    net.fit(X, Y, verbose=0)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("epochs", [1, 5])
@pytest.mark.parametrize(
    ("dtype", "rate"), [("float64", 1.7e308), ("float32", 3e38), ("float32", 1e39)]
)
def test_an_update_that_overflows_is_not_taken(dtype, rate, epochs):
    """Loss and gradient are finite, the parameters would not be."""
    net = network(dtype=dtype)
    with pytest.raises(DivergenceError, match="diverged"):
        net.fit(X, 9 * Y, optimizer=SGD(learning_rate=rate), epochs=epochs, verbose=0)
    assert np.isfinite(net.parameters).all()


# ---------------------------------------------------------------------------- interrupts


@pytest.mark.parametrize("validation", [None, (np.ones((2, 1)), np.ones((2, 200)))])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_an_interrupt_leaves_the_network_at_a_finished_step(n_threads, validation):
    """All outputs are equal, so complete steps keep their parameters equal to the last bit."""
    net = bias_outputs(200, edge=0.5, n_threads=n_threads)
    ones = np.ones((100, 1)), np.ones((100, 200))
    options = {"optimizer": Adam(learning_rate=1e-7), "batch_size": 60, "verbose": 0}
    net.fit(*ones, epochs=1, validation_data=validation, **options)  # compiles
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        net.fit(*ones, epochs=10**5, validation_data=validation, **options)
    timer.join()
    assert len(set(net.weights.values())) == len(set(net.biases.values())) == 1
    assert 0.5 < net.weights["in", 0] < 0.75, "the interrupt came in the middle of the run"
    prediction = net.predict(ones[0])
    net.parameters = net.parameters
    assert np.array_equal(net.predict(ones[0]), prediction)
    assert len(net.fit(*ones, epochs=3, **options).loss) == 3


# ---------------------------------------------------------------------------- options


@pytest.mark.parametrize("bad", [-1, 1.5, 2.0, "3", None, True, [1], math.nan, 10**30])
def test_bad_epochs(bad):
    with pytest.raises(OptionError, match=r"epochs must be a whole number >= 0"):
        network().fit(X, Y, epochs=bad, verbose=0)


@pytest.mark.parametrize("bad", [0, -1, 1.5, 2.0, "3", None, True, [1], math.nan])
def test_bad_batch_sizes(bad):
    with pytest.raises(OptionError, match=r"batch_size must be a whole number >= 1, got "):
        network().fit(X, Y, batch_size=bad, verbose=0)


@pytest.mark.parametrize("bad", [-1, 1.5, "3", True, object(), [-1], math.nan])
def test_bad_seeds(bad):
    net = network()
    with pytest.raises(OptionError, match=r"seed must be None, a whole number >= 0 or a Generator"):
        net.fit(X, Y, seed=bad, verbose=0)
    with pytest.raises(OptionError, match=r"seed must be None, a whole number >= 0 or a Generator"):
        CASE.compile(seed=bad)
    assert np.array_equal(net.parameters, network().parameters)


def test_numpy_integers_are_whole_numbers():
    history = network().fit(X, Y, epochs=np.int8(100), batch_size=np.uint8(2), verbose=0)
    assert history.n_updates == 1200
