"""A source of shuffled minibatches of arrays, whole epochs inside compiled code."""

from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np

from dagbp._checks import check_whole, generator, is_whole
from dagbp._data.problem import Problem
from dagbp._errors import OptionError
from dagbp._training.source import Source, Steps


class Minibatches(Source):
    """Shuffled minibatches of arrays; the kernels form them, over any number of epochs."""

    whole_epochs = True

    def __init__(self, problem: Problem, batch_size: int, shuffle: bool, seed: Any) -> None:
        self._seed = str(seed) if seed is None or is_whole(seed) else "a generator"
        check_whole("batch_size", batch_size, 1)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise OptionError(f"shuffle must be True or False, got {shuffle!r}")
        n_samples = len(problem.features)
        self.batch_size, self.shuffle = int(min(batch_size, n_samples)), bool(shuffle)
        self.shuffle_seed, self.dropout_seed = seeds(seed)
        self.steps_per_epoch: int = -(-n_samples // self.batch_size)
        self._steps = Steps(problem, np.arange(n_samples), self.batch_size)

    def next(self, epoch: int, while_waiting: Callable[[], bool]) -> Steps:
        """Return the steps of all epochs."""
        return self._steps

    def seek(self, step: int) -> None:
        """Check the step. Nothing is skipped: the resumed clock repeats the shuffle."""
        if step >= max(1, self.steps_per_epoch):
            raise OptionError(
                f"resume=True: the last run was at step {step} of an epoch, but an epoch has "
                f"{self.steps_per_epoch} steps now"
            )

    def config(self) -> dict[str, str]:
        """Return batch size, shuffling, seed, and a checksum of the first and last samples."""
        problem, few = self._steps.problem, 32
        checksum = 0
        arrays = problem.features.values, problem.targets.values, problem.targets.labels
        for values in (*arrays, problem.weight):
            if values is not None:
                checksum = crc32(values[:few].tobytes() + values[-few:].tobytes(), checksum)
        return {
            "batch_size": str(self.batch_size),
            "shuffle": str(self.shuffle),
            "samples": str(len(problem.features)),
            "checksum of samples": f"{checksum:08x}",
            "seed": self._seed,
        }


def seeds(seed: Any) -> tuple[int, int]:
    """Return the seeds of the shuffle and of the dropout masks."""
    random = generator(seed)
    return int(random.integers(2**63)), int(random.integers(2**63))
