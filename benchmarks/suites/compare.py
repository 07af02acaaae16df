"""Compare two source trees of dagbp, old and new, in turns: times and results.

    python -m benchmarks compare ../old .
    python -m benchmarks compare . . --set-new DAGBP_COMPILER=plain

Each side is a process on the same core, with a cache of its own, on one thread. In each round both
sides take a turn of about 40 ms on every quantity, and the side that begins alternates. A pair of
turns gives a ratio new/old of processor time, in which time slices of other processes do not count.
Both processes are started several times, because the addresses of arrays and code change times by
some percent. The table shows the median over starts of each start's median ratio, its 95 %
confidence interval, the quartiles of all pairs, and the ratio of wall times. Results are compared
bit by bit: gradient, outputs, and parameters after three steps of SGD.

The caches of compiled code are empty at first. To keep a cache between runs, give its folder by
``--set-old NUMBA_CACHE_DIR=FOLDER``, and another folder by ``--set-new``.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..harness import command, isolated_peers, networks, paired, processes
from ..peers.bases.oracle import Oracle, clear_of_kinks

SIDES = ("old", "new")
SECONDS = 0.003  # of processor time, for a timed call: about a time slice of the scheduler
STARTING = 600  # seconds for a start with its compilation


class Entry(NamedTuple):
    """A network and batch, with its timed calls."""

    name: str
    case: networks.Case
    batch: int
    calls: tuple = ("step",)


def entries(quick):
    """Yield what is compared."""
    if quick:
        yield Entry("tiny", networks.tiny(), 16)
        yield Entry("tiny", networks.tiny(), 1, ("predict", "gradient"))
        return
    for density in (0.1, 1.0):
        case = networks.layered(density=density)
        for batch in (128, 1024):
            yield Entry(f"layers {density:.0%}", case, batch)
    for build in (networks.erdos_renyi_10k, networks.watts_strogatz, networks.barabasi_albert):
        case = build()
        yield Entry(case.name, case, 128)
    case = networks.erdos_renyi_1k()
    yield Entry(case.name, case, 1, ("predict", "gradient"))


def write_problems(chosen, folder):
    """Write the problem of each entry, and return the paths."""
    paths = []
    for k, entry in enumerate(chosen):
        parameters = networks.draw_parameters(entry.case)
        X, Y = networks.draw_batch(entry.case, entry.batch + entry.batch // 4 + 8)
        X = clear_of_kinks(Oracle(entry.case, parameters), X, entry.batch)
        paths.append(folder / f"{k}.npz")
        isolated_peers.write_problem(paths[k], entry.case, parameters, X, Y[: entry.batch])
    return paths


class Side(processes.Child):
    """A child process with dagbp of a tree."""

    def __init__(self, tree, paths, cache, variables):
        module = "benchmarks.harness.one_side"
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **variables}
        super().__init__(
            ["-m", module, str(tree), *map(str, paths)], environment, isolated_peers.ROOT
        )
        self.tree = tree

    def wait(self):
        """Wait until the networks are built, and check where dagbp was found."""
        place = self.answer(STARTING, time.perf_counter())["place"]
        if place != str(self.tree):
            raise SystemExit(f"{self.tree} has no package dagbp; Python found the one in {place}")

    def do(self, what, **options):
        """Ask the child for a result."""
        return self.ask(json.dumps({"do": what, **options}), STARTING)["answer"]


def compare_results(sides, chosen, folder):
    """Return, for each entry, the differences of all results as a text."""
    texts = []
    for k in range(len(chosen)):
        found = []
        for name, side in zip(SIDES, sides, strict=True):
            path = folder / f"{name}-{k}-results.npz"
            side.do("results", problem=k, path=str(path))
            with np.load(path) as file:
                found.append(dict(file))
        texts.append(differences(*found))
    return texts


def differences(old, new):
    """Return "same bits", or the largest difference of each array relative to its largest entry."""
    parts = []
    for name, array in old.items():
        if array.tobytes() != new[name].tobytes():
            largest = max(np.abs(array).max(), np.finfo(array.dtype).tiny)
            gap = np.abs(array - new[name]).max() / largest
            parts.append(f"{name} {gap:.0e}")
    return ", ".join(parts) or "same bits"


def take_turns(sides, chosen, pairs):
    """Return {(entry, call): list of (processor time ratio, wall time ratio)}, and times of old."""
    quantities = [(k, call) for k, entry in enumerate(chosen) for call in entry.calls]
    counts = {
        (k, call): max(s.do("count", problem=k, call=call, seconds=SECONDS) for s in sides)
        for k, call in quantities
    }
    ratios, times = ({quantity: [] for quantity in quantities} for _ in range(2))
    for pair in range(pairs):
        for k, call in quantities:
            order = sides if pair % 2 == 0 else sides[::-1]
            count = counts[k, call]
            found = [s.do("time", problem=k, call=call, count=count) for s in order]
            old, new = found if pair % 2 == 0 else found[::-1]
            ratios[k, call].append([b / a for a, b in zip(old, new, strict=True)])
            times[k, call].append(old[0])
    return ratios, times


def options_of(arguments):
    """Return the options of the command line."""
    parser = command.parser_of("compare", __doc__)
    parser.add_argument("old", type=Path, help="folder that contains the old package dagbp")
    parser.add_argument("new", type=Path, help="folder that contains the new package dagbp")
    parser.add_argument("--starts", type=int, help="starts of both processes (default: 6)")
    parser.add_argument("--pairs", type=int, help="pairs of turns a start (default: 5)")
    parser.add_argument("--only", default="", help="only entries with this text, e.g. layers")
    for side in SIDES:
        parser.add_argument(
            f"--set-{side}",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"an environment variable of the {side} side",
        )
    options = parser.parse_args(arguments)
    options.starts = options.starts or (1 if options.quick else 6)
    options.pairs = options.pairs or (2 if options.quick else 5)
    return options


def main(arguments):
    """Print the table."""
    options = options_of(arguments)
    chosen = [entry for entry in entries(options.quick) if options.only in entry.name]
    trees = {name: getattr(options, name).resolve() for name in SIDES}
    variables = {
        name: dict(text.split("=", 1) for text in getattr(options, f"set_{name}")) for name in SIDES
    }
    ratios, times = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_problems(chosen, Path(folder))
        for start in range(options.starts):
            caches = {name: Path(folder, name) for name in SIDES}
            with (
                Side(trees["old"], paths, caches["old"], variables["old"]) as old,
                Side(trees["new"], paths, caches["new"], variables["new"]) as new,
            ):
                for side in (old, new):
                    side.wait()
                if start == 0:
                    texts = compare_results((old, new), chosen, Path(folder))
                found, seconds = take_turns((old, new), chosen, options.pairs)
            for quantity in found:
                ratios.setdefault(quantity, []).append(found[quantity])
                times.setdefault(quantity, []).extend(seconds[quantity])
            print(f"start {start + 1} of {options.starts} measured", flush=True)
    print_table(chosen, ratios, times, texts)


def print_table(chosen, ratios, times, texts):
    """Print a line for each quantity."""
    lines = []
    for (k, call), by_start in ratios.items():
        found = paired.summary([[cpu for cpu, _ in pairs] for pairs in by_start])
        wall = statistics.median(wall for pairs in by_start for _, wall in pairs)
        first, third = found["quartiles"]
        lines.append(
            [
                f"{chosen[k].name}, batch {chosen[k].batch:,}, {call}",
                f"{1e6 * statistics.median(times[k, call]):,.1f}",
                f"{found['ratio']:.3f}",
                f"{found['low']:.3f} - {found['high']:.3f}",
                f"{first:.3f} - {third:.3f}",
                f"{wall:.3f}",
                found["verdict"],
                texts[k],
            ]
        )
    command.title("new over old: ratio of times (below 1: new is faster)")
    header = ["", "old, µs", "ratio", "95 % interval", "quartiles", "wall", "", ""]
    command.table(header, lines)
