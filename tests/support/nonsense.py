"""Bad arguments: objects of every kind, and spoilt copies of good arrays."""

import math
import warnings

import networkx as nx
import numpy as np
import pandas as pd

from dagbp import losses, optimizers


class Hostile:
    """Raises or returns wrong values for every attribute that NumPy reads."""

    def __array__(self, dtype=None, copy=None):
        raise ValueError("no array")

    def __len__(self):
        return 3

    def __getitem__(self, k):
        raise IndexError(k)

    def __repr__(self):
        return "<hostile>"


SCALARS = [
    None, True, False, 0, 1, -1, 2, 7, 2**62, 2**63, -(2**63), 2**64 - 1, 10**30, 10**400,
    -(10**400),
    0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf, 1j,
    "", "tanh", "adam", "huber", "7", "\0", "é" * 99, b"bytes",
    np.float32(0.5), np.int8(-1), np.uint64(2**63), np.bool_(True), np.datetime64("2020"), np.nan,
    pd.NA, pd.NaT, object(), Hostile(), int, len, ...,
    losses.Huber(2.0), losses.Loss("huber"), losses.Loss("huber", (math.nan,)), losses.Loss(3),
    losses.Loss("softmax_cross_entropy", labels="no"), losses.Loss("squared_error", (1.0, 2.0)),
    optimizers.SGD(learning_rate=1e300), optimizers.Adam(beta1=0.0), optimizers.Adam,
]  # fmt: skip
COLLECTIONS = [
    [], (), {}, set(), [[]], [[[]]], [[1], [2, 3]], [[1, 2], 3], ["a", "b"], [None],
    [[None] * 3] * 9,
    {"a": 1}, {1, 2, 3}, range(3), iter([1, 2]), (k for k in range(3)), [1, [2, [3, [4]]]],
    [object()] * 9, [10**400] * 9, np.empty((9, 0)), np.empty((0, 3)), np.zeros((9, 3), complex),
    np.zeros(9, "U3"), np.zeros((9, 3), "i4,i4"), np.zeros((9, 3), object), np.zeros(9, "M8[s]"),
    np.ma.masked_all((9, 3)), np.array(5), np.zeros((1,) * 60), np.broadcast_to(1.0, (9, 3)),
    np.broadcast_to(0.0, (2**40, 3))[:0], pd.DataFrame(), pd.DataFrame({"a": ["x"]}),
    pd.Series([1]),
    pd.DataFrame(np.ones((9, 3))), nx.DiGraph(), nx.Graph([(1, 2)]), nx.MultiDiGraph([(1, 2)]),
    memoryview(b"123456789"), bytearray(9), np.ones((9, 3)),
]  # fmt: skip


def anything(rng):
    """Return anything at all."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(SCALARS)
    if kind < 0.85:
        return rng.choice(COLLECTIONS)
    return [anything(rng) for _ in range(rng.randint(0, 4))]


def bent(value, rng):
    """Return a spoilt copy of `value`, if it is an array; else any object."""
    if not isinstance(value, np.ndarray) or rng.random() < 0.4:
        return anything(rng)
    a = value.copy()
    if a.size and rng.random() < 0.4:
        kinds = ["float64", "float32", "object", "int64"] if a.dtype.kind in "biuf" else ["object"]
        flat = a.astype(rng.choice(kinds)).ravel()
        place = rng.randrange(flat.size)
        number = rng.choice([math.nan, math.inf, -1, -(2**31), 1e300, 2**31, 10**9, 0.5, None, "x"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                flat[place] = number
            except (TypeError, ValueError, OverflowError):
                flat = flat.astype(object)
                flat[place] = number
        return flat.reshape(a.shape)
    ways = [
        lambda: a[:-1],
        lambda: a[..., :-1],
        lambda: a[:0],
        lambda: a.T,
        lambda: a[None],
        lambda: a.ravel(),
        lambda: a[..., 0],
        lambda: np.concatenate([a, a]),
        lambda: np.repeat(a, 2, axis=-1),
        lambda: a.tolist(),
        lambda: a.astype("float16"),
        lambda: a.astype(complex),
        lambda: a.astype(str),
        lambda: a.astype("uint8"),
        lambda: -a.astype(float),
        lambda: a[::-1],
        lambda: np.asfortranarray(a),
        lambda: pd.DataFrame(a) if a.ndim == 2 else pd.Series(a),
    ]
    return rng.choice(ways)()
