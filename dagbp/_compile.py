"""Compiles a NetworkX graph to a network."""

import os
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from dagbp import activations
from dagbp._errors import IgnoredArgumentWarning
from dagbp._graph.arrays import GraphArrays
from dagbp._graph.from_networkx import read_networkx
from dagbp._model.checkpoint import read_checkpoint
from dagbp._model.model import new_model
from dagbp._network import Network

if TYPE_CHECKING:
    import networkx as nx


def compile(
    G: "nx.DiGraph[Any]",
    inputs: Any = None,
    outputs: Any = None,
    *,
    activation: str | None = None,
    output_activation: str | None = None,
    dtype: npt.DTypeLike = "float32",
    seed: Any = None,
    init: str = "auto",
    n_threads: int | None = None,
    dense_above: float | None = None,
    schedule: Literal["auto", "tiles", "levels"] = "auto",
) -> Network:
    """Compile a directed acyclic graph of neurons.

    Parameters
    ----------
    G : networkx.DiGraph
        Nodes are neurons, edges weights. Node attributes: ``activation``, a name; ``bias``, its
        initial value, or None for no bias (default: trained from 0); ``trainable``, False to fix
        the bias; ``input_column`` and ``output_column``, the node's column of X or of Y. Edge
        attributes: ``weight``, its initial value (default: drawn by `init`); ``trainable``, False
        to fix it. Other attributes are kept for `Network.to_networkx`.
    inputs, outputs : iterable of nodes, optional
        In the order of the columns of X and Y. Default: the nodes with ``input_column`` or
        ``output_column``; without any, the nodes without in-edges, and the nodes without out-edges,
        in graph order. An output may feed other nodes. A node without in-edges that is not an
        input has the constant value theta(bias).
    activation, output_activation : str, optional
        For hidden nodes and outputs without the attribute. Builders set it on all of their nodes.
        Default: "tanh" and "identity".
    dtype : {"float32", "float64"}
    seed : int or numpy.random.Generator, optional
        For the initial weights. A Generator is not used if all weights are given.
    init : {"auto", "glorot", "he", "lecun", "zeros"}
        Distribution of the initial weights, scaled by in-degree; "auto" chooses it by the
        activation of each target.
    n_threads : int, optional
        Maximum number of threads, from 1 to the cores that this process may use; default: as many
        of them as have enough work.
    dense_above : float, optional
        A block in which more than this share of all possible edges exists runs as a dense block.
        Its absent edges become weights of exactly zero, so only the rounding of results changes. At
        least 0.05; 1: full blocks only; default: where it is faster, see `summary`.
    schedule : {"auto", "tiles", "levels"}
        The way threads share a batch. "tiles": each takes samples of its own. "levels": all work
        on each level of the net together; results have the same bits on any number of threads.
        "auto": the way with the smaller estimated time; "levels" if its estimate is at most 5 %
        larger.

    Returns
    -------
    Network

    Raises
    ------
    GraphError
        If the graph is no DiGraph, is empty, or has a self-loop or a cycle, or if an attribute is
        not valid; the message names the node or edge.
    OptionError
        If another argument is not valid.

    Warns
    -----
    UnreachableWarning
        If no input reaches some output.
    IgnoredArgumentWarning
        If an activation is given, but each node that it is for has its own.

    Examples
    --------
    >>> import networkx as nx
    >>> import dagbp
    >>> G = nx.DiGraph([("a", "h"), ("b", "h"), ("h", "y"), ("a", "y")])
    >>> net = dagbp.compile(G, activation="relu", seed=0)
    >>> net.inputs, net.outputs
    (['a', 'b'], ['y'])
    >>> net.predict([[1.0, -1.0], [0.5, 2.0]]).shape
    (2, 1)
    """
    graph = read_networkx(
        G,
        inputs,
        outputs,
        known=activations.names(),
        activation="tanh" if activation is None else activation,
        output_activation="identity" if output_activation is None else output_activation,
    )
    _warn_of_ignored(G, graph, activation, output_activation)
    copy = G.copy()  # the caller may change G later
    options = dtype, seed, init, n_threads, dense_above, schedule
    return Network(new_model(graph, *options, nx_graph=copy))


def load(path: str | os.PathLike[str]) -> Network:
    """Return the network that `Network.save` wrote to a file.

    Activations of your own must be registered before, as for pickles. If the state of a training
    run was saved too, ``fit(resume=True)`` continues it.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Network
        With the same labels, attributes, parameters and options.

    Raises
    ------
    CheckpointError
        If the file is not a checkpoint, has a newer format, or is damaged, or if the network in it
        does not fit into memory. Nothing in the file is executed.
    MemoryLimitError
        If the file or its header needs more memory than is available.
    OSError
        If there is no such file, or it cannot be read.
    """
    return Network(read_checkpoint(path))


def _warn_of_ignored(
    G: "nx.DiGraph[Any]", graph: GraphArrays, activation: str | None, output_activation: str | None
) -> None:
    if activation is None and output_activation is None:
        return
    outputs, inputs = set(graph.outputs.tolist()), set(graph.inputs.tolist())
    computed = [i for i in range(len(graph.labels)) if i not in inputs]
    hidden = [i for i in computed if i not in outputs]
    read_out = [i for i in computed if i in outputs]
    inner, outer = ("activation", "hidden nodes"), ("output_activation", "outputs")
    for (argument, kind), (other, others), value, nodes in (
        (inner, outer, activation, hidden),
        (outer, inner, output_activation, read_out),
    ):
        own = [G.nodes[graph.labels[i]].get("activation") is not None for i in nodes]
        if value is not None and own and all(own):
            warnings.warn(
                f"{argument}={value!r} is ignored: all {kind} of the graph have an activation of "
                f"their own; a builder takes it as an argument, and {other} is for {others}",
                IgnoredArgumentWarning,
                stacklevel=3,
            )
