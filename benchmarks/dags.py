"""Arbitrary DAGs: from nothing to the first step, and then step by step, against every peer.

    python benchmarks/dags.py              # one thread for all sides
    python benchmarks/dags.py --large      # a million neurons and 50 million edges instead

Each peer has a process of its own. "Cold" and "warm" are seconds from before its import to the end
of its first step, with the caches of its compiler empty and filled; NumPy and the arrays of the
problem are there already. "Steady" is a training step after that: forward, loss, backward, every
gradient, and SGD. The peers take turns, their gradients are checked first, against one in float64.
All is float32 but ffnet, which is float64 and sigmoid.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

import contextlib
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import networks
import peers
import workers
from peers.oracle import Oracle, clear_of_kinks

BATCH, LARGE_BATCH = 128, 32
LARGE = ("dagbp_.Dagbp", "torch_levels.TorchExpertLevels", "scipy_levels.ScipyLevels")


def cases(quick, large):
    """Return the functions that build what is trained."""
    if quick:
        return [networks.tiny]
    if large:
        return [networks.large]
    return [
        networks.erdos_renyi_1k,
        networks.erdos_renyi_10k,
        networks.watts_strogatz,
        networks.barabasi_albert,
        networks.chain,
    ]


def write_problem(path, build, batch, sigmoid):
    """Draw a problem, write it for the workers, and return what it is, for every row.

    Parameters
    ----------
    path : path
    build : callable
        Returns the case.
    batch : int
    sigmoid : bool
        Whether the gradient of a net of sigmoids is needed too, which takes as long again.
    """
    case = build()
    parameters = networks.draw_parameters(case)
    oracle = Oracle(case, parameters)
    X, Y = networks.draw_batch(case, batch + batch // 4 + 8)
    X, Y = clear_of_kinks(oracle, X, batch), Y[:batch]
    gradients = {"relu": oracle.gradient(X, Y)}
    if sigmoid:
        gradients["sigmoid"] = Oracle(case, parameters, sigmoid=True).gradient(X, Y)
    workers.write_problem(path, case, parameters, X, Y, **gradients)
    return {
        "case": case.name,
        "nodes": case.n_nodes,
        "edges": case.n_edges,
        "levels": len(oracle.levels.spans),
        "batch": batch,
    }


def in_own_process(function, *arguments):
    """Return what a function returns; the memory that it took is free again."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(build, places, batch, limit, rounds, together):
    """Return a row for each peer: first steps, steady steps, or why there are none.

    Peers that are not measured together are started and ended one by one, for want of memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder, "problem.npz")
        facts = in_own_process(write_problem, problem, build, batch, "ffnet_.Ffnet" in places)
        rows = []
        for group in [places] if together else [[place] for place in places]:
            rows += measure_group(problem, group, limit, rounds)
    return [row | facts for row in rows]


def measure_group(problem, places, limit, rounds):
    """Return a row for each of the peers, which take turns."""
    rows, ready = {}, {}
    with contextlib.ExitStack() as stack:
        for place in places:
            row = rows[place] = {"peer": place, "place": place, "note": ""}
            try:
                ready[place] = stack.enter_context(_start(place, problem, limit, row))
            except workers.NoResultError as error:
                row["note"] = str(error)
                print(f"{row['peer']}: {error}", flush=True)
        times, failed = workers.take_turns(ready, rounds)
    for place, error in failed.items():
        rows[place]["note"] = error
    for place, seconds in times.items():
        kind = "forward_ms" if ready[place].forward_only else "ms"
        rows[place][kind] = seconds * 1e3
    return list(rows.values())


def _start(place, problem, limit, row):
    """Return a checked worker, the second of its peer; note in the row what was seen."""
    cache = problem.parent / place  # a folder of its own, empty at first
    with workers.Worker(place, problem, cache, limit) as cold:
        row["peer"], row["cold_s"] = cold.name, cold.first_step
    worker = workers.Worker(place, problem, cache, limit)
    row["warm_s"] = worker.first_step
    if not worker.forward_only:
        row["gradient_gap"] = worker.gap()
    return worker


def complete(rows):
    """Add to the rows of a case each step's rate, its share of the limit, and its ratio to ours."""
    ours, _ = ours_and_best(rows)
    for row in rows:
        if "ms" in row:
            row["gflops"] = 6 * row["edges"] * row["batch"] / row["ms"] / 1e6
            row["share_of_sgemm"] = row["gflops"] / measuring.limits()["sgemm_gflops"]
            row["over_dagbp"] = row["ms"] / ours["ms"] if ours else None


def ours_and_best(rows):
    """Return dagbp's row, and that of the fastest of all others; None where there is no step."""
    ours = [row for row in rows if "ms" in row and row["peer"] == "dagbp"]
    others = [row for row in rows if "ms" in row and row["peer"] != "dagbp"]
    best = min(others, key=lambda row: row["ms"], default=None)
    return ours[0] if ours else None, best


def summary(rows):
    """Return heading and lines of a table with one line a case: dagbp and the fastest peer."""
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        here = [row for row in rows if row["case"] == case]
        ours, best = ours_and_best(here)
        sizes = [f"{here[0][key]:,}" for key in ("edges", "levels")]
        times = [f"{row['ms']:.3f}" if row else "-" for row in (ours, best)]
        ratio = f"{best['over_dagbp']:.2f}" if ours and best else "-"
        lines.append([case, *sizes, *times, ratio, best["peer"] if best else "-"])
    return ["", "edges", "levels", "dagbp, ms", "best peer, ms", "ratio", "best peer"], lines


def print_case(rows):
    """Print the peers of one case."""
    first = rows[0]
    sizes = ", ".join(f"{first[key]:,} {key}" for key in ("nodes", "edges", "levels"))
    measuring.title(f"{first['case']}: {sizes}, batch {first['batch']}")
    _, best = ours_and_best(rows)
    lines = []
    for row in rows:
        texts = [
            row["peer"] + (" *" if row is best else ""),
            *(_text(row.get(key), ".2f") for key in ("cold_s", "warm_s")),
            _text(row.get("ms"), ".3f"),
            _text(row.get("gflops"), ".1f"),
            _text(row.get("share_of_sgemm"), ".1%"),
            _text(row.get("over_dagbp"), ".2f"),
            _text(row.get("forward_ms"), ".3f"),
            row["note"],
        ]
        lines.append(texts)
    header = "peer", "cold s", "warm s", "step ms", "GF/s", "of sgemm", "over dagbp", "forward ms"
    measuring.table([*header, ""], lines)
    print("* the fastest peer; forward ms: of a peer that has no gradient")


def _text(value, form):
    return "-" if value is None else format(value, form)


def draw(rows):
    """Return what draws steady and cold times, a line of dots for each case."""
    names = list(dict.fromkeys(row["case"] for row in rows))
    people = list(dict.fromkeys(row["peer"] for row in rows if "ms" in row))
    looks = measuring.styles(people)

    def panels(steady, cold):
        for axes, key, label in (
            (steady, "ms", "one training step, ms"),
            (cold, "cold_s", "first step from nothing, s"),
        ):
            for person in people:
                here = [row for row in rows if row["peer"] == person and "ms" in row]
                values = [row[key] for row in here]
                places = [names.index(row["case"]) for row in here]
                style = {**looks[person], "linestyle": "none", "markersize": 8}
                axes.plot(values, places, label=person, **style)
            axes.set(xscale="log", xlabel=label, ylim=(len(names) - 0.5, -0.5))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
            axes.set_yticks(range(len(names)), names if axes is steady else [""] * len(names))
        steady.figure.legend(
            *steady.get_legend_handles_labels(), loc="outside lower center", ncols=3
        )

    return panels


def main():
    """Print a table for each graph, keep the rows, and draw them."""
    options = measuring.start(
        __doc__,
        large={"action": "store_true", "help": "1,000,000 neurons, 50,000,000 edges, batch 32"},
        limit={"type": float, "default": 120, "help": "seconds for a first step (default: 120)"},
    )
    places = [
        place
        for place in (LARGE if options.large else peers.DAGS)
        if not options.peers or any(part in place.lower() for part in options.peers)
    ]
    if not places:
        raise SystemExit(f"no peer here contains any of {options.peers}")
    batch, rounds = LARGE_BATCH if options.large else BATCH, 1 if options.quick else 5
    rows = []
    for build in cases(options.quick, options.large):
        here = measure(build, places, batch, options.limit, rounds, together=not options.large)
        complete(here)
        print_case(here)
        rows += here
        missing = {row["place"] for row in here if row["note"].startswith(workers.LEFT_OUT)}
        places = [place for place in places if place not in missing]
    measuring.title("dagbp and the fastest peer")
    measuring.table(*summary(rows))
    name = "dags_large" if options.large else "dags"
    measuring.save(name, rows, options.quick)
    height = 2 + 0.8 * len({row["case"] for row in rows})
    measuring.figure(name, draw(rows), options.quick, panels=2, height=height)


if __name__ == "__main__":
    main()
