"""Training runs: options checked, steps handed to the kernels, callbacks told, state kept.

A *source* takes the steps: `Minibatches` of arrays, whole epochs inside compiled code, or the
`Batches` of a stream. `Run` decides how far the source may go before Python has something to do.
"""

import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dagbp._buffers import Dropout, aligned, new_clock
from dagbp._engine import Engine
from dagbp._errors import CallbackError, DagbpError, DivergenceError, OptionError
from dagbp._features import Problem
from dagbp._history import MAX_EPOCHS, CallbackState, History, TrainingState
from dagbp._initialise import generator
from dagbp._jit import compiled
from dagbp._kernels import restraint
from dagbp._kernels.records import (
    AGAIN,
    DIVERGED,
    EPOCH,
    EPOCH_BEGAN,
    FIRST_RATE,
    LAST_EPOCH,
    LAST_UPDATE,
    NOW,
    RATE,
    SEED,
    SHUFFLE,
    STATUS,
    STEP,
    UPDATES,
    Clock,
    Update,
)
from dagbp._kernels.restraint import compile_restraint
from dagbp._kernels.update import BLOCK
from dagbp._memory import require
from dagbp._numbers import is_number
from dagbp._regularisation import Regularisation
from dagbp._version import __version__
from dagbp.callbacks import Callback, Progress, Schedule
from dagbp.losses import Loss
from dagbp.optimizers import SGD, Optimizer

if TYPE_CHECKING:
    from dagbp._network import Network

Array = npt.NDArray[Any]

RATES_AT_ONCE = 2**16  # learning rates that are computed ahead
NEVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Options:
    """How to train; checked when made.

    resume: False; True, to go on with the last run; or "optimizer", to keep its optimizer's state.
    """

    epochs: int
    verbose: int
    callbacks: Sequence[Callback]
    regularisation: Regularisation
    resume: bool | str
    optimizer: Optimizer = field(default_factory=SGD)
    loss: Loss | None = None

    def __post_init__(self) -> None:
        """Check the numbers that size loops."""
        check_whole("epochs", self.epochs, 0, MAX_EPOCHS)
        if not isinstance(self.verbose, (bool, np.bool_, int, np.integer)):
            raise OptionError(f"verbose must be a whole number, got {self.verbose!r}")
        if not isinstance(self.callbacks, (list, tuple)):
            raise OptionError(f"callbacks must be a list of callbacks, got {self.callbacks!r}")
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise OptionError(
                    f"callbacks must be of dagbp.callbacks.Callback, got {callback!r} in the list"
                )
            if callback.every is not None:
                check_whole(f"{type(callback).__name__}.every", callback.every, 1)
        if not (isinstance(self.resume, (bool, np.bool_)) or self.resume == "optimizer"):
            raise OptionError(f"resume must be True, False or 'optimizer', got {self.resume!r}")


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number in a range."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        limit = "" if most is None else f" and <= {most:,}"
        raise OptionError(f"{name} must be a whole number >= {least}{limit}, got {value!r}")


def start(
    engine: Engine,
    optimizer: Optimizer,
    regularisation: Regularisation | None = None,
    moments: Array | None = None,
) -> Update:
    """Return the optimizer with a fresh state, or with `moments`, and what restrains it."""
    n_values = len(engine.parameters.values)
    if moments is None:
        require(optimizer.slots * engine.parameters.values.nbytes, f"the state of {optimizer!r}")
        moments = aligned((optimizer.slots, n_values), engine.dtype)
    runs = engine.parameters.runs
    given = Regularisation() if regularisation is None else regularisation
    limits = optimizer.clips()
    prepare: Any = 0
    constrain: Any = 0
    if given.l1 is not None or limits is not None:
        prepare = compiled(compile_restraint, restraint.prepare, engine.dtype)
    if given.most is not None:
        constrain = compiled(compile_restraint, restraint.constrain, engine.dtype)
    n_blocks = n_values // int(BLOCK) + 1
    return Update(
        address=optimizer.row(engine.dtype),
        hyper=optimizer.hyper(),
        state=moments,
        n_runs=len(runs),
        runs=runs,
        keep=engine.parameters.keep,
        reduce=0,
        prepare=prepare,
        limits=limits,
        l1=_by_parameter(engine, given.l1),
        l2=_by_parameter(engine, given.l2),
        penalties=None if given.l1 is None else np.zeros(n_blocks),
        constrain=constrain,
        most=given.most,
    )


def _by_parameter(engine: Engine, values: npt.NDArray[np.float64] | None) -> Array | None:
    return None if values is None else engine.parameters.by_parameter(values.astype(engine.dtype))


class Source(ABC):
    """Where steps come from.

    Attributes
    ----------
    clock : Clock
        Epochs, steps and updates so far.
    steps_per_epoch : int or None
        None where nobody knows before the end of an epoch.
    one_by_one : bool
        Whether it hands back after each step.
    """

    clock: Clock
    steps_per_epoch: int | None
    one_by_one: bool

    @abstractmethod
    def advance(self, run: "Run") -> None:
        """Take steps up to the clock's last epoch and update, or to where `run.watch` stops it."""

    @abstractmethod
    def state(self) -> tuple[float, float]:
        """Return the loss and the weight of the epoch in progress, as `TrainingState` has them."""

    @abstractmethod
    def config(self) -> dict[str, str]:
        """Return what a resumed run must have in common with the first one."""

    @abstractmethod
    def resume(self, state: TrainingState) -> None:
        """Set the clock to where a state stands."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; the run has ended."""


class Minibatches(Source):
    """Shuffled minibatches of arrays; the kernels go through whole epochs by themselves."""

    one_by_one = False

    def __init__(
        self, problem: Problem, batch_size: int, shuffle: bool, epochs: int, seed: Any
    ) -> None:
        self.seed = str(seed) if seed is None or isinstance(seed, int) else "a generator"
        check_whole("batch_size", batch_size, 1)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise OptionError(f"shuffle must be True or False, got {shuffle!r}")
        self.problem, self.n_samples = problem, len(problem.features)
        self.batch_size = int(min(batch_size, max(1, self.n_samples)))
        self.shuffle = bool(shuffle)
        shuffle_seed, self.drop_seed = seeds(seed)
        self.clock = new_clock(epochs, self.batch_size, self.shuffle, shuffle_seed)
        self.order = np.arange(self.n_samples)
        self.steps_per_epoch = -(-self.n_samples // self.batch_size)

    def advance(self, run: "Run") -> None:
        """Run the kernels."""
        count = self.clock.count
        if self.n_samples == 0:
            count[EPOCH] = count[LAST_EPOCH]
            return
        schedule = run.engine.scheduler.choose(self.batch_size, run.thread_limit)
        run.engine.train(
            self.problem,
            self.order,
            run.update,
            self.clock,
            schedule,
            run.watch,
            dropout=run.dropout,
        )

    def state(self) -> tuple[float, float]:
        """Return the loss of the epoch in progress."""
        count, losses = self.clock.count, self.clock.epoch_loss
        epoch = int(count[EPOCH] - (count[STEP] == 0))  # or of the last, whose end may be untold
        return float(losses[epoch]) if 0 <= epoch < len(losses) else 0.0, 0.0

    def config(self) -> dict[str, str]:
        """Return batch size, shuffling and samples, of which it looks at the first and the last."""
        features, targets, few = self.problem.features.values, self.problem.targets, 32
        sample = 0
        for values in (features, targets.values, targets.labels):
            if values is not None:
                sample = crc32(values[:few].tobytes() + values[-few:].tobytes(), sample)
        return {
            "batch_size": str(self.batch_size),
            "shuffle": str(self.shuffle),
            "samples": str(self.n_samples),
            "checksum of samples": f"{sample:08x}",
            "seed": self.seed,
        }

    def resume(self, state: TrainingState) -> None:
        """Set the clock, and have the order of an epoch in progress drawn once more."""
        n_steps = -(-self.n_samples // self.batch_size)
        if state.step >= max(1, n_steps):
            raise OptionError(
                f"resume=True: the last run was at step {state.step} of an epoch, which has "
                f"{n_steps}"
            )
        count, random = self.clock.count, self.clock.random
        count[EPOCH], count[STEP], count[UPDATES] = state.epoch, state.step, state.optimizer_steps
        random[NOW] = random[EPOCH_BEGAN] = state.random
        if self.shuffle and state.step:
            count[SHUFFLE] = AGAIN
        pending = state.epoch if state.step else state.epoch - 1
        if 0 <= pending < len(self.clock.epoch_loss):
            self.clock.epoch_loss[pending] = state.epoch_loss

    def close(self) -> None:
        """Do nothing."""


class Run:
    """One training run over a source.

    Parameters
    ----------
    network, engine : Network, Engine
        The engine is the network's, and the caller has it for itself.
    source : Source
    validation : Problem or None
    options : Options
    drop_seed : int
        Of the dropout masks, unless a last run is resumed.
    """

    def __init__(
        self,
        network: "Network",
        engine: Engine,
        source: Source,
        validation: Problem | None,
        options: Options,
        drop_seed: int,
    ) -> None:
        self.engine, self.source, self.thread_limit = engine, source, network.n_threads
        self._validation, self._options, self._lend = validation, options, network._alone.lent
        last = network._last_run()
        self._began = time.perf_counter()
        self._callbacks = list(options.callbacks)
        self._hooked = self._hooks()
        self._schedules = [one for one in self._callbacks if isinstance(one, Schedule)]
        self._config = {
            "optimizer": type(options.optimizer).__name__,
            **{name: str(value) for name, value in vars(options.optimizer).items()},
            "dagbp": __version__,
            "loss": repr(options.loss),
            **options.regularisation.described,
            **source.config(),
        }
        resumed = self._last_run(last) if options.resume is True else None
        kept = _kept_moments(last, options) if options.resume == "optimizer" else None
        self.history = resumed.history.copy() if resumed else History()
        self._spent = self.history.seconds
        from_last = resumed or kept
        moments = None if from_last is None else from_last.moments
        self.update = start(engine, options.optimizer, options.regularisation, moments)
        if resumed is not None:
            source.resume(resumed)
            drop_seed = resumed.drop_seed
        elif kept is not None:
            source.clock.count[UPDATES] = kept.optimizer_steps
        taken = resumed.n_updates if resumed else 0
        self._first_update = int(source.clock.count[UPDATES]) - taken
        self._drop_seed = drop_seed
        self.dropout = _new_dropout(options.regularisation, drop_seed)
        rate = resumed.learning_rate if resumed else options.optimizer.learning_rate
        self.progress = Progress(network, self.history, int(options.epochs), rate)
        self._told = [CallbackState(type(one).__name__, {}, 0, 0) for one in self._callbacks]
        self._kept: Array | None = None
        if resumed is not None:
            self._take_over(resumed)
        else:
            for callback in self._callbacks:
                with told(callback, "reset", self.progress):
                    callback.reset()

    # --- going on from the last run ---

    def _last_run(self, last: TrainingState | None) -> TrainingState:
        if last is None:
            raise OptionError(
                "resume=True goes on with the network's last run, but there is none to go on with: "
                "it was not trained, or diverged, a solver did it, `release` has given its state "
                "back, or its file was saved without it"
            )
        if last.epoch > self._options.epochs:
            raise OptionError(
                f"resume=True: the last run has had {last.epoch} epochs, and epochs is "
                f"{self._options.epochs}"
            )
        for name in dict.fromkeys([*last.config, *self._config]):
            then, now = last.config.get(name), self._config.get(name)
            if then != now:
                raise OptionError(
                    f"resume=True needs the arguments of the run that it goes on with, but "
                    f"{name} was {then or 'not given'} and is {now or 'not given'}"
                )
        slots = self._options.optimizer.slots
        if len(last.moments) != slots:
            raise OptionError(
                f"resume=True: the last run kept {len(last.moments)} numbers a parameter, and "
                f"{self._options.optimizer!r} needs {slots}"
            )
        return last

    def _take_over(self, state: TrainingState) -> None:
        """Go on from a state: each callback gets that of the one of its kind, in their order."""
        progress, history = self.progress, self.history
        progress.stopped, progress.rate = state.stopped, state.rate
        progress.n_updates, progress.epoch, progress.step = state.n_updates, state.epoch, state.step
        progress.loss = history.loss[-1] if history.loss else math.nan
        progress.val_loss = history.val_loss[-1] if history.val_loss else math.nan
        self.source.clock.step_loss[0] = state.step_loss
        left = list(state.callbacks)
        for k, callback in enumerate(self._callbacks):
            kind = self._told[k].kind
            match = next((one for one in left if one.kind == kind), None)
            if match is None:  # it is new, and what is past is none of its business
                self._told[k] = CallbackState(kind, {}, state.epoch, state.n_updates)
                with told(callback, "reset", progress):
                    callback.reset()
                continue
            left.remove(match)
            self._told[k] = replace(match)
            with told(callback, "restore", progress):
                callback.restore(match.content)
        if state.parameters is not None:
            self.engine.parameters.take_over(state.parameters)

    def state(self) -> TrainingState:
        """Return the run's state now, whose moments the next step changes."""
        count, random = self.source.clock.count, self.source.clock.random
        in_epoch = count[STEP] > 0
        epoch_loss, epoch_weight = self.source.state()
        stopped = None if self.progress.resumable else self.progress.stopped
        return TrainingState(
            config=self._config,
            history=self.history,
            epoch=int(count[EPOCH]),
            step=int(count[STEP]),
            n_updates=int(count[UPDATES]) - self._first_update,
            optimizer_steps=int(count[UPDATES]),
            random=int(random[EPOCH_BEGAN if in_epoch else NOW]),
            drop_seed=self._drop_seed,
            epoch_loss=epoch_loss,
            epoch_weight=epoch_weight,
            learning_rate=self.progress.learning_rate,
            moments=self.update.state,
            callbacks=[self._state_of(k) for k in range(len(self._callbacks))],
            step_loss=float(self.source.clock.step_loss[0]),
            rate=self.progress.rate,
            stopped=stopped,
            parameters=self._kept,
        )

    def _state_of(self, k: int) -> CallbackState:
        callback = self._callbacks[k]
        with told(callback, "state", self.progress):
            return replace(self._told[k], content=callback.state())

    # --- the run ---

    def go(self) -> History:
        """Train; return the history. See `Network.fit`."""
        clock, progress, epochs = self.source.clock, self.progress, self.progress.n_epochs
        try:
            with self._bar() as self._progress_bar:
                progress.network._training = self.state  # asked by who saves it now
                self._place()
                self._tell("on_train_begin")
                self._end_step()  # of a run that was broken off before all were told
                self._end_epochs()
                while progress.stopped is None and clock.count[EPOCH] < epochs:
                    self._next_stop()
                    self.source.advance(self)
                    self._place()
                    self._end_step()
                    self._end_epochs()
                    if clock.count[STATUS] == DIVERGED:
                        self._diverge()
                        break
                self._end()
        finally:
            self.source.close()
            self._place()
            if self._validation is None:
                self._record()
            progress.network._training = None
            progress.network._history = self.history
            if clock.count[STATUS] != DIVERGED:  # where the optimizer's state is not finite
                progress.network._training = self.state()
        return self.history

    def _end(self) -> None:
        """Tell that the run has ended; keep the parameters of its last step if they change."""
        if not self._hooked["on_train_end"]:
            return
        self._kept = self.engine.parameters.copy()  # in what is saved at the end, too
        self._tell("on_train_end")
        if np.array_equal(self._kept, self.engine.parameters.copy()):
            self._kept = None

    def _hooks(self) -> dict[str, list[Callback]]:
        """Return the callbacks that have each method; no others are called."""
        hooks: dict[str, list[Callback]] = {}
        for name in ("on_train_begin", "on_epoch_end", "on_train_end", "on_poll", "on_divergence"):
            hooks[name] = [one for one in self._callbacks if one.overrides(name)]
        steps = [one for one in self._callbacks if one.overrides("on_step_end")]
        hooks["on_step_end"] = [one for one in steps if one.every is not None]
        return hooks

    def _next_stop(self) -> None:
        """Tell the clock how far the kernels go before Python has something to do."""
        clock, per_epoch = self.source.clock, self.source.steps_per_epoch
        count, epochs = clock.count, self.progress.n_epochs
        if self._hooked["on_epoch_end"] or self._validation is not None:
            last_epoch = int(count[EPOCH]) + 1
        elif self._schedules and per_epoch is not None:
            last_epoch = int(count[EPOCH]) + max(1, RATES_AT_ONCE // max(1, per_epoch))
        else:
            last_epoch = epochs
        count[LAST_EPOCH] = min(last_epoch, epochs)
        taken = int(count[UPDATES]) - self._first_update
        every = [int(one.every or 1) for one in self._hooked["on_step_end"]]
        nearest = min(((taken // n + 1) * n for n in every), default=None)
        count[LAST_UPDATE] = NEVER if nearest is None else self._first_update + nearest
        rate = self.progress.learning_rate
        if not is_number(rate) or rate < 0:
            raise OptionError(f"a callback set learning_rate to {rate!r}; it must be a number >= 0")
        self.update.hyper[RATE] = rate
        if self._schedules:
            self._compute_rates()

    def _compute_rates(self) -> None:
        """Fill the clock's learning rates up to where the source hands back."""
        clock, per_epoch = self.source.clock, self.source.steps_per_epoch
        count, epochs = clock.count, self.progress.n_epochs
        epoch, step = int(count[EPOCH]), int(count[STEP])
        if per_epoch is None:
            at = np.array([float(epoch)])
        else:
            n_steps = (int(count[LAST_EPOCH]) - epoch) * per_epoch - step
            n_steps = max(1, min(n_steps, int(count[LAST_UPDATE] - count[UPDATES])))
            n_steps = 1 if self.source.one_by_one else n_steps
            at = epoch + (step + np.arange(n_steps)) / per_epoch
        rates = np.full(len(at), self.progress.learning_rate)
        for schedule in self._schedules:
            with told(schedule, "factor", self.progress):
                rates *= _checked_factors(schedule, schedule.factor(at, epochs), len(at))
        count[FIRST_RATE] = count[UPDATES]
        self.source.clock = clock._replace(rates=rates)

    def watch(self) -> bool:
        """Move the bar; return whether some callback wants the run to stop."""
        bar = self._progress_bar
        bar.update(int(self.source.clock.count[UPDATES]) - self._first_update - bar.n)
        for callback in self._hooked["on_poll"]:
            with told(callback, "on_poll", self.progress):
                callback.on_poll(self.progress)
        return self.progress.stopped is not None

    def _place(self) -> None:
        """Say in the progress and the history where the run stands, and keep its state."""
        count, progress = self.source.clock.count, self.progress
        progress.epoch, progress.step = int(count[EPOCH]), int(count[STEP])
        progress.n_updates = int(count[UPDATES]) - self._first_update
        if progress.n_updates:
            progress.rate = float(self.update.hyper[RATE])
        self.history.n_updates = progress.n_updates
        self.history.seconds = self._spent + time.perf_counter() - self._began
        self.history.stopped = progress.stopped

    def _end_step(self) -> None:
        """Tell the callbacks whose step it is."""
        progress = self.progress
        progress.loss = float(self.source.clock.step_loss[0])
        for k, callback in enumerate(self._callbacks):
            seen, n = self._told[k], progress.n_updates
            mine = callback in self._hooked["on_step_end"] and n % int(callback.every or 1) == 0
            if mine and seen.updates < n:
                seen.updates = n
                with told(callback, "on_step_end", progress), self._lend():
                    callback.on_step_end(progress)

    def _end_epochs(self) -> None:
        """Record the epochs that have ended since; validate and tell the callbacks."""
        history, progress = self.history, self.progress
        ended = self._record()
        if progress.step != 0 or not history.loss:
            return
        progress.loss = history.loss[-1]
        if history.val_loss:
            progress.val_loss = history.val_loss[-1]
        for k, callback in enumerate(self._callbacks):
            seen = self._told[k]
            if callback in self._hooked["on_epoch_end"] and seen.epochs < ended:
                seen.epochs = ended
                with told(callback, "on_epoch_end", progress), self._lend():
                    callback.on_epoch_end(progress)
        history.stopped = progress.stopped

    def _record(self) -> int:
        """Record the losses of the epochs that have ended; return how many these are in all."""
        clock, history = self.source.clock, self.history
        ended = int(clock.count[EPOCH])
        losses = clock.epoch_loss[len(history.loss) : ended].tolist()
        values = []
        if losses and self._validation is not None:  # one epoch, and both of its losses or none
            values = [self.engine.evaluate(self._validation, self.thread_limit)]
        history.loss, history.val_loss = history.loss + losses, history.val_loss + values
        return ended

    def _tell(self, method: str) -> None:
        for callback in self._hooked[method]:
            with told(callback, method, self.progress), self._lend():
                getattr(callback, method)(self.progress)
        self.history.stopped = self.progress.stopped

    def _diverge(self) -> None:
        """Raise, unless some callback ends the run in another way."""
        for callback in self._hooked["on_divergence"]:
            with told(callback, "on_divergence", self.progress), self._lend():
                if callback.on_divergence(self.progress):
                    self.history.stopped = self.progress.stopped
                    return
        count = self.source.clock.count
        error = DivergenceError(
            "training diverged: the loss, its gradient or the update is not finite at step "
            f"{count[STEP]} of epoch {count[EPOCH]} (both counted from 0), with "
            f"learning_rate={self.progress.learning_rate}. That step was not taken; the parameters "
            "are those of the one before. Lower the learning rate, scale the features, or clip the "
            "gradient"
        )
        error.history = self.history  # type: ignore[attr-defined]
        raise error

    def _bar(self) -> "tqdm[Any]":
        """Return a progress bar that appears after a second, on a terminal only."""
        verbose = self._options.verbose
        quiet = not verbose or sys.stderr is None or not sys.stderr.isatty()
        per_epoch = self.source.steps_per_epoch
        total = None if per_epoch is None else self.progress.n_epochs * per_epoch
        return tqdm(total=total, unit="step", delay=1.0, disable=quiet, leave=False)


@contextmanager
def told(callback: Callback, method: str, progress: Progress) -> Iterator[None]:
    """Say of an exception whose it is."""
    try:
        yield
    except DagbpError:
        raise
    except Exception as error:
        raise CallbackError(
            f"{type(callback).__name__}.{method} failed after {progress.n_updates} steps and "
            f"{progress.epoch} whole epochs: {type(error).__name__}: {error}. The network is as "
            "the last step left it"
        ) from error


def _new_dropout(regularisation: Regularisation, seed: int) -> Dropout | None:
    if regularisation.stays is None:
        return None
    key = np.zeros(2, np.uint64)
    key[SEED] = seed
    return Dropout(regularisation.stays, key)


def _kept_moments(last: TrainingState | None, options: Options) -> TrainingState | None:
    """Return the last run's state if its optimizer is of the same kind; else None."""
    if last is None:
        return None
    same = last.config.get("optimizer") == type(options.optimizer).__name__
    return last if same and len(last.moments) == options.optimizer.slots else None


def _checked_factors(schedule: Schedule, factors: Any, size: int) -> npt.NDArray[np.float64]:
    rates = np.asarray(factors, np.float64)
    if rates.shape != (size,) or not (rates >= 0).all() or not np.isfinite(rates).all():
        raise OptionError(
            f"{type(schedule).__name__}.factor must return {size} finite numbers >= 0, got "
            f"{factors!r}"
        )
    return rates


def seeds(seed: Any) -> tuple[int, int]:
    """Return the seeds of the shuffle and of the dropout masks."""
    random = generator(seed)
    return int(random.integers(2**63)), int(random.integers(2**63))
