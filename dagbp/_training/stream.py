"""A source of batches for data beyond memory: a thread fetches them while kernels run (no GIL)."""

import time
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from inspect import signature
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from dagbp._data.problem import Problem
from dagbp._errors import DagbpError, DataError, OptionError
from dagbp._training.minibatches import seeds
from dagbp._training.source import Source, Steps

AHEAD = 2  # batches that are fetched before they are needed
PERIOD = 0.05  # seconds after which a waiting thread checks whether it is still needed
PATIENCE = 10.0  # seconds that a run waits for the thread of an earlier run on the same source


class FetchLock(Protocol):
    """The part of the engine lock that a fetching thread uses."""

    fetching: list[Any]  # a `_Feed` for each thread that fetches batches for the network

    @property
    def run(self) -> object | None:
        """The run under way, None for none."""

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
        patience: float = PATIENCE,
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
        self._patience = patience
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
            self._feed.start(self._patience)
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
    """The run is to stop, or has ended, so no further batch is needed."""


class _Feed:
    """The batches of one epoch, fetched ahead by a thread of its own.

    An interrupt (Ctrl-C) can arrive between any two instructions of the run's thread, also before
    `close`. Inside a lock or a queue that the standard library writes in Python, it can leave that
    object locked. So both threads share only objects written in C (`SimpleQueue`, locks of
    `_thread`). The fetching thread also ends when its run ends.
    """

    def __init__(
        self,
        batches: Any,
        prepare: Callable[[Any], Problem],
        epoch: int,
        skip: int,
        lock: FetchLock,
    ) -> None:
        self.batches, self._prepare, self._epoch = batches, prepare, epoch
        self._skip, self._lock, self._run = skip, lock, lock.run
        self._items: SimpleQueue[Problem | BaseException | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()  # an entry for each batch to fetch ahead
        for _ in range(AHEAD):
            self._room.put(None)
        self._closed = False
        self.ended = allocate_lock()  # held until the thread has ended
        self.n_batches = 0

    def start(self, patience: float) -> None:
        """Start the thread. It waits at most `patience` seconds for another run's thread."""
        self.ended.acquire()
        start_new_thread(self._fetch, (patience,))

    def get(self, while_waiting: Callable[[], bool]) -> Problem | None:
        """Return the next batch, or None after the last; raise the error of a batch that failed.

        Raise `_Stopped` if `while_waiting` returns True before there is a batch.
        """
        while True:
            try:
                item = self._items.get(timeout=PERIOD)  # a timeout lets Ctrl-C in, on any platform
                break
            except Empty:
                if while_waiting():
                    raise _Stopped from None
        self._room.put(None)
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Let the thread end after its current batch."""
        self._closed = True

    def _fetch(self, patience: float) -> None:
        self._lock.fetching.append(self)
        item: BaseException | None = None
        try:
            # The run waits for this thread, so this thread must not wait for the network.
            with self._lock.forbidden():
                self._wait_for_source(patience)
                self._fetch_batches()
        except _Stopped:
            pass
        except DagbpError as error:
            item = error
        except BaseException as error:
            item = DataError(
                f"{self._place()} could not be fetched: {type(error).__name__}: {error}"
            )
            item.__cause__ = error
        self._lock.fetching.remove(self)
        self.ended.release()
        self._items.put(item)

    def _place(self) -> str:
        return f"batch {self.n_batches} of epoch {self._epoch} (both from 0)"

    def _check_needed(self) -> None:
        """Raise `_Stopped` if the run does not need batches any more."""
        if self._closed or self._lock.run is not self._run:
            raise _Stopped

    def _wait_for_source(self, patience: float) -> None:
        """Wait until the thread of an earlier run has left the same source."""
        end = time.monotonic() + patience
        for other in list(self._lock.fetching):
            if other is self or not _same_source(other.batches, self.batches):
                continue
            while not other.ended.acquire(timeout=PERIOD):
                self._check_needed()
                if time.monotonic() > end:
                    raise DataError(
                        "batches is still in use by an earlier run: it was stopped, but the "
                        f"next batch that it waits for did not come within {patience:g} s. Pass "
                        "other batches, or end what blocks these"
                    )
            other.ended.release()
        self._check_needed()

    def _fetch_batches(self) -> None:
        batches = self.batches(self._epoch) if callable(self.batches) else self.batches
        iterator = iter(batches)
        while True:
            self._wait_for_room()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            if self.n_batches < self._skip:
                self._room.put(None)
            else:
                self._items.put(self._checked(batch))
            del batch  # frees it before the next one is fetched
            self.n_batches += 1

    def _wait_for_room(self) -> None:
        """Wait until fewer than `AHEAD` batches are fetched and not yet used."""
        while True:
            self._check_needed()
            try:
                return self._room.get(timeout=PERIOD)
            except Empty:
                continue

    def _checked(self, batch: Any) -> Problem:
        try:
            return self._prepare(batch)
        except DagbpError as error:
            raise DataError(f"{self._place()}: {error}") from error


def _same_source(first: Any, second: Any) -> bool:
    """Return whether both are the same object, or methods of the same object."""
    return getattr(first, "__self__", first) is getattr(second, "__self__", second)
