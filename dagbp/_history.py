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

    Attributes
    ----------
    class_name : str
    content : dict
        The return value of `Callback.state`.
    epochs, updates : int
        The last epoch and the last step for which the callback was called.
    """

    class_name: str
    content: dict[str, Any]
    epochs: int
    updates: int


@dataclass
class TrainingState:
    """The complete state of a run between two steps; a resumed run continues to the same bits.

    Attributes
    ----------
    config : dict of str to str
        The arguments that a resumed run must share with the first one.
    history : History
    epoch, step, n_updates, optimizer_steps : int
        Epochs finished; steps taken in the epoch in progress; steps of the run; steps that the
        optimizer has counted, which are more if it kept its state from another run.
    random : int
        The shuffle's state at the start of the epoch in progress, or now between two epochs.
    drop_seed : int
        Seed of the dropout masks.
    epoch_loss, epoch_weight : float
        The loss of the epoch in progress so far; between two epochs, the loss of the last one.
        In an epoch of a stream: the loss summed over samples, and their number.
    learning_rate : float
        Without the factors of schedules.
    moments : array (slots, P)
        The optimizer's state, in the order of `Parameters.by_source`.
    callbacks : list of CallbackState
    step_loss, rate : float
        Loss and learning rate of the last step.
    stopped : str or None
        The reason why a callback has finished the run; None if the run is not finished.
    stopped_by : str or None
        The class and settings of that callback.
    parameters : array (n_parameters,), or None
        The parameters of the last step, if the network has others.
    """

    config: dict[str, str]
    history: History
    epoch: int
    step: int
    n_updates: int
    optimizer_steps: int
    random: int
    drop_seed: int
    epoch_loss: float
    epoch_weight: float
    learning_rate: float
    moments: npt.NDArray[Any]
    callbacks: list[CallbackState]
    step_loss: float = math.nan
    rate: float = math.nan
    stopped: str | None = None
    stopped_by: str | None = None
    parameters: npt.NDArray[Any] | None = None
