"""Where the steps of a training run come from."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from dagbp._history import TrainingState
from dagbp._kernels.frames import ClockFrame

if TYPE_CHECKING:
    from dagbp._training.run import Run


class Source(ABC):
    """Where steps come from.

    Attributes
    ----------
    clock : Clock
        Epochs, steps and updates so far.
    steps_per_epoch : int or None
        None where nobody knows before the end of an epoch.
    one_by_one : bool
        Whether it hands back after each step.
    """

    clock: ClockFrame
    steps_per_epoch: int | None
    one_by_one: bool

    @abstractmethod
    def begin(self, run: "Run") -> None:
        """Do what may fail before the first step; nothing has changed yet."""

    @abstractmethod
    def advance(self, run: "Run") -> None:
        """Take steps up to the last epoch and update, or to where the run is to hand back."""

    @abstractmethod
    def state(self) -> tuple[float, float]:
        """Return the loss and the weight of the epoch in progress, as `TrainingState` has them."""

    @abstractmethod
    def config(self) -> dict[str, str]:
        """Return what a resumed run must have in common with the first one."""

    @abstractmethod
    def resume(self, state: TrainingState) -> None:
        """Set the clock to where a state stands."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; the run has ended."""
