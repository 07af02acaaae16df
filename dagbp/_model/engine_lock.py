"""Lock around a network's engine: one thread at a time uses its buffers and parameters."""

import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, get_ident
from types import FrameType
from typing import Any

from dagbp._engine.protocol import Engine
from dagbp._errors import OptionError
from dagbp._locks import ForkSafeLock, Stage, at_fork

PAUSE = 1e-4  # seconds between two checks whether the waiting threads have been served


class EngineLock(ForkSafeLock):
    """Gives the engine to one thread at a time: ``with lock as engine``.

    The protocol. A *call* is one ``with lock``; a *run* is ``with lock.hold_for_run()``.

    1. A call waits until the lock is free, and frees it at its end.
    2. A run takes the lock for all of its steps. Between two steps it calls `yield_to_waiters`,
       which frees the lock until each thread that waits now has been served once.
    3. While a callback runs, the run has `released` the lock: the callback and other threads may
       use the network. Afterwards the run waits for the lock, and new callers wait for the run.
    4. A thread that holds the lock and enters again is in a signal handler: OptionError. A callback
       that begins a second run: OptionError. A thread inside `forbidden` (the run waits for it):
       OptionError.
    5. An interrupt (Ctrl-C) may arrive between any two instructions, also just before a lock is
       freed. So holding the lock does not prove that its call still runs: that is the case only
       while the frame of the call is on the stack of its thread. A lock left behind by an interrupt
       is freed by the next call of the same thread.
    6. A fork waits for the call or step in progress (at most `fork_patience` seconds). In the
       child, all locks are free. A child that was forked within a step refuses to use the network.

    ================== ============== ================== ================= ====================
    event              lock free      held by a call     held by a run     released by a run
    ================== ============== ================== ================= ====================
    call, other thread takes it       waits              waits for a step  takes it
    call, same thread  takes it       OptionError        OptionError       takes it
    run, other thread  takes it       waits              waits for the end waits for the end
    run, same thread   takes it       OptionError        OptionError       OptionError
    fork               takes, frees   waits              waits for a step  takes, frees
    interrupt          -              freed by the call  ends after a step ends after a step
    ================== ============== ================== ================= ====================

    `run` identifies the run under way. `fetching` lists the threads that fetch batches for a run,
    and for runs that were stopped while they waited for a batch. `fork_patience` is the time in
    seconds that a fork waits for the call or step of another thread.
    """

    fork_patience = 10.0

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine, self._whole = engine, True
        self._forget()
        _engine_locks.add(self)

    def _forget(self) -> None:
        self.run: object | None = None
        self.fetching: list[Any] = []
        self._holder: FrameType | None = None  # the frame of the call that holds the lock
        self._runner: FrameType | None = None  # the frame of the run under way
        self._run_thread: int | None = None
        self._runs: Any = RLock()  # one run at a time
        self._forbidden: set[int] = set()
        self._waiting: set[object] = set()  # one token for each call that waits
        self._returning = False  # whether the run waits to take the lock again
        self._held = False  # whether a fork holds the lock

    @property
    def training(self) -> bool:
        """Whether a run is under way."""
        return self.run is not None

    def __enter__(self) -> Engine:
        if self._forbidden and get_ident() in self._forbidden:
            raise OptionError("a function that makes batches must not use the network they train")
        if not self._whole:
            raise OptionError(
                "this process was forked within a training step of this network, so its parameters "
                "may be of two steps; copy the network before the fork, or fork between two calls"
            )
        if self.lock._is_owned():
            if _is_on_the_stack(self._holder):
                raise OptionError(
                    "the network is already in use by this thread; a signal handler must not use "
                    "it, but can set a flag for later"
                )
            self.lock._release_save()  # left behind by a call that an interrupt ended
        if self._returning or not self.lock.acquire(blocking=False):
            self._wait()
        self._holder = sys._getframe(1)
        return self._engine

    def _wait(self) -> None:
        while self._returning and get_ident() != self._run_thread:
            time.sleep(PAUSE)
        token = object()
        self._waiting.add(token)
        try:
            self.lock.acquire()
        finally:
            self._waiting.discard(token)

    def __exit__(self, *error: object) -> None:
        self._holder = None
        if self.lock._is_owned():  # not in a child that was forked while its parent held it
            self.lock.release()

    @contextmanager
    def hold_for_run(self) -> Iterator[Engine]:
        """Hold the engine for a training run."""
        caller = sys._getframe(2)
        if self._run_thread == get_ident() and _is_on_the_stack(self._runner):
            raise OptionError("a callback must not train the network that calls it")
        if self._runs._is_owned():
            self._runs._release_save()
        with self._runs, self as engine:
            self._holder = self._runner = caller
            self._run_thread, self.run = get_ident(), object()
            try:
                yield engine
            finally:
                self.run = self._runner = self._run_thread = None

    @contextmanager
    def forbidden(self) -> Iterator[None]:
        """Refuse the engine to this thread: a run waits for it, so it must not wait for the run."""
        thread = get_ident()
        self._forbidden.add(thread)
        try:
            yield
        finally:
            self._forbidden.discard(thread)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Free the lock of a run meanwhile: callbacks and other threads may take it."""
        holder, self._holder = self._holder, None
        self.lock.release()
        try:
            yield
        finally:
            self._take_back(holder)

    def _take_back(self, holder: FrameType | None) -> None:
        """Wait for the lock, before all callers that come from now on."""
        interrupted: KeyboardInterrupt | None = None
        while not self.lock._is_owned():
            try:
                self._returning = True
                self.lock.acquire()
            except KeyboardInterrupt as error:  # the run must hold the lock when it ends
                interrupted = error
        self._holder, self._returning = holder, False
        if interrupted is not None:
            raise interrupted

    @property
    def wanted(self) -> bool:
        """Whether another thread waits."""
        return bool(self._waiting)

    def yield_to_waiters(self) -> None:
        """Let each thread that waits now use the engine once."""
        tokens = set(self._waiting)
        if tokens:
            with self.released():
                while tokens & self._waiting:
                    time.sleep(PAUSE)

    def hold_for_fork(self) -> None:
        """Wait for the end of another thread's call or step: a fork copies memory as it is."""
        if self.lock._is_owned():  # a signal handler forks within a call
            return
        self._held = self.lock.acquire(blocking=False)
        if not self._held:
            token = object()
            self._waiting.add(token)
            self._held = self.lock.acquire(timeout=self.fork_patience)
            self._waiting.discard(token)

    def release_after_fork(self) -> None:
        """Free what `hold_for_fork` took, in the parent."""
        if self._held:
            self._held = False
            self.lock.release()

    def renew(self) -> None:
        """Forget the calls and runs of the parent, in the child."""
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


_engine_locks: weakref.WeakSet[EngineLock] = weakref.WeakSet()


def _hold_all() -> None:
    for lock in list(_engine_locks):
        lock.hold_for_fork()


def _release_all() -> None:
    for lock in list(_engine_locks):
        lock.release_after_fork()


at_fork(Stage.ENGINES, before=_hold_all, after_in_parent=_release_all)
