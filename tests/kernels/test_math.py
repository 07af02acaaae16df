"""Every vector function against 60 digits, over its whole range, with and without FMA."""

import ctypes
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from dagbp._kernels.formulas import math as vector_math
from dagbp._kernels.formulas import rows
from dagbp._kernels.vectors.arithmetic import inlined

DTYPES = [np.float32, np.float64]


@inlined
def gaussian(x):
    return vector_math.gaussian(x, 1)


@inlined
def normal_cdf(x):
    p, _ = vector_math.normal(x)
    return p


@dataclass(frozen=True)
class Function:
    formula: object
    exact: object
    low: float = -np.inf
    high: float = np.inf
    documented: object = None  # where the docstring is, if not at `formula`

    @property
    def ulp(self):
        doc = (self.documented or self.formula).__doc__
        return float(re.search(r"Error < ([\d.]+) ulp", doc)[1])


FUNCTIONS = {
    "exp": Function(vector_math.exp, mpmath.exp),
    "expm1": Function(vector_math.expm1, mpmath.expm1, high=0),
    "gaussian": Function(gaussian, lambda x: mpmath.exp(-x * x), documented=vector_math.gaussian),
    "sigmoid": Function(vector_math.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x))),
    "tanh": Function(vector_math.tanh, mpmath.tanh),
    "log": Function(vector_math.log, mpmath.log, low=0),
    "log1p": Function(vector_math.log1p, mpmath.log1p, low=0, high=1),
    "softplus": Function(vector_math.softplus, lambda x: mpmath.log1p(mpmath.exp(x))),
    "normal_cdf": Function(
        normal_cdf,
        lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
        documented=vector_math.normal,
    ),
    "sin": Function(vector_math.sin, mpmath.sin),
    "cos": Function(vector_math.cos, mpmath.cos),
}


@pytest.fixture(autouse=True)
def _sixty_digits():
    with mpmath.workdps(60):
        yield


@cache
def compiled(name, dtype):
    formula = FUNCTIONS[name].formula
    return rows.forward.specialised(f"test_{name}", np.dtype(dtype), disk=False, f=formula)


def apply(name, x):
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    s = np.concatenate([x, np.ones(-len(x) % 16, x.dtype)])
    y = np.empty_like(s)
    call(compiled(name, x.dtype.type).address)(s.ctypes.data, y.ctypes.data, len(s))
    return y[: len(x)]


def probes(dtype, low, high):
    """Numbers of all magnitudes, more of them where functions are curved, and subnormals."""
    random = np.random.default_rng(0)
    info = np.finfo(dtype)
    reach = np.log(float(info.max))
    wide = np.exp(random.uniform(-reach, 0.999 * reach, 400))
    steps = np.arange(1, 64)
    x = [
        random.uniform(-1, 1, 1500),
        random.uniform(-20, 20, 1500),
        random.uniform(-1.1, 1.1, 400) * reach,
        wide * random.choice([-1, 1], 400),
        np.log(2) * (steps - 32.5) * (1 + 1e-3 * random.standard_normal(63)),
        float(info.smallest_subnormal) * steps,
        float(info.smallest_subnormal) * -steps,
    ]
    x = np.concatenate(x).astype(dtype)
    return x[(x >= low) & (x <= high)]


def ulps(result, exact):
    """Return errors in units in the last place of the exact value, as a float."""
    info = np.finfo(result.dtype)
    if abs(exact) > float(info.max):
        return 0.0 if np.isinf(result) and np.sign(result) == mpmath.sign(exact) else np.inf
    if not np.isfinite(result):
        return np.inf
    exponent = mpmath.frexp(exact)[1] - 1 if exact else info.minexp
    unit = mpf(2) ** (max(exponent, info.minexp) - info.nmant)
    return float(abs(mpf(float(result)) - exact) / unit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error(name, dtype):
    function = FUNCTIONS[name]
    x = probes(dtype, function.low, function.high)
    x = x[np.abs(x) < 1e4] if name in ("gaussian", "sigmoid", "softplus", "normal_cdf") else x
    y = apply(name, x)
    errors = [ulps(b, function.exact(mpf(float(a)))) for a, b in zip(x, y, strict=True)]
    worst = int(np.argmax(errors))
    assert errors[worst] < function.ulp, f"{name}({x[worst]!r}) is {y[worst]!r}"


LIMITS = {  # name -> values at -inf, 0, inf
    "exp": (0, 1, np.inf),
    "expm1": (-1, 0, None),
    "gaussian": (0, 1, 0),
    "sigmoid": (0, 0.5, 1),
    "tanh": (-1, 0, 1),
    "log": (np.nan, -np.inf, np.inf),
    "log1p": (None, 0, None),
    "softplus": (0, None, np.inf),
    "normal_cdf": (0, 0.5, 1),
    "sin": (np.nan, 0, np.nan),
    "cos": (np.nan, 1, np.nan),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits_and_nan(name, dtype):
    for x, value in zip((-np.inf, 0, np.inf), LIMITS[name], strict=True):
        if value is not None:
            np.testing.assert_equal(apply(name, np.full(16, x, dtype)), np.full(16, value, dtype))
    mixed = np.full(32, 0.5, dtype)
    mixed[3] = np.nan
    np.testing.assert_array_equal(np.isnan(apply(name, mixed)), np.isnan(mixed))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "sin", "expm1", "log1p"])
def test_tiny_arguments_come_back_unchanged(name, dtype):
    tiny = np.geomspace(np.finfo(dtype).smallest_subnormal, 1e-30, 50).astype(dtype)
    tiny = -tiny if name == "expm1" else tiny
    np.testing.assert_array_equal(apply(name, tiny), tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "shift"), [("sin", 0), ("cos", mpf(0.5))])
def test_zeros_of_sine_and_cosine_keep_their_digits(name, shift, dtype):
    last = 70 if dtype == np.float32 else 2000  # beyond where the C library takes over
    zeros = np.array([float((n + shift) * mpmath.pi) for n in range(-last, last)]).astype(dtype)
    zeros = zeros[zeros != 0]
    x = np.concatenate([zeros, np.nextafter(zeros, dtype(0)), np.nextafter(zeros, 2 * zeros)])
    y = apply(name, x)
    exact = FUNCTIONS[name].exact
    errors = [ulps(b, exact(mpf(float(a)))) for a, b in zip(x, y, strict=True)]
    assert max(errors) < FUNCTIONS[name].ulp, f"{name}({x[np.argmax(errors)]!r})"


X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.skipif(not X86, reason="names of x86 processors")
@pytest.mark.skipif("NUMBA_CPU_NAME" in os.environ, reason="runs inside itself")
@pytest.mark.parametrize(
    ("cpu", "features"), [("x86-64", ""), ("haswell", "+avx2,+fma")], ids=["no-fma", "avx2"]
)
def test_other_processors(cpu, features, tmp_path):
    if features and "+avx2" not in str(host_features()):
        pytest.skip("this processor has no AVX2")
    command = [sys.executable, "-m", "pytest", "-q", "-k", "error or zeros"]
    command += ["-p", "no:cacheprovider", __file__]
    env = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]


def host_features():
    from llvmlite.binding import get_host_cpu_features

    return get_host_cpu_features().flatten()
