"""The benchmarks run, at small size and with nothing but what the tests need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMANDS = [
    *("layers", "dags", "blocks", "scaling", "latency", "startup", "limits", "activations"),
    "estimators",
]


@pytest.mark.slow
def test_every_command_runs_and_the_report_reads_its_results(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(FOLDER.parent),
        "PYTHONWARNINGS": "default",  # those of other people's packages
        "TMPDIR": str(tmp_path),
    }
    for command in [*COMMANDS, "report"]:
        done = subprocess.run(
            [sys.executable, FOLDER / f"{command}.py", "--quick"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    written = {path.stem for path in tmp_path.rglob("*.json")}
    assert set(COMMANDS) <= written
    assert "dagbp" in next(tmp_path.rglob("README.md")).read_text()
