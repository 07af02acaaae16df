"""A plan with its parameters and buffers, and the calls that run kernels over it.

Arrays come in checked and leave by rows and slots; labels and options stay with `Network`.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._data import Problem, Targets
from dagbp._forking import ForkSafeLock
from dagbp._kernels import run
from dagbp._kernels.dense import compile_panels
from dagbp._kernels.parts import compile_parts
from dagbp._kernels.records import (
    ABORT,
    BARRIER_SIZE,
    BATCH_SIZE,
    BROKEN,
    COUNTS,
    LAST_EPOCH,
    LOSS_COLUMNS,
    N_ROWS,
    SHUFFLE,
    STOP,
    VALUE,
    Clock,
    Data,
    Loss,
    Net,
    Result,
    Update,
    Work,
    pack,
)
from dagbp._kernels.vector import PANEL_ROWS, REGISTER_BYTES, tile_dtype
from dagbp._panels import Panels, columns, in_panels, out_panels
from dagbp._plan import Plan
from dagbp._team import available_cores, run_together

Array = npt.NDArray[Any]
Frame = npt.NDArray[np.uint64]

# Four vector registers a row, and never less than two cache lines: `benchmarks/training_step.py`.
ROW_BYTES: int = max(128, 4 * REGISTER_BYTES)
CACHE_LINE = 64
# A second thread pays from about 50 us of work a step on: three barriers, and one more gradient.
EDGE_SAMPLES_FOR_THREADS = 400_000

NO_LOSS = Loss(0, None)


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


def _parts(dtype: np.dtype[Any]) -> list[int]:
    """Return the addresses of the work on one tile."""
    return [part.address for part in _compiled(compile_parts, dtype)]


def _dense(dtype: np.dtype[Any]) -> list[int]:
    """Return the addresses of the work on dense panels."""
    return [part.address for part in _compiled(compile_panels, dtype)]


_compiling = ForkSafeLock()


def _compiled(function: Any, dtype: np.dtype[Any]) -> Any:
    with _compiling:
        return _compile_once(function, dtype)


@cache  # for good: addresses must outlive the networks that hold them
def _compile_once(function: Any, dtype: np.dtype[Any]) -> Any:
    return function(dtype, ROW_BYTES)


class Engine:
    """One network's arrays.

    Attributes
    ----------
    plan : Plan
    dtype : numpy.dtype
    values : (P,)
        Weights in out-edge order, then the biases of the computed nodes, then padding.
    flat : (E + n_computed,)
        The same in the user's order, the weights by in-edge; equal after every public call.
    trained : bool (P,)
        Which parameters `train` may change.
    """

    def __init__(
        self,
        plan: Plan,
        theta_names: Sequence[str],
        theta: npt.NDArray[np.int64],
        trained: npt.NDArray[np.bool_],
        dtype: np.dtype[Any],
    ) -> None:
        self.plan, self.dtype = plan, dtype
        # Records, not names: a network keeps what it was made with when a name is overwritten.
        self._activations = [activations.get(name) for name in theta_names]
        self._theta = theta
        self._rows: Array | None = None
        self._panels: tuple[Panels, Panels] | None = None
        self._columns: npt.NDArray[np.int64] | None = None
        self._kind = np.empty(0, tile_dtype(dtype, ROW_BYTES))
        self.n_edges = len(plan.in_src)
        self.n_computed = len(plan.node) - plan.n_inputs
        self.values = aligned((self.padded(self.n_edges + self.n_computed),), dtype)
        self.flat = aligned((self.n_edges + self.n_computed,), dtype)
        self.trained = np.zeros(len(self.values), np.bool_)
        self.trained[: len(trained)] = trained
        self._in_slot = np.empty(self.n_edges, np.int64)
        self._in_slot[plan.out_slot] = np.arange(self.n_edges)
        self._work: list[Work] = []
        self._gradients = np.empty((0, len(self.values)), dtype)

    @staticmethod
    def padded(n: int) -> int:
        """Return n rounded up to whole cache lines of either precision."""
        return -(-n // 16) * 16

    # --- parameters ---

    def parameters(self) -> Array:
        """Return a flat copy: weights in CSR order, then the biases of the computed nodes."""
        return self.flat.copy()

    def in_user_order(self, values: Array) -> Array:
        """Return an array laid out like `values` in the order of `parameters`."""
        weights, biases = values[: self.n_edges], values[self.n_edges :][: self.n_computed]
        return np.concatenate([weights[self._in_slot], biases])

    def set_parameters(self, flat: Array) -> None:
        """Take over what `parameters` returned."""
        self.flat[:] = flat
        self.values[: self.n_edges] = flat[self.plan.out_slot]
        self.values[self.n_edges :][: self.n_computed] = flat[self.n_edges :]

    # --- what kernels receive ---

    def _net(self) -> Frame:
        rows, plan = self._addresses(), self.plan
        read, learn = _parts(self.dtype)
        ins, outs = self.panels()
        dense = _dense(self.dtype) if ins.n_edges or outs.n_edges else [0] * 4
        return pack(
            Net(
                n_nodes=len(plan.node),
                n_inputs=plan.n_inputs,
                n_edges=self.n_edges,
                n_outputs=len(plan.outputs),
                n_values=len(self.values),
                in_ptr=plan.in_ptr,
                in_src=plan.in_src,
                in_slot=self._in_slot,
                out_ptr=plan.out_ptr,
                out_dst=plan.out_dst,
                out_slot=plan.out_slot,
                outputs=plan.outputs,
                output_slot=plan.output_slot,
                theta=rows[0],
                d_theta=rows[1],
                panel_sums=dense[0],
                outer_products=dense[1],
                transpose_row=dense[2],
                copy_panel=dense[3],
                read=read,
                learn=learn,
                values=self.values,
                flat=self.flat,
                in_panel=ins.of_row,
                in_runs=ins.program,
                out_panel=outs.of_row,
                out_runs=outs.program,
                column=self._column(),
                stride=self._stride,
            )
        )

    def _addresses(self) -> Array:
        """Return the addresses of each row's activation and its derivative, (2, n), once."""
        if self._rows is None:
            pairs = [activations.addresses(one, self.dtype) for one in self._activations]
            table = np.array(pairs, np.uintp).reshape(-1, 2)
            self._rows = np.ascontiguousarray(table[self._theta].T)
        return self._rows

    def panels(self) -> tuple[Panels, Panels]:
        """Return the dense panels of the forward and of the backward pass, found once."""
        if self._panels is None:
            chunk = CACHE_LINE // int(self.dtype.itemsize)
            self._panels = in_panels(self.plan), out_panels(self.plan, chunk)
        return self._panels

    def _column(self) -> npt.NDArray[np.int64]:
        """Return which rows' deltas the dense panels want by sample."""
        if self._columns is None:
            self._columns = columns(self.panels()[1], len(self.plan.node))
        return self._columns

    @property
    def _stride(self) -> int:
        """Nodes in a row of the transposed deltas: an odd number of cache lines, or none."""
        if self.panels()[1].n_edges == 0:
            return 0
        lines = -(-len(self.plan.node) * self.dtype.itemsize // CACHE_LINE) | 1
        return lines * CACHE_LINE // int(self.dtype.itemsize)

    def _buffers(self, n_threads: int, gradients: bool) -> list[Work]:
        """Return each thread's buffers, kept from call to call: fresh pages cost faults."""
        n, n_outputs, rows = len(self.plan.node), len(self.plan.outputs), self._kind.dtype
        while len(self._work) < n_threads:
            self._work.append(
                Work(
                    x=aligned((n,), rows),
                    d=aligned((n,), rows),
                    out=aligned((n_outputs,), rows),
                    y=aligned((n_outputs,), rows),
                    e=aligned((n_outputs,), rows),
                    row=aligned((N_ROWS,), rows),
                    scratch=aligned((PANEL_ROWS,), rows),
                    transposed=aligned((self.lanes, self._stride), self.dtype),
                    gradient=None,
                    loss=None,
                    gradients=None,
                    losses=None,
                )
            )
        if gradients and len(self._gradients) < n_threads:
            self._gradients = aligned((n_threads, len(self.values)), self.dtype)
        losses = aligned((n_threads, LOSS_COLUMNS), np.float64)
        shared = {"losses": losses, "gradients": self._gradients}
        return [
            work._replace(
                loss=losses[t], gradient=self._gradients[t] if gradients else None, **shared
            )
            for t, work in enumerate(self._work[:n_threads])
        ]

    def release(self) -> None:
        """Give the buffers back."""
        self._work = []
        self._gradients = np.empty((0, len(self.values)), self.dtype)

    @property
    def lanes(self) -> int:
        """Samples in a tile."""
        return ROW_BYTES // int(self.dtype.itemsize)

    def threads_for(self, n_samples: int, limit: int | None) -> int:
        """Return how many threads a batch keeps busy, at most `limit` (default: the cores)."""
        tiles = -(-n_samples // self.lanes)
        if limit is None:
            worth = n_samples * max(self.n_edges, 1) // EDGE_SAMPLES_FOR_THREADS
            limit = min(available_cores(), max(1, worth))
        return max(1, min(limit, tiles))

    def step_bytes(self, n_threads: int) -> int:
        """Return the bytes of tiles and gradients of a step with so many threads."""
        n, n_outputs = len(self.plan.node), len(self.plan.outputs)
        rows = 2 * n + 3 * n_outputs + N_ROWS + PANEL_ROWS
        tiles = rows * ROW_BYTES + self.lanes * self._stride * int(self.dtype.itemsize)
        return n_threads * (tiles + int(self.values.nbytes))

    # --- calls ---

    def predict(self, X: Array, limit: int | None) -> Array:
        """Return the outputs (N, n_outputs)."""
        out = np.empty((len(X), len(self.plan.outputs)), self.dtype)
        works = self._buffers(self.threads_for(len(X), limit), gradients=False)
        frames = self._net(), pack(self._samples(X))
        target = pack(Result(None, out, None))
        self._run_all(run.predict, frames, works, target)
        return out

    def inspect(self, X: Array, targets: Targets | None, loss: Loss) -> Record:
        """Return s and x of every node and sample, and the deltas if there are targets."""
        back = targets is not None
        values = np.zeros((2 + back, len(self.plan.node), len(X)), self.dtype)
        record = Record(values[0], values[1], values[2] if back else None)
        (work,) = self._buffers(1, gradients=True)
        frames = pack(self._samples(X, targets)), pack(loss), pack(work), pack(Result(*record))
        run.inspect(self._kind, self._net(), *frames, back)
        return record

    def evaluate(self, problem: Problem, limit: int | None) -> float:
        """Return the mean loss."""
        return self._evaluate(problem, limit, back=False)[0]

    def differentiate(self, problem: Problem, limit: int | None) -> tuple[float, Array]:
        """Return the mean loss and its gradient by every parameter, laid out like `values`."""
        value, gradients = self._evaluate(problem, limit, back=True)
        return value, gradients.sum(axis=0)

    def _evaluate(self, problem: Problem, limit: int | None, back: bool) -> tuple[float, Array]:
        n_threads = self.threads_for(len(problem.features), limit)
        works = self._buffers(n_threads, gradients=back)
        data = self._samples(problem.features, problem.targets, problem.weight)
        frames = self._net(), pack(data), pack(problem.loss)
        self._run_all(run.evaluate, frames, works, back)
        return float(works[0].losses[:, VALUE].sum()), self._gradients[:n_threads]

    def train(
        self,
        problem: Problem,
        order: npt.NDArray[np.int64],
        update: Update,
        clock: Clock,
        n_threads: int,
        watch: Callable[[], None],
    ) -> None:
        """Advance the clock to its last epoch, or to where an exception or a bad loss stops it."""
        works = self._buffers(n_threads, gradients=True)
        data = self._samples(problem.features, problem.targets, problem.weight, order)
        clock.barrier[:] = 0
        before = self._net(), pack(data), pack(problem.loss), pack(update)
        calls = [
            partial(run.train, self._kind, *before, pack(work), pack(clock), t, n_threads)
            for t, work in enumerate(works)
        ]

        def stop(failed: bool) -> None:
            clock.barrier[ABORT] = BROKEN if failed else STOP

        run_together(calls, stop=stop, watch=watch)

    def _run_all(
        self, kernel: Any, frames: tuple[Frame, ...], works: list[Work], *args: Any
    ) -> None:
        """Call the kernel once for each thread; here, if there is but one."""
        n_threads = len(works)
        calls = [
            partial(kernel, self._kind, *frames, pack(work), *args, t, n_threads)
            for t, work in enumerate(works)
        ]
        if n_threads == 1:
            calls[0]()
        else:
            run_together(calls)

    def runs(self) -> npt.NDArray[np.int64]:
        """Return the stretches [first, last) of `values` that train, shape (R, 2)."""
        edges = np.diff(np.concatenate([[0], self.trained.astype(np.int8), [0]]))
        return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])

    def _samples(
        self,
        X: Array,
        targets: Targets | None = None,
        weight: Array | None = None,
        order: npt.NDArray[np.int64] | None = None,
    ) -> Data:
        """Return samples as kernels take them."""
        labels = None if targets is None else targets.labels
        return Data(
            n_samples=len(X),
            n_inputs=self.plan.n_inputs,
            n_outputs=len(self.plan.outputs),
            features=X,
            targets=None if targets is None else targets.values,
            has_labels=labels is not None,
            labels=labels,
            has_weight=weight is not None,
            weight=weight,
            has_order=order is not None,
            order=order,
        )


def new_clock(epochs: int, batch_size: int, shuffle: bool, seed: int) -> Clock:
    """Return the clock of a run that has not begun."""
    count = np.zeros(COUNTS, np.int64)
    count[LAST_EPOCH], count[BATCH_SIZE], count[SHUFFLE] = epochs, batch_size, shuffle
    barrier = aligned((BARRIER_SIZE,), np.int64)
    return Clock(count, np.array([seed], np.uint64), np.zeros(epochs), barrier, yield_address())
