"""A network below its public class: graph, plan, engine, lock, and the last training run."""

from collections.abc import Callable

from dagbp._engine.engine import Engine
from dagbp._graph.arrays import GraphArrays
from dagbp._history import History, TrainingState
from dagbp._model.engine_lock import EngineLock
from dagbp._plan.names import Names
from dagbp._plan.plan import Plan


class Model:
    """The parts of a network that training, saving and plotting use.

    Attributes
    ----------
    graph : GraphArrays
    plan : Plan
    names : Names
    engine : Engine
    lock : EngineLock
        Of the engine: whoever calls it or reads its parameters holds the lock.
    max_threads : int or None
    history : History or None
        Of the last run that has ended.
    """

    def __init__(self, graph: GraphArrays, plan: Plan, engine: Engine) -> None:
        self.graph, self.plan, self.engine = graph, plan, engine
        self.names, self.lock = Names(graph, plan), EngineLock(engine)
        self.max_threads: int | None = None
        self.history: History | None = None
        self._last: TrainingState | None = None
        self._state: Callable[[], TrainingState] | None = None

    @property
    def last_run(self) -> TrainingState | None:
        """The state of the last run, or of the run that is under way, as it is now."""
        return self._last if self._state is None else self._state()

    def begin_run(self, state: Callable[[], TrainingState]) -> None:
        """Forget the state of the last run; while this one is under way, `state` returns its."""
        self._last, self._state = None, state

    def end_run(self, state: TrainingState | None, history: History | None) -> None:
        """Keep the state and the history of a run that has ended."""
        self._last, self._state, self.history = state, None, history
