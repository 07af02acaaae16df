"""A plan with its parameters and buffers, and the calls that run kernels over it.

Arrays come in checked and leave by rows and slots; labels and options stay with `Network`.
"""

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._copies import within
from dagbp._data import Targets
from dagbp._features import Features, Problem
from dagbp._forking import ForkSafeLock
from dagbp._kernels import parts, run
from dagbp._kernels.dense import compile_panels
from dagbp._kernels.dropout import compile_drop
from dagbp._kernels.mixed import compile_mixed
from dagbp._kernels.random import compile_shuffle
from dagbp._kernels.readers import compile_reader
from dagbp._kernels.records import (
    ABORT,
    BARRIER_SIZE,
    BATCH_SIZE,
    BROKEN,
    COUNTS,
    DENSE_PARTS,
    DIVERGED,
    LAST_EPOCH,
    LAST_UPDATE,
    LOSS_COLUMNS,
    N_ROWS,
    SEGMENT_ROWS,
    SHUFFLE,
    STATUS,
    STAY,
    STOP,
    STORE,
    VALUE,
    Clock,
    Data,
    Loss,
    Net,
    Result,
    Update,
    Work,
    address,
    pack,
)
from dagbp._kernels.strips import compile_strips
from dagbp._kernels.threads import compile_meet
from dagbp._kernels.timing import clock_address, compile_tick
from dagbp._kernels.update import BLOCK, compile_gather, compile_reduce
from dagbp._memory import require
from dagbp._plan import Plan, inverse
from dagbp._schedule import WIDE_ROW, Schedule, Scheduler
from dagbp._single import Single
from dagbp._team import run_together
from dagbp._wiring import Wiring

Array = npt.NDArray[Any]
Frame = npt.NDArray[np.uint64]

_WRITES = {run.predict: parts.write, run.inspect: parts.write_all}
CACHE_LINE = 64
LARGE = 2**26
NO_LOSS = Loss(0, None)


class Dropout(NamedTuple):
    """Which rows are dropped, and how often.

    stays: float64 (n,), the probability that a row stays; key: uint64 (2,), the run's seed, and
    the step's number for kernels to write.
    """

    stays: npt.NDArray[np.float64]
    key: npt.NDArray[np.uint64]


class Record(NamedTuple):
    """Every node's values by row, (n, n_samples)."""

    s: Array
    x: Array
    delta: Array | None = None


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return zeros that begin at a cache line; vector loads of tiles rely on it."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


@cache
def yield_address() -> int:
    """Return the address of the C function that gives the rest of a time slice away."""
    if os.name == "nt":
        function: Any = ctypes.windll.kernel32.SwitchToThread  # type: ignore[attr-defined]
    else:
        function = ctypes.CDLL(None).sched_yield
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_size_t
_gather = ctypes.CFUNCTYPE(
    None, _POINTER, _COUNT, _COUNT, _POINTER, _POINTER, _COUNT, _COUNT, _POINTER
)
_compiling = ForkSafeLock()


def compiled(function: Any, *args: Any) -> Any:
    """Return what a compiling function returns for these arguments; once a process."""
    with _compiling:
        return _compile_once(function, *args)


@cache  # for good: addresses must outlive the networks that hold them
def _compile_once(function: Any, *args: Any) -> Any:
    return function(*args)


class Engine:
    """One network's arrays.

    Attributes
    ----------
    plan : Plan
    dtype : numpy.dtype
    wiring : Wiring
        The plan as kernels read it: held zeros filled in, panels, segments.
    values : (P,)
        Weights in out-edge order, then the biases of the computed nodes, then padding; held zeros
        are among the weights.
    flat : (E + n_computed,)
        The same, the weights by in-edge.
    trained : bool (n_parameters,)
        Which parameters `train` may change, in the user's order; `all_train`: whether all.
    """

    def __init__(
        self,
        plan: Plan,
        theta_names: Sequence[str],
        theta: npt.NDArray[np.int64],
        trained: npt.NDArray[np.bool_],
        dtype: np.dtype[Any],
        dense_above: float | None = None,
        ways: str = "auto",
    ) -> None:
        self.plan, self.dtype = plan, dtype
        # Records, not names: a network keeps what it was made with when a name is overwritten.
        self._activations = [activations.get(name) for name in theta_names]
        self._theta = theta
        in_place = [not one.reads_signal for one in self._activations]
        self._in_place = np.array(in_place, np.uint8)[theta]
        self._rows: Array | None = None
        column, moved = plan.input_column, bool((np.diff(plan.input_column) != 1).any())
        self._places = (column, inverse(column)) if moved else (None, None)
        alone = np.array([one.f is not None for one in self._activations], np.bool_)
        self.wiring = Wiring(plan, theta, alone[theta], dtype, dense_above)
        self.scheduler = Scheduler(self.wiring, ways)
        self.n_edges = len(plan.in_src)
        self.n_computed = len(plan.node) - plan.n_inputs
        self.n_values = self.wiring.n_slots + self.n_computed
        self.values = aligned((-(-self.n_values // 16) * 16,), dtype)
        self._flat = aligned((self.n_values,), dtype)
        strips = self.wiring.strips
        self._strip_weights = aligned((0 if strips is None else len(strips.slot),), dtype)
        self._behind = False  # whether `_flat` is behind `_strip_weights`
        self.trained, self.all_train = trained, bool(trained.all())
        self._buffers: dict[Schedule, _Buffers] = {}
        self._entries: dict[Any, Callable[..., None]] = {}
        self._nets: dict[Any, Frame] = {}
        self._single: Single | None = None

    # --- parameters ---

    @property
    def flat(self) -> Array:
        """The parameters by in-edge."""
        self._catch_up()
        return self._flat

    def _catch_up(self) -> None:
        """Copy to `_flat` what training in strips has left behind there."""
        if self._behind:
            assert self.wiring.strips is not None
            self._flat[self.wiring.strips.slot] = self._strip_weights
            self._behind = False

    def _fill_strips(self) -> None:
        """Copy the weights of edges in strips from `_flat`."""
        if self.wiring.strips is not None:
            np.take(self._flat, self.wiring.strips.slot, out=self._strip_weights, mode="clip")

    def parameters(self) -> Array:
        """Return a flat copy: weights in CSR order, then the biases of the computed nodes."""
        return self._without_held(self.flat)

    def in_user_order(self, values: Array) -> Array:
        """Return an array laid out like `values` in the order of `parameters`."""
        n = self.wiring.n_slots
        weights, biases = values[:n], values[n:][: self.n_computed]
        return self._without_held(np.concatenate([weights[self.wiring.plan.in_slot], biases]))

    def _without_held(self, flat: Array) -> Array:
        slot = self.wiring.slot
        if slot is None:
            return flat.copy()
        return np.concatenate([flat[: self.wiring.n_slots][slot], flat[self.wiring.n_slots :]])

    def by_parameter(self, parameters: npt.NDArray[Any]) -> Array:
        """Return what is in the order of `parameters` laid out like `values`, padding 0."""
        padded = aligned((len(self.values),), parameters.dtype)
        padded[: self.n_values] = self._by_source(self._with_held(parameters, 0))
        return padded

    def _with_held(self, parameters: npt.NDArray[Any], held: Any) -> npt.NDArray[Any]:
        """Return parameters in the order of `flat`, with a value for the held zeros."""
        slot, n = self.wiring.slot, self.wiring.n_slots
        if slot is None:
            return parameters
        flat = np.full(n + self.n_computed, held, parameters.dtype)
        flat[slot] = parameters[: self.n_edges]
        flat[n:] = parameters[self.n_edges :]
        return flat

    def _by_source(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what is in the order of `flat` in that of `values`, without its padding."""
        n = self.wiring.n_slots
        values = np.empty_like(flat)
        values[self.wiring.plan.in_slot] = flat[:n]
        values[n:] = flat[n:]
        return values

    def set_parameters(self, parameters: Array) -> None:
        """Take over what `parameters` returned."""
        self._behind = False
        self._flat[:] = self._with_held(parameters, 0)
        self.values[: self.n_values] = self._by_source(self._flat)
        self._fill_strips()

    # --- what kernels receive ---

    def _net(self, entry: Any, row_bytes: int, *, signals: bool = False) -> Frame:
        """Return the net's frame for an entry point.

        What its kernels read is up to date. signals: whether every signal is to be kept.
        """
        if not self._in_strips(row_bytes):
            self._catch_up()
        key = entry, row_bytes, signals
        if key not in self._nets:
            self._nets[key] = self._new_net(*key)
        return self._nets[key]

    def _new_net(self, entry: Any, row_bytes: int, signals: bool) -> Frame:
        """Return a new one: addresses last, what takes longest to compile first."""
        learn, read, write = (
            compiled(parts.compile_part, part, self.dtype, row_bytes) if part else 0
            for part in (
                parts.learn if entry is not run.predict else None,
                parts.read,
                _WRITES.get(entry),
            )
        )
        compiled(run.compile_entry, entry, self.dtype)
        dense: dict[str, Any] = {}
        if self.wiring.ins.n_edges or self.wiring.outs.n_edges or self.wiring.n_held:
            dense = compiled(compile_panels, self.dtype, row_bytes)
            dense = dense | compiled(compile_mixed, self.dtype, row_bytes)
        strip_sums = 0
        if self._in_strips(row_bytes):
            strip_sums = compiled(compile_strips, self.dtype, row_bytes)
        width = row_bytes // self.dtype.itemsize
        in_place = None if signals else self._in_place
        return self._pack_net(width, dense, in_place, strip_sums, read, learn, write)

    def _pack_net(
        self,
        width: int,
        dense: Mapping[str, Any],
        in_place: Array | None = None,
        strip_sums: Any = 0,
        read: Any = 0,
        learn: Any = 0,
        write: Any = 0,
    ) -> Frame:
        """Return the net's frame with these addresses of functions of tiles."""
        wiring, plan, rows = self.wiring, self.wiring.plan, self._addresses()
        ins, outs = wiring.ins, wiring.outs
        strips = wiring.strips if self._in_strips(width * self.dtype.itemsize) else None
        return pack(
            Net(
                n_nodes=len(plan.node),
                n_inputs=plan.n_inputs,
                n_edges=wiring.n_slots,
                n_outputs=len(plan.outputs),
                n_values=len(self.values),
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
                in_place=in_place,
                **{part: dense.get(part, 0) for part in DENSE_PARTS},
                read=read,
                learn=learn,
                write=write,
                values=self.values,
                flat=self._flat,
                in_segment=wiring.in_segment,
                out_segment=wiring.out_segment,
                strips=strips and strips.of_segment,
                strip_ptr=strips and strips.program,
                strip_src=strips and strips.source,
                strip_slot=strips and strips.value_slot,
                strip_weights=self._strip_weights,
                strip_sums=strip_sums,
                in_panel=ins.of_row,
                in_runs=ins.program,
                out_panel=outs.of_row,
                out_runs=outs.program,
                in_keep=wiring.in_keep,
                out_keep=wiring.out_keep,
                column=wiring.column,
                stride=wiring.stride,
            )
        )

    def _in_strips(self, row_bytes: int) -> bool:
        """Return whether tiles with such rows go by strips: narrow ones fit the caches."""
        return row_bytes == WIDE_ROW and self.wiring.strips is not None

    def _addresses(self) -> Array:
        """Return the addresses of each row's activation and its derivative, (2, n), once."""
        if self._rows is None:
            pairs = [activations.rows(one, self.dtype) for one in self._activations]
            table = np.array([[*map(int, pair)] for pair in pairs], np.uintp).reshape(-1, 2)
            self._rows = np.ascontiguousarray(table[self._theta].T)
        return self._rows

    def _is_alone(self, X: Features, limit: int | None, back: bool) -> bool:
        """Return whether X is one sample, to go by itself."""
        return len(X) == 1 and X.direct and self.scheduler.alone(limit, back)

    def _alone(self) -> Single:
        """Return what runs one sample by itself, kept from call to call."""
        if self._single is None:
            theta, net = self._addresses()[0], self._pack_net(1, {})
            users = np.array([not one.builtin for one in self._activations], np.bool_)
            exact = users[self._theta]
            more = exact, self._places[1], self.dtype
            self._single = Single(self.plan, self.wiring, net, theta, *more)
        self._catch_up()
        return self._single

    def _buffers_of(self, schedule: Schedule) -> "_Buffers":
        """Return what threads write, kept from call to call: fresh pages cost faults.

        What was kept for another schedule is given back first.
        """
        if schedule not in self._buffers:
            self._buffers = {}
            require(self.step_bytes(schedule), "a step's tiles and gradients")
            self._buffers = {schedule: _Buffers(self, schedule)}
        return self._buffers[schedule]

    def release(self) -> None:
        """Give the buffers back."""
        self._buffers, self._single = {}, None

    def network_bytes(self) -> int:
        """Return the bytes of the plan, its wiring and the parameters."""
        arrays: list[Array] = [
            *self.plan[:-1],
            *self.wiring.arrays(),
            self.values,
            self._flat,
            self._strip_weights,
            self.trained,
        ]
        return sum({id(array): array.nbytes for array in arrays}.values())

    def step_bytes(self, schedule: Schedule) -> int:
        """Return the bytes of tiles and gradients of a step."""
        n, n_outputs = len(self.plan.node), len(self.plan.outputs)
        lanes = schedule.row_bytes // self.dtype.itemsize
        rows = 2 * n + 3 * n_outputs + int(N_ROWS)
        tile = rows * schedule.row_bytes + lanes * self.wiring.stride * self.dtype.itemsize
        scratch = schedule.n_threads * SEGMENT_ROWS * schedule.row_bytes
        gradients = schedule.n_crews * self.values.nbytes
        return int(schedule.n_crews * schedule.group * tile + scratch + gradients)

    # --- calls ---

    def predict(self, X: Features, limit: int | None) -> Array:
        """Return the outputs (N, n_outputs)."""
        if self._is_alone(X, limit, back=False):
            return self._alone().predict(X.values)
        size = len(X) * len(self.plan.outputs) * self.dtype.itemsize
        if size > LARGE:  # to look takes longer than a small prediction
            require(size, f"the predictions for {len(X):,} samples")
        out = np.empty((len(X), len(self.plan.outputs)), self.dtype)
        schedule = self.scheduler.choose(len(X), limit, back=False)
        buffers = self._buffers_of(schedule)
        before = self._net(run.predict, schedule.row_bytes), pack(self._samples(X))
        self._run_all(run.predict, before, buffers, buffers.frames, pack(Result(None, out, None)))
        return out

    def inspect(self, X: Features, targets: Targets | None, loss: Loss) -> Record:
        """Return s and x of every node and sample, and the deltas if there are targets."""
        back = targets is not None
        size = (2 + back) * len(self.plan.node) * len(X) * self.dtype.itemsize
        require(size, f"every node's values for {len(X):,} samples")
        values = np.zeros((2 + back, len(self.plan.node), len(X)), self.dtype)
        record = Record(values[0], values[1], values[2] if back else None)
        schedule = self.scheduler.choose(len(X), 1)._replace(group=1)
        (work,) = self._buffers_of(schedule).learning()
        net = self._net(run.inspect, schedule.row_bytes, signals=True)
        frames = net, pack(self._samples(X, targets)), pack(loss), work, pack(Result(*record))
        self._entry(run.inspect)(None, *map(address, frames), back)
        return record

    def evaluate(self, problem: Problem, limit: int | None) -> float:
        """Return the mean loss."""
        if self._is_alone(problem.features, limit, back=False):
            return self._alone().evaluate(problem)
        return self._evaluate(problem, limit, back=False)[0]

    def differentiate(self, problem: Problem, limit: int | None) -> tuple[float, Array]:
        """Return the mean loss and its gradient, in the order of `parameters`."""
        if self._is_alone(problem.features, limit, back=True):
            return self._alone().differentiate(problem)
        value, gradients = self._evaluate(problem, limit, back=True)
        flat = np.empty(self.n_values, self.dtype)
        slots = address(self.wiring.plan.in_slot)
        narrow = self.wiring.plan.in_slot.dtype == np.uint32
        _gather(compiled(compile_gather, self.dtype).address)(
            address(gradients),
            *gradients.shape,
            slots if narrow else None,
            None if narrow else slots,
            self.wiring.n_slots,
            self.n_values,
            address(flat),
        )
        return value, flat if self.wiring.slot is None else self._without_held(flat)

    def _evaluate(self, problem: Problem, limit: int | None, back: bool) -> tuple[float, Array]:
        schedule = self.scheduler.choose(len(problem.features), limit, back)
        buffers = self._buffers_of(schedule)
        frames = buffers.learning() if back else buffers.frames
        data = self._samples(problem.features, problem.targets, problem.weight)
        before = self._net(run.evaluate, schedule.row_bytes), pack(data), pack(problem.loss)
        self._run_all(run.evaluate, before, buffers, frames, int(STORE if back else STAY))
        return sum(buffers.losses[:, VALUE].tolist()), buffers.gradients

    def train(
        self,
        problem: Problem,
        order: npt.NDArray[np.int64] | None,
        update: Update,
        clock: Clock,
        schedule: Schedule,
        watch: Callable[[], object],
        *,
        dropout: Dropout | None = None,
        times: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Advance the clock to its last epoch or update, or to where something stops it.

        That is an exception, a loss that is not finite, or `watch`, called now and then, if it
        returns something true. times (n_threads, N_TIMES): what each thread's parts take is added.
        """
        buffers = self._buffers_of(schedule)
        frames = buffers.learning(times, dropout)
        data = self._samples(problem.features, problem.targets, problem.weight, order)
        if schedule.n_crews > 1 or update.keep is not None:
            update = update._replace(reduce=compiled(compile_reduce, self.dtype))
        if clock.count[SHUFFLE]:
            clock = clock._replace(shuffle=compiled(compile_shuffle))
        net = self._net(run.train, schedule.row_bytes, signals=dropout is not None)
        before = net, pack(data), pack(problem.loss), pack(update)
        self._behind = self._in_strips(schedule.row_bytes)
        try:
            self._run_all(run.train, before, buffers, frames, pack(clock), watch=watch)
        finally:
            if not self._behind:
                self._fill_strips()
        if clock.count[STATUS] == DIVERGED:
            # Undo the update, which `flat` has not seen.
            self.values[: self.n_values] = self._by_source(self.flat)

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
        buffers: "_Buffers",
        frames: list[Frame],
        after: Frame | int,
        watch: Callable[[], object] | None = None,
    ) -> None:
        """Call an entry once for each thread; here, if there is but one and nobody watches."""
        barrier = buffers.barrier
        barrier[:] = 0
        buffers.meetings[:] = 0
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

    @cached_property
    def runs(self) -> npt.NDArray[np.int64]:
        """The stretches [first, last) of `values` that train, shape (R, 2).

        Held zeros are inside: they stay zero since their gradient counts for nothing.
        """
        if self.all_train:
            return np.array([[0, self.n_values]])
        trained = self._by_source(self._with_held(self.trained, True))
        edges = np.diff(np.concatenate([[0], trained.astype(np.int8), [0]]))
        return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])

    @cached_property
    def keep(self) -> npt.NDArray[np.uint8] | None:
        """0 where a gradient counts for nothing, (P,): held zeros, and what is frozen."""
        if self.all_train and self.wiring.slot is None:
            return None
        return self.by_parameter(self.trained.view(np.uint8))

    def _samples(
        self,
        X: Features,
        targets: Targets | None = None,
        weight: Array | None = None,
        order: npt.NDArray[np.int64] | None = None,
    ) -> Data:
        """Return samples as kernels take them."""
        reader: Any = 0
        if not X.direct:
            kinds = X.indptr is not None, self.dtype, X.values.dtype
            reader = compiled(compile_reader, *kinds)
        return Data(
            n_samples=len(X),
            n_inputs=self.plan.n_inputs,
            n_outputs=len(self.plan.outputs),
            features=X.values,
            reader=reader,
            stride=X.stride,
            indptr=X.indptr,
            indices=X.indices,
            places=self._places[X.indptr is not None],
            targets=None if targets is None else targets.values,
            labels=None if targets is None else targets.labels,
            weight=weight,
            order=order,
        )


class _Buffers:
    """What threads write while a schedule runs.

    Attributes
    ----------
    frames : list of uint64 arrays
        Each thread's `Work`, without a gradient.
    gradients : (n_crews, P), or (n_crews, 0) as long as there is none
    losses, barrier, meetings
        As in `Work`; meetings of all threads, (n_threads, 8).
    """

    def __init__(self, engine: Engine, schedule: Schedule) -> None:
        dtype, wiring = engine.dtype, engine.wiring
        n, n_outputs = len(wiring.plan.node), len(wiring.plan.outputs)
        lanes, n_threads = schedule.row_bytes // dtype.itemsize, schedule.n_threads
        n_crews, members, group = schedule.n_crews, schedule.members, schedule.group
        size = len(engine.values)
        self._size = size
        self.gradients = aligned((n_crews, 0), dtype)
        self.losses = aligned((n_threads, int(LOSS_COLUMNS)), np.float64)
        self.barrier = aligned((BARRIER_SIZE,), np.int64)
        self.meetings = aligned((n_threads, 8), np.int64)  # a cache line each
        squares = np.zeros(size // int(BLOCK) + 1)
        cuts = engine.scheduler.cuts(schedule)
        copied = wiring.shares(n_threads, engine._in_strips(schedule.row_bytes))
        shares, cleared = _shares(size, n_threads), _shares(size, members)
        uncovered = wiring.uncovered(size)

        def rows(*shape: int) -> Array:
            return aligned((*shape, lanes), dtype)

        self._works: list[Work] = []
        for crew in range(n_crews):
            shared = {
                "x": rows(group, n),
                "d": rows(group, n),
                "out": rows(group, n_outputs),
                "y": rows(group, n_outputs),
                "e": rows(group, n_outputs),
                "row": rows(group, int(N_ROWS)),
                "tile_loss": np.zeros(group),
                "transposed": aligned((group, lanes, wiring.stride), dtype),
            }
            for member in range(members):
                thread = crew * members + member
                share = copied[thread]
                holes = within(uncovered, shares[thread], shares[thread + 1])
                self._works.append(
                    Work(
                        **shared,
                        gradient=None,
                        scratch=rows(SEGMENT_ROWS),
                        loss=self.losses[thread],
                        group=group,
                        thread=thread,
                        n_threads=n_threads,
                        crew=crew,
                        n_crews=n_crews,
                        member=member,
                        members=members,
                        in_stages=len(cuts.forward),
                        out_stages=len(cuts.backward),
                        in_cuts=cuts.forward,
                        out_cuts=cuts.backward,
                        patches=share.patches,
                        n_patches=len(share.patches),
                        stretches=share.stretches,
                        n_stretches=len(share.stretches),
                        first_strip=share.strips[0],
                        last_strip=share.strips[1],
                        first_row=share.rows[0],
                        last_row=share.rows[1],
                        gradients=None,
                        losses=self.losses,
                        squares=squares,
                        barrier=self.barrier,
                        meetings=self.meetings[thread],
                        meet=compile_meet().address if n_threads > 1 else 0,
                        yield_address=yield_address(),
                        first=shares[thread],
                        last=shares[thread + 1],
                        cleared=holes,
                        n_cleared=len(holes),
                        first_cleared=cleared[member],
                        last_cleared=cleared[member + 1],
                        drop=0,
                        stays=None,
                        drop_key=None,
                        tick=0,
                        clock=0,
                        times=None,
                    )
                )
        self.frames = [pack(work) for work in self._works]
        self._learning: list[Frame] = []

    def learning(
        self, times: npt.NDArray[np.int64] | None = None, dropout: Dropout | None = None
    ) -> list[Frame]:
        """Return each thread's `Work` with a gradient, and what else is given."""
        if not self._learning:
            self.gradients = aligned((len(self.gradients), self._size), self.gradients.dtype)
            self._works = [
                work._replace(gradient=self.gradients[work.crew], gradients=self.gradients)
                for work in self._works
            ]
            self._learning = [pack(work) for work in self._works]
        if dropout is not None:
            drop = compiled(compile_drop, self.gradients.dtype).address
            dropping = {"drop": drop, "stays": dropout.stays, "drop_key": dropout.key}
            return [pack(work._replace(**dropping)) for work in self._works]
        if times is not None:
            ticks = {"tick": compile_tick().address, "clock": clock_address()}
            pairs = zip(self._works, times, strict=True)
            return [pack(work._replace(**ticks, times=row)) for work, row in pairs]
        return self._learning


def _shares(n: int, shares: int) -> list[int]:
    """Return where each share of n parameters begins, in whole blocks, and the end."""
    blocks = -(-n // int(BLOCK))
    return [min(n, blocks * k // shares * int(BLOCK)) for k in range(shares + 1)]


def new_clock(epochs: int, batch_size: int, shuffle: bool, seed: int) -> Clock:
    """Return the clock of a run that has not begun."""
    count = np.zeros(int(COUNTS), np.int64)
    count[LAST_EPOCH], count[BATCH_SIZE], count[SHUFFLE] = epochs, batch_size, shuffle
    count[LAST_UPDATE] = np.iinfo(np.int64).max
    random = np.array([seed, seed], np.uint64)
    return Clock(count, random, np.zeros(epochs), np.zeros(1), None)
