"""One sample at a time: what a call costs, Python included.

    python benchmarks/latency.py

Forward is `predict` of one sample, gradient is `loss_and_gradient` of one sample, in microseconds;
of a peer each is its nearest equal, given and giving NumPy arrays (a gradient in the peer's own
layout). Forward GB/s count the weights of edges that exist, 4 bytes each and once; the index of an
edge's source is as much again, where a peer reads it.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

import contest
import networks
import peers

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
# On larger and deeper graphs JAX compiles, and ffnet sorts, for minutes: dags.py has their starts.
LARGER = (*ANY, *PER_LEVEL, "neat_.NeatPython")


def cases(quick):
    """Yield each case and the places of the peers that apply to it."""
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
    problem = contest.make_problem(case, 1)
    rows, calls = {}, {}
    for name, peer_class in classes.items():
        contender = contest.prepare(peer_class, problem, measuring.THREADS)
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
    """Return what is timed of a peer, by name and kind."""
    calls = {(name, "forward"): lambda: peer.predict(X)}
    if not getattr(peer, "forward_only", False):
        calls[name, "gradient"] = peer.raw_gradient
    return calls


def print_case(rows):
    """Print a case's peers: microseconds, shares of the limits, and all over dagbp."""
    measuring.title(f"{rows[0]['case']}: {rows[0]['edges']:,} edges, batch 1, microseconds")
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
    measuring.table(["", *forward, "GB/s", "of copy", *gradient, ""], lines)


def _time(row, what, ours):
    """Return texts: microseconds, the share of sgemm, and how many times ours."""
    value = row.get(f"{what}_us")
    if not value:
        return "-", "-", "-"
    share = row[f"{what}_gflops"] / measuring.limits()["sgemm_gflops"]
    return f"{value:.1f}", f"{share:.2%}", f"{value / ours:.1f}" if ours else "-"


def _rate(row):
    """Return texts: the GB/s of weights on the way forward, and their share of a copy's."""
    rate = row.get("forward_gbs")
    if not rate:
        return "-", "-"
    return f"{rate:.1f}", f"{rate / measuring.limits()['copy_gbs']:.0%}"


def draw(rows):
    """Return what draws forward and gradient, one dot a peer, one line a case."""
    names = list(dict.fromkeys(row["case"] for row in rows))
    people = list(dict.fromkeys(row["peer"] for row in rows))
    looks = measuring.styles(people)

    def panels(forward, gradient):
        for axes, kind in ((forward, "forward"), (gradient, "gradient")):
            for person in people:
                key = f"{kind}_us"
                here = [row for row in rows if row["peer"] == person and key in row]
                points = [row[key] for row in here], [names.index(row["case"]) for row in here]
                style = {**looks[person], "linestyle": "none", "markersize": 9}
                axes.plot(*points, label=person, **style)
            axes.set(xscale="log", xlabel="microseconds, one sample", title=kind)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_yticks(range(len(names)), names if axes is forward else [""] * len(names))
        legend = forward.get_legend_handles_labels()
        forward.figure.legend(*legend, loc="outside lower center", ncols=4)

    return panels


def main():
    """Print a table for each case, keep the rows, and draw them."""
    options = measuring.start(__doc__)
    rows = []
    for case, places in cases(options.quick):
        classes, _ = peers.load(places, options.peers)
        here = measure(case, classes, options.quick)
        print_case(here)
        rows += here
    measuring.save("latency", rows, options.quick)
    measuring.figure("latency", draw(rows), options.quick, panels=2, height=4.5)


if __name__ == "__main__":
    main()
