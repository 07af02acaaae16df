"""Locks that a forked child finds open, whoever held them in the parent."""

import os
import weakref
from threading import RLock


class ForkSafeLock:
    """A reentrant lock; after a fork, the child's copy is a fresh one.

    Attributes
    ----------
    busy : bool
        For the holder's use; False in a fresh lock.
    """

    def __init__(self) -> None:
        self._lock, self.busy = RLock(), False
        _locks.add(self)

    def __enter__(self) -> object:
        self._lock.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Forget who holds the lock."""
        self._lock, self.busy = RLock(), False


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
