"""A plan with its parameters and buffers, and the calls that run kernels over it.

Arrays come in checked and leave by rows and slots; labels and options stay with `Network`.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._compiler.decorators import compiled
from dagbp._data.arrays import Targets
from dagbp._data.features import Features, Problem
from dagbp._engine.buffers import Buffers, Dropout, signal_bytes, step_bytes
from dagbp._engine.parameters import Parameters
from dagbp._engine.single_sample import Single
from dagbp._engine.tile_plan import TilePlan, TilePlanner
from dagbp._engine.workers import run_together
from dagbp._kernels.edges.dense import PANEL_KERNELS
from dagbp._kernels.edges.mixed import MIXED_KERNELS
from dagbp._kernels.edges.source_blocks import source_block_sums
from dagbp._kernels.formulas.shuffle import shuffle
from dagbp._kernels.formulas.update import gather, reduce
from dagbp._kernels.frames import (
    ABORT,
    BROKEN,
    CALL_IN_PLACE,
    CALL_KEEPING_SIGNAL,
    DENSE_PARTS,
    DIVERGED,
    FUSED_IDENTITY,
    FUSED_RELU,
    SHUFFLE,
    STATUS,
    STAY,
    STOP,
    STORE,
    VALUE,
    ClockFrame,
    LossFrame,
    NetFrame,
    ResultFrame,
    SamplesFrame,
    UpdateFrame,
    address,
    pack,
)
from dagbp._kernels.passes import entry_points as run
from dagbp._kernels.passes import readers
from dagbp._kernels.passes import tile_group as parts
from dagbp._kernels.signatures import CKernel
from dagbp._layout.layout import Layout
from dagbp._machine import WIDE_ROW
from dagbp._memory import require
from dagbp._plan.plan import Plan, inverse
from dagbp.losses import Loss

Array = npt.NDArray[Any]
Frame = npt.NDArray[np.uint64]

KEPT_BYTES = 2**26  # of buffers for several schedules

_WRITES = {run.predict: parts.write, run.inspect: parts.write_all}
LARGE = 2**26


_APPLIED = {"relu": FUSED_RELU, "identity": FUSED_IDENTITY}


def _how_applied(activation: activations.Activation) -> int:
    """Return how kernels apply an activation where signals need not be kept."""
    return int(
        CALL_KEEPING_SIGNAL
        if activation.reads_signal
        else _APPLIED.get(activation.name, CALL_IN_PLACE)
    )


class Engine:
    """One network's arrays, and what runs batches through them.

    Attributes
    ----------
    plan : Plan
    dtype : numpy.dtype
    wiring : Wiring
        The plan as kernels read it: held zeros filled in, panels, segments.
    parameters : Parameters
        Weights and biases, in all orders, and which of them `train` may change.
    """

    def __init__(
        self,
        plan: Plan,
        theta_names: Sequence[str],
        theta: npt.NDArray[np.int64],
        trained: npt.NDArray[np.bool_],
        dtype: np.dtype[Any],
        dense_above: float | None = None,
        strategy: str = "auto",
    ) -> None:
        self.plan, self.dtype = plan, dtype
        # Records, not names: a network keeps what it was made with when a name is overwritten.
        self._activations = [activations.get(name) for name in theta_names]
        self._theta = theta
        self._applied = np.array([_how_applied(one) for one in self._activations], np.uint8)[theta]
        self._keeps = bool((self._applied == CALL_KEEPING_SIGNAL).any())
        self._rows: dict[bool, Array] = {}
        column, moved = plan.input_column, bool((np.diff(plan.input_column) != 1).any())
        self._places = (column, inverse(column)) if moved else (None, None)
        own_segment = np.array([one.f is not None for one in self._activations], np.bool_)
        self.layout = Layout(plan, theta, own_segment[theta], dtype, dense_above)
        self.tile_planner = TilePlanner(self.layout, strategy)
        self.n_edges = len(plan.in_src)
        self.n_computed = len(plan.node) - plan.n_inputs
        self.parameters = Parameters(self.layout, self.n_edges, trained, dtype)
        self._buffers: dict[TilePlan, Buffers] = {}
        self._entries: dict[Any, Callable[..., None]] = {}
        self._nets: dict[Any, Frame] = {}
        self._readers: dict[Any, Any] = {}
        self._single: Single | None = None

    # --- what kernels receive ---

    def _net(self, entry: Any, row_bytes: int, *, signals: bool = False) -> Frame:
        """Return the net's frame for an entry point.

        What its kernels read is up to date. signals: whether every signal is to be kept.
        """
        if not self._by_source_block(row_bytes):
            self.parameters.catch_up()
        key = entry, row_bytes, signals
        if key not in self._nets:
            self._nets[key] = self._new_net(*key)
        return self._nets[key]

    def _new_net(self, entry: Any, row_bytes: int, signals: bool) -> Frame:
        """Return a new one: addresses last, what takes longest to compile first."""
        learn = 0
        if entry is not run.predict:
            learn = compiled(parts.compile_part, parts.learn, self.dtype, row_bytes)
        compiled(run.compile_entry, entry, self.dtype)
        read, write = (
            compiled(parts.compile_part, part, self.dtype, row_bytes) if part else 0
            for part in (parts.read, _WRITES.get(entry))
        )
        dense: dict[str, Any] = {}
        if self.layout.ins.n_edges or self.layout.outs.n_edges or self.layout.n_explicit_zeros:
            kernels = (*PANEL_KERNELS, *MIXED_KERNELS)
            dense = {one.__name__: one.compiled(self.dtype, row_bytes) for one in kernels}
        block_sums: Any = 0
        if self._by_source_block(row_bytes):
            block_sums = source_block_sums.compiled(self.dtype, row_bytes)
        width = row_bytes // self.dtype.itemsize
        applied = None if signals else self._applied
        return self._pack_net(width, dense, applied, block_sums, read, learn, write)

    def _pack_net(
        self,
        width: int,
        dense: Mapping[str, Any],
        applied: Array | None = None,
        block_sums: Any = 0,
        read: Any = 0,
        learn: Any = 0,
        write: Any = 0,
    ) -> Frame:
        """Return the net's frame with these addresses of functions of tiles."""
        layout, plan, rows = self.layout, self.layout.plan, self._addresses(applied is None)
        parameters = self.parameters
        ins, outs = layout.ins, layout.outs
        source_blocks = (
            layout.source_blocks if self._by_source_block(width * self.dtype.itemsize) else None
        )
        return pack(
            NetFrame(
                n_nodes=len(plan.node),
                n_inputs=plan.n_inputs,
                n_edges=layout.n_slots,
                n_outputs=len(plan.outputs),
                n_values=len(parameters.by_source),
                width=width,
                in_ptr=plan.in_ptr,
                in_src=plan.in_src,
                in_slot=plan.in_slot if plan.in_slot.dtype == np.uint32 else None,
                wide_slot=plan.in_slot if plan.in_slot.dtype == np.int64 else None,
                out_ptr=plan.out_ptr,
                out_dst=plan.out_dst,
                outputs=plan.outputs,
                output_slot=plan.output_slot,
                theta=rows[0],
                d_theta=rows[1],
                applied=applied,
                **{part: dense.get(part, 0) for part in DENSE_PARTS},
                read=read,
                learn=learn,
                write=write,
                by_source=parameters.by_source,
                by_target=parameters.by_target,
                in_segment=layout.in_segment,
                out_segment=layout.out_segment,
                in_mixed=layout.in_mixed,
                out_mixed=layout.out_mixed,
                source_blocks=source_blocks and source_blocks.of_segment,
                block_ptr=source_blocks and source_blocks.program,
                block_src=source_blocks and source_blocks.source,
                block_slot=source_blocks and source_blocks.value_slot,
                block_weights=parameters.block_weights,
                source_block_sums=block_sums,
                in_panel=ins.of_row,
                in_runs=ins.program,
                out_panel=outs.of_row,
                out_runs=outs.program,
                in_is_edge=layout.in_is_edge,
                out_is_edge=layout.out_is_edge,
                column=layout.column,
                stride=layout.stride,
            )
        )

    def _by_source_block(self, row_bytes: int) -> bool:
        """Return whether tiles with such rows go by strips: narrow ones fit the caches."""
        return row_bytes == WIDE_ROW and self.layout.source_blocks is not None

    def _addresses(self, every: bool) -> Array:
        """Return the addresses of each row's activation and its derivative, (2, n).

        Those that kernels apply themselves are 0, and never compiled, unless `every` one is asked.
        """
        if every not in self._rows:
            called = [every or _how_applied(one) <= CALL_IN_PLACE for one in self._activations]
            pairs = [
                one.rows(self.dtype) if call else (0, 0)
                for one, call in zip(self._activations, called, strict=True)
            ]
            table = np.array([[*map(int, pair)] for pair in pairs], np.uintp).reshape(-1, 2)
            self._rows[every] = np.ascontiguousarray(table[self._theta].T)
        return self._rows[every]

    def _is_single(self, X: Features, max_threads: int | None, back: bool) -> bool:
        """Return whether X is one sample, to go by itself."""
        return len(X) == 1 and X.direct and self.tile_planner.single(max_threads, back)

    def _single_sample(self) -> Single:
        """Return what runs one sample by itself, kept from call to call."""
        if self._single is None:
            theta, net = self._addresses(True)[0], self._pack_net(1, {})
            users = np.array([not one.builtin for one in self._activations], np.bool_)
            exact = users[self._theta]
            more = exact, self._places[1], self.dtype
            self._single = Single(self.plan, self.layout, net, theta, *more)
        self.parameters.catch_up()
        return self._single

    def _buffers_of(self, tile_plan: TilePlan, signals: bool = False) -> Buffers:
        """Return what threads write, kept from call to call: fresh pages cost faults.

        What was kept for other schedules is given back first, unless all is small: steps and
        validation may take turns. signals: as of `_net`.
        """
        signals = signals or self._keeps
        if tile_plan not in self._buffers:
            kept = sum(self.step_bytes(one) + self._signal_bytes(one) for one in self._buffers)
            if kept + self.step_bytes(tile_plan) > KEPT_BYTES:
                self._buffers = {}
            more = signal_bytes(self.layout, tile_plan) if signals and not self._keeps else 0
            require(self.step_bytes(tile_plan) + more, "a step's tiles and gradients")
            cuts, by_source_block = (
                self.tile_planner.cuts(tile_plan),
                self._by_source_block(tile_plan.row_bytes),
            )
            size = len(self.parameters.by_source)
            buffers = Buffers(self.layout, self.dtype, size, tile_plan, cuts, by_source_block)
            if signals:
                buffers.keep_signals()
            self._buffers[tile_plan] = buffers
        buffers = self._buffers[tile_plan]
        if signals and not buffers.keeps_signals:
            require(signal_bytes(self.layout, tile_plan), "the signals of a step's tiles")
            buffers.keep_signals()
        return buffers

    def _signal_bytes(self, tile_plan: TilePlan) -> int:
        """Return the bytes of kept signals that `step_bytes` leaves out."""
        more = self._buffers[tile_plan].keeps_signals and not self._keeps
        return more * signal_bytes(self.layout, tile_plan)

    def release(self) -> None:
        """Give the buffers back."""
        self._buffers, self._single = {}, None

    def network_bytes(self) -> int:
        """Return the bytes of the plan, its wiring and the parameters."""
        arrays: list[Array] = [
            *self.plan[:-1],
            *self.layout.arrays(),
            *self.parameters.arrays(),
        ]
        return sum({id(array): array.nbytes for array in arrays}.values())

    def step_bytes(self, tile_plan: TilePlan) -> int:
        """Return the bytes of tiles and gradients of a step."""
        signals = signal_bytes(self.layout, tile_plan) if self._keeps else 0
        return signals + step_bytes(self.layout, tile_plan, len(self.parameters.by_source))

    # --- calls ---

    def predict(self, X: Features, max_threads: int | None) -> Array:
        """Return the outputs (N, n_outputs)."""
        if self._is_single(X, max_threads, back=False):
            return self._single_sample().predict(X.values)
        size = len(X) * len(self.plan.outputs) * self.dtype.itemsize
        if size > LARGE:  # to look takes longer than a small prediction
            require(size, f"the predictions for {len(X):,} samples")
        out = np.empty((len(X), len(self.plan.outputs)), self.dtype)
        tile_plan = self.tile_planner.choose(len(X), max_threads, back=False)
        buffers = self._buffers_of(tile_plan)
        samples = self._samples(X)
        before = self._net(run.predict, tile_plan.row_bytes), pack(samples)
        self._run_all(
            run.predict, before, buffers, buffers.frames, pack(ResultFrame(None, out, None))
        )
        return out

    def inspect(self, X: Features, targets: Targets | None, loss: Loss | None) -> ResultFrame:
        """Return s and x of every node and sample, and the deltas if there are targets."""
        back = targets is not None
        size = (2 + back) * len(self.plan.node) * len(X) * self.dtype.itemsize
        require(size, f"every node's values for {len(X):,} samples")
        values = np.zeros((2 + back, len(self.plan.node), len(X)), self.dtype)
        record = ResultFrame(values[0], values[1], values[2] if back else None)
        tile_plan = self.tile_planner.choose(len(X), 1)._replace(group=1)
        (work,) = self._buffers_of(tile_plan, signals=True).learning()
        samples = self._samples(X, targets)
        net = self._net(run.inspect, tile_plan.row_bytes, signals=True)
        frames = (
            net,
            pack(samples),
            pack(LossFrame(0, None) if loss is None else loss.row(self.dtype)),
            work,
            pack(record),
        )
        self._entry(run.inspect)(None, *map(address, frames), back)
        return record

    def evaluate(self, problem: Problem, max_threads: int | None) -> float:
        """Return the mean loss."""
        if self._is_single(problem.features, max_threads, back=False):
            return self._single_sample().evaluate(problem)
        return self._evaluate(problem, max_threads, back=False)[0]

    def differentiate(self, problem: Problem, max_threads: int | None) -> tuple[float, Array]:
        """Return the mean loss and its gradient, in the user's order."""
        if self._is_single(problem.features, max_threads, back=True):
            return self._single_sample().differentiate(problem)
        value, gradients = self._evaluate(problem, max_threads, back=True)
        flat = np.empty(self.parameters.n_values, self.dtype)
        slots = address(self.layout.plan.in_slot)
        narrow = self.layout.plan.in_slot.dtype == np.uint32
        gather.call_from_python(self.dtype)(
            address(gradients),
            *gradients.shape,
            slots if narrow else None,
            None if narrow else slots,
            self.layout.n_slots,
            len(flat),
            address(flat),
        )
        return value, flat if self.layout.slot is None else self.parameters.without_explicit_zeros(
            flat
        )

    def _evaluate(
        self, problem: Problem, max_threads: int | None, back: bool
    ) -> tuple[float, Array]:
        tile_plan = self.tile_planner.choose(len(problem.features), max_threads, back)
        buffers = self._buffers_of(tile_plan)
        frames = buffers.learning() if back else buffers.frames
        data = self._samples(problem.features, problem.targets, problem.weight)
        loss = problem.loss.row(self.dtype)  # begins to compile
        before = self._net(run.evaluate, tile_plan.row_bytes), pack(data), pack(loss)
        self._run_all(run.evaluate, before, buffers, frames, int(STORE if back else STAY))
        return sum(buffers.losses[:, VALUE].tolist()), buffers.gradients

    def train(
        self,
        problem: Problem,
        order: npt.NDArray[np.int64] | None,
        update: UpdateFrame,
        clock: ClockFrame,
        tile_plan: TilePlan,
        watch: Callable[[], object],
        *,
        dropout: Dropout | None = None,
        times: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Advance the clock to its last epoch or update, or to where something stops it.

        That is an exception, a loss that is not finite, or `watch`, called now and then, if it
        returns something true. times (n_threads, N_TIMES): what each thread's parts take is added.
        """
        signals = dropout is not None
        loss = problem.loss.row(self.dtype)  # begins to compile
        buffers = self._buffers_of(tile_plan, signals)
        frames = buffers.learning(times, dropout)
        data = self._samples(problem.features, problem.targets, problem.weight, order)
        if tile_plan.n_teams > 1 or update.trained is not None:
            update = update._replace(reduce=reduce.compiled(self.dtype))
        if clock.count[SHUFFLE]:
            clock = clock._replace(shuffle=shuffle.compiled())
        net = self._net(run.train, tile_plan.row_bytes, signals=signals)
        before = net, pack(data), pack(loss), pack(update)
        with self.parameters.updated(self._by_source_block(tile_plan.row_bytes)):
            self._run_all(run.train, before, buffers, frames, pack(clock), watch=watch)
        if clock.count[STATUS] == DIVERGED:
            self.parameters.undo()

    def _entry(self, entry: Any) -> Callable[..., None]:
        """Return an entry point to call: with a null pointer, addresses of frames, and numbers."""
        if entry not in self._entries:
            frames, numbers = run.ARITY[entry]
            arguments = [ctypes.c_void_p] * (1 + frames) + [ctypes.c_size_t] * numbers
            function = ctypes.CFUNCTYPE(None, *arguments)
            self._entries[entry] = function(compiled(run.compile_entry, entry, self.dtype).address)
        return self._entries[entry]

    def _run_all(
        self,
        entry: Any,
        before: tuple[Frame, ...],
        buffers: Buffers,
        frames: list[Frame],
        after: Frame | int,
        watch: Callable[[], object] | None = None,
    ) -> None:
        """Call an entry once for each thread; here, if there is but one and nobody watches."""
        barrier = buffers.barrier
        barrier[:] = 0
        buffers.arrivals[:] = 0
        kernel, first = self._entry(entry), [None, *map(address, before)]
        last = after if isinstance(after, int) else address(after)
        calls = [partial(kernel, *first, address(frame), last) for frame in frames]
        if len(calls) == 1 and watch is None:
            calls[0]()
            return

        def stop(failed: bool) -> None:
            barrier[ABORT] = BROKEN if failed else STOP

        def look() -> None:
            if watch is not None and watch():
                stop(False)

        run_together(calls, stop=stop, watch=look)

    def _samples(
        self,
        X: Features,
        targets: Targets | None = None,
        weight: Array | None = None,
        order: npt.NDArray[np.int64] | None = None,
    ) -> SamplesFrame:
        """Return samples as kernels take them."""
        places = self._places[X.indptr is not None]
        form = readers.read_squares if X.direct and places is None else readers.read_rows
        if X.indptr is not None:
            form = readers.read_csr
        wanted, read_targets = None, 0
        if targets is not None:
            wanted = targets.values if targets.labels is None else targets.labels
            read = readers.read_squares if targets.labels is None else readers.read_labels
            assert wanted is not None
            read_targets = self._reader(read, wanted)
        return SamplesFrame(
            n_samples=len(X),
            n_inputs=self.plan.n_inputs,
            n_outputs=len(self.plan.outputs),
            features=X.values,
            read_features=self._reader(form, X.values),
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
            self._readers[key] = form.compiled(self.dtype, source=source.dtype)
        return self._readers[key]
