"""Helpers for matplotlib's Axes, and colours that fit their background.

Blue and orange, and green and purple, are different for people with any common colour blindness
(palette of Okabe and Ito). matplotlib is imported when a picture is drawn.
"""

from math import ceil
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from dagbp._errors import MissingPackageError, OptionError
from dagbp.plotting._reading import Int64, Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap, Normalize

RGB = tuple[float, float, float]

CHARACTER = 0.65  # about the width of a character, over the size of its font


def axes(ax: "Axes | None") -> "Axes":
    """Return `ax`, or pyplot's current Axes for None; pyplot is imported only then."""
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise MissingPackageError(
            'pictures need matplotlib, which is not installed: pip install "dagbp[plot]"'
        ) from error
    if ax is None:
        from matplotlib import pyplot

        fresh = not pyplot.get_fignums()
        ax = pyplot.gca()
        if fresh:  # the new figure must not cut off labels
            pyplot.gcf().set_layout_engine("constrained")
        return ax
    if not isinstance(ax, Axes):
        raise OptionError(f"ax must be a matplotlib Axes, or None, got {type(ax).__name__}")
    return ax


class Palette(NamedTuple):
    """Colours for one background.

    `ink` is for text, and `muted` is between it and the background. Weights are `positive` or
    `negative`. Nodes' values are `high` or `low`. `accent` is for the most important mark.
    """

    back: RGB
    ink: RGB
    muted: RGB
    positive: RGB
    negative: RGB
    high: RGB
    low: RGB
    accent: RGB


def palette(ax: "Axes") -> Palette:
    """Return the colours for an Axes."""
    from matplotlib.colors import to_rgb

    back = _background(ax)
    dark = is_dark(back)
    ink = (0.95,) * 3 if dark else (0.1,) * 3
    light_or_deep = (
        ("#56B4E9", "#E69F00", "#3DDC97", "#E38FC4", "#F0E442")
        if dark
        else ("#0072B2", "#D55E00", "#007A57", "#A8468A", "#000000")
    )
    return Palette(back, ink, blend(back, ink, 0.45), *(to_rgb(c) for c in light_or_deep))


def is_dark(colour: RGB) -> bool:
    """Return whether light text reads better on this colour."""
    return float(np.dot(colour, (0.299, 0.587, 0.114))) < 0.5


def blend(a: RGB, b: RGB, share: float) -> RGB:
    """Return a colour between a (share 0) and b (share 1)."""
    red, green, blue = ((1 - share) * np.array(a) + share * np.array(b)).tolist()
    return red, green, blue


def _background(ax: "Axes") -> RGB:
    """Return the background: of the Axes, of its figure, or a contrast to the text's colour."""
    from matplotlib import rcParams
    from matplotlib.colors import to_rgb, to_rgba

    for colour in (ax.get_facecolor(), ax.figure.get_facecolor()):
        red, green, blue, alpha = to_rgba(colour)
        if alpha > 0.5:
            return red, green, blue
    dark = is_dark(to_rgb(rcParams["text.color"]))
    return (1.0, 1.0, 1.0) if dark else (0.0, 0.0, 0.0)


def signed(low: RGB, high: RGB, colours: Palette) -> "Colormap":
    """Return a map from one colour to another, close to the background at its centre."""
    return _ramp([low, blend(colours.back, colours.ink, 0.2), high], colours)


def unsigned(end: RGB, colours: Palette) -> "Colormap":
    """Return a map from near the background to a colour."""
    return _ramp([blend(colours.back, colours.ink, 0.15), end], colours)


def bright(colours: Palette) -> "Colormap":
    """Return a map of many hues, without the end that is close to the background."""
    from matplotlib import colormaps

    part = np.linspace(0.25, 1, 9) if is_dark(colours.back) else np.linspace(0, 0.87, 9)
    return _ramp([(r, g, b) for r, g, b, _ in colormaps["viridis"](part)], colours)


def _ramp(stops: list[RGB], colours: Palette) -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("dagbp", stops)
    return ramp.with_extremes(bad=colours.accent)


def around_zero(values: Any) -> "Normalize":
    """Return a scale for signed values, symmetric around zero."""
    from matplotlib.colors import Normalize

    most = largest(values)
    return Normalize(-most, most)


def from_zero(values: Any) -> "Normalize":
    """Return a scale for magnitudes: from zero, or logarithmic if the range is wide."""
    from matplotlib.colors import LogNorm, Normalize

    positive = np.asarray(values)[np.isfinite(values) & (np.asarray(values) > 0)]
    most = largest(values)
    if len(positive) == np.size(values) and most > 30 * positive.min(initial=most):
        return LogNorm(float(positive.min()), most)
    return Normalize(0, most)


def largest(values: Any) -> float:
    """Return the largest finite magnitude; 1 if it is 0 or there is no finite value."""
    magnitude = abs(np.asarray(values, np.float64))
    return float(magnitude[np.isfinite(magnitude)].max(initial=0)) or 1.0


def colour_bar(
    ax: "Axes",
    norm: "Normalize",
    cmap: "Colormap",
    label: str,
    colours: Palette,
    side: Literal["left", "right"] = "right",
) -> "Colorbar":
    """Add a colour bar with a label beside an Axes."""
    from matplotlib.cm import ScalarMappable

    mappable = ScalarMappable(norm, cmap)
    bar = ax.figure.colorbar(mappable, ax=ax, location=side, pad=0.02, fraction=0.06, aspect=28)
    bar.set_label(label, color=colours.ink)
    bar.ax.tick_params(colors=colours.ink, which="both")
    bar.ax.yaxis.offsetText.set_color(colours.ink)
    bar.outline.set_edgecolor(colours.muted)
    return bar


def size_in_points(ax: "Axes") -> tuple[float, float]:
    """Return the width and height of an Axes in points."""
    box = ax.get_window_extent()
    points = 72 / ax.figure.dpi
    return box.width * points, box.height * points


def legend_above(ax: "Axes", handles: list[Any], colours: Palette, title: str) -> None:
    """Set a title, and a legend in one row between it and the picture."""
    ax.set_title(title, pad=26 if handles else 6, parse_math=False)
    if handles:
        ax.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=len(handles),
            frameon=False,
            labelcolor=colours.ink,
            fontsize="small",
            handletextpad=0.4,
            columnspacing=1.2,
        )


def number_groups(ax: "Axes", reading: Reading, bounds: Int64) -> None:
    """Label each column with its level, or with the first level of its group."""
    lowest, n = int(reading.plan.level[0]), len(bounds) - 1
    names = [str(level + lowest) for level in bounds[:-1].tolist()]
    longest = max(map(len, names))
    size = 5.8 if n * longest > 60 else 8.3
    spacing = size_in_points(ax)[0] / (n + 0.2)
    step = max(1, ceil((CHARACTER * size * longest + 3) / spacing))
    ax.set_xlim(-0.6, n - 0.4)
    ax.set_xticks(range(0, n, step), names[::step], fontsize=size)
    first = "" if n == reading.n_levels else "first "
    ax.set_xlabel(f"{first}topological level{' (0: inputs)' if lowest == 0 else ''}")


def count_in_whole_numbers(axis: "Axis") -> None:
    """Put ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def quiet_frame(ax: "Axes") -> None:
    """Remove the frame and the vertical scale."""
    ax.set_yticks([])
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
