"""One sample outside of tiles: its arrays, and the calls of `passes.single_sample`."""

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._data.problem import Problem
from dagbp._kernels.frames import SingleSampleFrame, pack
from dagbp._kernels.passes import single_sample as kernels
from dagbp._kernels.vectors.vector import CHUNK_BYTES
from dagbp._layout.layout import Layout
from dagbp._memory import require
from dagbp._plan.plan import Plan

Array = npt.NDArray[Any]


class SingleSample:
    """The arrays of one sample, kept from call to call.

    `plan` is the user's plan, without explicit zeros. `net` is a packed NetFrame; its group
    functions are not called. `exact` says for each row whether its activation takes any number of
    values, as a user's function does; built-in ones take multiples of 64 bytes. `places` has the
    row of each feature; None stands for 0, 1, 2, ...
    """

    def __init__(
        self,
        plan: Plan,
        layout: Layout,
        net: "array[int]",
        exact: npt.NDArray[np.bool_],
        places: npt.NDArray[np.int64] | None,
        dtype: np.dtype[Any],
    ) -> None:
        n, n_inputs, n_outputs = len(plan.node), plan.n_inputs, len(plan.outputs)
        lanes = CHUNK_BYTES // dtype.itemsize
        n_values = len(plan.in_src) + n - n_inputs
        numbers = 4 * (n + 2 * lanes) + 3 * n_outputs * lanes + n_values
        require(numbers * dtype.itemsize, "a sample's values and gradient")
        x, s, d, e = (np.zeros(n + 2 * lanes, dtype)[lanes:] for _ in range(4))
        out, y, slope = (np.zeros((n_outputs, lanes), dtype) for _ in range(3))
        self._places: Any = slice(None) if places is None else places
        self._features, self._target = x[:n_inputs], np.zeros(n_outputs, dtype)
        self._out_shape = 1, n_outputs
        self._n_values, self._dtype = n_values, dtype
        self._no_gradient = np.empty(0, dtype)
        change = 1 + np.flatnonzero(np.diff(layout.row_class))
        segment = np.unique(np.concatenate([[n_inputs], change[change > n_inputs], [n]]))
        sizes = np.diff(segment)
        rounded = -(-sizes // lanes) * lanes
        filled = layout.slot is not None
        self._record = SingleSampleFrame(
            net=np.frombuffer(net, np.uint64),
            x=x,
            s=s,
            d=d,
            e=e,
            target=self._target,
            out=out,
            y=y,
            slope=slope,
            error=np.zeros(lanes, dtype),
            n_segments=len(sizes),
            segment=segment,
            size=np.where(exact[segment[:-1]], sizes, rounded),
            ptr=plan.in_ptr,
            src=plan.in_src,
            panel=np.zeros(n, np.int64) if filled else layout.ins.of_row,
        )
        self._frame = np.frombuffer(pack(self._record, dtype), np.uint64)

    def predict(self, X: Array) -> Array:
        """Return the outputs (1, n_outputs)."""
        self._features[self._places] = X
        out = np.empty(self._out_shape, self._dtype)
        kernels.predict(out, self._frame)
        return out

    def evaluate(self, problem: Problem) -> float:
        """Return the loss."""
        return self._differentiate(problem, self._no_gradient, 0)

    def differentiate(self, problem: Problem) -> tuple[float, Array]:
        """Return the loss and its gradient, in the order of `Network.parameters`."""
        gradient = np.empty(self._n_values, self._dtype)
        return self._differentiate(problem, gradient, 1), gradient

    def _differentiate(self, problem: Problem, gradient: Array, back: int) -> float:
        """Copy the sample and run it. Weights are divided by their mean, so its weight is 1."""
        targets, (address, hyper) = problem.targets, problem.loss.row(self._dtype)
        self._features[self._places] = problem.features.values
        if targets.values is not None:
            self._target[:] = targets.values
        else:
            assert targets.labels is not None
            self._target[:] = 0
            self._target[targets.labels] = 1
        return float(kernels.differentiate(gradient, self._frame, int(address), hyper, back))
