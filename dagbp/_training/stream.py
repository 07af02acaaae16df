"""Training on batches that are made while it goes on, for data beyond memory.

A thread fetches and checks the next batches while kernels run, which hold no lock of Python's.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from inspect import signature
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

from dagbp._data.features import Problem
from dagbp._engine.buffers import new_clock
from dagbp._errors import DagbpError, DataError, OptionError
from dagbp._history import TrainingState
from dagbp._kernels.frames import EPOCH, FIRST_RATE, STATUS, STEP, UPDATES, ClockFrame
from dagbp._model.engine_lock import Turn
from dagbp._training.run import Run
from dagbp._training.source import Source

AHEAD = 2  # batches that are ready before they are needed
PERIOD = 0.05  # seconds after which a waiting thread looks whether it is still wanted


class Batches(Source):
    """One step for each batch of an iterable, which is iterated anew for each epoch.

    Parameters
    ----------
    batches : iterable, or callable
        A function gets the number of the epoch, from 0, and returns an iterable.
    prepare : callable
        Turns a batch into a problem, checked.
    epochs : int
    """

    def __init__(self, batches: Any, prepare: Callable[[Any], Problem], epochs: int) -> None:
        if not callable(batches) and not isinstance(batches, Iterable):
            raise OptionError(
                "batches must be an iterable of (X, Y) or (X, Y, sample_weight), or a function of "
                f"the epoch's number that returns one, got {batches!r}"
            )
        if callable(batches) and not _takes_a_number(batches):
            raise OptionError(
                f"batches must be a function of one argument, the epoch's number from 0, got "
                f"{batches!r}"
            )
        if isinstance(batches, Iterator) and epochs > 1:
            raise OptionError(
                f"batches is an iterator, which lasts for one epoch, and epochs is {epochs}; give "
                "a list, or a function of the epoch's number that returns an iterator"
            )
        self._batches, self._prepare = batches, prepare
        self._feed: _Feed | None = None
        self._first: list[Problem | None] = []
        self._skip = 0
        self._loss, self._weight = 0.0, 0.0
        self.clock = new_clock(epochs, 1, False, 0)
        self.steps_per_epoch, self.one_by_one = None, True
        if isinstance(batches, Sized) and not callable(batches):
            self.steps_per_epoch = len(batches) or None

    def begin(self, run: Run) -> None:
        """Fetch the first batch."""
        self._first = [self._next(run)]

    def advance(self, run: Run) -> None:
        """Take the step of the next batch, or find that the epoch has ended."""
        count = self.clock.count
        problem = self._first.pop() if self._first else self._next(run)
        if run.progress.stopped is not None:
            return
        if problem is None:
            self.clock.epoch_loss[int(count[EPOCH])] = self._loss / max(self._weight, 1.0)
            self._loss = self._weight = 0.0
            count[EPOCH] += 1
            count[STEP] = 0
            return
        n_samples = len(problem.features)
        clock = new_clock(1, n_samples, False, 0)._replace(rates=self.clock.rates)
        clock.count[UPDATES] = count[UPDATES]
        clock.count[FIRST_RATE] = count[FIRST_RATE]
        try:
            run.engine.train(
                problem,
                None,
                run.update,
                clock,
                max_threads=run.max_threads,
                watch=run.is_to_hand_back,
                dropout=run.dropout,
            )
        finally:  # an interrupt comes after the step
            self._count_in(clock, n_samples)

    def _count_in(self, clock: ClockFrame, n_samples: int) -> None:
        """Add the step of one batch, if it was taken, to those of all."""
        count = self.clock.count
        count[STATUS] = clock.count[STATUS]
        if clock.count[UPDATES] == count[UPDATES]:
            return
        count[UPDATES] = clock.count[UPDATES]
        count[STEP] += 1
        self.clock.step_loss[:] = clock.step_loss
        self._loss += float(clock.step_loss[0]) * n_samples
        self._weight += n_samples

    def _next(self, run: Run) -> Problem | None:
        """Return the next batch of the epoch, or None at its end, or where the run is stopped."""
        epoch = int(self.clock.count[EPOCH])
        if self._feed is None:
            turn = run.progress.network._turn
            self._feed = _Feed(self._batches, self._prepare, epoch, self._skip, turn)
        problem = self._feed.get(run)
        if problem is None and run.progress.stopped is None:
            if self._feed.n_batches == 0:
                raise DataError(f"there are no batches in epoch {epoch} (from 0)")
            self.close()
            self._skip = 0
        return problem

    def close(self) -> None:
        """End the thread that fetches."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def state(self) -> tuple[float, float]:
        """Return the loss summed over the samples seen in this epoch, and their number."""
        count = self.clock.count
        if count[STEP] == 0 and 0 < count[EPOCH] <= len(self.clock.epoch_loss):
            return float(self.clock.epoch_loss[int(count[EPOCH]) - 1]), 0.0
        return self._loss, self._weight

    def config(self) -> dict[str, str]:
        """Return that this is a stream."""
        return {"batches": "of a stream"}

    def resume(self, state: TrainingState) -> None:
        """Set the clock; the batches of the epoch that are done will be skipped."""
        count = self.clock.count
        count[EPOCH], count[STEP], count[UPDATES] = state.epoch, state.step, state.optimizer_steps
        self._skip = state.step
        if state.step:
            self._loss, self._weight = state.epoch_loss, state.epoch_weight
        elif 0 < state.epoch <= len(self.clock.epoch_loss):
            self.clock.epoch_loss[state.epoch - 1] = state.epoch_loss


def _takes_a_number(function: Callable[..., Any]) -> bool:
    try:
        signature(function).bind(0)
    except TypeError:
        return False
    except ValueError:  # of a built-in nobody can tell
        pass
    return True


class _Feed:
    """The batches of one epoch, fetched ahead by a thread of its own."""

    def __init__(
        self, batches: Any, prepare: Callable[[Any], Problem], epoch: int, skip: int, turn: Turn
    ) -> None:
        self._prepare, self._epoch, self._skip, self._turn = prepare, epoch, skip, turn
        self._queue: Queue[Problem | BaseException | None] = Queue(AHEAD)
        self._unwanted = Event()
        self.n_batches = 0
        args = batches, turn.fetcher
        turn.fetcher = Thread(target=self._fetch, args=args, name="dagbp-batches", daemon=True)
        turn.fetcher.start()

    def get(self, run: Run) -> Problem | None:
        """Return the next batch, or None after the last; raise what was raised for it.

        Also None if the run, which watches and gives way while there is nothing, is to stop.
        """
        while True:
            try:
                item = self._queue.get(timeout=PERIOD)  # so that Ctrl-C is heard on every platform
                break
            except Empty:
                if run.watch():
                    return None
                run.give_way()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Let the thread end after the batch that it is at."""
        self._unwanted.set()

    def _fetch(self, batches: Any, before: Thread | None) -> None:
        if before is not None:  # of a run that was stopped, and perhaps still at its last batch
            before.join()
        # The run waits for this thread, which must not wait for its turn.
        with self._turn.denied():
            self._fetch_all(batches)

    def _fetch_all(self, batches: Any) -> None:
        try:
            for problem in self._problems(batches):
                if not self._put(problem):
                    return
            self._put(None)
        except DagbpError as error:
            self._put(error)
        except BaseException as error:
            failed = DataError(
                f"batch {self.n_batches} of epoch {self._epoch} (both from 0) could not be had: "
                f"{type(error).__name__}: {error}"
            )
            failed.__cause__ = error
            self._put(failed)

    def _problems(self, batches: Any) -> Iterator[Problem]:
        if self._unwanted.is_set():
            return
        for batch in batches(self._epoch) if callable(batches) else batches:
            if self._unwanted.is_set():
                return
            skipped = self.n_batches < self._skip
            problem = None if skipped else self._checked(batch)
            self.n_batches += 1
            if problem is not None:
                yield problem

    def _checked(self, batch: Any) -> Problem:
        try:
            return self._prepare(batch)
        except DagbpError as error:
            which = f"batch {self.n_batches} of epoch {self._epoch} (both from 0)"
            raise DataError(f"{which}: {error}") from error

    def _put(self, item: Problem | BaseException | None) -> bool:
        """Hand an item over; return False if nobody wants it any more."""
        while not self._unwanted.is_set():
            try:
                self._queue.put(item, timeout=PERIOD)
                return True
            except Full:
                continue
        return False
