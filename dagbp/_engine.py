"""A plan with its parameters and buffers, and the calls that run kernels over it.

Arrays come in checked and leave by rows and slots; labels and options stay with `Network`.
"""

import ctypes
import os
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._data import Targets
from dagbp._kernels import run
from dagbp._kernels.records import ABORT, BARRIER_SIZE, COUNTS, Clock, Data, Loss, Net, Update, Work
from dagbp._kernels.vector import REGISTER_BYTES, tile_dtype
from dagbp._plan import Plan
from dagbp._team import available_cores, run_together

Array = npt.NDArray[Any]

# Four vector registers a row, and never less than two cache lines: `benchmarks/kernels.py`.
ROW_BYTES = max(128, 4 * REGISTER_BYTES)
CACHE_LINE = 64
# A second thread pays from about 50 us of work a step on: three barriers, and one more gradient.
EDGE_SAMPLES_FOR_THREADS = 400_000

NO_ORDER = np.empty(0, np.int64)
NO_WEIGHT = np.empty(0, np.float64)


class Record(NamedTuple):
    """Every node's values by row, (n, n_samples); `delta` has no rows without targets."""

    s: Array
    x: Array
    delta: Array


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


class Engine:
    """One network's arrays.

    Attributes
    ----------
    plan : Plan
    dtype : numpy.dtype
    values : (P,)
        Weights in out-edge order, then the biases of the computed nodes, then padding.
    w_in : (E,)
        The weights again, in in-edge order; equal to `values` after every public call.
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
        self._theta_names, self._theta = tuple(theta_names), theta
        self._rows: Array | None = None
        self.n_edges = len(plan.in_src)
        self.n_computed = len(plan.node) - plan.n_inputs
        self.values = aligned((self.padded(self.n_edges + self.n_computed),), dtype)
        self.w_in = aligned((self.n_edges,), dtype)
        self.trained = np.zeros(len(self.values), np.bool_)
        self.trained[: len(trained)] = trained
        self._in_slot = np.empty_like(plan.out_slot)
        self._in_slot[plan.out_slot] = np.arange(self.n_edges)
        self._work: Work | None = None

    @staticmethod
    def padded(n: int) -> int:
        """Return n rounded up to whole cache lines of either precision."""
        return -(-n // 16) * 16

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a process: addresses and buffers."""
        return {**self.__dict__, "_rows": None, "_work": None}

    # --- parameters ---

    def parameters(self) -> Array:
        """Return a flat copy: weights in CSR order, then the biases of the computed nodes."""
        return self.flat(self.values)

    def flat(self, values: Array) -> Array:
        """Return an array laid out like `values` in the order of `parameters`."""
        weights, biases = values[: self.n_edges], values[self.n_edges :][: self.n_computed]
        return np.concatenate([weights[self._in_slot], biases])

    def set_parameters(self, flat: Array) -> None:
        """Take over what `parameters` returned."""
        self.w_in[:] = flat[: self.n_edges]
        self.values[: self.n_edges] = self.w_in[self.plan.out_slot]
        self.values[self.n_edges :][: self.n_computed] = flat[self.n_edges :]

    # --- what kernels receive ---

    def _net(self) -> Net:
        rows, plan = self._addresses(), self.plan
        return Net(
            plan.n_inputs,
            plan.in_ptr,
            plan.in_src,
            self._in_slot,
            plan.out_ptr,
            plan.out_dst,
            plan.outputs,
            plan.output_slot,
            rows[0],
            rows[1],
            self.values,
            self.w_in,
        )

    def _addresses(self) -> Array:
        """Return the addresses of each row's activation and its derivative, (2, n), once."""
        if self._rows is None:
            pairs = [activations.addresses(name, self.dtype) for name in self._theta_names]
            table = np.array(pairs, np.uintp).reshape(-1, 2)
            self._rows = np.ascontiguousarray(table[self._theta].T)
        return self._rows

    def _buffers(self, n_threads: int, gradients: bool) -> Work:
        """Return tiles for so many threads, kept from call to call: fresh pages cost faults."""
        tile = tile_dtype(self.dtype, ROW_BYTES)
        work = self._work
        if work is None or len(work.x) < n_threads:
            n, n_outputs = len(self.plan.node), len(self.plan.outputs)
            work = Work(
                x=aligned((n_threads, n), tile),
                d=aligned((n_threads, n), tile),
                out=aligned((n_threads, n_outputs), tile),
                y=aligned((n_threads, n_outputs), tile),
                e=aligned((n_threads, n_outputs), tile),
                row=aligned((n_threads, 3), tile),
                gradient=np.zeros((0, 0), self.dtype),
                loss=np.zeros((n_threads, 8)),
            )
        if gradients and len(work.gradient) < n_threads:
            work = work._replace(gradient=aligned((n_threads, len(self.values)), self.dtype))
        self._work = work
        return work

    def release(self) -> None:
        """Give the buffers back; the next call allocates them anew."""
        self._work = None

    @property
    def lanes(self) -> int:
        """Samples in a tile."""
        return ROW_BYTES // self.dtype.itemsize

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
        tiles = (2 * n + 3 * n_outputs + 3) * ROW_BYTES
        return n_threads * (tiles + len(self.values) * self.dtype.itemsize)

    # --- calls ---

    def predict(self, X: Array, limit: int | None) -> Array:
        """Return the outputs (N, n_outputs)."""
        out = np.empty((len(X), len(self.plan.outputs)), self.dtype)
        n_threads = self.threads_for(len(X), limit)
        work = self._buffers(n_threads, gradients=False)
        _run_all(n_threads, run.predict, self._net(), self._data(X), work, out)
        return out

    def inspect(self, X: Array, targets: Targets | None, loss: Loss | None) -> Record:
        """Return s and x of every node and sample, and the deltas if there are targets."""
        shape = len(self.plan.node), len(X)
        record = Record(*(np.zeros(shape, self.dtype) for _ in range(2)), self._no_delta())
        work = self._buffers(1, gradients=True)
        if targets is None or loss is None:
            loss, data = Loss(0, NO_WEIGHT), self._data(X)
        else:
            record = record._replace(delta=np.zeros(shape, self.dtype))
            data = self._data(X, targets)
        run.inspect(self._net(), data, loss, work, *record, 0, 1)
        work.gradient[:] = 0
        return record

    def evaluate(
        self, X: Array, targets: Targets, loss: Loss, weight: Array, limit: int | None
    ) -> float:
        """Return the mean loss."""
        n_threads = self.threads_for(len(X), limit)
        work = self._buffers(n_threads, gradients=True)
        _run_all(n_threads, run.evaluate, self._net(), self._data(X, targets, weight), loss, work)
        return float(work.loss[:n_threads, 0].sum())

    def differentiate(
        self, X: Array, targets: Targets, loss: Loss, weight: Array, limit: int | None
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient by every parameter, laid out like `values`."""
        n_threads = self.threads_for(len(X), limit)
        work = self._buffers(n_threads, gradients=True)
        work.gradient[:] = 0
        data = self._data(X, targets, weight)
        _run_all(n_threads, run.differentiate, self._net(), data, loss, work)
        gradient = work.gradient[:n_threads].sum(axis=0)
        work.gradient[:] = 0
        return float(work.loss[:n_threads, 0].sum()), gradient

    def train(
        self, data: Data, loss: Loss, update: Update, clock: Clock, n_threads: int, watch: Any
    ) -> None:
        """Advance the clock to its last epoch, or to where an exception or a bad loss stops it."""
        work = self._buffers(n_threads, gradients=True)
        work.gradient[:] = 0
        clock.barrier[:] = 0
        net = self._net()
        calls = [
            partial(run.train, net, data, loss, update, work, clock, t, n_threads)
            for t in range(n_threads)
        ]
        run_together(calls, stop=partial(clock.barrier.__setitem__, ABORT, 1), watch=watch)

    def runs(self) -> npt.NDArray[np.int64]:
        """Return the stretches [first, last) of `values` that train, shape (R, 2)."""
        edges = np.diff(np.concatenate([[0], self.trained.astype(np.int8), [0]]))
        return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])

    def _data(self, X: Array, targets: Targets | None = None, weight: Array = NO_WEIGHT) -> Data:
        if targets is None:
            targets = Targets(np.empty((0, 0), self.dtype), NO_ORDER)
        return Data(X, targets.values, targets.labels, weight, NO_ORDER)

    def _no_delta(self) -> Array:
        return np.empty((0, 0), self.dtype)


def new_clock(epochs: int, batch_size: int, shuffle: bool, seed: int) -> Clock:
    """Return the clock of a run that has not begun."""
    from dagbp._kernels.records import BATCH_SIZE, LAST_EPOCH, SHUFFLE

    count = np.zeros(COUNTS, np.int64)
    count[LAST_EPOCH], count[BATCH_SIZE], count[SHUFFLE] = epochs, batch_size, shuffle
    barrier = aligned((BARRIER_SIZE,), np.int64)
    return Clock(count, np.array([seed], np.uint64), np.zeros(epochs), barrier, yield_address())


def _run_all(n_threads: int, kernel: Any, *args: Any) -> None:
    """Call the kernel once for each thread; here, if there is but one."""
    if n_threads == 1:
        kernel(*args, 0, 1)
    else:
        run_together([partial(kernel, *args, t, n_threads) for t in range(n_threads)])
