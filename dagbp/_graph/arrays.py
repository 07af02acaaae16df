"""The graph arrays: a checked graph in the user's own numbering."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._errors import GraphError, OptionError, did_you_mean

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Rows are 32-bit, which halves the bytes of indices that kernels read, and kernels need only one
# signature. A pair of rows also fits one int64.
MAX_NODES = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, eq=False)
class GraphArrays:
    """A graph as arrays, checked, in the user's numbering: n nodes, E edges."""

    labels: Sequence[Hashable]  # in graph order; a `range` for a graph given as edge arrays
    src: Int32  # (E,): ends of each edge, as indices into `labels`, in graph order
    dst: Int32
    inputs: Int64  # indices into `labels`, in column order
    outputs: Int64
    weight: Float64  # (E,): initial weight; NaN: drawn at random
    edge_trainable: Bool  # (E,)
    activation_names: tuple[str, ...]  # the distinct ones in use; inputs count as "identity"
    activation: Int64  # (n,): place in `activation_names`
    bias: Float64  # (n,): initial bias; 0 where none is given and where there is no bias
    has_bias: Bool  # (n,): inputs have no bias
    bias_trainable: Bool  # (n,): False for a node without a bias


@dataclass(frozen=True, eq=False)
class Edges:
    """The edge arrays (E,) of `GraphArrays`, under the same names."""

    src: Int32
    dst: Int32
    weight: Float64
    trainable: Bool


@dataclass(frozen=True, eq=False)
class Nodes:
    """The node arrays (n,) of `GraphArrays` while they are read; filled in place."""

    inputs: Int64
    outputs: Int64
    activation: npt.NDArray[np.object_]  # names
    bias: Float64
    has_bias: Bool
    trainable: Bool


def default_nodes(
    n: int, inputs: Int64, outputs: Int64, activation: str, output_activation: str
) -> Nodes:
    """Return n nodes with default values: each but the inputs has a bias, trained from 0."""
    names = np.empty(n, np.object_)
    names.fill(activation)  # one text object for all; `full` would make a copy for each
    names[outputs] = output_activation
    names[inputs] = "identity"
    return Nodes(inputs, outputs, names, np.zeros(n), ~mask(n, inputs), np.ones(n, np.bool_))


def graph_arrays_of(labels: Sequence[Hashable], edges: Edges, nodes: Nodes) -> GraphArrays:
    """Return the graph arrays of these edges and nodes."""
    names = nodes.activation.tolist()
    code = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return GraphArrays(
        labels=labels,
        src=edges.src,
        dst=edges.dst,
        inputs=nodes.inputs,
        outputs=nodes.outputs,
        weight=edges.weight,
        edge_trainable=edges.trainable,
        activation_names=tuple(code),
        activation=np.fromiter(map(code.__getitem__, names), np.int64, len(names)),
        bias=nodes.bias,
        has_bias=nodes.has_bias,
        bias_trainable=nodes.trainable & nodes.has_bias,
    )


def known_name(label: Hashable, name: Any, known: Collection[str]) -> str:
    """Return the name of a node's activation; raise GraphError if it is not registered."""
    if isinstance(name, str) and name in known:
        return str(name)
    hint = did_you_mean(name, known)
    raise GraphError(f"node {label!r} has activation {name!r}, which is not registered{hint}")


def check_default(argument: str, name: Any, known: Collection[str]) -> None:
    """Raise OptionError if a default activation is not registered."""
    if not (isinstance(name, str) and name in known):
        hint = did_you_mean(name, known)
        raise OptionError(f"{argument} is {name!r}, which is not registered{hint}")


def refuse_self_loops(labels: Sequence[Hashable], src: Int32, dst: Int32) -> None:
    """Raise GraphError if a node has an edge to itself; it names the first one."""
    loops = src == dst
    if loops.any():
        label = labels[src[np.argmax(loops)]]
        raise GraphError(f"node {label!r} has an edge to itself; the graph must be acyclic")


def mask(n: int, index: Int64) -> Bool:
    """Return n flags, True at each index."""
    flags = np.zeros(n, np.bool_)
    flags[index] = True
    return flags


def listed(labels: Sequence[Hashable], most: int) -> str:
    """Return a text with at most `most` labels and the number of the others."""
    shown = ", ".join(repr(label) for label in islice(labels, most))
    more = len(labels) - most
    return f"{shown} and {more} more" if more > 0 else shown
