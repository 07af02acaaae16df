"""Generates random graphs: DAGs of a given depth, small worlds and scale-free networks."""

from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import Any

import networkx as nx
import numpy as np

from dagbp._checks import check_whole, generator
from dagbp._graph import builders
from dagbp._graph.builders import Graph, Int64, Seed
from dagbp._memory import require


def random_dag(
    n_nodes: int,
    n_edges: int,
    n_inputs: int,
    n_outputs: int,
    depth: int | None = None,
    activation: str = "tanh",
    output_activation: str = "identity",
    seed: Seed = None,
) -> Graph:
    """Draw a random DAG with exactly these numbers of nodes and edges and this depth.

    The inputs are level 0 and the outputs the last level. The hidden nodes are divided evenly among
    the levels between. Each node but the inputs has an in-edge from the level right below it, and
    each node but the outputs has an out-edge. All other edges are drawn uniformly from the pairs
    that lead to a higher level.

    Parameters
    ----------
    n_nodes, n_edges : int
        Totals.
    n_inputs, n_outputs : int
        Nodes that are inputs and outputs.
    depth : int, optional
        Edges of the longest path. Default: about sqrt(h) with h hidden nodes, which gives
        about sqrt(h) levels of sqrt(h) nodes.
    activation, output_activation : str
        For the hidden nodes and for the outputs.
    seed : int, numpy.random.Generator or None
        Chooses the edges.

    Returns
    -------
    networkx.DiGraph
        Nodes are integers in topological order: inputs first, outputs last.

    Raises
    ------
    OptionError
        If no such graph exists; the message gives the possible range.
    MemoryLimitError
        If the graph is too large for the memory.

    Examples
    --------
    >>> G = random_dag(1_000, 20_000, n_inputs=20, n_outputs=10, depth=80, seed=0)
    >>> G.number_of_edges(), nx.dag_longest_path_length(G)
    (20000, 80)
    """
    n_inputs, n_outputs = (
        check_whole("n_inputs", n_inputs, 1),
        check_whole("n_outputs", n_outputs, 1),
    )
    n = check_whole("n_nodes", n_nodes, n_inputs + n_outputs)
    builders.require_room(n, check_whole("n_edges", n_edges, 0))
    rng = generator(seed)
    widths = _level_widths(n_inputs, n - n_inputs - n_outputs, n_outputs, depth)
    src, dst = _level_edges(rng, widths, n_edges)
    G = builders.draw_nodes(range(n), n_inputs, n_outputs, activation, output_activation)
    layers = np.repeat(np.arange(len(widths)), widths).tolist()
    nx.set_node_attributes(G, dict(enumerate(layers)), "layer")
    G.add_edges_from(zip(src.tolist(), dst.tolist(), strict=True))
    return G


def watts_strogatz(
    n: int,
    k: int,
    p: float,
    n_inputs: int,
    n_outputs: int,
    activation: str = "tanh",
    output_activation: str = "identity",
    seed: Seed = None,
) -> Graph:
    """Draw a small-world network: a rewired ring of n hidden nodes, with inputs and outputs.

    The hidden nodes form the Watts-Strogatz graph [1]_, its edges directed from the lower to the
    higher number. Each input feeds k of them, chosen at random, and each output reads k. A hidden
    node without in-edges then gets an edge from a random input. A hidden node without out-edges
    gets an edge to a random output.

    Parameters
    ----------
    n : int
        Hidden nodes, at least 3.
    k : int
        Neighbours of each on the ring, from 2 to n - 1; an odd k counts as k - 1 there.
    p : float in [0, 1]
        Probability that an edge of the ring is rewired.
    n_inputs, n_outputs : int
        Nodes besides the n.
    activation, output_activation : str
        For the hidden nodes and for the outputs.
    seed : int, numpy.random.Generator or None
        Chooses the edges.

    Returns
    -------
    networkx.DiGraph
        Nodes are integers in topological order: inputs, the hidden nodes, outputs.

    Raises
    ------
    OptionError
        If an argument is out of range.
    MemoryLimitError
        If the graph is too large for the memory.

    References
    ----------
    .. [1] D. J. Watts and S. H. Strogatz, "Collective dynamics of 'small-world' networks", Nature
       393, 1998; as neural wiring: S. Xie et al., "Exploring randomly wired neural networks for
       image recognition", ICCV 2019.

    Examples
    --------
    >>> G = watts_strogatz(100, k=6, p=0.1, n_inputs=4, n_outputs=2, seed=0)
    >>> len(G), [node for node in G if G.in_degree(node) == 0]
    (106, [0, 1, 2, 3])
    """
    n = check_whole("n", n, 3)
    k = check_whole("k", k, 2, n - 1)
    p = builders.check_share("p", p, zero=True)
    draw = partial(nx.watts_strogatz_graph, n, k, p)
    ports = k, n_inputs, n_outputs
    return _with_ports(draw, n, n * (k // 2), *ports, activation, output_activation, seed)


def barabasi_albert(
    n: int,
    m: int,
    n_inputs: int,
    n_outputs: int,
    activation: str = "tanh",
    output_activation: str = "identity",
    seed: Seed = None,
) -> Graph:
    """Draw a scale-free network: hubs among n hidden nodes, with inputs and outputs.

    The hidden nodes form the Barabási-Albert graph [1]_: each new node joins m older nodes, with a
    probability proportional to their degrees. Its edges are directed from the older to the newer.
    Each input feeds m of the hidden nodes, chosen at random, and each output reads m. A hidden
    node without in-edges then gets an edge from a random input. A hidden node without out-edges
    gets an edge to a random output.

    Parameters
    ----------
    n : int
        Hidden nodes, at least 2.
    m : int
        Older nodes that each new node joins, from 1 to n - 1.
    n_inputs, n_outputs : int
        Nodes besides the n.
    activation, output_activation : str
        For the hidden nodes and for the outputs.
    seed : int, numpy.random.Generator or None
        Chooses the edges.

    Returns
    -------
    networkx.DiGraph
        Nodes are integers in topological order: inputs, the hidden nodes, outputs.

    Raises
    ------
    OptionError
        If an argument is out of range.
    MemoryLimitError
        If the graph is too large for the memory.

    References
    ----------
    .. [1] A.-L. Barabási and R. Albert, "Emergence of scaling in random networks", Science 286,
       1999.

    Examples
    --------
    >>> G = barabasi_albert(100, m=3, n_inputs=4, n_outputs=2, seed=0)
    >>> len(G), [node for node in G if G.out_degree(node) == 0]
    (106, [104, 105])
    """
    n = check_whole("n", n, 2)
    m = check_whole("m", m, 1, n - 1)
    draw = partial(nx.barabasi_albert_graph, n, m)
    ports = m, n_inputs, n_outputs
    return _with_ports(draw, n, (n - m) * m, *ports, activation, output_activation, seed)


def _level_widths(n_inputs: int, n_hidden: int, n_outputs: int, depth: int | None) -> Int64:
    """Return the number of nodes of each of the depth + 1 levels."""
    if n_hidden == 0:
        check_whole("depth", 1 if depth is None else depth, 1, 1)
        return np.array([n_inputs, n_outputs])
    default = 1 + isqrt(n_hidden)
    inner = check_whole("depth", default if depth is None else depth, 2, n_hidden + 1) - 1
    least, extra = divmod(n_hidden, inner)
    hidden = least + (np.arange(inner) < extra)
    return np.concatenate([[n_inputs], hidden, [n_outputs]])


def _level_edges(rng: np.random.Generator, widths: Int64, n_edges: int) -> tuple[Int64, Int64]:
    """Return the ends of `n_edges` edges to higher levels; nodes are numbered level by level."""
    n = int(widths.sum())
    above = np.repeat(np.cumsum(widths), widths)  # each node's first node of a higher level
    above = above[: n - widths[-1]]
    first = np.concatenate([[0], np.cumsum(n - above)])  # number of each node's first possible edge
    least = int(np.maximum(widths[:-1], widths[1:]).sum())
    count = check_whole("n_edges", n_edges, least, int(first[-1]))
    src, dst = _covering_edges(rng, widths, above)
    edge = builders.distinct(rng, int(first[-1]), count, first[src] + dst - above[src])
    src = np.searchsorted(first, edge, side="right") - 1
    return src, above[src] + edge - first[src]


def _covering_edges(rng: np.random.Generator, widths: Int64, above: Int64) -> tuple[Int64, Int64]:
    """Return edges that give each node an in-edge from the level below, and an out-edge."""
    n, n_inputs = int(widths.sum()), widths[0]
    level = np.repeat(np.arange(len(widths)), widths)
    start = np.concatenate([[0], np.cumsum(widths)])
    shuffled, targets = (np.lexsort((rng.random(n), level)) for _ in range(2))
    below = level[n_inputs:] - 1
    place = np.arange(n_inputs, n) - start[below + 1]
    src = shuffled[start[below] + place % widths[below]]
    lone = np.setdiff1d(np.arange(len(above)), src)
    return (
        np.concatenate([src, lone]),
        np.concatenate([targets[n_inputs:], rng.integers(above[lone], n)]),
    )


def _with_ports(
    draw: Callable[..., Any],
    n: int,
    n_drawn: int,
    k: int,
    n_inputs: int,
    n_outputs: int,
    activation: str,
    output_activation: str,
    seed: Seed,
) -> Graph:
    """Direct an undirected graph from lower to higher numbers, and add inputs and outputs.

    `draw` takes a seed and returns the graph, with nodes 0 to n - 1 and `n_drawn` edges. Each input
    and output has k edges.
    """
    n_inputs, n_outputs = (
        check_whole("n_inputs", n_inputs, 1),
        check_whole("n_outputs", n_outputs, 1),
    )
    n_ports, rng = n_inputs + n_outputs, generator(seed)
    builders.require_room(n + n_ports, n_drawn + k * n_ports, n_drawn)
    hidden = draw(seed=int(rng.integers(2**32)))  # NetworkX uses Python's generator
    ends = np.sort(np.array(hidden.edges, np.int64), axis=1)
    fed, read = (np.bincount(ends[:, side], minlength=n) > 0 for side in (1, 0))
    port_in, node_in = _port_edges(rng, n_inputs, n, k, np.flatnonzero(~fed))
    port_out, node_out = _port_edges(rng, n_outputs, n, k, np.flatnonzero(~read))
    src = np.concatenate([port_in, n_inputs + ends[:, 0], n_inputs + node_out])
    dst = np.concatenate([n_inputs + node_in, n_inputs + ends[:, 1], n_inputs + n + port_out])
    labels = range(n_inputs + n + n_outputs)
    G = builders.draw_nodes(labels, n_inputs, n_outputs, activation, output_activation)
    G.add_edges_from(zip(src.tolist(), dst.tolist(), strict=True))
    return G


def _port_edges(
    rng: np.random.Generator, n_ports: int, n_hidden: int, k: int, lone: Int64
) -> tuple[Int64, Int64]:
    """Return (port, hidden node) pairs: k nodes for each port, a port for each other lone node."""
    require(16 * n_ports * n_hidden, f"drawing the edges of {n_ports:,} inputs or outputs")
    drawn = rng.random((n_ports, n_hidden)).argpartition(k - 1, axis=1)[:, :k]
    pairs = (np.arange(n_ports)[:, None] * n_hidden + drawn).ravel()
    wired = np.isin(lone, drawn)
    lone = lone[~wired]
    extra = rng.integers(n_ports, size=len(lone)) * n_hidden + lone
    port, node = np.divmod(np.sort(np.concatenate([pairs, extra])), n_hidden)
    return port, node
