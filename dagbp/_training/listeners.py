"""The callbacks of one run: calls of their hooks, once for each step and epoch, and their state."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from dagbp._errors import CallbackError, DagbpError
from dagbp._history import CallbackState, TrainingState
from dagbp._model.engine_lock import EngineLock
from dagbp.callbacks import Callback, Progress, Schedule

_HOOKS = (
    *("on_train_begin", "on_step_end", "on_epoch_end", "on_train_end"),
    *("on_poll", "on_divergence"),
)


class Listeners:
    """Calls the callbacks of a run, each of them once for each step and each epoch.

    Only methods that a callback overrides are called, so that the compiled loop runs on where no
    callback needs Python. `schedules` are the callbacks that set learning rates. `progress` is the
    argument of every call.
    """

    def __init__(self, callbacks: Sequence[Callback], progress: Progress, lock: EngineLock) -> None:
        self.callbacks, self.progress, self._lock = list(callbacks), progress, lock
        self.schedules = [one for one in self.callbacks if isinstance(one, Schedule)]
        self._hooks = {name: [one for one in callbacks if one.overrides(name)] for name in _HOOKS}
        steps = self._hooks["on_step_end"]
        self._hooks["on_step_end"] = [one for one in steps if one.every is not None]
        self._called = [CallbackState(type(one).__name__, {}, 0, 0) for one in self.callbacks]
        self._settings = [settings_of(one) for one in self.callbacks]
        self._stopped_by: str | None = None  # the callback that stopped the run that is resumed

    def has(self, hook: str) -> bool:
        """Return whether some callback overrides a hook."""
        return bool(self._hooks[hook])

    def reset(self) -> None:
        """Reset all callbacks, before a run that has no state to restore."""
        for callback in self.callbacks:
            with callback_context(callback, "reset", self.progress):
                callback.reset()

    def restore(self, state: TrainingState) -> None:
        """Restore each callback from the first unused state of its class; reset all others."""
        progress = self.progress
        if state.stopped_by in self._settings:
            progress.stopped, self._stopped_by = state.stopped, state.stopped_by
        unused = list(state.callbacks)
        for k, callback in enumerate(self.callbacks):
            name = self._called[k].class_name
            match = next((one for one in unused if one.class_name == name), None)
            if match is None:  # a new callback, which is not called for steps of the past
                self._called[k] = CallbackState(name, {}, state.epoch, state.n_updates)
                with callback_context(callback, "reset", progress):
                    callback.reset()
                continue
            unused.remove(match)
            self._called[k] = replace(match)
            with callback_context(callback, "restore", progress):
                callback.restore(copy.deepcopy(match.content))

    def states(self) -> list[CallbackState]:
        """Return the state of each callback now."""
        states = []
        for callback, called in zip(self.callbacks, self._called, strict=True):
            with callback_context(callback, "state", self.progress):
                states.append(replace(called, content=copy.deepcopy(callback.state())))
        return states

    def stopped_by(self) -> str | None:
        """Return the settings of the callback that stopped the run, or the run it resumes."""
        if self.progress.stopped_by in self.callbacks:
            return self._settings[self.callbacks.index(self.progress.stopped_by)]
        return self._stopped_by

    def call(self, hook: str) -> None:
        """Call a hook of all callbacks."""
        for callback in self._hooks[hook]:
            self._call(callback, hook)
        self.progress.history.stopped = self.progress.stopped

    def end_step(self) -> None:
        """Call `on_step_end` of the callbacks that are due."""
        n = self.progress.n_updates
        for callback, called in zip(self.callbacks, self._called, strict=True):
            due = callback in self._hooks["on_step_end"] and n % int(callback.every or 1) == 0
            if due and called.updates < n:
                called.updates = n
                self._call(callback, "on_step_end")

    def end_epoch(self, epoch: int) -> None:
        """Call `on_epoch_end`, unless that was done for this epoch before the run was resumed."""
        for callback, called in zip(self.callbacks, self._called, strict=True):
            if callback in self._hooks["on_epoch_end"] and called.epochs < epoch:
                called.epochs = epoch
                self._call(callback, "on_epoch_end")
        self.progress.history.stopped = self.progress.stopped

    def poll(self) -> bool:
        """Call `on_poll`; return whether a callback stops the run. The network stays locked."""
        for callback in self._hooks["on_poll"]:
            with callback_context(callback, "on_poll", self.progress):
                callback.on_poll(self.progress)
        return self.progress.stopped is not None

    def accept_divergence(self) -> bool:
        """Return whether a callback ends a run that is not finite without an error."""
        for callback in self._hooks["on_divergence"]:
            if self._call(callback, "on_divergence"):
                self.progress.history.stopped = self.progress.stopped
                return True
        return False

    def _call(self, callback: Callback, hook: str) -> object:
        with callback_context(callback, hook, self.progress), self._lock.released():
            return getattr(callback, hook)(self.progress)

    def next_step(self, updates: int) -> int | None:
        """Return the number of the next update after which `on_step_end` is due, None for none."""
        every = [int(one.every or 1) for one in self._hooks["on_step_end"]]
        return min(((updates // n + 1) * n for n in every), default=None)


@contextmanager
def callback_context(callback: Callback, method: str, progress: Progress) -> Iterator[None]:
    """Attribute exceptions and stops to the callback that causes them."""
    progress.listener = callback
    try:
        yield
    except DagbpError:
        raise
    except Exception as error:
        raise CallbackError(
            f"{type(callback).__name__}.{method} failed after {progress.n_updates} steps and "
            f"{progress.epoch} whole epochs: {type(error).__name__}: {error}. The network is as "
            "the last step left it"
        ) from error
    finally:
        progress.listener = None


def settings_of(callback: Callback) -> str:
    """Return a callback's class and its public attributes that are plain values, as text."""
    plain = (str, bool, int, float, type(None))
    settings = [
        f"{name}={value!r}"
        for name, value in sorted(vars(callback).items())
        if not name.startswith("_") and isinstance(value, plain)
    ]
    return f"{type(callback).__name__}({', '.join(settings)})"
