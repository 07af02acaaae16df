"""The figures of the benchmarks that pages quote, from benchmarks/results; none is typed."""

import json
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def substitutions():
    """Return what a page writes as ``{{ name }}``."""
    return {**_startup(_read("startup")), **_machine(_read("layers")), "layers": _layers()}


def _read(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def _startup(content):
    seconds = {row["case"]: row["seconds"] for row in content["rows"] if "seconds" in row}
    first = next(row for row in content["rows"] if row.get("peer") == "dagbp")
    return {
        "first_step_cold": f"{first['cold_s']:.1f} s",
        "first_step_warm": f"{first['warm_s']:.1f} s",
        "million_from_arrays": f"{seconds['1,000,000 edges from arrays']:.1f} s",
        "million_from_networkx": f"{seconds['1,000,000 edges from NetworkX']:.1f} s",
    }


def _machine(content):
    machine, limits = content["machine"], content["limits"]
    return {
        "processor": machine["processor"],
        "sgemm": f"{limits['sgemm_gflops']:.0f} GF/s",
        "date": content["date"],
    }


def _layers(batch=128, peers=("PyTorch dense", "JAX dense", "SciPy CSR")):
    """Return a table: dagbp's step by density, and the peers' over it."""
    steps = [row for row in _read("layers")["rows"]["steps"] if row["batch"] == batch]
    cells = {(row["peer"], row["density"]): row for row in steps}
    lines = [
        ["density", "dagbp, ms", *(f"{peer}, ms" for peer in peers)],
        ["--:"] * (2 + len(peers)),
    ]
    for density in dict.fromkeys(row["density"] for row in steps):
        times = [cells[peer, density]["ms"] for peer in ("dagbp", *peers)]
        lines.append([f"{100 * density:.3g} %", *(f"{ms:.2f}" for ms in times)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
