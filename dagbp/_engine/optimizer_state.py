"""The update of a training step: the optimizer, its state, and the limits on the parameters."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._engine.parameters import Parameters
from dagbp._kernels.formulas.regularise import penalise_and_clip, project_max_norm
from dagbp._kernels.formulas.update import BLOCK
from dagbp._kernels.frames import RATE, UpdateFrame
from dagbp._memory import aligned, require
from dagbp.optimizers import Optimizer

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


class Update:
    """An optimizer and its state, in the order in which the kernels keep the parameters.

    `moments` (slots, P) is the optimizer's state, at first zeros; each step changes it in place.
    `l1` and `l2` are the coefficients of ``|p|`` and ``p^2 / 2`` in the loss, in the user's order.
    `max_norm` is the largest norm of the in-weights of each row, infinite for no limit. Raises
    MemoryLimitError if the moments do not fit into the memory.
    """

    def __init__(
        self,
        parameters: Parameters,
        optimizer: Optimizer,
        moments: Array | None = None,
        l1: Float64 | None = None,
        l2: Float64 | None = None,
        max_norm: Float64 | None = None,
    ) -> None:
        self._parameters, values = parameters, parameters.by_source
        if moments is None:
            require(optimizer.slots * values.nbytes, f"the state of {optimizer!r}")
            moments = aligned((optimizer.slots, len(values)), values.dtype)
        self._optimizer, self._hyper, self.moments = optimizer, optimizer.hyper(), moments
        self._clip_limits, self._max_norm = optimizer.clips(), max_norm
        self._l1, self._l2 = (
            None if one is None else parameters.to_source_order(one.astype(values.dtype))
            for one in (l1, l2)
        )
        self._penalties = None if l1 is None else np.zeros(len(values) // int(BLOCK) + 1)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step, or of the next ones if it is assigned."""
        return float(self._hyper[RATE])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._hyper[RATE] = rate

    @cached_property
    def frame(self) -> UpdateFrame:
        """The frame for the kernels, without the function that sums the gradients of threads."""
        parameters, dtype = self._parameters, self._parameters.by_source.dtype
        address, before, after = self._optimizer.row(dtype), 0, 0
        if self._l1 is not None or self._clip_limits is not None:
            before = penalise_and_clip.compiled(dtype)
        if self._max_norm is not None:
            after = project_max_norm.compiled(dtype)
        return UpdateFrame(
            address=address,
            hyper=self._hyper,
            state=self.moments,
            n_runs=len(parameters.runs),
            runs=parameters.runs,
            trained=parameters.trained_by_source,
            reduce=0,
            penalise_and_clip=before,
            limits=self._clip_limits,
            l1=self._l1,
            l2=self._l2,
            penalties=self._penalties,
            project_max_norm=after,
            max_norm=self._max_norm,
        )
