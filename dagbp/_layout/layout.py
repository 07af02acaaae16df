"""A plan as kernels read it: blocks filled, panels found, segments cut, slots as narrow as fit."""

from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._kernels.frames import SEGMENT_ROWS
from dagbp._layout.fill import fill_blocks
from dagbp._layout.panels import columns, in_panels, in_runs, out_panels
from dagbp._layout.refresh import Copies, Share, find_copies, share_out, stretches
from dagbp._layout.segments import segments
from dagbp._layout.source_blocks import SEGMENT_ROWS as BLOCK_SEGMENT_ROWS
from dagbp._layout.source_blocks import cut_source_blocks, rows_by_source_block
from dagbp._machine import CACHE_LINE, PANEL_ROWS
from dagbp._plan.plan import Plan

Int64 = npt.NDArray[np.int64]


class Layout:
    """The arrays of one plan for one dtype.

    Attributes
    ----------
    plan : Plan
        With held zeros, where blocks were filled.
    slot : int64 (E,), or None
        In-slot of each edge of the user's plan; None where nothing was filled.
    row_class : int64 (n,)
        The same number for rows of the same level and activation, -1 for inputs.
    dense_above : float, or None
        Blocks of which more than this share exists are filled; None for where it is faster.
    n_slots, n_held : int
        Edges, held zeros included, and how many these are.
    in_keep, out_keep : uint8, or None
        0 for the held zeros, by in-slot and by out-slot.
    ins, outs : Panels
        The dense panels of the forward and of the backward pass.
    in_segment, out_segment : int64
        First rows of the segments of the computed rows, and of all rows; the end is last.
    in_mixed, out_mixed : uint8
        Of each segment, whether some of its rows have panels or held zeros.
    strips : Strips, or None
        The segments of in-edges that run in strips of sources.
    column : int64 (n,)
        Which rows' deltas the dense panels want by sample.
    stride : int
        Nodes in a row of the transposed deltas: an odd number of cache lines, or none.
    """

    def __init__(
        self,
        plan: Plan,
        theta: Int64,
        own_segment: npt.NDArray[np.bool_],
        dtype: np.dtype[Any],
        dense_above: float | None,
    ) -> None:
        n, n_inputs, n_edges = len(plan.node), plan.n_inputs, len(plan.in_src)
        row_class = self.row_class = _row_classes(plan, theta, own_segment)
        self.dense_above = dense_above
        plan, self.slot = fill_blocks(plan, row_class, self.dense_above)
        self.plan, self.itemsize = plan, dtype.itemsize
        self.n_slots, self.n_explicit_zeros = len(plan.in_src), len(plan.in_src) - n_edges
        self.in_is_edge = self.out_is_edge = None
        if self.slot is not None:
            self.in_is_edge = (plan.in_edge >= 0).view(np.uint8)
            self.out_is_edge = np.empty_like(self.in_is_edge)
            self.out_is_edge[plan.in_slot] = self.in_is_edge
        chunk = CACHE_LINE // dtype.itemsize
        self.ins, self.outs = in_panels(plan, row_class), out_panels(plan, row_class, chunk)
        in_mixed = (self.ins.of_row != 0) | _has_explicit_zeros(self.in_is_edge, plan.in_ptr)
        out_mixed = (self.outs.of_row != 0) | _has_explicit_zeros(self.out_is_edge, plan.out_ptr)
        computed = slice(n_inputs, n)
        source_blocks = rows_by_source_block(plan, row_class, in_mixed)
        most = np.where(source_blocks > 0, BLOCK_SEGMENT_ROWS, SEGMENT_ROWS)[computed]
        self.in_segment = n_inputs + segments(
            row_class[computed], self.ins.of_row[computed], PANEL_ROWS, most
        )
        self.source_blocks = cut_source_blocks(plan, source_blocks, self.in_segment)
        self.out_segment = segments(row_class, self.outs.of_row, PANEL_ROWS, SEGMENT_ROWS)
        self.in_mixed = _any_in(self.in_segment, in_mixed)
        self.out_mixed = _any_in(self.out_segment, out_mixed)
        self._lines = in_panels(plan, row_class, chunk) if self.ins.n_edges else None
        self._copies: dict[bool, Copies] = {}
        self.column = columns(self.outs, n)
        self.stride = 0
        if self.outs.n_edges:
            self.stride = (-(-n * dtype.itemsize // CACHE_LINE) | 1) * chunk

    def shares(self, n_threads: int, by_source_block: bool) -> list[Share]:
        """Return what each thread copies after an update, where strips are used and where not."""
        source_blocks, n_rows = (
            self.source_blocks if by_source_block else None,
            CACHE_LINE // self.itemsize,
        )
        if by_source_block not in self._copies:
            self._copies[by_source_block] = find_copies(
                self._lines, n_rows, self.n_slots, source_blocks
            )
        return share_out(self._copies[by_source_block], source_blocks, self.plan, n_threads)

    def uncovered(self, n_values: int) -> Int64:
        """Return the stretches of values whose gradient is in no panel's run, (m, 2)."""
        if self.outs.n_edges == 0:
            return np.array([[0, n_values]])
        chosen = np.ones(n_values, np.bool_)
        chosen[: self.n_slots] = ~in_runs(self.outs, self.n_slots)
        return stretches(chosen)

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all arrays."""
        parts = [
            self.plan,
            self.ins,
            self.outs,
            self._lines,
            self.source_blocks,
            *self._copies.values(),
        ]
        values = [*vars(self).values(), *chain.from_iterable(part or () for part in parts)]
        return [value for value in values if isinstance(value, np.ndarray)]


def _has_explicit_zeros(keep: npt.NDArray[np.uint8] | None, ptr: Int64) -> npt.NDArray[np.bool_]:
    """Return which rows have held zeros, (n,)."""
    held = np.zeros(len(ptr) - 1, np.bool_)
    if keep is not None:
        held[np.searchsorted(ptr, np.flatnonzero(keep == 0), side="right") - 1] = True
    return held


def _any_in(segment: Int64, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return of each segment whether one of its rows is marked."""
    return np.logical_or.reduceat(rows, segment[:-1]).view(np.uint8)


def _row_classes(plan: Plan, theta: Int64, own_segment: npt.NDArray[np.bool_]) -> Int64:
    """Return a number for each row that tells its level and activation, and whether an input.

    Rows with a segment of their own each have another.
    """
    row = np.arange(len(theta))
    codes = theta.max(initial=0) + 1
    row_class = np.where(own_segment, -2 - row, plan.level * codes + theta)
    return np.where(row < plan.n_inputs, -1, row_class)
