"""Callbacks that fail, refuse to begin, or have bad options."""

import math
from functools import partial

import numpy as np
import pytest
from comparing import assert_near
from networks import CASE
from networks import network as compiled
from training_runs import SGD_OPTIONS as OPTIONS
from training_runs import STEPS, Recorder, V, X, Y

from dagbp import CallbackError, OptionError
from dagbp.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    ModelCheckpoint,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    TerminateOnNaN,
    TimeLimit,
)

network = partial(compiled, CASE, dtype="float64")


@pytest.mark.parametrize("method", ["on_train_begin", "on_step_end", "on_epoch_end", "on_poll"])
def test_a_failing_callback_leaves_a_usable_network(method):
    def fail(self, progress):
        raise ZeroDivisionError("by design")

    failing = type("Failing", (Callback,), {method: fail})()
    net = network()
    message = rf"Failing\.{method} failed after \d+ steps and \d+ whole ep.*ZeroDivisionError: by d"
    with pytest.raises(CallbackError, match=message) as caught:
        net.fit(X, Y, epochs=10**6, callbacks=[failing], **OPTIONS)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    taken = {"on_train_begin": 0, "on_step_end": 1, "on_epoch_end": 5}
    if method in taken:
        other = network()
        for k in range(taken[method]):
            batch = slice(5 * k, 5 * k + 5)
            other.fit(X[batch], Y[batch], epochs=1, **OPTIONS)
        assert_near(net.parameters, other.parameters, 1e-12)
    net.predict(X)
    assert len(net.fit(X, Y, epochs=2, **OPTIONS).loss) == 2


def test_a_callback_must_not_train_its_network():
    class Nest(Callback):
        def on_epoch_end(self, progress):
            progress.network.fit(X, Y, epochs=1, **OPTIONS)

    net = network()
    with pytest.raises(OptionError, match="must not train the network that calls it"):
        net.fit(X, Y, epochs=1, callbacks=[Nest()], **OPTIONS)
    net.fit(X, Y, epochs=1, **OPTIONS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping("vall_loss"), r"EarlyStopping: monitor must be 'loss', 'val_loss' "),
        (lambda: EarlyStopping(patience=0), r"patience must be a whole number >= 1, got 0"),
        (lambda: EarlyStopping(mode="best"), r"mode must be 'min' or 'max', got 'best'"),
        (lambda: EarlyStopping(mode=np.array([])), r"mode must be 'min' or 'max', got array\(\["),
        (lambda: EarlyStopping(np.array(["loss"])), r"monitor must be 'loss', .* got array\(\["),
        (lambda: EarlyStopping(min_delta=-1), r"min_delta must be a number >= 0, got -1"),
        (lambda: TimeLimit("1"), r"TimeLimit: seconds must be a number >= 0, got '1'"),
        (lambda: StepDecay(0), r"StepDecay: every_epochs must be a number >= 1e-09, got 0"),
        (lambda: OneCycle(rise=2), r"OneCycle: rise must be a number from 0 to 1, got 2"),
        (lambda: ReduceOnPlateau(rate=1), r"ReduceOnPlateau: rate must be a number < 1, got 1"),
        (lambda: ModelCheckpoint("{epochs}"), r"path may contain \{epoch\} and \{n_updates\} in"),
        (lambda: ModelCheckpoint(3), r"ModelCheckpoint: path must be a path, got 3"),
        (lambda: ModelCheckpoint("a", every_steps=0), r"every_steps must be a whole number >= 1"),
        (lambda: CSVLogger(b"a"), r"CSVLogger: path must be a path, got b'a'"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        (
            "on_epoch_begin",
            lambda self, progress: 0,
            r"on_epoch_begin; did you mean 'on_epoch_end'",
        ),
        (
            "on_epoch_end",
            lambda self, epoch, logs=None: 0,
            r"must take one argument, the progress, but",
        ),
    ],
)
def test_methods_with_unknown_names_are_refused(name, method, message):
    with pytest.raises(OptionError, match=rf"callback 'Mine': .*{message}"):
        type("Mine", (Callback,), {name: method})


def test_an_unknown_attribute_of_progress():
    class Typo(Callback):
        def on_epoch_end(self, progress):
            progress.learning_rat = 5

    with pytest.raises(CallbackError, match=r"AttributeError: .*learning_rat"):
        network().fit(X, Y, epochs=1, callbacks=[Typo()], **OPTIONS)


@pytest.mark.parametrize("bad", [-0.1, math.nan, "fast", None])
def test_a_bad_learning_rate(bad):
    class Set(Callback):
        def on_epoch_end(self, progress):
            progress.learning_rate = bad

    net = network()
    with pytest.raises(
        OptionError, match=r"a callback set learning_rate to .* must be a number >= 0"
    ):
        net.fit(X, Y, epochs=3, callbacks=[Set()], **OPTIONS)
    assert net.history.n_updates == STEPS


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([Recorder(0)], r"Recorder.every must be a whole number >= 1, got 0"),
        (TerminateOnNaN(), r"callbacks must be a list of callbacks, got <dagbp"),
        ([print], r"callbacks must be of dagbp.callbacks.Callback, got <built-in function print>"),
        ([TerminateOnNaN], r"callbacks must be of dagbp.callbacks.Callback, got <class"),
    ],
)
def test_bad_lists(bad, message):
    with pytest.raises(OptionError, match=message):
        network().fit(X, Y, callbacks=bad, **OPTIONS)


@pytest.mark.parametrize(
    ("monitor", "optimizer"),
    [
        (EarlyStopping, "adam"),
        (EarlyStopping, "lbfgs"),
        (ReduceOnPlateau, "adam"),
        (lambda: ModelCheckpoint("a", monitor="val_loss"), "adam"),
        (lambda: ModelCheckpoint("a", monitor="val_loss"), "lbfgs"),
    ],
)
def test_monitoring_without_validation_data_is_refused(monitor, optimizer):
    message = r"\w+ monitors 'val_loss', but fit has no validation_data; pass some, or"
    net, start = network(), network().parameters
    with pytest.raises(OptionError, match=message):
        net.fit(X, Y, callbacks=[monitor()], optimizer=optimizer, verbose=0)
    assert np.array_equal(net.parameters, start)


class Refuse(Callback):
    def on_train_begin(self, progress):
        raise OptionError("not today")


class NotANumber(Schedule):
    def factor(self, epoch, n_epochs):
        return np.full(len(epoch), np.nan)


@pytest.mark.parametrize("callback", [Refuse(), NotANumber()])
def test_a_refused_run_leaves_the_last_run_unchanged(callback):
    net, other = network(), network()
    for each in (net, other):
        each.fit(X, Y, epochs=2, **OPTIONS)
    with pytest.raises(OptionError):
        net.fit(X, Y, epochs=4, callbacks=[callback], **OPTIONS)
    with pytest.raises(OptionError):
        net.fit(X, Y, optimizer="lbfgs", callbacks=[Refuse()], verbose=0)
    assert net.history.loss == other.history.loss
    for each in (net, other):
        each.fit(X, Y, epochs=4, resume=True, **OPTIONS)
    assert np.array_equal(net.parameters, other.parameters)


def test_an_interrupted_run_is_marked_until_it_is_resumed():
    class Interrupt(Callback):
        def on_epoch_end(self, progress):
            raise KeyboardInterrupt

    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=2, callbacks=[Interrupt()], **OPTIONS)
    assert net.history.stopped == "interrupted"
    assert net.fit(X, Y, epochs=2, resume=True, **OPTIONS).stopped is None


@pytest.mark.parametrize("callback", [Refuse(), NotANumber()])
def test_a_refused_resume_keeps_the_restored_best_parameters(callback):
    best = EarlyStopping(lambda progress: float(progress.epoch))
    net, other = network(), network()
    for each in (net, other):
        each.fit(X, Y, epochs=3, callbacks=[best], **OPTIONS)
    with pytest.raises(OptionError):
        net.fit(X, Y, epochs=5, resume=True, callbacks=[callback], **OPTIONS)
    assert np.array_equal(net.parameters, other.parameters)
    for each in (net, other):
        each.fit(X, Y, epochs=5, resume=True, **OPTIONS)
    assert np.array_equal(net.parameters, other.parameters)
    whole = network()
    whole.fit(X, Y, epochs=5, **OPTIONS)
    assert np.array_equal(net.parameters, whole.parameters)


def test_a_resumed_run_starts_from_assigned_parameters():
    best = EarlyStopping(lambda progress: float(progress.epoch))
    net, other = network(), network()
    net.fit(X, Y, epochs=3, callbacks=[best], **OPTIONS)
    other.fit(X, Y, epochs=3, **OPTIONS)
    for each in (net, other):
        each.parameters = 0.5 * network().parameters
        each.fit(X, Y, epochs=5, resume=True, **OPTIONS)
    assert np.array_equal(net.parameters, other.parameters)


def test_a_callback_with_a_failing_state_costs_only_the_resume():
    class Mute(Callback):
        def state(self):
            raise ValueError("no")

    net, other = network(), network()
    with pytest.raises(CallbackError, match=r"Mute\.state failed after 10 steps"):
        net.fit(X, Y, epochs=2, callbacks=[Mute()], **OPTIONS)
    other.fit(X, Y, epochs=2, **OPTIONS)
    assert np.array_equal(net.parameters, other.parameters)
    assert net.history.loss == other.history.loss
    with pytest.raises(OptionError, match="but there is none: the network was not trained"):
        net.fit(X, Y, epochs=3, resume=True, **OPTIONS)
    for each in (net, other):
        each.fit(X, Y, epochs=3, **OPTIONS)
    assert np.array_equal(net.parameters, other.parameters)


def test_a_saved_state_of_a_callback_is_a_copy():
    class Epochs(Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, progress):
            self.seen.append(progress.epoch)

        def state(self):
            return {"seen": self.seen}

        def restore(self, state):
            self.seen = state["seen"]

        def reset(self):
            self.seen.clear()

    net, callback = network(), Epochs()
    net.fit(X, Y, epochs=3, callbacks=[callback], **OPTIONS)
    network().fit(X, Y, epochs=1, callbacks=[callback], **OPTIONS)
    for epochs in (4, 5):
        again = Epochs()
        net.fit(X, Y, epochs=epochs, resume=True, callbacks=[again], **OPTIONS)
        assert again.seen == list(range(1, epochs + 1))


def test_resumed_runs_may_add_and_drop_validation_data():
    net, seen = network(), []

    class Look(Callback):
        def on_epoch_end(self, progress):
            seen.append(progress.val_loss)

    for epochs, data in ((2, None), (4, V), (5, None), (6, V)):
        again = {"resume": epochs > 2, "validation_data": data}
        history = net.fit(X, Y, epochs=epochs, callbacks=[Look()], **again, **OPTIONS)
        assert np.array_equal(seen, [*history.val_loss, *[np.nan] * 2][: len(seen)], equal_nan=True)
    assert len(history.loss) == len(history.val_loss) == 6
    assert np.array_equal(np.isnan(history.val_loss), [1, 1, 0, 0, 1, 0])
    assert history.val_loss[-1] == net.evaluate(*V)


def test_the_history_of_many_epochs_is_not_copied():
    net, lists = network(), set()

    class Look(Callback):
        def on_epoch_end(self, progress):
            lists.add((id(progress.history.loss), id(progress.history.val_loss)))

    net.fit(X, Y, epochs=9, callbacks=[Look()], validation_data=V, **OPTIONS)
    assert len(lists) == 1
