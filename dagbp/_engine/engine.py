"""The CPU engine: one network's arrays, and the calls that run compiled code over them.

Arrays come in checked, and results are by row and slot of the plan; the public classes hold labels
and options. `operations` has the table of the calls, `packing` the frames that kernels receive,
`tile_plan` the choice of tiles and threads, `buffers` the arrays that threads write, and
`single_sample` the path of one sample outside of tiles.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._data.arrays import Targets
from dagbp._data.features import Features
from dagbp._data.problem import Problem
from dagbp._engine import operations
from dagbp._engine.buffers import Buffers, Dropout, step_bytes
from dagbp._engine.clock import Clock
from dagbp._engine.operations import Operation
from dagbp._engine.optimizer_state import Update
from dagbp._engine.packing import NetPacker, SamplePacker
from dagbp._engine.parameters import Parameters
from dagbp._engine.protocol import NodeValues
from dagbp._engine.single_sample import SingleSample
from dagbp._engine.tile_plan import TilePlan, TilePlanner
from dagbp._engine.workers import run_together
from dagbp._kernels.formulas.update import reduce
from dagbp._kernels.frames import ABORT, BROKEN, STOP, VALUE, LossFrame, ResultFrame, address, pack
from dagbp._kernels.signatures import CKernel
from dagbp._layout.layout import Layout
from dagbp._memory import require
from dagbp._plan.plan import Plan
from dagbp.losses import Loss

Array = npt.NDArray[Any]

LARGE = 2**26  # bytes; the check of memory takes longer than a small prediction


class _Prepared(NamedTuple):
    """The calls of one operation, one for each thread, and the objects with addresses in them."""

    calls: list[partial[None]]
    buffers: Buffers
    used: tuple[Any, ...]  # must live until the calls end


def _run(prepared: _Prepared, watch: Callable[[], object] | None = None) -> Buffers:
    """Make each call on a thread of its own; on this thread if there is one call and no `watch`."""
    calls, buffers, _ = prepared
    buffers.barrier[:] = 0
    buffers.arrivals[:] = 0
    if len(calls) == 1 and watch is None:
        calls[0]()
        return buffers

    def stop(failed: bool) -> None:
        buffers.barrier[ABORT] = BROKEN if failed else STOP

    def look() -> None:
        if watch is not None and watch():
            stop(False)

    run_together(calls, stop=stop, watch=look)
    return buffers


def _mean_loss(buffers: Buffers) -> float:
    return float(sum(buffers.losses[:, VALUE].tolist()))


class CpuEngine:
    """Runs batches with compiled kernels (see `Engine`). Buffers are kept, up to `kept_bytes`."""

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
        self.plan, self.dtype, self.kept_bytes = plan, dtype, 2**26
        # Records, not names: a network keeps its functions when a name is registered again.
        self.activations = [activations.get(name) for name in theta_names]
        users = np.array([not one.builtin for one in self.activations], np.bool_)[theta]
        self.layout = Layout(plan, theta, users, dtype, dense_above)
        self.tile_planner = TilePlanner(self.layout, strategy)
        self.n_edges = len(plan.in_src)
        self.n_computed = len(plan.node) - plan.n_inputs
        self.parameters = Parameters(self.layout, self.n_edges, trained, dtype)
        self._nets = NetPacker(self.layout, self.parameters, self.activations, theta)
        self._samples = SamplePacker(plan, dtype)
        self._users = users
        self._buffers: dict[TilePlan, Buffers] = {}
        self._entries: dict[CKernel, Callable[..., None]] = {}
        self._single: SingleSample | None = None

    # --- calls ---

    def predict(self, X: Features, max_threads: int | None) -> Array:
        """Return the outputs (n_samples, n_outputs)."""
        if self._is_single(X, max_threads, back=False):
            return self._single_sample().predict(X.values)
        size = len(X) * len(self.plan.outputs) * self.dtype.itemsize
        if size > LARGE:
            require(size, f"the predictions for {len(X):,} samples")
        tile_plan = self.tile_planner.choose(len(X), max_threads, back=False)
        results = self._new_results(operations.PREDICT, len(X))
        before = (self._samples.record(X),)
        _run(self._prepare(operations.PREDICT, tile_plan, before, ResultFrame(**results)))
        return results["x"]

    def inspect(
        self, X: Features, *, targets: Targets | None = None, loss: Loss | None = None
    ) -> NodeValues:
        """Return s and x of every node and sample, and with targets and a loss the deltas."""
        operation = operations.FORWARD if loss is None else operations.BACKPROP
        n_values = len(operation.results) * len(self.plan.node) * len(X)
        require(n_values * self.dtype.itemsize, f"every node's values for {len(X):,} samples")
        tile_plan = self.tile_planner.choose(len(X), 1)._replace(group=1)
        results = self._new_results(operation, len(X))
        row = LossFrame(0, None) if loss is None else loss.row(self.dtype)
        before = self._samples.record(X, targets), row
        _run(self._prepare(operation, tile_plan, before, ResultFrame(**results)))
        return NodeValues(results["s"], results["x"], results.get("delta"))

    def evaluate(self, problem: Problem, max_threads: int | None) -> float:
        """Return the mean loss."""
        if self._is_single(problem.features, max_threads, back=False):
            return self._single_sample().evaluate(problem)
        return _mean_loss(self._evaluate(operations.EVALUATE, problem, max_threads))

    def differentiate(self, problem: Problem, max_threads: int | None) -> tuple[float, Array]:
        """Return the mean loss and its gradient, in the user's order."""
        if self._is_single(problem.features, max_threads, back=True):
            return self._single_sample().differentiate(problem)
        buffers = self._evaluate(operations.DIFFERENTIATE, problem, max_threads)
        gradients = buffers.gradients()
        n_teams, stride = gradients.shape
        if n_teams > 1:
            add = reduce.call_from_python(self.dtype)
            add(address(gradients), None, stride, 0, stride, n_teams)
        n_threads = self.tile_planner.choose(len(problem.features), max_threads).n_threads
        return _mean_loss(buffers), self.parameters.to_user_order(gradients[0], n_threads)

    def _evaluate(self, operation: Operation, problem: Problem, max_threads: int | None) -> Buffers:
        back = operation.gradient
        tile_plan = self.tile_planner.choose(len(problem.features), max_threads, back)
        samples = self._samples.record(problem.features, problem.targets, problem.weight)
        before = samples, problem.loss.row(self.dtype)
        return _run(self._prepare(operation, tile_plan, before))

    def train(
        self,
        problem: Problem,
        order: npt.NDArray[np.int64] | None,
        update: Update,
        clock: Clock,
        *,
        max_threads: int | None = None,
        watch: Callable[[], object] | None = None,
        dropout: Dropout | None = None,
        times: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Take training steps, see `Engine.train`. An update that is not finite is undone."""
        tile_plan = self.tile_planner.choose(clock.batch_size, max_threads)
        loss = problem.loss.row(self.dtype)
        samples = self._samples.record(problem.features, problem.targets, problem.weight, order)
        rule = update.frame
        if tile_plan.n_teams > 1 or rule.trained is not None:
            rule = rule._replace(reduce=reduce.compiled(self.dtype))
        before, after = (samples, loss, rule), clock.frame()
        prepared = self._prepare(operations.TRAIN, tile_plan, before, after, dropout, times)
        try:
            with self.parameters.updated(self._nets.by_source_block(tile_plan.row_bytes)):
                _run(prepared, watch)
        finally:  # an interrupt may come during a step that diverges
            if clock.diverged:
                self.parameters.undo()

    # --- one call into compiled code ---

    def _prepare(
        self,
        operation: Operation,
        tile_plan: TilePlan,
        before: tuple[tuple[Any, ...], ...],
        after: tuple[Any, ...] | None = None,
        dropout: Dropout | None = None,
        times: npt.NDArray[np.int64] | None = None,
    ) -> _Prepared:
        """Return a call of the operation's entry point for each thread.

        `before` and `after` are the arguments of the entry point before and after the thread's
        WorkFrame.
        """
        signals = operation.signals or dropout is not None
        buffers = self._buffers_of(tile_plan, signals or self._nets.stores_signals)
        if operation.gradient:
            buffers.gradients()
        works = buffers.frames(dropout, times)
        net = self._nets.frame(operation, tile_plan.row_bytes, signals)
        frames = [net, *[pack(record, self.dtype) for record in before]]
        first = [None, *[frame.buffer_info()[0] for frame in frames]]
        last = [] if operation.back is None else [operation.back]
        if after is not None:
            frames.append(pack(after, self.dtype))
            last.insert(0, frames[-1].buffer_info()[0])
        entry = self._entry(operation.entry)
        calls = [partial(entry, *first, work.buffer_info()[0], *last) for work in works]
        return _Prepared(calls, buffers, (before, after, frames, works))

    def _entry(self, kernel: CKernel) -> Callable[..., None]:
        """Return an entry point as a function of addresses and numbers."""
        if kernel not in self._entries:
            self._entries[kernel] = kernel.call_from_python(self.dtype)
        return self._entries[kernel]

    def _new_results(self, operation: Operation, n_samples: int) -> dict[str, Array]:
        plan = self.plan
        return operation.new_results(len(plan.node), n_samples, len(plan.outputs), self.dtype)

    # --- one sample outside of tiles ---

    def _is_single(self, X: Features, max_threads: int | None, back: bool) -> bool:
        """Return whether X is one sample and faster outside of tiles."""
        return len(X) == 1 and X.direct and self.tile_planner.single(max_threads, back)

    def _single_sample(self) -> SingleSample:
        """Return the arrays of one sample, kept from call to call, with the current parameters."""
        if self._single is None:
            net, places = self._nets.for_single_sample(), self._samples.places
            more = self._users, places, self.dtype
            self._single = SingleSample(self.plan, self.layout, net, *more)
        self.parameters.catch_up()
        return self._single

    # --- memory ---

    def _buffers_of(self, tile_plan: TilePlan, signals: bool) -> Buffers:
        """Return a tile plan's buffers, kept from call to call, as new pages cost page faults.

        Training steps and validation may alternate, so buffers of several plans are kept as long as
        they are small together. signals: whether every node's signal is stored.
        """
        if tile_plan not in self._buffers:
            sizes = [
                self.step_bytes(one, kept.stores_signals) for one, kept in self._buffers.items()
            ]
            if sum(sizes) + self.step_bytes(tile_plan) > self.kept_bytes:
                self._buffers = {}
            require(self.step_bytes(tile_plan, signals), "a step's tiles and gradients")
            n_values, cuts = len(self.parameters.by_source), self.tile_planner.cuts(tile_plan)
            by_source_block = self._nets.by_source_block(tile_plan.row_bytes)
            self._buffers[tile_plan] = Buffers(
                self.layout, self.dtype, n_values, tile_plan, cuts, by_source_block
            )
            if signals:
                self._buffers[tile_plan].store_signals()
        buffers = self._buffers[tile_plan]
        if signals and not buffers.stores_signals:
            more = self.step_bytes(tile_plan, True) - self.step_bytes(tile_plan)
            require(more, "the signals of a step's tiles")
            buffers.store_signals()
        return buffers

    def step_bytes(self, tile_plan: TilePlan, signals: bool = False) -> int:
        """Return the bytes of tiles and gradients in a step, and of all signals if stored."""
        stored = signals or self._nets.stores_signals
        return step_bytes(self.layout, tile_plan, len(self.parameters.by_source), stored)

    def network_bytes(self) -> int:
        """Return the bytes of the plan, its layout and the parameters."""
        arrays: list[Array] = [*self.plan[:-1], *self.layout.arrays(), *self.parameters.arrays()]
        return sum({id(array): array.nbytes for array in arrays}.values())

    def release(self) -> None:
        """Free the buffers."""
        self._buffers, self._single = {}, None
