"""Time of dagbp's training step by edges, batch, depth and threads.

    python -m benchmarks scaling

Each sweep changes one quantity. Its exponent is the slope of a straight line through the points in
log-log: 1 is linear, 0 is constant, and -1 over threads is perfect. The sweep over threads uses all
cores. The others run on `DAGBP_THREADS` threads (default 1).
"""

from typing import NamedTuple

import numpy as np

from ..harness import command, environment, measuring, networks, race, results
from ..peers.dagbp_ import Dagbp

IN_DEGREE = 10  # in the sweep over edges
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
DEPTHS = (10, 30, 100, 300, 1_000, 3_000, 10_000)


class Point(NamedTuple):
    """One network and batch of a sweep."""

    case: networks.Case
    batch: int
    threads: int = environment.THREADS


def edges_sweep(quick):
    """Return points by edges: ten layers, ten in-edges a node; nodes grow with edges."""
    counts = (1_000, 10_000) if quick else (10**3, 10**4, 10**5, 10**6, 10**7)
    cases = [networks.large(round(n / IN_DEGREE * 10 / 9), n) for n in counts]
    return {case.n_edges: Point(case, 128) for case in cases}


def batch_sweep(quick):
    """Return points by batch."""
    case = networks.tiny() if quick else networks.erdos_renyi_1k()
    return {batch: Point(case, batch) for batch in (BATCHES[::4] if quick else BATCHES)}


def depth_sweep(quick):
    """Return points by levels, with equal nodes and edges."""
    if quick:
        return {depth: Point(networks.chain(200, 1_000, depth), 128) for depth in (5, 50)}
    return {depth: Point(networks.chain(12_000, 60_000, depth), 128) for depth in DEPTHS}


def thread_sweep(quick):
    """Return points by threads."""
    case = networks.tiny() if quick else networks.layered(density=0.1)
    return {n: Point(case, 1024, n) for n in range(1, len(environment.CORES) + 1)}


SWEEPS = {
    "edges": edges_sweep,
    "batch": batch_sweep,
    "depth": depth_sweep,
    "threads": thread_sweep,
}


def measure(points, quick):
    """Return milliseconds a step at each point; the points take turns."""
    nets = {}
    for x, point in points.items():
        nets[x] = Dagbp(point.case, networks.draw_parameters(point.case), point.threads)
        nets[x].set_batch(*networks.draw_batch(point.case, point.batch))
    times = race.time_steps(nets, **({"rounds": 1, "least": 0.002} if quick else {}))
    return {x: 1e3 * seconds for x, seconds in times.items()}


def exponent(times):
    """Return the slope of a straight line through the points in log-log, by least squares."""
    if len(times) < 2:
        return None
    x, y = np.log(list(times)), np.log(list(times.values()))
    return float(np.polyfit(x, y, 1)[0])


def constants(name, point):
    """Return a text of the quantities that a sweep keeps constant."""
    nodes, edges = f"{point.case.n_nodes:,} nodes", f"{point.case.n_edges:,} edges"
    batch = f"batch {point.batch:,}"
    if name == "edges":
        return f"{IN_DEGREE} in-edges a node, 10 layers, {batch}"
    return f"{nodes}, {edges}" + ("" if name == "batch" else f", {batch}")


def print_sweep(name, rows):
    """Print one sweep."""
    command.title(f"{name}: {rows[0]['constants']}")
    command.table(
        [name, "step ms", "GF/s", "of sgemm"],
        [
            [
                f"{row['x']:,}",
                f"{row['ms']:.4f}",
                f"{row['gflops']:.1f}",
                f"{row['share_of_sgemm']:.1%}",
            ]
            for row in rows
        ],
    )
    if rows[0]["exponent"] is not None:
        print(f"time ~ {name} ^ {rows[0]['exponent']:.2f}")


def sweep_rows(name, points, quick):
    """Return a row for each point of a sweep."""
    times = measure(points, quick)
    slope, rows = exponent(times), []
    for x, ms in times.items():
        case, batch, threads = points[x]
        rate = 6 * case.n_edges * batch / ms / 1e6
        # The limit was measured on THREADS threads, and is assumed proportional to threads.
        share = rate / (measuring.limits()["sgemm_gflops"] * threads / environment.THREADS)
        rows.append(
            {
                "sweep": name,
                "constants": constants(name, points[x]),
                "x": x,
                "edges": case.n_edges,
                "batch": batch,
                "threads": threads,
                "ms": ms,
                "gflops": rate,
                "share_of_sgemm": share,
                "exponent": slope,
            }
        )
    return rows


def main(arguments):
    """Print every sweep, and write the rows."""
    options = command.start("scaling", __doc__, arguments)
    rows = []
    for name, sweep in SWEEPS.items():
        if name == "threads":
            environment.hold_to(len(environment.CORES))
        points = sweep(options.quick)
        here = sweep_rows(name, points, options.quick)
        print_sweep(name, here)
        rows += here
    environment.hold_to(environment.THREADS)
    results.save("scaling", rows, options.quick)
