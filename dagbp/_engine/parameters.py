"""Weights and biases of a network, in each of the orders that somebody reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._engine.buffers import aligned
from dagbp._layout.layout import Wiring
from dagbp._layout.refresh import stretches

Array = npt.NDArray[Any]


class Parameters:
    """One network's weights and biases.

    The user's order, that of `Network.parameters`, has the weights by in-edge, then the biases of
    the computed nodes. Kernels have other orders, with held zeros among the weights.

    Attributes
    ----------
    values : (P,)
        Weights in out-edge order, then the biases of the computed nodes, then padding.
    strip_weights : (S,)
        Those of edges in strips, in their order.
    n_values : int
        Of `values`, without the padding.
    trained : bool (n_parameters,)
        Which may change, in the user's order; `all_train`: whether all.
    """

    def __init__(
        self, wiring: Wiring, n_edges: int, trained: npt.NDArray[np.bool_], dtype: np.dtype[Any]
    ) -> None:
        self._wiring, self._n_edges = wiring, n_edges
        self._n_computed = len(wiring.plan.node) - wiring.plan.n_inputs
        self.n_values = wiring.n_slots + self._n_computed
        self.values = aligned((-(-self.n_values // 16) * 16,), dtype)
        self._flat = aligned((self.n_values,), dtype)
        strips = wiring.strips
        self.strip_weights = aligned((0 if strips is None else len(strips.slot),), dtype)
        self._behind = False  # whether `_flat` is behind `strip_weights`
        self.trained, self.all_train = trained, bool(trained.all())

    @property
    def flat(self) -> Array:
        """All of them, the weights by in-edge with held zeros: (n_values,)."""
        self.catch_up()
        return self._flat

    def catch_up(self) -> None:
        """Copy to `flat` what training in strips has left behind there."""
        if self._behind:
            assert self._wiring.strips is not None
            self._flat[self._wiring.strips.slot] = self.strip_weights
            self._behind = False

    def copy(self) -> Array:
        """Return a copy in the user's order."""
        return self.without_held(self.flat)

    def take_over(self, parameters: Array) -> None:
        """Take over what `copy` returned."""
        self._behind = False
        self._flat[:] = self._with_held(parameters, 0)
        self.undo()
        self._fill_strips()

    def undo(self) -> None:
        """Set `values` back to what `flat` holds, which has not seen an update that failed."""
        self._by_source(self.flat, self.values)

    @contextmanager
    def updated(self, in_strips: bool) -> Iterator[None]:
        """Let kernels update `values` and `flat`; of edges in strips, `strip_weights` instead."""
        self._behind = in_strips
        try:
            yield
        finally:
            if not in_strips:
                self._fill_strips()

    def _fill_strips(self) -> None:
        if self._wiring.strips is not None:
            np.take(self._flat, self._wiring.strips.slot, out=self.strip_weights, mode="clip")

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all arrays."""
        return [self.values, self._flat, self.strip_weights, self.trained]

    # --- other arrays with an element for each parameter ---

    def in_user_order(self, values: Array) -> Array:
        """Return an array laid out like `values` in the user's order."""
        n = self._wiring.n_slots
        weights, biases = values[:n], values[n:][: self._n_computed]
        return self.without_held(np.concatenate([weights[self._wiring.plan.in_slot], biases]))

    def by_parameter(self, parameters: npt.NDArray[Any]) -> Array:
        """Return what is in the user's order laid out like `values`, padding 0."""
        padded = aligned((len(self.values),), parameters.dtype)
        return self._by_source(self._with_held(parameters, 0), padded)

    def without_held(self, flat: Array) -> Array:
        """Return a copy of what is in the order of `flat` in the user's order."""
        slot = self._wiring.slot
        if slot is None:
            return flat.copy()
        return np.concatenate([flat[: self._wiring.n_slots][slot], flat[self._wiring.n_slots :]])

    def _with_held(self, parameters: npt.NDArray[Any], held: Any) -> npt.NDArray[Any]:
        """Return parameters in the order of `flat`, with a value for the held zeros."""
        slot, n = self._wiring.slot, self._wiring.n_slots
        if slot is None:
            return parameters
        flat = np.full(self.n_values, held, parameters.dtype)
        flat[slot] = parameters[: self._n_edges]
        flat[n:] = parameters[self._n_edges :]
        return flat

    def _by_source(self, flat: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Write what is in the order of `flat` to an array in that of `values`, and return it."""
        n = self._wiring.n_slots
        values[self._wiring.plan.in_slot] = flat[:n]
        values[n : self.n_values] = flat[n:]
        return values

    # --- what trains ---

    @cached_property
    def runs(self) -> npt.NDArray[np.int64]:
        """The stretches [first, last) of `values` that train, shape (R, 2).

        Held zeros are inside: they stay zero since their gradient counts for nothing.
        """
        if self.all_train:
            return np.array([[0, self.n_values]])
        flat = self._with_held(self.trained, True)
        trained = self._by_source(flat, np.empty_like(flat))
        return stretches(trained)

    @cached_property
    def keep(self) -> npt.NDArray[np.uint8] | None:
        """0 where a gradient counts for nothing, (P,): held zeros, and what is frozen."""
        if self.all_train and self._wiring.slot is None:
            return None
        return self.by_parameter(self.trained.view(np.uint8))
