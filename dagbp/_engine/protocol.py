"""The interface of an engine: a network's plan and parameters, and the calls that run batches.

It takes and returns records and arrays, never addresses. Training and the public classes call only
this interface. `_model.model` creates the engine. A second engine needs its own `Parameters`, whose
orders are those of the CPU layout, and reads `Update` and `Clock` through properties, not frames.
`_model.summary`, `profile` and pictures also read the layout and the tile planner of `CpuEngine`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dagbp._data.arrays import Targets
from dagbp._data.features import Features
from dagbp._data.problem import Problem
from dagbp._engine.buffers import Dropout
from dagbp._engine.clock import Clock
from dagbp._engine.optimizer_state import Update
from dagbp._engine.parameters import Parameters
from dagbp._plan.plan import Plan
from dagbp.losses import Loss

Array = npt.NDArray[Any]


class NodeValues(NamedTuple):
    """Signals, activations and deltas, each (n_nodes, n_samples) in the plan's order of rows."""

    s: Array
    x: Array
    delta: Any  # an array, or None without targets


class Engine(Protocol):
    """Runs batches through one network.

    Arrays that come in are checked already. Values by node are in the plan's order of rows, and
    parameters in the user's order. `max_threads` is None for as many threads as the batch keeps
    busy. `n_edges` is the number of weights, `n_computed` the number of nodes that are not inputs.
    """

    plan: Plan
    dtype: np.dtype[Any]
    n_edges: int
    n_computed: int
    parameters: Parameters

    def predict(self, X: Features, max_threads: int | None) -> Array:
        """Return the outputs (n_samples, n_outputs)."""

    def inspect(
        self, X: Features, *, targets: Targets | None = None, loss: Loss | None = None
    ) -> NodeValues:
        """Return s and x of every node and sample, and with targets and a loss the deltas."""

    def evaluate(self, problem: Problem, max_threads: int | None) -> float:
        """Return the mean loss."""

    def differentiate(self, problem: Problem, max_threads: int | None) -> tuple[float, Array]:
        """Return the mean loss and its gradient."""

    def train(
        self,
        problem: Problem,
        order: npt.NDArray[np.int64] | None,
        update: Update,
        clock: Clock,
        *,
        max_threads: int | None = None,
        watch: Callable[[], object] | None = None,
        dropout: Dropout | None = None,
        times: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Take training steps until the clock reaches its last epoch or update.

        The run ends early, between two steps, when the calling thread gets an exception, such as
        KeyboardInterrupt, or when `watch` returns a true value. It also ends when the loss or an
        update is not finite; that step is undone. `watch` is called about ten times a second. An
        epoch shuffles `order`, the order of the samples; None stands for
        0, 1, 2, ... The time of each thread and each part of the step is added to `times`
        (n_threads, N_TIMES).
        """

    def network_bytes(self) -> int:
        """Return the bytes of the plan, its layout and the parameters."""

    def release(self) -> None:
        """Free the buffers."""
