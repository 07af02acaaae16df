"""Samples, targets and weights: every layout of an array works, and invalid ones are refused."""

import fractions
from functools import partial

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from comparing import assert_near
from networks import network as compiled

import dagbp
from dagbp import DataError, OptionError
from dagbp._data.arrays import numeric

X = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5], [0.0, 3.0], [1.0, 1.0]])
Y = np.array([[0.25, 1], [-1.0, 0], [0.5, 0.5], [2.0, -1], [-0.125, 0]])
W = np.array([1.0, 0.0, 2.5, 0.5, 1.0])


#: A network of inputs a, b and outputs y, z.
G = nx.DiGraph([("a", "h"), ("b", "h"), ("h", "y"), ("a", "y"), ("h", "z")])
network = partial(compiled, G, dtype="float64", seed=3)


# ---------------------------------------------------------------------------- what simply works


def strided(a):
    wide = np.full((3 * len(a), *[2 * k for k in a.shape[1:]]), np.nan, a.dtype)
    part = wide[(slice(None, None, 3), *[slice(None, None, 2)] * (a.ndim - 1))]
    part[...] = a
    return part


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    memory = bytearray(a.nbytes + 1)
    memory[1:] = a.tobytes()
    found = np.frombuffer(memory, a.dtype, offset=1).reshape(a.shape)
    assert not found.flags.aligned
    return found


def byte_swapped(a):
    return a.astype(a.dtype.newbyteorder())


class ArrayLike:
    def __init__(self, a):
        self.a = a

    def __array__(self, dtype=None, copy=None):
        return self.a


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "byte-swapped": byte_swapped,
    "single": lambda a: a.astype("float32"),
    "half": lambda a: a.astype("float16"),
    "long double": lambda a: a.astype(np.longdouble),
    "objects": lambda a: a.astype(object),
    "fractions": lambda a: np.vectorize(fractions.Fraction, otypes=[object])(a),
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(a.tolist()),
    "array-like": ArrayLike,
    "memoryview": memoryview,
    "masked, nothing masked": np.ma.masked_array,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layout_gives_the_same_bits(layout, dtype):
    change, net = LAYOUTS[layout], network(dtype=dtype)
    x, y, w = change(X), change(Y), change(W)
    assert np.array_equal(net.predict(x), net.predict(X))
    found = net.loss_and_gradient(x, y, sample_weight=w)
    expected = net.loss_and_gradient(X, Y, sample_weight=W)
    assert found[0] == expected[0]
    assert np.array_equal(found[1], expected[1])
    for part in ("s", "x"):
        forward = getattr(net.forward(x), part)
        for node, values in getattr(net.forward(X), part).items():
            assert np.array_equal(forward[node], values)
    options = {"epochs": 2, "batch_size": 2, "seed": 0, "verbose": 0}
    found = net.fit(x, y, sample_weight=w, validation_data=(x, y, w), **options)
    other = network(dtype=dtype)
    expected = other.fit(X, Y, sample_weight=W, validation_data=(X, Y, W), **options)
    assert (found.loss, found.val_loss) == (expected.loss, expected.val_loss)
    assert np.array_equal(net.parameters, other.parameters)
    net.parameters = change(other.parameters.astype(dtype))


def test_a_memory_map(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.array_equal(network().predict(mapped), network().predict(X))


@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int64", "uint64"])
def test_integers_are_numbers(kind):
    whole = (X > 0).astype(kind)
    net = network()
    assert np.array_equal(net.predict(whole), net.predict(whole.astype(float)))
    assert net.evaluate(whole, whole) == net.evaluate(whole.astype(float), whole.astype(float))


def test_nothing_given_is_written_to():
    given = [read_only(a.astype("float32")) for a in (X, Y, W)]
    net = network(dtype="float32")
    net.fit(given[0], given[1], sample_weight=given[2], epochs=3, batch_size=2, verbose=0)
    for a, original in zip(given, (X, Y, W), strict=True):
        assert np.array_equal(a, original.astype("float32"))


def test_one_output_takes_a_flat_target():
    net = dagbp.compile(nx.DiGraph([("a", "y"), ("b", "y")]), dtype="float64", seed=0)
    assert net.evaluate(X, Y[:, 0]) == net.evaluate(X, Y[:, :1])
    assert net.evaluate(X, pd.Series(Y[:, 0])) == net.evaluate(X, Y[:, :1])


# ---------------------------------------------------------------------------- data frames


def test_data_frames_go_by_name():
    net = network()
    x = pd.DataFrame({"b": X[:, 1], "unused": "text", "a": X[:, 0]}, index=range(5, 10))
    y = pd.DataFrame({"z": Y[:, 1], "y": Y[:, 0]})
    assert np.array_equal(net.predict(x), net.predict(X))
    assert net.evaluate(x, y) == net.evaluate(X, Y)
    assert net.evaluate(x, y, sample_weight=pd.Series(W)) == net.evaluate(X, Y, sample_weight=W)


def test_data_frames_go_by_labels_that_are_no_strings():
    G = nx.DiGraph([(0, "y"), ((1, "cell"), "y")])
    net = dagbp.compile(G, seed=0)
    frame = pd.DataFrame(X[:, ::-1])
    frame.columns = pd.Index([(1, "cell"), 0], dtype=object, tupleize_cols=False)
    assert np.array_equal(net.predict(frame), net.predict(X))


def test_data_frames_without_names_go_by_order():
    net, targets = network(), pd.DataFrame(Y)
    assert np.array_equal(net.predict(pd.DataFrame(X)), net.predict(X))
    assert net.evaluate(pd.DataFrame(X), targets) == net.evaluate(X, Y)
    G = nx.DiGraph([(1, "y"), (0, "y")])
    for inputs, columns in (((0, 1), [0, 1]), ((1, 0), [0.5, 1]), ((1, 0), ["0", "1"])):
        net = dagbp.compile(G, inputs, seed=0)
        frame = pd.DataFrame(X, columns=columns)
        if columns == [0, 1]:
            assert np.array_equal(net.predict(frame), net.predict(X))
        else:
            with pytest.raises(DataError, match="without a column for"):
                net.predict(frame)
    with pytest.raises(DataError, match=r"numbered from 0, but the nodes have .* order, 1, 0"):
        net.predict(pd.DataFrame(X))
    assert np.array_equal(net.predict(pd.DataFrame(X)[[1, 0]]), net.predict(X[:, ::-1]))


def test_a_data_frame_of_one_column_of_targets_needs_no_name():
    G = nx.DiGraph([("a", "y"), ("b", "y")])
    net = dagbp.compile(G, seed=0)
    frame = pd.DataFrame({"target": Y[:, 0]})
    assert net.evaluate(X, frame) == net.evaluate(X, Y[:, 0])
    labels = (Y[:, 0] > 0).astype(int)
    net, loss = network(), "softmax_cross_entropy"
    assert net.evaluate(X, pd.DataFrame({"q": labels}), loss) == net.evaluate(X, labels, loss)
    with pytest.raises(DataError, match=r"Y is a DataFrame without a column for 2 of 2 nodes"):
        net.evaluate(X, frame)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1.0]}), r"X is a DataFrame without a column for 1 of 2 nodes: 'b';"),
        (
            pd.DataFrame({"x": [1.0], "y": [2.0]}),
            r"without a column for 2 of 2 nodes: 'a', 'b'; name its",
        ),
        (pd.DataFrame([[1.0, 2.0, 3.0]]), r"without a column for 2 of 2 nodes: 'a', 'b'; name"),
        (
            pd.DataFrame({"a": ["q"], "b": [1.0]}),
            r"column 'a' of X must hold real numbers, got text",
        ),
        (
            pd.DataFrame({"b": [1.0, 2.0], "a": [1.0, np.inf]}),
            r"column 'a' of X must be finite, got inf in row 1",
        ),
        (pd.DataFrame({"a": [1.0], "b": [None]}), r"X must "),
        (pd.DataFrame({"a": [1.0], "b": pd.array([pd.NA], "Int64")}), r"X must "),
        (
            pd.DataFrame({"a": [1], "b": [pd.Timestamp(0)]}),
            r"column 'b' of X must hold real numbers, got dtype datetime64",
        ),
        (
            pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]),
            r"X must have one column 'a', got 2",
        ),
    ],
)
def test_bad_data_frames(frame, message):
    with pytest.raises(DataError, match=message):
        network().predict(frame)


# ---------------------------------------------------------------------------- what is refused

BAD_X = [
    (
        X[:, :1],
        r"X must have shape \(n_samples, 2\), .* \('a', 'b'\), got shape \(5, 1\)",
    ),
    (X[0], r"X must have shape .* got shape \(2,\)"),
    (X[None], r"X must have shape .* got shape \(1, 5, 2\)"),
    (3.0, r"X must have shape .* got shape \(\)"),
    ([], r"X must have shape .* got shape \(0,\)"),
    ([[1.0, 2.0], [3.0]], r"X must be an array of real numbers: "),
    ([[1.0, np.nan]], r"X must be finite, got nan at index \(0, 1\)"),
    ([[1.0, 0.0], [-np.inf, 0.0]], r"X must be finite, got -inf at index \(1, 0\)"),
    ([[1.0, "2"]], r"X must hold real numbers, got text$"),
    ([[1j, 2]], r"X must hold real numbers, got dtype complex128"),
    ([[None, 2]], r"X must be finite, got nan at index \(0, 0\)"),
    ([[10**400, 2]], r"X must be an array of real numbers: "),
    (np.zeros((2, 2), "datetime64[s]"), r"X must hold real numbers, got dtype datetime64"),
    (np.zeros(2, "i4,i4"), r"X must hold real numbers, got dtype"),
    (np.ma.masked_less(X, 0), r"X has masked entries; fill them first"),
    (None, r"X must be an array of real numbers, got None"),
    ({"a": 1}, r"X must be an array of real numbers"),
    ("text", r"X must hold real numbers"),
    (object(), r"X must be an array of real numbers"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_X)
def test_bad_features(bad, message):
    net = network()
    before = net.parameters
    for call in (
        net.predict,
        net.forward,
        lambda x: net.backprop(x, Y),
        lambda x: net.loss_and_gradient(x, Y),
        lambda x: net.evaluate(x, Y),
        lambda x: net.fit(x, Y, verbose=0),
        lambda x: net.fit(X, Y, validation_data=(x, Y), verbose=0),
    ):
        with pytest.raises(DataError, match=message):
            call(bad)
    assert np.array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("bad", "loss", "message"),
    [
        (Y[:, 0], "squared_error", r"Y must have shape \(n_samples, 2\).*softmax_cross_entropy"),
        (Y[:, :1], "huber", r"Y must have shape \(n_samples, 2\), one column for each output, got"),
        (Y[:4], "huber", r"Y has 4 samples, X has 5; they must be equal"),
        (Y + np.nan, "huber", r"Y must be finite, got nan at index \(0, 0\)"),
        ([*Y[:, 0], [1]], "huber", r"Y must be an array of real numbers"),
        (None, "huber", r"Y must be an array of real numbers, got None"),
        (
            Y,
            "binary_cross_entropy",
            r"'binary_cross_entropy' needs targets in \[0, 1\], got -1.0 at",
        ),
        (Y, "softmax_cross_entropy", r"needs targets in \[0, 1\], got -1.0 at index \(1, 0\)"),
        ([0, 1, 2, 0, 0], "softmax_cross_entropy", r"must be 0 ... 1, .* got 2 at sample 2"),
        ([0, -1, 1, 0, 0], "softmax_cross_entropy", r"must be 0 ... 1, .* got -1 at sample 1"),
        ([0, 1, 0.5, 0, 0], "softmax_cross_entropy", r"whole numbers, got 0.5 at sample 2"),
        ([0, 1, np.nan, 0, 0], "softmax_cross_entropy", r"whole numbers, got nan at sample 2"),
        ([0, 1e300, 0, 0, 0], "softmax_cross_entropy", r"whole numbers, got 1e\+300 at sample 1"),
        (
            np.full(5, 2**64 - 1, "uint64"),
            "softmax_cross_entropy",
            r"must be 0 ... 1, .* at sample 0",
        ),
        ([0, 1], "softmax_cross_entropy", r"Y has 2 samples, X has 5"),
        (
            ["cat"] * 5,
            "softmax_cross_entropy",
            r"Y must hold real numbers, got text; number",
        ),
    ],
)
def test_bad_targets(bad, loss, message):
    net = network()
    before = net.parameters
    for call in (
        lambda: net.backprop(X, bad, loss),
        lambda: net.loss_and_gradient(X, bad, loss=loss),
        lambda: net.evaluate(X, bad, loss=loss),
        lambda: net.fit(X, bad, loss=loss, verbose=0),
        lambda: net.fit(X, np.eye(5, 2), loss=loss, validation_data=(X, bad), verbose=0),
    ):
        with pytest.raises(DataError, match=message):
            call()
    assert np.array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (W[:4], r"sample_weight must have shape \(5,\), got shape \(4,\)"),
        (W[:, None], r"sample_weight must have shape \(5,\), got shape \(5, 1\)"),
        (1.0, r"sample_weight must have shape \(5,\), got shape \(\)"),
        (W - 1, r"sample_weight must be >= 0, got -1.0 at sample 1"),
        (W * 0, r"sample_weight must have a positive sum, got zeros only"),
        (W + np.inf, r"sample_weight must be finite, got inf at index \(0,\)"),
        (["heavy"] * 5, r"sample_weight must hold real numbers"),
    ],
)
def test_bad_sample_weights(bad, message):
    net = network()
    before = net.parameters
    for call in (net.backprop, net.loss_and_gradient, net.evaluate, net.fit):
        with pytest.raises(DataError, match=message):
            call(X, Y, sample_weight=bad)
    with pytest.raises(DataError, match=message):
        net.fit(X, Y, validation_data=(X, Y, bad))
    assert np.array_equal(net.parameters, before)


@pytest.mark.parametrize("bad", [X, (X,), (X, Y, W, W), 3, "XY", None.__class__, {"X": X}])
def test_bad_validation_data(bad):
    with pytest.raises(OptionError, match=r"validation_data must be a tuple \(X, Y\) or \(X, Y, s"):
        network().fit(X, Y, validation_data=bad, verbose=0)


# ---------------------------------------------------------------------------- what weights mean


def test_weights_scale_to_a_mean_of_one():
    net = network()
    one = net.loss_and_gradient(X, Y, sample_weight=W)
    for scale in (1e-3, 7, 1e300, 5e307):
        other = net.loss_and_gradient(X, Y, sample_weight=scale * W)
        assert_near(other[0], one[0], 1e-14)
        assert_near(other[1], one[1], 1e-14)
    each = [net.evaluate(X[k : k + 1], Y[k : k + 1]) for k in range(5)]
    assert_near(one[0], np.average(each, weights=W), 1e-14)


def test_whole_weights_are_repeated_samples():
    net = network()
    times = [1, 0, 3, 2, 1]
    one = net.loss_and_gradient(X, Y, sample_weight=times)
    many = net.loss_and_gradient(np.repeat(X, times, axis=0), np.repeat(Y, times, axis=0))
    assert_near(one[0], many[0], 1e-14)
    assert_near(one[1], many[1], 1e-14)


def test_numbers_beyond_single_precision_are_refused():
    with pytest.raises(
        DataError, match=r"X must be finite, got 1e\+39 at index \(0, 0\), which is"
    ):
        network(dtype="float32").predict([[1e39, 0]])
    assert np.isfinite(network(dtype="float64").predict([[1e39, 0]])).all()


def test_finite_values_with_an_infinite_sum_are_accepted():
    largest = np.finfo(np.float32).max
    array = np.full((110, 100), largest, np.float32)
    assert numeric(array, array.dtype, "X") is array
    array[:, ::2] *= -1
    array[109, 99] = np.nan
    with pytest.raises(DataError, match=r"X must be finite, got nan at index \(109, 99\)"):
        numeric(array, array.dtype, "X")


@pytest.mark.parametrize("method", ["evaluate", "loss_and_gradient", "backprop", "profile"])
def test_no_samples(method):
    net, none = network(), np.empty((0, 2))
    assert net.predict(none).shape == (0, 2)
    with pytest.raises(DataError, match=r"^X has no samples; a loss needs at least one$"):
        getattr(net, method)(none, none)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_whose_squares_overflow_are_taken(dtype):
    net = dagbp.Network.from_edges([0, 1], [2, 2], weight=[0.5, 0.25], dtype=dtype)
    largest = np.finfo(dtype).max
    X, Y = np.array([[largest, 4.0]], dtype), np.array([[largest / 2]], dtype)
    assert net.predict(X)[0, 0] == largest / 2
    assert net.evaluate(X, Y, "absolute_error") == 0
