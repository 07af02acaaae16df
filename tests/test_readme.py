"""Every Python block of the README runs; where a text block follows, it prints exactly that."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
BLOCKS = BLOCK.findall(README.read_text(encoding="utf-8"))


@pytest.mark.parametrize("k", range(len(BLOCKS)))
def test_block_runs_as_printed(k):
    code, expected = BLOCKS[k]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"README block {k}", "exec"), {"__name__": "readme"})
    if expected:
        assert printed.getvalue() == expected


def test_the_first_block_shows_what_it_prints():
    assert BLOCKS[0][1]
