"""Start-up: import, the first network and `fit`, a million edges; then first steps of peers.

    python -m benchmarks startup

Every figure is the median over fresh processes. A "cold" process has an empty cache of compiled
code. Times of the first table begin after NumPy is imported. Times of the second table begin with
the process: they include the interpreter, every import and the problem's arrays.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ..harness import command, isolated_peers, networks, processes, results

IMPORT = """
import time
start = time.perf_counter()
import dagbp
print(time.perf_counter() - start)
"""

FIT = """
import time
import numpy as np
import dagbp
net_edges = [0, 1, 0, 2], [2, 2, 3, 3]
X, Y = np.random.default_rng(0).random((100, 2)), np.zeros((100, 1))
start = time.perf_counter()
net = dagbp.Network.from_edges(*net_edges, n_nodes=4, seed=0)
net.fit(X, Y, epochs=1, verbose=0)
print(time.perf_counter() - start)
"""

ARRAYS = """
import time
import numpy as np
import dagbp
rng, n = np.random.default_rng(0), N_EDGES // 20
ends = np.sort(rng.integers(0, n, (N_EDGES + N_EDGES // 5, 2)), axis=1)
keys = rng.permutation(np.unique(ends[ends[:, 0] < ends[:, 1]] @ np.array([n, 1])))[:N_EDGES]
src, dst = keys // n, keys % n
dagbp.Network.from_edges([0], [1])
start = time.perf_counter()
net = dagbp.Network.from_edges(src, dst, n, seed=0)
print(time.perf_counter() - start)
"""

NETWORKX = ARRAYS.replace(
    "start = time",
    "import networkx as nx\n"
    "G = nx.DiGraph()\n"
    "G.add_edges_from(zip(src.tolist(), dst.tolist()))\n"
    "start = time",
).replace("dagbp.Network.from_edges(src, dst, n, seed=0)", "dagbp.compile(G, seed=0)")

PEERS = ("dagbp_.Dagbp", "torch_layers.TorchDense", "jax_layers.JaxDense")


def seconds(code, cache):
    """Return the number that a script prints, in a process of its own."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=isolated_peers.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def median(code, times, cold=False):
    """Return the median over processes. Unless `cold`, one process before fills the cache."""
    with tempfile.TemporaryDirectory() as warm:
        if not cold:
            seconds(code, warm)
        values = []
        for _ in range(times):
            with tempfile.TemporaryDirectory() as empty:
                values.append(seconds(code, empty if cold else warm))
    return statistics.median(values)


def own_rows(quick):
    """Return the rows of dagbp alone."""
    n = 10_000 if quick else 1_000_000
    often, seldom = (1, 1) if quick else (5, 3)
    arrays, graph = (code.replace("N_EDGES", str(n)) for code in (ARRAYS, NETWORKX))
    values = {
        "import dagbp": median(IMPORT, often),
        "first network and fit, cold": median(FIT, seldom, cold=True),
        "first network and fit, warm": median(FIT, often),
        f"{n:,} edges from arrays": median(arrays, often),
        f"{n:,} edges from NetworkX": median(graph, seldom),
    }
    return [{"case": case, "seconds": value} for case, value in values.items()]


def first_step(place, problem, times):
    """Return (name, cold, warm): seconds from a process's start to the end of its first step."""
    cold, warm = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as cache:
            for found in (cold, warm):
                with isolated_peers.IsolatedPeer(place, problem, cache, limit=120) as peer:
                    found.append(peer.since_start)
    return peer.name, statistics.median(cold), statistics.median(warm)


def peer_rows(quick, only):
    """Return the rows of first steps of a small layered network, of dagbp and peers."""
    case, rows = networks.layered((64, 128, 10), density=0.2), []
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder, "problem.npz")
        arrays = networks.draw_parameters(case), *networks.draw_batch(case, 64)
        isolated_peers.write_problem(problem, case, *arrays)
        for place in PEERS:
            if only and not any(part in place.lower() for part in only):
                continue
            try:
                name, cold, warm = first_step(place, problem, 1 if quick else 3)
            except processes.NoAnswerError as error:
                print(f"{place}: {error}")
            else:
                rows.append({"case": "first step", "peer": name, "cold_s": cold, "warm_s": warm})
    return rows


def main(arguments):
    """Print both tables, and write the rows."""
    options = command.start("startup", __doc__, arguments)
    own = own_rows(options.quick)
    command.title("dagbp's start-up")
    command.table(["", "seconds"], [[row["case"], f"{row['seconds']:.2f}"] for row in own])
    theirs = peer_rows(options.quick, options.peers)
    command.title("from the start of the process to the end of the first training step")
    command.table(
        ["", "cold s", "warm s"],
        [[row["peer"], f"{row['cold_s']:.2f}", f"{row['warm_s']:.2f}"] for row in theirs],
    )
    results.save("startup", own + theirs, options.quick)
