"""Features of other forms than the network's own: sparse, memory-mapped, large, strided."""

import math
import tracemalloc
import warnings
from functools import partial

import numpy as np
import pytest
from comparing import assert_near
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network as compiled
from scipy import sparse

import dagbp
from dagbp import DataError
from dagbp._data import features as _features
from dagbp.callbacks import Callback

RNG = np.random.default_rng(0)
N, INPUTS = 150, 37
G = dagbp.layered([INPUTS, 20, 2], density=0.7, activation="tanh", seed=0)
Y = RNG.normal(size=(N, 2))


network = partial(compiled, G)


def some_sparse(density=0.2, seed=0, n=N):
    return sparse.random_array((n, INPUTS), density=density, rng=seed, format="csr")


def mapped(tmp_path, values):
    """Return a memory-mapped copy: mapped arrays are read in place, even small ones."""
    X = np.memmap(tmp_path / "x", dtype=values.dtype, mode="w+", shape=values.shape)
    X[:] = values
    return X


def assert_alike(net, X, dense, options=()):
    """Assert that every call gives the same bits for both."""
    dense = np.ascontiguousarray(dense, net.dtype)
    assert np.array_equal(net.predict(X), net.predict(dense))
    assert net.evaluate(X, Y) == net.evaluate(dense, Y)
    found, expected = net.loss_and_gradient(X, Y), net.loss_and_gradient(dense, Y)
    assert found[0] == expected[0]
    assert np.array_equal(found[1], expected[1])
    node = net.inputs[3]
    assert np.array_equal(net.forward(X).x[node], dense[:, 3])
    ours, theirs = network(net.dtype), network(net.dtype)
    one = ours.fit(X, Y, epochs=2, batch_size=33, seed=1, verbose=0, validation_data=(X, Y))
    two = theirs.fit(dense, Y, epochs=2, batch_size=33, seed=1, verbose=0, validation_data=(X, Y))
    assert (one.loss, one.val_loss) == (two.loss, two.val_loss)
    assert np.array_equal(ours.parameters, theirs.parameters)


# ---------------------------------------------------------------------------- sparse


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
def test_every_sparse_form(form, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sparse.SparseEfficiencyWarning)
        X = some_sparse().asformat(form)
    assert_alike(network(dtype), X, X.toarray())


def test_matrices_as_well_as_arrays():
    X = sparse.csr_matrix(some_sparse())
    assert_alike(network(), X, X.toarray())


@pytest.mark.parametrize("kind", ["?", "b", "B", "h", "i", "q", "f", "d"])
def test_entries_of_every_dtype(kind):
    X = some_sparse()
    X.data = (10 * X.data).astype(kind)
    assert_alike(network(), X, X.toarray().astype("f4"))


def test_entries_in_no_order_and_twice():
    indptr = np.arange(0, 4 * N + 1, 4)
    indices = np.tile([5, 2, 5, 0], N)
    X = sparse.csr_array((np.arange(4.0 * N) / 64, indices, indptr), shape=(N, INPUTS))
    assert not X.has_canonical_format
    before = X.indices.copy(), X.data.copy()
    assert_alike(network(), X, X.toarray())
    assert np.array_equal(X.indices, before[0])
    assert np.array_equal(X.data, before[1])


def test_changes_of_the_matrix_during_a_run_have_no_effect():
    """Kernels do not check bounds, so the structure must not change while they run."""
    X = some_sparse()

    class Ruin(Callback):
        def on_epoch_end(self, progress):
            X.indices[:] = 2**30
            X.indptr[:] = 2**30

    net, other, dense = network(), network(), X.toarray()
    net.fit(X, Y, epochs=3, seed=0, callbacks=[Ruin()])
    other.fit(dense, Y, epochs=3, seed=0)
    assert np.array_equal(net.parameters, other.parameters)


def test_no_entries_and_no_rows():
    X = sparse.csr_array((N, INPUTS))
    assert_alike(network(), X, np.zeros((N, INPUTS)))
    assert network().predict(X[:0]).shape == (0, 2)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("ways", ["tiles", "levels"])
def test_sparse_features_on_threads(n_threads, ways):
    X = some_sparse()
    net, other = (network(n_threads=n_threads, schedule=ways) for _ in range(2))
    net.fit(X, Y, epochs=3, seed=0, verbose=0)
    other.fit(X.toarray(), Y, epochs=3, seed=0, verbose=0)
    assert np.array_equal(net.parameters, other.parameters)


def test_a_sparse_matrix_is_never_dense():
    """A copy in float32 would take 240 MB."""
    n, columns = 2_000, 30_000
    net = dagbp.Network.from_edges(
        np.arange(columns), np.full(columns, columns), n_nodes=columns + 1, seed=0, n_threads=1
    )
    X = sparse.random_array((n, columns), density=1e-4, rng=0, format="csr")
    tracemalloc.start()
    try:
        history = net.fit(X, np.zeros(n), epochs=1, verbose=0)
        assert net.predict(X).shape == (n, 1)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
    assert math.isfinite(history.loss[0])


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0, 1), n=st.integers(1, 70))
def test_random_sparse_matrices(seed, density, n):
    X = some_sparse(density, seed, n)
    net = network("float64")
    assert_near(net.predict(X), net.predict(X.toarray()), 1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:, 1:], r"X must have shape \(n_samples, 37\), .* got shape \(150, 36\)"),
        (lambda X: X * 1j, r"X must hold real numbers, got dtype complex128"),
        (lambda X: with_entry(X, np.nan), r"X must be finite, got nan at index \(0, \d+\)"),
        (lambda X: with_entry(X, np.inf), r"X must be finite, got inf at index \(0, \d+\)"),
        (lambda X: with_entry(X, 1e300), r"got 1e\+300 at index .*which is beyond float32"),
        (lambda X: with_index(X, 37), r"X must be a valid sparse matrix: "),
        (lambda X: with_index(X, -1), r"X must be a valid sparse matrix: "),
        (lambda X: with_index(X, 2**30), r"X must be a valid sparse matrix: "),
        (lambda X: with_pointer(X), r"X must be a valid sparse matrix: "),
    ],
)
def test_bad_sparse_matrices(change, message):
    X = some_sparse(0.5)
    with pytest.raises(DataError, match=message):
        network().predict(change(X))


def test_entries_of_one_place_whose_sum_overflows():
    X = sparse.csr_array(([3e38, 3e38], [0, 0], [0, 2]), shape=(1, 1))
    net = dagbp.compile(dagbp.layered([1, 1]), seed=0)
    with pytest.raises(
        DataError, match=r"X must be finite, got 6e\+38 at index \(0, 0\), which is"
    ):
        net.predict(X)
    assert X.nnz == 2


def with_entry(X, value):
    X.data[0] = value
    return X


def with_index(X, column):
    X.indices[-1] = column
    return X


def with_pointer(X):
    X.indptr[3] = 10**6
    return X


# ---------------------------------------------------------------------------- mapped, strided

KINDS = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "f", "d"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_mapped_arrays_of_every_dtype(tmp_path, kind, dtype):
    X = mapped(tmp_path, RNG.integers(0, 100, size=(N, INPUTS)).astype(kind))
    assert_alike(network(dtype), X, np.array(X))


@pytest.mark.parametrize(
    "view",
    [
        lambda X: X[::2, 3 : 3 + INPUTS],
        lambda X: X[:N, :INPUTS],
        lambda X: np.broadcast_to(X[0, :INPUTS], (N, INPUTS)),
        lambda X: X[:N, :INPUTS][::-1],  # rows backwards are copied
        lambda X: np.array(X[:N, :INPUTS], order="F", subok=True),
        lambda X: X[:N, :INPUTS].astype(">f8"),
        lambda X: X[:N, :INPUTS].astype("f2"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_views_of_every_kind(tmp_path, view, dtype):
    X = view(mapped(tmp_path, RNG.normal(size=(2 * N, 50))))
    assert_alike(network(dtype), X, np.array(X))


def test_a_mapped_array_is_not_copied(tmp_path, monkeypatch):
    """A mapped array may be larger than the memory."""
    net = dagbp.compile(dagbp.layered([64, 4, 1], seed=0), seed=0)
    X = np.memmap(tmp_path / "x", dtype="u1", mode="w+", shape=(200_000, 64))
    taken = []
    monkeypatch.setattr(_features, "require", lambda n, what: taken.append((n, what)))
    net.fit(X, np.zeros(len(X)), epochs=1, batch_size=10_000, verbose=0)
    assert taken == []
    net.predict(np.asfortranarray(X[:70_000]))
    assert taken == [(70_000 * 64 * 4, "a copy of X in float32")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"X must be finite, got nan at index \(59000, 36\)"),
        (-np.inf, r"X must be finite, got -inf at index \(59000, 36\)"),
        (1e200, r"X must be finite, got 1e\+200 at index \(59000, 36\), which is beyond float32"),
    ],
)
def test_bad_numbers_in_arrays_read_in_place(tmp_path, value, message):
    """The bad number lies beyond the first part of the array, which is checked at once."""
    X = mapped(tmp_path, np.zeros((60_000, INPUTS)))
    X[59_000, 36] = value
    with pytest.raises(DataError, match=message):
        network().predict(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((N, 3)), r"X must have shape \(n_samples, 37\)"),
        (np.zeros(N), r"X must have shape \(n_samples, 37\)"),
        (np.zeros((N, INPUTS), complex), r"X must hold real numbers, got dtype complex128"),
    ],
)
def test_wrong_shapes_of_arrays_read_in_place(tmp_path, X, message):
    with pytest.raises(DataError, match=message):
        network().predict(mapped(tmp_path, X))
