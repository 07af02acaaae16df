"""Bad values in every argument of every public call: a typed error, no change, no crash.

Run as a script, this file is the process that may die: `python test_fuzz.py SEED SECONDS CALLS`.
"""

import faulthandler
import os
import random
import subprocess
import sys
import time
import warnings

import networkx as nx
import numpy as np
import pytest
from nonsense import anything, bent
from scipy import sparse

import dagbp
from dagbp import callbacks, losses, optimizers
from dagbp.testing import gradcheck

try:
    import resource
except ImportError:  # Windows
    resource = None

ALLOWED = (dagbp.DagbpError, dagbp.DagbpWarning, TypeError, ValueError, OSError)
N, INPUTS, OUTPUTS = 9, 3, 2


# ---------------------------------------------------------------------------- what is called


def graph():
    G = nx.DiGraph([("a", "h"), ("b", "h"), ("c", "y"), ("h", "y"), ("h", "z")])
    G.nodes["h"].update(activation="relu", bias=0.5)
    G.nodes["z"]["bias"] = None
    G.edges["a", "h"].update(weight=0.5, trainable=False)
    return G


def bent_graph(rng):
    """Return a graph with one attribute, node or edge that is nonsense."""
    G = graph()
    way, value = rng.random(), anything(rng)
    if way < 0.4:
        G.nodes[rng.choice(list(G))][rng.choice(["activation", "bias", "trainable"])] = value
    elif way < 0.8:
        G.edges[rng.choice(list(G.edges))][rng.choice(["weight", "trainable"])] = value
    elif way < 0.9:
        G.add_edge("y", rng.choice(list(G)))
    else:
        return value
    return G


def samples(rng):
    data = np.random.default_rng(rng.randrange(2**32))
    return {"X": data.normal(size=(N, INPUTS)), "Y": data.uniform(size=(N, OUTPUTS))}


def supervised(rng):
    return samples(rng) | {
        "loss": rng.choice(losses.names()),
        "sample_weight": np.linspace(1, 2, N),
    }


def set_parameters(net, values):
    net.parameters = values


def set_threads(net, value):
    net.n_threads = value
    net.n_threads = 2


def fit(net, **options):
    """Fit, except with arguments for which a fit rightly does not end."""
    epochs = options["epochs"]
    if isinstance(epochs, (int, np.integer)) and epochs > 1000:
        options["epochs"] = 10**30
    net.fit(**options)


def modest(builder):
    """Return the builder, but skip calls with a billion nodes: they are valid and take for ever."""

    def call(**options):
        numbers = [n for value in options.values() for n in np.ravel(np.asarray(value, object))]
        if not any(isinstance(n, (int, np.integer)) and n > 1000 for n in numbers):
            builder(**options)

    call.__qualname__ = builder.__name__
    return call


#: Called with a network: (function, good arguments).
OF_NETWORK = [
    (lambda net, X: net.predict(X), lambda rng: {"X": samples(rng)["X"]}),
    (lambda net, X: net.forward(X), lambda rng: {"X": samples(rng)["X"]}),
    (lambda net, **o: net.backprop(**o), supervised),
    (lambda net, **o: net.loss_and_gradient(**o), supervised),
    (lambda net, **o: net.evaluate(**o), supervised),
    (
        fit,
        lambda rng: (
            supervised(rng)
            | {
                "optimizer": rng.choice(optimizers.names()),
                "learning_rate": 0.01,
                "epochs": 2,
                "batch_size": 4,
                "shuffle": True,
                "validation_data": (samples(rng)["X"], samples(rng)["Y"]),
                "penalties": [dagbp.Penalty(l1=0.1, edges=[("a", "h")])],
                "max_norm": {"h": 1.0},
                "dropout": 0.1,
                "input_dropout": 0.1,
                "callbacks": [callbacks.CosineDecay()],
                "resume": False,
                "seed": 0,
                "verbose": 0,
            }
        ),
    ),
    (
        lambda net, **o: net.fit(**o),
        lambda rng: supervised(rng) | {"optimizer": "lbfgs", "epochs": 2, "verbose": 0},
    ),
    (
        lambda net, **o: net.fit_batches(**o),
        lambda rng: {
            "batches": [tuple(samples(rng).values())] * 2,
            "loss": "huber",
            "epochs": 1,
            "dropout": {"h": 0.5},
            "callbacks": [],
            "seed": 0,
            "verbose": 0,
        },
    ),
    (lambda net, path: net.save(path), lambda rng: {"path": os.devnull + "/no/place"}),
    (gradcheck, lambda rng: supervised(rng) | {"most": 3, "tolerance": 1e-3, "seed": 0}),
    (set_parameters, lambda rng: {"values": np.linspace(-1, 1, 8) * (np.arange(8) != 7)}),
    (set_threads, lambda rng: {"value": 2}),
    (lambda net, key: key in net.weights, lambda rng: {"key": ("a", "h")}),
    (lambda net, key: key in net.biases, lambda rng: {"key": "h"}),
]
#: Called alone.
ALONE = [
    (
        dagbp.compile,
        lambda rng: {
            "G": bent_graph(rng) if rng.random() < 0.5 else graph(),
            "inputs": ["a", "b", "c"],
            "outputs": ["y", "z"],
            "activation": "tanh",
            "output_activation": "identity",
            "dtype": "float32",
            "seed": 0,
            "init": "auto",
            "n_threads": 2,
        },
    ),
    (
        dagbp.Network.from_edges,
        lambda rng: {
            "src": np.array([0, 1, 2, 2, 3]),
            "dst": np.array([3, 3, 3, 4, 4]),
            "n_nodes": 5,
            "inputs": [0, 1, 2],
            "outputs": [3, 4],
            "weight": np.linspace(0, 1, 5),
            "trainable": np.array([True, True, False, True, False]),
            "activation": ["identity", "identity", "identity", "relu", "tanh"],
            "bias": np.zeros(5),
            "bias_trainable": True,
            "dtype": "float64",
            "seed": 0,
            "init": "he",
        },
    ),
    (losses.Huber, lambda rng: {"threshold": 1.0}),
    (losses.SoftmaxCrossEntropy, lambda rng: {"label_smoothing": 0.1}),
    (
        dagbp.Penalty,
        lambda rng: {"l1": 0.1, "l2": 0.1, "edges": [("a", "h")], "nodes": ["h"], "biases": True},
    ),
    (
        callbacks.EarlyStopping,
        lambda rng: {"monitor": "loss", "patience": 3, "min_delta": 0.1, "mode": "min"},
    ),
    (callbacks.ModelCheckpoint, lambda rng: {"path": "net", "every_epochs": 1, "every_steps": 2}),
    (callbacks.OneCycle, lambda rng: {"rise": 0.3, "start": 0.1, "end": 0.0}),
    (callbacks.TimeLimit, lambda rng: {"seconds": 1.0}),
    (dagbp.load, lambda rng: {"path": os.devnull}),
    (
        optimizers.Solver,
        lambda rng: {"method": "tnc", "bounds": (-1, 1), "options": {"ftol": 0.1}},
    ),
    (losses.get, lambda rng: {"loss": "huber"}),
    (optimizers.get, lambda rng: {"optimizer": "sgd", "learning_rate": 0.1}),
    (dagbp.activations.get, lambda rng: {"activation": "tanh"}),
    (dagbp.activations.get("tanh"), lambda rng: {"s": np.zeros((2, 3))}),
    (dagbp.from_adjacency, lambda rng: {"A": sparse.csr_array(np.triu(np.ones((4, 4)), 1))}),
    (
        modest(dagbp.layered),
        lambda rng: {"sizes": [2, 3, 1], "density": 0.5, "activation": "relu", "seed": 0},
    ),
    (
        modest(dagbp.residual),
        lambda rng: {"sizes": [2, 3, 3, 1], "skip": 2, "density": 0.5, "seed": 0},
    ),
    (
        modest(dagbp.random_dag),
        lambda rng: {
            "n_nodes": 9,
            "n_edges": 16,
            "n_inputs": 2,
            "n_outputs": 2,
            "depth": 3,
            "seed": 0,
        },
    ),
    (
        modest(dagbp.watts_strogatz),
        lambda rng: {"n": 9, "k": 4, "p": 0.5, "n_inputs": 2, "n_outputs": 2, "seed": 0},
    ),
    (
        modest(dagbp.barabasi_albert),
        lambda rng: {"n": 9, "m": 2, "n_inputs": 2, "n_outputs": 2, "seed": 0},
    ),
    (
        optimizers.SGD,
        lambda rng: {"learning_rate": 0.1, "momentum": 0.5, "nesterov": True, "clip_norm": 1.0},
    ),
    (
        optimizers.RMSprop,
        lambda rng: {"learning_rate": 0.1, "rho": 0.5, "epsilon": 1e-8, "clip_value": 1.0},
    ),
]


def one_call(net, rng):
    """Call a function with one or two bad arguments; return its name, arguments and exception."""
    of_network = rng.random() < 0.7
    function, good = rng.choice(OF_NETWORK if of_network else ALONE)
    options = good(rng)
    for name in rng.sample(list(options), min(len(options), rng.choice([1, 1, 1, 2]))):
        options[name] = bent(options[name], rng)
    try:
        function(net, **options) if of_network else function(**options)
    except Exception as error:
        return function, options, error
    return function, options, None


def run(seed, seconds, calls):
    """Fuzz until the time or the calls are used up; print each surprise; return their number."""
    warnings.simplefilter("error")
    if resource is not None:  # a MemoryError, not the machine's last page
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    rng, surprises, refused = random.Random(seed), 0, 0
    until = time.monotonic() + seconds
    nets = [dagbp.compile(graph(), seed=0, dtype=d, n_threads=2) for d in ("float32", "float64")]
    good = np.ones((N, INPUTS))
    for _ in range(calls):
        if time.monotonic() > until:
            break
        net = rng.choice(nets)
        before = net.parameters
        faulthandler.dump_traceback_later(60, exit=True)  # prints where it hangs
        function, options, error = one_call(net, rng)
        after = net.parameters
        refused += error is not None
        trouble = []
        if error is not None and not isinstance(error, ALLOWED):
            trouble.append("an error of another kind")
        if error is not None and not isinstance(error, dagbp.DivergenceError):
            trouble += ["a change"] * (not np.array_equal(before, after))
        if not np.isfinite(after).all():
            trouble.append("parameters that are not finite")
            net.parameters = before
        net.predict(good)
        if trouble:
            surprises += 1
            name = getattr(function, "__qualname__", function)
            print(
                f"{' and '.join(trouble)}: {name}({options!r}): {type(error)} {error}", flush=True
            )
        net.parameters = before
    faulthandler.cancel_dump_traceback_later()
    print(f"{refused} calls were refused")
    return surprises


def fuzz(seed, seconds, calls, folder):
    """Run this file in a new process and folder; return its output."""
    command = [sys.executable, "-X", "faulthandler", __file__, str(seed), str(seconds), str(calls)]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_nonsense(tmp_path):
    refused = int(fuzz(seed=0, seconds=60, calls=3000, folder=tmp_path).split()[0])
    assert refused > 1000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_much_nonsense(seed, tmp_path):
    fuzz(seed, seconds=20, calls=10**9, folder=tmp_path)


if __name__ == "__main__":
    sys.exit(min(1, run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
