"""Write benchmarks/README.md, and the figures of the project's README, from the results.

    python -m benchmarks report

With ``--quick`` it writes a report of the quick runs into the temporary folder.
"""

import re
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ..suites import SUITES
from ..suites.dags import summary
from . import command, headline, results

# The keys of a row in the order of the columns: heading, and format of a value.
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

COMMANDS = "\n".join(f"| `python -m benchmarks {name}` | {text} |" for name, text in SUITES.items())
INTRODUCTION = f"""\
# Benchmarks

Made by `python -m benchmarks report` from `results/`; do not edit.

| command | measures |
|---|---|
{COMMANDS}

Run the commands in the folder above this one. Each prints the machine and its limits, and writes
`results/PROCESSOR/SUITE.json`. `--quick` runs tiny cases and leaves `results/` unchanged;
`--peers torch,scipy` takes these peers only; `DAGBP_THREADS=2` gives all sides two cores instead of
one. `compare OLD NEW` takes the folders of two source trees of dagbp and writes nothing.

dagbp with NumPy, SciPy and Numba is enough. Each peer is optional (ffnet needs gfortran):

```sh
pip install torch jax sparselab connex neat-python ffnet scikit-learn
```

## Method

- A training step is the same work for all: features, forward, squared error, backward, the
  gradient of every weight and bias, and plain SGD in place; relu and identity, float32. ffnet has
  only float64 and sigmoids. The tables mark everything that is not float32.
- Gradients are checked before anything is timed, against one in float64. In a suite that runs all
  peers in one process, peers are checked against dagbp's gradient, which is checked in float64.
  Peers with wrong gradients are shown, and not timed.
- "Cold" is a fresh process with empty caches, "warm" a fresh process with filled ones. Steady times
  are medians, and peers take turns.
- GF/s are effective: 6 flop an edge and sample, for edges that exist. "Of sgemm" is the share of
  the rate of NumPy's matrix product on the same threads in the same run.
- All sides run on the same cores. glibc keeps large buffers for all of them; without that, NumPy,
  SciPy and PyTorch would fault in their pages again at every step. `OMP_WAIT_POLICY` keeps its
  default.
"""


class Section(NamedTuple):
    """A section of the report.

    Attributes
    ----------
    name : str
        Stem of the suite's results file.
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
    """Yield a table with a column for each key of the rows."""
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
    """Yield the rows of each run with equal values of these keys."""
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
    """Yield a table with a column for each order of nodes."""
    orders = list(dict.fromkeys(row["peer"] for row in rows))
    lines = []
    for here in by(rows, "case"):
        ms = {row["peer"]: row["ms"] for row in here}
        gain = f"{ms['left shuffled'] / ms['shuffled']:.2f}"
        texts = [_text(ms[order], COLUMNS["ms"][1]) for order in orders]
        lines.append([here[0]["case"], f"{here[0]['edges']:,}", *texts, gain])
    yield from ("", "A training step, ms, by the order of nodes:")
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
    """Yield the start-up of dagbp, then the first steps of all."""
    own = [[row["case"], f"{row['seconds']:.2f}"] for row in rows if "seconds" in row]
    yield from markdown(["", "seconds"], own)
    yield from ("", "From the start of the process to the end of the first training step:")
    yield from table([row for row in rows if "peer" in row])


def limits(rows):
    """Yield the table of limits with a column for each number of threads."""
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
    Section("scaling", "Growth of a step", scaling),
    Section("latency", "One sample at a time", latency),
    Section("startup", "Start-up", startup),
    Section("limits", "Limits of the machine", limits),
    Section("activations", "Activations", table),
    Section("estimators", "Beside scikit-learn's MLPs", estimators),
)


def described(content):
    """Yield the date, the machine and its limits in the run of a results file."""
    machine, limits = content["machine"], content["limits"]
    rates = f"sgemm {limits['sgemm_gflops']:.0f} GF/s, copy {limits['copy_gbs']:.1f} GB/s"
    cores = f"{machine['threads']} of {machine['cores']} cores"
    yield from ("", f"{content['date']}; {headline.where(content)}; {cores}; {rates} in this run.")


def versions(machine):
    """Return the versions in a line."""
    other = ("processor", "instruction_set", "cores", "threads")
    text = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in other)
    return text[0].upper() + text[1:] + "."


def pages(folder):
    """Yield the lines of a processor's folder: a section for each results file."""
    last = None
    for section in SECTIONS:
        pattern = re.compile(rf"{section.name}(_\d+_threads)?\.json")
        for path in sorted(p for p in folder.glob("*.json") if pattern.fullmatch(p.name)):
            content = results.read(path.stem, folder)
            if last is None:
                yield from ("", f"## {headline.where(content)}")
            threads = int(content["machine"]["threads"])
            suffix = f", {threads} threads" if threads > 1 else ""
            yield from ("", f"### {section.title}{suffix}")
            yield from described(content)
            if versions(content["machine"]) != last:
                last = versions(content["machine"])
                yield last
            yield from section.tables(content["rows"])


def text(parent=results.RESULTS):
    """Return the report of all processors, the chosen one first."""
    folders = sorted(
        filter(Path.is_dir, parent.iterdir()), key=lambda path: (path != results.CHOSEN, path.name)
    )
    return INTRODUCTION + "\n".join(line for path in folders for line in pages(path)) + "\n"


def main(arguments):
    """Write the report."""
    quick = command.parser_of("report", __doc__).parse_args(arguments).quick
    if quick:
        parent = results.folder(quick).parent
        targets = {parent / "README.md": text(parent)}
    else:
        readme = results.ROOT.parent / "README.md"
        changed = headline.put_into(readme.read_text(encoding="utf-8"))
        targets = {results.ROOT / "README.md": text(), readme: changed}
    for target, content in targets.items():
        target.write_text(content, encoding="utf-8")
        print(f"written: {target}")
