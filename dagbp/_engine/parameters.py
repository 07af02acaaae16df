"""Weights and biases of a network, in each of the orders that somebody reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._engine.buffers import aligned
from dagbp._layout.layout import Layout
from dagbp._layout.refresh import stretches

Array = npt.NDArray[Any]


class Parameters:
    """One network's weights and biases.

    The user's order, that of `Network.parameters`, has the weights by in-edge, then the biases of
    the computed nodes. Kernels have other orders, with held zeros among the weights.

    Attributes
    ----------
    by_source : (P,)
        Weights in out-edge order, then the biases of the computed nodes, then padding.
    strip_weights : (S,)
        Those of edges in strips, in their order.
    n_values : int
        Of `by_source`, without the padding.
    trained : bool (n_parameters,)
        Which may change, in the user's order; `all_train`: whether all.
    """

    def __init__(
        self, layout: Layout, n_edges: int, trained: npt.NDArray[np.bool_], dtype: np.dtype[Any]
    ) -> None:
        self._layout, self._n_edges = layout, n_edges
        self._n_computed = len(layout.plan.node) - layout.plan.n_inputs
        self.n_values = layout.n_slots + self._n_computed
        self.by_source = aligned((-(-self.n_values // 16) * 16,), dtype)
        self._by_target = aligned((self.n_values,), dtype)
        source_blocks = layout.source_blocks
        self.block_weights = aligned(
            (0 if source_blocks is None else len(source_blocks.slot),), dtype
        )
        self._behind = False  # whether `_by_target` is behind `block_weights`
        self.trained, self.all_train = trained, bool(trained.all())

    @property
    def by_target(self) -> Array:
        """All of them, the weights by in-edge with held zeros: (n_values,)."""
        self.catch_up()
        return self._by_target

    def catch_up(self) -> None:
        """Copy to `by_target` what training in strips has left behind there."""
        if self._behind:
            assert self._layout.source_blocks is not None
            self._by_target[self._layout.source_blocks.slot] = self.block_weights
            self._behind = False

    def copy(self) -> Array:
        """Return a copy in the user's order."""
        return self.without_explicit_zeros(self.by_target)

    def assign(self, parameters: Array) -> None:
        """Take over what `copy` returned."""
        self._behind = False
        self._by_target[:] = self._with_explicit_zeros(parameters, 0)
        self.undo()
        self._fill_source_blocks()

    def undo(self) -> None:
        """Restore `by_source` from `by_target`, after an update that failed."""
        self._into_source_order(self.by_target, self.by_source)

    @contextmanager
    def updated(self, by_source_block: bool) -> Iterator[None]:
        """Let kernels update `by_source`, and `by_target` or `block_weights`."""
        self._behind = by_source_block
        try:
            yield
        finally:
            if not by_source_block:
                self._fill_source_blocks()

    def _fill_source_blocks(self) -> None:
        if self._layout.source_blocks is not None:
            np.take(
                self._by_target,
                self._layout.source_blocks.slot,
                out=self.block_weights,
                mode="clip",
            )

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all arrays."""
        return [self.by_source, self._by_target, self.block_weights, self.trained]

    # --- other arrays with an element for each parameter ---

    def in_user_order(self, values: Array) -> Array:
        """Return an array laid out like `by_source` in the user's order."""
        n = self._layout.n_slots
        weights, biases = values[:n], values[n:][: self._n_computed]
        return self.without_explicit_zeros(
            np.concatenate([weights[self._layout.plan.in_slot], biases])
        )

    def by_parameter(self, parameters: npt.NDArray[Any]) -> Array:
        """Return what is in the user's order laid out like `by_source`, padding 0."""
        padded = aligned((len(self.by_source),), parameters.dtype)
        return self._into_source_order(self._with_explicit_zeros(parameters, 0), padded)

    def without_explicit_zeros(self, flat: Array) -> Array:
        """Return a copy of what is in the order of `by_target` in the user's order."""
        slot = self._layout.slot
        if slot is None:
            return flat.copy()
        return np.concatenate([flat[: self._layout.n_slots][slot], flat[self._layout.n_slots :]])

    def _with_explicit_zeros(self, parameters: npt.NDArray[Any], held: Any) -> npt.NDArray[Any]:
        """Return parameters in the order of `by_target`, with a value for the held zeros."""
        slot, n = self._layout.slot, self._layout.n_slots
        if slot is None:
            return parameters
        flat = np.full(self.n_values, held, parameters.dtype)
        flat[slot] = parameters[: self._n_edges]
        flat[n:] = parameters[self._n_edges :]
        return flat

    def _into_source_order(
        self, flat: npt.NDArray[Any], values: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Copy values from the order of `by_target` to that of `by_source`; return the copy."""
        n = self._layout.n_slots
        values[self._layout.plan.in_slot] = flat[:n]
        values[n : self.n_values] = flat[n:]
        return values

    # --- what trains ---

    @cached_property
    def runs(self) -> npt.NDArray[np.int64]:
        """The stretches [first, last) of `by_source` that train, shape (R, 2).

        Held zeros are inside: they stay zero since their gradient counts for nothing.
        """
        if self.all_train:
            return np.array([[0, self.n_values]])
        flat = self._with_explicit_zeros(self.trained, True)
        trained = self._into_source_order(flat, np.empty_like(flat))
        return stretches(trained)

    @cached_property
    def trained_by_source(self) -> npt.NDArray[np.uint8] | None:
        """0 where a gradient counts for nothing, (P,): held zeros, and what is frozen."""
        if self.all_train and self._layout.slot is None:
            return None
        return self.by_parameter(self.trained.view(np.uint8))
