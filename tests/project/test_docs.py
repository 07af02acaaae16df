"""The README and the pages of docs/: code runs as printed; figures come from results.

Blocks of the README run each by itself, those of a page of docs/ one after the other in one
namespace. Where a text block follows a Python block, it is exactly what that prints. Building the
site checks the rest; see docs/_ext/complete.py.
"""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").rglob("*.md"))
}
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^ *(`{3,}|~{3,}|:{3,})(.*?)\n.*?^ *\1", re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"\d\s*(?:[mµun]s|s|seconds|GF/s|GB/s|[x×]|times (?:as|the|faster|slower))\b")


def printed(code, name, namespace):
    """Run a block, and return its output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, name, "exec"), namespace)
    return out.getvalue()


@pytest.mark.parametrize("k", range(len(BLOCK.findall(README))))
def test_a_block_of_the_readme_runs_as_printed(k):
    code, expected = BLOCK.findall(README)[k]
    found = printed(code, f"README block {k}", {"__name__": "readme"})
    assert expected in ("", found)


def test_the_first_block_shows_what_it_prints():
    assert BLOCK.findall(README)[0][1]


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if BLOCK.search(text)])
def test_the_blocks_of_a_page_run_as_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for k, (code, expected) in enumerate(BLOCK.findall(PAGES[page])):
        assert printed(code, f"{page} block {k}", namespace) == expected


@pytest.mark.parametrize("page", PAGES)
def test_no_block_of_a_page_is_code_that_is_not_run(page):
    found = [kind.strip() for _, kind in FENCED.findall(PAGES[page])]
    assert [kind for kind in found if kind in ("python", "text")] == [
        kind
        for code, text in BLOCK.findall(PAGES[page])
        for kind in (["python", "text"] if text else ["python"])
    ]
    assert all(kind in ("python", "text", "sh") or kind.startswith("{") for kind in found)


def substitutions():
    """Return the figures that the build puts into pages."""
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.substitutions()


def test_figures_of_benchmarks_come_from_their_results():
    used = set()
    for page, text in PAGES.items():
        prose = FENCED.sub("", text)
        used |= set(re.findall(r"\{\{ (\w+) \}\}", prose))
        assert not FIGURE.findall(prose), page
    assert used == set(substitutions())


def test_the_report_of_the_benchmarks_is_that_of_their_results():
    committed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert reported("report.text()") == committed


def test_the_figures_of_the_readme_are_those_of_the_results():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    figures = readme.split("<!-- figures: python -m benchmarks report -->\n")[1]
    assert reported("report.headline.sentences()") == figures.split("\n<!-- end of")[0]


def reported(expression):
    """Return the result of a benchmark's module for the committed results."""
    code = f"from benchmarks.harness import report; print(end={expression})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
