"""Locks that a forked child finds open, whoever held them in the parent."""

import os
import weakref
from threading import RLock
from typing import Any


class ForkSafeLock:
    """Keeps a reentrant lock; after a fork, the child's copy is a fresh one.

    Attributes
    ----------
    lock : RLock
        To be entered as it is: an interrupt within Python's code of another context manager would
        leave it behind, taken.
    """

    def __init__(self) -> None:
        self.lock: Any = RLock()
        _locks.add(self)

    def renew(self) -> None:
        """Forget who holds the lock."""
        self.lock = RLock()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
