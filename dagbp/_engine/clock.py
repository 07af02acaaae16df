"""The clock of a training run: its position and limits, in arrays that the kernels advance."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dagbp._kernels import frames as at
from dagbp._kernels.formulas.shuffle import shuffle
from dagbp._kernels.frames import ClockFrame

NEVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Position:
    """A position between two steps. A run that continues from it gives the same bits.

    Fields as in `TrainingState`.
    """

    epoch: int
    step: int
    n_updates: int
    optimizer_steps: int
    random: int
    epoch_loss: float
    epoch_weight: float
    step_loss: float


class Clock:
    """Counts epochs, steps, updates and seconds, and says where the kernels stop.

    The state is in arrays, so it is consistent after an interrupt between two steps. Kernels read
    and write the arrays through `frame`; all other code uses the properties. `seed` is the initial
    state of the shuffle, `updates` the number of updates that the optimizer has made before this
    run.
    """

    def __init__(
        self, epochs: int, batch_size: int, shuffle: bool = False, seed: int = 0, updates: int = 0
    ) -> None:
        self.batch_size = batch_size
        count = self._count = np.zeros(int(at.COUNTS), np.int64)
        count[at.LAST_EPOCH], count[at.BATCH_SIZE], count[at.SHUFFLE] = epochs, batch_size, shuffle
        count[at.LAST_UPDATE], count[at.UPDATES] = NEVER, updates
        self._random = np.array([seed, seed], np.uint64)
        self._epoch_loss = np.zeros(epochs + 1)  # one more: a run may be resumed in epoch `epochs`
        self._step_loss = np.full(1, np.nan)
        self._rates: npt.NDArray[np.float64] | None = None
        self._first_update, self._resumed_at, self._epoch_weight = updates, updates, 0.0
        self._began = time.perf_counter()

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return int(self._count[at.EPOCH])

    @property
    def step(self) -> int:
        """Steps taken in the epoch in progress."""
        return int(self._count[at.STEP])

    @property
    def updates(self) -> int:
        """Steps taken in this run, including the parts before it was resumed."""
        return int(self._count[at.UPDATES]) - self._first_update

    @property
    def moved(self) -> bool:
        """Whether a step was taken since the run began or was resumed."""
        return int(self._count[at.UPDATES]) != self._resumed_at

    @property
    def seconds(self) -> float:
        """Time spent in this run, including the parts before it was resumed."""
        return time.perf_counter() - self._began

    @property
    def diverged(self) -> bool:
        """Whether the last step was not finite, and therefore not taken."""
        return bool(self._count[at.STATUS] == at.DIVERGED)

    @property
    def step_loss(self) -> float:
        """Loss of the last step; NaN before the first."""
        return float(self._step_loss[0])

    def epoch_losses(self, first: int) -> list[float]:
        """Return the losses of the finished epochs, from epoch number `first` on."""
        losses: list[float] = self._epoch_loss[first : self.epoch].tolist()
        return losses

    def stop_at(self, epoch: int, updates: int | None) -> None:
        """Set where the kernels return: after `epoch` epochs or `updates` updates of this run."""
        self._count[at.LAST_EPOCH] = epoch
        self._count[at.LAST_UPDATE] = NEVER if updates is None else self._first_update + updates

    def times(self, steps_per_epoch: int | None) -> npt.NDArray[np.float64]:
        """Return the start of each step up to the stop, in epochs, as 1.5; at least one value."""
        if steps_per_epoch is None:
            return np.array([float(self.epoch)])
        in_epochs = (int(self._count[at.LAST_EPOCH]) - self.epoch) * steps_per_epoch - self.step
        n = max(1, min(in_epochs, int(self._count[at.LAST_UPDATE] - self._count[at.UPDATES])))
        return self.epoch + (self.step + np.arange(n)) / steps_per_epoch

    def use_rates(self, rates: npt.NDArray[np.float64]) -> None:
        """Set the learning rates of the next steps."""
        self._count[at.FIRST_RATE], self._rates = self._count[at.UPDATES], rates

    def for_batch(self, n_samples: int) -> "Clock":
        """Return a clock of the next step, over a batch of so many samples."""
        clock = Clock(1, n_samples, updates=int(self._count[at.UPDATES]))
        if self._rates is not None:
            clock.use_rates(self._rates)
        return clock

    def count_in(self, batch: "Clock") -> bool:
        """Add the step of a batch's clock; return whether it was taken."""
        self._count[at.STATUS] = at.DIVERGED if batch.diverged else at.FINISHED
        if not batch.moved:
            return False
        self._count[at.UPDATES] += 1
        self._count[at.STEP] += 1
        self._step_loss[0] = batch.step_loss
        self._epoch_loss[self.epoch] += batch.step_loss * batch.batch_size
        self._epoch_weight += batch.batch_size
        return True

    def end_epoch(self) -> None:
        """Divide the summed loss of the epoch's batches by their samples; begin the next epoch."""
        self._epoch_loss[self.epoch] /= max(self._epoch_weight, 1.0)
        self._epoch_weight = 0.0
        self._count[at.EPOCH] += 1
        self._count[at.STEP] = 0

    @property
    def position(self) -> Position:
        """The place of the clock between two steps.

        `epoch_loss` belongs to the epoch in progress. Between epochs it belongs to the last one, as
        callbacks may still need it.
        """
        return Position(
            epoch=self.epoch,
            step=self.step,
            n_updates=self.updates,
            optimizer_steps=int(self._count[at.UPDATES]),
            random=int(self._random[at.EPOCH_BEGAN if self.step else at.NOW]),
            epoch_loss=float(self._epoch_loss[self._pending]) if self._pending >= 0 else 0.0,
            epoch_weight=self._epoch_weight,
            step_loss=self.step_loss,
        )

    @property
    def _pending(self) -> int:
        return self.epoch if self.step else self.epoch - 1

    def resume(self, place: Position, seconds: float) -> None:
        """Continue from a position; the kernels repeat the shuffle of an epoch in progress.

        seconds: the time that the run has taken so far.
        """
        self._began -= seconds
        count = self._count
        count[at.EPOCH], count[at.STEP] = place.epoch, place.step
        count[at.UPDATES] = self._resumed_at = place.optimizer_steps
        self._first_update = place.optimizer_steps - place.n_updates
        self._random[at.NOW] = self._random[at.EPOCH_BEGAN] = place.random
        if count[at.SHUFFLE] and place.step:
            count[at.SHUFFLE] = at.AGAIN
        if self._pending >= 0:
            self._epoch_loss[self._pending] = place.epoch_loss
        self._epoch_weight, self._step_loss[0] = place.epoch_weight, place.step_loss

    def frame(self) -> ClockFrame:
        """Return the frame for the kernels."""
        address = shuffle.compiled() if self._count[at.SHUFFLE] else 0
        arrays = self._count, self._random, self._epoch_loss, self._step_loss, self._rates
        return ClockFrame(*arrays, address)
