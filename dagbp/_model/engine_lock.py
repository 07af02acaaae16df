"""Lock around a network's engine: one thread at a time uses its buffers and parameters."""

import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import Any

from dagbp._engine.protocol import Engine
from dagbp._errors import OptionError
from dagbp._locks import PAUSE, Claim, RobustLock, Stage, at_fork, forking_function


class EngineLock(RobustLock):
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
    5. An interrupt (Ctrl-C) may arrive between any two instructions, also just before the lock is
       freed. A `RobustLock` is free all the same when its call has ended.
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
    interrupt          -              ends after it      ends after a step ends after a step
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
        self._runs = RobustLock()  # one run at a time
        self._returning: Claim | None = None  # the run that waits to take the lock again
        self._forbidden: set[int] = set()
        self.fetching: list[Any] = []

    @property
    def run(self) -> Claim | None:
        """The run under way."""
        return self._runs.holder

    def __enter__(self) -> Engine:
        if self._forbidden or self._returning is not None or not self._whole:
            self._check_usable()
            self._wait_for_run()
        if self.acquire(sys._getframe(1)) is None:
            raise self._used_by_this_thread()
        return self._engine

    def _check_usable(self) -> None:
        if self._forbidden and get_ident() in self._forbidden:
            raise OptionError(
                "a function that makes batches must not use the network that is trained on them"
            )
        if not self._whole:
            raise OptionError(
                "this process was forked while this network was in use, so its parameters may be "
                "of two steps; copy the network before the fork, or fork between two calls"
            )

    def _used_by_this_thread(self) -> OptionError:
        return OptionError(
            "the network is already in use by this thread; a signal handler must not use it, but "
            "can set a flag for later"
        )

    def _wait_for_run(self) -> None:
        while (run := self._returning) is not None and run.thread != get_ident() and run.holds:
            time.sleep(PAUSE)

    @contextmanager
    def hold_for_run(self) -> Iterator[Engine]:
        """Hold the engine for a training run."""
        self._check_usable()
        caller = sys._getframe(2)
        run = self._runs.acquire(caller)
        if run is None:
            raise OptionError("a callback must not train the network that calls it")
        try:
            self._wait_for_run()
            if self.acquire(caller) is None:
                raise self._used_by_this_thread()
            yield self._engine
        finally:
            self.release(caller)
            run.end()

    @contextmanager
    def forbidden(self) -> Iterator[None]:
        """Refuse the engine to this thread. A run waits for this thread, so both would wait."""
        thread = get_ident()
        self._forbidden.add(thread)
        try:
            yield
        finally:
            self._forbidden.discard(thread)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Free the lock of a run inside the block: callbacks and other threads may take it."""
        run = self.run
        if run is None or (frame := run.frame) is None:
            raise RuntimeError("there is no run")
        self.release(frame)
        try:
            yield
        finally:
            self._take_back(run, frame)

    def _take_back(self, run: Claim, frame: FrameType) -> None:
        """Acquire the lock of a run again; threads that call from now on wait until then."""
        interrupted: KeyboardInterrupt | None = None
        while run.holds and ((holder := self.holder) is None or holder.frame is not frame):
            try:
                self._returning = run
                self.acquire(frame)
            except KeyboardInterrupt as error:  # the run must hold the lock when it ends
                interrupted = error
        self._returning = None
        if interrupted is not None:
            raise interrupted

    @property
    def wanted(self) -> bool:
        """Whether another thread waits."""
        return bool(self.waiting)

    def yield_to_waiters(self) -> None:
        """Let each thread that waits now use the engine once."""
        before = self.waiting
        if before:
            with self.released():
                while before & self.waiting:
                    time.sleep(PAUSE)

    def hold_for_fork(self) -> None:
        """Wait for the end of another thread's call or step: a fork copies memory as it is."""
        self.acquire(forking_function(), self.fork_patience)

    def release_after_fork(self) -> None:
        """Free what `hold_for_fork` took, in the parent."""
        self.release(forking_function())

    def renew(self) -> None:
        """Forget the calls and runs of the parent, in the child."""
        holder = self.holder  # another than the forking function is an unfinished call or step
        self._whole &= holder is not None and holder.frame is forking_function()
        super().renew()
        self._forget()


_engine_locks: weakref.WeakSet[EngineLock] = weakref.WeakSet()


def _hold_all() -> None:
    for lock in list(_engine_locks):
        lock.hold_for_fork()


def _release_all() -> None:
    for lock in list(_engine_locks):
        lock.release_after_fork()


at_fork(Stage.ENGINES, before=_hold_all, after_in_parent=_release_all)
