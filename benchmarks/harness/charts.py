"""The charts of the documentation, drawn from results when the documentation is built.

Each function takes the content of a results file, a matplotlib Figure and the colour of lettering.
"""

import math

import numpy as np
from matplotlib import ticker

# Okabe and Ito's palette without its yellow. Colour-blind readers can tell its colours apart.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
MARKERS = "sD^vPX*h"


def layers(content, figure, ink):
    """Draw the time of a step over density, a panel for each batch."""
    rows = content["rows"]["steps"]
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    names = list(dict.fromkeys(row["peer"] for row in rows if row.get("ms")))
    styles = _styles(names, ink)
    axes = np.atleast_1d(figure.subplots(1, len(batches)))
    for ax, batch in zip(axes, batches, strict=True):
        here = [row for row in rows if row["batch"] == batch]
        for name in names:
            own = [row for row in here if row["peer"] == name]
            x, y = [100 * row["density"] for row in own], [row.get("ms") or math.nan for row in own]
            ax.plot(x, y, label=name, **styles[name])
        ax.set(xscale="log", yscale="log", title=f"batch {batch:,}", xlabel="density, %")
        densities = list(dict.fromkeys(100 * row["density"] for row in here))
        ax.set_xticks(densities, [f"{density:.3g}" for density in densities], minor=False)
        ax.set_xticks([], minor=True)
        for k, crossover in enumerate(content["rows"]["crossovers"]):
            if crossover["batch"] == batch and crossover["density"]:
                _mark(ax, crossover, k, ink)
    axes[0].set_ylabel("one training step, ms")
    _finish(figure, axes, 4)


def _mark(ax, crossover, k, ink):
    """Draw a line at the density at which a dense peer becomes faster."""
    density = 100 * crossover["density"]
    ax.axvline(density, color=ink, linestyle=":", linewidth=1)
    ax.annotate(
        f"{crossover['peer']}: {density:.0f} % ",
        (density, 0.98 - 0.05 * k),
        xycoords=("data", "axes fraction"),
        ha="right",
        va="top",
        fontsize=9,
    )


def dags(content, figure, ink):
    """Draw steady and cold times, a line of dots for each graph."""
    panels = {"ms": "one training step, ms", "cold_s": "first step of a cold start, s"}
    rows = [row for row in content["rows"] if row.get("ms")]
    _dots(rows, panels, figure, ink)


def latency(content, figure, ink):
    """Draw forward and gradient of one sample, a line of dots for each network."""
    panels = {"forward_us": "forward, one sample, µs", "gradient_us": "gradient, one sample, µs"}
    _dots(content["rows"], panels, figure, ink)


def _dots(rows, panels, figure, ink):
    """Draw a panel for each quantity: a line for each case, a dot for each peer."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    styles = _styles(dict.fromkeys(row["peer"] for row in rows), ink)
    axes = figure.subplots(1, len(panels))
    for ax, (key, label) in zip(axes, panels.items(), strict=True):
        for name, style in styles.items():
            here = [row for row in rows if row["peer"] == name and row.get(key)]
            x, y = [row[key] for row in here], [cases.index(row["case"]) for row in here]
            ax.plot(x, y, label=name, **{**style, "linestyle": "none", "markersize": 8})
        ax.set(xscale="log", xlabel=label, ylim=(len(cases) - 0.5, -0.5))
        ax.set_yticks(range(len(cases)), cases if ax is axes[0] else [""] * len(cases))
    _finish(figure, axes, 3)


def scaling(content, figure, ink):
    """Draw a panel for each sweep, with the fitted line."""
    sweeps = list(dict.fromkeys(row["sweep"] for row in content["rows"]))
    axes = figure.subplots(2, 2).flat
    for ax, name in zip(axes, sweeps, strict=False):
        here = [row for row in content["rows"] if row["sweep"] == name]
        x, y = (np.array([row[key] for row in here], float) for key in ("x", "ms"))
        ax.plot(x, y, **{**_styles(["dagbp"], ink)["dagbp"], "label": "dagbp"})
        slope = here[0]["exponent"]
        if slope is not None:
            line = np.exp(np.log(y).mean() + slope * (np.log(x) - np.log(x).mean()))
            ax.plot(x, line, "--", color=COLOURS[1], label=f"time ~ {name}$^{{{slope:.2f}}}$")
        ax.set(xscale="log", yscale="log", xlabel=name, ylabel="one training step, ms")
        ax.set_ylim(y.min() / 2, y.max() * 2)
        ax.set_title(here[0]["constants"], fontsize=10)
        if name == "threads":
            ax.set_xticks(x, [f"{n:.0f}" for n in x])
            ax.set_xticks([], minor=True)
        _label(ax)
        ax.legend(frameon=False)


def _styles(names, ink):
    """Return line styles by name: dagbp bold in the colour of lettering, peers in colours."""
    styles = {}
    for k, name in enumerate(name for name in names if name != "dagbp"):
        styles[name] = {
            "color": COLOURS[k % len(COLOURS)],
            "marker": MARKERS[k % len(MARKERS)],
            "linestyle": ("-", "--", ":")[k // len(COLOURS) % 3],
            "linewidth": 1.5,
            "markersize": 5,
        }
    dagbp = {"color": ink, "linewidth": 3, "marker": "o", "markersize": 6, "zorder": 10}
    return {name: styles.get(name, dagbp) for name in names}


def _finish(figure, axes, columns):
    """Add the legend below the panels, and readable labels of axes."""
    for ax in axes:
        _label(ax)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns, frameon=False)


def _label(ax):
    """Label logarithmic axes 1, 2, 5, 10, ..., or by decades if an axis spans many."""
    ax.grid(alpha=0.3)
    for axis in (ax.xaxis, ax.yaxis):
        if isinstance(axis.get_major_locator(), ticker.LogLocator):
            low, high = axis.get_view_interval()
            subs = (1, 2, 5) if high < 500 * low else (1,)
            axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=20))
            axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.9g}"))
            axis.set_minor_formatter(ticker.NullFormatter())


# Each chart's function and its size in inches, by the name of the results file.
CHARTS = {
    "layers": (layers, (11, 7)),
    "dags": (dags, (11, 5.5)),
    "scaling": (scaling, (11, 8)),
    "latency": (latency, (11, 5.5)),
}
