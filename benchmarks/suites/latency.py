"""One sample at a time: the time of a call, with its Python part.

    python -m benchmarks latency

Forward is `predict` of one sample, gradient is `loss_and_gradient` of one sample, in microseconds.
Peers run their nearest equivalent, with NumPy arrays in and out; gradients stay in a peer's layout.
Forward GB/s count the weights of existing edges once, 4 bytes each. A peer that reads the index of
an edge's source moves as many bytes again.
"""

from .. import peers
from ..harness import command, environment, measuring, networks, race, results

WEIGHT_BYTES = 4
ANY = ("dagbp_.Dagbp", "scipy_levels.ScipyLevels", "numpy_nodes.NumpyNodes")
PER_LEVEL = ("torch_levels.TorchExpertLevels", "torch_levels.TorchEagerLevels")
LAYERED = (
    "dagbp_.Dagbp",
    "torch_layers.TorchDense",
    "torch_expert.TorchExpert",
    "jax_layers.JaxDense",
    "scipy_layers.ScipyLayers",
    "numpy_nodes.NumpyNodes",
)
SMALL = (*ANY, *PER_LEVEL, "jax_levels.JaxUnrolledLevels", "neat_.NeatPython", "ffnet_.Ffnet")
LARGE = ("dagbp_.Dagbp", "scipy_layers.ScipyLayers", "torch_expert.TorchExpert")
# On larger and deeper graphs JAX compiles, and ffnet sorts, for minutes. The suite `dags` has their
# first steps.
LARGER = (*ANY, *PER_LEVEL, "neat_.NeatPython")


def cases(quick):
    """Yield each case with the places of its peers."""
    if quick:
        yield networks.tiny(), ANY
        yield networks.layered((16, 24, 24, 4), 0.3), LAYERED
    else:
        yield networks.erdos_renyi_1k(), SMALL
        yield networks.erdos_renyi_10k(), LARGER
        yield networks.chain(), LARGER
        yield networks.layered(density=0.1), LAYERED
        yield networks.layered((1024, 2048, 2048, 10), 1.0), LAYERED
        yield networks.large(100_000, 12_000_000), LARGE


def measure(case, classes, quick):
    """Return a row for each peer of a case."""
    problem = race.make_problem(case, 1)
    rows, calls = {}, {}
    for name, peer_class in classes.items():
        contender = race.prepare(peer_class, problem, environment.THREADS)
        rows[name] = {"case": case.name, "edges": case.n_edges, "peer": name}
        rows[name]["note"] = contender.note
        if contender.peer is not None:
            calls |= _calls(name, contender.peer, problem.X)
    pace = {"rounds": 1, "seconds": 0.005} if quick else {"rounds": 5, "seconds": 0.05}
    for (name, what), seconds in measuring.interleaved(calls, **pace).items():
        rows[name][f"{what}_us"] = seconds * 1e6
    for row in rows.values():
        for what, flop in (("forward", 2), ("gradient", 6)):
            if row.get(f"{what}_us"):
                row[f"{what}_gflops"] = flop * case.n_edges / row[f"{what}_us"] / 1e3
        if row.get("forward_us"):
            row["forward_gbs"] = WEIGHT_BYTES * case.n_edges / row["forward_us"] / 1e3
    return list(rows.values())


def _calls(name, peer, X):
    """Return the timed calls of a peer, by name and quantity."""
    calls = {(name, "forward"): lambda: peer.predict(X)}
    if not getattr(peer, "forward_only", False):
        calls[name, "gradient"] = peer.raw_gradient
    return calls


def print_case(rows):
    """Print the peers of a case: microseconds, shares of the limits, and ratios to dagbp."""
    command.title(f"{rows[0]['case']}: {rows[0]['edges']:,} edges, batch 1, microseconds")
    ours = next((row for row in rows if row["peer"] == "dagbp"), {})
    lines = []
    for row in rows:
        lines.append(
            [
                row["peer"],
                *_time(row, "forward", ours.get("forward_us")),
                *_rate(row),
                *_time(row, "gradient", ours.get("gradient_us")),
                row["note"],
            ]
        )
    forward, gradient = ((kind, "of sgemm", "over dagbp") for kind in ("forward", "gradient"))
    command.table(["", *forward, "GB/s", "of copy", *gradient, ""], lines)


def _time(row, what, ours):
    """Return texts: microseconds, the share of sgemm, and the ratio to dagbp."""
    value = row.get(f"{what}_us")
    if not value:
        return "-", "-", "-"
    share = row[f"{what}_gflops"] / measuring.limits()["sgemm_gflops"]
    return f"{value:.1f}", f"{share:.2%}", f"{value / ours:.1f}" if ours else "-"


def _rate(row):
    """Return texts: GB/s of weights in the forward pass, and their share of a copy."""
    rate = row.get("forward_gbs")
    if not rate:
        return "-", "-"
    return f"{rate:.1f}", f"{rate / measuring.limits()['copy_gbs']:.0%}"


def main(arguments):
    """Print a table for each case, and write the rows."""
    options = command.start("latency", __doc__, arguments)
    rows = []
    for case, places in cases(options.quick):
        classes, _ = peers.load(places, options.peers)
        here = measure(case, classes, options.quick)
        print_case(here)
        rows += here
    results.save("latency", rows, options.quick)
