"""Memory: requests that do not fit are refused in advance, and predictions of memory are right."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from networks import network as compiled

import dagbp
from dagbp import _memory
from dagbp._engine import engine as _engine
from dagbp._engine import optimizer_state
from dagbp._memory import available_bytes, readable, require
from dagbp._network import model_of

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(300, 20)), RNG.normal(size=(300, 10))

CALLS = {
    "fit": lambda net: net.fit(X, Y, epochs=1, verbose=0),
    "fit by sgd": lambda net: net.fit(X, Y, optimizer="sgd", epochs=1, verbose=0),
    "fit, validated": lambda net: net.fit(X, Y, validation_data=(X, Y), epochs=1, verbose=0),
    "predict": lambda net: net.predict(X),
    "forward": lambda net: net.forward(X),
    "backprop": lambda net: net.backprop(X, Y),
    "loss_and_gradient": lambda net: net.loss_and_gradient(X, Y),
    "evaluate": lambda net: net.evaluate(X, Y),
    "profile": lambda net: net.profile(X, Y),
    "profile of adam": lambda net: net.profile(X, Y, optimizer="adam"),
}
NEEDS = {
    "fit": r"the state of Adam\(.*\)",
    "fit, validated": r"the state of Adam\(.*\)",
    "profile of adam": r"the state of Adam\(.*\)",
    "forward": "every node's values for 300 samples",
    "backprop": "every node's values for 300 samples",
}


network = partial(compiled, (20, 50, 10))


@pytest.fixture
def limit(monkeypatch):
    """Return a function that sets the number of available bytes."""
    return lambda n: monkeypatch.setattr(_memory, "available_bytes", lambda: n)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_calls_beyond_the_memory_change_nothing(monkeypatch, limit, call, n_threads):
    net, same = network(n_threads=n_threads), network(n_threads=n_threads)
    before, prediction = net.parameters, net.predict(X)
    net.release()
    limit(1000)
    what = NEEDS.get(call, "a step's tiles and gradients")
    text = rf"^{what} needs [\d.,]+ (KiB|MiB), but only 1,000 bytes are available$"
    with pytest.raises(dagbp.MemoryLimitError, match=text) as caught:
        CALLS[call](net)
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, dagbp.DagbpError)
    assert np.array_equal(net.parameters, before)
    monkeypatch.undo()
    assert np.array_equal(net.predict(X), prediction)
    histories = [one.fit(X, Y, epochs=2, seed=0, verbose=0) for one in (net, same)]
    assert histories[0].loss == histories[1].loss
    assert np.array_equal(net.parameters, same.parameters)


@pytest.mark.parametrize("call", CALLS)
def test_calls_run_with_exactly_the_memory_they_need(monkeypatch, limit, call):
    """The limit, to the byte, is the number in the error text."""
    net, needed = network(), []
    with monkeypatch.context() as patch:
        for watched in (_engine, optimizer_state):
            patch.setattr(watched, "require", lambda n, what: needed.append(n))
        CALLS[call](net)
    most = max(needed)
    assert most > 0
    limit(most)
    net.release()
    CALLS[call](net)
    limit(most - 1)
    net.release()
    with pytest.raises(dagbp.MemoryLimitError):
        CALLS[call](net)


def test_kept_buffers_are_not_asked_for_again(limit):
    net = network()
    expected = net.predict(X)
    limit(0)
    assert np.array_equal(net.predict(X), expected)


def test_signals_take_memory_only_where_they_are_read(limit):
    """Signals are kept for gelu, for `forward` and for dropout; the slope of tanh reads x."""

    def bytes_kept(net):
        ((schedule, buffers),) = model_of(net).engine._buffers.items()
        return model_of(net).engine.step_bytes(schedule), buffers.stores_signals

    plain, tanh, gelu = (
        dagbp.compile(dagbp.layered([20, 50, 10], activation=one, seed=0), seed=0, n_threads=1)
        for one in ("relu", "tanh", "gelu")
    )
    for net in (plain, tanh, gelu):
        net.fit(X, Y, epochs=1, verbose=0)
    of_gelu, kept = bytes_kept(gelu)
    assert kept
    n_rows, row_bytes = 80, next(iter(model_of(gelu).engine._buffers)).row_bytes
    assert bytes_kept(plain) == bytes_kept(tanh) == (of_gelu - n_rows * row_bytes, False)
    again = dagbp.compile(dagbp.layered([20, 50, 10], seed=0), seed=0, n_threads=1)
    again.fit(X, Y, epochs=1, verbose=0)
    expected = again.loss_and_gradient(X, Y)
    limit(n_rows * row_bytes - 1)
    text = "^the signals of a step's tiles needs"
    with pytest.raises(dagbp.MemoryLimitError, match=text):
        again.fit(X, Y, epochs=1, dropout=0.5, optimizer="sgd", verbose=0)
    limit(10**9)
    again.fit(X, Y, epochs=1, dropout=0.5, optimizer="sgd", learning_rate=0.0, verbose=0)
    assert bytes_kept(again)[1]
    for found, one in zip(again.loss_and_gradient(X, Y), expected, strict=True):
        assert np.array_equal(found, one)


def test_a_larger_batch_refused_leaves_the_smaller_one(limit):
    net = network(n_threads=1)
    net.fit(X, Y, optimizer="sgd", batch_size=8, epochs=1, verbose=0)
    before = net.parameters
    limit(30_000)
    with pytest.raises(dagbp.MemoryLimitError):
        net.fit(X, Y, optimizer="sgd", batch_size=300, epochs=1, verbose=0)
    assert np.array_equal(net.parameters, before)
    limit(10**9)
    net.fit(X, Y, optimizer="sgd", batch_size=8, epochs=1, verbose=0)


def test_nothing_is_refused_where_the_memory_is_unknown(monkeypatch):
    monkeypatch.setattr(_memory, "_machine", lambda: None)
    monkeypatch.setattr(_memory, "_container", lambda: None)
    assert available_bytes() is None
    require(10**18, "everything")


def test_the_lower_of_machine_and_container_counts(monkeypatch):
    for machine, container, expected in ((7, 5, 5), (5, 7, 5), (None, 3, 3), (4, None, 4)):
        monkeypatch.setattr(_memory, "_machine", lambda n=machine: n)
        monkeypatch.setattr(_memory, "_container", lambda n=container: n)
        assert available_bytes() == expected
        require(expected, "what fits")
        with pytest.raises(dagbp.MemoryLimitError, match=f"^too much needs {expected + 1} bytes"):
            require(expected + 1, "too much")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_available_memory_is_found_here():
    assert 2**20 < available_bytes() < 2**50


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 bytes"),
        (1000, "1,000 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1,024.0 KiB"),
        (2**20, "1.0 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**40, "1.0 TiB"),
        (2**52, "4,096.0 TiB"),
        (np.int64(2048), "2.0 KiB"),
    ],
)
def test_bytes_as_text(n, text):
    assert readable(n) == text


# ---------------------------------------------------------------------------- what is taken

SCRIPT = """
import ctypes
import sys
from functools import partial
import numpy as np
import dagbp
from dagbp import optimizers
from dagbp._model import model
from dagbp._network import model_of

model.available_cores = lambda: 64
n_threads, ways = int(sys.argv[1]), sys.argv[2]
optimizer = eval(sys.argv[3], vars(optimizers))
options = {"dtype": "float64", "seed": 0, "n_threads": n_threads, "schedule": ways}


def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024


def step(net):
    X, Y = np.ones((256, 40)), np.zeros((256, 1))
    net.predict(X[:2])  # its addresses and frames
    net.release()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # or arrays take pages that are there already
    before = resident()
    net.fit(X, Y, optimizer=optimizer, epochs=1, batch_size=256, verbose=0)
    return resident() - before


step(dagbp.compile(dagbp.random_dag(2_000, 30_000, 40, 1, seed=0), **options))  # compiles
net = dagbp.compile(dagbp.random_dag(40_000, 600_000, 40, 1, seed=0), **options)
kept = []
original = dagbp._training.run.Update
def update(*args, **options):
    kept.append(original(*args, **options))  # the optimizer's state, which ends with the training
    return kept[-1]
dagbp._training.run.Update = update
taken = step(net)
(schedule,) = model_of(net).engine._buffers
slot = model_of(net).engine.parameters.by_source.nbytes
print(taken, model_of(net).engine.step_bytes(schedule), optimizer.slots * slot)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("n_threads", "ways", "optimizer"),
    [
        (1, "auto", "SGD(momentum=0.9)"),
        (4, "tiles", "SGD(momentum=0.9)"),
        (1, "auto", "Adam()"),
        (3, "levels", "Adam()"),
    ],
)
def test_a_first_step_takes_what_was_predicted(n_threads, ways, optimizer):
    # Freed pages go back at once, and no page is a large one.
    settings = {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
        "NUMPY_MADVISE_HUGEPAGE": "0",
    }
    command = [sys.executable, "-c", SCRIPT, str(n_threads), ways, optimizer]
    done = subprocess.run(
        command, env={**os.environ, **settings}, check=True, capture_output=True, text=True
    )
    taken, step, state = map(int, done.stdout.split())
    assert step > 5 * 2**20
    assert abs(taken - (step + state)) <= 0.2 * (step + state)


def test_the_kernels_file_cache_does_not_count_as_used(tmp_path):
    assert _memory._container(tmp_path) is None
    for limit, used, kept, expected in ((1000, 900, 300, 400), (1000, 1100, 20, 0)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
        (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {kept}\nfile 9\n")
        assert _memory._container(tmp_path) == expected
    (tmp_path / "memory.max").write_text("max\n")
    assert _memory._container(tmp_path) is None


def test_steps_and_validation_take_turns_without_new_buffers(monkeypatch):
    made = []

    class Counted(_engine.Buffers):
        def __init__(self, *args):
            made.append(args)
            super().__init__(*args)

    monkeypatch.setattr(_engine, "Buffers", Counted)
    options = {"batch_size": 200, "validation_data": (X[:3], Y[:3]), "seed": 0, "verbose": 0}
    net, other = network(n_threads=1), network(n_threads=1)
    net.fit(X, Y, epochs=5, **options)
    assert len(made) == 2
    model_of(other).engine.kept_bytes = 0
    other.fit(X, Y, epochs=5, **options)
    assert len(made) > 7
    assert np.array_equal(net.parameters, other.parameters)


def test_networks_beyond_the_memory_are_refused_before_they_are_built(limit):
    G = dagbp.layered([3000, 3000], 0.06, seed=0)
    limit(10**8)
    with pytest.raises(dagbp.MemoryLimitError, match=r"^a network of 2,000,000,000 nodes and 1 "):
        dagbp.Network.from_edges([0], [1], n_nodes=2_000_000_000)
    assert dagbp.compile(G, seed=0).n_edges == 540_000
    with pytest.raises(dagbp.MemoryLimitError, match=r"^filling blocks of [89],.* edges"):
        dagbp.compile(G, dense_above=0.05, seed=0)


def test_kept_buffers_count_their_signals(limit):
    net = network(n_threads=1)
    net.forward(X)
    (schedule,) = model_of(net).engine._buffers
    assert model_of(net).engine._buffers[schedule].stores_signals
    with_signals = model_of(net).engine.step_bytes(schedule) + 80 * schedule.row_bytes
    other = model_of(net).engine.tile_planner.choose(3, 1)
    assert other != schedule
    model_of(net).engine.kept_bytes = with_signals + model_of(net).engine.step_bytes(other) - 1
    net.evaluate(X[:3], Y[:3])
    assert list(model_of(net).engine._buffers) == [other]
