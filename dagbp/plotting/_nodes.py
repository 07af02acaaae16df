"""Draws every node and edge of a network."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dagbp.plotting import _axes
from dagbp.plotting._positions import Positions, arc, place_nodes
from dagbp.plotting._reading import Bool, Reading, Shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARC_POINTS = 24
LARGEST = 26.0  # diameter of a node in points
READABLE, LARGEST_FONT = 5.5, 8.5  # sizes of a font in points
BESIDE = 5.0  # points between a node and the label beside it
IN_A_NODE = 3  # most characters of a label inside its node
LONGEST = 24  # characters of a label; longer ones are shortened


def draw_nodes(
    ax: "Axes", reading: Reading, shades: Shades | None, quantity: str, labels: bool | None
) -> None:
    """Draw every node and edge on an Axes."""
    colours, positions = _axes.palette(ax), place_nodes(reading)
    _draw_edges(ax, reading, positions, colours)
    norm, cmap = None, None
    if shades is not None:
        norm = _axes.around_zero(shades.value)
        cmap = _axes.signed(colours.low, colours.high, colours)
        _axes.colour_bar(ax, norm, cmap, quantity + shades.where, colours, "left")
    _set_limits(ax, reading, positions)
    labelling = None if labels is False else _labelling(ax, reading, bool(labels))
    across, down = _gaps(ax, reading)
    diameter = float(np.clip(0.62 * min(across, down), 2.5, LARGEST))  # of a node, in points
    fill = _fill(reading, shades, norm, cmap, colours)
    handles = _draw_markers(ax, reading, positions, fill, diameter, colours)
    unnamed = len(reading.labels)
    if labelling is not None:
        unnamed = _write_labels(ax, reading, positions, labelling, fill, diameter, colours)
    lowest = int(reading.plan.level[0])
    caption = f"topological level{' (0: inputs)' if lowest == 0 else ''}"
    if unnamed and labels is None:
        some = "" if unnamed == len(reading.labels) else "some "
        caption += f"; {some}labels left out: no room"
    ax.set_xlabel(caption + (shades.note if shades is not None else ""))
    _axes.legend_above(ax, handles, colours, reading.sizes)


def _draw_edges(ax: "Axes", reading: Reading, positions: Positions, colours: _axes.Palette) -> None:
    """Draw edges, strong ones on top: colour by weight, width by its magnitude."""
    from matplotlib.collections import LineCollection

    if len(reading.weight) == 0:
        return
    order = np.argsort(abs(reading.weight), kind="stable")
    weight = reading.weight[order]
    source, target = reading.source[order], reading.target[order]
    positions = positions._replace(bend=positions.bend[order])
    curves = arc(positions, source, target, np.linspace(0, 1, ARC_POINTS))
    lines = [
        curve if bend else curve[[0, -1]]
        for curve, bend in zip(curves, positions.bend, strict=True)
    ]
    norm = _axes.around_zero(weight)
    widest = 3.0 if len(weight) < 500 else 1.5
    edges = LineCollection(
        lines,
        array=weight,
        cmap=_axes.signed(colours.negative, colours.positive, colours),
        norm=norm,
        linewidths=widest * (0.2 + 0.8 * abs(weight) / _axes.largest(weight)),
        alpha=0.9 if len(weight) < 500 else 0.6,
        capstyle="round",
        zorder=1,
    )
    ax.add_collection(edges, autolim=False)
    _axes.colour_bar(ax, norm, edges.cmap, "weight; width: |weight|", colours)


def _set_limits(ax: "Axes", reading: Reading, positions: Positions) -> None:
    """Make room for all nodes and arcs, and number the levels."""
    from matplotlib.ticker import MaxNLocator

    source = reading.source
    height = arc(positions, source, reading.target, np.array([0.25, 0.5, 0.75]))[..., 1]
    low, high = min(0.0, height.min(initial=0)), max(1.0, height.max(initial=1))
    ax.set_ylim(high + 0.03, low - 0.03)  # the first node of a level at the top
    ax.set_xlim(-0.5, reading.n_levels - 0.5)
    lowest, last = int(reading.plan.level[0]), reading.n_levels - 1
    marks = MaxNLocator(8, integer=True, min_n_ticks=1).tick_values(0, last)
    levels = [round(level) for level in marks if 0 <= level <= last]
    ax.set_xticks(levels, [str(level + lowest) for level in levels])
    _axes.quiet_frame(ax)


class _Labelling(NamedTuple):
    """Labels of the nodes, and their places.

    If all labels are short enough, they are `inside` the nodes. Otherwise they are below the nodes,
    and those of the first and the last level stand beside the nodes, where `beside` characters fit.
    `every` label is written, or only the ones with room.
    """

    texts: list[str]
    inside: bool
    beside: int
    every: bool


def _labelling(ax: "Axes", reading: Reading, every: bool) -> _Labelling:
    texts = [" ".join(str(label).split()) for label in reading.labels]
    inside = max(map(len, texts)) <= IN_A_NODE
    beside = 0 if inside else _make_room_beside(ax, reading, texts)
    return _Labelling(texts, inside, beside, every)


def _make_room_beside(ax: "Axes", reading: Reading, texts: list[str]) -> int:
    """Widen an Axes for labels beside its first and last nodes; return how many characters fit.

    Both sides together take at most half of its width.
    """
    last = reading.n_levels - 1
    if last == 0:
        return 0
    ends = [text for text, level in zip(texts, reading.level, strict=True) if level in (0, last)]
    longest, width = min(LONGEST, max(map(len, ends))), _axes.size_in_points(ax)[0]
    size = float(np.clip(0.8 * _row_gaps(ax, reading)[[0, last]].max(), READABLE, LARGEST_FONT))
    apart = LARGEST / 2 + BESIDE
    room = min(width / 4, _axes.CHARACTER * size * longest + apart)
    margin = max(0.5, last * room / (width - 2 * room))
    ax.set_xlim(-margin, last + margin)
    return max(1, int((room - apart) / (_axes.CHARACTER * size) + 1e-6))


def _gaps(ax: "Axes", reading: Reading) -> tuple[float, float]:
    """Return the points between levels, and between the nodes of the largest level."""
    width, height = _axes.size_in_points(ax)
    high, low = ax.get_ylim()
    tallest = int(np.diff(reading.first).max())
    return width / float(np.ptp(ax.get_xlim())), height / (high - low) / tallest


def _row_gaps(ax: "Axes", reading: Reading) -> Any:
    """Return the points between the nodes of each level."""
    count = np.diff(reading.first)
    return _gaps(ax, reading)[1] * count.max() / count


def _fill(
    reading: Reading, shades: Shades | None, norm: Any, cmap: Any, colours: _axes.Palette
) -> Any:
    """Return the colour of each row, (n, 3); a row without a value has the background's."""
    fill = np.tile(np.array(colours.back), (len(reading.plan.node), 1))
    if shades is not None:
        shown = np.ma.masked_invalid(shades.value[shades.given])
        fill[shades.given] = cmap(norm(shown))[:, :3]
    return fill


def _draw_markers(
    ax: "Axes",
    reading: Reading,
    positions: Positions,
    fill: Any,
    diameter: float,
    colours: _axes.Palette,
) -> list[Any]:
    """Draw the nodes; return the legend's entries."""
    row = np.arange(len(fill))
    is_input = row < reading.plan.n_inputs
    is_constant = ~is_input & (np.diff(reading.plan.in_ptr) == 0)
    kinds: list[tuple[str, str, Bool]] = [
        ("input", "s", is_input),
        ("constant", "^", is_constant),
        ("computed", "o", ~is_input & ~is_constant),
    ]
    line = float(np.clip(diameter / 12, 0.5, 1.4))
    handles = []
    for name, marker, chosen in kinds:
        if chosen.any():
            scale = 0.85 if marker == "s" else 1.0
            ax.scatter(
                positions.x[chosen],
                positions.y[chosen],
                s=(scale * diameter) ** 2,
                c=fill[chosen],
                marker=marker,
                edgecolors=[colours.ink],
                linewidths=line,
                zorder=3,
                clip_on=False,
            )
            handles.append(_handle(f"{name} ({chosen.sum():,})", marker, colours))
    output = reading.is_output
    if output.any():
        ax.scatter(
            positions.x[output],
            positions.y[output],
            s=(diameter + 2.5 + 3 * line) ** 2,
            facecolors="none",
            edgecolors=[colours.ink],
            linewidths=line,
            zorder=2.5,
            clip_on=False,
        )
        handles.append(_handle(f"ringed: output ({output.sum():,})", "$\\circledcirc$", colours))
    return handles


def _handle(name: str, marker: str, colours: _axes.Palette) -> Any:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"ms": 6, "mfc": "none", "mew": 1}
    if marker.startswith("$"):  # a formula
        look = {"ms": 9, "mfc": colours.ink, "mew": 0}
    return Line2D([], [], ls="none", marker=marker, mec=colours.ink, label=name, **look)


def _write_labels(
    ax: "Axes",
    reading: Reading,
    positions: Positions,
    labelling: _Labelling,
    fill: Any,
    diameter: float,
    colours: _axes.Palette,
) -> int:
    """Write the labels that fit, or all of them; return the number of labels left out."""
    from matplotlib.patheffects import withStroke

    texts, inside, characters, every = labelling
    last = reading.n_levels - 1
    across, gaps = _gaps(ax, reading)[0], _row_gaps(ax, reading)
    written = 0
    for row, text in enumerate(texts):
        level = int(reading.level[row])
        beside = characters > 0 and level in (0, last)
        if inside:
            size, place, where = min(9.0, 0.45 * diameter), (0.0, 0.0), ("center", "center")
        elif beside:
            way = -1.0 if level == 0 else 1.0
            size = min(LARGEST_FONT, 0.8 * gaps[level])
            place, where = (way * (diameter / 2 + BESIDE), 0.0), ("right", "center")
            where = where if level == 0 else ("left", "center")
        else:
            size = min(LARGEST_FONT, 0.8 * (gaps[level] - diameter), 0.15 * across)
            place, where = (0.0, -diameter / 2 - 3), ("center", "top")
        if size < READABLE and not every:
            continue
        written += 1
        size = max(size, READABLE)
        ink, halo = colours.ink, colours.back
        if inside:
            halo = tuple(fill[row])
            ink = (0.95,) * 3 if _axes.is_dark(halo) else (0.1,) * 3
        room = characters if beside else max(4, int(0.95 * across / (_axes.CHARACTER * size)))
        ax.annotate(
            shortened(text, min(room, LONGEST)),
            (positions.x[row], positions.y[row]),
            xytext=place,
            textcoords="offset points",
            ha=where[0],
            va=where[1],
            fontsize=size,
            color=ink,
            path_effects=[] if inside else [withStroke(linewidth=1.8, foreground=halo)],
            parse_math=False,
            zorder=4,
        )
    return len(texts) - written


def shortened(text: str, room: int) -> str:
    """Return a text of at most `room` characters."""
    return text if len(text) <= room else text[: room - 1] + "…"
