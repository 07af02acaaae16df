"""Results on disk: a folder for each processor, a JSON file for each suite."""

import json
import platform
import re
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import environment, measuring

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
# The README and the documentation quote these results. The report shows this folder first.
CHOSEN = RESULTS / "intel-family-6-model-207-avx512"

PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "torch", "jax", "jaxlib", "sparselab"),
    *("connex", "neat-python", "ffnet", "scikit-learn"),
)
VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}
INSTRUCTION_SETS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "asimd": "NEON"}


def machine():
    """Return the facts that a figure depends on: processor, instruction set, cores, versions."""
    facts = processor()
    del facts["folder"]
    facts["cores"], facts["threads"] = str(len(environment.CORES)), str(environment.THREADS)
    facts["python"] = platform.python_version()
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def processor(cpuinfo="/proc/cpuinfo"):
    """Return the processor's name, its widest vector instructions, and its folder of results."""
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:
        lines = []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in pairs}
    flags = fields.get("flags", fields.get("Features", "")).split()
    sets = INSTRUCTION_SETS
    if environment.INSTRUCTIONS:  # and narrower ones
        sets = dict(list(sets.items())[list(sets).index(environment.INSTRUCTIONS) :])
    widest = next((name for flag, name in sets.items() if flag in flags), "unknown")
    if "cpu family" not in fields:
        name = platform.processor() or platform.machine() or "unknown"
        return {"processor": name, "instruction_set": widest, "folder": _slug(f"{name} {widest}")}
    model = f"family {fields['cpu family']}, model {fields.get('model', '?')}"
    vendor = fields.get("vendor_id", "unknown")
    return {
        "processor": f"{fields.get('model name', 'unknown')} ({model})",
        "instruction_set": widest,
        "folder": _slug(f"{VENDORS.get(vendor, vendor)} {model} {widest.replace('-', '')}"),
    }


def _slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def folder(quick):
    """Return this processor's folder of results; quick runs write to the temporary folder."""
    parent = Path(tempfile.gettempdir()) / "dagbp-benchmarks" if quick else RESULTS
    path = parent / processor()["folder"]
    path.mkdir(parents=True, exist_ok=True)
    return path


def save(name, rows, quick=False):
    """Write a suite's rows, with machine, date and limits, to NAME.json.

    A run on n > 1 threads writes NAME_n_threads.json.
    """
    content = {
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "limits": measuring.limits(),
        "rows": rows,
    }
    threads = environment.THREADS
    stem = name if threads == 1 else f"{name}_{threads}_threads"
    path = folder(quick) / f"{stem}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {path}")


def read(name, place=CHOSEN):
    """Return the content of NAME.json in a folder of results."""
    return json.loads((place / f"{name}.json").read_text(encoding="utf-8"))
