"""Callbacks that end a run."""

import time
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dagbp._checks import check_whole
from dagbp.callbacks._base import Best, Callback, Monitor, Progress, check_number


class EarlyStopping(Callback):
    """End the run when the monitored quantity has not improved for `patience` epochs.

    Parameters
    ----------
    monitor : {"val_loss", "loss"} or callable
        A function gets the `Progress` and returns a number.
    patience : int
        Epochs without improvement before the run ends.
    min_delta : float
        An improvement must be larger than this to restart the count of epochs.
    mode : {"min", "max"}
        Whether lower or higher values are better.
    restore_best : bool
        Give the network the parameters of its best epoch at the end of the run, except after an
        exception.

    Attributes
    ----------
    best_epoch : int
        The best epoch, counted from 1; 0 before the first.

    Examples
    --------
    >>> EarlyStopping("loss", patience=3).patience
    3
    """

    def __init__(
        self,
        monitor: Monitor = "val_loss",
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
        restore_best: bool = True,
    ) -> None:
        self._best = Best("EarlyStopping", monitor, mode, min_delta)
        check_whole("EarlyStopping: patience", patience, 1)
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.patience, self.restore_best = patience, restore_best
        self._parameters: npt.NDArray[Any] | None = None

    @property
    def best_epoch(self) -> int:
        """The best epoch, counted from 1; 0 before the first."""
        return self._best.epoch

    def reset(self) -> None:
        """Discard the values of other runs."""
        self._best.reset()
        self._parameters = None

    def on_train_begin(self, progress: Progress) -> None:
        """Check that the run computes the monitored quantity."""
        self._best.begin(progress)

    def on_epoch_end(self, progress: Progress) -> None:
        """Keep the parameters of the best epoch; stop after `patience` epochs without one."""
        if self._best.improved(progress) and self.restore_best:
            self._parameters = progress.network.parameters
        if self._best.wait >= self.patience:
            plural = "s" * (self.patience > 1)
            progress.stop(f"{self._best.name} has not improved for {self.patience} epoch{plural}")

    def on_train_end(self, progress: Progress) -> None:
        """Restore the parameters of the best epoch."""
        if self._parameters is not None:
            progress.network.parameters = self._parameters

    def state(self) -> dict[str, Any]:
        """Return the best value, epoch and parameters."""
        return {**self._best.state(), "parameters": self._parameters}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._best.restore(state)
        parameters = state["parameters"]
        self._parameters = None if parameters is None else np.asarray(parameters)


class TimeLimit(Callback):
    """End the run after some seconds, at the end of the current step.

    ``fit(resume=True)`` continues the run.

    Parameters
    ----------
    seconds : float
        Time since the run began, or was resumed.

    Examples
    --------
    >>> TimeLimit(60).seconds
    60
    """

    def __init__(self, seconds: float) -> None:
        check_number("TimeLimit", "seconds", seconds, least=0)
        self.seconds = seconds
        self._end = 0.0

    def on_train_begin(self, progress: Progress) -> None:
        """Compute the time of the end."""
        self._end = time.monotonic() + self.seconds

    def on_poll(self, progress: Progress) -> None:
        """Stop if the time has passed."""
        if time.monotonic() >= self._end:
            progress.stop(f"the time limit of {self.seconds:g} s has passed", resumable=True)

    def on_epoch_end(self, progress: Progress) -> None:
        """Stop if the time has passed."""
        self.on_poll(progress)


class TerminateOnNaN(Callback):
    """End the run without an error when a loss, gradient or update is not finite.

    That step is not taken; the network keeps the parameters of the last finite step. Without this
    callback `fit` raises `DivergenceError`.
    """

    def on_divergence(self, progress: Progress) -> bool:
        """Return True."""
        progress.stop("the loss, its gradient or the update is not finite")
        return True
