"""Suites run at small size with the test dependencies; imports have no side effects."""

import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

from benchmarks.harness import measuring, paired, results  # noqa: E402
from benchmarks.suites import SUITES, compare  # noqa: E402

MODULES = [
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for path in sorted((ROOT / "benchmarks").rglob("*.py"))
]
IMPORT_ALL = """
import importlib, importlib.util, json, os, sys, warnings
import numba, numpy, scipy, sklearn, matplotlib, dagbp
for peer in ("torch", "jax"):
    if importlib.util.find_spec(peer):
        importlib.import_module(peer)
def state():
    return dict(os.environ), sorted(os.sched_getaffinity(0)), list(warnings.filters)
before, missing = state(), []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing.append(error.name)
assert state() == before
print(json.dumps(missing))
"""


def run_in_repository(*arguments, **variables):
    """Run Python in the root of the repository, and return its standard output."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONWARNINGS": "default", **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.slow
def test_every_suite_runs_and_the_report_reads_its_results(tmp_path):
    for name in SUITES:
        trees = [ROOT, ROOT] if name == "compare" else []
        out = run_in_repository("-m", "benchmarks", name, *trees, "--quick", TMPDIR=str(tmp_path))
        if name == "compare":
            assert out.count("same bits") == 3
    run_in_repository("-m", "benchmarks", "report", "--quick", TMPDIR=str(tmp_path))
    (folder,) = (path.parent for path in tmp_path.rglob("layers.json"))
    assert folder.name == results.processor()["folder"]
    assert {path.stem for path in folder.glob("*.json")} == set(SUITES) - {"compare", "compilers"}
    assert "dagbp" in (folder.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the affinity")
def test_importing_a_module_changes_nothing():
    missing = json.loads(run_in_repository("-c", IMPORT_ALL, *MODULES))
    assert {name.split(".")[0] for name in missing} <= {
        *("torch", "jax", "sparselab", "connex", "neat", "ffnet"),
    }


def test_the_table_of_suites_lists_the_modules():
    files = {path.stem for path in (ROOT / "benchmarks" / "suites").glob("[a-z]*.py")}
    assert files == set(SUITES)
    assert all(name in run_in_repository("-m", "benchmarks") for name in SUITES)


def test_a_suite_sets_the_environment_and_shows_its_options():
    out = run_in_repository(
        "-m", "benchmarks", "dags", "--help", DAGBP_THREADS="1", OPENBLAS_CORETYPE="Haswell"
    )
    assert "python -m benchmarks dags" in out
    assert "--large" in out
    code = (
        "import os; from benchmarks.harness import environment as e; e.enter();"
        "print(os.environ['OMP_NUM_THREADS'], 'OPENBLAS_CORETYPE' in os.environ,"
        " len(os.sched_getaffinity(0)) if e.CAN_PIN else 1)"
    )
    assert run_in_repository("-c", code, OPENBLAS_CORETYPE="Haswell").split() == ["1", "False", "1"]


@pytest.mark.parametrize(
    ("cpuinfo", "name", "widest", "folder"),
    [
        (
            "vendor_id : GenuineIntel\ncpu family : 6\nmodel : 207\n"
            "model name : Intel(R) Xeon(R) Processor\nflags : avx avx2 avx512f\n",
            "Intel(R) Xeon(R) Processor (family 6, model 207)",
            "AVX-512",
            results.CHOSEN.name,
        ),
        (
            "vendor_id : AuthenticAMD\ncpu family : 25\nmodel : 1\nmodel name : AMD EPYC\n"
            "flags : sse2 avx avx2\n",
            "AMD EPYC (family 25, model 1)",
            "AVX2",
            "amd-family-25-model-1-avx2",
        ),
    ],
)
def test_results_are_stored_by_processor(tmp_path, cpuinfo, name, widest, folder):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    facts = {"processor": name, "instruction_set": widest, "folder": folder}
    assert results.processor(path) == facts


def test_committed_results_lie_in_the_folder_of_their_processor():
    assert results.CHOSEN.is_dir()
    for path in results.RESULTS.glob("*/*.json"):
        machine = results.read(path.stem, path.parent)["machine"]
        widest = machine["instruction_set"].lower().replace("-", "")
        assert path.parent.name.endswith(f"-{widest}")
        assert not {"processor", "instruction_set", "numpy", "numba"} - set(machine)


def test_an_interval_of_the_median_has_its_stated_coverage():
    generator, inside = random.Random(0), 0
    for _ in range(2000):
        low, high = paired.interval([generator.gauss(1, 0.1) for _ in range(12)])
        inside += low <= 1 <= high
    assert 0.95 < inside / 2000 < 0.98
    assert paired.interval(range(6)) == (0, 5)
    assert paired.interval(range(30)) == (9, 20)


@pytest.mark.parametrize(
    ("ratio", "spread", "verdict"),
    [
        (1.0, 0.01, "within 3%"),
        (1.1, 0.01, "slower"),
        (0.9, 0.01, "faster"),
        (1.03, 0.03, "unclear"),
    ],
)
def test_a_verdict_follows_the_interval(ratio, spread, verdict):
    generator = random.Random(0)
    starts = [[generator.gauss(ratio, spread) for _ in range(10)] for _ in range(6)]
    found = paired.summary(starts)
    assert found["verdict"] == verdict
    medians = [statistics.median(ratios) for ratios in starts]
    assert (found["low"], found["high"]) == (min(medians), max(medians))
    assert found["ratio"] == statistics.median(medians)
    assert found["quartiles"][0] < found["ratio"] < found["quartiles"][1]
    assert paired.summary(starts[:5])["verdict"] == "too few starts"


def test_differences_of_results_are_relative_to_the_largest_entry():
    old = {"gradient": np.array([1.0, -4.0]), "outputs": np.array([2.0])}
    assert compare.differences(old, {**old}) == "same bits"
    changed = {**old, "gradient": np.array([1.0, -4.4])}
    assert compare.differences(old, changed) == "gradient 1e-01"
    assert compare.differences({"x": np.array([0.0])}, {"x": np.array([-0.0])}) == "x 0e+00"


def test_a_crossing_is_where_the_curve_falls_to_one():
    assert measuring.crossing([1, 10, 100], [4, 2, 0.5]) == pytest.approx(10**1.5)
    assert np.isnan(measuring.crossing([1, 10], [3, 2]))
