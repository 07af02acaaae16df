"""Packing: a network and its samples as the frames that kernels receive."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._data.arrays import Targets
from dagbp._data.features import Features
from dagbp._engine.operations import Operation
from dagbp._engine.parameters import Parameters
from dagbp._kernels.edges.dense import PANEL_KERNELS
from dagbp._kernels.edges.mixed import MIXED_KERNELS
from dagbp._kernels.edges.source_blocks import source_block_sums
from dagbp._kernels.frames import (
    CALL_IN_PLACE,
    CALL_KEEPING_SIGNAL,
    FUSED_IDENTITY,
    FUSED_RELU,
    NetFrame,
    SamplesFrame,
    pack,
)
from dagbp._kernels.passes import readers
from dagbp._kernels.signatures import CKernel
from dagbp._layout.layout import Layout
from dagbp._machine import WIDE_ROW
from dagbp._plan.edge_order import inverse
from dagbp._plan.plan import Plan

Array = npt.NDArray[Any]
Frame: TypeAlias = "array[int]"

_FUSED = {"relu": FUSED_RELU, "identity": FUSED_IDENTITY}


def _how_applied(activation: activations.Activation) -> int:
    """Return how kernels apply an activation if its signal is not stored for another reason."""
    if activation.reads_signal:
        return int(CALL_KEEPING_SIGNAL)
    return int(_FUSED.get(activation.name, CALL_IN_PLACE))


class NetPacker:
    """Packs a network's frames: one for each set of group functions and width of tiles.

    `used` are the activations of the network, `theta` the index of each row's activation among
    them. `stores_signals` says whether training stores signals, because some activation's
    derivative reads them.
    """

    def __init__(
        self,
        layout: Layout,
        parameters: Parameters,
        used: Sequence[activations.Activation],
        theta: npt.NDArray[np.int64],
    ) -> None:
        self._layout, self._parameters = layout, parameters
        self._dtype = parameters.by_source.dtype
        self._used, self._theta = used, theta
        self._applied = np.array([_how_applied(one) for one in used], np.uint8)[theta]
        self.stores_signals = bool((self._applied == CALL_KEEPING_SIGNAL).any())
        self._addresses: dict[bool, Array] = {}
        self._frames: dict[Any, Frame] = {}

    def by_source_block(self, row_bytes: int) -> bool:
        """Return whether tiles with such rows use source blocks; narrow ones fit the caches."""
        return row_bytes == WIDE_ROW and self._layout.source_blocks is not None

    def frame(self, operation: Operation, row_bytes: int, signals: bool) -> Frame:
        """Return the frame for an operation. signals: whether every node's signal is stored."""
        if not self.by_source_block(row_bytes):
            self._parameters.catch_up()
        key = operation.entry, operation.group, row_bytes, signals
        if key not in self._frames:
            self._frames[key] = self._new_frame(*key)
        return self._frames[key]

    def _new_frame(
        self, entry: CKernel, group: tuple[CKernel, ...], row_bytes: int, signals: bool
    ) -> Frame:
        """Compile all functions that are called, then pack their addresses.

        LLVM compiles one function while Python prepares the next one. An address is available when
        LLVM has ended, so addresses come last, and the slowest function comes first.
        """
        layout, (slowest, *others) = self._layout, group
        if layout.ins.n_edges or layout.outs.n_edges or layout.n_explicit_zeros:
            others += [*PANEL_KERNELS, *MIXED_KERNELS]
        if self.by_source_block(row_bytes):
            others.append(source_block_sums)
        functions = {slowest.__name__: slowest.compiled(self._dtype, row_bytes)}
        entry.compiled(self._dtype)
        functions |= {one.__name__: one.compiled(self._dtype, row_bytes) for one in others}
        return self._pack(functions, row_bytes, signals)

    def for_single_sample(self) -> Frame:
        """Return the frame for `_kernels.passes.single_sample`, which has no tiles."""
        return self._pack({}, self._dtype.itemsize, True)

    def _pack(self, functions: Mapping[str, Any], row_bytes: int, signals: bool) -> Frame:
        layout, plan, parameters = self._layout, self._layout.plan, self._parameters
        blocks = layout.source_blocks if self.by_source_block(row_bytes) else None
        narrow = plan.in_slot.dtype == np.uint32
        theta, d_theta = self._row_functions(signals)
        record = NetFrame(
            n_nodes=len(plan.node),
            n_inputs=plan.n_inputs,
            n_edges=layout.n_slots,
            n_outputs=len(plan.outputs),
            n_values=len(parameters.by_source),
            width=row_bytes // self._dtype.itemsize,
            in_ptr=plan.in_ptr,
            in_src=plan.in_src,
            in_slot=plan.in_slot if narrow else None,
            wide_slot=None if narrow else plan.in_slot,
            out_ptr=plan.out_ptr,
            out_dst=plan.out_dst,
            outputs=plan.outputs,
            output_slot=plan.output_slot,
            theta=theta,
            d_theta=d_theta,
            applied=None if signals else self._applied,
            by_source=parameters.by_source,
            by_target=parameters.by_target,
            in_segment=layout.in_segment,
            out_segment=layout.out_segment,
            in_mixed=layout.in_mixed,
            out_mixed=layout.out_mixed,
            source_blocks=blocks and blocks.of_segment,
            block_ptr=blocks and blocks.program,
            block_src=blocks and blocks.source,
            block_slot=blocks and blocks.value_slot,
            block_weights=parameters.block_weights,
            in_panel=layout.ins.of_row,
            in_runs=layout.ins.program,
            out_panel=layout.outs.of_row,
            out_runs=layout.outs.program,
            in_is_edge=layout.in_is_edge,
            out_is_edge=layout.out_is_edge,
            column=layout.column,
            stride=layout.stride,
            **functions,
        )
        return pack(record, self._dtype)

    def _row_functions(self, every: bool) -> Array:
        """Return the addresses of each row's activation and its derivative, (2, n).

        An activation that kernels apply themselves has 0 and is not compiled, unless `every` one is
        wanted.
        """
        if every not in self._addresses:
            called = [every or _how_applied(one) <= CALL_IN_PLACE for one in self._used]
            pairs = [
                one.rows(self._dtype) if call else (0, 0)
                for one, call in zip(self._used, called, strict=True)
            ]
            table = np.array([[*map(int, pair)] for pair in pairs], np.uint64).reshape(-1, 2)
            self._addresses[every] = np.ascontiguousarray(table[self._theta].T)
        return self._addresses[every]


class SamplePacker:
    """Describes samples to kernels. places: the row of each feature, None for 0, 1, 2, ..."""

    def __init__(self, plan: Plan, dtype: np.dtype[Any]) -> None:
        self._plan, self._dtype = plan, dtype
        moved = bool((np.diff(plan.input_column) != 1).any())
        self._column = plan.input_column if moved else None
        self.places = inverse(plan.input_column) if moved else None
        self._readers: dict[Any, Any] = {}

    def record(
        self,
        X: Features,
        targets: Targets | None = None,
        weight: npt.NDArray[np.float64] | None = None,
        order: npt.NDArray[np.int64] | None = None,
    ) -> SamplesFrame:
        """Return the record of samples, with readers that fit their dtype and form."""
        sparse = X.indptr is not None
        places = self.places if sparse else self._column
        read = readers.read_squares if X.direct and places is None else readers.read_rows
        wanted, read_targets = None, 0
        if targets is not None:
            wanted = targets.values if targets.labels is None else targets.labels
            form = readers.read_squares if targets.labels is None else readers.read_labels
            assert wanted is not None
            read_targets = self._reader(form, wanted)
        return SamplesFrame(
            n_samples=len(X),
            n_inputs=self._plan.n_inputs,
            n_outputs=len(self._plan.outputs),
            features=X.values,
            read_features=self._reader(readers.read_csr if sparse else read, X.values),
            read_targets=read_targets,
            stride=X.stride,
            indptr=X.indptr,
            indices=X.indices,
            places=places,
            targets=wanted,
            weight=weight,
            order=order,
        )

    def _reader(self, form: CKernel, source: Array) -> Any:
        """Return the C function that copies such samples into tiles."""
        key = form, source.dtype
        if key not in self._readers:
            self._readers[key] = form.compiled(self._dtype, source=source.dtype)
        return self._readers[key]
