"""A network below its public class: graph, plan, engine, lock, and the state of its last run."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import is_one_of, is_whole, real_dtype
from dagbp._data.arrays import vector
from dagbp._engine.engine import CpuEngine
from dagbp._engine.tile_plan import STRATEGIES
from dagbp._engine.workers import available_cores
from dagbp._errors import DataError, OptionError, did_you_mean
from dagbp._graph.arrays import GraphArrays
from dagbp._history import History, TrainingState
from dagbp._layout.fill import check_dense_above
from dagbp._model.engine_lock import EngineLock
from dagbp._model.initial_values import check_representable, draw_parameters
from dagbp._plan.from_graph import plan_graph
from dagbp._plan.names import Names
from dagbp._plan.plan import Plan

if TYPE_CHECKING:
    import networkx as nx

Array = npt.NDArray[Any]


class Model:
    """The parts of a network. `Network` adds the public methods.

    Use the engine under the lock: ``with model.lock as engine``. `names` finds the rows and slots
    of labels. `nx_graph` is the user's graph with all its attributes; None if the network was made
    from arrays. `history` is of the last training run.
    """

    def __init__(
        self,
        graph: GraphArrays,
        plan: Plan,
        dtype: np.dtype[Any],
        max_threads: int | None = None,
        dense_above: float | None = None,
        schedule: str = "auto",
        nx_graph: "nx.DiGraph[Any] | None" = None,
    ) -> None:
        self.graph, self.plan, self.nx_graph = graph, plan, nx_graph
        self.max_threads, self.dense_above, self.schedule = max_threads, dense_above, schedule
        self.names = Names(graph, plan)
        computed, theta = plan.node[plan.n_inputs :], graph.activation[plan.node]
        trained = [graph.edge_trainable[plan.in_edge], graph.bias_trainable[computed]]
        numbers = theta, np.concatenate(trained), dtype
        self.engine = CpuEngine(plan, graph.activation_names, *numbers, dense_above, schedule)
        self.lock = EngineLock(self.engine)
        self.history: History | None = None
        self._last_run: Callable[[], TrainingState] | TrainingState | None = None

    @property
    def max_threads(self) -> int | None:
        """Most threads to use; None: as many cores as the work keeps busy."""
        return self._max_threads

    @max_threads.setter
    def max_threads(self, value: int | None) -> None:
        cores = available_cores()
        if value is not None and not (is_whole(value) and 1 <= value <= cores):
            raise OptionError(
                f"n_threads must be None or a whole number from 1 to {cores}, the cores that this "
                f"process may use, got {value!r}"
            )
        self._max_threads = value

    @property
    def n_edges(self) -> int:
        """Number of weights; the biases of the computed nodes follow them."""
        return len(self.plan.in_src)

    @property
    def parameters(self) -> Array:
        """A copy of all parameters, in the order of `Network.parameters`."""
        with self.lock as engine:
            return engine.parameters.copy()

    @parameters.setter
    def parameters(self, values: npt.ArrayLike) -> None:
        plan, dtype = self.plan, self.engine.dtype
        computed = plan.node[plan.n_inputs :]
        flat = vector(values, self.n_edges + len(computed), dtype, "parameters")
        absent = np.flatnonzero(~self.graph.has_bias[computed] & (flat[self.n_edges :] != 0))
        if len(absent):
            node = self.graph.labels[int(computed[absent[0]])]
            raise DataError(
                f"node {node!r} has no bias, so its parameter must be 0, got "
                f"{flat[self.n_edges + absent[0]]}"
            )
        with self.lock as engine:
            engine.parameters.assign(flat)
            if isinstance(self._last_run, TrainingState):  # a resumed run starts from these
                self._last_run = replace(self._last_run, parameters=None)

    def assign(self, place: int, value: Any) -> Any:
        """Set one parameter; return it in the network's precision."""
        flat = self.parameters
        flat[place] = vector([value], 1, self.engine.dtype, "the value")[0]
        self.parameters = flat
        return flat[place]

    @property
    def last_run(self) -> TrainingState | None:
        """The state from which a run can be resumed; of a run under way, its state now."""
        return self._last_run() if callable(self._last_run) else self._last_run

    def begin_run(self, state: Callable[[], TrainingState]) -> None:
        """Note that a run begins; `state` returns its state between two steps."""
        self._last_run = state

    def end_run(self, state: TrainingState | None, history: History | None) -> None:
        """Note that a run has ended with a history, and with a state if it can be resumed."""
        self._last_run, self.history = state, history

    def release(self) -> None:
        """Free the engine's work buffers and the state of the last run."""
        with self.lock as engine:
            engine.release()
            if self.lock.run is None:
                self._last_run = None


def new_model(
    graph: GraphArrays,
    dtype: npt.DTypeLike,
    seed: Any,
    init: str,
    n_threads: int | None,
    dense_above: float | None,
    schedule: str,
    nx_graph: "nx.DiGraph[Any] | None" = None,
) -> Model:
    """Return a graph's model with initial parameters; warnings point at the caller's caller."""
    real = real_dtype(dtype)
    check_dense_above(dense_above)
    if not is_one_of(schedule, STRATEGIES):
        raise OptionError(f"unknown schedule {schedule!r}{did_you_mean(schedule, STRATEGIES)}")
    plan = plan_graph(graph, stacklevel=4)
    model = Model(graph, plan, real, n_threads, dense_above, schedule, nx_graph)
    check_representable(graph, real)
    model.parameters = draw_parameters(graph, plan, init, seed, real)
    return model


def threads_here(n_threads: int | None) -> int | None:
    """Return a number of threads from another machine, at most the cores of this one."""
    return None if n_threads is None else min(n_threads, available_cores())
