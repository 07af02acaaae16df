"""The figures of the project's README, out of results/; `report.py` writes them there."""

import json
from textwrap import fill

BEGIN, END = "<!-- figures: benchmarks/report.py -->", "<!-- end of figures -->"
DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
DENSE = ("PyTorch dense", "JAX dense")
SPARSE = (
    *("PyTorch expert", "PyTorch expert, SparseLab's dW", "SparseLab"),
    *("torch.sparse CSR", "SciPy CSR", "JAX BCOO"),
)


def put_into(readme, folder):
    """Return the README's text with today's figures in it."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{figures(folder)}\n{END}{after}"


def figures(folder):
    """Return the figures: layers, then graphs, then one sample and start-up."""

    def read(name):
        return json.loads((folder / f"{name}.json").read_text())

    parts = [*_layers(read("layers")), *_dags(read("dags")), _latency(read("latency"))]
    return "\n\n".join([*parts, _startup(read("startup"), read("startup_2_threads"))])


def _prose(text):
    return fill(text, 100, break_on_hyphens=False)


def _where(content):
    machine = content["machine"]
    sgemm = content["limits"]["sgemm_gflops"]
    return f"one core of an {machine['processor']}, whose sgemm makes {sgemm:.0f} GF/s"


def _table(head, lines):
    rule = ["--:" if k else "---" for k in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _layers(content):
    yield _prose(
        f"On {_where(content)}, {content['date']}, float32: one training step with SGD of layers "
        "784-1024-1024-10, in ms, and over dagbp's (`python benchmarks/layers.py`). Every gradient "
        "is checked first."
    )
    steps = content["rows"]["steps"]
    for batch in dict.fromkeys(row["batch"] for row in steps):
        cells = {(r["peer"], r["density"]): r for r in steps if r["batch"] == batch and r.get("ms")}
        lines = [_line(cells, density) for density in DENSITIES]
        head = ["density", "dagbp", "GF/s", *DENSE, "fastest sparse peer"]
        yield f"Batch {batch:,}:\n\n{_table(head, lines)}"
    notes = [
        f"at batch {one['batch']:,} against {one['peer']}: {one['note'].removeprefix('none: ')}"
        for one in content["rows"]["crossovers"]
    ]
    yield _prose(
        "GF/s count 6 flop an edge and sample, for edges that exist. By density, "
        f"{'; '.join(notes)}. PyTorch's bf16 autocast is in the full tables: its gradients are not "
        "those of float32."
    )


def _line(cells, density):
    ours = cells["dagbp", density]

    def beside(name, words=""):
        row = cells.get((name, density))
        return f"{row['ms']:.2f} ({row['ms'] / ours['ms']:.3g}x){words}" if row else "-"

    sparse = [cells[name, density] for name in SPARSE if (name, density) in cells]
    fastest = min(sparse, key=lambda row: row["ms"])["peer"]
    return [
        f"{density:.0%}",
        f"{ours['ms']:.2f} ms",
        f"{ours['gflops']:.0f}",
        *map(beside, DENSE),
        beside(fastest, f", {fastest}"),
    ]


def _dags(content):
    yield _prose(
        "Graphs that no dense layer can run, batch 128, beside the fastest of the other ways "
        f"(`python benchmarks/dags.py`), on {_where(content)}:"
    )
    lines = []
    for case in dict.fromkeys(row["case"] for row in content["rows"]):
        here = [row for row in content["rows"] if row["case"] == case and row.get("ms")]
        ours = next(row for row in here if row["peer"] == "dagbp")
        best = min((row for row in here if row is not ours), key=lambda row: row["ms"])
        sizes = f"{case}: {ours['edges']:,} edges, {ours['levels']:,} levels"
        peer = f"{best['ms'] / ours['ms']:.2g}x: {best['peer']}"
        lines.append([sizes, f"{ours['ms']:.3g} ms", f"{ours['gflops']:.0f}", peer])
    yield _table(["", "dagbp", "GF/s", "fastest peer"], lines)


def _latency(content):
    first = content["rows"][0]["case"]
    here = [row for row in content["rows"] if row["case"] == first]
    ours = next(row for row in here if row["peer"] == "dagbp")
    others = [row for row in here if row is not ours]
    fastest = {
        key: min((row for row in others if row.get(key)), key=lambda row: row[key])
        for key in ("forward_us", "gradient_us")
    }
    told = " and ".join(f"{row[key]:.0f} ({row['peer']})" for key, row in fastest.items())
    return _prose(
        f"One sample through the first of these takes {ours['forward_us']:.0f} µs forward and "
        f"{ours['gradient_us']:.0f} µs with its gradient, the Python call included; the fastest "
        f"peers take {told} (`latency.py`). Large nets run at the pace of memory, reading each "
        "weight once."
    )


def _startup(content, on_two):
    one, two = (
        next(row for row in each["rows"] if row.get("peer") == "dagbp")
        for each in (content, on_two)
    )
    seconds = {row["case"]: row["seconds"] for row in content["rows"] if "seconds" in row}
    arrays, graph = (seconds[f"1,000,000 edges from {what}"] for what in ("arrays", "NetworkX"))
    return _prose(
        f"The first training step ends {one['cold_s']:.1f} s after the start of a process with "
        f"an empty cache, {two['cold_s']:.1f} s on two cores, and {one['warm_s']:.1f} s after that "
        "of later ones (`startup.py`): Numba compiles the kernels once, whatever the topology. A "
        "million edges compile in "
        f"{arrays:.1f} s from arrays and in {graph:.1f} s from NetworkX."
    )
