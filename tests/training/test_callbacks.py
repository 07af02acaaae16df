"""Callbacks: when they are called, with what, what each built-in one does, and failures."""

import csv
import json
import math
import os
import time
from functools import partial

import numpy as np
import pytest
from comparing import assert_near
from networks import CASE
from networks import network as compiled
from strategies import random_samples

import dagbp
from dagbp import CallbackError, DivergenceError, OptionError, callbacks
from dagbp._network import model_of
from dagbp.callbacks import (
    Callback,
    CosineDecay,
    CSVLogger,
    EarlyStopping,
    ExponentialDecay,
    JSONLogger,
    ModelCheckpoint,
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
X, Y = random_samples(0, CASE, 23)
V = random_samples(1, CASE, 9)
OPTIONS = {"optimizer": SGD(learning_rate=0.02), "batch_size": 5, "shuffle": False, "verbose": 0}
STEPS = 5  # of an epoch


class Diary(Callback):
    """Writes down every call."""

    def __init__(self, every=1):
        self.every = every
        self.calls = []

    def note(self, name, progress):
        self.calls.append((name, progress.epoch, progress.step, progress.n_updates))

    def on_train_begin(self, progress):
        self.note("begin", progress)

    def on_step_end(self, progress):
        self.note("step", progress)

    def on_epoch_end(self, progress):
        self.note("epoch", progress)

    def on_train_end(self, progress):
        self.note("end", progress)


# ---------------------------------------------------------------------------- when


def test_the_order_of_calls():
    diary = Diary()
    network().fit(X, Y, epochs=2, callbacks=[diary], **OPTIONS)
    expected = [("begin", 0, 0, 0)]
    for epoch in range(2):
        for step in range(STEPS):
            last = step == STEPS - 1
            place = (epoch + 1, 0) if last else (epoch, step + 1)
            expected.append(("step", *place, epoch * STEPS + step + 1))
        expected.append(("epoch", epoch + 1, 0, (epoch + 1) * STEPS))
    assert diary.calls == [*expected, ("end", 2, 0, 10)]


@pytest.mark.parametrize("every", [2, 3, 7, None])
def test_every_so_many_steps(every):
    diary = Diary(every)
    network().fit(X, Y, epochs=4, callbacks=[diary], **OPTIONS)
    taken = [n for name, _, _, n in diary.calls if name == "step"]
    assert taken == ([] if every is None else list(range(every, 21, every)))


@pytest.mark.parametrize("hooks", [[], [Diary()], [Diary(3)], [Diary(None)]])
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


def test_what_progress_says():
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

    diary = Diary()
    history = network().fit(X, Y, epochs=9, callbacks=[Stop(), diary], **OPTIONS)
    assert (history.n_updates, history.stopped, len(history.loss)) == (7, "enough", 1)
    assert diary.calls[-2:] == [("step", 1, 2, 7), ("end", 1, 2, 7)]


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
    """The rates are seen where steps are handed back, and by what they do where they are not."""
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


def test_a_schedule_of_ones_own_and_its_errors():
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


def monitored(values):
    values = iter(values)
    return lambda progress: next(values)


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


# ---------------------------------------------------------------------------- files


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_loggers(tmp_path):
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"
    hooks = [CSVLogger(table), JSONLogger(lines), ExponentialDecay(0.5)]
    history = network().fit(X, Y, epochs=3, callbacks=hooks, validation_data=V, **OPTIONS)
    rows = rows_of(table)
    objects = [json.loads(line) for line in lines.read_text().splitlines()]
    assert list(rows[0]) == list(objects[0])
    for k, (row, one) in enumerate(zip(rows, objects, strict=True)):
        assert {name: float(value) for name, value in row.items()} == one
        assert (one["epoch"], one["n_updates"]) == (k + 1, STEPS * (k + 1))
        assert (one["loss"], one["val_loss"]) == (history.loss[k], history.val_loss[k])
        assert one["learning_rate"] == pytest.approx(0.02 * 0.5 ** (k + 0.8))
    network().fit(X, Y, epochs=1, callbacks=[CSVLogger(table), JSONLogger(lines)], **OPTIONS)
    (row,) = rows_of(table)
    assert row["val_loss"] == ""
    assert "val_loss" not in json.loads(lines.read_text())
    network().fit(X, Y, epochs=2, callbacks=[CSVLogger(table, append=True)], **OPTIONS)
    assert [row["epoch"] for row in rows_of(table)] == ["1", "1", "2"]


def test_a_resumed_log_has_each_epoch_once(tmp_path):
    """Even those that were logged after the last checkpoint, and a line that was cut off."""
    place = tmp_path / "net.dagbp"
    logs = tmp_path / "log.csv", tmp_path / "log.jsonl"

    def hooks():
        save = ModelCheckpoint(place, every_epochs=2)
        return [CSVLogger(logs[0]), JSONLogger(logs[1]), save]

    class Kill(Callback):
        def on_epoch_end(self, progress):
            if progress.epoch == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, epochs=5, callbacks=[*hooks(), Kill()], **OPTIONS)
    for log in logs:
        log.write_text(log.read_text()[:-4])
    dagbp.load(place).fit(X, Y, epochs=5, callbacks=hooks(), resume=True, **OPTIONS)
    assert [row["epoch"] for row in rows_of(logs[0])] == list("12345")
    assert [json.loads(line)["epoch"] for line in logs[1].read_text().splitlines()] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_checkpoints_by_epoch_step_and_improvement(tmp_path):
    path = tmp_path / "{epoch}-{n_updates}.dagbp"
    network().fit(X, Y, epochs=4, callbacks=[ModelCheckpoint(path, every_epochs=2)], **OPTIONS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2-10.dagbp", "4-20.dagbp"]
    (tmp_path / "b").mkdir()
    by_step = ModelCheckpoint(tmp_path / "b" / path.name, every_epochs=None, every_steps=8)
    network().fit(X, Y, epochs=4, callbacks=[by_step], **OPTIONS)
    names = ["1-8.dagbp", "3-16.dagbp", "4-20.dagbp"]  # and at the end
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == names
    (tmp_path / "c").mkdir()
    best = ModelCheckpoint(tmp_path / "c" / path.name, monitor=monitored([3.0, 4.0, 2.0, 2.0]))
    net = network()
    net.fit(X, Y, epochs=4, callbacks=[best], **OPTIONS)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["1-5.dagbp", "3-15.dagbp"]


def test_a_resumed_log_keeps_what_was_there_before_its_run(tmp_path):
    class Limit(Callback):
        def on_step_end(self, progress):
            if progress.n_updates == 2:
                progress.stop("time", resumable=True)

    log, net = tmp_path / "log.csv", network()
    net.fit(X, Y, epochs=3, callbacks=[CSVLogger(log)], **OPTIONS)
    net.fit(X, Y, epochs=2, callbacks=[CSVLogger(log, append=True), Limit()], **OPTIONS)
    hooks = [CSVLogger(log, append=True)]
    net.fit(X, Y, epochs=2, callbacks=hooks, resume=True, **OPTIONS)
    assert [row["epoch"] for row in rows_of(log)] == list("12312")


def test_a_final_stop_counts_more_than_one_that_can_be_resumed():
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


# ---------------------------------------------------------------------------- failures


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
def test_methods_that_nobody_would_call(name, method, message):
    with pytest.raises(OptionError, match=rf"callback 'Mine': .*{message}"):
        type("Mine", (Callback,), {name: method})


def test_an_attribute_that_progress_has_not():
    class Typo(Callback):
        def on_epoch_end(self, progress):
            progress.learning_rat = 5

    with pytest.raises(CallbackError, match=r"AttributeError: .*learning_rat"):
        network().fit(X, Y, epochs=1, callbacks=[Typo()], **OPTIONS)


def test_a_folder_that_is_not_there_and_what_kills_left(tmp_path):
    with pytest.raises(OptionError, match=r"ModelCheckpoint: there is no folder '.*no"):
        network().fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "no" / "net")], **OPTIONS)
    with pytest.raises(OptionError, match=r"CSVLogger: there is no folder '.*no"):
        network().fit(X, Y, callbacks=[CSVLogger(tmp_path / "no" / "log")], **OPTIONS)
    stale, other = tmp_path / ".net.1234abcd.tmp", tmp_path / ".other.1234abcd.tmp"
    for file in (stale, other):
        file.write_text("half")
        os.utime(file, (0, 0))
    network().fit(X, Y, epochs=1, callbacks=[ModelCheckpoint(tmp_path / "net")], **OPTIONS)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.1234abcd.tmp", "net"]


def test_a_checkpoint_at_the_end_holds_the_restored_best(tmp_path):
    hooks = [EarlyStopping(lambda progress: float(progress.epoch)), ModelCheckpoint(tmp_path / "n")]
    net = network()
    net.fit(X, Y, epochs=4, callbacks=hooks, **OPTIONS)
    loaded = dagbp.load(tmp_path / "n")
    assert np.array_equal(loaded.parameters, net.parameters)
    whole = network()
    history = whole.fit(X, Y, epochs=7, **OPTIONS)
    hooks = [EarlyStopping(lambda progress: float(progress.epoch), restore_best=False)]
    assert loaded.fit(X, Y, epochs=7, callbacks=hooks, resume=True, **OPTIONS).loss == history.loss


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
        ([Diary(0)], r"Diary.every must be a whole number >= 1, got 0"),
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
def test_monitoring_a_validation_that_is_not_there(monitor, optimizer):
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
def test_a_run_that_does_not_begin_leaves_the_last_one_as_it_was(callback):
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


def test_an_interrupted_run_says_so_until_it_goes_on():
    class Interrupt(Callback):
        def on_epoch_end(self, progress):
            raise KeyboardInterrupt

    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=2, callbacks=[Interrupt()], **OPTIONS)
    assert net.history.stopped == "interrupted"
    assert net.fit(X, Y, epochs=2, resume=True, **OPTIONS).stopped is None


@pytest.mark.parametrize("callback", [Refuse(), NotANumber()])
def test_a_resumed_run_that_does_not_begin_leaves_the_restored_best(callback):
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


def test_a_resumed_run_goes_on_with_parameters_that_were_assigned():
    best = EarlyStopping(lambda progress: float(progress.epoch))
    net, other = network(), network()
    net.fit(X, Y, epochs=3, callbacks=[best], **OPTIONS)
    other.fit(X, Y, epochs=3, **OPTIONS)
    for each in (net, other):
        each.parameters = 0.5 * network().parameters
        each.fit(X, Y, epochs=5, resume=True, **OPTIONS)
    assert np.array_equal(net.parameters, other.parameters)


def test_a_callback_that_cannot_tell_its_state_costs_the_run_only_that():
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


def test_what_a_callback_keeps_is_its_own():
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


def test_a_validation_that_comes_and_goes_with_resumed_runs():
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


def test_checkpoints_of_the_best_among_some_epochs(tmp_path):
    path = tmp_path / "{epoch}.dagbp"
    monitor = monitored([3.0, 2.0, 4.0, 1.0])  # of epochs 2, 4, 6, 8
    best = ModelCheckpoint(path, every_epochs=2, monitor=monitor)
    network().fit(X, Y, epochs=8, callbacks=[best], **OPTIONS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2.dagbp", "4.dagbp", "8.dagbp"]
    with pytest.raises(
        OptionError, match="every_epochs must be a whole number >= 1 where monitor is given"
    ):
        ModelCheckpoint(path, every_epochs=None, monitor="loss")


def test_a_log_that_begins_in_a_resumed_run_keeps_other_lines(tmp_path):
    log, net = tmp_path / "log.csv", network()
    network().fit(X, Y, epochs=5, callbacks=[CSVLogger(log)], **OPTIONS)
    net.fit(X, Y, epochs=2, **OPTIONS)
    for epochs in (3, 4):
        hooks = [CSVLogger(log, append=True)]
        net.fit(X, Y, epochs=epochs, resume=True, callbacks=hooks, **OPTIONS)
    assert [row["epoch"] for row in rows_of(log)] == list("1234534")


@pytest.mark.parametrize("name", ["net-{epoch:03d}.dagbp", "net[1].dagbp"])
def test_what_kills_left_of_any_name(tmp_path, name):
    of_it = name.replace("{epoch:03d}", "007")
    stale, other = tmp_path / f".{of_it}.1234abcd.tmp", tmp_path / ".net1.dagbp.1234abcd.tmp"
    for file in (stale, other):
        file.write_text("half")
        os.utime(file, (0, 0))
    network().fit(X, Y, epochs=1, callbacks=[ModelCheckpoint(tmp_path / name)], **OPTIONS)
    assert not stale.exists()
    assert other.exists()


def test_the_history_of_many_epochs_is_not_copied():
    net, lists = network(), set()

    class Look(Callback):
        def on_epoch_end(self, progress):
            lists.add((id(progress.history.loss), id(progress.history.val_loss)))

    net.fit(X, Y, epochs=9, callbacks=[Look()], validation_data=V, **OPTIONS)
    assert len(lists) == 1
