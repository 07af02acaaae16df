"""Distributions of weights and deltas by level."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dagbp._errors import OptionError
from dagbp._model.views import Backprop
from dagbp._network import Network
from dagbp.plotting import _axes
from dagbp.plotting._groups import cut_levels
from dagbp.plotting._reading import Array, Float64, Int64, Reading, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 20  # columns
BINS = 60
ENOUGH = 4_000_000  # deltas; if there are more, only every k-th sample is drawn
QUANTILES = (0.05, 0.5, 0.95)


def histograms(
    net: Network, backprop: Backprop | None = None, *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the distribution of the weights into each level, or of the deltas of each level.

    Each column is a histogram, scaled to its highest bin. Lines show the median and the 5 % and
    95 % quantiles. If there are more than 20 levels, each column is a group of levels.

    Parameters
    ----------
    net : Network
    backprop : Backprop, optional
        The result of `Network.backprop`. If given, ``|delta|`` is drawn on a logarithmic scale in
        place of the weights: deltas that vanish or explode towards the inputs appear as a slope.
        Zeros have no logarithm; their share is drawn on a second scale at the right.
    ax : matplotlib.axes.Axes, optional
        Default: pyplot's current one, ``plt.gca()``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        If `backprop` is of another network, or there is nothing to draw.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import dagbp.plotting
    >>> from matplotlib.figure import Figure
    >>> net = dagbp.compile(dagbp.layered([2, 3, 1], seed=0), seed=0)
    >>> dagbp.plotting.histograms(net, ax=Figure().add_subplot()).get_ylabel()
    'weight'
    """
    reading = read(net)
    bounds = cut_levels(reading, MOST)
    if backprop is None:
        columns, note = _weights(reading, bounds), ""
    else:
        columns, note = _deltas(reading, bounds, backprop)
    if not any(len(values) for values in columns):
        missing = "no edges" if backprop is None else "no deltas"
        raise OptionError(f"the network has {missing}; there is nothing to draw")
    ax = _axes.axes(ax)
    colours = _axes.palette(ax)
    if backprop is None:
        _draw_columns(ax, columns, colours)
        ax.axhline(0, color=colours.muted, linewidth=0.6, zorder=0)
        ax.set_ylabel("weight")
        things = "Weights into"
    else:
        _draw_logarithms(ax, columns, colours)
        things = "Deltas of"
    _axes.number_groups(ax, reading, bounds)
    each = "each level" if len(columns) == reading.n_levels else "each group of levels"
    _axes.legend_above(ax, _handles(colours), colours, f"{things} {each}{note}")
    return ax


def _weights(reading: Reading, bounds: Int64) -> list[Float64]:
    """Return the weights of the edges into each group of levels."""
    slots = reading.plan.in_ptr[reading.first[bounds]]
    return [reading.weight[a:b] for a, b in pairwise(slots)]


def _deltas(reading: Reading, bounds: Int64, backprop: Backprop) -> tuple[list[Array], str]:
    """Return |delta| of each group's computed nodes and samples, and a note for the title."""
    if not isinstance(backprop, Backprop):
        raise OptionError(
            f"backprop must be the result of net.backprop(X, Y), got {type(backprop).__name__}"
        )
    if backprop.delta.names is not reading.names:
        raise OptionError("backprop must be of this network, got one of another network")
    delta, note = backprop.delta.by_row()[1], ""
    step = -(-delta.size // ENOUGH)
    if step > 1:
        delta, note = delta[:, ::step], f"; one sample in {step}"
    rows = np.maximum(reading.first[bounds] - reading.plan.n_inputs, 0)
    columns = [abs(delta[a:b]).ravel() for a, b in pairwise(rows)]
    bad = sum(int(np.count_nonzero(~np.isfinite(values))) for values in columns)
    if bad:
        columns = [values[np.isfinite(values)] for values in columns]
        note += f"; {bad:,} not finite, left out"
    return columns, note


def _draw_logarithms(ax: "Axes", columns: list[Array], colours: _axes.Palette) -> None:
    """Draw the logarithms, and the share of zeros on a second scale."""
    from matplotlib.ticker import FuncFormatter

    logs = [np.log10(values[values > 0], dtype=np.float64) for values in columns]
    zeros = np.array([np.mean(values == 0) if len(values) else np.nan for values in columns])
    if any(len(values) for values in logs):
        _draw_columns(ax, logs, colours)
    _axes.count_in_whole_numbers(ax.yaxis)
    ax.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    ax.set_ylabel("|delta| of one sample")
    if np.nansum(zeros) == 0:
        return
    right = ax.twinx()
    right.plot(range(len(zeros)), 100 * zeros, "x--", color=colours.negative, linewidth=1)
    right.set_ylim(-2, 102)
    right.set_ylabel("deltas that are exactly 0, %", color=colours.negative)
    right.tick_params(axis="y", colors=colours.negative)


def _power_of_ten(exponent: float, _: int) -> str:
    """Return a tick's label: a power of ten, or the number if the exponent is not whole."""
    whole = round(exponent)
    return f"$10^{{{whole}}}$" if abs(exponent - whole) < 1e-6 else f"{10.0**exponent:.2g}"


def _draw_columns(ax: "Axes", columns: list[Any], colours: _axes.Palette) -> None:
    """Draw a histogram for each column, mirrored, with its quantiles."""
    everything = np.concatenate(columns)
    low, high = float(everything.min()), float(everything.max())
    room = 0.02 * (high - low) or 0.5 * (abs(high) or 1.0)
    edges = np.linspace(low - room, high + room, BINS + 1)
    ax.set_ylim(edges[0], edges[-1])
    for k, values in enumerate(columns):
        if len(values) == 0:
            continue
        counts, _ = np.histogram(values, edges)
        width = 0.42 * counts / counts.max()
        ax.fill_betweenx(
            np.repeat(edges, 2)[1:-1],
            k - np.repeat(width, 2),
            k + np.repeat(width, 2),
            color=colours.positive,
            alpha=0.6,
            linewidth=0,
        )
        marks = np.quantile(values, QUANTILES)
        ax.vlines(k, marks[0], marks[2], color=colours.ink, linewidth=1)
        ax.hlines(marks[1], k - 0.2, k + 0.2, color=colours.ink, linewidth=1.8)


def _handles(colours: _axes.Palette) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(color=colours.positive, alpha=0.6, label="histogram"),
        Line2D([], [], color=colours.ink, linewidth=1.8, label="median"),
        Line2D([], [], color=colours.ink, ls="none", marker="|", ms=9, label="5 % to 95 %"),
    ]
