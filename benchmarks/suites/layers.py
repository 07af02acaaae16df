"""Layered networks, from sparse to dense: the density at which dense layers win.

    python -m benchmarks layers                      # one thread for all sides
    DAGBP_THREADS=2 python -m benchmarks layers

Measures one training step (forward, loss, backward, every gradient, SGD) of 784-1024-1024-10. Peers
take turns in one process, and times are medians. Gradients are checked first. GF/s are effective:
6 flop an edge and sample, for edges that exist, so multiplications by zero do not count.
"""

import gc
import math

from .. import peers
from ..harness import command, measuring, networks, race, results

DENSITIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
BATCHES = (128, 1024)
QUICK = {"sizes": (16, 24, 24, 4), "densities": (0.2, 1.0), "batches": (16,)}
LONGEST = 2.0  # seconds: a peer with a longer step is left out at that density
DENSE = ("PyTorch dense", "JAX dense")


def measure(classes, sizes, densities, batch, quick):
    """Return a row for each density and peer."""
    rows, last = [], {}
    for density in densities:
        problem = race.make_problem(networks.layered(sizes, density), batch)
        edges = problem.case.n_edges
        slow = {name for name, row in last.items() if _expected(row, edges) > LONGEST}
        taking_part = {name: peer for name, peer in classes.items() if name not in slow}
        found = race.race(problem, taking_part, quick=quick, longest=LONGEST)
        for name in slow:
            found[name] = {"note": f"skipped: would take over {LONGEST:.0f} s a step"}
        ours = found.get("dagbp", {}).get("ms")
        for name in classes:
            row = {"peer": name, "batch": batch, "density": density, "edges": edges}
            row |= found[name]
            if ours and row.get("ms"):
                row["over_dagbp"] = row["ms"] / ours
            rows.append(row)
            last[name] = row
        del problem, found
        gc.collect()
        print(f"{density:.1%} measured", flush=True)
    return rows


def _expected(row, edges):
    """Return the expected seconds of a step, in proportion to edges; infinite after a skip."""
    if row.get("ms"):
        return row["ms"] / 1e3 * edges / max(row["edges"], 1)
    return math.inf if row["note"].startswith("skipped") else 0.0


def crossovers(rows, batch):
    """Return, for each dense peer, the density up to which dagbp is faster."""
    found = []
    for name in DENSE:
        points = [
            (row["density"], row["over_dagbp"])
            for row in rows
            if row["peer"] == name and row.get("over_dagbp")
        ]
        if not points:
            continue
        density = measuring.crossing(*zip(*points, strict=True))
        ratios = [ratio for _, ratio in points]
        if not math.isnan(density):
            note = f"dagbp is faster below {density:.0%} density"
        elif min(ratios) >= 1:
            note = "none: dagbp is faster everywhere"
        else:
            note = "none: dagbp is slower from the lowest density on"
        crossing = None if math.isnan(density) else density
        found.append({"peer": name, "batch": batch, "density": crossing, "note": note})
    return found


def print_steps(rows, batch, names):
    """Print milliseconds and rates by peer and density."""
    densities = list(dict.fromkeys(row["density"] for row in rows))
    cells = {(row["peer"], row["density"]): row for row in rows}
    marks = [f"{density:.3g}" for density in (100 * d for d in densities)]
    command.title(f"training step in ms, batch {batch}, by density in %")
    command.table(
        ["", *marks],
        [[name, *(_ms(cells[name, density]) for density in densities)] for name in names],
    )
    for name in names:
        here = [cells[name, density] for density in densities]
        for note in dict.fromkeys(row["note"] for row in here if row["note"]):
            print(f"  {name}: {note}")
    print(f"largest difference of a gradient: {_largest_gap(rows)}")

    command.title(f"effective GF/s (share of sgemm), batch {batch}, by density in %")
    command.table(
        ["", *marks],
        [[name, *(_rate(cells[name, density]) for density in densities)] for name in names],
    )
    lines = []
    for density in densities:
        ours = cells.get(("dagbp", density), {})
        others = [
            cells[name, density]
            for name in names
            if not name.startswith("dagbp") and _is_exact(cells[name, density])
        ]
        best = min(others, key=lambda row: row["ms"], default=None)
        if ours.get("ms") and best:
            text = f"{best['over_dagbp']:.2f}"
            lines.append([f"{100 * density:.3g} %", f"{ours['edges']:,}", best["peer"], text])
    if lines:
        command.title(f"the fastest float32 peer over dagbp, batch {batch}")
        command.table(["density", "edges", "peer", "ratio"], lines)


def _largest_gap(rows):
    """Return the largest differences of gradients as a text."""
    exact = [row["gradient_gap"] for row in rows if _is_exact(row)]
    others = [row["gradient_gap"] for row in rows if row.get("ms") and not _is_exact(row)]
    text = f"{max(exact):.1e} of the largest entry" if exact else "-"
    return text + (f", not float32: {max(others):.1e}" if others else "")


def _is_exact(row):
    return bool(row.get("ms")) and row["note"] != "not float32"


def _ms(row):
    return f"{row['ms']:.3f}" if row.get("ms") else "-"


def _rate(row):
    return f"{row['gflops']:.1f} ({row['share_of_sgemm']:.0%})" if row.get("ms") else "-"


def main(arguments):
    """Print the tables, and write the rows."""
    options = command.start("layers", __doc__, arguments)
    sizes, densities, batches = networks.SIZES, DENSITIES, BATCHES
    if options.quick:
        sizes, densities, batches = QUICK["sizes"], QUICK["densities"], QUICK["batches"]
    classes, left_out = peers.load(peers.LAYERS, options.peers)
    rows, found = [], []
    for batch in batches:
        command.title(f"layers {'-'.join(map(str, sizes))}, relu, batch {batch}")
        here = measure(classes, sizes, densities, batch, options.quick)
        print_steps(here, batch, list(classes))
        for crossing in crossovers(here, batch):
            print(f"\nagainst {crossing['peer']}: {crossing['note']}")
            found.append(crossing)
        rows += here
    content = {"steps": rows, "crossovers": found, "left_out": left_out}
    results.save("layers", content, options.quick)
