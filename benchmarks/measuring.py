"""How every benchmark here measures: one process, pinned threads, warm, medians, checked gradients.

Import this before NumPy: it pins the BLAS threads. `DAGBP_THREADS` (default 1) is for all sides.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

THREADS = int(os.environ.get("DAGBP_THREADS", "1"))
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = str(THREADS)
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # what BLAS finds out itself is best
    os.environ.pop(_name, None)

import numpy as np  # noqa: E402

RESULTS = Path(__file__).parent / "results"


def median_time(call: Callable[[], object], seconds: float = 0.6, least: int = 5) -> float:
    """Return the median duration of a call, warm, over at least `least` calls."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def interleaved(calls: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Return each call's median time; the calls take turns, so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(median_time(call, seconds=0.15, least=3))
    return {name: statistics.median(values) for name, values in times.items()}


def sgemm_rate(n: int = 1024) -> float:
    """Return GFLOP/s of NumPy's float32 matrix product, the machine's limit of arithmetic."""
    a = np.random.default_rng(0).random((n, n), dtype=np.float32)
    return 2 * n**3 / median_time(lambda: a @ a) / 1e9


def bandwidth() -> float:
    """Return GB/s of a float32 copy of 128 MiB, read and written once each."""
    a = np.zeros(2**25, np.float32)
    b = np.ones_like(a)
    return 2 * a.nbytes / median_time(lambda: np.copyto(a, b)) / 1e9


def machine() -> dict[str, str]:
    """Return what a figure depends on: processor, cores, versions."""
    info = {"processor": _processor(), "cores": str(os.cpu_count()), "threads": str(THREADS)}
    info["python"] = platform.python_version()
    for package in ("numpy", "numba", "llvmlite", "torch"):
        try:
            info[package] = version(package)
        except PackageNotFoundError:
            info[package] = "not installed"
    return info


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    width = "AVX-512" if "avx512f" in fields.get("flags", "") else "AVX2 or less"
    family, model = fields.get("cpu family", "?"), fields.get("model", "?")
    return f"{fields.get('model name', 'unknown')} (family {family}, model {model}), {width}"


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def save(name: str, rows: object) -> None:
    """Write a benchmark's rows with the machine beside them to results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print(f"\nwritten: {path.name}")
