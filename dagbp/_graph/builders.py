"""Functions that draw graphs: layers, random DAGs, small worlds; each returns a `networkx.DiGraph`.

Every graph but a given matrix's has its inputs as its only sources and its outputs as its only
sinks, so that it compiles without naming either. Nodes carry ``activation``, those on layers also
``layer``, by which `networkx.multipartite_layout` arranges them.
"""

import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from math import isqrt
from numbers import Real
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt

from dagbp._checks import is_whole
from dagbp._errors import OptionError
from dagbp._graph.from_networkx import EDGE_BYTES, NODE_BYTES
from dagbp._memory import require

Graph: TypeAlias = "nx.DiGraph[Any]"
Int64 = npt.NDArray[np.int64]
Seed = int | np.random.Generator | None

UNDIRECTED_BYTES = 180  # of an edge without direction, with what it takes to give it one


def layered(
    sizes: Iterable[int],
    density: float = 1.0,
    activation: str = "relu",
    output_activation: str = "identity",
    seed: Seed = None,
) -> Graph:
    """Draw a feed-forward network of layers, each wired to the next, fully or in part.

    Parameters
    ----------
    sizes : iterable of int
        Nodes of each layer: inputs, hidden layers, outputs.
    density : float in (0, 1]
        Share of the a * b possible edges between layers of a and b nodes: their number is
        ``round(density * a * b)``, but at least ``max(a, b)``, and no node is left unwired.
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
    sizes, rng = _sizes(sizes), _generator(seed)
    density = _share("density", density)
    _require_room(sum(sizes), sum(round(density * a * b) for a, b in pairwise(sizes)))
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
    """Draw a layered network with shortcuts that leap over layers.

    Parameters
    ----------
    sizes : iterable of int
        Nodes of each layer: inputs, hidden layers, outputs.
    skip : int
        Layer l is wired to layer l + 1, as in `layered`, and to layer l + `skip`; at least 2.
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
    sizes, rng = _sizes(sizes, 3), _generator(seed)
    leap = _count("skip", skip, 2, len(sizes) - 1)
    G = layered(sizes, density, activation, output_activation, rng)
    for layer, (a, b) in enumerate(zip(sizes, sizes[leap:], strict=False)):
        pairs = _distinct(rng, a * b, round(density * a * b), np.zeros(0, np.int64))
        _join(G, sizes, layer, layer + leap, pairs)
    return G


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

    The inputs are level 0, the outputs the last level, and the hidden nodes share out evenly
    between. Each node but the inputs has an in-edge from the level right below it, each but the
    outputs an out-edge; all other edges are drawn uniformly from the pairs that lead upwards,
    whatever the distance.

    Parameters
    ----------
    n_nodes, n_edges : int
        Totals.
    n_inputs, n_outputs : int
        How many of the nodes are inputs and outputs.
    depth : int, optional
        Edges of the longest path. Default: with h hidden nodes about sqrt(h), levels then being
        about as wide as there are many.
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
    n_inputs, n_outputs = _count("n_inputs", n_inputs), _count("n_outputs", n_outputs)
    n = _count("n_nodes", n_nodes, n_inputs + n_outputs)
    _require_room(n, _count("n_edges", n_edges, 0))
    rng = _generator(seed)
    widths = _level_widths(n_inputs, n - n_inputs - n_outputs, n_outputs, depth)
    src, dst = _level_edges(rng, widths, n_edges)
    G = _draw_nodes(range(n), n_inputs, n_outputs, activation, output_activation)
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
    """Draw a small-world network: a ring of n hidden nodes, rewired, with inputs and outputs.

    The hidden nodes form the Watts-Strogatz graph [1]_, its edges directed from the lower to the
    higher number. Each input feeds k of them, drawn at random, and each output reads k; a hidden
    node still without in-edges is fed by one random input, one without out-edges read by one
    random output.

    Parameters
    ----------
    n : int
        Hidden nodes, at least 3.
    k : int
        Neighbours of each on the ring, from 2 to n - 1; an odd k counts as k - 1 there.
    p : float in [0, 1]
        Chance that an edge of the ring is rewired.
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
    n = _count("n", n, 3)
    k = _count("k", k, 2, n - 1)
    p = _share("p", p, zero=True)
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

    The hidden nodes form the Barabási-Albert graph [1]_: each newcomer joins m older nodes, the
    likelier the more neighbours they have. Its edges are directed from the older to the newer.
    Each input feeds m of the hidden nodes, drawn at random, and each output reads m; a hidden node
    still without in-edges is fed by one random input, one without out-edges read by one random
    output.

    Parameters
    ----------
    n : int
        Hidden nodes, at least 2.
    m : int
        Older nodes that each newcomer joins, from 1 to n - 1.
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
    n = _count("n", n, 2)
    m = _count("m", m, 1, n - 1)
    draw = partial(nx.barabasi_albert_graph, n, m)
    ports = m, n_inputs, n_outputs
    return _with_ports(draw, n, (n - m) * m, *ports, activation, output_activation, seed)


def from_adjacency(A: Any) -> Graph:
    """Draw the graph of a sparse matrix whose entry (i, j) is the weight of edge i -> j.

    Parameters
    ----------
    A : scipy sparse array or matrix, shape (n, n)
        Stored zeros are edges of weight 0; entries stored twice add up.

    Returns
    -------
    networkx.DiGraph
        Nodes are 0 to n - 1; edges carry ``weight``.

    Raises
    ------
    OptionError
        If `A` is dense, not square, not of real numbers, empty, or holds a value that is not
        finite. Cycles and self-loops are found when the graph is compiled.

    Examples
    --------
    >>> from scipy import sparse
    >>> G = from_adjacency(sparse.csr_array([[0, 0.5, 2], [0, 0, -1], [0, 0, 0]]))
    >>> G.edges(data="weight")
    OutEdgeDataView([(0, 1, 0.5), (0, 2, 2.0), (1, 2, -1.0)])
    """
    from scipy import sparse  # most networks are not drawn from a matrix

    is_sparse = sparse.issparse(A)
    if not is_sparse:
        raise OptionError(
            f"A must be a scipy sparse array; a {type(A).__name__} came, which does not say which "
            "zeros are edges: wrap it in scipy.sparse.csr_array"
        )
    if A.ndim != 2 or A.shape[0] != A.shape[1] or A.shape[0] == 0:
        raise OptionError(f"A must be square, a row and a column for each node; it is {A.shape}")
    if A.dtype.kind not in "iuf":
        raise OptionError(f"A must hold real numbers; its dtype is {A.dtype}")
    entries = sparse.coo_array(sparse.csr_array(A))
    src, dst, weight = entries.row, entries.col, entries.data.astype(np.float64)
    bad = ~np.isfinite(weight)
    if bad.any():
        e = np.argmax(bad)
        raise OptionError(f"A[{src[e]}, {dst[e]}] is {weight[e]}, which must be finite")
    G: Graph = nx.DiGraph()
    G.add_nodes_from(range(A.shape[0]))
    G.add_weighted_edges_from(zip(src.tolist(), dst.tolist(), weight.tolist(), strict=True))
    return G


def _require_room(n_nodes: int, n_edges: int, n_drawn: int = 0) -> None:
    """Refuse a graph that is too large for the memory; so many edges are first drawn undirected."""
    size = NODE_BYTES * n_nodes + EDGE_BYTES * n_edges + UNDIRECTED_BYTES * n_drawn
    require(size, f"a graph of {n_nodes:,} nodes and {n_edges:,} edges")


def _draw_nodes(
    labels: Sequence[Hashable],
    n_inputs: int,
    n_outputs: int,
    activation: str,
    output_activation: str,
) -> Graph:
    """Return a graph without edges; the first labels are the inputs, the last the outputs."""
    for argument, name in ("activation", activation), ("output_activation", output_activation):
        if not isinstance(name, str):
            raise OptionError(f"{argument} is {name!r}; it must be the name of an activation")
    G: Graph = nx.DiGraph()
    hidden_end = len(labels) - n_outputs
    G.add_nodes_from(labels[:n_inputs])
    G.add_nodes_from(labels[n_inputs:hidden_end], activation=activation)
    G.add_nodes_from(labels[hidden_end:], activation=output_activation)
    return G


def _draw_layers(sizes: Sequence[int], activation: str, output_activation: str) -> Graph:
    labels = [(layer, i) for layer, size in enumerate(sizes) for i in range(size)]
    G = _draw_nodes(labels, sizes[0], sizes[-1], activation, output_activation)
    nx.set_node_attributes(G, {label: label[0] for label in labels}, "layer")
    return G


def _join(G: Graph, sizes: Sequence[int], lower: int, upper: int, pairs: Int64) -> None:
    """Add the edges of two layers; pair i * width + j is the edge (lower, i) -> (upper, j)."""
    # One tuple for each node, not for each edge: NetworkX keeps every one that it is given.
    tails, heads = ([(layer, i) for i in range(sizes[layer])] for layer in (lower, upper))
    src, dst = np.divmod(pairs, len(heads))
    G.add_edges_from((tails[i], heads[j]) for i, j in zip(src.tolist(), dst.tolist(), strict=True))


def _covering_pairs(rng: np.random.Generator, a: int, b: int, density: float) -> Int64:
    """Return sorted pairs i * b + j, each i < a and each j < b in at least one of them."""
    k = np.arange(max(a, b))
    cover = rng.permutation(a)[k % a] * b + rng.permutation(b)[k % b]
    return _distinct(rng, a * b, max(round(density * a * b), len(k)), cover)


def _distinct(rng: np.random.Generator, total: int, count: int, taken: Int64) -> Int64:
    """Return `count` distinct numbers below `total`, sorted, the `taken` ones among them.

    The others are drawn uniformly: the r-th number that is not taken is r plus as many as are taken
    up to there.
    """
    # NumPy permutes all numbers where more than one in fifty is drawn.
    require(8 * (total if 50 * count > total else count), f"drawing {count:,} of {total:,} edges")
    taken = np.sort(taken)
    rank = rng.choice(total - len(taken), count - len(taken), replace=False, shuffle=False)
    free = rank + np.searchsorted(taken - np.arange(len(taken)), rank, side="right")
    return np.sort(np.concatenate([taken, free]))


def _level_widths(n_inputs: int, n_hidden: int, n_outputs: int, depth: int | None) -> Int64:
    """Return how many nodes each of the depth + 1 levels has."""
    if n_hidden == 0:
        _count("depth", 1 if depth is None else depth, 1, 1)
        return np.array([n_inputs, n_outputs])
    default = 1 + isqrt(n_hidden)
    inner = _count("depth", default if depth is None else depth, 2, n_hidden + 1) - 1
    least, extra = divmod(n_hidden, inner)
    hidden = least + (np.arange(inner) < extra)
    return np.concatenate([[n_inputs], hidden, [n_outputs]])


def _level_edges(rng: np.random.Generator, widths: Int64, n_edges: int) -> tuple[Int64, Int64]:
    """Return the ends of `n_edges` edges that lead upwards, nodes being numbered level by level."""
    n = int(widths.sum())
    above = np.repeat(np.cumsum(widths), widths)  # each node's first node of a higher level
    above = above[: n - widths[-1]]
    first = np.concatenate([[0], np.cumsum(n - above)])  # number of each node's first possible edge
    least = int(np.maximum(widths[:-1], widths[1:]).sum())
    count = _count("n_edges", n_edges, least, int(first[-1]))
    src, dst = _covering_edges(rng, widths, above)
    edge = _distinct(rng, int(first[-1]), count, first[src] + dst - above[src])
    src = np.searchsorted(first, edge, side="right") - 1
    return src, above[src] + edge - first[src]


def _covering_edges(rng: np.random.Generator, widths: Int64, above: Int64) -> tuple[Int64, Int64]:
    """Return edges that give each node one from the level below it, and each one that leads up."""
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
    """Direct an undirected graph on 0 to n - 1 upwards, and wire inputs and outputs to it.

    `draw` takes a seed and returns the graph, of `n_drawn` edges; each port has k.
    """
    n_inputs, n_outputs = _count("n_inputs", n_inputs), _count("n_outputs", n_outputs)
    n_ports, rng = n_inputs + n_outputs, _generator(seed)
    _require_room(n + n_ports, n_drawn + k * n_ports, n_drawn)
    hidden = draw(seed=_integer_seed(rng))
    ends = np.sort(np.array(hidden.edges, np.int64), axis=1)
    fed, read = (np.bincount(ends[:, side], minlength=n) > 0 for side in (1, 0))
    port_in, node_in = _port_edges(rng, n_inputs, n, k, np.flatnonzero(~fed))
    port_out, node_out = _port_edges(rng, n_outputs, n, k, np.flatnonzero(~read))
    src = np.concatenate([port_in, n_inputs + ends[:, 0], n_inputs + node_out])
    dst = np.concatenate([n_inputs + node_in, n_inputs + ends[:, 1], n_inputs + n + port_out])
    labels = range(n_inputs + n + n_outputs)
    G = _draw_nodes(labels, n_inputs, n_outputs, activation, output_activation)
    G.add_edges_from(zip(src.tolist(), dst.tolist(), strict=True))
    return G


def _port_edges(
    rng: np.random.Generator, n_ports: int, n_hidden: int, k: int, lone: Int64
) -> tuple[Int64, Int64]:
    """Return (port, hidden node) pairs: k nodes for each port, and a port for each lone node."""
    require(16 * n_ports * n_hidden, f"drawing the edges of {n_ports:,} inputs or outputs")
    drawn = rng.random((n_ports, n_hidden)).argpartition(k - 1, axis=1)[:, :k]
    pairs = (np.arange(n_ports)[:, None] * n_hidden + drawn).ravel()
    wired = np.isin(lone, drawn)
    lone = lone[~wired]
    extra = rng.integers(n_ports, size=len(lone)) * n_hidden + lone
    port, node = np.divmod(np.sort(np.concatenate([pairs, extra])), n_hidden)
    return port, node


def _count(argument: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return an integer argument, which must lie within its range."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is not None and least <= number and (most is None or number <= most):
        return number
    possible = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise OptionError(f"{argument} is {value!r}; it must be an integer {possible}")


def _share(argument: str, value: Any, zero: bool = False) -> float:
    """Return an argument that is a share of a whole."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if real and (0 <= value if zero else 0 < value) and value <= 1:
        return float(value)
    raise OptionError(f"{argument} is {value!r}; it must lie in {'[' if zero else '('}0, 1]")


def _sizes(sizes: Any, least: int = 2) -> list[int]:
    """Return the size of each layer, of which there must be at least `least`."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise OptionError(
            f"sizes is {sizes!r}; it must be the nodes of each layer, such as [2, 3, 1]"
        )
    counts = [_count(f"sizes[{layer}]", size) for layer, size in enumerate(sizes)]
    if len(counts) < least:
        raise OptionError(f"sizes is {counts!r}; it must have at least {least} layers")
    return counts


def _generator(seed: Seed) -> np.random.Generator:
    whole = is_whole(seed) and seed >= 0
    if whole or seed is None or isinstance(seed, np.random.Generator):
        return np.random.default_rng(seed)
    raise OptionError(
        f"seed is {seed!r}; it must be an integer from 0, a numpy.random.Generator, or None"
    )


def _integer_seed(rng: np.random.Generator) -> int:
    """Return a seed for NetworkX's generators, which draw from Python's own source."""
    return int(rng.integers(2**32))
