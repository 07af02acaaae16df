"""The same numbers on every kind of x86-64 processor, up to their rounding."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

#: name -> the processor and features that Numba compiles for
PROCESSORS = {
    "native": {},
    "haswell": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    "x86-64": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
}
TOLERANCES = {"float32": 2e-4, "float64": 1e-10}

SCRIPT = """
import sys
import numpy as np
import dagbp
from dagbp._network import model_of
from dagbp._model import model
from dagbp._layout import segments as _segments
from dagbp._machine import REGISTER_BYTES
from dagbp.optimizers import SGD, Adam

model.available_cores = lambda: 64
_segments.WORTH_BARRIER = 1000
GRAPHS = {
    "sparse": dagbp.random_dag(120, 900, 9, 4, activation="gelu", seed=0),
    "dense": dagbp.layered([19, 70, 45, 10], activation="tanh", seed=1),
    "filled": dagbp.layered([33, 50, 50, 7], density=0.9, activation="softplus", seed=2),
}
found = {"register": np.array(REGISTER_BYTES)}
for name, G in GRAPHS.items():
    for dtype in ("float32", "float64"):
        for ways, n_threads in (("tiles", 1), ("tiles", 2), ("levels", 3)):
            rng = np.random.default_rng(0)
            options = {"dtype": dtype, "n_threads": n_threads, "schedule": ways, "seed": 0}
            net = dagbp.compile(G, **options)
            assert name != "filled" or model_of(net).engine.layout.n_explicit_zeros > 0
            X = rng.normal(size=(150, len(net.inputs)))
            Y = rng.normal(size=(150, len(net.outputs)))
            key = f"{dtype} {name} {ways} {n_threads}"
            found[key + " predict"] = net.predict(X)
            found[key + " few"] = net.predict(X[:3])
            found[key + " predict one"] = net.predict(X[:1])
            found[key + " one"] = net.loss_and_gradient(X[:1], Y[:1])[1]
            found[key + " gradient"] = net.loss_and_gradient(X, Y)[1]
            for optimizer in (SGD(learning_rate=0.01, clip_norm=1.0), Adam(learning_rate=1e-3)):
                history = net.fit(
                    X, Y, optimizer=optimizer, batch_size=64, epochs=3, seed=0, verbose=0
                )
                found[f"{key} {type(optimizer).__name__} loss"] = np.array(history.loss)
                found[f"{key} {type(optimizer).__name__}"] = net.parameters
np.savez(sys.argv[1], **found)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
def test_predictions_gradients_and_training_agree(tmp_path):
    """Each processor has an empty cache, so the code that runs was compiled for it."""
    results = {}
    for name, processor in PROCESSORS.items():
        there = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / f"cache {name}"), **processor}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / f"{name}.npz")]
        subprocess.run(command, env=there, check=True)
        with np.load(tmp_path / f"{name}.npz") as found:
            results[name] = dict(found)
    assert results["haswell"].pop("register") == 32
    assert results["x86-64"].pop("register") == 16
    expected = results["native"]
    expected.pop("register")
    for name, found in results.items():
        assert set(found) == set(expected)
        for key, one in found.items():
            scale = max(1.0, np.abs(expected[key]).max())
            worst = np.abs(one - expected[key]).max()
            assert worst <= TOLERANCES[key.split()[0]] * scale, f"{name}: {key} off by {worst:.3g}"
