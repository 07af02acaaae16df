"""Learning-rate schedules: factors by which the optimizer's learning rate is multiplied.

All but `ReduceOnPlateau` are functions of the time in epochs. Their rates are computed before the
compiled loop runs, and cost no time in it.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dagbp._checks import check_whole
from dagbp._errors import OptionError
from dagbp.callbacks._base import Best, Callback, Monitor, Progress, check_number

Float64 = npt.NDArray[np.float64]


class Schedule(Callback, ABC):
    """Base class of schedules that are a function of the time in epochs.

    The factors of several schedules are multiplied: ``[WarmUp(5), CosineDecay()]``.
    """

    @abstractmethod
    def factor(self, epoch: Float64, n_epochs: int) -> Float64:
        """Return the factors of the learning rate of steps.

        Parameters
        ----------
        epoch : float64 (n,)
            Time in epochs at the beginning of each step: step 3 (from 0) of 10 in the first epoch
            begins at 0.3. Whole numbers for a stream of unknown length.
        n_epochs : int
            Epochs of the run.

        Returns
        -------
        float64 (n,)
        """


class StepDecay(Schedule):
    """Multiply the learning rate by `rate` after every `every_epochs` epochs.

    The factor is rate ** floor(epoch / every_epochs).

    Examples
    --------
    >>> StepDecay(10, 0.5).factor(np.array([0.0, 9.9, 10.0, 25.0]), 30)
    array([1.  , 1.  , 0.5 , 0.25])
    """

    def __init__(self, every_epochs: float, rate: float = 0.1) -> None:
        check_number("StepDecay", "every_epochs", every_epochs, least=1e-9)
        check_number("StepDecay", "rate", rate, least=0)
        self.every_epochs, self.rate = every_epochs, rate

    def factor(self, epoch: Float64, n_epochs: int) -> Float64:
        """Return rate ** floor(epoch / every_epochs)."""
        return np.power(float(self.rate), np.floor(epoch / self.every_epochs))


class ExponentialDecay(Schedule):
    """Multiply the learning rate by `rate` after each epoch: by rate ** epoch in all.

    Examples
    --------
    >>> ExponentialDecay(0.25).factor(np.array([0.0, 0.5, 2.0]), 30)
    array([1.    , 0.5   , 0.0625])
    """

    def __init__(self, rate: float) -> None:
        check_number("ExponentialDecay", "rate", rate, least=0)
        self.rate = rate

    def factor(self, epoch: Float64, n_epochs: int) -> Float64:
        """Return rate ** epoch."""
        return np.power(float(self.rate), epoch)


class CosineDecay(Schedule):
    """Lower the factor from 1 to `floor` along half a cosine (Loshchilov and Hutter, 2017).

    Parameters
    ----------
    epochs : float, optional
        Length of the decay; default: all epochs of the run. Afterwards the rate is constant.
    floor : float
        The last factor.

    Examples
    --------
    >>> CosineDecay(floor=0.2).factor(np.array([0.0, 5.0, 10.0]), 10)
    array([1. , 0.6, 0.2])
    """

    def __init__(self, epochs: float | None = None, *, floor: float = 0.0) -> None:
        if epochs is not None:
            check_number("CosineDecay", "epochs", epochs, least=1e-9)
        check_number("CosineDecay", "floor", floor, least=0)
        self.epochs, self.floor = epochs, floor

    def factor(self, epoch: Float64, n_epochs: int) -> Float64:
        """Return floor + (1 - floor) (1 + cos(pi epoch / epochs)) / 2."""
        part = np.minimum(epoch / max(1e-9, self.epochs or n_epochs), 1.0)
        return self.floor + (1 - self.floor) * (1 + np.cos(math.pi * part)) / 2


class WarmUp(Schedule):
    """Raise the factor linearly from `start` to 1 over the first `epochs` epochs.

    Examples
    --------
    >>> WarmUp(2.0).factor(np.array([0.0, 0.5, 1.0, 2.0, 3.0]), 10)
    array([0.  , 0.25, 0.5 , 1.  , 1.  ])
    """

    def __init__(self, epochs: float, *, start: float = 0.0) -> None:
        check_number("WarmUp", "epochs", epochs, least=1e-9)
        check_number("WarmUp", "start", start, least=0)
        self.epochs, self.start = epochs, start

    def factor(self, epoch: Float64, n_epochs: int) -> Float64:
        """Return start + (1 - start) min(epoch / epochs, 1)."""
        return self.start + (1 - self.start) * np.minimum(epoch / self.epochs, 1.0)


class OneCycle(Schedule):
    """Raise the factor from `start` to 1, then lower it to `end` (Smith and Topin, 2018).

    Both parts are half a cosine. The optimizer's learning rate is the highest rate.

    Parameters
    ----------
    rise : float
        Fraction of the run in which the rate rises.
    start, end : float
        The first and the last factor.

    Examples
    --------
    >>> OneCycle(rise=0.5, start=0.1, end=0.0).factor(np.array([0.0, 5.0, 7.5, 10.0]), 10)
    array([0.1, 1. , 0.5, 0. ])
    """

    def __init__(self, *, rise: float = 0.3, start: float = 0.04, end: float = 4e-6) -> None:
        check_number("OneCycle", "rise", rise, least=0, most=1)
        check_number("OneCycle", "start", start, least=0)
        check_number("OneCycle", "end", end, least=0)
        self.rise, self.start, self.end = rise, start, end

    def factor(self, epoch: Float64, n_epochs: int) -> Float64:
        """Return half a cosine from start to 1, then half a cosine from 1 to end."""
        part = np.minimum(epoch / max(1, n_epochs), 1.0)
        up = part / max(self.rise, 1e-9)
        down = (part - self.rise) / max(1 - self.rise, 1e-9)
        rising = 1 + (self.start - 1) * (1 + np.cos(math.pi * np.clip(up, 0, 1))) / 2
        falling = self.end + (1 - self.end) * (1 + np.cos(math.pi * np.clip(down, 0, 1))) / 2
        return np.where(part < self.rise, rising, falling)


class ReduceOnPlateau(Callback):
    """Multiply the learning rate by `rate` when the monitored quantity does not improve.

    Parameters
    ----------
    monitor, min_delta, mode
        As in `EarlyStopping`.
    rate : float
        Factor, in [0, 1).
    patience : int
        Epochs without improvement before the rate is lowered; the count then restarts.
    least : float
        Lower limit of the rate.

    Examples
    --------
    >>> ReduceOnPlateau("loss", rate=0.5).rate
    0.5
    """

    def __init__(
        self,
        monitor: Monitor = "val_loss",
        *,
        rate: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
        least: float = 0.0,
    ) -> None:
        self._best = Best("ReduceOnPlateau", monitor, mode, min_delta)
        check_number("ReduceOnPlateau", "rate", rate, least=0)
        check_number("ReduceOnPlateau", "least", least, least=0)
        check_whole("ReduceOnPlateau: patience", patience, 1)
        if rate >= 1:
            raise OptionError(f"ReduceOnPlateau: rate must be a number < 1, got {rate!r}")
        self.rate, self.patience, self.least = rate, patience, least

    def reset(self) -> None:
        """Discard the values of other runs."""
        self._best.reset()

    def on_train_begin(self, progress: Progress) -> None:
        """Check that the run computes the monitored quantity."""
        self._best.begin(progress)

    def on_epoch_end(self, progress: Progress) -> None:
        """Lower the rate after `patience` epochs without improvement."""
        self._best.improved(progress)
        if self._best.wait >= self.patience:
            self._best.wait = 0
            lower = max(progress.learning_rate * self.rate, self.least)
            progress.learning_rate = min(progress.learning_rate, lower)

    def state(self) -> dict[str, Any]:
        """Return the best value and the epochs since then; the run itself keeps the rate."""
        return self._best.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._best.restore(state)
