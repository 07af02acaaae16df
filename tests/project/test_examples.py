"""Every example runs as its docstring states, and prints the expected results."""

import math
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

import dagbp

ROOT = Path(dagbp.__file__).parents[1]
EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name, *options):
    """Return the output of an example, run as by a user, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def check_lecture():
    """Check that the recursion and the graph agree in s, x, delta and dW."""
    _, _, differences = run_example("lecture.py").partition("Largest difference")
    found = dict(re.findall(r"^  (\w+) +(\S+)$", differences, re.MULTILINE))
    assert list(found) == ["s", "x", "delta", "dW"]
    assert max(map(float, found.values())) < 1e-12


def percentages(line):
    """Return the percentages in a line of a table."""
    return [float(p) / 100 for p in re.findall(r"(\S+)%", line)]


def check_xor():
    """Check that layers alone stay above the bound of the theory, and skip edges solve XOR."""
    bound, *blocks = run_example("xor.py", "--seeds=5").split("\n\n")
    (bound,) = re.findall(r"by theory: (\S+)$", bound)
    assert len(blocks) == 2
    for block, solved, misjudged in zip(blocks, (0, 5), (1 / 3, 0), strict=True):
        assert f": {solved} of 5 seeds get all four samples right\n" in block
        rows = re.findall(r"(\d) xor (\d) = 1 with probability (\S+)", block)
        assert len(rows) == 4
        likely = [float(p) if a != b else 1 - float(p) for a, b, p in rows]
        assert 1 - min(likely) == pytest.approx(2 * misjudged, abs=0.02)
        (loss,) = re.findall(r"least loss (\S+),", block)
        assert float(loss) == pytest.approx(-sum(map(math.log, likely)) / 4, abs=2e-3)
        assert (float(loss) >= float(bound)) == bool(misjudged)


def check_pathway(*options, n_seeds=1):
    """Check that lists are sorted, and rank the mechanism's nodes first as the last line states."""
    *lists, verdict = run_example("pathway.py", *options).strip().split("\n\n")
    assert len(lists) == 2
    first = 0
    for table in lists:
        heading, _, *rows = table.splitlines()
        assert float(re.search(r"R2 (\S+)", heading)[1]) > 0.95
        found = [float(row.split()[-2]) for row in rows]
        true = [float(row.split()[-1]) > 0 for row in rows]
        assert len(rows) == 19
        assert found == sorted(found, reverse=True)
        assert sum(true) in (7, 8)
        first += true == sorted(true, reverse=True)
    counted, n_lists = map(int, re.search(r"first in (\d+) of (\d+) lists", verdict).groups())
    assert n_lists == 2 * n_seeds
    assert counted >= 0.9 * n_lists
    assert n_seeds > 1 or counted == first


def check_prune(*options, n_rounds=2):
    """Check that edges and time decrease, and that the accuracy recovers."""
    rows = run_example("prune.py", *options).splitlines()[2:]
    assert len(rows) == 1 + n_rounds
    edges = [int(row.split()[0].replace(",", "")) for row in rows]
    for before, after in pairwise(edges):
        assert 0.25 * before < after <= 0.4 * before + 1  # neurons without edges are gone as well
    for row, n_edges in zip(rows, edges, strict=True):
        share, before, trained, renewed = percentages(row)
        assert share == pytest.approx(n_edges / edges[0], abs=1e-3)
        assert before < trained
        assert min(trained, renewed) > 0.9
        assert float(row.split()[-1]) > 0


def check_resume():
    """Check that a failed run resumes to the same bits."""
    printed = run_example("resume.py", "--fail-after=100", "--epochs=5")
    assert "the power went after step 100" in printed
    assert "same losses in all epochs: True; same bits in all parameters: True" in printed
    epochs = re.findall(r"^  best epoch (\d+), validation loss (\S+)$", printed, re.MULTILINE)
    assert len(epochs) == 2
    assert epochs[0] == epochs[1]


def check_small_world():
    """Check equal edges and parameters, the accuracies, and verdicts that follow from them."""
    sizes, accuracies, verdicts = run_example("small_world.py", "--seeds=2", "--epochs=5").split(
        "\n\n"
    )
    sizes = {row[:14].strip(): row[14:].split() for row in sizes.splitlines()[1:]}
    assert sizes["layers"][:2] == sizes["small world"][:2]
    mean = {row[:14].strip(): percentages(row)[0] for row in accuracies.splitlines()[1:]}
    assert list(mean) == list(sizes)
    assert min(mean.values()) > 0.85
    for row in verdicts.splitlines()[1:]:
        name = row[:14].strip()
        difference, low, high = map(float, re.findall(r"[+-]\d+\.\d+", row))
        assert difference == pytest.approx(100 * (mean[name] - mean["layers"]), abs=0.02)
        assert low <= difference <= high
        says = "better" if low > 0 else "worse" if high < 0 else "no difference found"
        assert row.endswith(says)


def check_spirals():
    """Check that the spirals are classified, and that the picture is written."""
    from matplotlib import font_manager  # noqa: F401  # says on stderr if it makes its cache

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spirals.png")
        printed = run_example("spirals.py", "--seeds=1", "--epochs=300", f"--plot={path}")
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 50_000
    assert percentages(printed)[0] > 0.9


def check_stream():
    """Check that all three networks learn, and that training on varied scans improves on these."""
    heading, _, table = run_example("stream.py", "--samples=20000").partition("\n\n")
    assert heading.startswith("file of 20,000 scans")
    rows = [percentages(row) for row in table.splitlines()[1:]]
    assert len(rows) == 3
    (plain, plain_varied), *others = rows
    assert plain > 0.9
    for scans, varied in others:
        assert scans > 0.7
        assert varied > plain_varied


def digits(seeds, *options):
    """Return mean held-out accuracy and edges of both networks, after checking the arithmetic."""
    blocks = run_example("digits.py", *options).split("\n\n")
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
    """Check that both networks learn within five epochs."""
    for accuracy, edges in digits(1, "--seeds=1", "--epochs=5"):
        assert accuracy > 0.85
        assert edges <= 15_000


def check_topologies():
    """Check that every candidate learns, the best is printed, and two processes agree."""
    printed = run_example("topologies.py", "--epochs=10")
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
    assert run_example("topologies.py", "--epochs=10", "--jobs=2") == printed


CHECKS = {
    "digits.py": check_digits,
    "lecture.py": check_lecture,
    "pathway.py": partial(check_pathway, "--seeds=1"),
    "prune.py": partial(check_prune, "--seeds=1", "--rounds=2", "--width=64"),
    "resume.py": check_resume,
    "small_world.py": check_small_world,
    "spirals.py": check_spirals,
    "stream.py": check_stream,
    "topologies.py": check_topologies,
    "xor.py": check_xor,
}


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_example(name):
    CHECKS[name]()


@pytest.mark.parametrize("name", CHECKS)
def test_examples_are_short_and_say_how_to_run_them(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    assert f"Run it with `python examples/{name}`" in text
    assert f"| [{name}](../examples/{name}) |" in (ROOT / "docs/examples.md").read_text("utf-8")


@pytest.mark.slow
def test_pathway_at_full_size():
    """The mechanism's nodes come first in nine lists of ten, over ten data sets."""
    check_pathway(n_seeds=10)


@pytest.mark.slow
def test_prune_at_full_size():
    """Pruned nets classify nine of ten scans, down to a two-hundredth of the edges."""
    check_prune(n_rounds=5)


@pytest.mark.slow
def test_digits_at_full_size():
    """With the example's defaults, both networks reach 97 % on held-out scans, over five seeds."""
    (dag, dag_edges), (layered, layered_edges) = digits(5)
    assert dag >= 0.97
    assert layered >= 0.97
    assert dag_edges <= 15_000
    assert abs(dag_edges - layered_edges) < 100
