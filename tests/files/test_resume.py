"""Runs that are resumed, from a file, a pickle or the network, equal uninterrupted runs."""

import copy
import pickle
import threading
from functools import partial

import numpy as np
import pytest
from training_runs import OPTIONS, Break, X, Y, assert_same_run, hooks, network

import dagbp
from dagbp import OptionError
from dagbp._network import model_of
from dagbp.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    TimeLimit,
)
from dagbp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop, Rprop


class InterruptWithinStep(Callback):
    """Interrupts after the step of the kernels, before its callbacks are called."""

    def __init__(self, at):
        self.at = at

    def on_poll(self, progress):
        self.at -= 1
        if self.at == 0:
            raise KeyboardInterrupt


class Slower(Callback):
    """Lowers the rate after every step, and remembers how often."""

    def __init__(self):
        self.steps, self.epochs = 0, []

    def on_step_end(self, progress):
        self.steps += 1
        progress.learning_rate *= 0.95

    def on_epoch_end(self, progress):
        self.epochs.append((progress.epoch, progress.loss, progress.val_loss))

    def state(self):
        return {"steps": self.steps, "epochs": self.epochs}

    def restore(self, state):
        self.steps, self.epochs = state["steps"], list(state["epochs"])


OPTIMIZERS = [
    *(SGD(), SGD(momentum=0.9, nesterov=True), Adam(clip_norm=1.0)),
    *(AdamW(), RMSprop(momentum=0.5), Adagrad(), Rprop()),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("at", [1, 5, 12, 29])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, optimizer, at):
    path, options = tmp_path / "net", {**OPTIONS, "optimizer": optimizer}
    whole = network()
    history = whole.fit(X, Y, callbacks=hooks(), **options)
    broken = network()
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, callbacks=[*hooks(path), Break(at)], **options)
    loaded = dagbp.load(path)
    assert loaded.history.n_updates == at
    again = loaded.fit(X, Y, callbacks=hooks(), resume=True, **options)
    assert_same_run(whole, loaded, (history, again))
    here = broken.fit(X, Y, callbacks=hooks(), resume=True, **options)
    assert_same_run(whole, broken, (history, here))


@pytest.mark.parametrize("at", [1, 2, 5, 6, 13])
@pytest.mark.parametrize("kind", ["file", "pickle", "here"])
def test_an_interrupt_within_a_step_loses_nothing(tmp_path, at, kind):
    """The resumed run calls callbacks for that step, and for the epoch that it ended."""
    slower, again = Slower(), Slower()
    whole, broken = network(), network()
    history = whole.fit(X, Y, callbacks=[*hooks(), slower], **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, callbacks=[*hooks(), Slower(), InterruptWithinStep(at)], **OPTIONS)
    if kind == "file":
        broken.save(tmp_path / "net")
        broken = dagbp.load(tmp_path / "net")
    elif kind == "pickle":
        broken = pickle.loads(pickle.dumps(broken))
    resumed = broken.fit(X, Y, callbacks=[*hooks(), again], resume=True, **OPTIONS)
    assert_same_run(whole, broken, (history, resumed))
    assert again.steps == slower.steps == history.n_updates
    assert again.epochs == slower.epochs


@pytest.mark.parametrize("first", [True, False])
def test_an_interrupt_between_two_callbacks_calls_each_once_an_epoch(first):
    class Once(Callback):
        def on_epoch_end(self, progress):
            if progress.epoch == 2:
                raise KeyboardInterrupt

    slower, net = Slower(), network()
    pair = [Once(), slower] if first else [slower, Once()]
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, callbacks=pair, **OPTIONS)
    again = Slower()
    net.fit(X, Y, callbacks=[again], resume=True, **OPTIONS)
    assert [epoch for epoch, _, _ in again.epochs] == [1, 2, 3, 4, 5, 6]
    assert again.steps == 30


def test_epochs_without_callbacks_keep_their_losses_after_an_interrupt():
    options = {**OPTIONS, "validation_data": None, "epochs": 3000}
    whole, broken = network(), network()
    history = whole.fit(X, Y, **options)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, callbacks=[InterruptWithinStep(1)], **options)
    assert_same_run(whole, broken, (history, broken.fit(X, Y, resume=True, **options)))


@pytest.mark.parametrize("kind", ["file", "here"])
@pytest.mark.parametrize("ends", ["by its epochs", "by a limit"])
def test_a_resumed_run_starts_from_the_last_parameters_not_from_the_best(tmp_path, kind, ends):
    """The end of a run restores the best parameters; a resumed run starts from the last ones."""

    class Limit(Callback):
        def on_epoch_end(self, progress):
            if progress.epoch == 3:
                progress.stop("time", resumable=True)

    options = {**OPTIONS, "epochs": 8}
    stopping = partial(EarlyStopping, lambda progress: float(progress.epoch), patience=50)
    whole, broken = network(), network()
    history = whole.fit(X, Y, callbacks=[stopping()], **options)
    if ends == "by a limit":
        broken.fit(X, Y, callbacks=[Limit(), stopping()], **options)
    else:
        broken.fit(X, Y, callbacks=[stopping()], **{**options, "epochs": 3})
    first = network()
    first.fit(X, Y, **{**options, "epochs": 1})
    assert np.array_equal(broken.parameters, first.parameters), "the best epoch is the first"
    if kind == "file":
        broken.save(tmp_path / "net")
        broken = dagbp.load(tmp_path / "net")
    resumed = broken.fit(X, Y, callbacks=[stopping()], resume=True, **options)
    assert_same_run(whole, broken, (history, resumed))


def test_two_checkpoints_of_a_resumed_run_save_the_same_epochs(tmp_path):
    values = [5.0, 1.0, 3.0, 2.0, 0.5, 9.0]

    def pair(folder):
        best = ModelCheckpoint(
            folder / "best-{epoch}", monitor=lambda progress: values[progress.epoch - 1]
        )
        return [ModelCheckpoint(folder / "last"), best]

    class Limit(Callback):
        def on_epoch_end(self, progress):
            if progress.epoch == 2:
                progress.stop("time", resumable=True)

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    network().fit(X, Y, callbacks=pair(tmp_path / "a"), **OPTIONS)
    network().fit(X, Y, callbacks=[*pair(tmp_path / "b"), Limit()], **OPTIONS)
    net = dagbp.load(tmp_path / "b" / "last")
    net.fit(X, Y, callbacks=pair(tmp_path / "b"), resume=True, **OPTIONS)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("a", "b")]
    assert names[0] == names[1] == ["best-1", "best-2", "best-5", "last"]


def test_a_callback_of_another_run_is_reset():
    stopping = EarlyStopping("loss", patience=50)
    one, two = network(), network()
    one.fit(X, Y, callbacks=[stopping], **{**OPTIONS, "epochs": 30})
    two.fit(X, -Y, **{**OPTIONS, "epochs": 2})
    two.fit(X, -Y, callbacks=[stopping], resume=True, **{**OPTIONS, "epochs": 4})
    assert stopping.best_epoch in (3, 4)
    assert not np.array_equal(one.parameters, two.parameters)


def test_saving_from_another_thread_waits_for_the_end_of_a_step(tmp_path):
    net = dagbp.compile(dagbp.layered([3, 64, 64, 1], seed=0), seed=0, n_threads=1)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(5_000, 3)), rng.normal(size=5_000)
    begun = threading.Event()

    class Begin(Callback):
        def on_poll(self, progress):
            begun.set()

    def save():
        begun.wait()
        net.save(tmp_path / "net")

    saver = threading.Thread(target=save)
    saver.start()
    net.fit(*data, epochs=200, seed=0, callbacks=[Begin()])
    saver.join()
    loaded = dagbp.load(tmp_path / "net")
    assert 0 < loaded.history.n_updates < net.history.n_updates
    loaded.fit(*data, epochs=200, seed=0, resume=True)
    assert np.array_equal(loaded.parameters, net.parameters)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("ways", ["tiles", "levels"])
def test_on_threads_with_filled_blocks(tmp_path, n_threads, ways):
    G = dagbp.layered([40, 48, 3], density=0.9, activation="tanh", seed=0)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(300, 40)), rng.normal(size=(300, 3))

    def fresh():
        options = {"dense_above": 0.5, "schedule": ways}
        return dagbp.compile(G, seed=0, n_threads=n_threads, **options)

    whole, broken, options = fresh(), fresh(), {"epochs": 4, "batch_size": 140, "seed": 0}
    history = whole.fit(*data, **options)
    save = ModelCheckpoint(tmp_path / "net", every_steps=2)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(*data, callbacks=[save, Break(8)], **options)
    loaded = dagbp.load(tmp_path / "net")
    assert model_of(loaded).engine.layout.n_explicit_zeros > 0
    assert_same_run(whole, loaded, (history, loaded.fit(*data, resume=True, **options)))


def test_a_resumed_run_may_have_more_epochs():
    whole, parts = network(), network()
    options = {**OPTIONS, "validation_data": None}
    history = whole.fit(X, Y, **options)
    for epochs in (1, 2, 6):
        last = parts.fit(X, Y, resume=epochs > 1, **{**options, "epochs": epochs})
    assert_same_run(whole, parts, (history, last))
    same = parts.fit(X, Y, resume=True, **options)
    assert_same_run(whole, parts, (history, same))


def test_a_run_resumes_from_a_pickle():
    whole, parts = network(), network()
    history = whole.fit(X, Y, callbacks=hooks(), **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        parts.fit(X, Y, callbacks=[*hooks(), Break(13)], **OPTIONS)
    copy = pickle.loads(pickle.dumps(parts))
    again = copy.fit(X, Y, callbacks=hooks(), resume=True, **OPTIONS)
    assert_same_run(whole, copy, (history, again))


def test_a_run_resumes_after_a_time_limit():
    net, options = network(), {**OPTIONS, "epochs": 10**7}
    limited = net.fit(X, Y, callbacks=[TimeLimit(0.05)], **options)
    assert limited.stopped
    more = net.fit(X, Y, callbacks=[TimeLimit(0.05)], resume=True, **options)
    assert more.n_updates > limited.n_updates
    assert len(more.loss) >= len(limited.loss)


def test_a_run_that_stopped_early_resumes_without_the_callback_that_stopped_it(tmp_path):
    def stopping(patience):
        return EarlyStopping(lambda progress: 0.0, patience=patience)

    path = tmp_path / "net"
    first = network().fit(X, Y, callbacks=[stopping(2), ModelCheckpoint(path)], **OPTIONS)
    assert (len(first.loss), first.stopped is None) == (3, False)
    for callbacks, n_epochs in (
        ([stopping(2)], 3),
        ([ModelCheckpoint(path), stopping(2)], 3),
        ([stopping(4)], 5),
        ([], OPTIONS["epochs"]),
    ):
        net = dagbp.load(path)
        again = net.fit(X, Y, callbacks=callbacks, resume=True, **OPTIONS)
        assert len(again.loss) == n_epochs
        assert again.loss[:3] == first.loss
        # and once more, from the state that this run has left
        again = net.fit(X, Y, callbacks=callbacks, resume=True, **OPTIONS)
        assert len(again.loss) == n_epochs
    whole = network()
    whole.fit(X, Y, **OPTIONS)
    assert np.array_equal(net.parameters, whole.parameters)


def test_resume_of_the_optimizer_keeps_its_state_alone():
    """Two runs of Adam with a kept state equal one run of twice the steps."""
    options = {"optimizer": Adam(), "batch_size": len(X), "shuffle": False, "verbose": 0}
    one, two = network("float64"), network("float64")
    one.fit(X, Y, epochs=6, **options)
    two.fit(X, Y, epochs=3, **options)
    history = two.fit(X, Y, epochs=3, resume="optimizer", **options)
    assert np.array_equal(one.parameters, two.parameters)
    assert (history.n_updates, len(history.loss)) == (3, 3)
    before = two.parameters
    with pytest.raises(OptionError, match="keeps the state of the last optimizer, but there is no"):
        network("float64").fit(X, Y, epochs=2, resume="optimizer", **options)
    with pytest.raises(OptionError, match=r"which was Adam with 2 numbers .*, but SGD\(.*\) has 1"):
        two.fit(X, Y, epochs=1, resume="optimizer", **{**options, "optimizer": SGD(momentum=0.5)})
    assert np.array_equal(two.parameters, before)


@pytest.mark.parametrize("way", ["file", "pickle", "deepcopy"])
@pytest.mark.parametrize("end", ["solver", "release", "divergence"])
def test_the_history_of_a_run_without_a_state_is_kept(tmp_path, way, end):
    net = network("float64")
    if end == "divergence":
        with pytest.raises(dagbp.DivergenceError):
            net.fit(X, 1e300 * Y, epochs=2, verbose=0)
    else:
        net.fit(X, Y, optimizer="lbfgs" if end == "solver" else "adam", epochs=3, verbose=0)
    if end == "release":
        net.release()
    if way == "file":
        net.save(tmp_path / "net")
        other = dagbp.load(tmp_path / "net")
    else:
        other = pickle.loads(pickle.dumps(net)) if way == "pickle" else copy.deepcopy(net)
    assert other.history == net.history
    assert other.history is not net.history
    with pytest.raises(OptionError, match="but there is none: the network was not trained"):
        other.fit(X, Y, epochs=9, verbose=0, resume=True)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"optimizer": Adam(beta1=0.8)}, "beta1 was 0.9 and is 0.8"),
        ({"optimizer": SGD()}, "optimizer was Adam and is SGD"),
        ({"seed": 4}, "seed was 3 and is 4"),
        ({"batch_size": 6}, "batch_size was 5 and is 6"),
        ({"shuffle": False}, "shuffle was True and is False"),
        ({"dropout": 0.3}, r"dropout was 0 to 0.2 \(\w{8}\) and is 0 to 0.3 \("),
        (
            {"penalties": []},
            r"penalties was l1 .*, l2 0 to 0.001 \(\w{8}\) and is l1 none",
        ),
        ({"sample_weight": np.arange(1.0, 24.0)}, r"checksum of samples was \w{8} and is"),
        ({"loss": "huber"}, "loss was .*squared_error.* and is .*huber"),
    ],
)
def test_resuming_with_other_arguments_is_refused(changed, name):
    net = network()
    net.fit(X, Y, **OPTIONS)
    before = net.parameters
    with pytest.raises(
        OptionError, match=f"resume=True needs the arguments of the last run.*{name}"
    ):
        net.fit(X, Y, resume=True, **{**OPTIONS, **changed})
    with pytest.raises(OptionError, match="samples was 23 and is 22"):
        net.fit(X[1:], Y[1:], resume=True, **OPTIONS)
    with pytest.raises(OptionError, match=r"checksum of samples was \w{8} and is \w{8}"):
        net.fit(X + 1, Y, resume=True, **OPTIONS)
    assert np.array_equal(net.parameters, before)


def test_equal_arguments_of_other_types_may_resume():
    first = {"seed": np.int64(3), "dropout": 0, "max_norm": 3, "penalties": [], "epochs": 1}
    again = {"seed": 3, "dropout": 0.0, "max_norm": np.float64(3), "penalties": (), "epochs": 2}
    net, other = network(), network()
    net.fit(X, Y, optimizer=SGD(learning_rate=1, momentum=np.float64(0.0)), **first)
    net.fit(X, Y, optimizer=SGD(learning_rate=1.0, momentum=0), resume=True, **again)
    other.fit(X, Y, optimizer=SGD(learning_rate=1), **again)
    assert np.array_equal(net.parameters, other.parameters)
    with pytest.raises(OptionError, match="seed was 3 and is 7"):
        net.fit(X, Y, **{**again, "seed": np.int64(7)}, optimizer=SGD(learning_rate=1), resume=True)


def test_an_untrained_network_cannot_resume(tmp_path):
    net = network()
    with pytest.raises(OptionError, match="resume=True continues the network's last run, but th"):
        net.fit(X, Y, resume=True, **OPTIONS)
    net.fit(X, Y, **OPTIONS)
    with pytest.raises(OptionError, match="the last run had 6 epochs, but epochs is 5"):
        net.fit(X, Y, resume=True, **{**OPTIONS, "epochs": 5})
    net.save(tmp_path / "net", training=False)
    assert dagbp.load(tmp_path / "net").history is None
    with pytest.raises(OptionError, match="but there is none: the network was not trained"):
        dagbp.load(tmp_path / "net").fit(X, Y, resume=True, **OPTIONS)
    with pytest.raises(OptionError, match="resume must be True, False or 'optimizer', got 'yes'"):
        net.fit(X, Y, resume="yes", **OPTIONS)
