"""The interface of the data that a training run takes steps over."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._data.problem import Problem


class Steps(NamedTuple):
    """The data of the next steps: all samples of the run, or one batch of a stream.

    order (n_samples,): the order of the samples, which kernels shuffle in place; None: of the rows.
    """

    problem: Problem
    order: npt.NDArray[np.int64] | None
    batch_size: int


class Source(ABC):
    """Hands out steps. It does not depend on `Run` or the engine.

    `steps_per_epoch` is None where the length of an epoch is unknown until its end. `whole_epochs`
    is True if one `Steps` serves all steps of a run, and False if it is a single step. `batch_size`
    is the number of samples of a step, used only with `whole_epochs`. With `shuffle`, the samples
    get a new order in each epoch.
    """

    batch_size: int = 1
    shuffle: bool = False
    shuffle_seed: int = 0
    dropout_seed: int
    steps_per_epoch: int | None
    whole_epochs: bool

    @abstractmethod
    def next(self, epoch: int, while_waiting: Callable[[], bool]) -> Steps | None:
        """Return the next steps, or None at the epoch's end, or once while_waiting returns True."""

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
