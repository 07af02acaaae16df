"""What an estimator calls `graph`, in each of its forms, to a network that fits the data."""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from dagbp._compile import compile
from dagbp._errors import GraphError, OptionError
from dagbp._graph.arrays import listed
from dagbp._graph.from_networkx import drawn_ports
from dagbp._graph.layers import layered

if TYPE_CHECKING:
    from dagbp._network import Network


@dataclass(frozen=True)
class Demand:
    """What the data ask of a graph.

    Attributes
    ----------
    n_features : int
        Inputs it must have.
    n_outputs : int
        Outputs it must have, and those of a graph that is made to fit.
    outputs_for : str
        What the outputs stand for, as error texts say it: ``"3 classes"``.
    also : int or None
        Another number of outputs that will do.
    feature_names, output_names : collection of hashable
        Names of the columns, in their order; empty if they have none.
    """

    n_features: int
    n_outputs: int
    outputs_for: str
    also: int | None = None
    feature_names: Collection[Hashable] = ()
    output_names: Collection[Hashable] = ()


def compile_to_fit(
    graph: Any, density: float, activation: str, demand: Demand, seed: int, **options: Any
) -> "Network":
    """Return the network that `graph` says, with as many inputs and outputs as the data have.

    Inputs and outputs stand in the order of the data's columns where their labels are the columns'
    names, and in graph order otherwise.

    Parameters
    ----------
    graph : networkx.DiGraph, callable or iterable of int
        A DAG; ``(n_features, n_outputs) -> DAG``; or the sizes of the hidden layers.
    density : float in (0, 1]
        Share of the edges between layers, where `graph` is their sizes.
    activation : str
        Of hidden nodes that do not name one.
    demand : Demand
    seed : int
        Of the edges that `density` leaves, of weights and of biases. A bias that a node does not
        give is uniform within 1 / sqrt(in-degree).
    **options
        For `dagbp.compile`.

    Returns
    -------
    Network

    Raises
    ------
    GraphError
        If the numbers of inputs or outputs differ from the data's.
    OptionError
        If `graph` is none of the three.

    Examples
    --------
    >>> demand = Demand(n_features=4, n_outputs=3, outputs_for="3 classes")
    >>> compile_to_fit((5,), 1.0, "relu", demand, seed=0).n_edges
    35
    """
    rng = np.random.default_rng(seed)
    G = _draw(graph, density, activation, demand, rng)
    inputs, outputs = drawn_ports(G)
    if inputs is None:
        inputs = [node for node, degree in G.in_degree if degree == 0]
    if outputs is None:
        outputs = [node for node, degree in G.out_degree if degree == 0 and G.in_degree[node]]
    _check_counts(inputs, outputs, demand)
    _refuse_the_wrong_name(outputs, demand.output_names)
    _refuse_half_named(inputs, demand.feature_names)
    _draw_biases(G, rng)
    ports = {*inputs, *outputs}
    if any(own.get("activation") is None for node, own in G.nodes.items() if node not in ports):
        options["activation"] = activation
    return compile(
        G,
        _by_name(inputs, demand.feature_names),
        _by_name(outputs, demand.output_names),
        seed=rng,
        **options,
    )


def _draw(
    graph: Any, density: float, activation: str, demand: Demand, rng: np.random.Generator
) -> "nx.DiGraph[Any]":
    """Return a graph, out of any of the forms, that is no one else's."""
    n_features, n_outputs = demand.n_features, demand.n_outputs
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
    """Give a random bias, in place, to nodes that have none said and that train theirs.

    From biases of 0, all kinks lie at the origin: R2 on `sklearn.datasets.make_friedman1` is 0.01
    less after 100 passes, and no other score of benchmarks/estimators.py is better.
    """
    for node, share in zip(G, rng.uniform(-1.0, 1.0, len(G)).tolist(), strict=True):
        own = G.nodes[node]
        if G.in_degree[node] and own.get("trainable", True) and "bias" not in own:
            own["bias"] = share / G.in_degree[node] ** 0.5


def _check_counts(inputs: Sequence[Hashable], outputs: Sequence[Hashable], demand: Demand) -> None:
    if len(inputs) != demand.n_features:
        raise GraphError(
            f"the graph has {len(inputs)} inputs ({listed(inputs, 5)}), but X has "
            f"{demand.n_features} features; they must be equal in number"
        )
    if len(outputs) not in (demand.n_outputs, demand.also):
        choice = "" if demand.also is None else f", or {demand.also}"
        raise GraphError(
            f"the graph has {len(outputs)} outputs ({listed(outputs, 5)}), but y has "
            f"{demand.outputs_for}, which take {demand.n_outputs}{choice}"
        )


def _refuse_the_wrong_name(outputs: Sequence[Hashable], names: Collection[Hashable]) -> None:
    """Refuse a single output named after the first of two classes: it stands for the second."""
    if len(outputs) == 1 and len(names) == 2 and outputs[0] == next(iter(names)):
        first, second = names
        raise GraphError(
            f"the graph's one output is named {first!r}, but one output of two classes stands for "
            f"the second, {second!r}; name it so, or draw two"
        )


def _refuse_half_named(inputs: Sequence[Hashable], columns: Collection[Hashable]) -> None:
    """Refuse inputs of which some are columns of X: that they go by order is no one's intention."""
    known = set(columns)
    strangers = [node for node in inputs if node not in known]
    if 0 < len(strangers) < len(inputs):
        raise GraphError(
            f"input {strangers[0]!r} of the graph is no column of X, but others are; name all "
            f"inputs after the columns ({listed(list(columns), 5)}), or none"
        )


def _by_name(nodes: Sequence[Hashable], names: Collection[Hashable]) -> list[Hashable] | None:
    """Return the nodes in the order of the names if they are the same; None otherwise."""
    return list(names) if set(nodes) == set(names) else None
