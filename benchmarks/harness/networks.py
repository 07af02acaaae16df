"""The networks that the suites train, as plain arrays.

Nodes are numbered in topological order, inputs first, so that the source of an edge has a lower
number than its target. Hidden nodes are relu, outputs identity.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

SIZES = (784, 1024, 1024, 10)


class Case(NamedTuple):
    """The edges of a network.

    Attributes
    ----------
    name : str
        The name in tables.
    src, dst : int64 (E,)
        Source and target of each edge.
    n_nodes : int
        Nodes, inputs included.
    inputs, outputs : int64 arrays
        Nodes, in the order of the columns of X and Y.
    levels : list of int, or None
        Nodes in each layer, where every edge leads from one layer to the next; else None.
    """

    name: str
    src: np.ndarray
    dst: np.ndarray
    n_nodes: int
    inputs: np.ndarray
    outputs: np.ndarray
    levels: list | None = None

    @property
    def n_edges(self):
        """Number of edges."""
        return len(self.src)

    @property
    def computed(self):
        """Nodes that are not inputs, ascending. Each has a bias."""
        fed = np.ones(self.n_nodes, np.bool_)
        fed[self.inputs] = False
        return np.flatnonzero(fed)


# --- layers ---


def layered(sizes=SIZES, density=0.1, seed=0):
    """Return layers in which each edge exists with this probability."""
    rng = np.random.default_rng(seed)
    first = np.cumsum([0, *sizes])
    ends = [np.nonzero(rng.random(shape, dtype=np.float32) < density) for shape in pairwise(sizes)]
    src = np.concatenate([i + first[k] for k, (i, _) in enumerate(ends)])
    dst = np.concatenate([j + first[k + 1] for k, (_, j) in enumerate(ends)])
    return _stacked(f"{'-'.join(map(str, sizes))}, {density:.3g}", src, dst, sizes)


def large(n_nodes=1_000_000, n_edges=50_000_000, depth=10, seed=0):
    """Return layers of one width in which all nodes have the same in-degree.

    The layer below is divided into as many equal stretches as a node has in-edges, and one source
    is drawn from each: the sources are distinct, and no draw is repeated. The number of edges is
    right to within half an edge a node.
    """
    rng = np.random.default_rng(seed)
    width = n_nodes // depth
    in_degree = round(n_edges / (width * (depth - 1)))
    stretch = width // in_degree
    dst = np.repeat(np.arange(width, width * depth), in_degree)
    src = rng.integers(stretch, size=len(dst))
    src += np.tile(np.arange(in_degree) * stretch, width * (depth - 1))
    src += dst // width * width - width
    name = f"{width * depth:,} nodes, {len(dst):,} edges"
    return _stacked(name, src, dst, [width] * depth)


def blocks(side, share=1.0, width=1_536, n_reads=4, seed=0):
    """Return four layers of groups. Each group reads `n_reads` groups of the layer below.

    A layer has ``width // side`` groups of `side` nodes. A block of two groups has this share of
    all possible edges.
    """
    rng = np.random.default_rng(seed)
    groups = np.arange(4 * (width // side) * side).reshape(4, -1, side)
    ends = []
    for below, layer in pairwise(groups):
        for group in layer:
            for read in rng.choice(len(below), n_reads, replace=False):
                i, j = np.nonzero(rng.random((side, side)) < share)
                ends.append((below[read][i], group[j]))
    src, dst = (np.concatenate(side_) for side_ in zip(*ends, strict=True))
    return _stacked(f"blocks of {side}, {share:.0%} full", src, dst, [groups[0].size] * 4)


def shuffled(case, seed=0):
    """Return the case with the nodes of each layer in random order, and its edges too."""
    rng = np.random.default_rng(seed)
    first = np.cumsum([0, *case.levels])
    label = np.concatenate([a + rng.permutation(b - a) for a, b in pairwise(first)])
    order = rng.permutation(case.n_edges)
    return case._replace(src=label[case.src][order], dst=label[case.dst][order])


def _stacked(name, src, dst, sizes):
    n = sum(sizes)
    inputs, outputs = np.arange(sizes[0]), np.arange(n - sizes[-1], n)
    return Case(name, src, dst, n, inputs, outputs, list(sizes))


# --- graphs without layers ---


def erdos_renyi_1k(seed=0):
    """Return 1,000 nodes, 20,000 edges, 80 levels."""
    return _random_dag("Erdos-Renyi, 1,000 nodes", 1_000, 20_000, 80, seed)


def erdos_renyi_10k(seed=0):
    """Return 10,000 nodes, 200,000 edges, 109 levels."""
    return _random_dag("Erdos-Renyi, 10,000 nodes", 10_000, 200_000, 109, seed)


def chain(n_nodes=8_000, n_edges=40_000, depth=2_000, seed=0):
    """Return a deep and narrow network: by default 2,000 levels, about 4 nodes wide."""
    return _random_dag(f"chain, {depth:,} levels", n_nodes, n_edges, depth, seed)


def watts_strogatz(n=5_000, k=20, p=0.1, seed=0):
    """Return a small world: a ring of n hidden nodes, rewired."""
    import dagbp

    graph = dagbp.watts_strogatz(n, k, p, 64, 10, seed=seed)
    return _drawn(f"Watts-Strogatz, {n:,} nodes", graph, 64, 10)


def barabasi_albert(n=5_000, m=10, seed=0):
    """Return a scale-free network: hubs among n hidden nodes."""
    import dagbp

    graph = dagbp.barabasi_albert(n, m, 64, 10, seed=seed)
    return _drawn(f"Barabasi-Albert, {n:,} nodes", graph, 64, 10)


def tiny(seed=0):
    """Return 100 nodes, 400 edges, 8 levels, for quick runs."""
    return _random_dag("tiny, 100 nodes", 100, 400, 8, seed, n_inputs=8, n_outputs=3)


def _random_dag(name, n_nodes, n_edges, depth, seed, n_inputs=64, n_outputs=10):
    import dagbp  # here, so that the start-up times of peers do not include it

    graph = dagbp.random_dag(n_nodes, n_edges, n_inputs, n_outputs, depth=depth, seed=seed)
    return _drawn(name, graph, n_inputs, n_outputs)


def _drawn(name, graph, n_inputs, n_outputs):
    """Return the case of a builder's graph, with nodes numbered in topological order."""
    n = len(graph)
    src, dst = np.array(graph.edges, np.int64).T.copy()
    assert (src < dst).all()
    return Case(name, src, dst, n, np.arange(n_inputs), np.arange(n - n_outputs, n))


# --- parameters and batches ---


def draw_parameters(case, seed=0):
    """Return weights in the order of the edges, then the computed nodes' biases; flat float32.

    Weights are drawn after He et al., with the variance 2 / in-degree; biases are small.
    """
    rng = np.random.default_rng(seed)
    in_degree = np.bincount(case.dst, minlength=case.n_nodes)
    weights = rng.standard_normal(case.n_edges, dtype=np.float32)
    weights *= np.sqrt(2 / in_degree[case.dst])
    biases = 0.1 * rng.standard_normal(len(case.computed), dtype=np.float32)
    return np.concatenate([weights, biases])


def draw_batch(case, size, seed=1):
    """Return X, Y of standard normals, float32."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((size, len(case.inputs)), dtype=np.float32)
    return X, rng.standard_normal((size, len(case.outputs)), dtype=np.float32)
