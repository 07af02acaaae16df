"""Training runs: options checked, steps handed to the kernels, callbacks told, state kept.

A *source* takes the steps: `Minibatches` of arrays, whole epochs inside compiled code, or the
`Batches` of a stream. `Run` decides how far the source may go before Python has something to do.
"""

import copy
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import check_whole, is_number, is_whole
from dagbp._data.features import Problem
from dagbp._engine.buffers import Dropout, aligned
from dagbp._engine.engine import Engine
from dagbp._errors import CallbackError, DagbpError, DivergenceError, OptionError
from dagbp._history import MAX_EPOCHS, CallbackState, History, TrainingState
from dagbp._kernels.formulas.regularise import penalise_and_clip, project_max_norm
from dagbp._kernels.formulas.update import BLOCK
from dagbp._kernels.frames import (
    DIVERGED,
    EPOCH,
    EPOCH_BEGAN,
    FIRST_RATE,
    LAST_EPOCH,
    LAST_UPDATE,
    NOW,
    RATE,
    SEED,
    STATUS,
    STEP,
    UPDATES,
    UpdateFrame,
)
from dagbp._memory import require
from dagbp._training.regularisation import Regularisation
from dagbp._training.resuming import as_text, resumable, settings_of, with_moments
from dagbp._training.source import Source
from dagbp._version import __version__
from dagbp.callbacks import Callback, Progress, Schedule
from dagbp.losses import Loss
from dagbp.optimizers import SGD, Optimizer

if TYPE_CHECKING:
    from tqdm import tqdm

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
        if not (is_whole(self.verbose) or isinstance(self.verbose, (bool, np.bool_))):
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


def start(
    engine: Engine,
    optimizer: Optimizer,
    regularisation: Regularisation | None = None,
    moments: Array | None = None,
) -> UpdateFrame:
    """Return the optimizer with a fresh state, or with `moments`, and what restrains it."""
    n_values = len(engine.parameters.by_source)
    if moments is None:
        require(optimizer.slots * engine.parameters.by_source.nbytes, f"the state of {optimizer!r}")
        moments = aligned((optimizer.slots, n_values), engine.dtype)
    runs = engine.parameters.runs
    given = Regularisation() if regularisation is None else regularisation
    limits = optimizer.clips()
    before: Any = 0
    after: Any = 0
    if given.l1 is not None or limits is not None:
        before = penalise_and_clip.compiled(engine.dtype)
    if given.most is not None:
        after = project_max_norm.compiled(engine.dtype)
    n_blocks = n_values // int(BLOCK) + 1
    return UpdateFrame(
        address=optimizer.row(engine.dtype),
        hyper=optimizer.hyper(),
        state=moments,
        n_runs=len(runs),
        runs=runs,
        trained=engine.parameters.trained_by_source,
        reduce=0,
        penalise_and_clip=before,
        limits=limits,
        l1=_by_parameter(engine, given.l1),
        l2=_by_parameter(engine, given.l2),
        penalties=None if given.l1 is None else np.zeros(n_blocks),
        project_max_norm=after,
        max_norm=given.most,
    )


def _by_parameter(engine: Engine, values: npt.NDArray[np.float64] | None) -> Array | None:
    return None if values is None else engine.parameters.by_parameter(values.astype(engine.dtype))


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
        self.engine, self.source, self.max_threads = engine, source, network.n_threads
        self._validation, self._options, self._turn = validation, options, network._turn
        last = network._last_run()
        self._began = time.perf_counter()
        self._callbacks = list(options.callbacks)
        self._hooked = self._hooks()
        self._settings = [settings_of(one) for one in self._callbacks]
        self._stopped_by: str | None = None  # of what stopped the run that is resumed
        self._schedules = [one for one in self._callbacks if isinstance(one, Schedule)]
        self._config = {
            "optimizer": type(options.optimizer).__name__,
            **{name: as_text(value) for name, value in vars(options.optimizer).items()},
            "dagbp": __version__,
            "loss": repr(options.loss),
            **options.regularisation.described,
            **source.config(),
        }
        resumed = kept = None
        if options.resume is True:
            resumed = resumable(last, self._config, options.epochs, options.optimizer)
        elif options.resume == "optimizer":
            kept = with_moments(last, options.optimizer)
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
        self._fresh, self._drop_seed = resumed is None, drop_seed
        self.dropout = _new_dropout(options.regularisation, drop_seed)
        rate = resumed.learning_rate if resumed else options.optimizer.learning_rate
        self.progress = Progress(
            network, self.history, int(options.epochs), rate, validated=validation is not None
        )
        self._told = [CallbackState(type(one).__name__, {}, 0, 0) for one in self._callbacks]
        self._kept: Array | None = None  # the last step's parameters, where others took their place
        self._set_aside: Array | None = None  # what took their place at the end of the last run
        if resumed is not None:
            self._take_over(resumed)
        else:
            for callback in self._callbacks:
                with told(callback, "reset", self.progress):
                    callback.reset()
        self._updates_before = int(source.clock.count[UPDATES])

    # --- going on from the last run ---

    def _take_over(self, state: TrainingState) -> None:
        """Go on from a state: each callback gets that of the one of its kind, in their order."""
        progress, history = self.progress, self.history
        if state.stopped_by in self._settings:
            progress.stopped, self._stopped_by = state.stopped, state.stopped_by
        progress.rate = state.rate
        progress.n_updates, progress.epoch, progress.step = state.n_updates, state.epoch, state.step
        progress.loss = history.loss[-1] if history.loss else math.nan
        progress.val_loss = _last_val_loss(history)
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
                callback.restore(copy.deepcopy(match.content))
        if state.parameters is not None:
            self._set_aside = self.engine.parameters.copy()
            self.engine.parameters.assign(state.parameters)

    def state(self) -> TrainingState:
        """Return the run's state now, whose moments the next step changes."""
        count, random = self.source.clock.count, self.source.clock.random
        in_epoch = count[STEP] > 0
        epoch_loss, epoch_weight = self.source.state()
        stopped = None if self.progress.resumable else self.progress.stopped
        stopped_by = self._stopped_by
        if self.progress.stopped_by in self._callbacks:
            stopped_by = self._settings[self._callbacks.index(self.progress.stopped_by)]
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
            stopped_by=None if stopped is None else stopped_by,
            parameters=self._kept,
        )

    def _state_of(self, k: int) -> CallbackState:
        callback = self._callbacks[k]
        with told(callback, "state", self.progress):
            return replace(self._told[k], content=copy.deepcopy(callback.state()))

    # --- the run ---

    def go(self) -> History:
        """Train; return the history. See `Network.fit`."""
        clock, progress, epochs = self.source.clock, self.progress, self.progress.n_epochs
        network, ended = progress.network, False
        before: tuple[Any, Any] | None = (network._training, network._history)
        try:
            with self._bar() as self._progress_bar:
                network._training = self.state  # asked by who saves it now
                self._place()
                self._tell("on_train_begin")
                self._end_step()  # of a run that was broken off before all were told
                self._end_epochs()
                while progress.stopped is None and clock.count[EPOCH] < epochs:
                    self._next_stop()
                    if before is not None:
                        self.source.begin(self)
                        before = None  # from here on its memory is wanted
                    self.source.advance(self)
                    self._place()
                    self._end_step()
                    self._end_epochs()
                    if clock.count[STATUS] == DIVERGED:
                        self._diverge()
                        break
                    self.give_way()
                self._end()
                ended = True
        except KeyboardInterrupt:
            progress.stop("interrupted", resumable=True)
            self.history.stopped = progress.stopped
            raise
        finally:
            self.source.close()
            self._place()
            if before is not None and self._fresh and not ended:  # the last run stays as it was
                network._training, network._history = before
            else:
                self._leave(ended)
        return self.history

    def _leave(self, ended: bool) -> None:
        """Leave to the network the history, and the state from which the run can go on."""
        network, parameters = self.progress.network, self.engine.parameters
        count = self.source.clock.count
        if self._set_aside is not None and not ended and count[UPDATES] == self._updates_before:
            self._kept = parameters.copy()
            parameters.assign(self._set_aside)
        if self._validation is None:
            self._record()
        del self.history.val_loss[len(self.history.loss) :]  # of an epoch whose record broke off
        network._history = self.history
        network._training = None  # also where a callback fails to tell its state
        if count[STATUS] != DIVERGED:  # else the optimizer's state is not finite
            network._training = self.state()

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
            last_epoch = int(count[EPOCH]) + max(1, RATES_AT_ONCE // per_epoch)
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

    def give_way(self) -> None:
        """Let other threads that wait for the network have it, between two steps."""
        self._turn.give_way()

    def is_to_hand_back(self) -> bool:
        """Watch; return whether the kernels are to end their work with the step they are at."""
        return self.watch() or self._turn.wanted

    def watch(self) -> bool:
        """Move the bar; return whether some callback wants the run to stop."""
        bar, clock = self._progress_bar, self.source.clock
        epoch = min(int(clock.count[EPOCH]) + 1, self.progress.n_epochs)
        bar.set_postfix_str(f"epoch {epoch:,}, loss {clock.step_loss[0]:.4g}", refresh=False)
        bar.update(int(clock.count[UPDATES]) - self._first_update - bar.n)
        for callback in self._hooked["on_poll"]:
            with told(callback, "on_poll", self.progress):
                callback.on_poll(self.progress)
        return self.progress.stopped is not None

    def _place(self) -> None:
        """Say in the progress and the history where the run stands, and keep its state."""
        count, progress = self.source.clock.count, self.progress
        progress.epoch, progress.step = int(count[EPOCH]), int(count[STEP])
        n_updates = int(count[UPDATES]) - self._first_update
        if n_updates > progress.n_updates:
            progress.n_updates, progress.rate = n_updates, float(self.update.hyper[RATE])
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
                with told(callback, "on_step_end", progress), self._turn.lent():
                    callback.on_step_end(progress)

    def _end_epochs(self) -> None:
        """Record the epochs that have ended since; validate and tell the callbacks."""
        history, progress = self.history, self.progress
        ended = self._record()
        if progress.step != 0 or not history.loss:
            return
        progress.loss = history.loss[-1]
        progress.val_loss = _last_val_loss(history)
        for k, callback in enumerate(self._callbacks):
            seen = self._told[k]
            if callback in self._hooked["on_epoch_end"] and seen.epochs < ended:
                seen.epochs = ended
                with told(callback, "on_epoch_end", progress), self._turn.lent():
                    callback.on_epoch_end(progress)
        history.stopped = progress.stopped

    def _record(self) -> int:
        """Record the losses of the epochs that have ended; return how many these are in all."""
        clock, history = self.source.clock, self.history
        ended, known = int(clock.count[EPOCH]), len(history.loss)
        if ended > known:
            if self._validation is not None:  # one epoch, and both of its losses or none
                value = self.engine.evaluate(self._validation, self.max_threads)
                history.val_loss += [math.nan] * (known - len(history.val_loss))
                history.val_loss[known:] = [value]
            history.loss += clock.epoch_loss[known:ended].tolist()
        return ended

    def _tell(self, method: str) -> None:
        for callback in self._hooked[method]:
            with told(callback, method, self.progress), self._turn.lent():
                getattr(callback, method)(self.progress)
        self.history.stopped = self.progress.stopped

    def _diverge(self) -> None:
        """Raise, unless some callback ends the run in another way."""
        for callback in self._hooked["on_divergence"]:
            with told(callback, "on_divergence", self.progress), self._turn.lent():
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

    def _bar(self) -> "tqdm[Any] | _NoBar":
        """Return a progress bar that appears after a second, on a terminal only."""
        if not self._options.verbose or sys.stderr is None or not sys.stderr.isatty():
            return _NoBar()
        from tqdm import tqdm

        per_epoch = self.source.steps_per_epoch
        total = None if per_epoch is None else self.progress.n_epochs * per_epoch
        return tqdm(total=total, unit="step", delay=1.0, leave=False)


class _NoBar:
    """In place of a progress bar, whose locks an interrupt could leave behind."""

    n = 0

    def __enter__(self) -> "_NoBar":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def set_postfix_str(self, s: str, refresh: bool) -> None:
        """Do nothing."""

    def update(self, n: float) -> None:
        """Do nothing."""


@contextmanager
def told(callback: Callback, method: str, progress: Progress) -> Iterator[None]:
    """Say of an exception, and of a stop, whose it is."""
    progress.listener = callback
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
    finally:
        progress.listener = None


def _last_val_loss(history: History) -> float:
    """Return the validation loss of the last epoch, NaN if it has none."""
    validated = 0 < len(history.loss) == len(history.val_loss)
    return history.val_loss[-1] if validated else math.nan


def _new_dropout(regularisation: Regularisation, seed: int) -> Dropout | None:
    if regularisation.stays is None:
        return None
    key = np.zeros(2, np.uint64)
    key[SEED] = seed
    return Dropout(regularisation.stays, key)


def _checked_factors(schedule: Schedule, factors: Any, size: int) -> npt.NDArray[np.float64]:
    rates = np.asarray(factors, np.float64)
    if rates.shape != (size,) or not (rates >= 0).all() or not np.isfinite(rates).all():
        raise OptionError(
            f"{type(schedule).__name__}.factor must return {size} finite numbers >= 0, got "
            f"{factors!r}"
        )
    return rates
