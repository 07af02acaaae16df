"""The interface of the data that a training run takes steps over."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._data.features import Problem


class Steps(NamedTuple):
    """Steps for the engine to take: whole epochs over a problem, or one step over a batch.

    order: int64 (n_samples,), the order of the samples, which the shuffle changes in place; None
    for the order of the rows.
    """

    problem: Problem
    order: npt.NDArray[np.int64] | None
    batch_size: int


class Source(ABC):
    """Hands out steps; knows neither the run nor the engine.

    `steps_per_epoch` is None where the length of an epoch is unknown until its end. `whole_epochs`
    says whether the engine can take all steps of a run over one `Steps`, or only one. `batch_size`
    is of steps in whole epochs. With `shuffle`, the samples get a new order in each epoch.
    """

    batch_size: int = 1
    shuffle: bool = False
    shuffle_seed: int = 0
    dropout_seed: int
    steps_per_epoch: int | None
    whole_epochs: bool

    @abstractmethod
    def next(self, epoch: int, while_waiting: Callable[[], bool]) -> Steps | None:
        """Return the next steps, or None at the end of the epoch.

        while_waiting: called again and again until there is data; if it returns True, None is
        returned at once.
        """

    def settle(self, steps: Steps, taken: bool) -> None:  # noqa: B027
        """Note whether a step was taken; if it was not, `next` returns it again."""

    @abstractmethod
    def seek(self, step: int) -> None:
        """Go to a step of the epoch that comes first, for a run that is resumed."""

    @abstractmethod
    def config(self) -> dict[str, str]:
        """Return the settings that a resumed run must share with the first one."""

    def close(self) -> None:  # noqa: B027
        """Stop fetching data; the run has ended."""
