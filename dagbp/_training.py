"""Minibatch training: options checked, epochs handed to the kernels, history brought back."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dagbp._data import Problem
from dagbp._engine import Engine, aligned, new_clock
from dagbp._errors import DivergenceError, OptionError
from dagbp._initialise import generator
from dagbp._kernels.records import (
    DIVERGED,
    EPOCH,
    LAST_EPOCH,
    STATUS,
    STEP,
    UPDATES,
    Clock,
    Update,
)
from dagbp._memory import require
from dagbp.optimizers import Optimizer

Array = npt.NDArray[Any]


MAX_EPOCHS = 10**9  # each keeps a loss


@dataclass(frozen=True)
class Options:
    """How to train; checked when made."""

    optimizer: Optimizer
    epochs: int
    batch_size: int
    shuffle: bool
    seed: int | None
    verbose: int

    def __post_init__(self) -> None:
        """Check the numbers that size loops."""
        for name, least, most in (("epochs", 0, MAX_EPOCHS), ("batch_size", 1, None)):
            value = getattr(self, name)
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or value < least or (most is not None and value > most):
                limit = "" if most is None else f" and <= {most:,}"
                raise OptionError(f"{name} must be a whole number >= {least}{limit}, got {value!r}")
        if not isinstance(self.shuffle, (bool, np.bool_)):
            raise OptionError(f"shuffle must be True or False, got {self.shuffle!r}")
        if not isinstance(self.verbose, (bool, np.bool_, int, np.integer)):
            raise OptionError(f"verbose must be a whole number, got {self.verbose!r}")


@dataclass
class History:
    """What training did, epoch by epoch.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch: of every batch before its update.
    val_loss : list of float
        Loss on the validation data after each epoch; empty without such data.
    n_updates : int
        Steps taken.
    seconds : float
        Time spent.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    n_updates: int = 0
    seconds: float = 0.0


def fit(
    engine: Engine,
    problem: Problem,
    validation: Problem | None,
    options: Options,
    thread_limit: int | None,
) -> History:
    """Train the engine's parameters in place; return the history. See `Network.fit`."""
    history, began = History(), time.perf_counter()
    n_samples = len(problem.features)
    epochs = int(options.epochs)
    if n_samples == 0:
        history.loss = [0.0] * epochs
        if validation is not None:
            history.val_loss = [engine.evaluate(validation, thread_limit)] * epochs
        return history
    batch_size = int(min(options.batch_size, n_samples))
    schedule = engine.scheduler.choose(batch_size, thread_limit)
    seed = int(generator(options.seed).integers(2**63))
    clock = new_clock(epochs, batch_size, bool(options.shuffle), seed)
    update = start(engine, options.optimizer)
    order = np.arange(n_samples)
    n_steps = epochs * -(-n_samples // batch_size)
    with _bar(n_steps, options.verbose) as bar:
        watch = _watcher(bar, clock)
        # The kernels hand back after each epoch that is to be validated, or after the last alone.
        for stop in range(1, epochs + 1) if validation is not None else [epochs]:
            clock.count[LAST_EPOCH] = stop
            engine.train(problem, order, update, clock, schedule, watch)
            _record(history, clock, began)
            if clock.count[STATUS] == DIVERGED:
                raise _diverged(history, clock, options.optimizer)
            if validation is not None:
                history.val_loss.append(engine.evaluate(validation, thread_limit))
            watch()
    return history


def start(engine: Engine, optimizer: Optimizer) -> Update:
    """Return the optimizer with a fresh state."""
    require(optimizer.slots * engine.values.nbytes, f"the state of {optimizer!r}")
    state = aligned((optimizer.slots, len(engine.values)), engine.dtype)
    runs = engine.runs
    address = optimizer.address(engine.dtype)
    return Update(
        address=address,
        hyper=optimizer.hyper(),
        state=state,
        n_runs=len(runs),
        runs=runs,
        keep=engine.keep,
        reduce=0,
        clip=optimizer.clip_address(engine.dtype),
        limits=optimizer.clips(),
    )


def _bar(n_steps: int, verbose: int) -> "tqdm[Any]":
    """Return a progress bar that appears after a second, on a terminal only."""
    quiet = not verbose or sys.stderr is None or not sys.stderr.isatty()
    return tqdm(total=n_steps, unit="step", delay=1.0, disable=quiet, leave=False)


def _watcher(bar: "tqdm[Any]", clock: Clock) -> Callable[[], None]:
    def watch() -> None:
        bar.update(int(clock.count[UPDATES]) - bar.n)

    return watch


def _record(history: History, clock: Clock, began: float) -> None:
    history.loss += clock.epoch_loss[len(history.loss) : clock.count[EPOCH]].tolist()
    history.n_updates = int(clock.count[UPDATES])
    history.seconds = time.perf_counter() - began


def _diverged(history: History, clock: Clock, optimizer: Optimizer) -> DivergenceError:
    error = DivergenceError(
        f"training diverged: the loss, its gradient or the update is not finite at step "
        f"{clock.count[STEP]} of epoch {clock.count[EPOCH]} (both counted from 0), with "
        f"learning_rate={optimizer.learning_rate}. That step was not taken; the parameters are "
        "those of the one before. Lower the learning rate, scale the features, or clip the gradient"
    )
    error.history = history  # type: ignore[attr-defined]
    return error
