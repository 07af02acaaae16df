"""Generates layered graphs: feed-forward networks, with and without shortcuts."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np

from dagbp._checks import check_whole, generator
from dagbp._errors import OptionError
from dagbp._graph import builders
from dagbp._graph.builders import Graph, Int64, Seed


def layered(
    sizes: Iterable[int],
    density: float = 1.0,
    activation: str = "relu",
    output_activation: str = "identity",
    seed: Seed = None,
) -> Graph:
    """Draw a feed-forward network of layers, each connected to the next, fully or in part.

    Parameters
    ----------
    sizes : iterable of int
        Nodes of each layer: inputs, hidden layers, outputs.
    density : float in (0, 1]
        Share of the a * b possible edges between layers of a and b nodes: their number is
        ``round(density * a * b)``, but at least ``max(a, b)``, so that every node has an edge.
    activation, output_activation : str
        For the hidden layers, and for the last.
    seed : int, numpy.random.Generator or None
        Chooses the edges where `density` is below 1.

    Returns
    -------
    networkx.DiGraph
        Node ``(l, i)`` is number i of layer l, both from 0.

    Raises
    ------
    OptionError
        If there are fewer than two layers, or an argument is out of range.
    MemoryLimitError
        If the graph is too large for the memory.

    Examples
    --------
    >>> G = layered([2, 3, 1])
    >>> list(G)
    [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0)]
    >>> layered([784, 300, 10], density=0.1, seed=0).number_of_edges()
    23820
    """
    sizes, rng = _sizes(sizes), generator(seed)
    density = builders.check_share("density", density)
    builders.require_room(sum(sizes), sum(round(density * a * b) for a, b in pairwise(sizes)))
    G = _draw_layers(sizes, activation, output_activation)
    for layer, (a, b) in enumerate(pairwise(sizes)):
        _join(G, sizes, layer, layer + 1, _covering_pairs(rng, a, b, density))
    return G


def residual(
    sizes: Iterable[int],
    skip: int = 2,
    density: float = 1.0,
    activation: str = "relu",
    output_activation: str = "identity",
    seed: Seed = None,
) -> Graph:
    """Draw a layered network with shortcuts that skip layers.

    Parameters
    ----------
    sizes : iterable of int
        Nodes of each layer: inputs, hidden layers, outputs.
    skip : int
        Layer l is connected to layer l + 1, as in `layered`, and to layer l + `skip`; at least 2.
    density : float in (0, 1]
        Share of the possible edges; of a shortcut's a * b, ``round(density * a * b)`` are drawn.
    activation, output_activation : str
        For the hidden layers, and for the last.
    seed : int, numpy.random.Generator or None
        Chooses the edges where `density` is below 1.

    Returns
    -------
    networkx.DiGraph
        Node ``(l, i)`` is number i of layer l, both from 0.

    Raises
    ------
    OptionError
        If there are fewer than three layers, or an argument is out of range.
    MemoryLimitError
        If the graph is too large for the memory.

    Examples
    --------
    >>> G = residual([1, 1, 1, 1])
    >>> list(G.successors((0, 0)))
    [(1, 0), (2, 0)]
    """
    sizes, rng = _sizes(sizes, 3), generator(seed)
    step = check_whole("skip", skip, 2, len(sizes) - 1)
    G = layered(sizes, density, activation, output_activation, rng)
    for layer, (a, b) in enumerate(zip(sizes, sizes[step:], strict=False)):
        pairs = builders.distinct(rng, a * b, round(density * a * b), np.zeros(0, np.int64))
        _join(G, sizes, layer, layer + step, pairs)
    return G


def _draw_layers(sizes: Sequence[int], activation: str, output_activation: str) -> Graph:
    labels = [(layer, i) for layer, size in enumerate(sizes) for i in range(size)]
    G = builders.draw_nodes(labels, sizes[0], sizes[-1], activation, output_activation)
    nx.set_node_attributes(G, {label: label[0] for label in labels}, "layer")
    return G


def _join(G: Graph, sizes: Sequence[int], lower: int, upper: int, pairs: Int64) -> None:
    """Add the edges of two layers; pair i * width + j is the edge (lower, i) -> (upper, j)."""
    # One tuple for each node, not for each edge: NetworkX keeps every tuple that it gets.
    tails, heads = ([(layer, i) for i in range(sizes[layer])] for layer in (lower, upper))
    src, dst = np.divmod(pairs, len(heads))
    G.add_edges_from((tails[i], heads[j]) for i, j in zip(src.tolist(), dst.tolist(), strict=True))


def _covering_pairs(rng: np.random.Generator, a: int, b: int, density: float) -> Int64:
    """Return sorted pairs i * b + j, each i < a and each j < b in at least one of them."""
    k = np.arange(max(a, b))
    cover = rng.permutation(a)[k % a] * b + rng.permutation(b)[k % b]
    return builders.distinct(rng, a * b, max(round(density * a * b), len(k)), cover)


def _sizes(sizes: Any, least: int = 2) -> list[int]:
    """Return the size of each layer; raise OptionError for fewer than `least` layers."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise OptionError(
            f"sizes is {sizes!r}; it must list the nodes of each layer, such as [2, 3, 1]"
        )
    counts = [check_whole(f"sizes[{layer}]", size, 1) for layer, size in enumerate(sizes)]
    if len(counts) < least:
        raise OptionError(f"sizes is {counts!r}; it must have at least {least} layers")
    return counts
