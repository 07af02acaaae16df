"""One caller at a time: a network's engine, and who may use it meanwhile."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, Thread, get_ident

from dagbp._engine import Engine
from dagbp._errors import OptionError
from dagbp._forking import ForkSafeLock

PAUSE = 1e-4  # seconds between two looks at who has had a turn


class Turn(ForkSafeLock):
    """Gives the engine to one caller at a time: its buffers and parameters are shared.

    Other threads wait; for a training run, up to the end of one of its steps, where it gives way.
    The thread that has the engine may not come again, as a signal handler would, unless it is lent
    in the midst of a run.

    Attributes
    ----------
    training : bool
        Whether a run is under way.
    fetcher : Thread or None
        The last one that fetched batches.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._forget()

    def _forget(self) -> None:
        self.training = False
        self.fetcher: Thread | None = None
        self._denied: set[int] = set()
        self._waiting: set[object] = set()  # a ticket for each time that a thread waits
        self._runs = RLock()  # one run at a time; others wait for its end
        self._runner: int | None = None
        self._returning = False  # whether the run waits to go on

    def __enter__(self) -> Engine:
        if self._denied and get_ident() in self._denied:
            raise OptionError("what makes batches must not use the network that they train")
        if self._returning or not self._lock.acquire(blocking=False):
            self._wait()
        if self.busy:
            self._lock.release()
            raise OptionError(
                "the network is at work in this thread already; a signal handler must not use "
                "it, but can set a flag for later"
            )
        self.busy = True
        return self._engine

    def _wait(self) -> None:
        while self._returning and get_ident() != self._runner:
            time.sleep(PAUSE)
        ticket = object()
        self._waiting.add(ticket)
        try:
            self._lock.acquire()
        finally:
            self._waiting.discard(ticket)

    def __exit__(self, *error: object) -> None:
        self.busy = False
        self._lock.release()

    @contextmanager
    def for_a_run(self) -> Iterator[Engine]:
        """Give the engine to a training run; its callbacks must not begin another."""
        if self.training and self._runner == get_ident():
            raise OptionError("a callback must not train the network that calls it")
        with self._runs, self as engine:
            self.training, self._runner = True, get_ident()
            try:
                yield engine
            finally:
                self.training, self._runner = False, None

    @contextmanager
    def denied(self) -> Iterator[None]:
        """Refuse this thread, for which a run waits, the engine."""
        thread = get_ident()
        self._denied.add(thread)
        try:
            yield
        finally:
            self._denied.discard(thread)

    def renew(self) -> None:
        """Forget the runs of the process that this one was forked from."""
        super().renew()
        self._forget()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let others use the engine, callbacks of the run that has it too, one at a time."""
        self.busy = False
        self._lock.release()
        try:
            yield
        finally:
            self._take_back()

    def _take_back(self) -> None:
        """Wait for whoever has the engine; nobody comes in between."""
        interrupted: KeyboardInterrupt | None = None
        self._returning = True
        while True:
            try:
                self._lock.acquire()
                break
            except KeyboardInterrupt as error:  # the lock is to be released by who had it
                interrupted = error
        self.busy, self._returning = True, False
        if interrupted is not None:
            raise interrupted

    @property
    def wanted(self) -> bool:
        """Whether another thread waits."""
        return bool(self._waiting)

    def give_way(self) -> None:
        """Give those a turn that wait now, if any do."""
        tickets = set(self._waiting)
        if tickets:
            with self.lent():
                while tickets & self._waiting:
                    time.sleep(PAUSE)
