"""Limits of this machine: arithmetic, memory, and the row update that dagbp's kernels consist of.

    python -m benchmarks limits

Measures on one core and on all: a float32 matrix product; copies, triads and reads of arrays far
larger than the caches; and updates y += w x of rows of 64 float32, with x drawn at random from a
set of rows that fits into L1, L2, L3, or none of them. Copies and triads count bytes read and
written, without the cache lines that a processor reads before it writes them.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from ..harness import command, environment, isolated_peers, measuring, results

CHILD = "from benchmarks.suites import limits; limits.print_rows"
LANES = 64  # float32 of a row: 256 bytes
SETS = {"L1": 2**14, "L2": 2**19, "L3": 2**23, "memory": 2**29}  # bytes of rows a thread
TARGETS = 8  # rows that are updated in turn, so that no update waits for the one before

loop = numba.njit(nogil=True, fastmath=True)


@loop
def copy(a, b, c):
    """a_k = b_k."""
    for k in range(a.shape[0]):
        a[k] = b[k]


@loop
def triad(a, b, c):
    """a_k = b_k + 3 c_k."""
    for k in range(a.shape[0]):
        a[k] = b[k] + np.float32(3) * c[k]


@loop
def read(a, b, c):
    """a_0 = sum of b_k."""
    total = np.float32(0)
    for k in range(b.shape[0]):
        total += b[k]
    a[0] = total


@loop
def update_rows(x, first, weight, y):
    """y_t += weight_e x_e in turn over the TARGETS rows of y; x_e begins at first_e in the flat x.

    Indices are unsigned: for signed ones Numba adds a test for negative values.
    """
    for e in range(first.shape[0]):
        w, source, target = weight[e], first[e], np.uintp(e % TARGETS) * np.uintp(LANES)
        for k in range(np.uintp(LANES)):
            y[target + k] += w * x[source + k]


def aligned(size):
    """Return float32 zeros that begin at a cache line, as full speed requires."""
    spare = np.zeros(size + 16, np.float32)
    start = -spare.ctypes.data % 64 // 4
    return spare[start : start + size]


def on_all_threads(function, arguments):
    """Return a function that calls a compiled one with each of the arguments, a thread each."""
    pool = ThreadPoolExecutor(environment.THREADS)
    return lambda: list(pool.map(lambda one: function(*one), arguments))


def memory_rates(size):
    """Return GB/s of copies, triads and reads of `size` float32 in all."""
    arrays = [aligned(size) for _ in range(3)]
    for array in arrays:
        array[:] = 1  # pages exist only once they are written
    pieces = list(zip(*(np.array_split(a, environment.THREADS) for a in arrays), strict=True))
    rates = {}
    for function, moved in ((copy, 2), (triad, 3), (read, 1)):
        seconds = measuring.median_time(on_all_threads(function, pieces))
        rates[function.__name__] = 4 * size * moved / seconds / 1e9
    return rates


def update_rate(size, updates):
    """Return GF/s of row updates from a set of `size` bytes a thread."""
    n_rows, rng = size // (4 * LANES), np.random.default_rng(0)
    work = [
        (
            aligned(n_rows * LANES),
            rng.integers(n_rows, size=updates).astype(np.uintp) * np.uintp(LANES),
            np.full(updates, 1e-9, np.float32),
            aligned(TARGETS * LANES),
        )
        for _ in range(environment.THREADS)
    ]
    for x, *_ in work:
        x[:] = 1  # pages exist only once they are written
    seconds = measuring.median_time(on_all_threads(update_rows, work))
    return 2 * LANES * updates * environment.THREADS / seconds / 1e9


def torch_sgemm(n=1024):
    """Return GF/s of PyTorch's float32 matrix product, or None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(environment.THREADS)
    a = torch.rand(n, n)
    return 2 * n**3 / measuring.median_time(lambda: a @ a) / 1e9


def measure(quick):
    """Return (name, unit, value) of each limit, on `THREADS` threads."""
    rows = [("sgemm, NumPy", "GF/s", measuring.sgemm_rate())]
    rows.append(("sgemm, PyTorch", "GF/s", torch_sgemm()))
    rates = memory_rates(2**21 if quick else 2**26)
    rows += [(f"{name}, memory", "GB/s", rate) for name, rate in rates.items()]
    for place, size in SETS.items():
        size = min(size, 2**25) if quick else size
        rate = update_rate(size, 2**16 if quick else 2**20)
        rows.append((f"rows of {4 * LANES} bytes, {place}", "GF/s", rate))
    return rows


def in_own_process(threads, quick):
    """Return the limits on so many threads, from a child process.

    BLAS reads the number of threads when it is loaded.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"{CHILD}({quick})"],
        env=environment.variables(threads),
        cwd=isolated_peers.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def print_rows(quick):
    """Write the limits to standard output, as JSON; the child process calls this."""
    print(json.dumps(measure(quick)))


def main(arguments):
    """Print the table, and write the rows."""
    options = command.start("limits", __doc__, arguments)
    counts = sorted({1, len(environment.CORES)})
    columns = []
    for count in counts:
        environment.hold_to(count)  # the child inherits this
        columns.append(in_own_process(count, options.quick))
    command.title("limits")
    lines, rows = [], []
    for measured in zip(*columns, strict=True):
        name, unit, _ = measured[0]
        values = [value for _, _, value in measured]
        lines.append([name, unit, *("-" if v is None else f"{v:.1f}" for v in values)])
        rows += [
            {"limit": name, "unit": unit, "threads": count, "value": value}
            for count, value in zip(counts, values, strict=True)
        ]
    command.table(["", "", *(f"{count} thread{'s' * (count > 1)}" for count in counts)], lines)
    results.save("limits", rows, options.quick)
