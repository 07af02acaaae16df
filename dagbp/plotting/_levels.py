"""Draws a box for each level or group of levels, and bands of edges between the boxes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dagbp.plotting import _axes
from dagbp.plotting._groups import Groups, group
from dagbp.plotting._reading import Bool, Float64, Int64, Reading, Shades, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 16  # boxes
HALF = 0.22  # half of a box's width; groups are 1 apart
LEAST = 0.012  # least height of a box; the tallest has 1
WIDEST, SIDE_BY_SIDE = 24.0, 60.0  # most points of one band, and of all arches over one place


def draw_levels(ax: "Axes", reading: Reading, shades: Shades | None, quantity: str) -> None:
    """Draw boxes and bands on an Axes."""
    colours, groups = _axes.palette(ax), group(reading, MOST)
    height = np.maximum(groups.nodes / groups.nodes.max(), LEAST)
    top = _draw_bands(ax, groups, height, colours)
    fill: Any = [_axes.blend(colours.back, colours.ink, 0.15)] * len(height)
    if shades is not None:
        mean, empty = _means(groups, shades)
        norm, cmap = _axes.from_zero(mean[np.isfinite(mean) & ~empty]), _axes.bright(colours)
        fill = cmap(norm(np.ma.masked_invalid(mean)))
        fill[empty] = (*colours.back, 1)
        _axes.colour_bar(
            ax, norm, cmap, f"mean |{quantity}| over nodes{shades.where}", colours, "left"
        )
    handles = _draw_boxes(ax, groups, height, fill, colours)
    ax.set_ylim(-1.05, top + 0.05)
    _axes.number_groups(ax, reading, groups.level)
    _axes.quiet_frame(ax)
    _axes.legend_above(ax, handles, colours, reading.sizes)
    caption = _caption(reading, groups) + (shades.note if shades is not None else "")
    longest = max(map(len, caption.splitlines()))
    ax.text(
        *(0.5, 0.01, caption),
        transform=ax.transAxes,
        ha="center",
        va="bottom",
        fontsize=min(8.3, _axes.size_in_points(ax)[0] / (_axes.CHARACTER * longest)),
        color=colours.ink,
    )


def _means(groups: Groups, shades: Shades) -> tuple[Float64, Bool]:
    """Return the mean of each group's values, and a mask of the groups without values."""
    given = np.add.reduceat(shades.given.astype(np.int64), groups.first[:-1])
    total = np.add.reduceat(np.where(shades.given, shades.value, 0), groups.first[:-1])
    return total / np.maximum(given, 1), given == 0


def _draw_bands(ax: "Axes", groups: Groups, height: Float64, colours: _axes.Palette) -> float:
    """Draw the edges between groups; return the height of the highest."""
    from matplotlib.collections import LineCollection

    if len(groups.n_edges) == 0:
        return 0.5
    lines = _band_lines(groups, height)
    order = np.argsort(-groups.n_edges, kind="stable")  # narrow bands on top
    norm = _axes.from_zero(groups.strength)
    bands = LineCollection(
        [lines[k] for k in order],
        array=groups.strength[order],
        cmap=_axes.unsigned(colours.positive, colours),
        norm=norm,
        linewidths=np.maximum(_widest(groups) * groups.n_edges / groups.n_edges.max(), 0.4)[order],
        capstyle="butt",
        zorder=2,
    )
    ax.add_collection(bands, autolim=False)
    _axes.colour_bar(ax, norm, bands.cmap, "mean |weight| of a band", colours)
    return max(0.5, *(float(line[:, 1].max()) for line in lines))


def _widest(groups: Groups) -> float:
    """Return the width of the widest band in points, so that parallel arches have room."""
    steps = np.zeros(len(groups.nodes) + 1)
    skips = groups.target - groups.source > 1
    np.add.at(steps, groups.source[skips], groups.n_edges[skips])
    np.add.at(steps, groups.target[skips], -groups.n_edges[skips])
    beside = np.cumsum(steps).max() / groups.n_edges.max()
    return float(min(WIDEST, SIDE_BY_SIDE / max(beside, 1e-9)))


def _band_lines(groups: Groups, height: Float64) -> list[Float64]:
    """Return the points of each band: straight between neighbours, else an arch over the boxes.

    Arches leave a box on its right and reach a box on its left. Wide arches enclose narrow ones.
    """
    span = groups.target - groups.source
    leave = _ports(groups.source, -span, span > 1)
    reach = _ports(groups.target, span, span > 1) - HALF
    t = np.linspace(0, 1, 40)[:, None]
    shares = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    lines = []
    for k, (a, b) in enumerate(zip(groups.source.tolist(), groups.target.tolist(), strict=True)):
        if b == a + 1:
            lines.append(np.array([(a + HALF, 0.0), (b - HALF, 0.0)]))
            continue
        peak = 0.62 + 0.9 * (b - a) / max(len(height), 8)
        start, end = a + leave[k], b + reach[k]
        corners = [(start, height[a] / 2), (start, peak), (end, peak), (end, height[b] / 2)]
        lines.append(np.add.reduce([s * np.array(c) for s, c in zip(shares, corners, strict=True)]))
    return lines


def _ports(box: Int64, rank: Int64, chosen: Bool) -> Float64:
    """Return offsets within [0, HALF] for the chosen bands of each box, in the order of rank."""
    order = np.lexsort((rank, box))
    order = order[chosen[order]]
    count = np.bincount(box[order])
    start = np.cumsum(count) - count
    place = np.zeros(len(box))
    place[order] = (np.arange(len(order)) - start[box[order]] + 0.5) / count[box[order]] * HALF
    return place


def _draw_boxes(
    ax: "Axes", groups: Groups, height: Float64, fill: Any, colours: _axes.Palette
) -> list[Any]:
    """Draw a box for each group, inputs and outputs hatched; return the legend's entries."""
    from matplotlib.patches import Rectangle

    def box(g: int, low: float, tall: float, **look: Any) -> None:
        ax.add_patch(Rectangle((g - HALF, low), 2 * HALF, tall, **look))

    hatched: dict[str, Any] = {"facecolor": "none", "edgecolor": colours.ink}
    for g, (tall, nodes) in enumerate(zip(height, groups.nodes, strict=True)):
        box(g, -tall / 2, tall, facecolor=fill[g], edgecolor=colours.ink, linewidth=0.8, zorder=1)
        share = tall / nodes
        box(
            g, -tall / 2, share * groups.inputs[g], hatch="////", linewidth=0, zorder=1.5, **hatched
        )
        out = share * groups.outputs[g]
        box(g, tall / 2 - out, out, hatch="....", linewidth=0, zorder=1.5, **hatched)
        ax.text(
            g,
            -tall / 2 - 0.02,
            f"{nodes:,}",
            ha="center",
            va="top",
            color=colours.ink,
            fontsize="x-small" if len(height) <= 14 else "xx-small",
            rotation=0 if len(height) <= 14 else 90,
            zorder=4,
        )
    handles = [
        Rectangle((0, 0), 1, 1, hatch=hatch, label=f"{name} ({count:,})", **hatched)
        for name, hatch, count in (
            ("inputs", "////", groups.inputs.sum()),
            ("outputs", "....", groups.outputs.sum()),
        )
    ]
    if len(groups.n_edges):
        widest = f"widest band: {counted(int(groups.n_edges.max()), 'edge')}"
        handles.append(Rectangle((0, 0), 1, 1, color=colours.positive, label=widest))
    return handles


def _caption(reading: Reading, groups: Groups) -> str:
    """Return the explanation of boxes and bands."""
    each = "a level" if reading.n_levels == len(groups.nodes) else "a group of levels"
    text = (
        f"aggregated: a box is {each}, its height the number of nodes;\n"
        "a band is the edges between two boxes, its width their number"
    )
    if groups.inside:
        text += f"\n({counted(groups.inside, 'edge')} within boxes not shown)"
    return text
