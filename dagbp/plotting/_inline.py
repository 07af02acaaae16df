"""The small picture of a network in a notebook, written as SVG without matplotlib."""

from collections.abc import Callable
from html import escape

import numpy as np

from dagbp._network import Network
from dagbp.plotting._groups import Groups, group
from dagbp.plotting._positions import arc, place_nodes
from dagbp.plotting._reading import Float64, Reading, counted, read

WIDTH, HEIGHT, MARGIN = 420, 180, 14
FEW = 190  # most SVG elements for nodes and edges; more make a notebook slow
GROUPS = 10
# Different for people with any common colour blindness, on white and on black.
POSITIVE, NEGATIVE, FILL = "#2a8fd0", "#d9731a", "#8a8f98"


def page(net: Network) -> str:
    """Return a picture and the summary as HTML, for `Network._repr_html_`."""
    return f"{svg(net)}<pre>{escape(net.summary())}</pre>"


def svg(net: Network) -> str:
    """Return a picture of fewer than 200 elements: the nodes of a small network, or levels."""
    reading = read(net)
    few = net.n_nodes + net.n_edges <= FEW
    shapes = "".join(_nodes(reading) if few else _levels(group(reading, GROUPS)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" font-size="9">'
        f"<title>{escape(repr(net))}</title>{shapes}</svg>"
    )


def _nodes(reading: Reading) -> list[str]:
    """Return every edge and node; a few nodes have their labels as titles."""
    positions = place_nodes(reading)
    source = reading.source
    middle = arc(positions, source, reading.target, np.array([0.5]))[:, 0]
    ends = np.stack([positions.x, positions.y], axis=1)
    # Control point of a quadratic Bezier curve with ends A, C and middle M: 2 M - (A + C) / 2.
    control = 2 * middle - (ends[source] + ends[reading.target]) / 2
    place = _to_pixels(np.concatenate([ends, middle]))
    at, control = place(ends), place(control)
    most = abs(reading.weight).max(initial=0) or 1.0
    shapes = []
    for i, j, (x, y), weight in zip(
        source.tolist(), reading.target.tolist(), control.tolist(), reading.weight, strict=True
    ):
        (a, b), (c, d) = at[i], at[j]
        strength = abs(weight) / most
        colour = POSITIVE if weight >= 0 else NEGATIVE
        shapes.append(
            f'<path d="M{a:.1f} {b:.1f}Q{x:.1f} {y:.1f} {c:.1f} {d:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="{0.5 + 1.5 * strength:.1f}" '
            f'stroke-opacity="{0.3 + 0.7 * strength:.2f}"/>'
        )
    titled = 2 * len(at) + len(reading.weight) <= FEW
    radius = float(np.clip(0.3 * (HEIGHT - 2 * MARGIN) / np.diff(reading.first).max(), 2, 6))
    for row, (x, y) in enumerate(at.tolist()):
        width = 2.5 if reading.is_output[row] else 1
        look = f'fill="{FILL}" stroke="currentColor" stroke-width="{width}"'
        if row < reading.plan.n_inputs:
            corner = f'x="{x - radius:.1f}" y="{y - radius:.1f}"'
            shape = f'rect {corner} width="{2 * radius:.1f}" height="{2 * radius:.1f}"'
        else:
            shape = f'circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"'
        title = f"<title>{escape(str(reading.labels[row]))}</title>" if titled else ""
        shapes.append(f"<{shape} {look}>{title}</{shape.split()[0]}>")
    return shapes


def _levels(groups: Groups) -> list[str]:
    """Return a box for each group of levels, and a curve for the edges between two."""
    nodes = groups.nodes
    tall = np.maximum(nodes / nodes.max(), 0.03)
    x = np.arange(len(nodes), dtype=np.float64)
    span = groups.target - groups.source
    reach = float(span.max(initial=1))
    peak = np.where(span > 1, 0.5 + 0.4 * span / reach, 0.0)
    corners = np.array([(0.0, -0.6), (float(len(nodes) - 1), max(0.5, peak.max(initial=0)))])
    place = _to_pixels(corners, MARGIN + 16)
    shapes = []
    for a, b, high, n_edges in zip(
        groups.source.tolist(), groups.target.tolist(), peak, groups.n_edges, strict=True
    ):
        # The control point of a curve between the tops of two boxes, with `peak` as its height.
        start, end = (tall[a] / 2, tall[b] / 2) if b > a + 1 else (0.0, 0.0)
        middle = 2 * high - (start + end) / 2 if b > a + 1 else 0.0
        points = place(np.array([(x[a], start), ((x[a] + x[b]) / 2, middle), (x[b], end)]))
        (p, q), (r, s), (u, v) = points
        width = max(0.4, (12 if b == a + 1 else 3) * n_edges / groups.n_edges.max())
        shapes.append(
            f'<path d="M{p:.1f} {q:.1f}Q{r:.1f} {s:.1f} {u:.1f} {v:.1f}" fill="none" '
            f'stroke="{POSITIVE}" stroke-opacity="0.7" stroke-width="{width:.1f}"/>'
        )
    for k, count in enumerate(nodes.tolist()):
        (left, top), (_, bottom) = place(np.array([(x[k], tall[k] / 2), (x[k], -tall[k] / 2)]))
        shapes.append(
            f'<rect x="{left - 8:.1f}" y="{top:.1f}" width="16" height="{bottom - top:.1f}" '
            f'fill="{FILL}" stroke="currentColor"/>'
            f'<text x="{left:.1f}" y="{bottom + 10:.1f}" text-anchor="middle" '
            f'fill="currentColor">{count:,}</text>'
        )
    most = counted(int(groups.n_edges.max(initial=0)), "edge")
    shapes.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 3}" text-anchor="middle" fill="currentColor">'
        f"by levels: nodes in each box; the widest band is {most}</text>"
    )
    return shapes


def _to_pixels(points: Float64, margin: float = MARGIN) -> Callable[[Float64], Float64]:
    """Return the map to pixels that makes these points (k, 2) fill the picture; y is upwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    flat = high == low
    low, high = np.where(flat, low - 0.5, low), np.where(flat, high + 0.5, high)
    share = (np.array([WIDTH, HEIGHT]) - 2 * margin) / (high - low)

    def place(points: Float64) -> Float64:
        pixels: Float64 = margin + (points - low) * share
        pixels[:, 1] = HEIGHT - pixels[:, 1]
        return pixels

    return place
