"""Damaged and hostile files are refused, in little time and memory."""

import hashlib
import json
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest
from training_runs import OPTIONS, X, Y, hooks, network

import dagbp
from dagbp import CheckpointError, OptionError, _memory
from dagbp._files.values import Arrays, decode, encode


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "net"
    net = network()
    net.fit(X, Y, callbacks=hooks(), **OPTIONS)
    net.save(path)
    return path.read_bytes()


def with_header(data, change):
    """Return a file with a changed header, and sizes and checksum that fit."""
    prefix = struct.Struct("<8sIQQ")
    magic, version, length, _ = prefix.unpack(data[: prefix.size])
    header = json.loads(data[prefix.size : prefix.size + length])
    body = data[prefix.size + length : -32]
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(prefix.size + len(text)) % 64)
    size = prefix.size + len(text) + len(body) + 32
    content = prefix.pack(magic, version, len(text), size) + text + body
    return content + hashlib.sha256(content).digest()


def refused(tmp_path, data, message="is damaged|holds no valid network"):
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        dagbp.load(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_checkpoints_are_refused(tmp_path, whole_file):
    refused(tmp_path, b"", "was not written by dagbp")
    refused(tmp_path, b"PK\x03\x04" + bytes(100), "was not written by dagbp")
    refused(tmp_path, pickle.dumps({"a": 1}), "was not written by dagbp")
    refused(tmp_path, whole_file[:20], "is damaged: it ends within its first bytes")
    refused(tmp_path, whole_file[:-1], r"is damaged: it has [\d,]+ bytes and should have [\d,]+")
    refused(tmp_path, whole_file + b"x", "is damaged: it has")
    newer = whole_file[:8] + struct.pack("<I", 2) + whole_file[12:]
    refused(tmp_path, newer, "has format 2, of a newer dagbp; this version reads format 1")
    flipped = bytearray(whole_file)
    flipped[len(flipped) // 2] ^= 1
    refused(tmp_path, bytes(flipped), "is damaged: its checksum is wrong")
    with pytest.raises(FileNotFoundError):
        dagbp.load(tmp_path / "nothing")


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(header):
        for key in keys:
            header = header[key]
        header[last] = value

    return change


HOSTILE = {
    "a label more": lambda h: h["network"]["labels"].append("more"),
    "a label twice": lambda h: put("network", "labels", 0, h["network"]["labels"][1])(h),
    "a label of lists": put("network", "labels", 0, {"list": []}),
    "unknown value": put("network", "labels", 0, {"code": "print(1)"}),
    "no array": put("network", "src", 10**9),
    "an array before the first": put("network", "src", -1),
    "true as a number": put("network", "src", True),
    "another array": lambda h: put("network", "src", h["network"]["activation"])(h),
    "ends exchanged": lambda h: put("network", "src", h["network"]["dst"])(h),
    "a huge array": put("arrays", 0, "shape", [10**15]),
    "an array beyond": put("arrays", 0, "place", 64 * 10**9),
    "an odd place": put("arrays", 0, "place", 3),
    "an array of objects": put("arrays", 0, "dtype", "|O"),
    "a dtype that is none": put("arrays", 0, "dtype", {"names": ["a"]}),
    "a negative shape": put("arrays", 0, "shape", [-1, -4]),
    "deep": put("graph", "graph", [["k", json.loads("[" * 900 + "]" * 900)]]),
    "no network": put("network", None),
    "no names": put("network", "activation_names", []),
    "many threads": put("network", "n_threads", -5),
    "schedule": put("network", "schedule", "all"),
    "dense": put("network", "dense_above", 0),
    "an edge beyond": put("graph", "edges", [[10**6, []]]),
    "epoch": put("training", "epoch", -1),
    "step": put("training", "step", 1.5),
    "history": put("training", "history", "loss"),
    "moments": lambda h: put("training", "moments", h["network"]["src"])(h),
    "callbacks": put("training", "callbacks", [["EarlyStopping"]]),
    "endless steps": put("training", "optimizer_steps", 2**63 - 2),
    "no steps": put("training", "optimizer_steps", 0),
    "far": put("training", "epoch", 2**61),
    "losses": put("training", "history", {"dict": [["loss", {"list": []}]]}),
    "parameters": lambda h: put("training", "parameters", h["network"]["src"])(h),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path, whole_file, name):
    refused(tmp_path, with_header(whole_file, HOSTILE[name]))


def test_a_header_that_is_not_changed_is_fine(tmp_path, whole_file):
    path = tmp_path / "same"
    path.write_bytes(with_header(whole_file, lambda header: None))
    assert dagbp.load(path).history.loss


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("training", "step", 10**6), r"the last run was at step 1000000 of an epoch, but an "),
        (
            put("training", "learning_rate", -1.0),
            r"learning_rate to -1.0; it must be a number >= 0",
        ),
        (
            lambda h: fewer_moments(h),
            r"the last run kept 1 numbers for each parameter, but Adam.* needs 2",
        ),
    ],
)
def test_a_hostile_state_is_refused_where_it_is_used(tmp_path, whole_file, change, message):
    path = tmp_path / "net"
    path.write_bytes(with_header(whole_file, change))
    net = dagbp.load(path)
    before = net.parameters
    with pytest.raises(OptionError, match=message):
        net.fit(X, Y, callbacks=[], resume=True, **{**OPTIONS, "epochs": 9})
    assert np.array_equal(net.parameters, before)


def fewer_moments(header):
    header["arrays"][header["training"]["moments"]]["shape"][0] = 1


def test_weights_that_are_not_finite_are_refused(tmp_path):
    net = network()
    net.save(tmp_path / "net")
    data = (tmp_path / "net").read_bytes()
    value = np.float32(net.parameters[0]).tobytes()
    assert data.count(value) == 1
    content = data.replace(value, np.float32(np.nan).tobytes())[:-32]
    refused(tmp_path, content + hashlib.sha256(content).digest(), "parameters must be finite")


def mutate(data, rng):
    """Return a damaged copy."""
    data, way = bytearray(data), rng.integers(6)
    place = int(rng.integers(len(data)))
    if way == 0:
        data[place] ^= 1 << int(rng.integers(8))
    elif way == 1:
        del data[place:]
    elif way == 2:
        size = int(rng.integers(1, 64))
        data[place : place + size] = rng.bytes(size)
    elif way == 3:
        del data[place : place + int(rng.integers(1, 64))]
    elif way == 4:
        data[place:place] = rng.bytes(int(rng.integers(1, 64)))
    else:  # damaged, with a checksum that fits
        edge = int(rng.integers(28, len(data) - 32))
        data[edge] = int(rng.integers(256))
        data[-32:] = hashlib.sha256(data[:-32]).digest()
    return bytes(data)


@pytest.mark.slow
def test_damaged_files_are_refused_or_load(tmp_path, whole_file):
    """2,500 files: each is refused as documented, or, if it loads, its network runs."""
    rng = np.random.default_rng(0)
    path = tmp_path / "bad"
    refused_, loaded = 0, 0
    for _ in range(2500):
        data = mutate(whole_file, rng)
        path.write_bytes(data)
        try:
            net = dagbp.load(path)
        except CheckpointError:
            refused_ += 1
            continue
        loaded += 1
        assert data == whole_file or data[-32:] == hashlib.sha256(data[:-32]).digest()
        assert np.isfinite(net.parameters).all()
        net.predict(np.zeros((2, len(net.inputs))))
    assert refused_ > 2000
    assert loaded > 10


def test_arrays_that_overlap_are_refused(tmp_path, whole_file):
    def twice(header):
        header["arrays"].append({**header["arrays"][0], "place": header["arrays"][0]["place"]})

    path = tmp_path / "net"
    path.write_bytes(with_header(whole_file, twice))
    with pytest.raises(CheckpointError, match="an array at 0, inside the previous one"):
        dagbp.load(path)


SAME_HASH = [k * (2**61 - 1) for k in range(35_000)]  # 0.7 MB; all have the hash 0


@pytest.mark.parametrize(
    "change",
    [
        put("graph", "graph", [["k", {"set": SAME_HASH}]]),
        put("graph", "graph", [["k", {"frozenset": SAME_HASH}]]),
        put("graph", "graph", [["k", {"dict": [[k, 0] for k in SAME_HASH]}]]),
        put("graph", "graph", [[k, 0] for k in SAME_HASH]),
        put("network", "labels", SAME_HASH),
    ],
    ids=["set", "frozenset", "dict", "attributes", "labels"],
)
def test_values_that_share_a_hash_are_refused_at_once(tmp_path, whole_file, change):
    begun = time.monotonic()
    refused(tmp_path, with_header(whole_file, change), "at most 100 values of a set, dict or list")
    assert time.monotonic() - begun < 10  # without a limit, two minutes


def test_some_values_may_share_a_hash():
    values = {*SAME_HASH[:100], *range(1000)}
    arrays = Arrays()
    assert decode(encode(values, arrays), arrays) == values


@pytest.mark.parametrize("value", ["[],", "[0],", "{},", '{"":0},', '"ab",', "[[[[]]]],", "1000,"])
def test_a_header_is_refused_before_it_takes_more_than_the_memory(tmp_path, monkeypatch, value):
    """The estimate is not below what parsing takes; a refused file takes a few times its size."""
    text = ('{"arrays":[' + value * (10**6 // len(value)) + "0]}").encode()
    tracemalloc.start()
    header = json.loads(text)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del header
    prefix = struct.Struct("<8sIQQ")
    content = prefix.pack(b"\x89DAGBP\r\n", 1, len(text), prefix.size + len(text) + 32) + text
    path = tmp_path / "net"
    path.write_bytes(content + hashlib.sha256(content).digest())
    monkeypatch.setattr(_memory, "available_bytes", lambda: taken)
    tracemalloc.start()
    with pytest.raises(dagbp.MemoryLimitError, match=r"the header of .* needs .* available"):
        dagbp.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(text)
