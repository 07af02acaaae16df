"""What kernels are compiled for: loops, calls and results as Python has them, and few imports."""

import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbp._compiler import decorators as _jit

SIZES = st.integers(0, 40)


@_jit.entry
def turns(first, last, step, found):
    """Fill found with the turns of a loop, and with 99 where one breaks off; return how many."""
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


@_jit.entry
def large_turns(first, step, most):
    """Return how many turns a loop takes to the last size there is, or `most`, and the last one."""
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


@_jit.jit
def parts(k, x):
    return k + 1, x / 2, k > 2


@_jit.jit
def double_in_place(values):
    for k in range(values.shape[0]):
        values[k] *= 2


@_jit.entry
def call(k, x, values):
    """Return what comes back from a callee as several values, after one that returns none."""
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


@_jit.entry
def is_in(k, n):
    return k in range(n)


def test_what_numba_has_written_in_python_is_compiled_for_kernels_too():
    assert [is_in(k, 3) for k in (-1, 0, 2, 3)] == [False, True, True, False]


FIRST_STEP = """
import sys
import numpy as np
import dagbp
net = dagbp.Network.from_edges([0, 1, 0, 2], [2, 2, 3, 3], n_nodes=4, seed=0)
net.fit(np.ones((9, 2)), np.ones((9, 1)), epochs=1, verbose=0)
net.loss_and_gradient(np.ones((1, 2)), np.ones((1, 1)))
print(*(name for name in ("scipy.linalg", "numba.np.linalg") if name in sys.modules))
"""


def test_a_first_step_imports_no_linear_algebra(tmp_path, monkeypatch):
    """SciPy's takes longer to import than dagbp; an empty cache, so that all is compiled."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


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


def test_functions_of_users_are_compiled_as_ever_before_kernels_and_after(tmp_path, monkeypatch):
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


def test_the_package_can_be_imported_once_more(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    subprocess.run([sys.executable, "-c", AGAIN], check=True)


def test_kernels_are_not_for_functions_of_others():
    @numba.njit
    def other(k):
        return parts(k, 2.0)

    with pytest.raises(NotImplementedError, match="parts"):
        other(1)
