"""Steps over arrays: shuffled minibatches, whole epochs inside compiled code."""

from typing import Any
from zlib import crc32

import numpy as np

from dagbp._checks import check_whole, generator, is_whole
from dagbp._data.features import Problem
from dagbp._engine.buffers import new_clock
from dagbp._errors import OptionError
from dagbp._history import TrainingState
from dagbp._kernels.frames import (
    AGAIN,
    EPOCH,
    EPOCH_BEGAN,
    NOW,
    SHUFFLE,
    STEP,
    UPDATES,
)
from dagbp._training.run import Run
from dagbp._training.source import Source


class Minibatches(Source):
    """Shuffled minibatches of arrays; the kernels go through whole epochs by themselves."""

    one_by_one = False

    def __init__(
        self, problem: Problem, batch_size: int, shuffle: bool, epochs: int, seed: Any
    ) -> None:
        self.seed = str(seed) if seed is None or is_whole(seed) else "a generator"
        check_whole("batch_size", batch_size, 1)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise OptionError(f"shuffle must be True or False, got {shuffle!r}")
        self.problem, self.n_samples = problem, len(problem.features)
        self.batch_size = int(min(batch_size, self.n_samples))
        self.shuffle = bool(shuffle)
        shuffle_seed, self.drop_seed = seeds(seed)
        self.clock = new_clock(epochs, self.batch_size, self.shuffle, shuffle_seed)
        self.order = np.arange(self.n_samples)
        self.steps_per_epoch = -(-self.n_samples // self.batch_size)

    def begin(self, run: Run) -> None:
        """Do nothing."""

    def advance(self, run: Run) -> None:
        """Run the kernels."""
        run.engine.train(
            self.problem,
            self.order,
            run.update,
            self.clock,
            max_threads=run.max_threads,
            watch=run.is_to_hand_back,
            dropout=run.dropout,
        )

    def state(self) -> tuple[float, float]:
        """Return the loss of the epoch in progress."""
        count, losses = self.clock.count, self.clock.epoch_loss
        epoch = int(count[EPOCH] - (count[STEP] == 0))  # or of the last, whose end may be untold
        return float(losses[epoch]) if 0 <= epoch < len(losses) else 0.0, 0.0

    def config(self) -> dict[str, str]:
        """Return batch size, shuffling and samples, of which it looks at the first and the last."""
        features, targets, few = self.problem.features.values, self.problem.targets, 32
        sample = 0
        for values in (features, targets.values, targets.labels, self.problem.weight):
            if values is not None:
                sample = crc32(values[:few].tobytes() + values[-few:].tobytes(), sample)
        return {
            "batch_size": str(self.batch_size),
            "shuffle": str(self.shuffle),
            "samples": str(self.n_samples),
            "checksum of samples": f"{sample:08x}",
            "seed": self.seed,
        }

    def resume(self, state: TrainingState) -> None:
        """Set the clock, and have the order of an epoch in progress drawn once more."""
        n_steps = -(-self.n_samples // self.batch_size)
        if state.step >= max(1, n_steps):
            raise OptionError(
                f"resume=True: the last run was at step {state.step} of an epoch, which has "
                f"{n_steps}"
            )
        count, random = self.clock.count, self.clock.random
        count[EPOCH], count[STEP], count[UPDATES] = state.epoch, state.step, state.optimizer_steps
        random[NOW] = random[EPOCH_BEGAN] = state.random
        if self.shuffle and state.step:
            count[SHUFFLE] = AGAIN
        pending = state.epoch if state.step else state.epoch - 1
        if 0 <= pending < len(self.clock.epoch_loss):
            self.clock.epoch_loss[pending] = state.epoch_loss

    def close(self) -> None:
        """Do nothing."""


def seeds(seed: Any) -> tuple[int, int]:
    """Return the seeds of the shuffle and of the dropout masks."""
    random = generator(seed)
    return int(random.integers(2**63)), int(random.integers(2**63))
