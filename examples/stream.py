"""Data larger than memory: a memory-mapped file for `fit`, and a stream for `fit_batches`.

The samples are handwritten digits with random variations: moved by up to one pixel in each
direction, darker or brighter. So there are as many samples as needed. The first network learns from
the 1,347 original training scans. The second learns from a file of varied scans. The file is mapped
into memory and read batch by batch in shuffled order, and never converted as a whole. The third
learns from batches that a generator makes in another thread during training. All take about the
same number of steps. The test data are the 450 held-out scans, original and varied. "allocated" is
the largest amount of memory that Python and NumPy allocated during training, without the pages of
the mapped file.

Run it with `python examples/stream.py`, or quickly with `--samples 20000`.
"""

import argparse
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dagbp

SIDE, BATCH, CHUNK = 8, 256, 4096


def vary(X, y, n, rng):
    """Return n varied scans as bytes, (n, 64), and their labels."""
    chosen = rng.integers(len(X), size=n)
    padded = np.pad(X[chosen].reshape(n, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))
    moved = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    down, right = rng.integers(3, size=(2, n))
    light = rng.uniform(0.7, 1.3, size=(n, 1, 1))
    scans = np.clip(np.rint(moved[np.arange(n), down, right] * light), 0, 16)
    return scans.reshape(n, -1).astype(np.uint8), y[chosen]


def write(folder, X, y, n, rng):
    """Write n varied scans to two files, part by part; return both memory-mapped."""
    paths = Path(folder, "scans.npy"), Path(folder, "labels.npy")
    scans = np.lib.format.open_memmap(paths[0], "w+", np.uint8, (n, SIDE**2))
    labels = np.lib.format.open_memmap(paths[1], "w+", np.int64, (n,))
    for first in range(0, n, CHUNK):
        part = slice(first, min(first + CHUNK, n))
        scans[part], labels[part] = vary(X, y, part.stop - first, rng)
    scans.flush()
    labels.flush()
    return tuple(np.load(path, mmap_mode="r") for path in paths)


def report(title, net, train, tests):
    """Train a network; print its steps, time and memory, and its accuracy in each test."""
    tracemalloc.start()
    history = train(net)
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    right = [np.mean(net.predict(X).argmax(axis=1) == y) for X, y in tests]
    print(f"{title:20}{history.n_updates:8,}{history.seconds:8.1f} s", end="")
    print(f"{allocated / 2**20:9.1f} MiB{right[0]:10.2%}{right[1]:10.2%}")


def main():
    """Train the same network on all three kinds of data."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=500_000, help="in the file, and in an epoch")
    n = parser.parse_args().samples
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    G = dagbp.layered([SIDE**2, 256, 256, 10], density=0.1, seed=0)
    options = {"loss": "softmax_cross_entropy", "learning_rate": 0.002, "seed": 0}
    epochs = 4
    dagbp.compile(G).fit(X, y, epochs=1, **options)  # compile kernels before the clock runs

    def batches(epoch):
        rng = np.random.default_rng([epoch, 1])
        for _ in range(n // BATCH):
            yield vary(X, y, BATCH, rng)

    with tempfile.TemporaryDirectory() as folder:
        scans, labels = write(folder, X, y, n, np.random.default_rng(0))
        print(f"file of {scans.shape[0]:,} scans, {scans.nbytes / 2**20:.1f} MiB;", end=" ")
        print(f"in {np.dtype('float32')}: {4 * scans.nbytes / 2**20:.1f} MiB\n")
        sliced = {**options, "batch_size": BATCH}
        ways = {
            "scans as they are": lambda net: net.fit(X, y, epochs=epochs * n // len(X), **sliced),
            "file, memory-mapped": lambda net: net.fit(scans, labels, epochs=epochs, **sliced),
            "stream of batches": lambda net: net.fit_batches(batches, epochs=epochs, **options),
        }
        tests = (X_test, y_test), vary(X_test, y_test, 10_000, np.random.default_rng(2))
        print(
            f"{'trained on':20}{'steps':>8}{'time':>10}{'allocated':>13}{'scans':>10}{'varied':>10}"
        )
        for title, train in ways.items():
            report(title, dagbp.compile(G, seed=0), train, tests)


if __name__ == "__main__":
    main()
