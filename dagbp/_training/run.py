"""The loop of a training run: steps of a source in the engine, and callbacks between them."""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from dagbp._data.problem import Problem
from dagbp._engine.buffers import Dropout
from dagbp._engine.clock import Clock
from dagbp._engine.optimizer_state import Update
from dagbp._errors import DivergenceError
from dagbp._history import History, TrainingState
from dagbp._model.model import Model
from dagbp._training.listeners import Listeners
from dagbp._training.options import Options
from dagbp._training.progress_bar import ProgressBar
from dagbp._training.rates import check_rate, epochs_at_once, learning_rates
from dagbp._training.resuming import (
    LastParameters,
    position_of,
    resumable,
    run_config,
    with_moments,
)
from dagbp._training.source import Source, Steps
from dagbp.callbacks import Progress
from dagbp.callbacks._base import TrainedNetwork
from dagbp.optimizers import Optimizer


class Run:
    """One training run over a source. The caller holds the model's lock for the run."""

    def __init__(
        self,
        model: Model,
        network: TrainedNetwork,
        source: Source,
        validation: Problem | None,
        options: Options,
        optimizer: Optimizer,
    ) -> None:
        self._model, self._source, self._validation = model, source, validation
        config = run_config(options, optimizer, source)
        resumed = kept = None
        if options.resume == "optimizer":
            kept = with_moments(model.last_run, optimizer)
        elif options.resume:
            resumed = resumable(model.last_run, config, options.epochs, optimizer)
        from_last, epochs, given = resumed or kept, int(options.epochs), options.regularisation
        moments = None if from_last is None else from_last.moments
        limits = given.l1, given.l2, given.max_norm
        self._update = Update(model.engine.parameters, optimizer, moments, *limits)
        updates = kept.optimizer_steps if kept else 0
        self._clock = Clock(epochs, source.batch_size, source.shuffle, source.shuffle_seed, updates)
        history = resumed.history.copy() if resumed else History()
        seed = resumed.drop_seed if resumed else source.dropout_seed
        self._dropout = None
        if given.keep_probability is not None:
            self._dropout = Dropout.seeded(given.keep_probability, seed)
        rate = resumed.learning_rate if resumed else optimizer.learning_rate
        progress = Progress(network, history, epochs, rate, validated=validation is not None)
        self._listeners = Listeners(options.callbacks, progress, model.lock)
        self._last = LastParameters(model.engine.parameters)
        self._new_state: Callable[..., TrainingState] = partial(
            TrainingState, config=config, history=history, drop_seed=seed
        )
        self._resumed = resumed is not None
        if resumed is None:
            self._listeners.reset()
        else:
            self._resume(resumed)
        total = source.steps_per_epoch and epochs * source.steps_per_epoch
        self._bar = ProgressBar(total, shown=bool(options.verbose))

    def _resume(self, state: TrainingState) -> None:
        """Continue from the state of the last run."""
        progress = self._listeners.progress
        self._source.seek(state.step)
        self._clock.resume(position_of(state), state.history.seconds)
        progress.n_updates, progress.epoch, progress.step = state.n_updates, state.epoch, state.step
        progress.rate, progress.val_loss = state.rate, _last_val_loss(state.history)
        progress.loss = state.history.loss[-1] if state.history.loss else math.nan
        self._listeners.restore(state)
        self._last.restore(state)

    def state(self) -> TrainingState:
        """Return the state of the run now; the next step changes its moments."""
        progress = self._listeners.progress
        stopped = None if progress.resumable else progress.stopped
        return self._new_state(
            **asdict(self._clock.position),
            learning_rate=progress.learning_rate,
            moments=self._update.moments,
            callbacks=self._listeners.states(),
            rate=progress.rate,
            stopped=stopped,
            stopped_by=None if stopped is None else self._listeners.stopped_by(),
            parameters=self._last.kept,
        )

    def go(self) -> History:
        """Train; return the history. See `Network.fit`."""
        model, listeners, clock = self._model, self._listeners, self._clock
        progress, ended = listeners.progress, False
        before = (model.last_run, model.history)
        unchanged = not self._resumed  # whether the last run can stay as it was
        try:
            with self._bar:
                model.begin_run(self.state)
                self._sync_progress()
                listeners.call("on_train_begin")
                self._call_listeners()  # for the last step of a run that ended before the calls
                while progress.stopped is None and clock.epoch < progress.n_epochs:
                    self._plan_stop()
                    steps = self._source.next(clock.epoch, self._while_waiting)
                    before, unchanged = (None, None), False  # frees the memory of the last run
                    self._take(steps)
                    del steps  # frees the batch before the next one is needed
                    self._sync_progress()
                    self._call_listeners()
                    if clock.diverged:
                        self._diverge()
                        break
                    model.lock.yield_to_waiters()
                self._end()
                ended = True
        except KeyboardInterrupt:
            progress.stop("interrupted", resumable=True)
            raise
        finally:
            self._source.close()
            self._sync_progress()
            if unchanged and not ended:
                model.end_run(*before)
            else:
                self._leave(ended)
        return progress.history

    def _plan_stop(self) -> None:
        """Set where the kernels return to Python, and the learning rates up to there."""
        clock, listeners, per_epoch = self._clock, self._listeners, self._source.steps_per_epoch
        progress = listeners.progress
        epoch = progress.n_epochs
        if listeners.has("on_epoch_end") or self._validation is not None:
            epoch = clock.epoch + 1
        elif listeners.schedules and per_epoch is not None:
            epoch = clock.epoch + epochs_at_once(per_epoch)
        whole = self._source.whole_epochs
        updates = listeners.next_step(clock.updates) if whole else clock.updates + 1
        clock.stop_at(min(epoch, progress.n_epochs), updates)
        self._update.learning_rate = check_rate(progress.learning_rate)
        if listeners.schedules:
            clock.use_rates(learning_rates(listeners, clock.times(per_epoch)))

    def _take(self, steps: Steps | None) -> None:
        """Take steps up to the stop, or to where the kernels must return earlier."""
        if steps is None:
            if self._listeners.progress.stopped is None:
                self._clock.end_epoch()
            return
        engine, whole = self._model.engine, self._source.whole_epochs
        clock = self._clock if whole else self._clock.for_batch(steps.batch_size)
        try:
            engine.train(
                steps.problem,
                steps.order,
                self._update,
                clock,
                max_threads=self._model.max_threads,
                watch=self._must_return,
                dropout=self._dropout,
            )
        finally:  # an interrupt comes after the step
            if not whole:
                self._source.settle(steps, taken=self._clock.count_in(clock))

    def _watch(self) -> bool:
        """Move the bar and poll the callbacks; return whether one of them stops the run."""
        clock, n_epochs = self._clock, self._listeners.progress.n_epochs
        self._bar.show(clock.updates, min(clock.epoch + 1, n_epochs), clock.step_loss)
        return self._listeners.poll()

    def _must_return(self) -> bool:
        """Return whether the kernels must return after the current step."""
        return self._watch() or self._model.lock.wanted

    def _while_waiting(self) -> bool:
        """Let other threads use the network; return whether the run is to stop."""
        if self._watch():
            return True
        self._model.lock.yield_to_waiters()
        return False

    def _sync_progress(self) -> None:
        """Copy the clock's position to the progress and the history."""
        clock, progress = self._clock, self._listeners.progress
        progress.epoch, progress.step = clock.epoch, clock.step
        if clock.updates > progress.n_updates:
            progress.n_updates, progress.rate = clock.updates, self._update.learning_rate
        history = progress.history
        history.n_updates, history.seconds = progress.n_updates, clock.seconds
        history.stopped = progress.stopped

    def _call_listeners(self) -> None:
        """Call the callbacks for the last step, and for the epoch if it has ended."""
        progress, history = self._listeners.progress, self._listeners.progress.history
        progress.loss = self._clock.step_loss
        self._listeners.end_step()
        self._record()
        if progress.step == 0 and history.loss:
            progress.loss, progress.val_loss = history.loss[-1], _last_val_loss(history)
            self._listeners.end_epoch(self._clock.epoch)

    def _record(self) -> None:
        """Record the losses of the epochs that have ended."""
        history = self._listeners.progress.history
        known = len(history.loss)
        if self._clock.epoch <= known:
            return
        if self._validation is not None:  # of one epoch: both of its losses are recorded, or none
            value = self._model.engine.evaluate(self._validation, self._model.max_threads)
            history.val_loss += [math.nan] * (known - len(history.val_loss))
            history.val_loss[known:] = [value]
        history.loss += self._clock.epoch_losses(known)

    def _diverge(self) -> None:
        """Raise, unless a callback ends the run without an error."""
        if self._listeners.accept_divergence():
            return
        clock, progress = self._clock, self._listeners.progress
        error = DivergenceError(
            "training diverged: the loss, its gradient or the update is not finite at step "
            f"{clock.step} of epoch {clock.epoch} (both counted from 0), with "
            f"learning_rate={progress.learning_rate}. That step was not taken; the parameters "
            "are those of the one before. Lower the learning rate, scale the features, or clip the "
            "gradient"
        )
        error.history = progress.history  # type: ignore[attr-defined]
        raise error

    def _end(self) -> None:
        """Call `on_train_end`; keep the parameters of the last step if a callback changes them."""
        if self._listeners.has("on_train_end"):
            self._last.keep()  # before the call, for the files that callbacks write
            self._listeners.call("on_train_end")
            self._last.forget_if_unchanged()

    def _leave(self, ended: bool) -> None:
        """Leave the history, and the state for a resumed run, to the model."""
        history = self._listeners.progress.history
        if not ended and not self._clock.moved:
            self._last.undo()
        if self._validation is None:
            self._record()
        del history.val_loss[len(history.loss) :]  # left by an interrupted `_record`
        state = None
        try:
            if not self._clock.diverged:  # otherwise the moments are not finite
                state = self.state()
        finally:  # also if a callback fails to return its state
            self._model.end_run(state, history)


def _last_val_loss(history: History) -> float:
    """Return the validation loss of the last epoch, NaN if it has none."""
    validated = 0 < len(history.loss) == len(history.val_loss)
    return history.val_loss[-1] if validated else math.nan
