"""Layered networks, from sparse to dense: the density at which dense layers win.

    python benchmarks/layers.py                      # one thread for all sides
    DAGBP_THREADS=2 python benchmarks/layers.py

One training step (forward, loss, backward, every gradient, SGD) of 784-1024-1024-10, steady: the
median over turns that all peers take in one process, their gradients checked first. GF/s are
effective: 6 flop an edge and sample, for edges that exist, so dense peers are charged for no zeros.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

import gc
import math

import contest
import networks
import peers

DENSITIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
BATCHES = (128, 1024)
QUICK = {"sizes": (16, 24, 24, 4), "densities": (0.2, 1.0), "batches": (16,)}
LONGEST = 2.0  # seconds: a peer that would take longer for a step is left out at that density
DENSE = ("PyTorch dense", "JAX dense")


def measure(classes, sizes, densities, batch, quick):
    """Return a row for each density and peer."""
    rows, last = [], {}
    for density in densities:
        problem = contest.make_problem(networks.layered(sizes, density), batch)
        edges = problem.case.n_edges
        slow = {name for name, row in last.items() if _expected(row, edges) > LONGEST}
        taking_part = {name: peer for name, peer in classes.items() if name not in slow}
        results = contest.contest(problem, taking_part, quick=quick, longest=LONGEST)
        for name in slow:
            results[name] = {"note": f"skipped: would take over {LONGEST:.0f} s a step"}
        ours = results.get("dagbp", {}).get("ms")
        for name in classes:
            row = {"peer": name, "batch": batch, "density": density, "edges": edges}
            row |= results[name]
            if ours and row.get("ms"):
                row["over_dagbp"] = row["ms"] / ours
            rows.append(row)
            last[name] = row
        del problem, results
        gc.collect()
        print(f"{density:.1%} measured", flush=True)
    return rows


def _expected(row, edges):
    """Return a step's seconds at more edges, should it grow with them; endless if it failed so."""
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
    """Print milliseconds by peer and density, and what dagbp's come to."""
    densities = list(dict.fromkeys(row["density"] for row in rows))
    cells = {(row["peer"], row["density"]): row for row in rows}
    marks = [f"{density:.3g}" for density in (100 * d for d in densities)]
    measuring.title(f"training step in ms, batch {batch}, by density in %")
    measuring.table(
        ["", *marks],
        [[name, *(_ms(cells[name, density]) for density in densities)] for name in names],
    )
    for name in names:
        here = [cells[name, density] for density in densities]
        for note in dict.fromkeys(row["note"] for row in here if row["note"]):
            print(f"  {name}: {note}")
    print(f"largest difference of a gradient: {_largest_gap(rows)}")

    measuring.title(f"effective GF/s (share of sgemm), batch {batch}, by density in %")
    measuring.table(
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
        measuring.title(f"the fastest float32 peer over dagbp, batch {batch}")
        measuring.table(["density", "edges", "peer", "ratio"], lines)


def _largest_gap(rows):
    """Return in words how far the gradients of float32, and of less, are off."""
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


def draw(rows, found):
    """Return what draws time over density, one panel a batch."""
    names = list(dict.fromkeys(row["peer"] for row in rows if row.get("ms")))
    looks = measuring.styles(names)

    def panels(*axes):
        for panel, batch in zip(axes, dict.fromkeys(row["batch"] for row in rows), strict=True):
            here = [row for row in rows if row["batch"] == batch]
            series = {name: _points(here, name) for name in names}
            measuring.draw_lines(panel, series, looks)
            panel.set(xscale="log", yscale="log", title=f"batch {batch}", xlabel="density, %")
            densities = list(dict.fromkeys(100 * row["density"] for row in here))
            panel.set_xticks(densities, [f"{density:.3g}" for density in densities], minor=False)
            panel.set_xticks([], minor=True)
            _mark(panel, [c for c in found if c["batch"] == batch and c["density"]])
        axes[0].set_ylabel("one training step, ms")
        legend = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(*legend, loc="outside lower center", ncols=4)

    return panels


def _points(rows, name):
    rows = [row for row in rows if row["peer"] == name]
    return [100 * row["density"] for row in rows], [row.get("ms") or math.nan for row in rows]


def _mark(panel, found):
    """Draw a line where dagbp stops being faster than a dense peer."""
    for k, crossing in enumerate(found):
        density = 100 * crossing["density"]
        panel.axvline(density, color="black", linestyle=":", linewidth=1)
        panel.annotate(
            f"{crossing['peer']}: {density:.0f} % ",
            (density, 0.98 - 0.05 * k),
            xycoords=("data", "axes fraction"),
            ha="right",
            va="top",
            fontsize=9,
        )


def main():
    """Print the tables, keep the rows, and draw them."""
    options = measuring.start(__doc__)
    sizes, densities, batches = networks.SIZES, DENSITIES, BATCHES
    if options.quick:
        sizes, densities, batches = QUICK["sizes"], QUICK["densities"], QUICK["batches"]
    classes, left_out = peers.load(peers.LAYERS, options.peers)
    rows, found = [], []
    for batch in batches:
        measuring.title(f"layers {'-'.join(map(str, sizes))}, relu, batch {batch}")
        here = measure(classes, sizes, densities, batch, options.quick)
        print_steps(here, batch, list(classes))
        for crossing in crossovers(here, batch):
            print(f"\nagainst {crossing['peer']}: {crossing['note']}")
            found.append(crossing)
        rows += here
    content = {"steps": rows, "crossovers": found, "left_out": left_out}
    measuring.save("layers", content, options.quick)
    measuring.figure("layers", draw(rows, found), options.quick, panels=len(batches), height=7)


if __name__ == "__main__":
    main()
