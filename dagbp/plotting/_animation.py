"""An HTML page that shows back-propagation of one sample, step by step."""

import json
from importlib.resources import files
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import real_array
from dagbp._errors import DataError, OptionError
from dagbp._network import Network
from dagbp.losses import Loss
from dagbp.plotting._positions import place_nodes
from dagbp.plotting._reading import Array, Reading, read, slopes

MOST = 40  # nodes; with more, the numbers are too small to read


def animate_backprop(
    net: Network,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    loss: str | Loss = "squared_error",
    path: str | PathLike[str] | None = None,
) -> str:
    """Return a page that shows the forward and the backward pass of one sample, node by node.

    At each node the page shows the formula with its numbers: the terms of the signal, one for each
    source; theta'(s); and the terms of the chain rule, one for each target. A slider, a button and
    the arrow keys select the step. ``#step=7`` at the end of the page's address opens that step.
    The page needs no server, no other file and no matplotlib.

    Parameters
    ----------
    net : Network
        With at most 40 nodes.
    x : array_like, shape (n_inputs,)
        The sample.
    y : array_like, shape (n_outputs,), or a class label
        Its target; for one output, it may be a number.
    loss : str or Loss
    path : str or path, optional
        Where to write the page.

    Returns
    -------
    str
        The page in HTML.

    Raises
    ------
    OptionError
        If the network has more than 40 nodes.
    DataError
        If x or y does not fit the network, or an output is not finite.

    Examples
    --------
    >>> import networkx as nx, dagbp.plotting
    >>> net = dagbp.compile(nx.DiGraph([("a", "h"), ("h", "y"), ("a", "y")]), seed=0)
    >>> page = dagbp.plotting.animate_backprop(net, [1.0], 0.5)
    >>> "<svg" in page
    True
    """
    reading = read(net)
    if net.n_nodes > MOST:
        raise OptionError(
            f"animate_backprop shows at most {MOST} nodes, but the network has {net.n_nodes:,}; "
            "dagbp.plotting.draw_network(net, values=net.backprop(X, Y).delta) draws any number"
        )
    story = _story(reading, _one(x, "x"), _one(y, "y"), loss)
    # A "</script>" in a label must not end the element that contains the data.
    data = json.dumps(story, allow_nan=False).replace("<", "\\u003c")
    template = files("dagbp.plotting").joinpath("animation.html").read_text(encoding="utf-8")
    page = template.replace("{{data}}", data)
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page


def _one(values: npt.ArrayLike, name: str) -> Array:
    """Return one sample as a batch of one."""
    array = real_array(values, name)
    if array.ndim > 1:
        raise DataError(
            f"{name} must be one sample, an array of one dimension, got shape {array.shape}"
        )
    return array[None] if array.ndim else array.reshape(1)


def _story(reading: Reading, X: Array, Y: Array, loss: str | Loss) -> dict[str, Any]:
    """Return the data that the page shows, nodes in the order of rows."""
    net, plan, positions = reading.net, reading.plan, place_nodes(reading)
    bp = net.backprop(X, Y, loss)
    n, n_inputs = net.n_nodes, plan.n_inputs
    error_slope = np.zeros(n)
    error_slope[plan.outputs] = _error_slopes(net, X, Y, loss)
    slope = np.full(n, np.nan)
    slope[n_inputs:] = slopes(reading, bp.s.by_row()[1][:, 0])
    graph = reading.names.graph
    nodes = []
    for row, label in enumerate(reading.labels):
        node = {
            "label": str(label),
            "x": float(positions.x[row]),
            "y": float(positions.y[row]),
            "output": bool(reading.is_output[row]),
            "value": _number(bp.x[label][0]),
        }
        if row >= n_inputs:
            index = int(plan.node[row])
            node |= {
                "activation": graph.activation_names[graph.activation[index]],
                "bias": _number(net.biases[label]) if graph.has_bias[index] else None,
                "s": _number(bp.s[label][0]),
                "slope": _number(slope[row]),
                "errorSlope": _number(error_slope[row]),
                "delta": _number(bp.delta[label][0]),
            }
        nodes.append(node)
    edges = [
        {
            "source": i,
            "target": j,
            "bend": bend,
            "weight": weight,
            "gradient": _number(bp.grad_weight[reading.labels[i], reading.labels[j]]),
        }
        for i, j, bend, weight in zip(
            reading.source.tolist(),
            reading.target.tolist(),
            positions.bend.tolist(),
            reading.weight.tolist(),
            strict=True,
        )
    ]
    name = loss.name if isinstance(loss, Loss) else loss
    return {
        "loss": name,
        "error": _number(bp.loss),
        "inputs": n_inputs,
        "nodes": nodes,
        "edges": edges,
    }


def _error_slopes(net: Network, X: Array, Y: Array, loss: str | Loss) -> Array:
    """Return de/dx of each output: the deltas of identity nodes with the same values."""
    k, values = len(net.outputs), net.predict(X)
    bad = np.flatnonzero(~np.isfinite(values[0]))
    if len(bad):
        raise DataError(
            f"output {net.outputs[bad[0]]!r} must be finite for back-propagation, got "
            f"{values[0, bad[0]]}"
        )
    twin = Network.from_edges(
        np.arange(k), np.arange(k, 2 * k), weight=np.ones(k), activation="identity", dtype=net.dtype
    )
    bp = twin.backprop(values, Y, loss)
    return np.array([bp.delta[node][0] for node in twin.outputs])


def _number(value: Any) -> float | str:
    """Return a number for JSON; one that is not finite as text, for JavaScript's `Number`."""
    number = float(value)
    if isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
