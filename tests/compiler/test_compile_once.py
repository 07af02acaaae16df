"""Nothing recompiles for a new topology, option or size, nor in a second process."""

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from naive import LOSSES
from networks import run_python
from numba.core.dispatcher import Dispatcher

import dagbp
import dagbp._kernels
from dagbp._compiler import disk_cache
from dagbp._kernels.passes import entry_points as run
from dagbp._machine import TILE_COST

PACKAGE = Path(dagbp.__file__).parent


def kernels():
    """Yield every jitted function of the package, with its name."""
    own = {"dagbp.estimators", "dagbp.estimators._sklearn"}  # which would import scikit-learn
    found = pkgutil.walk_packages(dagbp.__path__, "dagbp.")
    for module in (importlib.import_module(m.name) for m in found if m.name not in own):
        for name, value in vars(module).items():
            if isinstance(value, Dispatcher) and value.__module__ == module.__name__:
                yield f"{module.__name__}.{name}", value


def exercise(graph, dtype, activation, loss, optimizer, batch_size, n_threads):
    """Use every entry point with one combination of values that must not be compiled in."""
    net = dagbp.compile(graph, dtype=dtype, n_threads=n_threads, seed=0)
    rng = np.random.default_rng(0)
    X = rng.random((150, len(net.inputs)))
    Y = rng.random((150, len(net.outputs)))
    net.fit(X, Y, loss=loss, optimizer=optimizer, batch_size=batch_size, epochs=1, verbose=0)
    net.predict(X)
    net.forward(X)
    net.backprop(X, Y, loss=loss, sample_weight=rng.random(150) + 0.1)
    net.evaluate(X, Y, loss=loss)
    net.predict(X[:1])
    net.evaluate(X[:1], Y[:1], loss=loss)
    net.loss_and_gradient(X[:1], Y[:1], loss=loss)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_signature_a_dtype(dtype):
    """Over topologies, activations, losses, optimizers, batch sizes and numbers of threads."""
    clipped = dagbp.optimizers.SGD(learning_rate=0.01, clip_norm=1.0, clip_value=0.5)
    for batch_size in (7, 15, 30, 150):  # of tiles of every width
        first = dagbp.layered([3, 4, 2], seed=0), dtype, "relu", "squared_error", "adam"
        exercise(*first, batch_size, 1)
    before = {name: len(kernel.signatures) for name, kernel in kernels()}
    entries = run.predict, run.inspect, run.evaluate, run.train
    compiled = [entry.compiled(np.dtype(dtype)) for entry in entries]
    graphs = [
        dagbp.random_dag(40, 200, 5, 3, seed=1, activation="tanh"),
        dagbp.layered([2, 9, 9, 4], density=0.5, activation="gelu", seed=2),
        dagbp.watts_strogatz(30, 4, 0.2, 3, 2, seed=3),
    ]
    optimizers = [*dagbp.optimizers.names(), clipped]
    for k, optimizer in enumerate(optimizers):
        loss = list(LOSSES)[k % len(LOSSES)]
        targets_fit = "softmax" not in loss
        loss = loss if targets_fit else "binary_cross_entropy"
        exercise(graphs[k % 3], dtype, "tanh", loss, optimizer, [1, 7, 30, 150][k % 4], 1 + k % 2)
    after = {name: len(kernel.signatures) for name, kernel in kernels()}
    for entry, before_ in zip(entries, compiled, strict=True):
        assert entry.compiled(np.dtype(dtype)) is before_
    for entry in ("single_sample.predict", "single_sample.differentiate"):
        name = f"dagbp._kernels.passes.{entry}"
        assert after[name] == before[name] > 0
    # At most one for each dtype and width of tiles; entry points have none.
    most = 2 * (len(TILE_COST) + 1)
    assert {name: count for name, count in after.items() if count > most} == {}


SCRIPT = """
import sys
import numpy as np
import dagbp
import numba.core.event
from functools import partial
from dagbp._plan import from_graph

class Compiled(numba.core.event.Listener):
    names = []
    def on_start(self, event): self.names.append(event.data["dispatcher"].__name__)
    def on_end(self, event): pass

numba.core.event.register("numba:compile", Compiled())
from_graph.make_plan = partial(from_graph.make_plan, small=0)  # no plan is made in Python
shape, activation = eval(sys.argv[1]), sys.argv[2]
net = dagbp.compile(dagbp.layered(shape, activation=activation, seed=0), seed=0)
rng = np.random.default_rng(0)
X, Y = rng.random((99, shape[0])), rng.random((99, shape[-1]))
net.fit(X, Y, epochs=2, batch_size=32, seed=0, verbose=0)
value, gradient = net.loss_and_gradient(X, Y)
print(len(Compiled.names), repr(float(abs(gradient).sum())))
"""


def run_script(cache, package_parent, *args):
    """Return (compilations, sum of the gradient) of the script in a process of its own."""
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONPATH": str(package_parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=cache,
    )
    compilations, total = done.stdout.split()
    return int(compilations), float(total)


def machine_code(cache):
    return sorted(path.name for path in cache.rglob("*.nbc"))


@pytest.fixture
def package(tmp_path):
    """Return the parent of a copy of the package that a test may change."""
    copy = tmp_path / "site"
    shutil.copytree(PACKAGE, copy / "dagbp", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_a_second_process_compiles_nothing_and_a_changed_helper_everything(tmp_path, package):
    cache = tmp_path / "cache"
    cache.mkdir()
    all_functions, total = run_script(cache, package, "[3, 5, 2]", "relu")
    assert all_functions > 4
    files = machine_code(cache)
    assert files
    # Another topology: all from disk, and no file more.
    assert run_script(cache, package, "[4, 7, 7, 3]", "relu")[0] == 0
    assert machine_code(cache) == files
    assert run_script(cache, package, "[3, 5, 2]", "relu") == (0, total)

    # A helper in another file than any entry's: the slope of relu, doubled.
    helper = package / "dagbp" / "_kernels" / "edges" / "sparse.py"
    source = helper.read_text()
    changed = source.replace("return de_dx\n", "return de_dx + de_dx\n", 1)
    assert changed != source
    helper.write_text(changed)
    compilations, other = run_script(cache, package, "[3, 5, 2]", "relu")
    assert compilations == all_functions
    assert other != total


def test_damaged_files_are_compiled_anew(tmp_path, package):
    cache = tmp_path / "cache"
    cache.mkdir()
    first = run_script(cache, package, "[3, 5, 2]", "relu")
    for damage in (lambda old: old[:100], _with_one_bit_flipped):
        for path in cache.rglob("*.nbc"):
            path.write_bytes(damage(path.read_bytes()))
        assert run_script(cache, package, "[3, 5, 2]", "relu") == first


def _with_one_bit_flipped(content):
    """In the middle of the file, which is machine code."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


ROWS = """
import sys
import numpy as np
from dagbp import activations
dtype = np.dtype(sys.argv[1])
print("ready", flush=True)
input()
for name in activations.names():
    theta = activations.get(name)
    print(name, theta(np.linspace(-2, 2, 5, dtype=dtype)).tolist())
"""


@pytest.mark.slow
def test_processes_that_compile_at_once_keep_their_code_apart(tmp_path):
    """Compile the same functions in two precisions: first with an empty cache, then from it."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    outputs = []
    for _ in range(2):
        processes = [
            subprocess.Popen([sys.executable, "-c", ROWS, dtype], env=environment, **pipes)
            for dtype in ("float32", "float64")
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        outputs.append([process.communicate()[0] for process in processes])
        assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(outputs[0][0].splitlines()) == len(dagbp.activations.registry.built_in)


def test_files_of_two_processes_stay_apart(tmp_path, monkeypatch):
    """While one process saves, another saves another signature, or looks for the same one."""

    def process(stamp):
        return disk_cache.CodeFiles(str(tmp_path), "f", stamp)

    process("old").save("float32", "of an older version")
    mine, theirs = process("new"), process("new")
    dumps = disk_cache.serialize.dumps

    def during(data):
        monkeypatch.setattr(disk_cache.serialize, "dumps", dumps)
        assert theirs.load("float32") is None
        theirs.save("float64", "of theirs")
        return dumps(data)

    monkeypatch.setattr(disk_cache.serialize, "dumps", during)
    mine.save("float32", "of mine")
    for files in (mine, theirs):
        assert files.load("float32") == "of mine"
        assert files.load("float64") == "of theirs"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_under_the_name_of_another_is_not_loaded(tmp_path):
    """Exchanged files: each file holds its function, signature, processor and versions."""
    first = disk_cache.CodeFiles(str(tmp_path), "f", "stamp")
    second = disk_cache.CodeFiles(str(tmp_path), "g", "stamp")
    first.save("float32", "f of float32")
    first.save("float64", "f of float64")
    second.save("float32", "g of float32")
    one, other, foreign = sorted(tmp_path.iterdir())
    content = [path.read_bytes() for path in (one, other, foreign)]
    for path, bytes_ in zip((one, other, foreign), content[1:] + content[:1], strict=True):
        path.write_bytes(bytes_)
    assert [first.load("float32"), first.load("float64"), second.load("float32")] == [None] * 3


def test_a_package_in_a_zip_warns_that_it_has_no_cache(tmp_path, package):
    archive = shutil.make_archive(str(tmp_path / "dagbp"), "zip", package)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "c"), "PYTHONPATH": archive}
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import dagbp\n"
        "    dagbp.compile(dagbp.layered([2, 2])).predict([[1, 2]])\n"
        "print(*(w.message for w in caught if w.category is dagbp.DagbpWarning), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,  # Python looks there first
    )
    (warning,) = done.stdout.splitlines()
    assert "dagbp.zip/dagbp, which is not a folder: its compiled code is not kept" in warning
    assert machine_code(tmp_path) == []


def test_without_a_writable_place_it_compiles_in_memory(tmp_path, package):
    place = tmp_path / "file"
    place.write_text("not a folder")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(place), "PYTHONPATH": str(package)}
    code = (
        "import dagbp\n"
        "net = dagbp.compile(dagbp.layered([2, 2]))\n"
        "print(net.predict([[1, 2]]).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["(1,", "2)"]


def test_import_compiles_nothing():
    code = (
        "import sys, numba.core.event as event\n"
        "class Listener(event.Listener):\n"
        "    def on_start(self, e): sys.exit('compiled ' + str(e.data))\n"
        "    def on_end(self, e): pass\n"
        "event.register('numba:compile', Listener())\n"
        "import dagbp\n"
        "assert not {'sklearn', 'pandas', 'matplotlib', 'torch'} & set(sys.modules)\n"
    )
    run_python(code)
