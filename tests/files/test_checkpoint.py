"""Files: what survives, that a resumed run equals an uninterrupted one, and what is refused."""

import copy
import hashlib
import json
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from functools import partial
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from networks import run_python
from strategies import networks, random_network, random_samples

import dagbp
from dagbp import CheckpointError, DagbpWarning, OptionError, Penalty, _memory
from dagbp._files.values import Arrays, decode, encode
from dagbp._network import model_of
from dagbp.callbacks import (
    Callback,
    CosineDecay,
    EarlyStopping,
    ModelCheckpoint,
    ReduceOnPlateau,
    TimeLimit,
    WarmUp,
)
from dagbp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop, Rprop

CASE = random_network(11, max_nodes=14, min_inputs=2, smooth_only=True)
X, Y = random_samples(0, CASE, 23)
V = random_samples(1, CASE, 9)


def same_graph(a, b):
    assert list(a.nodes) == list(b.nodes)
    assert list(a.edges) == list(b.edges)
    for label in a.nodes:
        assert a.nodes[label] == b.nodes[label]
    for edge in a.edges:
        assert a.edges[edge] == b.edges[edge]
    assert a.graph == b.graph


# ---------------------------------------------------------------------------- the network


@settings(max_examples=60)
@given(case=networks())
def test_save_then_load_is_the_identity(tmp_path_factory, case):
    path = tmp_path_factory.mktemp("files") / "net.dagbp"
    for dtype in ("float32", "float64"):
        net = case.compile(dtype=dtype, seed=0)
        net.save(path)
        loaded = dagbp.load(path)
        assert (loaded.inputs, loaded.outputs) == (net.inputs, net.outputs)
        assert loaded.dtype == net.dtype
        assert np.array_equal(loaded.parameters, net.parameters)
        assert dict(loaded.weights) == dict(net.weights)
        same_graph(loaded.to_networkx(), net.to_networkx())
        features, targets = random_samples(0, case, 3)
        assert np.array_equal(loaded.predict(features), net.predict(features))
        ours, theirs = (one.loss_and_gradient(features, targets) for one in (net, loaded))
        assert ours[0] == theirs[0]
        assert np.array_equal(ours[1], theirs[1])


def test_options_survive(tmp_path):
    G = dagbp.layered([40, 48, 3], density=0.9, seed=0)
    options = {"n_threads": 2, "dense_above": 0.5, "schedule": "levels"}
    net = dagbp.compile(G, seed=0, **options)
    net.save(tmp_path / "net")
    loaded = dagbp.load(str(tmp_path / "net"))
    assert loaded.n_threads == 2
    assert loaded.summary() == net.summary()
    assert (
        model_of(loaded).engine.layout.n_explicit_zeros
        == model_of(net).engine.layout.n_explicit_zeros
        > 0
    )


def test_a_network_of_arrays(tmp_path):
    net = dagbp.Network.from_edges([0, 1, 0, 2], [2, 2, 3, 3], n_nodes=5, seed=0)
    net.save(tmp_path / "net")
    loaded = dagbp.load(tmp_path / "net")
    assert loaded.inputs == [0, 1, 4]
    assert dict(loaded.weights) == dict(net.weights)
    assert loaded.to_networkx().nodes == net.to_networkx().nodes


LABELS = [
    *("a", "ä\n\0", "", 3, -(10**30), 2.5, math.inf, True, b"\0\xff", ("t", (1, None))),
    *(frozenset({1, "x"}), ()),
]


def test_labels_of_the_usual_kinds_survive(tmp_path):
    G = nx.DiGraph()
    nx.add_path(G, LABELS)
    net = dagbp.compile(G, seed=0)
    net.save(tmp_path / "net")
    labels = list(dagbp.load(tmp_path / "net").to_networkx())
    assert labels == LABELS
    assert [type(label) for label in labels] == [type(label) for label in LABELS]


def test_other_labels_are_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "net"
    path.write_text("old")
    net = dagbp.compile(nx.DiGraph([("a", complex(1, 2))]))
    with pytest.raises(
        CheckpointError, match=r"a label cannot be saved in a file: \(1\+2j\) of typ"
    ):
        net.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="links and modes of POSIX")
def test_a_link_stays_and_a_file_keeps_its_mode(tmp_path):
    file, link = tmp_path / "net", tmp_path / "latest"
    network().save(file)
    file.chmod(0o640)
    link.symlink_to(file)
    other = network()
    other.parameters = 0 * other.parameters
    other.save(link)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert not dagbp.load(file).parameters.any()
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_where_no_file_can_be(tmp_path):
    with pytest.raises(CheckpointError, match=r"must be a regular file, or not exist"):
        network().save(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match=r"pipe must be a regular file"):
            network().save(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match=r"missing.net'$"):
        network().save(tmp_path / "missing" / "net")
    for call in (network().save, dagbp.load):
        with pytest.raises(OptionError, match=r"path must be a str or another path-like, got None"):
            call(None)


def test_attributes_survive_or_are_named(tmp_path):
    G = nx.DiGraph([("a", "y")], title="t", when=(1, {"k": [np.float32(0.5), {2}]}))
    G.nodes["a"].update(pos=(0.5, -1.0), picture=np.arange(3.0))
    G.edges["a", "y"].update(kind={"x": None}, trainable=False)
    net = dagbp.compile(G)
    net.save(tmp_path / "net")
    back = dagbp.load(tmp_path / "net").to_networkx()
    assert back.graph == {"title": "t", "when": (1, {"k": [0.5, {2}]})}
    assert back.nodes["a"]["pos"] == (0.5, -1.0)
    assert back.nodes["a"]["picture"].tolist() == [0, 1, 2]
    assert back.edges["a", "y"]["kind"] == {"x": None}
    assert not model_of(dagbp.load(tmp_path / "net")).engine.parameters.trained[0]
    G.nodes["y"]["thing"] = object()
    with pytest.warns(DagbpWarning, match="attributes 'thing' of the graph have values") as caught:
        dagbp.compile(G).save(tmp_path / "net")
    assert caught[0].filename == __file__
    assert "thing" not in dagbp.load(tmp_path / "net").to_networkx().nodes["y"]


@pytest.mark.parametrize("value", [0.1, 1e-320, -0.0, math.nan, -math.inf, 10**40, "\ud83d"])
def test_values_come_back_to_the_bit(value):
    text = json.dumps(encode(value, Arrays()), allow_nan=False)
    back = decode(json.loads(text), Arrays())
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_a_users_activation_must_be_registered(tmp_path):
    dagbp.activations.register("saved", lambda s: 2 * s, lambda s, x: 2.0, overwrite=True)
    net = dagbp.compile(nx.DiGraph([("a", "y")]), output_activation="saved", seed=0)
    net.save(tmp_path / "net")
    assert np.array_equal(dagbp.load(tmp_path / "net").predict([[1.0]]), net.predict([[1.0]]))
    code = "import sys, dagbp; dagbp.load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "net"], check=False, capture_output=True, text=True
    )
    assert "a node has activation 'saved', which is not registered; register it be" in done.stderr


# ---------------------------------------------------------------------------- training


class Break(Callback):
    """Interrupts after a step, as Ctrl-C would."""

    def __init__(self, at):
        self.every = at

    def on_step_end(self, progress):
        raise KeyboardInterrupt


def hooks(path=None, every=1):
    """Return callbacks with a state of every kind."""
    some = [
        WarmUp(1.5),
        CosineDecay(9),
        ReduceOnPlateau(patience=1, rate=0.5),
        EarlyStopping(patience=4),
    ]
    if path is None:
        return some
    return [ModelCheckpoint(path, every_epochs=None, every_steps=every), *some]


class BreakIn(Callback):
    """Interrupts while kernels run: after their step, before anybody is told of it."""

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


OPTIONS = {
    "epochs": 6,
    "batch_size": 5,
    "seed": 3,
    "verbose": 0,
    "dropout": 0.2,
    "input_dropout": 0.1,
    "penalties": [Penalty(l1=1e-4, l2=1e-3)],
    "max_norm": 3.0,
    "validation_data": V,
}
OPTIMIZERS = [
    *(SGD(), SGD(momentum=0.9, nesterov=True), Adam(clip_norm=1.0)),
    *(AdamW(), RMSprop(momentum=0.5), Adagrad(), Rprop()),
]


def network(dtype="float32", **options):
    return CASE.compile(dtype=dtype, seed=0, **options)


def assert_same_run(one, other, histories):
    assert np.array_equal(one.parameters, other.parameters)
    for name in ("loss", "val_loss", "n_updates", "stopped"):
        assert getattr(histories[0], name) == getattr(histories[1], name), name


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
def test_an_interrupt_in_the_midst_of_a_step_loses_nothing(tmp_path, at, kind):
    """Nobody was told of that step, or of the epoch that it ended: they are when it goes on."""
    slower, again = Slower(), Slower()
    whole, broken = network(), network()
    history = whole.fit(X, Y, callbacks=[*hooks(), slower], **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, callbacks=[*hooks(), Slower(), BreakIn(at)], **OPTIONS)
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
def test_an_interrupt_between_two_callbacks_tells_each_once(first):
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
        broken.fit(X, Y, callbacks=[BreakIn(1)], **options)
    assert_same_run(whole, broken, (history, broken.fit(X, Y, resume=True, **options)))


@pytest.mark.parametrize("kind", ["file", "here"])
@pytest.mark.parametrize("ends", ["by its epochs", "by a limit"])
def test_restored_best_parameters_are_not_where_it_goes_on(tmp_path, kind, ends):
    """The end of a run puts the best ones in; the run itself goes on from the last ones."""

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


def test_two_checkpoints_know_of_each_others_epochs(tmp_path):
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


def test_a_callback_of_another_run_begins_anew():
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


def test_more_epochs_than_were_asked_for_first():
    whole, parts = network(), network()
    options = {**OPTIONS, "validation_data": None}
    history = whole.fit(X, Y, **options)
    for epochs in (1, 2, 6):
        last = parts.fit(X, Y, resume=epochs > 1, **{**options, "epochs": epochs})
    assert_same_run(whole, parts, (history, last))
    same = parts.fit(X, Y, resume=True, **options)
    assert_same_run(whole, parts, (history, same))


def test_a_pickle_goes_on_too():
    whole, parts = network(), network()
    history = whole.fit(X, Y, callbacks=hooks(), **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        parts.fit(X, Y, callbacks=[*hooks(), Break(13)], **OPTIONS)
    copy = pickle.loads(pickle.dumps(parts))
    again = copy.fit(X, Y, callbacks=hooks(), resume=True, **OPTIONS)
    assert_same_run(whole, copy, (history, again))


def test_after_a_time_limit_it_goes_on():
    net, options = network(), {**OPTIONS, "epochs": 10**7}
    limited = net.fit(X, Y, callbacks=[TimeLimit(0.05)], **options)
    assert limited.stopped
    more = net.fit(X, Y, callbacks=[TimeLimit(0.05)], resume=True, **options)
    assert more.n_updates > limited.n_updates
    assert len(more.loss) >= len(limited.loss)


def test_what_stopped_early_goes_on_if_what_stopped_it_is_not_given_again(tmp_path):
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


def test_the_optimizers_state_alone():
    """Two runs of Adam whose state is kept are one of twice the steps, but for the order."""
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


def test_resuming_with_the_same_arguments_in_other_words():
    first = {"seed": np.int64(3), "dropout": 0, "max_norm": 3, "penalties": [], "epochs": 1}
    again = {"seed": 3, "dropout": 0.0, "max_norm": np.float64(3), "penalties": (), "epochs": 2}
    net, other = network(), network()
    net.fit(X, Y, optimizer=SGD(learning_rate=1, momentum=np.float64(0.0)), **first)
    net.fit(X, Y, optimizer=SGD(learning_rate=1.0, momentum=0), resume=True, **again)
    other.fit(X, Y, optimizer=SGD(learning_rate=1), **again)
    assert np.array_equal(net.parameters, other.parameters)
    with pytest.raises(OptionError, match="seed was 3 and is 7"):
        net.fit(X, Y, **{**again, "seed": np.int64(7)}, optimizer=SGD(learning_rate=1), resume=True)


def test_resuming_what_was_not_trained_is_refused(tmp_path):
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


# ---------------------------------------------------------------------------- kills

TRAIN = """
import sys
import numpy as np
import dagbp
from dagbp.callbacks import CosineDecay, ModelCheckpoint

path, resume = sys.argv[1], len(sys.argv) > 2
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(400, 12)), rng.normal(size=(400, 3))
net = dagbp.load(path) if resume else dagbp.compile(
    dagbp.layered([12, 60, 60, 3], density=0.4, activation="tanh", seed=0), seed=0, n_threads=1
)
save = ModelCheckpoint(path, every_epochs=None, every_steps=3)
if not resume:
    net.save(path)
    print("ready", flush=True)
net.fit(
    X, Y, epochs=60, batch_size=37, seed=1, dropout=0.1, verbose=0, callbacks=[save, CosineDecay()],
    resume=resume and net.history is not None,
)
print(net.parameters.tobytes().hex(), net.history.loss)
"""


def run(*arguments):
    return run_python(TRAIN, *arguments).splitlines()[-1]


def kill_and_resume(path, whole, delays):
    """Kill a training process after each delay; resume it in the end; return the steps it had."""
    taken = []
    for k, delay in enumerate(delays):
        arguments = [str(path)] + ["resume"] * (k > 0)
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if k == 0:
            process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        loaded = dagbp.load(path)
        taken.append(0 if loaded.history is None else loaded.history.n_updates)
    assert run(str(path), "resume") == whole
    return taken


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_resumes_to_the_same_bits(tmp_path):
    whole = run(str(tmp_path / "whole"))
    taken = kill_and_resume(tmp_path / "net", whole, [0.01, 0.6])
    assert taken == sorted(taken)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_hundred_kills(tmp_path):
    """Every file that a kill leaves loads, and every run that was killed ends with the same bits.

    The writers do nothing but step and save, so most kills come while a file is written. They are
    forked from a process that has loaded the kernels, killed, and resumed in this one.
    """
    rng, path = np.random.default_rng(0), tmp_path / "net.dagbp"
    whole, history = reference_run()
    data, options = writer_arguments()
    command = [sys.executable, "-W", "ignore", "-c", WRITERS, path]
    midway = 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        for _ in range(120):
            writers.stdin.write("go\n")
            writers.stdin.flush()
            writer = int(writers.stdout.readline())
            time.sleep(rng.uniform(0, 0.3))
            os.kill(writer, signal.SIGKILL)
            writers.stdout.readline()  # it has ended
            net = dagbp.load(path)
            resumed = net.history is not None
            midway += resumed and 0 < net.history.n_updates < history.n_updates
            assert_same_run(whole, net, (history, net.fit(*data, resume=resumed, **options)))
            for file in tmp_path.glob(".net.dagbp.*"):  # what a kill may leave beside
                file.unlink()
        writers.stdin.close()
    assert midway >= 60, "most runs were killed before or after their training"


WRITERS = f"""
import os, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1] / "support")!r}]
from test_checkpoint import writer_arguments, writer_network
from dagbp.callbacks import ModelCheckpoint

path = sys.argv[1]
data, options = writer_arguments()
writer_network().fit(*data, **{{**options, "epochs": 1}})  # loads the kernels
for line in sys.stdin:
    net = writer_network()
    net.save(path)
    child = os.fork()
    if child == 0:
        save = ModelCheckpoint(path, every_epochs=None, every_steps=1)
        net.fit(*data, callbacks=[save], **options)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def writer_network():
    G = dagbp.layered([12, 60, 60, 3], density=0.4, activation="tanh", seed=0)
    return dagbp.compile(G, seed=0, n_threads=1)


def writer_arguments():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(400, 12)), rng.normal(size=(400, 3))
    return data, {"epochs": 40, "batch_size": 37, "seed": 1, "dropout": 0.1, "verbose": 0}


def reference_run():
    net = writer_network()
    data, options = writer_arguments()
    return net, net.fit(*data, **options)


@pytest.mark.skipif(os.name == "nt", reason="a file of another kind of folder")
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    net, path = network(), tmp_path / "net"
    net.save(path)
    old = path.read_bytes()
    net.fit(X, Y, **OPTIONS)

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        net.save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "net"
    net = network()
    net.fit(X, Y, callbacks=hooks(), **OPTIONS)
    net.save(path)
    return path.read_bytes()


def with_header(data, change):
    """Return a file whose header was changed, with sizes and checksum that fit."""
    prefix = struct.Struct("<8sIQQ")
    magic, version, length, _ = prefix.unpack(data[: prefix.size])
    header = json.loads(data[prefix.size : prefix.size + length])
    body = data[prefix.size + length : -32]
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(prefix.size + len(text)) % 64)
    size = prefix.size + len(text) + len(body) + 32
    content = prefix.pack(magic, version, len(text), size) + text + body
    return content + hashlib.sha256(content).digest()


def refused(tmp_path, data, message="is damaged|holds no valid network"):
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        dagbp.load(path)
    assert str(path) in str(caught.value)


def test_what_is_no_checkpoint(tmp_path, whole_file):
    refused(tmp_path, b"", "was not written by dagbp")
    refused(tmp_path, b"PK\x03\x04" + bytes(100), "was not written by dagbp")
    refused(tmp_path, pickle.dumps({"a": 1}), "was not written by dagbp")
    refused(tmp_path, whole_file[:20], "is damaged: it ends within its first bytes")
    refused(tmp_path, whole_file[:-1], r"is damaged: it has [\d,]+ bytes and should have [\d,]+")
    refused(tmp_path, whole_file + b"x", "is damaged: it has")
    newer = whole_file[:8] + struct.pack("<I", 2) + whole_file[12:]
    refused(tmp_path, newer, "has format 2, of a newer dagbp; this version reads format 1")
    flipped = bytearray(whole_file)
    flipped[len(flipped) // 2] ^= 1
    refused(tmp_path, bytes(flipped), "is damaged: its checksum is wrong")
    with pytest.raises(FileNotFoundError):
        dagbp.load(tmp_path / "nothing")


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(header):
        for key in keys:
            header = header[key]
        header[last] = value

    return change


HOSTILE = {
    "a label more": lambda h: h["network"]["labels"].append("more"),
    "a label twice": lambda h: put("network", "labels", 0, h["network"]["labels"][1])(h),
    "a label of lists": put("network", "labels", 0, {"list": []}),
    "unknown value": put("network", "labels", 0, {"code": "print(1)"}),
    "no array": put("network", "src", 10**9),
    "an array before the first": put("network", "src", -1),
    "true as a number": put("network", "src", True),
    "another array": lambda h: put("network", "src", h["network"]["activation"])(h),
    "ends exchanged": lambda h: put("network", "src", h["network"]["dst"])(h),
    "a huge array": put("arrays", 0, "shape", [10**15]),
    "an array beyond": put("arrays", 0, "place", 64 * 10**9),
    "an odd place": put("arrays", 0, "place", 3),
    "an array of objects": put("arrays", 0, "dtype", "|O"),
    "a dtype that is none": put("arrays", 0, "dtype", {"names": ["a"]}),
    "a negative shape": put("arrays", 0, "shape", [-1, -4]),
    "deep": put("graph", "graph", [["k", json.loads("[" * 900 + "]" * 900)]]),
    "no network": put("network", None),
    "no names": put("network", "activation_names", []),
    "many threads": put("network", "n_threads", -5),
    "schedule": put("network", "schedule", "all"),
    "dense": put("network", "dense_above", 0),
    "an edge beyond": put("graph", "edges", [[10**6, []]]),
    "epoch": put("training", "epoch", -1),
    "step": put("training", "step", 1.5),
    "history": put("training", "history", "loss"),
    "moments": lambda h: put("training", "moments", h["network"]["src"])(h),
    "callbacks": put("training", "callbacks", [["EarlyStopping"]]),
    "endless steps": put("training", "optimizer_steps", 2**63 - 2),
    "no steps": put("training", "optimizer_steps", 0),
    "far": put("training", "epoch", 2**61),
    "losses": put("training", "history", {"dict": [["loss", {"list": []}]]}),
    "parameters": lambda h: put("training", "parameters", h["network"]["src"])(h),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path, whole_file, name):
    refused(tmp_path, with_header(whole_file, HOSTILE[name]))


def test_a_header_that_is_not_changed_is_fine(tmp_path, whole_file):
    path = tmp_path / "same"
    path.write_bytes(with_header(whole_file, lambda header: None))
    assert dagbp.load(path).history.loss


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("training", "step", 10**6), r"the last run was at step 1000000 of an epoch, but an "),
        (
            put("training", "learning_rate", -1.0),
            r"learning_rate to -1.0; it must be a number >= 0",
        ),
        (
            lambda h: fewer_moments(h),
            r"the last run kept 1 numbers for each parameter, but Adam.* needs 2",
        ),
    ],
)
def test_a_hostile_state_is_refused_where_it_is_used(tmp_path, whole_file, change, message):
    path = tmp_path / "net"
    path.write_bytes(with_header(whole_file, change))
    net = dagbp.load(path)
    before = net.parameters
    with pytest.raises(OptionError, match=message):
        net.fit(X, Y, callbacks=[], resume=True, **{**OPTIONS, "epochs": 9})
    assert np.array_equal(net.parameters, before)


def fewer_moments(header):
    header["arrays"][header["training"]["moments"]]["shape"][0] = 1


def test_weights_that_are_not_finite_are_refused(tmp_path):
    net = network()
    net.save(tmp_path / "net")
    data = (tmp_path / "net").read_bytes()
    value = np.float32(net.parameters[0]).tobytes()
    assert data.count(value) == 1
    content = data.replace(value, np.float32(np.nan).tobytes())[:-32]
    refused(tmp_path, content + hashlib.sha256(content).digest(), "parameters must be finite")


def mutate(data, rng):
    """Return a damaged copy."""
    data, way = bytearray(data), rng.integers(6)
    place = int(rng.integers(len(data)))
    if way == 0:
        data[place] ^= 1 << int(rng.integers(8))
    elif way == 1:
        del data[place:]
    elif way == 2:
        size = int(rng.integers(1, 64))
        data[place : place + size] = rng.bytes(size)
    elif way == 3:
        del data[place : place + int(rng.integers(1, 64))]
    elif way == 4:
        data[place:place] = rng.bytes(int(rng.integers(1, 64)))
    else:  # damaged, with a checksum that fits
        edge = int(rng.integers(28, len(data) - 32))
        data[edge] = int(rng.integers(256))
        data[-32:] = hashlib.sha256(data[:-32]).digest()
    return bytes(data)


@pytest.mark.slow
def test_damaged_files_are_refused_or_load(tmp_path, whole_file):
    """2,500 files: each is refused as documented, or, if it loads, its network runs."""
    rng = np.random.default_rng(0)
    path = tmp_path / "bad"
    refused_, loaded = 0, 0
    for _ in range(2500):
        data = mutate(whole_file, rng)
        path.write_bytes(data)
        try:
            net = dagbp.load(path)
        except CheckpointError:
            refused_ += 1
            continue
        loaded += 1
        assert data == whole_file or data[-32:] == hashlib.sha256(data[:-32]).digest()
        assert np.isfinite(net.parameters).all()
        net.predict(np.zeros((2, len(net.inputs))))
    assert refused_ > 2000
    assert loaded > 10


def test_arrays_that_overlap_are_refused(tmp_path, whole_file):
    def twice(header):
        header["arrays"].append({**header["arrays"][0], "place": header["arrays"][0]["place"]})

    path = tmp_path / "net"
    path.write_bytes(with_header(whole_file, twice))
    with pytest.raises(CheckpointError, match="an array at 0, inside the previous one"):
        dagbp.load(path)


SAME_HASH = [k * (2**61 - 1) for k in range(35_000)]  # 0.7 MB; all have the hash 0


@pytest.mark.parametrize(
    "change",
    [
        put("graph", "graph", [["k", {"set": SAME_HASH}]]),
        put("graph", "graph", [["k", {"frozenset": SAME_HASH}]]),
        put("graph", "graph", [["k", {"dict": [[k, 0] for k in SAME_HASH]}]]),
        put("graph", "graph", [[k, 0] for k in SAME_HASH]),
        put("network", "labels", SAME_HASH),
    ],
    ids=["set", "frozenset", "dict", "attributes", "labels"],
)
def test_values_that_share_a_hash_are_refused_at_once(tmp_path, whole_file, change):
    begun = time.monotonic()
    refused(tmp_path, with_header(whole_file, change), "at most 100 values of a set, dict or list")
    assert time.monotonic() - begun < 10  # without a limit, two minutes


def test_some_values_may_share_a_hash():
    values = {*SAME_HASH[:100], *range(1000)}
    arrays = Arrays()
    assert decode(encode(values, arrays), arrays) == values


@pytest.mark.parametrize("value", ["[],", "[0],", "{},", '{"":0},', '"ab",', "[[[[]]]],", "1000,"])
def test_a_header_is_refused_before_it_takes_more_than_the_memory(tmp_path, monkeypatch, value):
    """The estimate is not below what parsing takes; a refused file takes a few times its size."""
    text = ('{"arrays":[' + value * (10**6 // len(value)) + "0]}").encode()
    tracemalloc.start()
    header = json.loads(text)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del header
    prefix = struct.Struct("<8sIQQ")
    content = prefix.pack(b"\x89DAGBP\r\n", 1, len(text), prefix.size + len(text) + 32) + text
    path = tmp_path / "net"
    path.write_bytes(content + hashlib.sha256(content).digest())
    monkeypatch.setattr(_memory, "available_bytes", lambda: taken)
    tracemalloc.start()
    with pytest.raises(dagbp.MemoryLimitError, match=r"the header of .* needs .* available"):
        dagbp.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(text)
