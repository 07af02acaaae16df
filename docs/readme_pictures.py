"""Write the two pictures of the README: ``python docs/readme_pictures.py``.

`net.svg` is a random DAG with its deltas, drawn by `dagbp.plotting`; `density.svg` is the time of a
training step against density, from the results of `python -m benchmarks layers`. Both have a white
background, so that they can be read on dark pages, too.
"""

import re
import sys
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

sys.path.append(str(Path(__file__).parents[1]))  # the folder of the package `benchmarks`

import dagbp
from benchmarks.harness import charts, headline, results
from dagbp import plotting

FOLDER = Path(__file__).parent / "_static"
INK = "#1a1a1a"
BATCH = 128
# Text stays text, and equal input gives an equal file.
SVG = {"svg.fonttype": "none", "svg.hashsalt": "dagbp", "font.family": "sans-serif"}


def new(width, height):
    """Return a figure with a white background with rounded corners."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    background = FancyBboxPatch(
        (0.02, 0.03),
        0.96,
        0.94,
        boxstyle="round,pad=0,rounding_size=0.03",
        transform=figure.transFigure,
        facecolor="white",
        edgecolor="none",
        zorder=-1,
        mutation_aspect=width / height,
    )
    figure.add_artist(background)
    figure.get_layout_engine().set(rect=(0.04, 0.06, 0.92, 0.88))
    return figure


def net():
    """Draw a random DAG: nodes coloured by delta, edges by weight."""
    model = dagbp.compile(dagbp.random_dag(30, 78, 5, 3, depth=6, seed=2), seed=0)
    rng = np.random.default_rng(0)
    bp = model.backprop(rng.normal(size=(64, 5)), rng.normal(size=(64, 3)))
    figure = new(8, 4)
    ax = figure.add_subplot(facecolor="none")
    plotting.draw_network(model, values=bp.delta, quantity="delta", ax=ax)
    return figure


def density():
    """Draw the time of a step against density: dagbp, PyTorch dense, the fastest sparse peer."""
    rows = results.read("layers")["rows"]["steps"]
    shown = [row for row in rows if row["batch"] == BATCH and row.get("ms")]
    sparse = {}
    for row in shown:
        if row["peer"] in headline.SPARSE:
            best = sparse.setdefault(row["density"], row)
            sparse[row["density"]] = min(best, row, key=lambda one: one["ms"])
    kept = [row for row in shown if row["peer"] in ("dagbp", "PyTorch dense")]
    kept += [{**row, "peer": "fastest sparse layers"} for row in sparse.values()]
    content = {"rows": {"steps": kept, "crossovers": []}}
    figure = new(8, 4)
    charts.layers(content, figure, INK)
    figure.legends[0].remove()  # it would lie outside of the background
    ax = figure.axes[0]
    ax.set_title(f"layers 784-1024-1024-10, batch {BATCH}, one core", fontsize=11)
    ax.legend(frameon=False, loc="lower right")
    ax.set_facecolor("none")
    return figure


def shortened(outline):
    """Return an outline with coordinates in tenths of a point, which keeps the file small."""
    return re.sub(r"(\d+\.\d)\d+", r"\1", outline[0]).replace(" \nL ", "L")


def main():
    """Write both pictures."""
    for draw in (net, density):
        path = FOLDER / f"{draw.__name__}.svg"
        with rc_context(SVG):
            draw().savefig(path, transparent=False, metadata={"Date": None})
        text = re.sub(r' d="[^"]*"', shortened, path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
