"""Files of networks: what a file keeps, and which values and paths are refused."""

import json
import math
import os
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import networks, random_samples
from training_runs import OPTIONS, X, Y, network

import dagbp
from dagbp import CheckpointError, DagbpWarning, OptionError
from dagbp._files.values import Arrays, decode, encode
from dagbp._network import model_of


def same_graph(a, b):
    assert list(a.nodes) == list(b.nodes)
    assert list(a.edges) == list(b.edges)
    for label in a.nodes:
        assert a.nodes[label] == b.nodes[label]
    for edge in a.edges:
        assert a.edges[edge] == b.edges[edge]
    assert a.graph == b.graph


# ---------------------------------------------------------------------------- the network


@settings(max_examples=60)
@given(case=networks())
def test_save_then_load_is_the_identity(tmp_path_factory, case):
    path = tmp_path_factory.mktemp("files") / "net.dagbp"
    for dtype in ("float32", "float64"):
        net = case.compile(dtype=dtype, seed=0)
        net.save(path)
        loaded = dagbp.load(path)
        assert (loaded.inputs, loaded.outputs) == (net.inputs, net.outputs)
        assert loaded.dtype == net.dtype
        assert np.array_equal(loaded.parameters, net.parameters)
        assert dict(loaded.weights) == dict(net.weights)
        same_graph(loaded.to_networkx(), net.to_networkx())
        features, targets = random_samples(0, case, 3)
        assert np.array_equal(loaded.predict(features), net.predict(features))
        ours, theirs = (one.loss_and_gradient(features, targets) for one in (net, loaded))
        assert ours[0] == theirs[0]
        assert np.array_equal(ours[1], theirs[1])


def test_options_survive(tmp_path):
    G = dagbp.layered([40, 48, 3], density=0.9, seed=0)
    options = {"n_threads": 2, "dense_above": 0.5, "schedule": "levels"}
    net = dagbp.compile(G, seed=0, **options)
    net.save(tmp_path / "net")
    loaded = dagbp.load(str(tmp_path / "net"))
    assert loaded.n_threads == 2
    assert loaded.summary() == net.summary()
    assert (
        model_of(loaded).engine.layout.n_explicit_zeros
        == model_of(net).engine.layout.n_explicit_zeros
        > 0
    )


def test_a_network_of_arrays(tmp_path):
    net = dagbp.Network.from_edges([0, 1, 0, 2], [2, 2, 3, 3], n_nodes=5, seed=0)
    net.save(tmp_path / "net")
    loaded = dagbp.load(tmp_path / "net")
    assert loaded.inputs == [0, 1, 4]
    assert dict(loaded.weights) == dict(net.weights)
    assert loaded.to_networkx().nodes == net.to_networkx().nodes


LABELS = [
    *("a", "ä\n\0", "", 3, -(10**30), 2.5, math.inf, True, b"\0\xff", ("t", (1, None))),
    *(frozenset({1, "x"}), ()),
]


def test_labels_of_the_usual_kinds_survive(tmp_path):
    G = nx.DiGraph()
    nx.add_path(G, LABELS)
    net = dagbp.compile(G, seed=0)
    net.save(tmp_path / "net")
    labels = list(dagbp.load(tmp_path / "net").to_networkx())
    assert labels == LABELS
    assert [type(label) for label in labels] == [type(label) for label in LABELS]


def test_other_labels_are_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "net"
    path.write_text("old")
    net = dagbp.compile(nx.DiGraph([("a", complex(1, 2))]))
    with pytest.raises(
        CheckpointError, match=r"a label cannot be saved in a file: \(1\+2j\) of typ"
    ):
        net.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="links and modes of POSIX")
def test_a_link_stays_and_a_file_keeps_its_mode(tmp_path):
    file, link = tmp_path / "net", tmp_path / "latest"
    network().save(file)
    file.chmod(0o640)
    link.symlink_to(file)
    other = network()
    other.parameters = 0 * other.parameters
    other.save(link)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert not dagbp.load(file).parameters.any()
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_paths_that_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"must be a regular file, or not exist"):
        network().save(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match=r"pipe must be a regular file"):
            network().save(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match=r"missing.net'$"):
        network().save(tmp_path / "missing" / "net")
    for call in (network().save, dagbp.load):
        with pytest.raises(OptionError, match=r"path must be a str or another path-like, got None"):
            call(None)


def test_attributes_are_saved_or_a_warning_names_them(tmp_path):
    G = nx.DiGraph([("a", "y")], title="t", when=(1, {"k": [np.float32(0.5), {2}]}))
    G.nodes["a"].update(pos=(0.5, -1.0), picture=np.arange(3.0))
    G.edges["a", "y"].update(kind={"x": None}, trainable=False)
    net = dagbp.compile(G)
    net.save(tmp_path / "net")
    back = dagbp.load(tmp_path / "net").to_networkx()
    assert back.graph == {"title": "t", "when": (1, {"k": [0.5, {2}]})}
    assert back.nodes["a"]["pos"] == (0.5, -1.0)
    assert back.nodes["a"]["picture"].tolist() == [0, 1, 2]
    assert back.edges["a", "y"]["kind"] == {"x": None}
    assert not model_of(dagbp.load(tmp_path / "net")).engine.parameters.trained[0]
    G.nodes["y"]["thing"] = object()
    with pytest.warns(DagbpWarning, match="attributes 'thing' of the graph have values") as caught:
        dagbp.compile(G).save(tmp_path / "net")
    assert caught[0].filename == __file__
    assert "thing" not in dagbp.load(tmp_path / "net").to_networkx().nodes["y"]


@pytest.mark.parametrize("value", [0.1, 1e-320, -0.0, math.nan, -math.inf, 10**40, "\ud83d"])
def test_values_are_decoded_to_the_same_bits(value):
    text = json.dumps(encode(value, Arrays()), allow_nan=False)
    back = decode(json.loads(text), Arrays())
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_a_users_activation_must_be_registered(tmp_path):
    dagbp.activations.register("saved", lambda s: 2 * s, lambda s, x: 2.0, overwrite=True)
    net = dagbp.compile(nx.DiGraph([("a", "y")]), output_activation="saved", seed=0)
    net.save(tmp_path / "net")
    assert np.array_equal(dagbp.load(tmp_path / "net").predict([[1.0]]), net.predict([[1.0]]))
    code = "import sys, dagbp; dagbp.load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "net"], check=False, capture_output=True, text=True
    )
    assert "a node has activation 'saved', which is not registered; register it be" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a file of another kind of folder")
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    net, path = network(), tmp_path / "net"
    net.save(path)
    old = path.read_bytes()
    net.fit(X, Y, **OPTIONS)

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        net.save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
