"""The parts that all builders share, and the graph of a matrix.

Builders draw a `networkx.DiGraph`. Each one but `from_adjacency` draws its inputs as the only
sources and its outputs as the only sinks, so that the graph compiles without naming either. Nodes
carry ``activation``, and nodes on layers also ``layer``, for `networkx.multipartite_layout`.
"""

from collections.abc import Hashable, Sequence
from numbers import Real
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt
import scipy  # loads scipy.sparse on first use

from dagbp._errors import OptionError
from dagbp._graph.from_networkx import NETWORKX_EDGE_BYTES, NETWORKX_NODE_BYTES
from dagbp._memory import require

Graph: TypeAlias = "nx.DiGraph[Any]"
Int64 = npt.NDArray[np.int64]
Seed = int | np.random.Generator | None

UNDIRECTED_EDGE_BYTES = 180  # of NetworkX, with the work of giving the edge a direction


def from_adjacency(A: Any) -> Graph:
    """Draw the graph of a sparse matrix: entry (i, j) is the weight of edge i -> j.

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
    is_sparse = scipy.sparse.issparse(A)
    if not is_sparse:
        raise OptionError(
            f"A must be a scipy sparse array, got a {type(A).__name__}, which does not tell zero "
            "weights from absent edges; wrap it in scipy.sparse.csr_array"
        )
    if A.ndim != 2 or A.shape[0] != A.shape[1] or A.shape[0] == 0:
        raise OptionError(
            f"A must be square, with a row and a column for each node; its shape is {A.shape}"
        )
    if A.dtype.kind not in "iuf":
        raise OptionError(f"A must hold real numbers; its dtype is {A.dtype}")
    entries = scipy.sparse.coo_array(scipy.sparse.csr_array(A))
    src, dst, weight = entries.row, entries.col, entries.data.astype(np.float64)
    bad = ~np.isfinite(weight)
    if bad.any():
        e = np.argmax(bad)
        raise OptionError(f"A[{src[e]}, {dst[e]}] must be finite, got {weight[e]}")
    G: Graph = nx.DiGraph()
    G.add_nodes_from(range(A.shape[0]))
    G.add_weighted_edges_from(zip(src.tolist(), dst.tolist(), weight.tolist(), strict=True))
    return G


def require_room(n_nodes: int, n_edges: int, n_drawn: int = 0) -> None:
    """Raise MemoryLimitError if the graph is too large; `n_drawn` edges are first undirected."""
    size = NETWORKX_NODE_BYTES * n_nodes + NETWORKX_EDGE_BYTES * n_edges
    size += UNDIRECTED_EDGE_BYTES * n_drawn
    require(size, f"a graph of {n_nodes:,} nodes and {n_edges:,} edges")


def draw_nodes(
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


def distinct(rng: np.random.Generator, total: int, count: int, taken: Int64) -> Int64:
    """Return `count` distinct numbers below `total`, sorted, with the `taken` ones among them.

    The others are drawn uniformly. The r-th free number is r plus the taken numbers before it.
    """
    # NumPy permutes all numbers where more than one in fifty is drawn.
    require(8 * (total if 50 * count > total else count), f"drawing {count:,} of {total:,} edges")
    taken = np.sort(taken)
    rank = rng.choice(total - len(taken), count - len(taken), replace=False, shuffle=False)
    free = rank + np.searchsorted(taken - np.arange(len(taken)), rank, side="right")
    return np.sort(np.concatenate([taken, free]))


def check_share(argument: str, value: Any, zero: bool = False) -> float:
    """Return an argument from (0, 1], or [0, 1]; raise OptionError for any other."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if real and (0 <= value if zero else 0 < value) and value <= 1:
        return float(value)
    raise OptionError(f"{argument} is {value!r}; it must lie in {'[' if zero else '('}0, 1]")
