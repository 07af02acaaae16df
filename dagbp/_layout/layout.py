"""The layout of a plan: the arrays that the CPU kernels read, for one dtype."""

from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._kernels.frames import SEGMENT_ROWS
from dagbp._layout.fill import fill_blocks
from dagbp._layout.panels import Panels, columns, in_panels, in_runs, out_panels
from dagbp._layout.refresh import Copies, Share, find_copies, share_out, stretches
from dagbp._layout.segments import segments
from dagbp._layout.source_blocks import SEGMENT_ROWS as BLOCK_SEGMENT_ROWS
from dagbp._layout.source_blocks import cut_source_blocks, rows_by_source_block
from dagbp._machine import CACHE_LINE, PANEL_ROWS
from dagbp._plan.plan import Plan
from dagbp._plan.row_class import row_classes

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Flags = npt.NDArray[np.uint8]


class Layout:
    """The arrays of one plan for one dtype.

    They are made in this order, as each step needs the steps before:

    1. Row classes need the plan only.
    2. Blocks are filled (see `fill_blocks` for `dense_above`). This adds slots, so everything that
       refers to slots comes later.
    3. Panels are found, most of them in filled blocks.
    4. Source blocks are chosen for classes without panels and without explicit zeros. They allow
       longer segments.
    5. Segments are cut. They may not cut a panel, and their length depends on step 4.
    6. Source blocks are cut, one program for each segment.

    activation (n,): by row. own_segment (n,): rows that must be a segment by themselves. `plan` is
    the user's at first, then with explicit zeros. `slot` (E,) has the in-slot of each of the user's
    edges, None where nothing was filled.
    """

    def __init__(
        self,
        plan: Plan,
        activation: Int64,
        own_segment: Bool,
        dtype: np.dtype[Any],
        dense_above: float | None,
    ) -> None:
        self.dense_above, self.itemsize = dense_above, dtype.itemsize
        line = CACHE_LINE // dtype.itemsize  # numbers
        row_class = self.row_class = row_classes(plan, activation, own_segment)
        n, n_inputs, n_edges = len(plan.node), plan.n_inputs, len(plan.in_src)

        plan, self.slot = fill_blocks(plan, row_class, dense_above)
        self.plan, self.n_slots = plan, len(plan.in_src)
        self.n_explicit_zeros = self.n_slots - n_edges
        self.in_is_edge, self.out_is_edge = _edge_flags(plan, filled=self.slot is not None)

        self.ins, self.outs = in_panels(plan, row_class), out_panels(plan, row_class, line)
        # Panels of as many rows as fill a cache line, for copies of weights.
        self._lines = in_panels(plan, row_class, line) if self.ins.n_edges else None
        self._copies: dict[bool, Copies] = {}
        self.column = columns(self.outs, n)
        self.stride = (-(-n // line) | 1) * line if self.outs.n_edges else 0

        in_mixed = _mixed(self.ins, self.in_is_edge, plan.in_ptr)
        out_mixed = _mixed(self.outs, self.out_is_edge, plan.out_ptr)
        block_rows = rows_by_source_block(plan, row_class, in_mixed)

        limit = np.where(block_rows > 0, BLOCK_SEGMENT_ROWS, SEGMENT_ROWS)
        panels_by_class = row_class[n_inputs:], self.ins.of_row[n_inputs:], PANEL_ROWS
        self.in_segment = n_inputs + segments(*panels_by_class, limit[n_inputs:])
        self.out_segment = segments(row_class, self.outs.of_row, PANEL_ROWS, SEGMENT_ROWS)
        self.in_mixed = _any_in(self.in_segment, in_mixed)
        self.out_mixed = _any_in(self.out_segment, out_mixed)

        self.source_blocks = cut_source_blocks(plan, block_rows, self.in_segment)

    def shares(self, n_threads: int, by_source_block: bool) -> list[Share]:
        """Return the copies of each thread after an update, with source blocks in use or not."""
        blocks = self.source_blocks if by_source_block else None
        return share_out(self.copies(by_source_block), blocks, self.plan, n_threads)

    def copies(self, by_source_block: bool) -> Copies:
        """Return the copies after an update, with source blocks in use or not."""
        if by_source_block not in self._copies:
            blocks = self.source_blocks if by_source_block else None
            line = CACHE_LINE // self.itemsize
            self._copies[by_source_block] = find_copies(self._lines, line, self.n_slots, blocks)
        return self._copies[by_source_block]

    def uncovered(self, n_values: int) -> Int64:
        """Return the ranges of parameters whose gradient no panel kernel stores, (m, 2)."""
        if self.outs.n_edges == 0:
            return np.array([[0, n_values]])
        chosen = np.ones(n_values, np.bool_)
        chosen[: self.n_slots] = ~in_runs(self.outs, self.n_slots)
        return stretches(chosen)

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all arrays."""
        records = self.plan, self.ins, self.outs, self._lines, self.source_blocks
        fields = (record or () for record in (*records, *self._copies.values()))
        values = [*vars(self).values(), *chain.from_iterable(fields)]
        return [value for value in values if isinstance(value, np.ndarray)]


def _edge_flags(plan: Plan, filled: bool) -> tuple[Flags | None, Flags | None]:
    """Return which slots are edges, by in-slot and by out-slot; None if all are."""
    if not filled:
        return None, None
    by_in_slot = (plan.in_edge >= 0).view(np.uint8)
    by_out_slot = np.empty_like(by_in_slot)
    by_out_slot[plan.in_slot] = by_in_slot
    return by_in_slot, by_out_slot


def _mixed(panels: Panels, is_edge: Flags | None, ptr: Int64) -> Bool:
    """Return which rows are the first of a panel or have explicit zeros, (n,)."""
    mixed: Bool = panels.of_row != 0
    if is_edge is not None:
        mixed[np.searchsorted(ptr, np.flatnonzero(is_edge == 0), side="right") - 1] = True
    return mixed


def _any_in(segment: Int64, rows: Bool) -> Flags:
    """Return for each segment whether one of its rows is marked."""
    return np.logical_or.reduceat(rows, segment[:-1]).view(np.uint8)
