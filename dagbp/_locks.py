"""Locks that survive a fork, and the order of all that the package does around one.

A forked child has only the thread that called `fork`, but a copy of every lock, as it was. A lock
of another thread would never be released there. So all hooks run in one order, independent of the
order of imports:

1. Before the fork: wait until no other thread imports a module, for at most `PATIENCE` seconds. A
   child that imports the same module would wait for ever.
2. Before: acquire the lock of each engine (`_model.engine_lock`). A call ends first, and a training
   run ends its step. This comes before 3, because that call may have to compile.
3. Before: acquire the compiler's lock (`_compiler.decorators`), so that nothing is compiled.
4. Before: wait for imports again. One may have begun during 2 and 3.
5. After the fork, in the parent: undo 3, then 2.
6. After, in the child: forget the idle workers, as their threads do not exist there
   (`_engine.workers`); free each `RobustLock`, such as the compiler's.

Steps 1 to 4 are the first four values of `Stage`. An exception ends the hooks of its step only.
`subprocess` without `preexec_fn` runs none of them.
"""

import _frozen_importlib
import os
import sys
import time
import weakref
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from math import inf
from threading import get_ident
from types import FrameType
from typing import Any

Hook = Callable[[], object]

PATIENCE = 10.0  # seconds that a fork waits for an import of another thread
PAUSE = 1e-4  # seconds between two looks at a lock


class Stage(IntEnum):
    """The order of hooks: ascending before a fork, descending after it."""

    IMPORTS = 1
    ENGINES = 2
    COMPILER = 3
    LATE_IMPORTS = 4
    LOCKS = 5
    WORKERS = 6


_hooks: dict[tuple[Stage, str], list[Hook]] = {}


def at_fork(
    stage: Stage,
    *,
    before: Hook | None = None,
    after_in_parent: Hook | None = None,
    after_in_child: Hook | None = None,
) -> None:
    """Add hooks to a stage."""
    hooks = {"before": before, "after_in_parent": after_in_parent, "after_in_child": after_in_child}
    for when, hook in hooks.items():
        if hook is not None:
            _hooks.setdefault((stage, when), []).append(hook)


def _run(stage: Stage, when: str) -> None:
    for hook in _hooks.get((stage, when), ()):
        hook()


def forking_function() -> FrameType:
    """Return the frame that calls `os.fork`, for a hook that acquires a `RobustLock`."""
    at: Any = sys._getframe()
    while at.f_code is not _run.__code__:
        at = at.f_back
    return at.f_back  # type: ignore[no-any-return]


if hasattr(os, "register_at_fork"):
    for _stage in reversed(Stage):  # Python calls what was registered last first, before a fork
        os.register_at_fork(
            before=partial(_run, _stage, "before"),
            after_in_parent=partial(_run, _stage, "after_in_parent"),
            after_in_child=partial(_run, _stage, "after_in_child"),
        )


class Claim:
    """One acquisition of a `RobustLock`, by the function whose frame is `frame`."""

    __slots__ = ("ended", "frame", "next", "thread")

    def __init__(self, frame: FrameType | None) -> None:
        self.frame, self.thread, self.ended = frame, get_ident(), frame is None
        self.next: dict[int, Claim] = {}  # next[0]: the claim appended after this one

    def end(self) -> None:
        """Free the lock."""
        self.ended, self.frame = True, None

    @property
    def holds(self) -> bool:
        """Whether the claim is not ended, and the function that made it still runs."""
        if self.ended:
            return False
        here = self.thread == get_ident()
        at = sys._getframe() if here else sys._current_frames().get(self.thread)
        while at is not None:
            if at is self.frame:
                return True
            at = at.f_back
        return False


class RobustLock:
    """A lock of a function, which is free when the function has returned, even by an interrupt.

    A KeyboardInterrupt may come after a lock is acquired and before the block begins that releases
    it. So ``with lock`` can leave a lock of `threading` acquired for ever [1]_. This lock stores
    the frame of the function that acquired it. If the frame is not on the stack of its thread any
    more, the lock counts as free, as a robust mutex of POSIX does when its owner has died.

    Claims form a linked list. The last one holds the lock until it ends. The next claim is appended
    by one atomic operation, `dict.setdefault`, so only one thread can do it. A waiting thread
    polls. The lock is reentrant: a nested ``with lock`` of the same thread has no effect. A forked
    child gets a new lock.

    .. [1] CPython issue 29988, "with statements are not ensuring that __exit__ is called if
       __enter__ succeeds".
    """

    def __init__(self) -> None:
        self._clear()
        _robust.add(self)

    def renew(self) -> None:
        """Free the lock in a forked child, where the thread that holds it may not exist."""
        self._clear()

    def _clear(self) -> None:
        self._last = Claim(None)
        self._waiting: set[Claim] = set()

    def _tail(self) -> Claim:
        last = self._last
        while last.next:
            last = last.next[0]
        self._last = last
        return last

    @property
    def holder(self) -> Claim | None:
        """The claim that holds the lock now."""
        last = self._tail()
        return last if last.holds else None

    @property
    def waiting(self) -> set[Claim]:
        """The claims of the calls that wait for the lock."""
        return {claim for claim in self._waiting.copy() if claim.holds}

    def acquire(self, frame: FrameType, seconds: float = inf) -> Claim | None:
        """Acquire the lock for a function of this thread, and return the claim.

        Return None if the lock is still held after `seconds`, or if a function of this thread holds
        it.
        """
        mine, last = Claim(frame), self._last
        if last.ended and last.next.setdefault(0, mine) is mine:  # as `_append`, but faster
            self._last = mine
            return mine
        end = time.monotonic() + seconds
        try:
            self._waiting.add(mine)
            while not self._append(mine):
                holder = self.holder
                if time.monotonic() > end or (holder is not None and holder.thread == mine.thread):
                    return None
                time.sleep(PAUSE)
        finally:
            self._waiting.discard(mine)
        return mine

    def _append(self, mine: Claim) -> bool:
        """Append a claim if the last one does not hold the lock, which it cannot do again."""
        last = self._tail()
        if last.holds or last.next.setdefault(0, mine) is not mine:
            return False
        self._last = mine
        last.end()  # its function has ended; frees the frame
        return True

    def release(self, frame: FrameType) -> None:
        """Free the lock if this function holds it."""
        last = self._tail()
        if last.frame is frame:  # which is on the stack
            last.end()

    def __enter__(self) -> object:
        return self.acquire(sys._getframe(1))

    def __exit__(self, *error: object) -> None:
        last, frame = self._last, sys._getframe(1)
        if last.frame is frame:
            last.ended, last.frame = True, None
        else:
            self.release(frame)


_robust: weakref.WeakSet[RobustLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_robust):
        lock.renew()


at_fork(Stage.LOCKS, after_in_child=_renew_all)


_given_up: set[tuple[str, int]] = set()


def _imports_of_others() -> set[tuple[str, int]]:
    """Return each module that another thread imports now, with the thread's identifier."""
    locks = getattr(_frozen_importlib, "_module_locks", {})  # weak references to locks, by name
    held = ((name, getattr(find(), "owner", None)) for name, find in list(locks.items()))
    return {(name, owner) for name, owner in held if owner not in (None, get_ident())}


def _wait_for_imports(seconds: float = PATIENCE) -> None:
    """Wait until the imports of other threads have ended.

    An import that takes longer is not waited for at later forks: its module may run a program.
    """
    end = time.monotonic() + seconds
    while under_way := _imports_of_others() - _given_up:
        if time.monotonic() > end:
            _given_up.update(under_way)
            return
        time.sleep(0.001)


at_fork(Stage.IMPORTS, before=_wait_for_imports)
at_fork(Stage.LATE_IMPORTS, before=_wait_for_imports)
