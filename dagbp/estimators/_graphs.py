"""Compiles an estimator's `graph` parameter, in each of its forms, to a network for the data."""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

from dagbp._compile import compile
from dagbp._errors import GraphError, OptionError
from dagbp._graph.arrays import listed
from dagbp._graph.from_networkx import drawn_ports
from dagbp._graph.layers import layered
from dagbp._network import Network


@dataclass(frozen=True)
class Requirements:
    """The number and names of inputs and outputs that the data require.

    `also` is another valid number of outputs. `outputs_for` is their meaning for error texts, such
    as ``"3 classes"``. Names are empty if the columns have none.
    """

    n_features: int
    n_outputs: int
    outputs_for: str
    also: int | None = None
    feature_names: Collection[Hashable] = ()
    output_names: Collection[Hashable] = ()


def compile_to_fit(
    graph: Any,
    density: float,
    activation: str,
    requirements: Requirements,
    seed: int,
    **options: Any,
) -> Network:
    """Compile `graph` to a network with the inputs and outputs that the data require.

    `graph` is a DAG, a function ``(n_features, n_outputs) -> DAG``, or the sizes of hidden layers;
    then `density` is the share of all possible edges between two layers. If the labels of the
    inputs are the names of the columns, the inputs have the order of the columns; otherwise they
    have graph order. The same holds for the outputs. The `options` are of `dagbp.compile`. Raises
    GraphError if the number of inputs or outputs does not fit the data, and OptionError if `graph`
    has none of the three forms.
    """
    rng = np.random.default_rng(seed)
    G = _draw(graph, density, activation, requirements, rng)
    inputs, outputs = drawn_ports(G)
    if inputs is None:
        inputs = [node for node, degree in G.in_degree if degree == 0]
    if outputs is None:
        outputs = [node for node, degree in G.out_degree if degree == 0 and G.in_degree[node]]
    _check_counts(inputs, outputs, requirements)
    _check_single_output(outputs, requirements.output_names)
    _check_input_names(inputs, requirements.feature_names)
    _draw_biases(G, rng)
    ports = {*inputs, *outputs}
    if any(own.get("activation") is None for node, own in G.nodes.items() if node not in ports):
        options["activation"] = activation
    return compile(
        G,
        _by_name(inputs, requirements.feature_names),
        _by_name(outputs, requirements.output_names),
        seed=rng,
        **options,
    )


def _draw(
    graph: Any,
    density: float,
    activation: str,
    requirements: Requirements,
    rng: np.random.Generator,
) -> "nx.DiGraph[Any]":
    """Return a new graph from any of the three forms."""
    n_features, n_outputs = requirements.n_features, requirements.n_outputs
    if callable(graph):
        drawn = graph(n_features, n_outputs)
        if not isinstance(drawn, nx.DiGraph):
            raise OptionError(f"graph(n_features, n_outputs) must return a DiGraph, got {drawn!r}")
        return drawn.copy()
    if isinstance(graph, nx.DiGraph):
        return graph.copy()
    if isinstance(graph, (str, nx.Graph)) or not isinstance(graph, Iterable):
        raise OptionError(
            "graph must be a networkx.DiGraph, a callable (n_features, n_outputs) -> DiGraph, or "
            f"the sizes of hidden layers such as (100,), got {graph!r}"
        )
    return layered([n_features, *graph, n_outputs], density, activation, seed=rng)


def _draw_biases(G: "nx.DiGraph[Any]", rng: np.random.Generator) -> None:
    """Give a random bias, in place, to each node without one, unless its bias does not train.

    If all biases start at 0, all kinks of relu lie at the origin. R2 on
    `sklearn.datasets.make_friedman1` is then 0.01 less after 100 passes, and no other score of
    `python -m benchmarks estimators` is better.
    """
    for node, share in zip(G, rng.uniform(-1.0, 1.0, len(G)).tolist(), strict=True):
        own = G.nodes[node]
        if G.in_degree[node] and own.get("trainable", True) and "bias" not in own:
            own["bias"] = share / G.in_degree[node] ** 0.5


def _check_counts(
    inputs: Sequence[Hashable], outputs: Sequence[Hashable], requirements: Requirements
) -> None:
    if len(inputs) != requirements.n_features:
        raise GraphError(
            f"the graph has {len(inputs)} inputs ({listed(inputs, 5)}), but X has "
            f"{requirements.n_features} features; they must be equal in number"
        )
    if len(outputs) not in (requirements.n_outputs, requirements.also):
        choice = "" if requirements.also is None else f", or {requirements.also}"
        raise GraphError(
            f"the graph has {len(outputs)} outputs ({listed(outputs, 5)}), but y has "
            f"{requirements.outputs_for}, which need {requirements.n_outputs}{choice}"
        )


def _check_single_output(outputs: Sequence[Hashable], names: Collection[Hashable]) -> None:
    """Refuse a single output with the name of the first of two classes; it is for the second."""
    if len(outputs) == 1 and len(names) == 2 and outputs[0] == next(iter(names)):
        first, second = names
        raise GraphError(
            f"the graph's single output must be named after the second of two classes, {second!r}, "
            f"got {first!r}; rename it, or draw two outputs"
        )


def _check_input_names(inputs: Sequence[Hashable], columns: Collection[Hashable]) -> None:
    """Refuse inputs if only some are named after columns: matching by order would be wrong."""
    known = set(columns)
    unnamed = [node for node in inputs if node not in known]
    if 0 < len(unnamed) < len(inputs):
        raise GraphError(
            f"input {unnamed[0]!r} of the graph is not a column of X, but other inputs are; name "
            f"all inputs after the columns ({listed(list(columns), 5)}), or none"
        )


def _by_name(nodes: Sequence[Hashable], names: Collection[Hashable]) -> list[Hashable] | None:
    """Return the nodes in the order of `names` if these are their labels; None otherwise."""
    return list(names) if set(nodes) == set(names) else None
