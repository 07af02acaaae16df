"""One caller at a time: a network's engine, and who may use it meanwhile."""

import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, Thread, get_ident
from types import FrameType
from typing import Any

from dagbp._engine.engine import Engine
from dagbp._errors import OptionError
from dagbp._locks import ForkSafeLock, Stage, at_fork

PAUSE = 1e-4  # seconds between two looks at who has had a turn
PATIENCE = 10.0  # seconds that a fork waits for another thread's turn to end


class Turn(ForkSafeLock):
    """Gives the engine to one caller at a time: its buffers and parameters are shared.

    Other threads wait; for a training run, up to the end of one of its steps, where it gives way.
    The thread that has the engine may not come again, as a signal handler would, unless it is lent
    in the midst of a run. An interrupt may come between any two instructions, and leave the lock
    behind: whoever had it is at work for as long as its frame is on the stack.

    Attributes
    ----------
    training : bool
        Whether a run is under way.
    fetcher : Thread or None
        The last one that fetched batches.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine, self._whole = engine, True
        self._forget()
        _turns.add(self)

    def _forget(self) -> None:
        self.fetcher: Thread | None = None
        self._holder: FrameType | None = None
        self._runner: FrameType | None = None
        self._run_thread: int | None = None
        self._runs: Any = RLock()  # one run at a time; others wait for its end
        self._denied: set[int] = set()
        self._waiting: set[object] = set()  # a ticket for each time that a thread waits
        self._returning = False  # whether the run waits to go on
        self._held = False  # for a fork

    @property
    def training(self) -> bool:
        """Whether a run is under way."""
        return self._runner is not None

    def __enter__(self) -> Engine:
        if self._denied and get_ident() in self._denied:
            raise OptionError("what makes batches must not use the network that they train")
        if not self._whole:
            raise OptionError(
                "this process was forked in the midst of a step of this network, whose parameters "
                "are not those of one step; copy it before, or fork between two of its calls"
            )
        if self.lock._is_owned():
            if _is_on_the_stack(self._holder):
                raise OptionError(
                    "the network is at work in this thread already; a signal handler must not use "
                    "it, but can set a flag for later"
                )
            self.lock._release_save()  # of a call that an interrupt has ended
        if self._returning or not self.lock.acquire(blocking=False):
            self._wait()
        self._holder = sys._getframe(1)
        return self._engine

    def _wait(self) -> None:
        while self._returning and get_ident() != self._run_thread:
            time.sleep(PAUSE)
        ticket = object()
        self._waiting.add(ticket)
        try:
            self.lock.acquire()
        finally:
            self._waiting.discard(ticket)

    def __exit__(self, *error: object) -> None:
        self._holder = None
        if self.lock._is_owned():  # by a forked child it is not, where its parent had it
            self.lock.release()

    @contextmanager
    def for_a_run(self) -> Iterator[Engine]:
        """Give the engine to a training run; its callbacks must not begin another."""
        caller = sys._getframe(2)
        if self._run_thread == get_ident() and _is_on_the_stack(self._runner):
            raise OptionError("a callback must not train the network that calls it")
        if self._runs._is_owned():
            self._runs._release_save()
        with self._runs, self as engine:
            self._holder = self._runner = caller
            self._run_thread = get_ident()
            try:
                yield engine
            finally:
                self._runner = self._run_thread = None

    @contextmanager
    def denied(self) -> Iterator[None]:
        """Refuse this thread, for which a run waits, the engine."""
        thread = get_ident()
        self._denied.add(thread)
        try:
            yield
        finally:
            self._denied.discard(thread)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let others use the engine, callbacks of the run that has it too, one at a time."""
        holder, self._holder = self._holder, None
        self.lock.release()
        try:
            yield
        finally:
            self._take_back(holder)

    def _take_back(self, holder: FrameType | None) -> None:
        """Wait for whoever has the engine; nobody comes in between."""
        interrupted: KeyboardInterrupt | None = None
        while not self.lock._is_owned():
            try:
                self._returning = True
                self.lock.acquire()
            except KeyboardInterrupt as error:  # the lock is to be released by who had it
                interrupted = error
        self._holder, self._returning = holder, False
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

    # --- forks ---

    def hold(self) -> None:
        """Wait for the end of another thread's call, or step: a fork copies what it finds."""
        if self.lock._is_owned():  # a signal handler forks in the midst of one
            return
        self._held = self.lock.acquire(blocking=False)
        if not self._held:
            ticket = object()
            self._waiting.add(ticket)
            self._held = self.lock.acquire(timeout=PATIENCE)
            self._waiting.discard(ticket)

    def go_on(self) -> None:
        """Give back what `hold` took: the process has been copied."""
        if self._held:
            self._held = False
            self.lock.release()

    def renew(self) -> None:
        """Forget the runs of the process that this one was forked from."""
        super().renew()
        self._whole = self._whole and self._held
        self._forget()


def _is_on_the_stack(frame: FrameType | None) -> bool:
    """Return whether a call of this thread has not ended yet."""
    at: FrameType | None = sys._getframe(1)
    while at is not None:
        if at is frame:
            return True
        at = at.f_back
    return False


_turns: weakref.WeakSet[Turn] = weakref.WeakSet()


def _hold_all() -> None:
    for turn in list(_turns):
        turn.hold()


def _go_on_all() -> None:
    for turn in list(_turns):
        turn.go_on()


at_fork(Stage.ENGINES, before=_hold_all, after_in_parent=_go_on_all)
