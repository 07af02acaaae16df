"""Callbacks: the calls and their arguments, schedules, and early stops."""

import math
import time
from functools import partial

import numpy as np
import pytest
from comparing import assert_near
from networks import CASE
from networks import network as compiled
from training_runs import SGD_OPTIONS as OPTIONS
from training_runs import STEPS, Recorder, V, X, Y, monitored

import dagbp
from dagbp import DivergenceError, OptionError, callbacks
from dagbp._network import model_of
from dagbp.callbacks import (
    Callback,
    CosineDecay,
    EarlyStopping,
    ExponentialDecay,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    TerminateOnNaN,
    TimeLimit,
    WarmUp,
)
from dagbp.optimizers import SGD

network = partial(compiled, CASE, dtype="float64")


# ---------------------------------------------------------------------------- when


def test_the_order_of_calls():
    recorder = Recorder()
    network().fit(X, Y, epochs=2, callbacks=[recorder], **OPTIONS)
    expected = [("begin", 0, 0, 0)]
    for epoch in range(2):
        for step in range(STEPS):
            last = step == STEPS - 1
            place = (epoch + 1, 0) if last else (epoch, step + 1)
            expected.append(("step", *place, epoch * STEPS + step + 1))
        expected.append(("epoch", epoch + 1, 0, (epoch + 1) * STEPS))
    assert recorder.calls == [*expected, ("end", 2, 0, 10)]


@pytest.mark.parametrize("every", [2, 3, 7, None])
def test_every_so_many_steps(every):
    recorder = Recorder(every)
    network().fit(X, Y, epochs=4, callbacks=[recorder], **OPTIONS)
    taken = [n for name, _, _, n in recorder.calls if name == "step"]
    assert taken == ([] if every is None else list(range(every, 21, every)))


@pytest.mark.parametrize("hooks", [[], [Recorder()], [Recorder(3)], [Recorder(None)]])
def test_callbacks_change_no_bit(hooks):
    plain, watched = network(), network()
    one = plain.fit(X, Y, epochs=3, seed=1, batch_size=4, verbose=0)
    two = watched.fit(X, Y, epochs=3, seed=1, batch_size=4, verbose=0, callbacks=hooks)
    assert one.loss == two.loss
    assert np.array_equal(plain.parameters, watched.parameters)


def test_no_step_callback_means_no_return_from_compiled_code(monkeypatch):
    net, calls = network(), []
    train = model_of(net).engine.train
    monkeypatch.setattr(
        model_of(net).engine, "train", lambda *a, **k: (calls.append(1), train(*a, **k))
    )
    net.fit(X, Y, epochs=50, callbacks=[TerminateOnNaN(), CosineDecay()], **OPTIONS)
    assert len(calls) == 1
    net.fit(X, Y, epochs=50, callbacks=[EarlyStopping("loss", patience=100)], **OPTIONS)
    assert len(calls) == 51


def test_the_attributes_of_progress():
    seen = []

    class Look(Callback):
        def on_step_end(self, progress):
            seen.append((progress.loss, progress.rate, progress.network.parameters))

        def on_epoch_end(self, progress):
            assert progress.loss == progress.history.loss[-1]
            assert progress.val_loss == progress.history.val_loss[-1]
            assert progress.val_loss == progress.network.evaluate(*V)
            assert progress.history.n_updates == progress.n_updates
            assert progress.n_epochs == 2

    history = network().fit(X, Y, epochs=2, callbacks=[Look()], validation_data=V, **OPTIONS)
    sizes = [5, 5, 5, 5, 3]
    assert_near(np.dot([loss for loss, _, _ in seen[:5]], sizes) / 23, history.loss[0], 1e-13)
    assert {rate for _, rate, _ in seen} == {0.02}
    net = network()
    for k, (_, _, parameters) in enumerate(seen[:5]):
        batch = slice(5 * k, 5 * k + 5)
        net.parameters = net.parameters - 0.02 * net.loss_and_gradient(X[batch], Y[batch])[1]
        assert_near(parameters, net.parameters, 1e-12)


def test_a_callback_may_use_and_change_the_network():
    class Prune(Callback):
        def on_epoch_end(self, progress):
            progress.network.predict(X)
            progress.network.parameters = np.zeros_like(progress.network.parameters)

    net = network()
    net.fit(X, Y, epochs=2, callbacks=[Prune()], **OPTIONS)
    assert not net.parameters.any()


def test_stop_ends_the_run_before_the_next_step():
    class Stop(Callback):
        def on_step_end(self, progress):
            if progress.n_updates == 7:
                progress.stop("enough")

    recorder = Recorder()
    history = network().fit(X, Y, epochs=9, callbacks=[Stop(), recorder], **OPTIONS)
    assert (history.n_updates, history.stopped, len(history.loss)) == (7, "enough", 1)
    assert recorder.calls[-2:] == [("step", 1, 2, 7), ("end", 1, 2, 7)]


def test_the_learning_rate_can_be_assigned():
    class Halve(Callback):
        def on_epoch_end(self, progress):
            progress.learning_rate /= 2

    net, other = network(), network()
    net.fit(X, Y, epochs=3, callbacks=[Halve()], **OPTIONS)
    for rate in (0.02, 0.01, 0.005):
        other.fit(X, Y, epochs=1, **{**OPTIONS, "optimizer": SGD(learning_rate=rate)})
    assert np.array_equal(net.parameters, other.parameters)


# ---------------------------------------------------------------------------- schedules


def rates_by_hand(factor, epochs):
    at = [epoch + step / STEPS for epoch in range(epochs) for step in range(STEPS)]
    return [0.02 * factor(t, epochs) for t in at]


def cosine(t, n, floor=0.0):
    return floor + (1 - floor) * (1 + math.cos(math.pi * min(t / n, 1))) / 2


def one_cycle(t, n):
    part = t / n
    if part < 0.3:
        return 1 + (0.04 - 1) * (1 + math.cos(math.pi * part / 0.3)) / 2
    return 4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi * (part - 0.3) / 0.7)) / 2


SCHEDULES = {
    "step": ([StepDecay(2, 0.5)], lambda t, n: 0.5 ** (t // 2)),
    "exponential": ([ExponentialDecay(0.7)], lambda t, n: 0.7**t),
    "cosine": ([CosineDecay(floor=0.1)], lambda t, n: cosine(t, n, 0.1)),
    "cosine, short": ([CosineDecay(2)], lambda t, n: cosine(t, 2)),
    "warm-up": ([WarmUp(1.5, start=0.1)], lambda t, n: 0.1 + 0.9 * min(t / 1.5, 1)),
    "one cycle": ([OneCycle()], one_cycle),
    "two": ([WarmUp(2), ExponentialDecay(0.5)], lambda t, n: min(t / 2, 1) * 0.5**t),
}


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_step_by_step(name, stepwise):
    """Rates are read after each step, or, without step callbacks, found from the updates."""
    schedules, factor = SCHEDULES[name]
    expected, seen = rates_by_hand(factor, 4), []

    class Look(Callback):
        def on_step_end(self, progress):
            seen.append(progress.rate)

    net, other = network(), network()
    hooks = [*schedules, Look()] if stepwise else schedules
    net.fit(X, Y, epochs=4, callbacks=hooks, **OPTIONS)
    if stepwise:
        assert_near(seen, expected, 1e-15)
    for k, rate in enumerate(expected):
        batch = slice(k % STEPS * 5, k % STEPS * 5 + 5)
        step = {**OPTIONS, "optimizer": SGD(learning_rate=rate), "epochs": 1}
        other.fit(X[batch], Y[batch], **step)
    assert_near(net.parameters, other.parameters, 1e-12)


def test_every_schedule_of_the_library_is_tested():
    tested = {type(one) for schedules, _ in SCHEDULES.values() for one in schedules}
    public = [getattr(callbacks, name) for name in callbacks.__all__]
    assert tested == {one for one in public if issubclass_of(one, Schedule)} - {Schedule}


def issubclass_of(one, base):
    return isinstance(one, type) and issubclass(one, base)


def test_a_schedule_of_a_user_and_its_errors():
    class Wrong(Schedule):
        def factor(self, epoch, n_epochs):
            return -np.ones(len(epoch))

    with pytest.raises(OptionError, match=r"Wrong.factor must return 15 finite numbers >= 0, got"):
        network().fit(X, Y, epochs=3, callbacks=[Wrong()], **OPTIONS)


def test_reduce_on_plateau():
    values = iter([5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.0])
    rates = []

    class Look(Callback):
        def on_epoch_end(self, progress):
            rates.append(progress.learning_rate)

    plateau = ReduceOnPlateau(lambda progress: next(values), patience=2, rate=0.1, least=5e-4)
    network().fit(X, Y, epochs=7, callbacks=[plateau, Look()], **OPTIONS)
    assert rates == pytest.approx([0.02, 0.02, 0.02, 0.002, 0.002, 5e-4, 5e-4])


# ---------------------------------------------------------------------------- stopping


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_restores_the_best(mode):
    values = [5.0, 3.0, 4.0, 2.99, 6.0, 7.0, 0.0]
    if mode == "max":
        values = [-v for v in values]
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, progress):
            kept.append(progress.network.parameters)

    stopping = EarlyStopping(monitored(values), patience=3, min_delta=0.1, mode=mode)
    net = network()
    history = net.fit(X, Y, epochs=20, callbacks=[Keep(), stopping], **OPTIONS)
    assert len(history.loss) == 5
    assert history.stopped.endswith("has not improved for 3 epochs")
    assert stopping.best_epoch == 4  # the best of all, though not by enough to be waited for
    assert np.array_equal(net.parameters, kept[3])
    assert not np.array_equal(net.parameters, kept[4])
    again = EarlyStopping(monitored(values), patience=3, mode=mode, restore_best=False)
    net.fit(X, Y, epochs=4, callbacks=[again, Keep()], **OPTIONS)
    assert np.array_equal(net.parameters, kept[-1])


def test_early_stopping_can_be_used_again():
    stopping = EarlyStopping(patience=1)
    for _ in range(2):
        history = network().fit(X, Y, epochs=5, callbacks=[stopping], validation_data=V, **OPTIONS)
        assert stopping.best_epoch == int(np.argmin(history.val_loss)) + 1


def test_a_time_limit_ends_a_run_between_two_steps():
    net = network()
    began = time.perf_counter()
    history = net.fit(X, Y, epochs=10**8, callbacks=[TimeLimit(0.3)], **OPTIONS)
    assert history.stopped == "the time limit of 0.3 s has passed"
    assert 0.3 <= time.perf_counter() - began < 30
    other = network()
    other.fit(X, Y, epochs=len(history.loss), **OPTIONS)
    rest = history.n_updates - STEPS * len(history.loss)
    for k in range(rest):
        batch = slice(5 * k, 5 * k + 5)
        other.fit(X[batch], Y[batch], epochs=1, **OPTIONS)
    assert_near(net.parameters, other.parameters, 1e-9)


def test_terminate_on_nan_in_place_of_an_error():
    options = {**OPTIONS, "optimizer": SGD(learning_rate=1e6)}
    G = dagbp.layered([3, 4, 2], activation="identity", seed=0)
    data = np.random.default_rng(0).normal(size=(20, 3)), np.ones((20, 2))
    nets = [dagbp.compile(G, seed=0) for _ in range(2)]
    with pytest.raises(DivergenceError):
        nets[0].fit(*data, epochs=100, **options)
    history = nets[1].fit(*data, epochs=100, callbacks=[TerminateOnNaN()], **options)
    assert history.stopped == "the loss, its gradient or the update is not finite"
    assert np.array_equal(nets[0].parameters, nets[1].parameters)
    assert np.isfinite(nets[1].parameters).all()


def test_a_final_stop_overrides_a_resumable_one():
    class Stop(Callback):
        def __init__(self, **how):
            self.how = how

        def on_epoch_end(self, progress):
            progress.stop("now", **self.how)

    net = network()
    net.fit(X, Y, epochs=5, callbacks=[Stop(resumable=True), Stop()], **OPTIONS)
    assert len(net.fit(X, Y, epochs=5, callbacks=[Stop()], resume=True, **OPTIONS).loss) == 1


def test_a_method_of_an_object_is_a_hook_too():
    seen, callback = [], Callback()
    callback.on_epoch_end = lambda progress: seen.append(progress.epoch)
    network().fit(X, Y, epochs=2, callbacks=[callback], **OPTIONS)
    assert seen == [1, 2]
