"""The content of a network that pickles and files hold: no plan, buffers and addresses."""

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dagbp._errors import UnreachableWarning
from dagbp._graph.arrays import GraphArrays
from dagbp._graph.from_networkx import draw, write_networkx
from dagbp._history import History, TrainingState
from dagbp._memory import aligned
from dagbp._model.model import Model, threads_here
from dagbp._plan.from_graph import plan_graph
from dagbp._plan.plan import Plan

if TYPE_CHECKING:
    import networkx as nx

Array = npt.NDArray[Any]


@dataclass
class Snapshot:
    """A network without plan, buffers and addresses: the same in every process.

    `nx_graph` is the user's graph with all its attributes. `parameters` are by edge and by node of
    `graph`, with zeros for inputs; the order of rows may differ elsewhere. The moments (slots,
    n_edges + n_nodes) and parameters of `training` have the same order. `history` is set if the
    last run left no state.
    """

    graph: GraphArrays
    nx_graph: "nx.DiGraph[Any] | None"
    parameters: Array
    n_threads: int | None
    dense_above: float | None
    schedule: str
    training: TrainingState | None
    history: History | None = None


def take_snapshot(model: Model, training: bool) -> Snapshot:
    """Return a snapshot; without `training`, it has neither state nor history of the last run."""
    with model.lock as engine:  # parameters and state of the same step
        plan, state = engine.plan, model.last_run if training else None
        history = model.history if training and state is None else None
        if state is not None:
            slots = [
                _by_graph(plan, engine.parameters.to_user_order(slot)) for slot in state.moments
            ]
            size = len(plan.in_src) + len(plan.node)
            last = state.parameters
            state = replace(
                state,
                moments=np.array(slots, engine.dtype).reshape(len(slots), size),
                history=state.history.copy(),
                parameters=None if last is None else _by_graph(plan, last),
            )
        parameters = _by_graph(plan, engine.parameters.copy())
        options = model.max_threads, model.dense_above, model.schedule
        history = history and history.copy()
        return Snapshot(model.graph, model.nx_graph, parameters, *options, state, history)


def restore(snapshot: Snapshot) -> Model:
    """Return a new model with the content of a snapshot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreachableWarning)  # given when it was compiled
        plan = plan_graph(snapshot.graph)
    options = threads_here(snapshot.n_threads), snapshot.dense_above, snapshot.schedule
    dtype, nx_graph = snapshot.parameters.dtype, snapshot.nx_graph
    model = Model(snapshot.graph, plan, dtype, *options, nx_graph)
    model.parameters = _by_row(plan, snapshot.parameters)
    state, history = snapshot.training, snapshot.history
    if state is not None:
        parameters = model.engine.parameters
        moments = aligned((len(state.moments), len(parameters.by_source)), model.engine.dtype)
        for slot, values in zip(moments, state.moments, strict=True):
            slot[:] = parameters.to_source_order(_by_row(plan, values))
        last = None if state.parameters is None else _by_row(plan, state.parameters)
        state, history = replace(state, moments=moments, parameters=last), state.history
    model.end_run(state, history)
    return model


def drawn_graph(model: Model) -> "nx.DiGraph[Any]":
    """Return the NetworkX graph of a model with its current parameters: `Network.to_networkx`."""
    plan, graph = model.plan, model.graph
    weight, bias = _weights_and_biases(plan, model.parameters)
    copy = write_networkx(
        draw(graph) if model.nx_graph is None else model.nx_graph, graph, weight, bias
    )
    for i in plan.node[plan.n_inputs :].tolist():
        copy.nodes[graph.labels[i]]["activation"] = graph.activation_names[graph.activation[i]]
    return copy


def _weights_and_biases(plan: Plan, parameters: Array) -> tuple[Array, Array]:
    """Return weights by edge and biases by node of the graph; zeros for inputs."""
    n_edges = len(plan.in_src)
    weight, bias = np.zeros(n_edges, parameters.dtype), np.zeros(len(plan.node), parameters.dtype)
    weight[plan.in_edge] = parameters[:n_edges]
    bias[plan.node[plan.n_inputs :]] = parameters[n_edges:]
    return weight, bias


def _by_graph(plan: Plan, parameters: Array) -> Array:
    return np.concatenate(_weights_and_biases(plan, parameters))


def _by_row(plan: Plan, values: Array) -> Array:
    """Return values by edge and node of the graph, in the order of the parameters."""
    n_edges = len(plan.in_src)
    return np.concatenate([values[plan.in_edge], values[n_edges + plan.node[plan.n_inputs :]]])
