"""Activations: one table for all of the library; those of users are checked when registered."""

import ctypes
import math
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from itertools import pairwise
from types import FunctionType

import mpmath
import networkx as nx
import numpy as np
import pytest
from mpmath import mpf

import dagbp
from dagbp import DerivativeError, OptionError, activations
from dagbp._memory import aligned

DTYPES = [np.float32, np.float64]
ALPHA, SCALE = mpf(1.6732632423543772), mpf(1.0507009873554805)


def clip(v, low, high):
    return min(max(v, low), high)


def sigmoid(s):
    return 1 / (1 + mpmath.exp(-s))


def normal(s):
    return mpmath.erfc(-s / mpmath.sqrt(2)) / 2


def density(s):
    return mpmath.exp(-s * s / 2) / mpmath.sqrt(2 * mpmath.pi)


@dataclass(frozen=True)
class Case:
    f: object
    df: object
    limits: tuple  # of f at -inf and inf
    slopes: tuple  # of df there; None: none
    ulp: float  # the largest error of f, relative
    slope_eps: float  # the largest error of df, absolute, in units of eps
    kinks: tuple = ()  # where df jumps, or its derivative does


INF = np.inf
ACTIVATIONS = {
    "identity": Case(lambda s: s, lambda s: 1, (-INF, INF), (1, 1), 0.1, 0.1),
    "relu": Case(lambda s: max(s, 0), lambda s: s > 0, (0, INF), (0, 1), 0.1, 0.1, (0,)),
    "leaky_relu": Case(
        lambda s: s if s > 0 else s / 100,
        lambda s: 1 if s > 0 else mpf(1) / 100,
        (-INF, INF),
        (0.01, 1),
        1.6,
        0.1,
        (0,),
    ),
    "elu": Case(
        lambda s: s if s > 0 else mpmath.expm1(s),
        lambda s: 1 if s > 0 else mpmath.exp(s),
        (-1, INF),
        (0, 1),
        1.2,
        1.0,
        (0,),
    ),
    "selu": Case(
        lambda s: SCALE * (s if s > 0 else ALPHA * mpmath.expm1(s)),
        lambda s: SCALE * (1 if s > 0 else ALPHA * mpmath.exp(s)),
        (float(-SCALE * ALPHA), INF),
        (0, float(SCALE)),
        2.5,
        2.5,
        (0,),
    ),
    "sigmoid": Case(sigmoid, lambda s: sigmoid(s) * sigmoid(-s), (0, 1), (0, 0), 2.5, 1.0),
    "tanh": Case(mpmath.tanh, lambda s: mpmath.sech(s) ** 2, (-1, 1), (0, 0), 2.6, 3.0),
    "softplus": Case(lambda s: mpmath.log1p(mpmath.exp(s)), sigmoid, (0, INF), (0, 1), 1.9, 1.0),
    "softsign": Case(
        lambda s: s / (1 + abs(s)),
        lambda s: 1 / (1 + abs(s)) ** 2,
        (-1, 1),
        (0, 0),
        1.6,
        2.0,
        (0,),
    ),
    "gelu": Case(
        lambda s: s * normal(s), lambda s: normal(s) + s * density(s), (0, INF), (0, 1), 5.0, 2.0
    ),
    "silu": Case(
        lambda s: s * sigmoid(s),
        lambda s: sigmoid(s) + s * sigmoid(s) * sigmoid(-s),
        (0, INF),
        (0, 1),
        3.1,
        2.0,
    ),
    "sin": Case(mpmath.sin, mpmath.cos, (np.nan, np.nan), (np.nan, np.nan), 2.2, 1.1),
    "gaussian": Case(
        lambda s: mpmath.exp(-s * s),
        lambda s: -2 * s * mpmath.exp(-s * s),
        (0, 0),
        (0, 0),
        1.3,
        1.2,
    ),
    "hard_sigmoid": Case(
        lambda s: clip(s / 6 + mpf(0.5), 0, 1),
        lambda s: mpf(1) / 6 if abs(s) < 3 else 0,
        (0, 1),
        (0, 0),
        1.6,
        0.1,
        (-3, 3),
    ),
    "hard_tanh": Case(
        lambda s: clip(s, -1, 1), lambda s: abs(s) < 1, (-1, 1), (0, 0), 0.1, 0.1, (-1, 1)
    ),
}
every_activation = pytest.mark.parametrize("name", ACTIVATIONS)
both_precisions = pytest.mark.parametrize("dtype", DTYPES)


def signals(dtype):
    random = np.random.default_rng(0)
    s = [
        random.uniform(-1, 1, 400),
        random.uniform(-12, 12, 400),
        random.uniform(-90, 90, 200),
        np.geomspace(1e-30, 1e3, 40),
        -np.geomspace(1e-30, 1e3, 40),
        [-3, -1, 0, 1, 3],
    ]
    return np.concatenate(s).astype(dtype)


# --- values --------------------------------------------------------------------------------------


def test_the_table_of_this_file_is_complete():
    assert set(ACTIVATIONS) == set(activations.registry.built_in)


def test_the_documented_table_has_every_formula():
    lines = activations.__doc__.splitlines()
    rules = [k for k, line in enumerate(lines) if line.startswith("===")]
    starts = [column.start() for column in re.finditer("=+", lines[rules[0]])]
    spans = [slice(*ends) for ends in pairwise([*starts, None])]
    rows = [[line[span].strip() for span in spans] for line in lines[rules[1] + 1 : rules[2]]]
    built_in = activations.registry.built_in.values()
    assert [(row[0], row[3]) for row in rows] == [(one.name, one.init) for one in built_in]
    assert all(f and df for _, f, df, _ in rows)
    assert ["tanh", "tanh(s)", "1 - x^2", "glorot"] in rows


@both_precisions
@every_activation
def test_values(name, dtype):
    case, s = ACTIVATIONS[name], signals(dtype)
    x = activations.get(name)(s)
    assert x.dtype == dtype
    info = np.finfo(dtype)
    with mpmath.workdps(60):
        exact = [case.f(mpf(float(v))) for v in s]
        errors = [abs(mpf(float(a)) - b) for a, b in zip(x, exact, strict=True)]
        units = [mpf(2) ** (mpmath.frexp(b)[1] - 1 - info.nmant) if b else mpf(0) for b in exact]
    # A product with a factor below the normal numbers is as good as that factor.
    floor = float(info.smallest_subnormal) * np.maximum(1, np.abs(s))
    excess = [e - case.ulp * u for e, u in zip(errors, units, strict=True)]
    worst = int(np.argmax(excess))
    assert excess[worst] <= floor[worst], f"{name}({s[worst]!r}) is {x[worst]!r}"


@both_precisions
@every_activation
def test_slopes(name, dtype):
    case, s = ACTIVATIONS[name], signals(dtype)
    d = activations.get(name).slope(s)
    with mpmath.workdps(60):
        errors = [
            float(abs(mpf(float(a)) - case.df(mpf(float(b))))) for a, b in zip(d, s, strict=True)
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] <= case.slope_eps * np.finfo(dtype).eps, f"at {s[worst]!r}: {d[worst]!r}"


@every_activation
def test_slopes_are_those_of_the_values(name):
    case, theta, h = ACTIVATIONS[name], activations.get(name), 1e-4
    s = np.linspace(-6, 6, 501)
    for kink in case.kinks:
        s = s[np.abs(s - kink) > 2 * h]
    differences = (8 * (theta(s + h / 2) - theta(s - h / 2)) - theta(s + h) + theta(s - h)) / (
        6 * h
    )
    np.testing.assert_allclose(theta.slope(s), differences, atol=1e-10)


@both_precisions
@every_activation
def test_infinities_give_limits(name, dtype):
    case, theta = ACTIVATIONS[name], activations.get(name)
    ends = np.array([-np.inf, np.inf], dtype)
    np.testing.assert_allclose(theta(ends), case.limits, rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(theta.slope(ends), case.slopes, atol=2 * np.finfo(dtype).eps)


@both_precisions
@every_activation
def test_nan_stays_nan_and_alone(name, dtype):
    s = np.linspace(-4, 4, 40).astype(dtype)
    s[[0, 17, 39]] = np.nan
    theta = activations.get(name)
    np.testing.assert_array_equal(np.isnan(theta(s)), np.isnan(s))
    np.testing.assert_array_equal(np.isnan(theta.slope(s)), np.isnan(s))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 1, 7)])
def test_any_shape(shape):
    s = np.full(shape, -2, np.float16)
    x = activations.get("relu")(s)
    assert (x.shape, x.dtype) == (shape, np.float64)
    np.testing.assert_array_equal(x, 0)


# --- rows ----------------------------------------------------------------------------------------

ROW = [ctypes.c_void_p] * 2 + [ctypes.c_size_t]


@both_precisions
@every_activation
def test_rows_work_in_place(name, dtype):
    forward, backward = activations.get(name).rows(dtype)
    s, x, g, d = aligned((4, 64), dtype)
    s[:], g[:] = np.linspace(-4, 4, 64), np.linspace(1, 2, 64)
    theta = activations.get(name)
    x[:], d[:] = theta(s), g * theta.slope(s)
    in_place = s.copy()
    ctypes.CFUNCTYPE(None, *ROW)(forward.address)(in_place.ctypes.data, in_place.ctypes.data, 64)
    np.testing.assert_array_equal(in_place, x)
    pointers = (s.ctypes.data, x.ctypes.data, g.ctypes.data, s.ctypes.data, 64)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_size_t)(backward.address)(*pointers)
    np.testing.assert_array_equal(s, d)


@both_precisions
@every_activation
def test_a_slope_reads_s_only_if_it_takes_s(name, dtype):
    theta = activations.get(name)
    backward = theta.rows(dtype)[1].address
    s, x, g, d = aligned((4, 64), dtype)
    s[:] = np.linspace(-4, 4, 64)
    x[:], slope, g[:] = theta(s), theta.slope(s), 1
    s[:] = np.nan
    pointers = (row.ctypes.data for row in (s, x, g, d))
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_size_t)(backward)(*pointers, 64)
    if theta.reads_signal:
        assert np.isnan(d).all()
    else:
        np.testing.assert_array_equal(d, slope)


@both_precisions
@every_activation
def test_rows_are_compiled_once(name, dtype):
    forward, backward = activations.get(name).rows(dtype)
    for other in (dtype, np.dtype(dtype), np.dtype(dtype).name):
        again = activations.get(name).rows(other)
        assert again[0] is forward
        assert again[1] is backward
    assert 0 != forward.address != backward.address != 0


def test_rows_from_many_threads():
    theta = activations.register("threaded", lambda s: s * s, lambda s, x: 2 * s)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(theta.rows("float32"))) for _ in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    assert len(set(found)) == 1


CACHE_HITS = """
import networkx as nx
import numpy as np
from dagbp import activations
hits = 0
for name in ("tanh", "gelu", "relu"):
    for dtype in ("float32", "float64"):
        rows = activations.get(name).rows(dtype)
        assert all(row.address for row in rows)
        hits += sum(row.cache_hits for row in rows)
print(hits, *activations.get("tanh")([-0.5, 0.25]), *activations.get("gelu")([-0.5, 0.25]))
"""


def test_a_second_process_reads_the_disk_cache(tmp_path):
    def run():
        env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", CACHE_HITS], env=env, capture_output=True, text=True, check=True
        )
        hits, *values = done.stdout.split()
        return int(hits), values

    (cold, first), (warm, second) = run(), run()
    assert (cold, warm) == (0, 12)
    assert first == second
    assert len(list(tmp_path.rglob("rows.*"))) == 12  # a file a row and precision


# --- lookup and registration ---------------------------------------------------------------------


def test_lookup():
    tanh = activations.get("tanh")
    assert activations.get(tanh) is tanh
    assert (tanh.name, tanh.init, tanh.builtin) == ("tanh", "glorot", True)
    assert activations.names()[:2] == ["identity", "relu"]
    with pytest.raises(
        OptionError, match=r"unknown activation 'rellu'; did you mean 'relu'\? Known"
    ):
        activations.get("rellu")
    with pytest.raises(OptionError, match="must be a name or an Activation, got 3"):
        activations.get(3)


def swish(s):
    return s / (1 + math.exp(-2 * s))


def d_swish(s, x):
    p = 1 / (1 + math.exp(-2 * s))
    return p + 2 * x * (1 - p)


@both_precisions
def test_own_activation(dtype):
    theta = activations.register("swish", swish, d_swish, init="he")
    assert activations.get("swish") is theta
    assert (theta.builtin, theta.init) == (False, "he")
    assert "swish" in activations.names()
    s = np.linspace(-5, 5, 37).astype(dtype)
    np.testing.assert_allclose(theta(s), [swish(v) for v in s], rtol=5e-7)
    np.testing.assert_allclose(theta.slope(s), [d_swish(v, swish(v)) for v in s], rtol=2e-5)


def test_own_activation_may_be_jitted_already():
    import numba

    theta = activations.register("jitted", numba.njit(swish), numba.njit(d_swish))
    np.testing.assert_allclose(theta([1.0]), swish(1.0))


@pytest.mark.parametrize(
    ("f", "df"),
    [
        (lambda s: abs(s), lambda s, x: 1.0 if s > 0 else -1.0),
        (lambda s: s if s > 0.3 else 0.3, lambda s, x: 1.0 if s > 0.3 else 0.0),
        (lambda s: max(s, 0.0) ** 2, lambda s, x: 2 * max(s, 0.0)),
        (lambda s: math.sin(20 * s), lambda s, x: 20 * math.cos(20 * s)),
        (lambda s: math.exp(s), lambda s, x: x),
        (lambda s: s, lambda s, x: 1),
    ],
    ids=["kink", "kink beside a point", "bend", "waves", "steep", "integer"],
)
def test_right_derivatives_pass(f, df):
    assert activations.register("mine", f, df).name == "mine"


def test_overwriting_leaves_old_rows_alive():
    first = activations.register("mine", lambda s: s * s, lambda s, x: 2 * s)
    old = first.rows("float64")
    with pytest.raises(OptionError, match=r"'mine' is registered already; pass overwrite=True"):
        activations.register("mine", lambda s: 3 * s, lambda s, x: 3)
    second = activations.register("mine", lambda s: 3 * s, lambda s, x: 3, overwrite=True)
    assert activations.get("mine") is second
    assert second.rows("float64") != old
    assert first.rows("float64") == old
    np.testing.assert_array_equal(first([2.0]), 4)
    np.testing.assert_array_equal(activations.get("mine")([2.0]), 6)


@pytest.mark.parametrize(
    ("name", "f", "df", "options", "match"),
    [
        ("", swish, d_swish, {}, "name of activation must be a non-empty string, got ''"),
        (7, swish, d_swish, {}, "name of activation must be a non-empty string, got 7"),
        ("tanh", swish, d_swish, {"overwrite": True}, "'tanh' is built in and cannot be replaced"),
        ("mine", swish, d_swish, {"init": "hee"}, "unknown init 'hee'; did you mean 'he'"),
        ("mine", 1.0, d_swish, {}, r"f must be a Python function of \(s\), got 1.0"),
        ("mine", math.exp, d_swish, {}, r"f must be a Python function of \(s\), got <built-in"),
        ("mine", swish, None, {}, r"df must be a Python function of \(s, x\), got None"),
        ("mine", d_swish, d_swish, {}, r"f must be .* of \(s\): missing a required argument: 'x'"),
        ("mine", swish, swish, {}, r"df must be .* of \(s, x\): too many positional arguments"),
        ("mine", lambda s: nowhere(s), d_swish, {}, "Numba cannot compile f or df: .*'nowhere'"),  # noqa: F821
        (
            "mine",
            lambda s: np.clip(s, 0, 1),
            d_swish,
            {},
            r"f or df: there is no implementation of clip\(float64, ",
        ),
        ("mine", lambda s: None, d_swish, {}, "Numba cannot compile f or df: Cannot cast none"),
        ("mine", lambda s: math.sqrt(s), d_swish, {}, "f must be finite, but at s = -8 it is nan"),
        ("mine", swish, lambda s, x: 1 / 0.0, {}, "df must be finite, but at s = -8 it is inf"),
    ],
)
def test_invalid_activations_cannot_be_registered(name, f, df, options, match):
    with pytest.raises(OptionError, match=match):
        activations.register(name, f, df, **options)
    assert "mine" not in activations.names()


def test_a_wrong_derivative_is_shown():
    with pytest.raises(
        DerivativeError,
        match=r"'mine': at s = -8, df gives -8, but the derivative of f with respect to s is -16",
    ):
        activations.register("mine", lambda s: s * s, lambda s, x: s)
    with pytest.raises(DerivativeError, match=r"at s = 5\.\d+, df gives 0, but"):
        activations.register("mine", lambda s: s * s, lambda s, x: 2 * s if s < 5 else 0.0)
    assert "mine" not in dagbp.activations.names()


def test_an_activation_of_another_process_is_registered():
    mine = activations.register("mine", lambda s: s * s, lambda s, x: 2 * s)
    f, df = (FunctionType(one.__code__, {}) for one in (mine.f, mine.df))  # as unpickled there
    copied = replace(mine, f=f, df=df)
    for one in (mine, copied, "mine"):
        assert activations.get(one) is mine
    activations.registry.remove("mine")
    assert activations.get(copied) is copied
    assert np.array_equal(activations.get("mine")([3.0]), [9.0])
    activations.registry.remove("mine")
    activations.register("mine", lambda s: 3 * s, lambda s, x: 3.0)
    with pytest.raises(OptionError, match="'mine' is registered here with other functions"):
        activations.get(copied)


def test_a_surrogate_is_taken_for_the_derivative():
    """A step function with the derivative of a triangle, by hand: x w2 1[w1 x > 0]."""
    step = (lambda s: 1.0 if s > 0 else 0.0), (lambda s, x: max(0.0, 1.0 - abs(s)))
    with pytest.raises(DerivativeError, match="pass surrogate=True if this is intended"):
        activations.register("spike", *step)
    with pytest.raises(OptionError, match="surrogate must be True or False, got 'yes'"):
        activations.register("spike", *step, surrogate="yes")
    spike = activations.register("spike", *step, surrogate=True)
    assert spike.surrogate
    assert np.array_equal(spike([-0.25, 0.25, 2.0]), [0.0, 1.0, 1.0])
    assert np.array_equal(spike.slope([-0.25, 0.25, 2.0]), [0.75, 0.75, 0.0])
    G = nx.DiGraph()
    G.add_edge("a", "h", weight=0.5)
    G.add_edge("h", "y", weight=3.0)
    G.add_node("h", activation="spike")
    bp = dagbp.compile(G, dtype="float64").backprop([[0.5]], [[1.0]])
    assert bp.x["y"] == 3
    assert bp.delta["h"] == 4 * 3 * 0.75
    assert bp.grad_weight["a", "h"] == 0.5 * 9
