"""The base class of callbacks, and the progress that they receive."""

import math
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Literal, Protocol

import numpy.typing as npt

from dagbp._checks import is_number, is_one_of
from dagbp._errors import OptionError, did_you_mean
from dagbp._history import History


class TrainedNetwork(Protocol):
    """The methods of `dagbp.Network` that callbacks use most, as described there."""

    @property
    def inputs(self) -> list[Hashable]: ...
    @property
    def outputs(self) -> list[Hashable]: ...
    @property
    def parameters(self) -> npt.NDArray[Any]: ...
    @parameters.setter
    def parameters(self, values: npt.ArrayLike) -> None: ...
    @property
    def weights(self) -> Any: ...
    @property
    def biases(self) -> Any: ...
    def predict(self, X: Any) -> npt.NDArray[Any]: ...
    def forward(self, X: Any) -> Any: ...
    def backprop(self, X: Any, Y: Any, loss: Any = ..., *, sample_weight: Any = ...) -> Any: ...
    def evaluate(self, X: Any, Y: Any, loss: Any = ..., *, sample_weight: Any = ...) -> float: ...
    def save(self, path: "str | os.PathLike[str]", *, training: bool = True) -> None: ...


@dataclass(eq=False, slots=True)
class Progress:
    """The state of a training run as callbacks see it; the argument of their methods.

    Attributes
    ----------
    network : Network
        The network after the last step. Callbacks may use, save and change it, except in
        `Callback.on_poll`. Other threads may use it between two steps.
    epoch, n_epochs : int
        Epochs finished, and epochs of the run as passed to `fit`.
    step, n_updates : int
        Steps taken in the epoch in progress, and in the run.
    loss : float
        In `Callback.on_step_end` the loss of the last step, otherwise of the last epoch. NaN before
        the first.
    val_loss : float
        Validation loss of the last epoch; NaN without validation data.
    history : History
    learning_rate : float
        The optimizer's learning rate, without the factors of schedules. Assign a number to change
        it from the next step on.
    rate : float
        The learning rate of the last step, with these factors; NaN before the first step.
    stopped : str or None
        The reason why the run ends before its next step; None if it does not.
    validated : bool
        Whether there is validation data.
    """

    network: TrainedNetwork
    history: History
    n_epochs: int
    learning_rate: float
    epoch: int = 0
    step: int = 0
    n_updates: int = 0
    loss: float = math.nan
    val_loss: float = math.nan
    rate: float = math.nan
    stopped: str | None = None
    validated: bool = False
    resumable: bool = field(default=False, repr=False)
    listener: "Callback | None" = field(default=None, repr=False)
    stopped_by: "Callback | None" = field(default=None, repr=False)

    def stop(self, reason: str, *, resumable: bool = False) -> None:
        """End the run before its next step.

        Parameters
        ----------
        reason : str
            The text for `History.stopped`.
        resumable : bool
            True: ``fit(resume=True)`` always continues from here. False: it continues unless it
            gets a callback of the same class with the same public attributes as the one that
            stops the run; with such a callback the run counts as finished.
        """
        if self.stopped is None or (self.resumable and not resumable):
            self.stopped, self.resumable = str(reason), resumable
            self.stopped_by = self.listener


class Callback:
    """Base class of callbacks: override the methods that you need; the others do nothing.

    Examples
    --------
    >>> import dagbp
    >>> from dagbp.callbacks import Callback
    >>> class Accuracy(Callback):
    ...     def __init__(self, X, labels, enough):
    ...         self.X, self.labels, self.enough = X, labels, enough
    ...     def on_epoch_end(self, progress):
    ...         right = progress.network.predict(self.X).argmax(axis=1) == self.labels
    ...         if right.mean() >= self.enough:
    ...             progress.stop(f"{right.mean():.0%} are right")
    >>> X, labels = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
    >>> net = dagbp.compile(dagbp.layered([2, 4, 2], seed=0), seed=0)
    >>> stop = Accuracy(X, labels, enough=1.0)
    >>> net.fit(
    ...     X, labels, loss="softmax_cross_entropy", epochs=500, callbacks=[stop], seed=0
    ... ).stopped
    '100% are right'

    Attributes
    ----------
    every : int or None
        Number of steps from one call of `on_step_end` to the next; None for no calls. Each call
        interrupts the compiled loop, which otherwise runs whole epochs.
    """

    every: int | None = 1

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the names and the arguments of the methods that begin with ``on_``."""
        super().__init_subclass__(**options)
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name, method in vars(cls).items():
            if not name.startswith("on_") or not callable(method):
                continue
            if name not in known:
                raise OptionError(
                    f"callback {cls.__name__!r}: no hook {name}{did_you_mean(name, known)}"
                )
            if len(signature(method).parameters) != 2:
                raise OptionError(
                    f"callback {cls.__name__!r}: {name} must take one argument, the progress, but "
                    f"is defined with {signature(method)}"
                )

    def on_train_begin(self, progress: Progress) -> None:
        """Handle the beginning of a run, also of a resumed one."""

    def on_step_end(self, progress: Progress) -> None:
        """Handle the end of every `every`-th step."""

    def on_epoch_end(self, progress: Progress) -> None:
        """Handle the end of an epoch, after its validation."""

    def on_train_end(self, progress: Progress) -> None:
        """Handle the end of the run, unless an exception ends it."""

    def on_poll(self, progress: Progress) -> None:
        """Handle a poll, about ten times a second while the kernels run.

        The progress shows the numbers of the last return from the kernels. Do not use the network
        here.
        """

    def on_divergence(self, progress: Progress) -> bool:
        """Return whether to end the run without an error after a step that is not finite."""
        return False

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs: numbers, strings, None and arrays."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned; called before `on_train_begin` of a resumed run."""

    def reset(self) -> None:
        """Discard all state; called before `on_train_begin` if there is no state to restore."""

    def overrides(self, method: str) -> bool:
        """Return whether the callback overrides a method."""
        return getattr(getattr(self, method), "__func__", None) is not getattr(Callback, method)


Monitor = str | Callable[[Progress], float]


class Best:
    """Tracks the best value of a monitored quantity, and the epochs without improvement.

    `epoch` is the epoch of the best value, counted from 1; 0 before the first. `wait` counts the
    epochs since the last improvement of more than `min_delta`.
    """

    def __init__(
        self, owner: str, monitor: Monitor, mode: Literal["min", "max"], min_delta: float
    ) -> None:
        if not callable(monitor) and not is_one_of(monitor, ("loss", "val_loss")):
            raise OptionError(
                f"{owner}: monitor must be 'loss', 'val_loss' or a function of the progress, got "
                f"{monitor!r}"
            )
        if not is_one_of(mode, ("min", "max")):
            raise OptionError(f"{owner}: mode must be 'min' or 'max', got {mode!r}")
        check_number(owner, "min_delta", min_delta, least=0)
        self._owner, self._monitor, self._min_delta = owner, monitor, min_delta
        self._sign = 1.0 if mode == "min" else -1.0
        self.reset()

    def reset(self) -> None:
        """Discard all values."""
        self._best, self._beaten, self.wait, self.epoch = math.inf, math.inf, 0, 0

    @property
    def name(self) -> str:
        """The name of the monitored quantity."""
        if isinstance(self._monitor, str):
            return self._monitor
        return getattr(self._monitor, "__name__", "the monitored value")

    def begin(self, progress: Progress) -> None:
        """Raise OptionError if the run does not compute the monitored quantity."""
        if self._monitor == "val_loss" and not progress.validated:
            raise OptionError(
                f"{self._owner} monitors 'val_loss', but fit has no validation_data; pass some, "
                "or monitor 'loss'"
            )

    def improved(self, progress: Progress) -> bool:
        """Add the current value; return whether it is the best one."""
        value = self._value(progress)
        first = self.epoch == 0 and not math.isnan(value)
        self.wait += 1
        if first or value < self._beaten - self._min_delta:
            self._beaten, self.wait = value, 0
        if first or value < self._best:
            self._best, self.epoch = value, progress.epoch
            return True
        return False

    def _value(self, progress: Progress) -> float:
        if not isinstance(self._monitor, str):
            return self._sign * float(self._monitor(progress))
        return self._sign * float(getattr(progress, self._monitor))

    def state(self) -> dict[str, Any]:
        """Return the best value and the numbers of epochs."""
        return {"best": self._best, "beaten": self._beaten, "wait": self.wait, "epoch": self.epoch}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._best, self._beaten = float(state["best"]), float(state["beaten"])
        self.wait, self.epoch = int(state["wait"]), int(state["epoch"])


def check_number(
    owner: str, name: str, value: object, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise OptionError unless the value is a number from `least` to `most`."""
    if is_number(value) and least <= value <= most:  # type: ignore[operator]
        return
    limits = f" >= {least:g}" if most == math.inf else f" from {least:g} to {most:g}"
    raise OptionError(f"{owner}: {name} must be a number{limits}, got {value!r}")
