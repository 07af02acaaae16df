"""Write README.md from what the full runs have left in results/, and the project's figures.

    python benchmarks/report.py

With `--quick`, what quick runs have left in the system's temporary folder becomes one there.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

import argparse
import json
import re
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import headline
from dags import summary

# What a row may hold, in the order of the columns: its heading, and how a value reads.
COLUMNS = {
    "peer": ("", "{}"),
    "activation": ("", "{}"),
    "limit": ("", "{}"),
    "x": ("", "{:,}"),
    "seconds": ("seconds", "{:.2f}"),
    "cold_s": ("cold, s", "{:.2f}"),
    "warm_s": ("warm, s", "{:.2f}"),
    "ms": ("step, ms", "{:.3f}"),
    "gflops": ("GF/s", "{:.1f}"),
    "share_of_sgemm": ("of sgemm", "{:.1%}"),
    "over_dagbp": ("over dagbp", "{:.2f}"),
    "over_relu": ("over relu", "{:.2f}"),
    "forward_ms": ("forward only, ms", "{:.1f}"),
    "forward_us": ("forward, µs", "{:.1f}"),
    "forward_gbs": ("weights, GB/s", "{:.1f}"),
    "gradient_us": ("gradient, µs", "{:.1f}"),
    "step_us": ("gradient and SGD, µs", "{:.1f}"),
    "gradient_gap": ("gradient off by", "{:.0e}"),
    "score": ("score", "{:.4f}"),
    "over_mlp": ("over MLP", "{:+.4f}"),
    "standard_error": ("s.e.", "{:.4f}"),
    "fit_s": ("fit, s", "{:.3f}"),
    "times_faster": ("times faster", "{:.1f}"),
    "note": ("", "{}"),
}

INTRODUCTION = """\
# Benchmarks

Made by `python benchmarks/report.py` out of `results/`; do not edit.

| command | what it measures |
|---|---|
| `python benchmarks/layers.py` | layers, from sparse to dense, and where dense ones win |
| `python benchmarks/dags.py` | arbitrary DAGs: first step cold and warm, then steady; `--large`: \
a million neurons |
| `python benchmarks/blocks.py` | what dense blocks gain, whatever way they are drawn |
| `python benchmarks/scaling.py` | how a step grows with edges, batch, depth and threads |
| `python benchmarks/latency.py` | one sample: forward and gradient, the Python call included |
| `python benchmarks/startup.py` | import, first network and fit, a million edges |
| `python benchmarks/limits.py` | what the machine can do: arithmetic, memory, row updates |
| `python benchmarks/activations.py` | what activations cost beside relu |
| `python benchmarks/estimators.py` | DAGClassifier and DAGRegressor beside scikit-learn's MLPs |

Each prints the machine and its limits, writes `results/NAME.json`, and draws `results/NAME.png` if
matplotlib is there. `--quick` runs tiny cases and leaves `results/` alone; `--peers torch,scipy`
takes these peers only; `DAGBP_THREADS=2` holds all sides to two cores in place of one.

dagbp, NumPy, SciPy and Numba are all that is needed. For the peers, each of which may be missing
(ffnet is built with gfortran):

```sh
pip install matplotlib torch jax sparselab connex neat-python ffnet scikit-learn
```

## How it is measured

- A training step is the same work for everybody: features, forward, squared error, backward, the
  gradient of every weight and bias, and plain SGD in place; relu and identity, float32. ffnet has
  only float64 and sigmoids; what is not float32 says so.
- Gradients are checked before anything is timed, against one in float64 or, of peers beside dagbp
  in one process, against dagbp's, which is checked so. A peer that is wrong is shown, not timed.
- "Cold" is a fresh process with empty caches, "warm" a fresh process with filled ones; steady times
  are medians, peers taking turns.
- GF/s are effective: 6 flop an edge and sample, for edges that exist. "Of sgemm" is their share of
  what NumPy's matrix product reaches on the same threads in the same run.
- All sides are held to the same cores, and glibc keeps large buffers for all of them, without which
  NumPy, SciPy and PyTorch would fault their pages in anew at every step. `OMP_WAIT_POLICY` is left
  at its default.
"""


class Section(NamedTuple):
    """What is written about one benchmark.

    Attributes
    ----------
    name : str
        Of the files in results/.
    title : str
    tables : callable
        Takes the rows and yields lines of Markdown.
    """

    name: str
    title: str
    tables: Callable


def markdown(header, lines):
    """Yield a table: the first column to the left, the others to the right."""
    yield ""
    for line in (header, ["--", *["--:"] * (len(header) - 1)], *lines):
        yield "| " + " | ".join(line) + " |"


def table(rows):
    """Yield the table of all that the rows hold."""
    columns = [
        (key, *COLUMNS[key])
        for key in COLUMNS
        if any(row.get(key) not in (None, "") for row in rows)
    ]
    lines = [
        [_text(row.get(key), form).replace("|", "\\|") for key, _, form in columns] for row in rows
    ]
    yield from markdown([heading for _, heading, _ in columns], lines)


def _text(value, form):
    return "" if value in (None, "") else form.format(value)


def by(rows, *keys):
    """Yield the rows of each group of neighbours that are alike in these keys."""
    for _, group in groupby(rows, itemgetter(*keys)):
        yield list(group)


def layers(content):
    """Yield a table of milliseconds by peer and density for each batch, and the crossovers."""
    for rows in by(content["steps"], "batch"):
        batch = rows[0]["batch"]
        densities = list(dict.fromkeys(row["density"] for row in rows))
        names = list(dict.fromkeys(row["peer"] for row in rows))
        cells = {(row["peer"], row["density"]): row for row in rows}
        yield from ("", f"Batch {batch:,}; ms a training step, by density:")
        lines = [
            [name, *(_text(cells[name, d].get("ms"), "{:.3f}") or "-" for d in densities)]
            for name in names
        ]
        if "dagbp" in names:
            ours = [cells["dagbp", d] for d in densities]
            lines.append(["dagbp, GF/s", *(_text(row.get("gflops"), "{:.0f}") for row in ours)])
            shares = [_text(row.get("share_of_sgemm"), "{:.0%}") for row in ours]
            lines.append(["dagbp, of sgemm", *shares])
        yield from markdown(["", *(f"{100 * d:.3g} %" for d in densities)], lines)
        yield ""
        for crossing in content["crossovers"]:
            if crossing["batch"] == batch:
                yield f"- Against {crossing['peer']}: {crossing['note']}."
        for name in names:
            for note in dict.fromkeys(cells[name, d]["note"] for d in densities):
                if note:
                    yield f"- {name}: {note}."


def dags(rows):
    """Yield dagbp beside the fastest peer, then a table for each graph."""
    yield from markdown(*summary(rows))
    for here in by(rows, "case"):
        first = here[0]
        sizes = ", ".join(f"{first[key]:,} {key}" for key in ("nodes", "edges", "levels"))
        yield from ("", f"**{first['case']}**: {sizes}, batch {first['batch']}")
        yield from table(here)


def blocks(rows):
    """Yield the table: a column for each order of nodes."""
    orders = list(dict.fromkeys(row["peer"] for row in rows))
    lines = []
    for here in by(rows, "case"):
        ms = {row["peer"]: row["ms"] for row in here}
        gain = f"{ms['left shuffled'] / ms['shuffled']:.2f}"
        texts = [_text(ms[order], COLUMNS["ms"][1]) for order in orders]
        lines.append([here[0]["case"], f"{here[0]['edges']:,}", *texts, gain])
    yield from ("", "A training step, ms, by the order in which nodes are drawn:")
    yield from markdown(["", "edges", *orders, "gain"], lines)


def latency(rows):
    """Yield a table for each case."""
    for here in by(rows, "case"):
        yield from ("", f"**{here[0]['case']}**, {here[0]['edges']:,} edges")
        yield from table(here)


def scaling(rows):
    """Yield the fitted exponents, then a table for each sweep."""
    for here in by(rows, "sweep"):
        name, slope = here[0]["sweep"], here[0]["exponent"]
        fitted = "" if slope is None else f": time ~ {name} ^ {slope:.2f}"
        yield from ("", f"By {name}{fitted} ({here[0]['constants']})")
        yield from table(here)


def startup(rows):
    """Yield dagbp's own start-up, then everybody's first step."""
    own = [[row["case"], f"{row['seconds']:.2f}"] for row in rows if "seconds" in row]
    yield from markdown(["", "seconds"], own)
    yield from ("", "From the start of the process to the end of the first training step:")
    yield from table([row for row in rows if "peer" in row])


def limits(rows):
    """Yield the table of limits, a column for each count of threads."""
    counts = list(dict.fromkeys(row["threads"] for row in rows))
    cells = {(row["limit"], row["threads"]): row["value"] for row in rows}
    units = {row["limit"]: row["unit"] for row in rows}
    lines = [
        [name, unit, *(_text(cells[name, count], "{:.1f}") for count in counts)]
        for name, unit in units.items()
    ]
    yield from markdown(
        ["", "", *(f"{count} thread{'s' * (count > 1)}" for count in counts)], lines
    )


def estimators(rows):
    """Yield a table for each data set."""
    for here in by([row for row in rows if "peer" in row], "case", "measure"):
        yield from ("", f"**{here[0]['case']}**, {here[0]['measure']}")
        yield from table(here)


SECTIONS = (
    Section("layers", "Layers, from sparse to dense", layers),
    Section("dags", "Arbitrary DAGs", dags),
    Section("dags_large", "A million neurons", dags),
    Section("blocks", "Dense blocks", blocks),
    Section("scaling", "How a step grows", scaling),
    Section("latency", "One sample at a time", latency),
    Section("startup", "Start-up", startup),
    Section("limits", "Limits of the machine", limits),
    Section("activations", "Activations", table),
    Section("estimators", "Beside scikit-learn's MLPs", estimators),
)


def described(content):
    """Yield where and when a file's figures were measured."""
    machine, limits = content["machine"], content["limits"]
    rates = f"sgemm {limits['sgemm_gflops']:.0f} GF/s, copy {limits['copy_gbs']:.1f} GB/s"
    cores = f"{machine['threads']} of {machine['cores']} cores"
    yield from ("", f"{content['date']}; {machine['processor']}, {cores}; {rates} in this run.")


def versions(machine):
    """Return the versions in a line."""
    other = ("processor", "cores", "threads")
    return ", ".join(f"{name} {value}" for name, value in machine.items() if name not in other)


def pages(folder):
    """Yield the lines of every section that a file is there for."""
    last = None
    for section in SECTIONS:
        pattern = re.compile(rf"{section.name}(_\d+_threads)?\.json")
        for path in sorted(p for p in folder.glob("*.json") if pattern.fullmatch(p.name)):
            content = json.loads(path.read_text())
            threads = int(content["machine"]["threads"])
            suffix = f", {threads} threads" if threads > 1 else ""
            yield from ("", f"## {section.title}{suffix}")
            yield from described(content)
            if versions(content["machine"]) != last:
                last = versions(content["machine"])
                yield last[0].upper() + last[1:] + "."
            yield from section.tables(content["rows"])
            chart = path.with_suffix(".png")
            if chart.exists():
                place = chart.relative_to(folder.parent if folder.name == "results" else folder)
                yield from ("", f"![{section.title}]({place.as_posix()})")


def text(folder):
    """Return the whole report of a folder's results."""
    return INTRODUCTION + "\n".join(pages(folder)) + "\n"


def main():
    """Write the file."""
    parser = argparse.ArgumentParser(description="Write README.md from results/.")
    parser.add_argument("--quick", action="store_true", help="from and to where quick runs write")
    quick = parser.parse_args().quick
    folder = measuring.folder(quick)
    target = (folder if quick else measuring.HERE) / "README.md"
    target.write_text(text(folder), encoding="utf-8")
    print(f"written: {target}")
    if not quick:
        readme = measuring.HERE.parent / "README.md"
        readme.write_text(headline.put_into(readme.read_text("utf-8"), folder), "utf-8")
        print(f"written: {readme}")


if __name__ == "__main__":
    main()
