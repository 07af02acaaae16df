"""Compiled functions behave as in Python, whichever compiler runs; DAGBP_COMPILER chooses it."""

import ctypes
import os
import signal
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import run_python
from numba.core import types

from dagbp._compiler import decorators

SIZES = st.integers(0, 40)
COMPILERS = ("fast", "plain")


def run_script(code, *arguments, **environment):
    """Return the lines that a script prints in a process of its own, and its errors."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.splitlines(), done.stderr.splitlines()


# --- the choice of the compiler ---

CHOICE = """
import sys, warnings
import numba
if len(sys.argv) > 1:
    numba.__version__ = sys.argv[1]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import dagbp
from dagbp._compiler import decorators
print(decorators._compiler.NAME)
print(*(w.message for w in caught if issubclass(w.category, dagbp.DagbpWarning)), sep="\\n")
"""


@pytest.mark.parametrize("name", COMPILERS)
def test_the_environment_chooses_the_compiler(name):
    assert run_script(CHOICE, DAGBP_COMPILER=name) == ([name, ""], [])


def test_another_name_is_an_error():
    _, errors = run_script("import dagbp", DAGBP_COMPILER="quick")
    assert errors[-1].endswith("DAGBP_COMPILER must be 'fast' or 'plain', got 'quick'")


def test_with_an_untested_numba_the_plain_compiler_runs_after_one_warning():
    (name, warning), errors = run_script(CHOICE, "0.99.1", DAGBP_COMPILER="")
    assert name == "plain"
    assert warning.startswith("Numba 0.99.1: dagbp's fast compiler was not tested with it.")
    assert errors == []
    assert run_script(CHOICE, "0.99.1", DAGBP_COMPILER="plain")[0] == ["plain", ""]


def test_if_the_inside_of_numba_has_changed_the_plain_compiler_runs():
    gone = "import numba.core.codegen\ndel numba.core.codegen.JITCodeLibrary\n"
    (name, warning), errors = run_script(gone + CHOICE, DAGBP_COMPILER="fast")
    assert name == "plain"
    assert "dagbp's fast compiler does not import with it: cannot import name" in warning
    assert errors == []


# --- loops, calls and results ---


@decorators.entry
def turns(first, last, step, found):
    """Write the values of a loop to `found`, and 99 where it breaks; return their number."""
    count = 0
    for k in range(np.uintp(first), np.uintp(last), np.uintp(step)):
        if k == 13:
            found[count] = 99
            count += 1
            break
        if k % 5 == 3:
            continue
        for _ in range(np.uintp(2)):
            found[count] = k
            count += 1
    return count


@given(SIZES, SIZES, st.integers(1, 7))
def test_loops_over_sizes_turn_as_in_python(first, last, step):
    found = np.zeros(100, np.int64)
    expected = turns.py_func(first, last, step, expected_found := np.zeros(100, np.int64))
    assert turns(first, last, step, found) == expected
    np.testing.assert_array_equal(found, expected_found)


@decorators.entry
def large_turns(first, step, most):
    """Return the number of iterations up to the last size, at most `most`, and the last index."""
    count, last = 0, np.uintp(0)
    for k in range(np.uintp(first), np.uintp(2**64 - 1), np.uintp(step)):
        count, last = count + 1, k
        if count == most:
            break
    return count, last


def test_sizes_may_have_all_64_bits():
    assert large_turns(np.uint64(2**63 - 2**61), 2**61, 3) == (3, 2**63 + 2**61)
    assert large_turns(np.uint64(2**64 - 5), 2, 9) == (2, 2**64 - 3)
    assert large_turns(np.uint64(5), 1, 3) == (3, 7)


@decorators.jit
def parts(k, x):
    return k + 1, x / 2, k > 2


@decorators.jit
def double_in_place(values):
    for k in range(values.shape[0]):
        values[k] *= 2


@decorators.entry
def call(k, x, values):
    """Return the values of a function with several results, called after one without a result."""
    double_in_place(values)
    after, half, large = parts(k, x)
    if large:
        return half
    return float(after)


@pytest.mark.parametrize(("k", "expected"), [(1, 2.0), (7, 4.5)])
def test_calls_return_what_python_returns(k, expected):
    values = np.arange(3.0)
    assert call(k, 9.0, values) == expected
    np.testing.assert_array_equal(values, 2 * np.arange(3.0))
    assert double_in_place.py_func(values) is None


@decorators.entry
def is_in(k, n):
    return k in range(n)


def test_functions_that_numba_implements_in_python_compile_in_kernels():
    assert [is_in(k, 3) for k in (-1, 0, 2, 3)] == [False, True, True, False]


POINTER = types.CPointer(types.float64)


@numba.njit
def doubled(value):
    return value + value


def double(values, n):
    for k in range(n):
        values[k] = doubled(values[k])


def compile_double():
    signature = types.void(POINTER, types.uintp)
    return decorators.compile_callback(double, signature, disk=False)


def run_double(c_function):
    values = np.arange(5.0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)(c_function.address)(
        values.ctypes.data, len(values)
    )
    return values


def test_a_c_function_may_call_functions_of_a_user():
    c_function = compile_double()
    assert int(c_function) == c_function.address
    assert c_function.cache_hits == 0
    np.testing.assert_array_equal(run_double(c_function), 2 * np.arange(5.0))


USERS = """
import math
import numba
import numpy as np
import dagbp

def jitted():
    return numba.njit(lambda a: np.dot(a, a) + len([*a]) + math.erf(a[0]))(np.arange(3.0))

def fitted():
    net = dagbp.Network.from_edges([0, 1, 0, 2], [2, 2, 3, 3], n_nodes=4, seed=0, activation=theta)
    net.fit(np.ones((9, 2)), np.ones((9, 1)), epochs=1, verbose=0)
    return float(net.loss_and_gradient(np.ones((1, 2)), np.ones((1, 1)))[0])

helper = numba.njit(lambda s: math.erf(s))
theta = dagbp.activations.register(
    "erf", lambda s: helper(s), lambda s, x: 2 / math.sqrt(math.pi) * math.exp(-s * s)
).name
print(*ORDER)
"""


def test_kernels_and_functions_of_users_do_not_disturb_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    found = []
    for order in ("[jitted(), fitted()]", "[fitted(), jitted()][::-1]"):
        done = subprocess.run(
            [sys.executable, "-c", USERS.replace("ORDER", order)],
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.split())
    assert float(found[0][0]) == 8.0
    assert found[0] == found[1]


AGAIN = """
import sys
import numpy as np
import dagbp

def predicted(package):
    net = package.Network.from_edges([0, 1, 0, 2], [2, 2, 3, 3], n_nodes=4, seed=0)
    net.fit(np.ones((9, 2)), np.ones((9, 1)), epochs=1, verbose=0)
    return net.predict(np.ones((2, 2))).tolist()

first, before = dagbp, predicted(dagbp)
for name in [name for name in sys.modules if name.split(".")[0] == "dagbp"]:
    del sys.modules[name]
import dagbp
assert dagbp is not first
assert predicted(dagbp) == before == predicted(first)
"""


def test_the_package_can_be_imported_again(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    run_python(AGAIN)


# --- forks and interrupts ---

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
    """An empty cache: the thread holds locks of Numba or LLVM, which the child inherits."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, delay], check=True, timeout=60)


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
    """Ctrl-C takes effect after the compilation, and the next call works."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", INTERRUPTED, str(seed)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
