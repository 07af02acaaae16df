"""`draw_network`: node by node where nodes can be told apart, by levels where they cannot."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dagbp._errors import OptionError, did_you_mean
from dagbp._network import Network
from dagbp.plotting import _axes
from dagbp.plotting._levels import draw_levels
from dagbp.plotting._nodes import draw_nodes
from dagbp.plotting._reading import Reading, read, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("auto", "nodes", "levels")

# Up to these sizes "auto" draws nodes; looked at, in a figure of matplotlib's default size.
NODES, EDGES, TALLEST, LEVELS = 300, 4_000, 60, 60
# Up to these, "nodes" does.
MOST_NODES, MOST_EDGES = 2_000, 20_000


def draw_network(
    net: Network,
    *,
    values: Mapping[Any, Any] | None = None,
    quantity: str = "value",
    sample: int | None = None,
    kind: Literal["auto", "nodes", "levels"] = "auto",
    labels: bool | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a network by topological level, from left to right.

    Edges have the colour of their weight and the width of its magnitude; those that skip levels
    arch around the nodes on their way. Inputs are squares, outputs ringed. Where nodes cannot be
    told apart, a box stands for each level, or group of levels, and a band for the edges between
    two of them.

    Parameters
    ----------
    net : Network
    values : mapping of node to number or array (n_samples,), optional
        Colours of the nodes, such as ``net.forward(X).x`` or ``net.backprop(X, Y).delta``; nodes
        without one stay empty. Boxes take the mean of the magnitudes.
    quantity : str
        What `values` are, for the colour bar.
    sample : int, optional
        The sample to show; default: the mean over all.
    kind : {"auto", "nodes", "levels"}
        "auto": nodes up to 300 of them and 4,000 edges, in at most 60 levels of at most 60.
    labels : bool, optional
        Whether to write the nodes' labels; default: where there is room. Boxes have none.
    ax : matplotlib.axes.Axes, optional
        Default: pyplot's current one, ``plt.gca()``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        For a node that the network has not, a name that does not exist, or a network too large
        for ``kind="nodes"``.
    MissingPackageError
        Without matplotlib.

    Examples
    --------
    >>> import dagbp.plotting
    >>> from matplotlib.figure import Figure
    >>> net = dagbp.compile(dagbp.layered([2, 3, 1], seed=0), seed=0)
    >>> bp = net.backprop([[1.0, -1.0]], [[0.5]])
    >>> ax = Figure().add_subplot()
    >>> ax = dagbp.plotting.draw_network(net, values=bp.delta, quantity="delta", ax=ax)
    >>> ax.get_title()
    '6 nodes, 9 edges, 3 levels'
    """
    reading = read(net)
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}{did_you_mean(kind, KINDS)}")
    by_levels = kind == "levels" or (kind == "auto" and not _can_be_told_apart(reading))
    if not by_levels:
        _refuse_crowds(reading)
    shown = None
    if values is not None:
        shown = shades(reading, values, sample, absolute=by_levels)
    elif sample is not None:
        raise OptionError(f"sample is {sample!r}, but there are no values to take it from")
    ax = _axes.axes(ax)
    if by_levels:
        draw_levels(ax, reading, shown, quantity)
    else:
        draw_nodes(ax, reading, shown, quantity, labels)
    return ax


def _can_be_told_apart(reading: Reading) -> bool:
    return (
        reading.net.n_nodes <= NODES
        and reading.net.n_edges <= EDGES
        and reading.n_levels <= LEVELS
        and int(np.diff(reading.first).max()) <= TALLEST
    )


def _refuse_crowds(reading: Reading) -> None:
    n, edges = reading.net.n_nodes, reading.net.n_edges
    if n > MOST_NODES or edges > MOST_EDGES:
        raise OptionError(
            f"kind='nodes' draws at most {MOST_NODES:,} nodes and {MOST_EDGES:,} edges, and the "
            f"network has {n:,} and {edges:,}: use kind='levels', or dagbp.plotting.spy"
        )
