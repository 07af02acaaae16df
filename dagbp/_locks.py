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
   (`_engine.workers`); replace each `ForkSafeLock`, such as the compiler's, by a new one.

Steps 1 to 4 are the first four values of `Stage`. An exception ends the hooks of its step only.
`subprocess` without `preexec_fn` runs none of them.
"""

import _frozen_importlib
import os
import time
import weakref
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from threading import RLock, get_ident
from typing import Any

Hook = Callable[[], object]

PATIENCE = 10.0  # seconds that a fork waits for an import of another thread


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


if hasattr(os, "register_at_fork"):
    for _stage in reversed(Stage):  # Python calls what was registered last first, before a fork
        os.register_at_fork(
            before=partial(_run, _stage, "before"),
            after_in_parent=partial(_run, _stage, "after_in_parent"),
            after_in_child=partial(_run, _stage, "after_in_child"),
        )


class ForkSafeLock:
    """Holds a reentrant lock, which a forked child replaces by a new one.

    Use `lock` in a `with` statement directly. An interrupt in the Python code of another context
    manager would leave the lock acquired.
    """

    def __init__(self) -> None:
        self.lock: Any = RLock()
        _fork_safe.add(self)

    def renew(self) -> None:
        """Replace the lock by a new one, which nobody holds."""
        self.lock = RLock()


_fork_safe: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_fork_safe):
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

    One that lasts longer is never waited for again: its module may run a whole program.
    """
    end = time.monotonic() + seconds
    while under_way := _imports_of_others() - _given_up:
        if time.monotonic() > end:
            _given_up.update(under_way)
            return
        time.sleep(0.001)


at_fork(Stage.IMPORTS, before=_wait_for_imports)
at_fork(Stage.LATE_IMPORTS, before=_wait_for_imports)
