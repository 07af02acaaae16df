"""What is kept of a network in a file or a pickle, free of the process and the machine."""

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dagbp._engine.buffers import aligned
from dagbp._engine.workers import available_cores
from dagbp._errors import UnreachableWarning
from dagbp._graph.arrays import GraphArrays
from dagbp._history import History, TrainingState
from dagbp._plan.from_graph import plan_graph
from dagbp._plan.plan import Plan

if TYPE_CHECKING:
    import networkx as nx

    from dagbp._network import Network

Array = npt.NDArray[Any]


@dataclass
class Saved:
    """A network without its plan, buffers and addresses.

    Attributes
    ----------
    drawing : Drawing
    graph : networkx.DiGraph or None
        As it was compiled, with all its attributes.
    parameters : array (n_edges + n_nodes,)
        By edge and by node of the drawing, zeros for inputs: rows may be in other orders elsewhere.
    n_threads, dense_above, schedule
        As in `compile`.
    training : TrainingState or None
        Its moments, (slots, n_edges + n_nodes), and parameters in the order of those here.
    history : History or None
        Of the last run, also of one that left no state.
    """

    graph: GraphArrays
    nx_graph: "nx.DiGraph[Any] | None"
    parameters: Array
    n_threads: int | None
    dense_above: float | None
    schedule: str
    training: TrainingState | None
    history: History | None = None


def keep(net: "Network", training: bool) -> Saved:
    """Return what is to be kept; without `training`, neither state nor history of the last run."""
    with net._turn as engine:  # parameters and state of the same step
        plan, run = engine.plan, net._last_run() if training else None
        history = net._model.history if training and run is None else None
        if run is not None:
            slots = [_as_drawn(plan, engine.parameters.in_user_order(slot)) for slot in run.moments]
            size = len(plan.in_src) + len(plan.node)
            run = replace(
                run,
                moments=np.array(slots, net.dtype).reshape(len(slots), size),
                history=run.history.copy(),
                parameters=None if run.parameters is None else _as_drawn(plan, run.parameters),
            )
        return Saved(
            graph=net._names.graph,
            nx_graph=net._nx_graph,
            parameters=_as_drawn(plan, engine.parameters.copy()),
            n_threads=net.n_threads,
            dense_above=net._dense_above,
            schedule=net._strategy,
            training=run,
            history=history and history.copy(),
        )


def bring_back(net: "Network", saved: Saved) -> None:
    """Set a new network up with what was kept."""
    limit = saved.n_threads  # of the machine it was made on
    net.n_threads = None if limit is None else min(limit, available_cores())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreachableWarning)  # given when it was compiled
        plan = plan_graph(saved.graph)
    net._dense_above, net._strategy = saved.dense_above, saved.schedule
    net._build(saved.graph, plan, saved.nx_graph, saved.parameters.dtype)
    net.parameters = _from_drawn(plan, saved.parameters)
    net._model.end_run(None, saved.history)
    if saved.training is not None:
        run = saved.training
        kept = aligned((len(run.moments), len(net._engine.parameters.by_source)), net.dtype)
        for slot, values in zip(kept, run.moments, strict=True):
            slot[:] = net._engine.parameters.by_parameter(_from_drawn(plan, values))
        last = None if run.parameters is None else _from_drawn(plan, run.parameters)
        net._model.end_run(replace(run, moments=kept, parameters=last), run.history)


def new_network(saved: Saved) -> "Network":
    """Return a network like the one that was kept."""
    from dagbp._network import Network

    net = Network.__new__(Network)
    bring_back(net, saved)
    return net


def _as_drawn(plan: Plan, parameters: Array) -> Array:
    n_edges = len(plan.in_src)
    drawn = np.zeros(n_edges + len(plan.node), parameters.dtype)
    drawn[plan.in_edge] = parameters[:n_edges]
    drawn[n_edges + plan.node[plan.n_inputs :]] = parameters[n_edges:]
    return drawn


def _from_drawn(plan: Plan, drawn: Array) -> Array:
    n_edges = len(plan.in_src)
    return np.concatenate([drawn[plan.in_edge], drawn[n_edges + plan.node[plan.n_inputs :]]])
