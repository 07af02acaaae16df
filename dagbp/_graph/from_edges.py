"""Reads a graph from arrays of edges, without NetworkX: for millions of edges."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import check_whole, is_whole
from dagbp._errors import GraphError
from dagbp._graph import arrays
from dagbp._graph.arrays import MAX_NODES, Bool, Edges, Float64, GraphArrays, Int32, Nodes
from dagbp._graph.ports import Find, read_ports
from dagbp._memory import require

# Memory that a compiled network takes for each node and edge at least, by tracemalloc.
COMPILED_NODE_BYTES, COMPILED_EDGE_BYTES = 150, 50


def read_edges(
    src: npt.ArrayLike,
    dst: npt.ArrayLike,
    n_nodes: int | None = None,
    inputs: Iterable[int] | None = None,
    outputs: Iterable[int] | None = None,
    *,
    known: Collection[str],
    weight: npt.ArrayLike | None = None,
    trainable: npt.ArrayLike | None = None,
    activation: str | Sequence[str | None] = "tanh",
    output_activation: str = "identity",
    bias: npt.ArrayLike | None = None,
    bias_trainable: npt.ArrayLike | None = None,
) -> GraphArrays:
    """Read a graph given as arrays: edge e runs from node ``src[e]`` to node ``dst[e]``.

    `Network.from_edges` describes the arguments. known: the registered activations. Entries of
    inputs in `activation` and `bias` are ignored. Cycles and edges given twice are found later, by
    `plan_graph`. Raises GraphError or OptionError.
    """
    uniform = isinstance(activation, str) or not isinstance(activation, Iterable)
    if uniform:
        arrays.check_default("activation", activation, known)
    arrays.check_default("output_activation", output_activation, known)
    n, src, dst = _ends(src, dst, n_nodes)
    size = COMPILED_NODE_BYTES * n + COMPILED_EDGE_BYTES * len(src)
    require(size, f"a network of {n:,} nodes and {len(src):,} edges")
    labels = range(n)
    arrays.refuse_self_loops(labels, src, dst)
    weights = np.broadcast_to(np.nan, len(src))
    if weight is not None:
        weights = _numbers("weight", weight, len(src))
    edges = Edges(src, dst, weights, _flags("trainable", trainable, len(src)))
    ports = read_ports(labels, _finder(n), src, dst, inputs, outputs)
    default = str(activation) if uniform else "identity"
    nodes = arrays.default_nodes(n, *ports, default, output_activation)
    if not uniform:
        _set_activations(nodes, activation, known)
    _set_biases(nodes, bias)
    nodes.trainable[:] = _flags("bias_trainable", bias_trainable, n)
    return arrays.graph_arrays_of(labels, edges, nodes)


def _ends(src: Any, dst: Any, n_nodes: Any) -> tuple[int, Int32, Int32]:
    """Return the number of nodes and both ends of each edge, checked."""
    src, dst = _array("src", src, "iu", "integers"), _array("dst", dst, "iu", "integers")
    if len(src) != len(dst):
        raise GraphError(
            f"src has {len(src)} entries and dst has {len(dst)}; their lengths must be equal"
        )
    n = _count_nodes(n_nodes, src, dst)
    return n, _within("src", src, n), _within("dst", dst, n)


def _finder(n: int) -> Find:
    """Return the function that finds nodes: here each node is its own index."""

    def find(label: Any) -> int | None:
        return int(label) if is_whole(label) and 0 <= label < n else None

    return find


def _set_activations(nodes: Nodes, activation: Iterable[Any], known: Collection[str]) -> None:
    n = len(nodes.activation)
    names = list(activation)
    if len(names) != n:
        raise GraphError(f"activation has {len(names)} entries; it must have {n}, or be one name")
    for i in np.flatnonzero(~arrays.mask(n, nodes.inputs)).tolist():
        nodes.activation[i] = arrays.known_name(i, names[i], known)


def _set_biases(nodes: Nodes, bias: Any) -> None:
    if isinstance(bias, bool | np.bool_) and not bias:
        nodes.has_bias[:] = False
    elif bias is not None:
        nodes.bias[:] = _numbers("bias", bias, len(nodes.bias))
        nodes.bias[nodes.inputs] = 0.0


def _count_nodes(n_nodes: Any, src: npt.NDArray[Any], dst: npt.NDArray[Any]) -> int:
    if n_nodes is None:
        if not len(src):
            raise GraphError("the graph is empty: there is no edge, and n_nodes is not given")
        n_nodes = 1 + max(0, int(src.max()), int(dst.max()))
    return check_whole("n_nodes", n_nodes, 1, MAX_NODES)


def _array(argument: str, values: npt.ArrayLike, kinds: str, what: str) -> npt.NDArray[Any]:
    """Return `values` as a 1-d array with a dtype of one of the `kinds`, named by `what`."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise GraphError(f"{argument} must be a 1-d array of {what}; it is ragged") from None
    if array.ndim != 1:
        raise GraphError(f"{argument} must be a 1-d array of {what}; its shape is {array.shape}")
    if array.size == 0:  # an empty list has the dtype float64
        return array.astype(np.int64)
    if array.dtype.kind not in kinds:
        raise GraphError(f"{argument} must be a 1-d array of {what}; its dtype is {array.dtype}")
    return array


def _within(argument: str, nodes: npt.NDArray[Any], n: int) -> Int32:
    """Return `nodes` as int32 after a check that each is from 0 to n - 1."""
    bad = (nodes < 0) | (nodes >= n)
    if bad.any():
        e = np.argmax(bad)
        raise GraphError(f"{argument}[{e}] is {nodes[e]}; nodes run from 0 to {n - 1}")
    return nodes.astype(np.int32)


def _numbers(argument: str, values: npt.ArrayLike, n: int) -> Float64:
    array = _of_length(argument, _array(argument, values, "iuf", "real numbers"), n)
    numbers = array.astype(np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        e = np.argmax(bad)
        raise GraphError(f"{argument}[{e}] must be finite, got {array[e]}")
    return numbers


def _flags(argument: str, values: npt.ArrayLike | None, n: int) -> Bool:
    if values is None or isinstance(values, bool | np.bool_):
        return np.broadcast_to(np.bool_(values is None or bool(values)), n)
    return _of_length(argument, _array(argument, values, "b", "bools"), n).astype(np.bool_)


def _of_length(argument: str, array: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    if len(array) != n:
        raise GraphError(f"{argument} has {len(array)} entries; it must have {n}")
    return array
