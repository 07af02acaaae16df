"""The matrix of edges, with those marked that run as dense panels."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dagbp._network import Network
from dagbp.plotting import _axes
from dagbp.plotting._reading import Bool, Reading, Slots, counted, read, read_slots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Up to these numbers, each slot is a mark. Larger networks are drawn as a histogram of cells.
FEW_NODES, FEW_SLOTS = 400, 20_000
CELLS = 256  # along each side
MOST_LINES = 60


def spy(net: Network, *, ax: "Axes | None" = None) -> "Axes":
    """Draw the matrix of edges: targets downwards, sources to the right, in topological order.

    Thin lines are the bounds of levels. Edges that run as dense panels, and explicit zeros that
    fill blocks, have colours of their own. For a large network, each cell of a grid shows its
    number of edges.

    Parameters
    ----------
    net : Network
    ax : matplotlib.axes.Axes, optional
        Default: pyplot's current one, ``plt.gca()``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError, MissingPackageError

    Examples
    --------
    >>> import dagbp.plotting
    >>> from matplotlib.figure import Figure
    >>> net = dagbp.compile(dagbp.layered([2, 3, 1], seed=0), seed=0)
    >>> dagbp.plotting.spy(net, ax=Figure().add_subplot()).get_title()
    '6 nodes, 9 edges, 3 levels'
    """
    reading = read(net)
    ax = _axes.axes(ax)
    colours, slots, n = _axes.palette(ax), read_slots(reading), net.n_nodes
    many = n > FEW_NODES or len(slots.source) > FEW_SLOTS
    handles = (_draw_cells if many else _draw_marks)(ax, n, slots, colours)
    ax.set_xlim(-0.5, n - 0.5)
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        _axes.count_in_whole_numbers(axis)
    note = _draw_bounds(ax, reading, colours)
    ax.set_xlabel("source row, in topological order" + note)
    ax.set_ylabel("target row")
    _axes.legend_above(ax, handles, colours, reading.sizes)
    return ax


def _parts(slots: Slots, colours: _axes.Palette) -> list[tuple[str, Bool, _axes.RGB]]:
    """Return name, mask and colour of each kind of slot that occurs."""
    parts = [
        ("edge", ~slots.dense & ~slots.explicit_zero, colours.ink),
        ("edge in a dense panel", slots.dense & ~slots.explicit_zero, colours.positive),
        ("explicit zero", slots.explicit_zero, colours.negative),
    ]
    return [part for part in parts if part[1].any()]


def _draw_marks(ax: "Axes", n: int, slots: Slots, colours: _axes.Palette) -> list[Any]:
    """Draw a square for each slot; return the legend's entries."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    half = 0.5 if n > 60 else 0.42
    square = half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    handles = []
    for name, chosen, colour in _parts(slots, colours):
        centre = np.stack([slots.source[chosen], slots.target[chosen]], axis=1)
        marks = PolyCollection(list(centre[:, None] + square), facecolors=[colour], linewidths=0)
        ax.add_collection(marks, autolim=False)
        handles.append(Patch(color=colour, label=f"{name} ({chosen.sum():,})"))
    return handles


def _draw_cells(ax: "Axes", n: int, slots: Slots, colours: _axes.Palette) -> list[Any]:
    """Draw each cell's number of edges, outline dense cells; return the legend's entries."""
    from matplotlib.lines import Line2D

    size = -(-n // CELLS)  # rows; equal for all cells, as the grid would be visible otherwise
    side = -(-n // size)
    end = side * size - 0.5

    def count(chosen: Bool) -> Any:
        cell = slots.target[chosen] // size * side + slots.source[chosen] // size
        return np.bincount(cell, minlength=side * side).reshape(side, side)

    edges = count(~slots.explicit_zero)
    norm = _axes.from_zero(edges[edges > 0])
    image = ax.imshow(
        np.ma.masked_equal(edges, 0),
        cmap=_axes.bright(colours).with_extremes(bad=(0, 0, 0, 0)),
        norm=norm,
        extent=(-0.5, end, end, -0.5),
        interpolation="nearest",
        origin="upper",
    )
    _axes.colour_bar(ax, norm, image.cmap, f"edges in a cell of {size:,} x {size:,} rows", colours)
    handles = []
    middle = (np.arange(side) + 0.5) * size - 0.5
    marked: tuple[tuple[str, Bool, _axes.RGB, Literal["-", ":"]], ...] = (
        ("mostly dense panels", slots.dense, colours.negative, "-"),
        ("filled with explicit zeros", slots.explicit_zero, colours.accent, ":"),
    )
    for name, chosen, colour, style in marked:
        if not chosen.any():
            continue
        share = count(chosen) / np.maximum(count(np.ones_like(chosen)), 1)
        region = (share > 0.5 if chosen is slots.dense else share > 0).astype(float)
        ax.contour(middle, middle, region, [0.5], colors=[colour], linestyles=style, linewidths=1.2)
        label = f"{name}: {counted(int(chosen.sum()), 'slot')}"
        handles.append(Line2D([], [], color=colour, linestyle=style, label=label))
    return handles


def _draw_bounds(ax: "Axes", reading: Reading, colours: _axes.Palette) -> str:
    """Draw lines between levels; return a note if there are too many."""
    if reading.n_levels > MOST_LINES:
        return f" (bounds of {reading.n_levels:,} levels left out)"
    from matplotlib.collections import LineCollection

    n = reading.net.n_nodes
    at = reading.first[1:-1] - 0.5
    lines = [[(a, -0.5), (a, n - 0.5)] for a in at] + [[(-0.5, a), (n - 0.5, a)] for a in at]
    ax.add_collection(
        LineCollection(lines, colors=[colours.muted], linewidths=0.5, zorder=0.5), autolim=False
    )
    return ""
