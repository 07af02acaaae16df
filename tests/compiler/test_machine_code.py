"""Machine code is made in threads, and who needs it waits; whatever goes wrong there comes back."""

import ctypes
import os
import signal
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from numba.core import types
from numba.core.typing.templates import signature

from dagbp._compiler import decorators as _jit
from dagbp._compiler import machine_code as _machine_code

POINTER = types.CPointer(types.float64)


@numba.njit
def doubled(value):
    return value + value


def double(values, n):
    for k in range(n):
        values[k] = doubled(values[k])


def compile_double():
    arguments = signature(types.void, POINTER, types.uintp)
    return _jit.compile_callback(double, arguments, disk=False)


def run_double(callback):
    values = np.arange(5.0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)(callback.address)(
        values.ctypes.data, len(values)
    )
    return values


@pytest.fixture
def held(monkeypatch):
    """Jobs begin to work only when this event is set."""
    event, compile_ = threading.Event(), _machine_code._compile

    def later(*args):
        assert event.wait(60)
        return compile_(*args)

    monkeypatch.setattr(_machine_code, "_compile", later)
    yield event
    event.set()
    _machine_code._finish()


def test_code_is_made_while_others_go_on(held):
    first, second = compile_double(), compile_double()  # neither waits for LLVM
    found = []
    thread = threading.Thread(target=lambda: found.append(run_double(first)))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    held.set()
    thread.join()
    np.testing.assert_array_equal(found, [2 * np.arange(5.0)])
    np.testing.assert_array_equal(run_double(second), 2 * np.arange(5.0))


def test_an_error_in_the_thread_is_raised_where_the_code_is_needed(monkeypatch):
    def fail(*args):
        raise MemoryError("no room for LLVM")

    monkeypatch.setattr(_machine_code, "_compile", fail)
    callback = compile_double()
    for _ in range(2):
        with pytest.raises(MemoryError, match="no room for LLVM"):
            callback.address  # noqa: B018
    monkeypatch.undo()
    np.testing.assert_array_equal(run_double(callback), 2 * np.arange(5.0))
    np.testing.assert_array_equal(run_double(compile_double()), 2 * np.arange(5.0))


def test_without_another_thread_code_is_made_at_once(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_array_equal(run_double(compile_double()), 2 * np.arange(5.0))
    assert not list(_machine_code._running)
    _machine_code._finish()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_waits_for_code_in_the_making(held):
    callback = compile_double()
    threading.Timer(0.1, held.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0 if (run_double(callback) == 2 * np.arange(5.0)).all() else 1)
    assert held.is_set()
    assert os.waitpid(child, 0)[1] == 0


FORK = """
import os, sys, threading, time
import numpy as np
import dagbp

def fit():
    net = dagbp.compile(dagbp.layered([3, 4, 2], seed=0), seed=0, n_threads=1)
    net.fit(np.ones((9, 3)), np.ones((9, 2)), epochs=1, verbose=0)

thread = threading.Thread(target=fit)
thread.start()
time.sleep(float(sys.argv[1]))
child = os.fork()
fit()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("delay", ["0.1", "0.5"])
def test_a_fork_while_another_thread_compiles(delay, tmp_path, monkeypatch):
    """An empty cache: the thread is in Numba or waits for LLVM, whose locks the child gets."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, delay], check=True, timeout=60)


def test_signatures_are_asked_for_once_but_missing_ones_again():
    asked, f = [], object()  # a function that nobody else asks for

    class Context:
        callstack = "callstack"

        def resolve_function_type(self, function, args, kws):
            asked.append(args)
            return f"signature of {args[0]}" if len(asked) != 2 else None

    context = _machine_code._Signatures(Context())
    assert context.callstack == "callstack"
    assert context.resolve_function_type(f, [0], {}) == "signature of 0"
    assert context.resolve_function_type(f, (0,), {}) == "signature of 0"
    assert context.resolve_function_type(f, [1], {}) is None
    assert context.resolve_function_type(f, [1], {}) == "signature of 1"
    assert asked == [[0], [1], [1]]


ORDER = """
import numpy as np
import dagbp
from dagbp._compiler import decorators as _jit

order = []
begin, address = _jit.Callback._begin, _jit.Callback.address

def told(self):
    order.append("begin")
    begin(self)

def asked(self):
    order.append("address")
    return address.fget(self)

_jit.Callback._begin, _jit.Callback.address = told, property(asked)
net = dagbp.compile(dagbp.layered([3, 4, 2], seed=0), seed=0, n_threads=1)
X, Y = np.ones((9, 3)), np.ones((9, 2))
CALL
print(*order)
"""


@pytest.mark.parametrize(
    ("call", "n_begun"),
    [  # a reader, and what is said
        ("net.fit(X, Y, epochs=1, verbose=0)", 7),  # loss, optimizer, shuffle, learn, train, read
        ("net.evaluate(X, Y)", 5),  # loss, learn, evaluate, read
        ("net.predict(X)", 4),  # predict, read, write
        ("net.forward(X)", 9),  # learn, inspect, read, write; two activations' rows each
    ],
)
def test_what_a_call_needs_is_begun_before_anything_is_waited_for(call, n_begun):
    """Else threads would take turns."""
    code = ORDER.replace("CALL", call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    order = done.stdout.split()
    assert order[:n_begun] == ["begin"] * n_begun
    assert set(order[n_begun:]) == {"address"}


INTERRUPTED = """
import os, random, signal, sys
import numpy as np
import dagbp
random.seed(int(sys.argv[1]))
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
X = np.random.default_rng(0).normal(size=(100, 8))
net = dagbp.compile(dagbp.layered([8, 40, 3], density=0.9, seed=0), seed=0, n_threads=1)
interrupts = 0
while True:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.02, 0.4), 0.05)
        net.fit(X, X[:, :3], epochs=1, seed=0, verbose=0)
        net.loss_and_gradient(X, X[:, :3])
        signal.setitimer(signal.ITIMER_REAL, 0)
        break
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
        interrupts += 1
print(interrupts, flush=True)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("seed", range(3))
def test_interrupts_of_a_first_compile(seed, tmp_path):
    """Ctrl-C comes after what is being compiled, and the next call goes on."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", INTERRUPTED, str(seed)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
