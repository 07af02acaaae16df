"""Profiles: parts add up to the step, and the network does not change."""

from functools import partial

import numpy as np
import pytest

import dagbp
from dagbp._engine import profile as _profile
from dagbp._engine.profile import Part, Profile, copy_bandwidth, peak_gflops, take_profile
from dagbp._network import model_of
from dagbp.optimizers import SGD, Adam

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(200, 20)), RNG.normal(size=(200, 10))
NAMES = [
    "copy in",
    "edges, sparse rows",
    "edges, dense panels",
    "activations",
    "loss",
    "waiting",
    "reduction, optimizer",
    "refresh of weights",
]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Profile few steps."""
    quick = partial(take_profile, least_seconds=0.005)
    monkeypatch.setattr("dagbp._network.take_profile", quick)


def dense(**options):
    return dagbp.compile(dagbp.layered([20, 64, 64, 10], seed=0), seed=0, **options)


def sparse(**options):
    return dagbp.compile(dagbp.random_dag(200, 1500, 20, 10, seed=0), seed=0, **options)


@pytest.mark.parametrize("make", [dense, sparse])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_parts_add_up_to_the_timed_step(monkeypatch, make, n_threads):
    steps, measure = [], _profile._step_time

    def watched(*args):
        steps.append(measure(*args))
        return steps[-1]

    monkeypatch.setattr(_profile, "_step_time", watched)
    profile = make(n_threads=n_threads).profile(X, Y)
    plain, timed = steps
    assert profile.seconds == plain
    assert sum(part.seconds for part in profile.parts) == pytest.approx(timed, rel=1e-9)
    names = [part.name for part in profile.parts]
    assert names == [name for name in NAMES if name in names], "each once, in this order"
    always = {"copy in", "edges, sparse rows", "activations", "loss", "reduction, optimizer"}
    assert always <= set(names)
    assert ("edges, dense panels" in names) == (make is dense)
    assert n_threads > 1 or "waiting" not in names


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", SGD(clip_norm=1.0), Adam(weight_decay=0.1)])
def test_rates_are_positive_and_the_network_is_as_it_was(dtype, optimizer):
    net = dense(dtype=dtype)
    before, prediction = net.parameters, net.predict(X)
    profile = net.profile(X, Y, optimizer=optimizer, sample_weight=np.ones(200))
    assert np.array_equal(net.parameters, before)
    assert np.array_equal(net.predict(X), prediction)
    assert (profile.batch_size, type(profile)) == (200, Profile)
    assert profile.seconds > 0
    assert profile.gflops > 0
    assert profile.bandwidth > 0
    for part in profile.parts:
        assert isinstance(part, Part)
        assert part.seconds > 0
        assert part.unit in ("GF/s", "GB/s", "")
        if part.unit:
            assert part.rate > 0
            limit = profile.gflops if part.unit == "GF/s" else profile.bandwidth
            assert part.share == pytest.approx(part.rate / limit)
        else:
            assert part.rate == part.share == 0


def test_rates_count_edges_that_exist():
    """Explicit zeros of filled blocks are computed but not counted."""
    G = dagbp.layered([40, 64, 64, 10], density=0.8, seed=0)
    data = RNG.normal(size=(64, 40)), RNG.normal(size=(64, 10))
    net = dagbp.compile(G, seed=0, dense_above=0.5, n_threads=1)
    assert model_of(net).engine.layout.n_explicit_zeros > 0
    profile = net.profile(*data)
    done = sum(p.rate * p.seconds for p in profile.parts if p.unit == "GF/s") * 1e9
    from_inputs = sum(1 for u, _ in G.edges if not G.pred[u])
    expected = 2 * 64 * (3 * net.n_edges - from_inputs)
    assert done == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("ways", ["tiles", "levels"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_profile_uses_the_threads_of_the_tile_plan(ways, n_threads):
    net = dense(n_threads=n_threads, schedule=ways)
    profile = net.profile(X, Y)
    assert profile.n_threads == model_of(net).engine.tile_planner.choose(200, n_threads).n_threads
    assert profile.n_threads <= n_threads
    if ways == "levels":
        assert profile.n_threads == n_threads
    one = dense(n_threads=1).profile(X, Y)
    assert profile.gflops == pytest.approx(profile.n_threads * one.gflops)


def test_the_table():
    parts = (
        Part("copy in", 0.001, 12.5, "GB/s", 0.25),
        Part("edges, sparse rows", 0.0025, 1234.5, "GF/s", 0.5),
        Part("loss", 0.0005),
        Part("refresh of weights", 0.0, 75.0, "GB/s", 1.5),
    )
    one = Profile(0.0039, parts, 1000, 1, 2469.0, 50.0)
    lines = str(one).splitlines()
    assert lines[0] == "3.900 ms a training step of 1,000 samples on 1 thread"
    assert lines[1] == "limits here: 2,469 GF/s of multiply-adds, 50.0 GB/s of a copy in memory"
    assert lines[2].split() == ["part", "ms", "share", "rate", "of", "limit"]
    assert lines[3].split() == ["copy", "in", "1.000", "25.0%", "12.5", "GB/s", "25%"]
    assert lines[4].split()[-5:] == ["2.500", "62.5%", "1,234.5", "GF/s", "50%"]
    assert lines[5].split() == ["loss", "0.500", "12.5%"]
    assert lines[6].split()[-3:] == ["75.0", "GB/s", "cached"]
    assert len({len(line) for line in lines[2:5]}) == 1, "columns stand under each other"
    assert "on 3 threads" in str(Profile(1.0, parts, 1, 3, 1.0, 1.0))


def test_a_profile_prints():
    text = str(dense().profile(X, Y))
    assert "a training step of 200 samples on" in text
    assert "edges, dense panels" in text


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_step_that_is_not_finite_diverges_and_changes_nothing(n_threads):
    net = dense(dtype="float64", n_threads=n_threads)
    before = net.parameters
    with pytest.raises(dagbp.DivergenceError, match="step to profile is not finite"):
        net.profile(X, Y * 1e200)
    with pytest.raises(dagbp.DivergenceError):
        net.profile(X, Y, optimizer=SGD(learning_rate=1e300))
    assert np.array_equal(net.parameters, before)
    net.profile(X, Y)


def test_a_profile_needs_samples():
    with pytest.raises(dagbp.DataError, match="X has no samples"):
        dense().profile(np.empty((0, 20)), np.empty((0, 10)))
    with pytest.raises(dagbp.DataError, match="shape"):
        dense().profile(X[:, :3], Y)
    with pytest.raises(dagbp.OptionError, match="unknown optimizer"):
        dense().profile(X, Y, optimizer="sdg")


@pytest.mark.filterwarnings("ignore::dagbp.UnreachableWarning")
def test_a_profile_of_a_tiny_network():
    net = dagbp.Network.from_edges([0], [1], seed=0)
    assert net.profile([[1.0]], [[1.0]]).batch_size == 1
    net = dagbp.Network.from_edges([], [], n_nodes=2, inputs=[0], outputs=[0, 1])
    assert net.profile(np.ones((3, 1)), np.ones((3, 2))).parts


def test_the_machines_limits_are_measured_once():
    assert peak_gflops("<f4") == peak_gflops("<f4") > 0
    assert peak_gflops("<f8") > 0
    assert copy_bandwidth() == copy_bandwidth() > 0
