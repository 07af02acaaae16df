"""Isolation: other threads, processes, forks and networks change no result of a network."""

import copy
import ctypes
import os
import pickle
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import networkx as nx
import numpy as np
import pytest
from joblib import Parallel, delayed
from networks import network as compiled

import dagbp
from dagbp._engine import workers as _team
from dagbp._errors import GraphError, OptionError
from dagbp._kernels.frames import WorkFrame
from dagbp._kernels.passes import entry_points as run
from dagbp._network import model_of
from dagbp.callbacks import Callback, TimeLimit

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(200, 6)), RNG.normal(size=(200, 3))


network = partial(compiled, (6, 40, 3))


@pytest.mark.parametrize("cpu", [("haswell", "+avx2,+fma"), ("x86-64", "")])
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names x86 processors")
def test_a_pickle_runs_on_another_processor(tmp_path, cpu):
    net = network()
    net.fit(X, Y, epochs=2, seed=0, verbose=0)
    (tmp_path / "net").write_bytes(pickle.dumps((net, X, net.predict(X))))
    code = (
        "import pickle, sys, numpy as np\n"
        "net, X, expected = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert np.abs(net.predict(X) - expected).max() < 1e-5\n"
        "open(sys.argv[1], 'wb').write(pickle.dumps((net, X, expected)))\n"
    )
    there = {**os.environ, "NUMBA_CPU_NAME": cpu[0], "NUMBA_CPU_FEATURES": cpu[1]}
    command = [sys.executable, "-c", code, str(tmp_path / "net")]
    subprocess.run(command, env=there, check=True)
    back, *_ = pickle.loads((tmp_path / "net").read_bytes())
    assert np.array_equal(back.predict(X), net.predict(X))


def test_the_lists_of_inputs_and_outputs_are_copies():
    net = network()
    net.inputs.clear()
    net.outputs.extend(range(100_000))
    assert (len(net.inputs), len(net.outputs)) == (6, 3)
    with pytest.raises(dagbp.DataError, match=r"shape \(n_samples, 6\)"):
        net.predict(np.zeros((4, 0)))
    with pytest.raises(AttributeError):
        net.inputs = [1]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers")
def test_a_signal_handler_may_not_use_a_network_at_work():
    net = network()
    net.predict(X)
    seen = []

    def handler(*_):
        with pytest.raises(OptionError, match="already in use by this thread"):
            net.predict(X)
        seen.append(True)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        history = net.fit(X, Y, epochs=30_000, seed=0, verbose=0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
    alone = network().fit(X, Y, epochs=30_000, seed=0, verbose=0)
    assert history.loss == alone.loss


def test_what_other_threads_read_is_whole():
    net = network()
    torn, done = [], threading.Event()

    def read():
        while not done.is_set():
            copied = model_of(pickle.loads(pickle.dumps(net))).engine.parameters
            torn.append(
                not np.array_equal(copied.by_target, copied.to_user_order(copied.by_source))
            )

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(20):
        net.fit(X, Y, epochs=30, verbose=0)
    done.set()
    thread.join()
    assert torn
    assert not any(torn)


def test_a_network_keeps_the_activation_it_was_made_with():
    dagbp.activations.register("once", lambda s: s, lambda s, x: 1.0)
    G = nx.DiGraph([("a", "y")])
    G.edges["a", "y"]["weight"] = 1.0
    net = dagbp.compile(G, output_activation="once")
    dagbp.activations.register("once", lambda s: 2 * s, lambda s, x: 2.0, overwrite=True)
    assert net.predict([[1.0]]) == 1
    assert dagbp.compile(G, output_activation="once").predict([[1.0]]) == 2


def test_a_graph_written_out_compiles_to_the_same_network():
    G = dagbp.random_dag(40, 200, 4, 2, seed=0)
    for node in G:
        G.nodes[node].pop("activation", None)
    net = dagbp.compile(G, activation="relu", output_activation="softplus", outputs=[5, 39], seed=0)
    same = dagbp.compile(net.to_networkx())
    Z = RNG.normal(size=(10, 4))
    assert np.array_equal(net.predict(Z), same.predict(Z))
    assert np.array_equal(copy.deepcopy(net).predict(Z), net.predict(Z))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_activation_that_raises_gives_nan():
    def fussy(s):
        if s > 50:
            raise ValueError("too large")
        return s

    dagbp.activations.register("fussy", fussy, lambda s, x: 1.0)
    G = nx.DiGraph([("a", "y")])
    G.edges["a", "y"]["weight"] = 1.0
    net = dagbp.compile(G, output_activation="fussy")
    assert np.isnan(net.predict([[60.0]])).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_trains():
    """The child gets the network after a complete step: both orders of the weights agree."""
    net = network(n_threads=1)
    net.fit(X, Y, epochs=1, verbose=0)
    stop = threading.Event()
    run = {"epochs": 10**8, "batch_size": 7, "learning_rate": 0.05, "verbose": 0}
    thread = threading.Thread(target=lambda: net.fit(X, Y, callbacks=[Until(stop)], **run))
    thread.start()
    statuses = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            twin = network(n_threads=1)
            twin.parameters = net.parameters
            found, expected = net.loss_and_gradient(X, Y)[1], twin.loss_and_gradient(X, Y)[1]
            os._exit(0 if np.array_equal(found, expected) else 1)
        statuses.append(os.waitpid(child, 0)[1])
    stop.set()
    thread.join()
    assert statuses == [0] * 8


class Until(Callback):
    def __init__(self, event):
        self._event = event

    def on_poll(self, progress):
        if self._event.is_set():
            progress.stop("asked to")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_within_a_call_that_does_not_end():
    net, entered, go_on = network(), threading.Event(), threading.Event()

    def hold():
        with model_of(net).lock:
            entered.set()
            go_on.wait()

    model_of(net).lock.fork_patience = 0.1
    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    child = os.fork()
    if child == 0:
        try:
            net.predict(X)
        except OptionError as error:
            os._exit(0 if "forked while this network was in use" in str(error) else 2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join()
    assert status == 0
    net.predict(X)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_within_a_callback():
    children = []

    class Fork(Callback):
        def on_epoch_end(self, progress):
            child = os.fork()
            if child == 0:
                progress.network.predict(X)
                raise EOFError
            children.append(child)

    net, code = network(), 0
    parent = os.getpid()
    try:
        net.fit(X, Y, epochs=1, verbose=0, callbacks=[Fork()])
    except dagbp.CallbackError as error:
        code = 7 if isinstance(error.__cause__, EOFError) else 8
    finally:
        if os.getpid() != parent:
            net.predict(X)
            os._exit(code)
    assert [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children] == [7]


def test_an_error_in_one_thread_ends_the_call_of_the_team(monkeypatch):
    net = network(n_threads=2)
    entry, calls = model_of(net).engine._entry, []

    def failing(*args):
        calls.append(args)
        work = WorkFrame(*(ctypes.c_uint64 * len(WorkFrame._fields)).from_address(args[-2]))
        if work.thread == 1:
            raise MemoryError("no room")
        entry(run.train)(*args)

    monkeypatch.setattr(model_of(net).engine, "_entry", lambda which: failing)
    with pytest.raises(MemoryError, match="no room"):
        net.fit(X, Y, batch_size=200, verbose=0)
    assert len(calls) == 2
    monkeypatch.undo()
    net.fit(X, Y, batch_size=200, verbose=0)


def test_no_worker_is_lost_when_a_thread_cannot_start(monkeypatch):
    _team.run_together([lambda: None] * 2)
    idle = len(_team._idle)

    def refuse():
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_team, "_Worker", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        _team.run_together([lambda: None] * (idle + 1))
    assert len(_team._idle) == idle


class Frame:
    """A data frame of another library."""

    columns = ("b", "a")

    def __len__(self):
        return 2

    def __getitem__(self, name):
        return {"a": np.array([1.0, 2.0]), "b": np.array([5.0, 6.0])}[name]


def test_any_frame_is_read_by_name():
    G = nx.DiGraph([("a", "y"), ("b", "y")])
    G.edges["a", "y"]["weight"], G.edges["b", "y"]["weight"] = 1.0, 0.0
    assert dagbp.compile(G).predict(Frame()).ravel().tolist() == [1, 2]


@pytest.mark.parametrize("dtype", ["foo", None, "float16", int, "complex128"])
def test_bad_dtypes(dtype):
    with pytest.raises(OptionError, match="dtype must be 'float32' or 'float64', got"):
        network(dtype=dtype)


def test_values_beyond_single_precision_are_named():
    G = nx.DiGraph([("a", "y")])
    G.edges["a", "y"]["weight"] = 1e300
    with pytest.raises(GraphError, match=r"edge 'a' -> 'y' has weight 1e\+300, .* float32"):
        dagbp.compile(G)
    G.edges["a", "y"]["weight"] = 1.0
    G.nodes["y"]["bias"] = -1e300
    with pytest.raises(GraphError, match=r"node 'y' has bias -1e\+300"):
        dagbp.compile(G)
    assert dagbp.compile(G, dtype="float64").biases["y"] == -1e300


@pytest.mark.parametrize(
    ("typed", "meant"), [("ReLU", "relu"), ("LeakyReLU", "leaky_relu"), ("GELU", "gelu")]
)
def test_a_name_in_other_case_is_suggested(typed, meant):
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        network(activation=typed)


def test_released_buffers_come_back():
    net = network()
    before = net.predict(X)
    net.release()
    assert np.array_equal(net.predict(X), before)
    net.loss_and_gradient(X, Y)
    net.release()
    net.fit(X, Y, epochs=1, verbose=0)


def train_there(net, seed):
    """Train in a worker, which pickles the network on both ways."""
    history = net.fit(X, Y, epochs=5, batch_size=70, seed=seed, verbose=0)
    return net, history.loss, os.getpid()


@pytest.mark.parametrize("schedule", ["auto", "levels"])
def test_networks_train_in_joblibs_processes(schedule):
    nets = [network(n_threads=1, schedule=schedule, dense_above=0.1) for _ in range(4)]
    before = nets[0].parameters
    with Parallel(n_jobs=2, backend="loky") as parallel:
        there = parallel(delayed(train_there)(net, seed) for seed, net in enumerate(nets))
    for seed, (net, losses, process) in enumerate(there):
        assert process != os.getpid()
        assert np.array_equal(nets[seed].parameters, before), "a copy was trained"
        _, expected, _ = train_there(nets[seed], seed)
        assert losses == expected
        assert np.array_equal(net.parameters, nets[seed].parameters)
        assert np.array_equal(net.predict(X), nets[seed].predict(X))
        assert net.n_threads == 1


# ---------------------------------------------------------------------------- while a run is on


def test_a_callback_may_use_the_network_from_other_threads():
    seen = []

    class Ask(Callback):
        def on_epoch_end(self, progress):
            rows = X[:1], X[1:2]
            with ThreadPoolExecutor(2) as pool:
                seen.append(list(pool.map(progress.network.predict, rows)))

    net, other = network(), network()
    net.fit(X, Y, epochs=3, seed=0, verbose=0, callbacks=[Ask()])
    other.fit(X, Y, epochs=3, seed=0, verbose=0)
    assert np.array_equal(net.parameters, other.parameters)
    assert len(seen) == 3
    assert np.array_equal(seen[-1][0], net.predict(X[:1]))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_other_threads_may_call_during_a_run_and_change_no_bit(n_threads):
    """Other threads run between the steps: they see complete steps and do not stop the run."""
    net, alone = network(n_threads=n_threads), network(n_threads=n_threads)
    done, asked = threading.Event(), []

    def ask():
        while not done.is_set():
            asked.append((net.predict(X).copy(), copy.deepcopy(net)))

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    options = {"epochs": 5_000, "batch_size": 7, "seed": 0, "verbose": 0}
    history = net.fit(X, Y, **options)
    done.set()
    for asker in askers:
        asker.join()
    expected = alone.fit(X, Y, **options)
    assert np.array_equal(net.parameters, alone.parameters)
    assert history.loss == expected.loss
    assert all(np.isfinite(outputs).all() for outputs, _ in asked)
    twin = next(twin for _, twin in asked if twin.history is not None)
    assert 0 < twin.history.n_updates < history.n_updates
    twin.fit(X, Y, resume=True, **options)  # from the middle of the run to the same bits
    assert np.array_equal(twin.parameters, alone.parameters)


def test_predictions_do_not_wait_for_the_end_of_a_run():
    net, waited = network(), []

    def ask():
        for _ in range(3):
            began = time.monotonic()
            net.predict(X)
            waited.append(time.monotonic() - began)

    asker = threading.Thread(target=ask)
    asker.start()
    history = net.fit(X, Y, epochs=10**8, verbose=0, callbacks=[AskerDone(asker), TimeLimit(60)])
    asker.join()
    assert history.stopped == "all was answered"
    assert len(waited) == 3


class AskerDone(Callback):
    def __init__(self, asker):
        self._asker = asker

    def on_poll(self, progress):
        if not self._asker.is_alive():
            progress.stop("all was answered")


def test_predictions_do_not_wait_for_the_next_batch():
    net, batches = network(), queue.Queue()

    def stream(epoch):
        while (batch := batches.get()) is not None:
            yield batch

    thread = threading.Thread(target=lambda: net.fit_batches(stream, epochs=1))
    thread.start()
    for _ in range(3):
        batches.put((X, Y))
        assert np.isfinite(net.predict(X)).all()
    batches.put(None)
    thread.join(60)
    assert not thread.is_alive()
    assert net.history.n_updates == 3


def test_another_run_waits_for_the_end_of_this_one():
    net, order = network(), []

    class Slow(Callback):
        def __init__(self, name):
            self.name = name

        def on_epoch_end(self, progress):
            order.append(self.name)
            time.sleep(0.05)

    runs = [
        threading.Thread(
            target=lambda name=name: net.fit(X, Y, epochs=4, verbose=0, callbacks=[Slow(name)])
        )
        for name in "ab"
    ]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert "".join(order) in ("aaaabbbb", "bbbbaaaa")
