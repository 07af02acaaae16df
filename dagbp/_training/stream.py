"""A source of batches for data beyond memory: a thread fetches them while kernels run (no GIL)."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from inspect import signature
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Protocol

from dagbp._data.problem import Problem
from dagbp._errors import DagbpError, DataError, OptionError
from dagbp._training.minibatches import seeds
from dagbp._training.source import Source, Steps

AHEAD = 2  # batches that are fetched before they are needed
PERIOD = 0.05  # seconds after which a waiting thread checks whether it is still needed


class FetchLock(Protocol):
    """The part of the engine lock that a fetching thread uses."""

    fetcher: Thread | None  # the last thread that fetched batches for the network

    def forbidden(self) -> AbstractContextManager[None]:
        """Refuse the engine to the current thread, since a run waits for this thread."""


class Batches(Source):
    """One step for each batch of an iterable, which is iterated anew in each epoch.

    `batches` may be a function instead: it gets the number of the epoch, from 0, and returns an
    iterable. `prepare` checks a batch and returns it as a problem.
    """

    whole_epochs = False

    def __init__(
        self,
        batches: Any,
        prepare: Callable[[Any], Problem],
        epochs: int,
        seed: Any,
        lock: FetchLock,
    ) -> None:
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
                f"batches is an iterator, which lasts for one epoch, but epochs is {epochs}; pass "
                "a list, or a function of the epoch's number that returns an iterator"
            )
        self._batches, self._prepare, self._lock = batches, prepare, lock
        self._feed: _Feed | None = None
        self._again: Steps | None = None
        self._skip = 0
        self.dropout_seed = seeds(seed)[1]
        self.steps_per_epoch = None
        if isinstance(batches, Sized) and not callable(batches):
            self.steps_per_epoch = len(batches) or None

    def next(self, epoch: int, while_waiting: Callable[[], bool]) -> Steps | None:
        """Return the step of the next batch, or None after the last one of the epoch."""
        if self._again is not None:
            return self._again
        if self._feed is None:
            self._feed = _Feed(self._batches, self._prepare, epoch, self._skip, self._lock)
        try:
            problem = self._feed.get(while_waiting)
        except _Stopped:
            return None
        if problem is not None:
            return Steps(problem, None, len(problem.features))
        if self._feed.n_batches == 0:
            raise DataError(f"there are no batches in epoch {epoch} (from 0)")
        self.close()
        self._skip = 0
        return None

    def settle(self, steps: Steps, taken: bool) -> None:
        """Keep the batch if its step was not taken."""
        self._again = None if taken else steps

    def seek(self, step: int) -> None:
        """Skip the batches of the steps that have been taken."""
        self._skip = step

    def config(self) -> dict[str, str]:
        """Return that the batches are a stream."""
        return {"batches": "of a stream"}

    def close(self) -> None:
        """End the thread that fetches."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None


def _takes_a_number(function: Callable[..., Any]) -> bool:
    try:
        signature(function).bind(0)
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature
        pass
    return True


class _Stopped(Exception):
    """The run is to stop, and does not wait for the next batch."""


class _Feed:
    """The batches of one epoch, fetched ahead by a thread of its own."""

    def __init__(
        self,
        batches: Any,
        prepare: Callable[[Any], Problem],
        epoch: int,
        skip: int,
        lock: FetchLock,
    ) -> None:
        self._prepare, self._epoch, self._skip, self._lock = prepare, epoch, skip, lock
        self._queue: Queue[Problem | BaseException | None] = Queue(AHEAD)
        self._unwanted = Event()
        self.n_batches = 0
        args = batches, lock.fetcher
        lock.fetcher = Thread(target=self._fetch, args=args, name="dagbp-batches", daemon=True)
        lock.fetcher.start()

    def get(self, while_waiting: Callable[[], bool]) -> Problem | None:
        """Return the next batch, or None after the last; raise the error of a batch that failed.

        Raise `_Stopped` if `while_waiting` returns True before there is a batch.
        """
        while True:
            try:
                item = self._queue.get(timeout=PERIOD)  # a timeout lets Ctrl-C in, on any platform
                break
            except Empty:
                if while_waiting():
                    raise _Stopped from None
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Let the thread end after its current batch."""
        self._unwanted.set()

    def _fetch(self, batches: Any, before: Thread | None) -> None:
        if before is not None:  # of a run that was stopped; it may still be at its last batch
            before.join()
        try:
            # The run waits for this thread, so this thread must not wait for the network.
            with self._lock.forbidden():
                for problem in self._problems(batches):
                    if not self._put(problem):
                        return
                self._put(None)
        except DagbpError as error:
            self._put(error)
        except BaseException as error:
            failed = DataError(
                f"batch {self.n_batches} of epoch {self._epoch} (both from 0) could not be "
                f"fetched: {type(error).__name__}: {error}"
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
        """Queue an item; return False if the run does not need it any more."""
        while not self._unwanted.is_set():
            try:
                self._queue.put(item, timeout=PERIOD)
                return True
            except Full:
                continue
        return False
