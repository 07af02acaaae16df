"""What a training run leaves behind: its history, and the state from which it can go on."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

MAX_EPOCHS = 10**9  # each keeps a loss


@dataclass(repr=False)
class History:
    """What training did, epoch by epoch.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch, penalties included: of every batch before its update. Of
        a solver, the loss at the end of each iteration.
    val_loss : list of float
        Loss on the validation data after each epoch, without penalties; empty without such data,
        and NaN for the epochs without where a run was resumed with some.
    n_updates : int
        Steps taken.
    seconds : float
        Time spent.
    stopped : str or None
        What ended the run early, if anything did.
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
        """Return a history that goes on by itself."""
        return replace(self, loss=list(self.loss), val_loss=list(self.val_loss))


@dataclass
class CallbackState:
    """What a callback says of itself, and what it has been told: so each end is told once.

    Attributes
    ----------
    kind : str
        Its class.
    content : dict
    epochs, updates : int
        The last epoch and the last step whose end it was told.
    """

    class_name: str
    content: dict[str, Any]
    epochs: int
    updates: int


@dataclass
class TrainingState:
    """All that a run needs to go on to the same bits, between two of its steps.

    Attributes
    ----------
    config : dict of str
        The arguments that a resumed run must have in common with the first one, as text.
    history : History
    epoch, step, n_updates, optimizer_steps : int
        Epochs finished, steps taken of the next one, steps in all, steps the optimizer counts.
    random : int
        The shuffle's state when the epoch in progress began, or now if none is.
    drop_seed : int
        Of the dropout masks.
    epoch_loss, epoch_weight : float
        The loss of the epoch in progress so far, or of one whose end was not yet told; and of a
        stream the samples seen in it.
    learning_rate : float
        Without the factors of schedules.
    moments : array (slots, P)
        The optimizer's state, laid out like `Engine.values`.
    callbacks : list of CallbackState
    step_loss, rate : float
        Of the last step.
    stopped : str or None
        Why the run is finished, if it is not by its epochs.
    stopped_by : str or None
        The callback that said so, and its settings.
    parameters : array (n_parameters,), or None
        Those of the last step, where the end of the run put others in their place.
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
