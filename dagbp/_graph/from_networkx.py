"""Reads a NetworkX graph and its attributes as graph arrays, and writes one back."""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt

from dagbp._checks import is_number, is_whole
from dagbp._errors import GraphError, OptionError
from dagbp._graph import arrays
from dagbp._graph.arrays import Edges, GraphArrays, Nodes
from dagbp._graph.ports import read_ports

Graph: TypeAlias = "nx.DiGraph[Any]"

# Memory that a NetworkX graph takes for each node and edge, by tracemalloc at its peak.
NETWORKX_NODE_BYTES, NETWORKX_EDGE_BYTES = 700, 230
_COLUMNS = ("input_column", "output_column")


def read_networkx(
    G: Graph,
    inputs: Iterable[Hashable] | None = None,
    outputs: Iterable[Hashable] | None = None,
    *,
    known: Collection[str],
    activation: str = "tanh",
    output_activation: str = "identity",
) -> GraphArrays:
    """Read a directed graph and the attributes of its nodes and edges.

    Node attributes: ``activation``, a name out of `known`; ``bias``, its initial value, or None or
    False for no bias (default: trained from 0); ``trainable``, False to fix the bias;
    ``input_column`` and ``output_column``, see `drawn_ports`. Edge attributes: ``weight``, a number
    (default: drawn at random); ``trainable``. Others are ignored.

    Inputs and outputs are given in column order. Default: the nodes with ``input_column`` or
    ``output_column``. If there are none: the nodes without in-edges, and the nodes without
    out-edges that are no inputs, both in graph order. A node without in-edges that is no input is a
    constant. `activation` and `output_activation` are for nodes without the attribute. Raises
    GraphError or OptionError; cycles are found later, by `plan_graph`.
    """
    _check_networkx(G)
    arrays.check_default("activation", activation, known)
    arrays.check_default("output_activation", output_activation, known)
    labels = tuple(G)
    index = {label: i for i, label in enumerate(labels)}
    edges = _edges_of(G, index)
    arrays.refuse_self_loops(labels, edges.src, edges.dst)
    drawn = drawn_ports(G)
    inputs = drawn[0] if inputs is None else inputs
    outputs = drawn[1] if outputs is None else outputs
    ports = read_ports(labels, index.get, edges.src, edges.dst, inputs, outputs)
    nodes = arrays.default_nodes(len(labels), *ports, activation, output_activation)
    _read_nodes(G, nodes, known)
    return arrays.graph_arrays_of(labels, edges, nodes)


def drawn_ports(G: Graph) -> tuple[list[Hashable] | None, list[Hashable] | None]:
    """Return the nodes with ``input_column`` and the nodes with ``output_column``, sorted by it.

    None where no node has the attribute. `write_networkx` sets these attributes where inputs or
    outputs are not the default ones. GraphError if a column is no whole number, or repeated.
    """
    columns: dict[str, dict[int, Hashable]] = {name: {} for name in _COLUMNS}
    for label, attributes in G.nodes(data=True):
        for name in _COLUMNS if attributes else ():
            column = attributes.get(name)
            if column is None:
                continue
            if not is_whole(column):
                raise GraphError(
                    f"node {label!r} has {name} {column!r:.80}, which must be a whole number"
                )
            other = columns[name].setdefault(int(column), label)
            if other is not label:
                raise GraphError(f"nodes {other!r} and {label!r} both have {name} {column}")
    inputs, outputs = ([found[k] for k in sorted(found)] for found in columns.values())
    return inputs or None, outputs or None


def draw(graph: GraphArrays) -> Graph:
    """Return a new NetworkX graph with the content of the graph arrays.

    Reading it gives the same graph arrays, with the edges sorted by source.
    """
    G: Graph = nx.DiGraph()
    G.add_nodes_from(graph.labels)
    is_input = arrays.mask(len(graph.labels), graph.inputs)
    for i in np.flatnonzero(~is_input).tolist():
        G.nodes[graph.labels[i]].update(_node_attributes(graph, i))
    G.add_edges_from(_drawn_edges(graph))
    _draw_ports(G, graph)
    return G


def write_networkx(
    G: Graph, graph: GraphArrays, weight: npt.ArrayLike, bias: npt.ArrayLike
) -> Graph:
    """Return a copy of a NetworkX graph with these weights (E,) and biases (n,).

    G: the graph that was read as `graph`, which gives the order. Entries of nodes without a bias
    are ignored.
    """
    copy = G.copy()
    ends = zip(graph.src.tolist(), graph.dst.tolist(), strict=True)
    for (i, j), value in zip(ends, np.asarray(weight, np.float64).tolist(), strict=True):
        copy.edges[graph.labels[i], graph.labels[j]]["weight"] = value
    biases = np.asarray(bias, np.float64).tolist()
    for i in np.flatnonzero(graph.has_bias).tolist():
        copy.nodes[graph.labels[i]]["bias"] = biases[i]
    _draw_ports(copy, graph)
    return copy


def _draw_ports(G: Graph, graph: GraphArrays) -> None:
    """Set the column attributes where inputs or outputs are not the default ones, in place."""
    for attributes in G.nodes.values():
        for name in _COLUMNS:
            attributes.pop(name, None)
    ends, n = (graph.dst, graph.src), len(graph.labels)
    inner = [np.bincount(end, minlength=n) > 0 for end in ends]
    inner[1] |= arrays.mask(n, graph.inputs)
    for name, ports, others in zip(_COLUMNS, (graph.inputs, graph.outputs), inner, strict=True):
        if not np.array_equal(ports, np.flatnonzero(~others)):
            for column, i in enumerate(ports.tolist()):
                G.nodes[graph.labels[i]][name] = column


def _check_networkx(G: Any) -> None:
    if not isinstance(G, nx.Graph):
        raise OptionError(f"the graph must be a networkx.DiGraph, got a {type(G).__name__}")
    if not G.is_directed():
        raise GraphError("the graph is undirected; it must be a networkx.DiGraph")
    if G.is_multigraph():
        raise GraphError(
            "the graph is a multigraph, but an edge has one weight; it must be a networkx.DiGraph"
        )
    if len(G) == 0:
        raise GraphError("the graph is empty; it needs at least one node")


def _edges_of(G: Graph, index: Mapping[Hashable, int]) -> Edges:
    src: list[int] = []
    dst: list[int] = []
    weight: list[float] = []
    trainable: list[bool] = []
    for u, neighbours in G.adjacency():
        src.extend(repeat(index[u], len(neighbours)))
        dst.extend(map(index.__getitem__, neighbours))
        for v, attributes in neighbours.items():
            weight.append(_weight(u, v, attributes.get("weight")))
            trainable.append(_trainable(attributes.get("trainable", True), "edge", u, v))
    ends = np.array(src, np.int32), np.array(dst, np.int32)
    return Edges(*ends, np.array(weight, np.float64), np.array(trainable, np.bool_))


def _weight(u: Hashable, v: Hashable, value: Any) -> float:
    if value is None:
        return np.nan
    if is_number(value):
        return float(value)
    raise GraphError(
        f"edge {u!r} -> {v!r} has weight {value!r:.80}, which must be a finite real number; leave "
        "it out to draw it at random"
    )


def _read_nodes(G: Graph, nodes: Nodes, known: Collection[str]) -> None:
    """Read the attributes of all nodes into `nodes`, in place."""
    is_input = arrays.mask(len(G), nodes.inputs)
    for i, (label, attributes) in enumerate(G.nodes(data=True)):
        if not attributes:
            continue
        if is_input[i]:
            _check_input(label, attributes)
            continue
        name = attributes.get("activation")
        if name is not None:
            nodes.activation[i] = arrays.known_name(label, name, known)
        nodes.has_bias[i], nodes.bias[i] = _bias(label, attributes.get("bias", 0.0))
        nodes.trainable[i] = _trainable(attributes.get("trainable", True), "node", label)


def _check_input(label: Hashable, attributes: Mapping[str, Any]) -> None:
    """Raise GraphError for an attribute that would change an input: its value is its feature."""
    name, bias = attributes.get("activation"), attributes.get("bias")
    if not (name is None or (isinstance(name, str) and name == "identity")):
        wrong = f"activation {name!r}"
    elif not _means_no_bias(bias):
        wrong = f"bias {bias!r}"
    else:
        return
    raise GraphError(
        f"node {label!r} is an input and has {wrong}; an input's value is its feature: "
        "leave the attribute out, or name the inputs without this node, which makes it a constant"
    )


def _bias(label: Hashable, value: Any) -> tuple[bool, float]:
    """Return whether there is a bias, and its initial value."""
    if _means_no_bias(value):
        return False, 0.0
    if is_number(value):
        return True, float(value)
    raise GraphError(
        f"node {label!r} has bias {value!r:.80}, which must be a finite real number, or None or "
        "False for no bias; leave it out to train it from 0"
    )


def _means_no_bias(value: Any) -> bool:
    return value is None or (isinstance(value, bool | np.bool_) and not value)


def _trainable(value: Any, kind: str, *labels: Hashable) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    name = " -> ".join(repr(label) for label in labels)
    raise GraphError(f"{kind} {name} has trainable {value!r}, which must be True or False")


def _node_attributes(graph: GraphArrays, i: int) -> dict[str, Any]:
    """Return the attributes of node i, as `_read_nodes` reads them."""
    attributes: dict[str, Any] = {
        "activation": graph.activation_names[graph.activation[i]],
        "bias": float(graph.bias[i]) if graph.has_bias[i] else None,
    }
    if graph.has_bias[i] and not graph.bias_trainable[i]:
        attributes["trainable"] = False
    return attributes


def _drawn_edges(graph: GraphArrays) -> Iterator[tuple[Hashable, Hashable, dict[str, Any]]]:
    """Yield each edge with its attributes, as `_edges_of` reads them."""
    labels = graph.labels
    columns = graph.src, graph.dst, graph.weight, graph.edge_trainable
    for i, j, weight, trainable in zip(*(a.tolist() for a in columns), strict=True):
        attributes = {} if weight != weight else {"weight": weight}  # NaN: not given
        if not trainable:
            attributes["trainable"] = False
        yield labels[i], labels[j], attributes
