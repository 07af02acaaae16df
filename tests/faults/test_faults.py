"""Threads, forks, worker processes and signals: the same bits, no crash, no hang."""

import _thread
import multiprocessing
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from joblib import Parallel, delayed
from networks import network as compiled
from strategies import random_network, random_samples

import dagbp
from dagbp._engine import workers as _team

CASE = random_network(5, max_nodes=40, min_inputs=2)
network = partial(compiled, CASE, n_threads=2)
X, Y = random_samples(0, CASE, 400)


def trained(seed, n_threads=2):
    """Train the network of this seed; return its history and its parameters' bits."""
    net = network(seed=seed, n_threads=n_threads)
    data = random_samples(seed, CASE, 400)
    history = net.fit(*data, epochs=20, batch_size=150, seed=seed, verbose=0)
    return history.loss, net.parameters.tobytes()


def at_once(calls):
    """Call all functions at the same time, each in a thread; return the results."""
    barrier = threading.Barrier(len(calls))

    def begin(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(begin, call) for call in calls]]


# ---------------------------------------------------------------------------- threads


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_training_different_networks_at_once(n_threads):
    alone = [trained(seed, n_threads) for seed in range(4)]
    together = at_once([lambda s=seed: trained(s, n_threads) for seed in range(4)])
    assert together == alone


@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_network_from_several_threads(n_threads):
    net = network(n_threads=n_threads)
    parts = np.array_split(X, [100, 107, 300])
    alone = [net.predict(part) for part in parts]
    value = net.loss_and_gradient(X, Y)
    for _ in range(10):
        calls = [lambda p=part: net.predict(p) for part in parts]
        *together, other = at_once([*calls, lambda: net.loss_and_gradient(X, Y)])
        for found, expected in zip(together, alone, strict=True):
            assert np.array_equal(found, expected)
        assert other[0] == value[0]
        assert np.array_equal(other[1], value[1])


def test_one_network_trained_from_two_threads_takes_turns():
    net = network()
    histories = at_once([lambda: net.fit(X, Y, epochs=10, verbose=0, seed=0)] * 2)
    first, second = sorted(histories, key=lambda h: -h.loss[0])
    expected = network()
    assert expected.fit(X, Y, epochs=10, verbose=0, seed=0).loss == first.loss
    assert expected.fit(X, Y, epochs=10, verbose=0, seed=0).loss == second.loss
    assert np.array_equal(net.parameters, expected.parameters)


def test_more_threads_than_cores():
    n = 4 * _team.available_cores() + 1
    assert trained(3, n) == trained(3, n)


def test_workers_are_used_again():
    trained(0, 3)
    before = threading.active_count()
    for seed in range(5):
        trained(seed, 3)
    assert threading.active_count() == before


# ---------------------------------------------------------------------------- a team


def test_a_team_raises_the_exception_of_a_call():
    done = []

    def fail():
        raise LookupError("in a worker")

    with pytest.raises(LookupError, match="in a worker"):
        _team.run_together([fail, lambda: done.append(1)])
    assert done == [1]
    _team.run_together([lambda: done.append(2)] * 2)
    assert done == [1, 2, 2]


def test_an_interrupt_between_two_starts_does_not_hang(monkeypatch):
    """The first call waits for the second at a barrier, so the second must begin."""
    starts, start = [], _team._Worker.start

    def interrupted(worker, job):
        starts.append(job)
        if len(starts) == 2:
            raise KeyboardInterrupt
        start(worker, job)

    monkeypatch.setattr(_team._Worker, "start", interrupted)
    barrier, met = threading.Barrier(2), []

    def meet():
        barrier.wait()
        met.append(True)

    with pytest.raises(KeyboardInterrupt):
        _team.run_together([meet, meet])
    assert met == [True, True]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_a_second_interrupt_waits_for_the_workers_too(monkeypatch):
    """Buffers are shared: no call may run after `run_together` has raised."""

    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    monkeypatch.setattr(_team, "_idle", [])
    release, ended = threading.Event(), []
    before = signal.signal(signal.SIGALRM, ring)
    threading.Timer(0.3, release.set).start()
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.02)
    try:
        with pytest.raises(Alarm):
            _team.run_together([lambda: release.wait() and ended.append(1)] * 2)
        found = list(ended)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found == [1, 1]


def test_interrupts_at_any_moment():
    """After an interrupt at any moment, the network is valid and the next call runs."""
    net = network()
    net.fit(X, Y, epochs=1, batch_size=150, verbose=0)  # compiles

    def fit_until(timer):
        timer.start()
        net.fit(X, Y, epochs=30_000, batch_size=150, learning_rate=1e-6, verbose=0)

    rng = np.random.default_rng(0)
    for delay in rng.uniform(0.001, 0.01, 40):
        timer = threading.Timer(delay, _thread.interrupt_main)
        with pytest.raises(KeyboardInterrupt):
            fit_until(timer)
        timer.join()
        prediction = net.predict(X)
        net.parameters = net.parameters
        assert np.array_equal(net.predict(X), prediction)


def interrupt_many_times(call, n_interrupts):
    """Interrupt `call` between any two instructions; then call it here and in another thread."""

    def ring(*_):
        raise KeyboardInterrupt

    call()
    before, rng = signal.signal(signal.SIGALRM, ring), np.random.default_rng(0)
    try:
        for _ in range(n_interrupts):
            try:
                # Again after a while: Python drops what is raised within a finalizer.
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(5e-5, 3e-3), 0.02)
                while True:
                    call()
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
            call()
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(60)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not thread.is_alive()


def short_calls(net):
    """Return calls of a network that last less than a millisecond."""
    X, Y = np.ones((5, 4)), np.ones((5, 2))
    batches = [(X, Y), (X, Y), (X, Y)]
    return {
        "predict": lambda: net.predict(X),
        "fit": lambda: net.fit(X, Y, epochs=1, verbose=0),
        "fit_batches": lambda: net.fit_batches(batches, epochs=1, verbose=0),
    }


needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")


@needs_timers
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of open files
@pytest.mark.parametrize(
    ("method", "times"), [("predict", 600), ("fit", 600), ("fit_batches", 200)]
)
def test_interrupts_of_many_short_calls(method, times):
    net = dagbp.compile(dagbp.layered([4, 6, 2], seed=0), seed=0, n_threads=1)
    interrupt_many_times(short_calls(net)[method], times)


@needs_timers
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of open files
def test_a_storm_of_interrupts_leaves_no_thread():
    from dagbp._network import model_of

    net = dagbp.compile(dagbp.layered([4, 6, 2], seed=0), seed=0, n_threads=1)
    interrupt_many_times(short_calls(net)["fit_batches"], 2000)
    end = time.monotonic() + 10
    while model_of(net).lock.fetching:
        assert time.monotonic() < end
        time.sleep(0.01)


# ---------------------------------------------------------------------------- processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork_after_fit():
    net = network()
    net.fit(X, Y, epochs=2, seed=0, verbose=0)
    expected = net.predict(X), trained(1)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)  # a hang ends as a failure
            same = np.array_equal(net.predict(X), expected[0]) and trained(1) == expected[1]
            os._exit(0 if same else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert trained(1) == expected[1], "the parent's workers still run"


def answer(pickled, features):
    """Predict in another process, then train there."""
    net = pickle.loads(pickled)
    prediction = net.predict(features)
    net.fit(features, Y, epochs=2, seed=0, batch_size=150, verbose=0)
    return prediction, net.parameters


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_pickled_to_a_fresh_process(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    pickled = pickle.dumps(network())
    expected = answer(pickled, X)
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.apply(answer, (pickled, X))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(backend):
    """Joblib memory-maps large arguments read-only, and pickles the network itself."""
    expected = [answer(pickle.dumps(network(seed=seed)), X) for seed in range(4)]
    with Parallel(n_jobs=2, backend=backend, max_nbytes=1) as parallel:
        found = parallel(delayed(answer)(pickle.dumps(network(seed=seed)), X) for seed in range(4))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])


def test_a_network_with_an_activation_that_is_not_registered_here():
    """An activation registered elsewhere: a clear error, and no crash."""
    name = "elsewhere"
    dagbp.activations.register(name, lambda s: s * s, lambda s, x: 2 * s)
    G = dagbp.layered([2, 2], output_activation=name, seed=0)
    pickled = pickle.dumps(dagbp.compile(G, seed=0))
    dagbp.activations.registry.remove(name)
    with pytest.raises(dagbp.OptionError, match=r"unknown activation 'elsewhere'"):
        pickle.loads(pickled).predict([[1.0, 2.0]])


def test_an_interrupt_during_a_step_that_diverges_undoes_the_step(monkeypatch):
    """Both orders of the weights are those of the last finite step."""
    from dagbp._engine import engine
    from dagbp._network import model_of

    net = dagbp.compile(dagbp.layered([3, 4, 2], activation="tanh", seed=0), seed=0, n_threads=1)
    before, complete = net.parameters, engine._run

    def interrupted(*args):
        complete(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_run", interrupted)
    options = {"optimizer": "sgd", "learning_rate": 3e38, "epochs": 1, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        net.fit(np.full((8, 3), 1e3), np.full((8, 2), 1e3), **options)
    parameters = model_of(net).engine.parameters
    assert np.array_equal(net.parameters, before)
    assert np.array_equal(parameters.to_user_order(parameters.by_source), before)
