"""Arbitrary DAGs: the first step, then steady steps, of dagbp and every peer.

    python -m benchmarks dags              # one thread for all sides
    python -m benchmarks dags --large      # a million neurons and 50 million edges

Each peer has a process of its own. "Cold" and "warm" are seconds from before its import to the end
of its first step, with empty and with filled caches of its compiler; NumPy and the problem's arrays
are loaded before. "Steady" is a training step after that: forward, loss, backward, every gradient,
and SGD. Peers take turns. Gradients are checked first, against one in float64. All peers compute in
float32, except ffnet: it has only float64 and sigmoids.
"""

import contextlib
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .. import peers
from ..harness import command, isolated_peers, measuring, networks, processes, results
from ..peers.bases.oracle import Oracle, clear_of_kinks

BATCH, LARGE_BATCH = 128, 32
LARGE = ("dagbp_.Dagbp", "torch_levels.TorchExpertLevels", "scipy_levels.ScipyLevels")


def cases(quick, large):
    """Return the functions that build the cases."""
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
    """Draw a problem, write it for the child processes, and return its sizes.

    Parameters
    ----------
    path : path
    build : callable
        Returns the case.
    batch : int
    sigmoid : bool
        Whether to add the gradient of a network of sigmoids. It takes as long as the other one.
    """
    case = build()
    parameters = networks.draw_parameters(case)
    oracle = Oracle(case, parameters)
    X, Y = networks.draw_batch(case, batch + batch // 4 + 8)
    X, Y = clear_of_kinks(oracle, X, batch), Y[:batch]
    gradients = {"relu": oracle.gradient(X, Y)}
    if sigmoid:
        gradients["sigmoid"] = Oracle(case, parameters, sigmoid=True).gradient(X, Y)
    isolated_peers.write_problem(path, case, parameters, X, Y, **gradients)
    return {
        "case": case.name,
        "nodes": case.n_nodes,
        "edges": case.n_edges,
        "levels": len(oracle.levels.spans),
        "batch": batch,
    }


def in_own_process(function, *arguments):
    """Return the result of a function. Its process frees all memory when it ends."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(build, places, batch, limit, rounds, together):
    """Return a row for each peer: first steps and steady steps, or the reason for none.

    With ``together=False`` one peer runs at a time, to save memory.
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
            except processes.NoAnswerError as error:
                row["note"] = str(error)
                print(f"{row['peer']}: {error}", flush=True)
        times, failed = isolated_peers.take_turns(ready, rounds)
    for place, error in failed.items():
        rows[place]["note"] = error
    for place, seconds in times.items():
        kind = "forward_ms" if ready[place].forward_only else "ms"
        rows[place][kind] = seconds * 1e3
    return list(rows.values())


def _start(place, problem, limit, row):
    """Start a peer twice, cold and warm, note times and check in the row; return the second."""
    cache = problem.parent / place  # a folder of its own, empty at first
    with isolated_peers.IsolatedPeer(place, problem, cache, limit) as cold:
        row["peer"], row["cold_s"] = cold.name, cold.first_step
    warm = isolated_peers.IsolatedPeer(place, problem, cache, limit)
    row["warm_s"] = warm.first_step
    if not warm.forward_only:
        row["gradient_gap"] = warm.gap()
    return warm


def complete(rows):
    """Add to the rows of a case the rate, its share of sgemm, and the ratio to dagbp."""
    ours, _ = ours_and_best(rows)
    for row in rows:
        if "ms" in row:
            row["gflops"] = 6 * row["edges"] * row["batch"] / row["ms"] / 1e6
            row["share_of_sgemm"] = row["gflops"] / measuring.limits()["sgemm_gflops"]
            row["over_dagbp"] = row["ms"] / ours["ms"] if ours else None


def ours_and_best(rows):
    """Return the rows of dagbp and of the fastest peer; None if there is no step."""
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
    command.title(f"{first['case']}: {sizes}, batch {first['batch']}")
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
    command.table([*header, ""], lines)
    print("* the fastest peer; forward ms: of a peer that has no gradient")


def _text(value, form):
    return "-" if value is None else format(value, form)


def main(arguments):
    """Print a table for each graph, and write the rows."""
    options = command.start(
        "dags",
        __doc__,
        arguments,
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
        missing = {row["place"] for row in here if row["note"].startswith(isolated_peers.LEFT_OUT)}
        places = [place for place in places if place not in missing]
    command.title("dagbp and the fastest peer")
    command.table(*summary(rows))
    name = "dags_large" if options.large else "dags"
    results.save(name, rows, options.quick)
