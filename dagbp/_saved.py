"""What is kept of a network in a file or a pickle, free of the process and the machine."""

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dagbp._drawing import Drawing, plan_drawing
from dagbp._engine import aligned
from dagbp._errors import UnreachableWarning
from dagbp._history import TrainingState
from dagbp._plan import Plan
from dagbp._team import available_cores

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
        Its moments in the order of the parameters, (slots, n_edges + n_nodes).
    """

    drawing: Drawing
    graph: "nx.DiGraph[Any] | None"
    parameters: Array
    n_threads: int | None
    dense_above: float | None
    schedule: str
    training: TrainingState | None


def keep(net: "Network", training: bool) -> Saved:
    """Return what is to be kept; without `training`, not the state of the last run."""
    plan, engine = net._engine.plan, net._engine
    run = net._last_run() if training else None
    if run is not None:
        slots = [_as_drawn(plan, engine.in_user_order(slot)) for slot in run.moments]
        size = len(plan.in_src) + len(plan.node)
        moments = np.array(slots, net.dtype).reshape(len(slots), size)
        run = replace(run, moments=moments, history=run.history.copy())
    return Saved(
        drawing=net._names.drawing,
        graph=net._graph,
        parameters=_as_drawn(plan, net.parameters),
        n_threads=net.n_threads,
        dense_above=net._dense_above,
        schedule=net._ways,
        training=run,
    )


def bring_back(net: "Network", saved: Saved) -> None:
    """Set a new network up with what was kept."""
    limit = saved.n_threads  # of the machine it was made on
    net.n_threads = None if limit is None else min(limit, available_cores())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreachableWarning)  # given when it was compiled
        plan = plan_drawing(saved.drawing)
    net._dense_above, net._ways = saved.dense_above, saved.schedule
    net._build(saved.drawing, plan, saved.graph, saved.parameters.dtype)
    net.parameters = _from_drawn(plan, saved.parameters)
    if saved.training is not None:
        moments = saved.training.moments
        kept = aligned((len(moments), len(net._engine.values)), net.dtype)
        for slot, values in zip(kept, moments, strict=True):
            slot[:] = net._engine.by_parameter(_from_drawn(plan, values))
        net._training = replace(saved.training, moments=kept)


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
