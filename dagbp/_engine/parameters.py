"""Weights and biases of a network, in the user's order and in the orders of the kernels.

From Python, only this module writes them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._engine.workers import run_together
from dagbp._kernels.edges.dense import copy_patches, copy_ranges
from dagbp._kernels.frames import address
from dagbp._layout.layout import Layout
from dagbp._layout.refresh import Copies, Share, stretches
from dagbp._machine import WORTH_COPY_SLOTS
from dagbp._memory import aligned

Array = npt.NDArray[Any]


def _copy(copies: Copies | Share, arrays: tuple[int | None, ...], dtype: np.dtype[Any]) -> None:
    for kernel, part in (copy_patches, copies.patches), (copy_ranges, copies.stretches):
        if len(part):
            kernel.call_from_python(dtype)(address(part), len(part), *arrays)


class Parameters:
    """One network's weights and biases.

    The user's order (of `Network.parameters`) has the weights by in-edge, then the biases of the
    computed nodes. `trained` says in this order which parameters training may change. The kernels'
    orders have explicit zeros among the weights: `by_source` has the weights in out-edge order, the
    biases of the computed nodes, and padding after `n_values` numbers; `block_weights` has the
    weights of edges in source blocks, in the order of the blocks.
    """

    def __init__(
        self, layout: Layout, n_edges: int, trained: npt.NDArray[np.bool_], dtype: np.dtype[Any]
    ) -> None:
        self._layout, self._n_edges = layout, n_edges
        self.n_values = layout.n_slots + len(layout.plan.node) - layout.plan.n_inputs
        self.by_source = aligned((-(-self.n_values // 16) * 16,), dtype)
        self._by_target = aligned((self.n_values,), dtype)
        n_blocked = 0 if layout.source_blocks is None else len(layout.source_blocks.slot)
        self.block_weights = aligned((n_blocked,), dtype)
        self._behind = False  # whether `block_weights` is newer than `_by_target`
        self.trained, self.all_train = trained, bool(trained.all())

    @property
    def by_target(self) -> Array:
        """All parameters, the weights by in-edge and with explicit zeros: (n_values,)."""
        self.catch_up()
        return self._by_target

    def catch_up(self) -> None:
        """Copy `block_weights` to `by_target`, if training has updated only the former."""
        if self._behind:
            assert self._layout.source_blocks is not None
            self._by_target[self._layout.source_blocks.slot] = self.block_weights
            self._behind = False

    def copy(self) -> Array:
        """Return a copy in the user's order."""
        return self.without_explicit_zeros(self.by_target)

    def assign(self, parameters: Array) -> None:
        """Set all parameters, given in the user's order."""
        self._behind = False
        self._by_target[:] = self._with_explicit_zeros(parameters, 0)
        self.undo()
        self._fill_source_blocks()

    def undo(self) -> None:
        """Restore `by_source` from `by_target`, after an update that was not finite."""
        self._into_source_order(self.by_target, self.by_source)

    @contextmanager
    def updated(self, by_source_block: bool) -> Iterator[None]:
        """Let kernels update `by_source`, and either `by_target` or `block_weights`.

        by_source_block: whether they update `block_weights`.
        """
        self._behind = by_source_block
        try:
            yield
        finally:
            if not by_source_block:
                self._fill_source_blocks()

    def _fill_source_blocks(self) -> None:
        if self._layout.source_blocks is not None:
            slots = self._layout.source_blocks.slot
            np.take(self._by_target, slots, out=self.block_weights, mode="clip")

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all arrays."""
        return [self.by_source, self._by_target, self.block_weights, self.trained]

    def to_user_order(self, values: Array, n_threads: int = 1) -> Array:
        """Convert an array from the order of `by_source` to the user's order."""
        layout, n = self._layout, self._layout.n_slots
        by_target = np.empty(self.n_values, values.dtype)
        slots, narrow = address(layout.plan.in_slot), layout.plan.in_slot.dtype == np.uint32
        arrays = address(by_target), address(values), *((slots, None) if narrow else (None, slots))
        copies: Sequence[Copies | Share] = [layout.copies(by_source_block=False)]
        if n_threads > 1 and n >= WORTH_COPY_SLOTS:
            copies = layout.shares(n_threads, by_source_block=False)
        calls = [partial(_copy, part, arrays, values.dtype) for part in copies]
        run_together(calls) if len(calls) > 1 else calls[0]()
        by_target[n:] = values[n : self.n_values]
        return by_target if layout.slot is None else self.without_explicit_zeros(by_target)

    def to_source_order(self, parameters: npt.NDArray[Any]) -> Array:
        """Convert an array from the user's order to the order of `by_source`; padding is 0."""
        padded = aligned((len(self.by_source),), parameters.dtype)
        return self._into_source_order(self._with_explicit_zeros(parameters, 0), padded)

    def without_explicit_zeros(self, by_target: Array) -> Array:
        """Convert an array from the order of `by_target` to the user's order."""
        slot, n = self._layout.slot, self._layout.n_slots
        if slot is None:
            return by_target.copy()
        return np.concatenate([by_target[:n].take(slot, mode="clip"), by_target[n:]])

    def _with_explicit_zeros(self, parameters: npt.NDArray[Any], zero: Any) -> npt.NDArray[Any]:
        """Return an array in the order of `by_target`, with `zero` for the explicit zeros."""
        slot, n = self._layout.slot, self._layout.n_slots
        if slot is None:
            return parameters
        by_target = np.full(self.n_values, zero, parameters.dtype)
        by_target[slot] = parameters[: self._n_edges]
        by_target[n:] = parameters[self._n_edges :]
        return by_target

    def _into_source_order(
        self, by_target: npt.NDArray[Any], by_source: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Copy `by_target` to `by_source` and return it."""
        n = self._layout.n_slots
        by_source[self._layout.plan.in_slot] = by_target[:n]
        by_source[n : self.n_values] = by_target[n:]
        return by_source

    @cached_property
    def runs(self) -> npt.NDArray[np.int64]:
        """The stretches [first, last) of `by_source` that train, shape (R, 2).

        They contain explicit zeros, which stay zero: `trained_by_source` masks their gradients.
        """
        if self.all_train:
            return np.array([[0, self.n_values]])
        by_target = self._with_explicit_zeros(self.trained, True)
        trained = self._into_source_order(by_target, np.empty_like(by_target))
        return stretches(trained)

    @cached_property
    def trained_by_source(self) -> npt.NDArray[np.uint8] | None:
        """1 where a parameter is trained, (P,): 0 for explicit zeros and for frozen parameters."""
        if self.all_train and self._layout.slot is None:
            return None
        return self.to_source_order(self.trained.view(np.uint8))
