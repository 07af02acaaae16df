"""Figures that the README and the documentation quote, from results; `report` writes them."""

from textwrap import fill

from .results import CHOSEN, read

BEGIN, END = "<!-- figures: python -m benchmarks report -->", "<!-- end of figures -->"
DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
DENSE = ("PyTorch dense", "JAX dense")
SPARSE = (
    *("PyTorch expert", "PyTorch expert, SparseLab's dW", "SparseLab"),
    *("torch.sparse CSR", "SciPy CSR", "JAX BCOO"),
)


def put_into(readme, place=CHOSEN):
    """Return the README's text with the figures of a folder of results."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{sentences(place)}\n{END}{after}"


def sentences(place=CHOSEN, density=0.1, batch=128):
    """Return the sentences of the README: a step of layers, graphs, one sample."""
    content, latency = read("layers", place), one_sample(place)
    cells = _cells(content, batch)
    ours, dense = cells["dagbp", density], cells["PyTorch dense", density]
    sparse = _fastest_sparse(cells, density)
    ratios = [row["ratio"] for row in graphs(read("dags", place)["rows"])]
    text = (
        f"On one core of an {where(content)}, a float32 training step of layers 784-1024-1024-10 "
        f"at {density:.0%} density and batch {batch} takes {ours['ms']:.2f} ms. PyTorch's dense "
        f"layers take {dense['ms'] / ours['ms']:.1f} times as long, and the fastest sparse layers "
        f"{sparse['ms'] / ours['ms']:.1f} times. On {len(ratios)} graphs without layers, the "
        f"fastest other library takes {min(ratios):.2g} to {max(ratios):.2g} times as long as "
        f"dagbp. One sample through {latency['edges']} edges takes {latency['forward']} forward, "
        f"and {latency['gradient']} with its gradient."
    )
    return fill(text, 100, break_on_hyphens=False)


def where(content):
    """Return the processor of a file of results, with its instruction set."""
    machine = content["machine"]
    return f"{machine['processor']}, {machine['instruction_set']}"


def substitutions(place=CHOSEN):
    """Return the figures of the documentation by name: a page writes ``{{ name }}``."""
    layers, dags, latency = read("layers", place), read("dags", place), one_sample(place)
    return {
        "processor": where(layers),
        "sgemm": f"{layers['limits']['sgemm_gflops']:.0f} GF/s",
        "date": layers["date"],
        "layers_128": layers_table(layers, 128),
        "layers_1024": layers_table(layers, 1024),
        "crossovers": crossovers(layers),
        "graphs": graphs_table(dags),
        **{f"sample_{name}": text for name, text in latency.items()},
        **startup(read("startup", place), read("startup_2_threads", place)),
    }


def _cells(content, batch):
    """Return the rows with a time, by peer and density."""
    steps = content["rows"]["steps"]
    return {(r["peer"], r["density"]): r for r in steps if r["batch"] == batch and r.get("ms")}


def _fastest_sparse(cells, density):
    rows = [cells[name, density] for name in SPARSE if (name, density) in cells]
    return min(rows, key=lambda row: row["ms"])


def layers_table(content, batch):
    """Return a table in Markdown: dagbp's step by density, and the ratios of peers to it."""
    cells = _cells(content, batch)
    head = ["density", "dagbp", "GF/s", *DENSE, "fastest sparse peer"]
    return _table(head, [_line(cells, density) for density in DENSITIES])


def _line(cells, density):
    ours = cells["dagbp", density]

    def beside(row, words=""):
        return f"{row['ms']:.2f} ({row['ms'] / ours['ms']:.3g}x){words}" if row else "-"

    sparse = _fastest_sparse(cells, density)
    return [
        f"{density:.0%}",
        f"{ours['ms']:.2f} ms",
        f"{ours['gflops']:.0f}",
        *(beside(cells.get((name, density))) for name in DENSE),
        beside(sparse, f", {sparse['peer']}"),
    ]


def crossovers(content):
    """Return a sentence on the densities at which dense libraries win."""
    return "; ".join(
        f"at batch {one['batch']:,} against {one['peer']}: {one['note'].removeprefix('none: ')}"
        for one in content["rows"]["crossovers"]
    )


def graphs(rows):
    """Yield name, dagbp's row, the fastest peer's row, and their ratio, for each graph."""
    for case in dict.fromkeys(row["case"] for row in rows):
        here = [row for row in rows if row["case"] == case and row.get("ms")]
        ours = next(row for row in here if row["peer"] == "dagbp")
        best = min((row for row in here if row is not ours), key=lambda row: row["ms"])
        yield {"case": case, "ours": ours, "best": best, "ratio": best["ms"] / ours["ms"]}


def graphs_table(content):
    """Return a table in Markdown: dagbp beside the fastest peer of each graph."""
    lines = []
    for graph in graphs(content["rows"]):
        ours, best = graph["ours"], graph["best"]
        sizes = f"{graph['case']}: {ours['edges']:,} edges, {ours['levels']:,} levels"
        peer = f"{graph['ratio']:.2g}x: {best['peer']}"
        lines.append([sizes, f"{ours['ms']:.3g} ms", f"{ours['gflops']:.0f}", peer])
    return _table(["", "dagbp", "GF/s", "fastest peer"], lines)


def one_sample(place=CHOSEN):
    """Return times of one sample through the first network, and those of the fastest peers."""
    rows = read("latency", place)["rows"]
    here = [row for row in rows if row["case"] == rows[0]["case"]]
    ours = next(row for row in here if row["peer"] == "dagbp")
    texts = {"edges": f"{ours['edges']:,}"}
    for name in ("forward", "gradient"):
        key = f"{name}_us"
        others = [row for row in here if row is not ours and row.get(key)]
        best = min(others, key=lambda row: row[key])
        texts[name] = f"{ours[key]:.0f} µs"
        texts[f"{name}_peer"] = f"{best[key]:.0f} µs, {best['peer']}"
    return texts


def startup(content, on_two):
    """Return times of first steps, and of compiling a million edges."""
    one, two = (
        next(row for row in each["rows"] if row.get("peer") == "dagbp")
        for each in (content, on_two)
    )
    seconds = {row["case"]: row["seconds"] for row in content["rows"] if "seconds" in row}
    return {
        "first_step_cold": f"{one['cold_s']:.1f} s",
        "first_step_cold_on_two": f"{two['cold_s']:.1f} s",
        "first_step_warm": f"{one['warm_s']:.1f} s",
        "million_from_arrays": f"{seconds['1,000,000 edges from arrays']:.1f} s",
        "million_from_networkx": f"{seconds['1,000,000 edges from NetworkX']:.1f} s",
    }


def _table(head, lines):
    rule = ["--:" if k else "---" for k in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
