"""How every benchmark here measures: one process, the same cores for all, warm, medians.

Import this before NumPy. `DAGBP_THREADS` (default 1) is how many cores all sides are held to; the
environment that BLAS, OpenMP and the allocator read is set by starting the script once more.
"""

import argparse
import functools
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

THREADS = int(os.environ.get("DAGBP_THREADS", "1"))
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": str(THREADS),
    "OMP_NUM_THREADS": str(THREADS),
    "MKL_NUM_THREADS": str(THREADS),
    "JAX_PLATFORMS": "cpu",
    # glibc hands large buffers back at every free, and whoever allocates anew in each step, as
    # NumPy, SciPy and PyTorch do, pays for their pages again and again: no side shall.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # what BLAS finds out itself is best
CAN_PIN = hasattr(os, "sched_setaffinity")
CORES = sorted(os.sched_getaffinity(0)) if CAN_PIN else list(range(os.cpu_count() or 1))


def hold_to(cores: int) -> None:
    """Hold this process, and those it starts, to its first `cores` cores, where Linux runs."""
    if CAN_PIN:
        os.sched_setaffinity(0, CORES[:cores])


def _set_environment() -> None:
    """Set it for what is imported from now on; what is loaded already needs a new process."""
    wanted = {name: value for name, value in os.environ.items() if name not in UNSET} | ENVIRONMENT
    is_benchmark = Path(sys.argv[0]).resolve().parent == HERE
    if sys.platform == "linux" and is_benchmark and wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)
    for name in UNSET:
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT)


_set_environment()
hold_to(THREADS)

import numpy as np  # noqa: E402

PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "torch", "jax", "jaxlib", "sparselab"),
    *("connex", "neat-python", "ffnet", "scikit-learn"),
)


# --- times ---


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


def interleaved(
    calls: dict[str, Callable[[], object]], rounds: int = 5, seconds: float = 0.15, least: int = 3
) -> dict[str, float]:
    """Return each call's median time; the calls take turns, so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(median_time(call, seconds, least))
    return {name: statistics.median(values) for name, values in times.items()}


# --- the machine and its limits ---


def sgemm_rate(n: int = 1024) -> float:
    """Return GFLOP/s of NumPy's float32 matrix product, the machine's limit of arithmetic."""
    a = np.random.default_rng(0).random((n, n), dtype=np.float32)
    return 2 * n**3 / median_time(lambda: a @ a) / 1e9


def bandwidth() -> float:
    """Return GB/s of one core's float32 copy of 128 MiB, read and written once each."""
    a = np.zeros(2**25, np.float32)
    b = np.ones_like(a)
    return 2 * a.nbytes / median_time(lambda: np.copyto(a, b)) / 1e9


@functools.cache
def limits() -> dict[str, float]:
    """Return the limits, measured once in a run."""
    return {"sgemm_gflops": sgemm_rate(), "copy_gbs": bandwidth()}


def machine() -> dict[str, str]:
    """Return what a figure depends on: processor, cores, versions."""
    info = {"processor": _processor(), "cores": str(len(CORES)), "threads": str(THREADS)}
    info["python"] = platform.python_version()
    for package in PACKAGES:
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


# --- the command line, and what is printed and written ---


def start(description: str, **options: dict) -> argparse.Namespace:
    """Read the command line, print machine and limits, and return the options.

    Parameters
    ----------
    description : str
        For ``--help``; a module's docstring does.
    **options : dict
        A benchmark's own: ``large={"action": "store_true", "help": "..."}`` becomes ``--large``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny cases; what a full run wrote is left alone"
    )
    parser.add_argument(
        "--peers",
        default="",
        metavar="A,B",
        help="only peers whose module or class contains one of these, e.g. dagbp,TorchDense",
    )
    for name, settings in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **settings)
    read = parser.parse_args()
    read.peers = [part for part in read.peers.lower().split(",") if part]
    print(*(f"{key}: {value}" for key, value in machine().items()), sep="\n")
    print("limits: sgemm {sgemm_gflops:.0f} GF/s, copy {copy_gbs:.1f} GB/s".format(**limits()))
    return read


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of texts in columns: figures to the right; names and remarks to the left.

    Those are the columns without a header, and the first.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    to_left = [k == 0 or not text for k, text in enumerate(header)]
    for row in (header, *rows):
        cells = zip(row, widths, to_left, strict=True)
        padded = [text.ljust(width) if left else text.rjust(width) for text, width, left in cells]
        print("  ".join(padded).rstrip())


def folder(quick: bool) -> Path:
    """Return where results go: those of a quick run apart, in the system's temporary folder."""
    path = Path(tempfile.gettempdir()) / "dagbp-benchmarks" if quick else RESULTS
    path.mkdir(parents=True, exist_ok=True)
    return path


def _stem(name: str) -> str:
    return name if THREADS == 1 else f"{name}_{THREADS}_threads"


def save(name: str, rows: object, quick: bool = False) -> None:
    """Write a benchmark's rows, with machine, date and limits beside them, to NAME.json.

    A run on n > 1 threads writes NAME_n_threads.json.
    """
    content = {
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "limits": limits(),
        "rows": rows,
    }
    path = folder(quick) / f"{_stem(name)}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"\nwritten: {path}")


# --- charts ---

# Okabe and Ito's palette, which colour-blind readers tell apart, without its yellow.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
MARKERS = "sD^vPX*h"


def figure(
    name: str, draw: Callable, quick: bool = False, panels: int = 1, height: float = 6.0
) -> None:
    """Draw a chart into NAME.png; without matplotlib say so instead.

    Parameters
    ----------
    draw : callable
        Takes as many axes as there are panels, side by side.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        print(f"no chart {name}.png: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"font.size": 11, "axes.grid": True, "grid.alpha": 0.3}):
        sheet, axes = pyplot.subplots(1, panels, figsize=(11, height), layout="constrained")
        draw(*np.atleast_1d(axes))
        for panel in np.atleast_1d(axes):
            _label_plainly(panel.xaxis)
            _label_plainly(panel.yaxis)
        path = folder(quick) / f"{_stem(name)}.png"
        sheet.savefig(path, dpi=120)
        pyplot.close(sheet)
    print(f"written: {path}")


def _label_plainly(axis: object) -> None:
    """Label a logarithmic axis 1, 2, 5, 10, ..., or by decades if it spans many."""
    from matplotlib import ticker

    if not isinstance(axis.get_major_locator(), ticker.LogLocator):
        return  # linear, or with ticks of its own
    low, high = axis.get_view_interval()
    subs = (1, 2, 5) if high < 500 * low else (1,)
    axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def styles(names: Sequence[str]) -> dict[str, dict]:
    """Return a line's looks by name: dagbp bold and black, every other name one of its own."""
    others = [name for name in names if name != "dagbp"]
    looks = {"dagbp": {"color": "black", "linewidth": 3, "marker": "o", "zorder": 10}}
    for k, name in enumerate(others):
        looks[name] = {
            "color": COLOURS[k % len(COLOURS)],
            "marker": MARKERS[k % len(MARKERS)],
            "linestyle": ("-", "--", ":")[k // len(COLOURS) % 3],
            "linewidth": 1.5,
            "markersize": 5,
        }
    return looks


def draw_lines(axes: object, series: dict[str, tuple[Sequence, Sequence]], looks: dict) -> None:
    """Draw each name's (x, y), dagbp first; nothing stands where y is NaN."""
    for name in sorted(series, key=lambda name: name != "dagbp"):
        axes.plot(*series[name], label=name, **looks[name])


# --- small helpers of tables ---


def crossing(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the least x > 0 at which y, given by points, falls to 1; straight lines in log-log.

    NaN where it never does; x ascends.
    """
    for (x0, x1), (y0, y1) in zip(pairwise(x), pairwise(y), strict=True):
        if y0 >= 1 > y1:
            share = math.log(y0) / math.log(y0 / y1)
            return math.exp(math.log(x0) + share * math.log(x1 / x0))
    return math.nan
