"""`fit_batches`: the same steps as `fit` from any iterable, fetched ahead; and errors."""

import threading
import time
from functools import partial

import numpy as np
import pytest
from comparing import assert_near
from networks import CASE
from networks import network as compiled
from scipy import sparse
from strategies import random_samples

import dagbp
from dagbp import DataError, DivergenceError, OptionError
from dagbp._network import model_of
from dagbp._training.stream import Batches
from dagbp.callbacks import Callback, CosineDecay, ExponentialDecay, ModelCheckpoint, TimeLimit
from dagbp.optimizers import SGD, Adam

network = partial(compiled, CASE, dtype="float64")
X, Y = random_samples(0, CASE, 23)
V = random_samples(1, CASE, 9)
STARTS = range(0, 23, 5)


def batches(epoch=0):
    for k in STARTS:
        yield X[k : k + 5], Y[k : k + 5]


class Loader:
    """An iterable of unknown length that can be iterated again."""

    def __iter__(self):
        return batches()


FORMS = {"list": list(batches()), "function": batches, "loader": Loader()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_same_steps_as_fit(form, n_threads):
    options = {"optimizer": Adam(learning_rate=0.01), "epochs": 3, "validation_data": V}
    options |= {"seed": 4, "verbose": 0, "max_norm": 2.0}
    one, two = network(n_threads=n_threads), network(n_threads=n_threads)
    expected = one.fit(X, Y, batch_size=5, shuffle=False, **options)
    found = two.fit_batches(FORMS[form], **options)
    assert np.array_equal(one.parameters, two.parameters)
    assert found.n_updates == expected.n_updates == 15
    assert_near(found.loss, expected.loss, 1e-13)
    assert_near(found.val_loss, expected.val_loss, 1e-13)


def test_the_number_of_the_epoch_is_handed_over():
    asked = []

    def by_epoch(epoch):
        asked.append(epoch)
        return batches()

    network().fit_batches(by_epoch, epochs=3)
    assert asked == [0, 1, 2]


def test_schedules_follow_the_steps_if_their_number_is_known():
    def rates(given):
        seen = []

        class Look(Callback):
            def on_step_end(self, progress):
                seen.append(progress.rate)

        hooks = [ExponentialDecay(0.5), Look()]
        network().fit_batches(given, epochs=2, learning_rate=1.0, optimizer="sgd", callbacks=hooks)
        return seen

    at = [epoch + step / 5 for epoch in range(2) for step in range(5)]
    assert_near(rates(FORMS["list"]), [0.5**t for t in at], 1e-15)
    assert_near(rates(batches), [0.5 ** int(t) for t in at], 1e-15)


def test_a_list_longer_than_its_len():
    class Wrong(list):
        def __len__(self):
            return 2

    net = network()
    history = net.fit_batches(Wrong(batches()), epochs=2, callbacks=[CosineDecay()])
    assert history.n_updates == 10
    assert np.isfinite(net.parameters).all()


def test_weights_frames_and_sparse_batches():
    weight = np.arange(1.0, 24.0)

    def weighted():
        for k in STARTS:
            yield sparse.csr_array(X[k : k + 5]), Y[k : k + 5], weight[k : k + 5]

    net, other = network(), network()
    options = {"optimizer": SGD(learning_rate=0.05), "verbose": 0}
    net.fit_batches(list(weighted()), epochs=1, **options)
    for k in STARTS:
        batch = slice(k, k + 5)
        step = {"batch_size": 5, "epochs": 1, "sample_weight": weight[batch]}
        other.fit(X[batch], Y[batch], **step, **options)
    assert_near(net.parameters, other.parameters, 1e-12)


def test_batches_are_fetched_while_kernels_run():
    """The next batches are fetched before the first step has ended."""
    fetched, at_step = [], []

    def slowly(epoch):
        for k, batch in enumerate(batches()):
            fetched.append(k)
            yield batch

    class Look(Callback):
        def on_step_end(self, progress):
            time.sleep(0.05)  # a step's time
            at_step.append(len(fetched))

    network().fit_batches(slowly, epochs=1, callbacks=[Look()])
    assert at_step[0] >= 3
    assert fetched == list(range(5))


def test_no_thread_is_left():
    net = network()
    for _ in range(3):
        net.fit_batches(batches, epochs=2, callbacks=[TimeLimit(0.0)])
    end = time.monotonic() + 10
    while model_of(net).lock.fetching:
        assert time.monotonic() < end
        time.sleep(0.01)


class Break(Callback):
    def __init__(self, at):
        self.every = at

    def on_step_end(self, progress):
        raise KeyboardInterrupt


@pytest.mark.parametrize("at", [1, 5, 7, 14])
def test_a_resumed_stream_equals_an_uninterrupted_one(tmp_path, at):
    options = {"epochs": 3, "dropout": 0.2, "seed": 1, "validation_data": V}
    path = tmp_path / "net"
    whole, broken = network(), network()
    history = whole.fit_batches(batches, callbacks=[CosineDecay()], **options)
    save = ModelCheckpoint(path, every_epochs=None, every_steps=1)
    with pytest.raises(KeyboardInterrupt):
        broken.fit_batches(batches, callbacks=[CosineDecay(), save, Break(at)], **options)
    for net in (dagbp.load(path), broken):
        again = net.fit_batches(batches, callbacks=[CosineDecay()], resume=True, **options)
        assert np.array_equal(net.parameters, whole.parameters)
        assert (again.loss, again.val_loss) == (history.loss, history.val_loss)
        assert again.n_updates == 15


@pytest.mark.parametrize("at", [1, 4, 5, 6, 13])
def test_an_interrupt_within_a_step_loses_nothing(at):
    class InterruptWithinStep(Callback):
        n = 0

        def on_poll(self, progress):
            self.n += 1
            if self.n == at:
                raise KeyboardInterrupt

    options = {"epochs": 3, "seed": 1, "dropout": 0.2}
    whole, broken = network(), network()
    history = whole.fit_batches(FORMS["list"], **options)
    with pytest.raises(KeyboardInterrupt):
        broken.fit_batches(FORMS["list"], callbacks=[InterruptWithinStep()], **options)
    again = broken.fit_batches(FORMS["list"], resume=True, **options)
    assert np.array_equal(whole.parameters, broken.parameters)
    assert (again.loss, again.n_updates) == (history.loss, 15)


def test_a_limit_acts_while_the_iterator_blocks():
    stuck = threading.Event()

    def blocking(epoch):
        yield from batches()
        stuck.wait(20)

    history = network().fit_batches(blocking, epochs=2, callbacks=[TimeLimit(0.3)])
    stuck.set()
    assert (history.n_updates, history.stopped) == (5, "the time limit of 0.3 s has passed")


def test_a_source_that_blocks_holds_up_only_runs_of_the_same_source():
    stuck, started = threading.Event(), threading.Event()

    def blocking(epoch):
        yield from batches()
        started.set()
        stuck.wait(20)

    net = network()
    history = net.fit_batches(blocking, epochs=1, callbacks=[TimeLimit(0.3)])
    assert history.n_updates == 5
    assert net.fit_batches(batches, epochs=2).n_updates == 10
    run = partial(net.fit_batches, blocking, epochs=1, callbacks=[TimeLimit(0.3)])
    assert run().n_updates == 0  # waits for the first run's thread, and not for ever
    stuck.set()
    assert run().n_updates == 5


def test_a_source_that_blocks_for_long_is_an_error():
    stuck, started = threading.Event(), threading.Event()

    class Blocking:
        def __iter__(self):
            started.set()
            stuck.wait(20)
            yield X, Y

    source, model = Blocking(), model_of(network())
    first = Batches(source, lambda batch: batch, 1, 0, model.lock)
    assert first.next(0, started.is_set) is None
    first.close()
    second = Batches(source, lambda batch: batch, 1, 0, model.lock, patience=0.1)
    with pytest.raises(DataError, match=r"in use by an earlier run: .* come within 0\.1 s\. Pass"):
        second.next(0, lambda: False)
    stuck.set()


# ---------------------------------------------------------------------------- failures


def test_an_iterator_must_not_use_the_network():
    """The run waits for the iterator, so the iterator must not wait for the run."""
    net = network()

    def asking(epoch):
        net.predict(X)
        yield X, Y

    with pytest.raises(OptionError, match="a function that makes batches must not use the network"):
        net.fit_batches(asking, epochs=1)
    net.predict(X)
    net.fit_batches(FORMS["list"], epochs=2)
    with pytest.raises(OptionError, match="the last run had 2 epochs, but epochs is 1"):
        net.fit_batches(FORMS["list"], epochs=1, resume=True)


def test_an_exception_in_the_iterator_leaves_a_usable_network():
    def failing(epoch):
        for k, batch in enumerate(batches()):
            if (epoch, k) == (1, 2):
                raise OSError("disk on fire")
            yield batch

    net, other = network(), network()
    message = r"batch 2 of epoch 1 \(both from 0\) could not be fetched: OSError: disk on fire"
    with pytest.raises(DataError, match=message) as caught:
        net.fit_batches(failing, epochs=3, optimizer=SGD())
    assert isinstance(caught.value.__cause__, OSError)
    assert net.history.n_updates == 7
    seven = list(batches()) + list(batches())[:2]
    other.fit_batches(seven, epochs=1, optimizer=SGD())
    assert np.array_equal(net.parameters, other.parameters)
    net.fit(X, Y, epochs=1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (X, r"batch 3 of epoch 0 \(both from 0\): a batch must be a tuple \(X, Y\) or"),
        ((X[:, :1], Y), r"batch 3 of epoch 0 .*: X must have shape"),
        ((X * np.nan, Y), r"batch 3 of epoch 0 .*: X must be finite, got nan"),
        ((X[:0], Y[:0]), r"batch 3 of epoch 0 .*: X has no samples; a loss needs at least one"),
        ((X, Y[:2]), r"batch 3 of epoch 0 .*: Y has 2 samples, X has 23"),
    ],
)
def test_a_bad_batch(bad, message):
    net, other = network(), network()
    with pytest.raises(DataError, match=message):
        net.fit_batches([*list(batches())[:3], bad], optimizer=SGD())
    other.fit_batches(list(batches())[:3], optimizer=SGD())
    assert np.array_equal(net.parameters, other.parameters)


def test_an_iterator_lasts_for_one_epoch():
    net = network()
    with pytest.raises(OptionError, match="batches is an iterator, which lasts for one epoch"):
        net.fit_batches(batches(), epochs=2)
    assert net.history is None
    assert network().fit_batches(batches(), epochs=1).n_updates == 5
    with pytest.raises(DataError, match=r"there are no batches in epoch 0 \(from 0\)"):
        net.fit_batches([], epochs=1)


def test_an_array_that_is_refilled_for_each_batch():
    buffer, targets = np.empty((5, X.shape[1])), np.empty((5, Y.shape[1]))

    def refilled(epoch):
        for k in range(0, 20, 5):
            buffer[:], targets[:] = X[k : k + 5], Y[k : k + 5]
            yield buffer, targets
        buffer[:] = targets[:] = np.nan

    net, other = network(), network()
    net.fit_batches(refilled, epochs=3)
    other.fit_batches([(X[k : k + 5], Y[k : k + 5]) for k in range(0, 20, 5)], epochs=3)
    assert np.array_equal(net.parameters, other.parameters)


@pytest.mark.parametrize("form", ["csr", "wrapped"])
def test_memory_that_is_refilled_for_each_batch(form):
    """Sparse entries, and the array of an object of another library."""

    class Wrapped:
        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return self.values

    buffer, targets = np.ones((5, X.shape[1])), np.empty((5, Y.shape[1]))
    matrix = sparse.csr_array(buffer)

    def refilled(epoch):
        for k in range(0, 20, 5):
            matrix.data[:] = X[k : k + 5].ravel()
            buffer[:], targets[:] = X[k : k + 5], Y[k : k + 5]
            yield matrix if form == "csr" else Wrapped(buffer), Wrapped(targets)
        matrix.data[:] = buffer[:] = targets[:] = np.nan

    net, other = network(), network()
    net.fit_batches(refilled, epochs=3)
    other.fit_batches([(X[k : k + 5], Y[k : k + 5]) for k in range(0, 20, 5)], epochs=3)
    assert_near(net.parameters, other.parameters, 1e-13)


def test_a_first_batch_that_is_bad_leaves_the_last_run():
    net, other = network(), network()
    for each in (net, other):
        each.fit(X, Y, epochs=2, seed=0)
    for bad in ([(X, Y[:2])], [], lambda epoch: iter([3])):
        with pytest.raises(DataError):
            net.fit_batches(bad, epochs=2)
    assert net.history.loss == other.history.loss
    for each in (net, other):
        each.fit(X, Y, epochs=4, seed=0, resume=True)
    assert np.array_equal(net.parameters, other.parameters)


def test_two_runs_never_make_batches_at_once():
    at_once, most = [0], [0]

    def slow(epoch):
        for k in STARTS:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            time.sleep(0.1)
            at_once[0] -= 1
            yield X[k : k + 5], Y[k : k + 5]

    net = network()
    for seconds in (0.15, 0.15, 0.15):
        net.fit_batches(slow, epochs=9, callbacks=[TimeLimit(seconds)])
    assert most[0] == 1


def test_progress_has_the_scheduled_rate_at_the_end_of_an_epoch():
    rates = []

    class Look(Callback):
        def on_epoch_end(self, progress):
            rates.append(progress.rate)

    options = {"epochs": 3, "optimizer": SGD(learning_rate=0.1)}
    options["callbacks"] = [ExponentialDecay(0.5), Look()]
    network().fit_batches(list(batches()), **options)
    network().fit(X, Y, batch_size=5, **options)
    assert rates[:3] == rates[3:]
    assert rates[0] > rates[1] > rates[2]


def test_divergence_in_a_stream():
    net = network()
    with pytest.raises(DivergenceError, match="at step 3 of epoch 0"):
        net.fit_batches([*list(batches())[:3], (X, Y * 1e300)], optimizer=SGD(learning_rate=1e-6))
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"batches": lambda: batches()},
            "batches must be a function of one argument",
        ),
        ({"batches": 3}, r"batches must be an iterable of \(X, Y\) or .* got 3"),
        ({"optimizer": "lbfgs"}, r"'lbfgs' is a solver, which needs all samples at once"),
        ({"epochs": -1}, r"epochs must be a whole number >= 0"),
        ({"loss": "softmax_cross_entrop"}, r"unknown loss 'softmax_cross_entrop'; did you mean"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(OptionError, match=message):
        network().fit_batches(**{"batches": batches, **arguments})
