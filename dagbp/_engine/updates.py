"""The update of a training step: the optimizer, its state, and the limits on the parameters."""

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

    Parameters
    ----------
    parameters : Parameters
        The parameters that the steps will change.
    optimizer : Optimizer
    moments : array (slots, P), optional
        The optimizer's state; default: zeros.
    l1, l2 : float64 (n_parameters,), optional
        Coefficients of ``|p|`` and ``p^2 / 2`` in the loss, in the user's order.
    max_norm : float64 (n,), optional
        Largest norm of the in-weights of each row, infinite for no limit.

    Attributes
    ----------
    hyper : float64 array
        Hyper-parameters as the kernel reads them.
    moments : array (slots, P)
        Changed in place by each step.
    clip_limits : float64 (2,) or None
        Largest norm of the gradient, and largest magnitude of a component.
    penalties : float64 (blocks,) or None
        The kernels write the penalty of each block of parameters here.

    Raises
    ------
    MemoryLimitError
        If there is not enough memory for the moments.
    """

    def __init__(
        self,
        parameters: Parameters,
        optimizer: Optimizer,
        *,
        moments: Array | None = None,
        l1: Float64 | None = None,
        l2: Float64 | None = None,
        max_norm: Float64 | None = None,
    ) -> None:
        values = parameters.by_source
        if moments is None:
            require(optimizer.slots * values.nbytes, f"the state of {optimizer!r}")
            moments = aligned((optimizer.slots, len(values)), values.dtype)
        self.optimizer, self.hyper, self.moments = optimizer, optimizer.hyper(), moments
        self.clip_limits, self.max_norm = optimizer.clips(), max_norm
        self.l1, self.l2 = (
            None if one is None else parameters.by_parameter(one.astype(values.dtype))
            for one in (l1, l2)
        )
        self.penalties = None if l1 is None else np.zeros(len(values) // int(BLOCK) + 1)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step, or of the next ones if it is assigned."""
        return float(self.hyper[RATE])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.hyper[RATE] = rate

    def frame(self, parameters: Parameters) -> UpdateFrame:
        """Return the frame for the kernels, without the function that sums threads' gradients."""
        dtype = parameters.by_source.dtype
        address, before, after = self.optimizer.row(dtype), 0, 0
        if self.l1 is not None or self.clip_limits is not None:
            before = penalise_and_clip.compiled(dtype)
        if self.max_norm is not None:
            after = project_max_norm.compiled(dtype)
        return UpdateFrame(
            address=address,
            hyper=self.hyper,
            state=self.moments,
            n_runs=len(parameters.runs),
            runs=parameters.runs,
            trained=parameters.trained_by_source,
            reduce=0,
            penalise_and_clip=before,
            limits=self.clip_limits,
            l1=self.l1,
            l2=self.l2,
            penalties=self.penalties,
            project_max_norm=after,
            max_norm=self.max_norm,
        )
