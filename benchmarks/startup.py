"""Start-up: import, first fit with a cold and a warm cache, and compiling a million edges.

    python benchmarks/startup.py

Every figure is the median of fresh processes; "cold" ones have an empty Numba cache each.
"""

import os
import statistics
import subprocess
import sys
import tempfile

import measuring

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
rng, n = np.random.default_rng(0), 50_000
ends = np.sort(rng.integers(0, n, (1_100_000, 2)), axis=1)
keys = rng.permutation(np.unique(ends[ends[:, 0] < ends[:, 1]] @ np.array([n, 1])))[:1_000_000]
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


def seconds(code, cache):
    """Return what a script prints, in a process of its own."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def median(code, times=5, cold=False):
    """Return the median over processes, after one that fills the cache if it is to be warm."""
    with tempfile.TemporaryDirectory() as warm:
        if not cold:
            seconds(code, warm)
        values = []
        for _ in range(times):
            with tempfile.TemporaryDirectory() as empty:
                values.append(seconds(code, empty if cold else warm))
    return statistics.median(values)


def main():
    """Print the table."""
    rows = {
        "import dagbp": median(IMPORT),
        "first network and fit, cold cache": median(FIT, times=3, cold=True),
        "first network and fit, warm cache": median(FIT),
        "1,000,000 edges from arrays": median(ARRAYS),
        "1,000,000 edges from NetworkX": median(NETWORKX, times=3),
    }
    print(*(f"{key}: {value}" for key, value in measuring.machine().items()), sep="\n")
    measuring.title("start-up")
    for name, value in rows.items():
        print(f"{name:<36}{value:>7.2f} s")
    measuring.save("startup", [{"case": name, "seconds": value} for name, value in rows.items()])


if __name__ == "__main__":
    main()
