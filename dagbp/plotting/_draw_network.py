"""`draw_network`: draws each node of a small network, and the levels of a large one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dagbp._checks import is_one_of
from dagbp._errors import OptionError, did_you_mean
from dagbp._network import Network
from dagbp.plotting import _axes
from dagbp.plotting._levels import draw_levels
from dagbp.plotting._nodes import draw_nodes
from dagbp.plotting._reading import Reading, read, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("auto", "nodes", "levels")

# Up to these sizes "auto" draws nodes. Found by eye, in a figure of matplotlib's default size.
NODES, EDGES, TALLEST, LEVELS = 300, 4_000, 60, 60
# Up to these sizes "nodes" draws nodes.
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

    The colour of an edge shows its weight, the width its magnitude. Edges that skip levels arch
    around the nodes that they pass. Inputs are squares; outputs have a ring. For a large network, a
    box stands for each level or group of levels, and a band for the edges between two boxes.

    Parameters
    ----------
    net : Network
    values : mapping of node to number or array (n_samples,), optional
        Values to show as the nodes' colours, such as ``net.forward(X).x`` or
        ``net.backprop(X, Y).delta``. Nodes without a value stay empty. The colour of a box is the
        mean magnitude of the values over its nodes.
    quantity : str
        Name of the values, for the colour bar.
    sample : int, optional
        The sample to show; default: the mean over all samples.
    kind : {"auto", "nodes", "levels"}
        "auto" draws nodes if there are at most 300 nodes and 4,000 edges, in at most 60 levels of
        at most 60 nodes each.
    labels : bool, optional
        Whether to write the nodes' labels; default: those for which there is room. Boxes have no
        labels.
    ax : matplotlib.axes.Axes, optional
        Default: pyplot's current one, ``plt.gca()``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        If `values` has a node that is not in the network, `kind` is not one of the three, or the
        network is too large for ``kind="nodes"``.
    MissingPackageError
        If matplotlib is not installed.

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
    if not is_one_of(kind, KINDS):
        raise OptionError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    by_levels = kind == "levels" or (kind == "auto" and not _is_small(reading))
    n, edges = net.n_nodes, net.n_edges
    if not by_levels and (n > MOST_NODES or edges > MOST_EDGES):
        raise OptionError(
            f"kind='nodes' draws at most {MOST_NODES:,} nodes and {MOST_EDGES:,} edges, but the "
            f"network has {n:,} and {edges:,}; use kind='levels' or dagbp.plotting.spy"
        )
    shown = None
    if values is not None:
        shown = shades(reading, values, sample, absolute=by_levels)
    elif sample is not None:
        raise OptionError(f"sample must be None if values is None, got {sample!r}")
    ax = _axes.axes(ax)
    if by_levels:
        draw_levels(ax, reading, shown, quantity)
    else:
        draw_nodes(ax, reading, shown, quantity, labels)
    return ax


def _is_small(reading: Reading) -> bool:
    return (
        reading.net.n_nodes <= NODES
        and reading.net.n_edges <= EDGES
        and reading.n_levels <= LEVELS
        and int(np.diff(reading.first).max()) <= TALLEST
    )
