"""Every example runs as its docstring says, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dagbp

ROOT = Path(dagbp.__file__).parents[1]
EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *options):
    """Return what an example prints, run as a user would, its warnings being errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def check_lecture():
    """See the recursion and the graph agree in s, x, delta and dW."""
    _, _, differences = run("lecture.py").partition("Largest difference")
    found = dict(re.findall(r"^  (\w+) +(\S+)$", differences, re.MULTILINE))
    assert list(found) == ["s", "x", "delta", "dW"]
    assert max(map(float, found.values())) < 1e-12


def check_xor():
    """See layers alone misjudge a sample, and the skip edges set all four right."""
    right = []
    for block in run("xor.py").split("\n\n"):
        rows = re.findall(r"(\d) xor (\d) = 1 with probability (\S+)", block)
        assert len(rows) == 4
        right.append([abs(float(p) - (a != b)) for a, b, p in rows])
    layers, skips = right
    assert max(layers) > 0.3
    assert max(skips) < 0.05


def digits(seeds, *options):
    """Return mean held-out accuracy and edges of both networks, after checking the arithmetic."""
    blocks = run("digits.py", *options).split("\n\n")
    assert len(blocks) == 2
    results = []
    for block in blocks:
        of_seed = [float(p) for p in re.findall(r"^seed \d+: (\S+)% held-out", block, re.MULTILINE)]
        mean, least, most, edges = re.search(
            r"^mean (\S+)%, from (\S+)% to (\S+)%; (\S+) edges", block, re.MULTILINE
        ).groups()
        assert len(of_seed) == seeds
        assert float(mean) == pytest.approx(sum(of_seed) / seeds, abs=0.011)  # both are rounded
        assert (float(least), float(most)) == (min(of_seed), max(of_seed))
        results.append((float(mean) / 100, int(edges.replace(",", ""))))
    return results


def check_digits():
    """See both networks learn within five epochs."""
    for accuracy, edges in digits(1, "--seeds=1", "--epochs=5"):
        assert accuracy > 0.85
        assert edges <= 15_000


def check_topologies():
    """See every candidate learn, the best one named, and two processes find the same."""
    printed = run("topologies.py", "--epochs=10")
    rows = re.findall(r"^(\S.*), learning rate (\S+) +(\S+)%$", printed, re.MULTILINE)
    assert len(rows) == 10
    scores = {(name, rate): float(score) for name, rate, score in rows}
    assert min(scores.values()) > 80
    best, rate, edges = re.search(
        r"Best: (.*), learning rate (\S+), with (\S+) edges", printed
    ).groups()
    assert scores[best, rate] == max(scores.values())
    assert 1900 < int(edges.replace(",", "")) <= 2010
    assert float(re.search(r"(\S+)% held-out", printed)[1]) > 90
    assert run("topologies.py", "--epochs=10", "--jobs=2") == printed


CHECKS = {
    "digits.py": check_digits,
    "lecture.py": check_lecture,
    "topologies.py": check_topologies,
    "xor.py": check_xor,
}


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_example(name):
    CHECKS[name]()


@pytest.mark.slow
def test_digits_at_full_size():
    """Both networks reach 97 % on scans held out, over five seeds, at the example's defaults."""
    (dag, dag_edges), (layered, layered_edges) = digits(5)
    assert dag >= 0.97
    assert layered >= 0.97
    assert dag_edges <= 15_000
    assert abs(dag_edges - layered_edges) < 100
