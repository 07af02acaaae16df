"""The history of a training run, and the state from which the run can be resumed."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

MAX_EPOCHS = 10**9  # each keeps a loss


@dataclass(repr=False)
class History:
    """Losses of each epoch, number of steps and time of a training run.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch, including penalties. The loss of each batch is computed
        before its update. For a solver: the loss at the end of each iteration.
    val_loss : list of float
        Loss on the validation data after each epoch, without penalties. Empty without validation
        data; NaN for the epochs before a run was resumed with validation data.
    n_updates : int
        Steps taken.
    seconds : float
        Time spent.
    stopped : str or None
        The reason why the run ended early; None if it did not.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    n_updates: int = 0
    seconds: float = 0.0
    stopped: str | None = None

    def __repr__(self) -> str:
        """Return one line: both losses from the first epoch to the last, steps and time."""
        losses = [
            f", {name} {values[0]:.4g} -> {values[-1]:.4g}"
            for name, values in (("loss", self.loss), ("val_loss", self.val_loss))
            if values
        ]
        stopped = "" if self.stopped is None else f"; {self.stopped}"
        return (
            f"<History: {len(self.loss):,} epochs{''.join(losses)}, {self.n_updates:,} steps in "
            f"{self.seconds:.3g} s{stopped}>"
        )

    def copy(self) -> "History":
        """Return an independent copy."""
        return replace(self, loss=list(self.loss), val_loss=list(self.val_loss))


@dataclass
class CallbackState:
    """The state of a callback, and the last calls it received, so that none is repeated.

    `content` is the return value of `Callback.state`. The callback was last called for the epoch
    `epochs` and the step `updates`.
    """

    class_name: str
    content: dict[str, Any]
    epochs: int
    updates: int


@dataclass
class TrainingState:
    """The complete state of a run between two steps; a resumed run continues to the same bits."""

    config: dict[str, str]  # the arguments that a resumed run must share with the first one
    history: History
    epoch: int  # epochs finished
    step: int  # steps taken in the epoch in progress
    n_updates: int  # steps of the run
    optimizer_steps: int  # more than `n_updates` if the optimizer kept the state of another run
    random: int  # the shuffle's state at the start of the epoch in progress, or between two epochs
    drop_seed: int
    epoch_loss: float  # summed so far in the epoch; between two epochs, of the last one
    epoch_weight: float  # the samples summed in `epoch_loss`; streams only
    learning_rate: float  # without the factors of schedules
    moments: npt.NDArray[Any]  # (slots, P), in the order of `Parameters.by_source`
    callbacks: list[CallbackState]
    step_loss: float = math.nan  # of the last step
    rate: float = math.nan  # of the last step
    stopped: str | None = None  # the reason why a callback has finished the run
    stopped_by: str | None = None  # the class and settings of that callback
    parameters: npt.NDArray[Any] | None = None  # after the last step; None: the network has these
