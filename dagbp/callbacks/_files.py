"""Callbacks that write files."""

import csv
import glob
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from dagbp._checks import check_whole
from dagbp._errors import OptionError
from dagbp._files.container import remove_leftovers
from dagbp.callbacks._base import Best, Callback, Monitor, Progress


class ModelCheckpoint(Callback):
    """Save the network and the state of its run to a file, during and after the run.

    ``net = dagbp.load(path)`` and then ``net.fit(..., resume=True)`` with the same arguments
    continue the run, to the same bits as without an interruption. At the end of the run the file
    gets the parameters of the last step; or of the best epoch, if `EarlyStopping` stands before
    `ModelCheckpoint` in the list of callbacks.

    Parameters
    ----------
    path : path-like
        Each save replaces the whole file at once: a process that is killed leaves either the old
        or the new file, and sometimes a hidden temporary file, which the next run removes.
        ``{epoch}`` and ``{n_updates}`` in the path are replaced by these numbers.
    every_epochs : int or None
        Save after every so many epochs; None to not save after epochs. Without `monitor`, the
        network is saved at the end of the run, too.
    every_steps : int, optional
        Save after every so many steps, too.
    monitor : {"val_loss", "loss"} or callable, optional
        Save after an epoch only if the monitored quantity is better than at all earlier saves.
    mode : {"min", "max"}
        Whether lower or higher values are better.

    Examples
    --------
    >>> ModelCheckpoint("net-{epoch}.dagbp", every_epochs=10).path
    'net-{epoch}.dagbp'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        monitor: Monitor | None = None,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self.path = _path("ModelCheckpoint", path)
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps)):
            if value is not None:
                check_whole(f"ModelCheckpoint: {name}", value, 1)
        if monitor is not None and every_epochs is None:
            raise OptionError(
                "ModelCheckpoint: every_epochs must be a whole number >= 1 where monitor is given, "
                "got None"
            )
        try:
            self.path.format(epoch=0, n_updates=0)
        except (KeyError, IndexError, ValueError) as error:
            raise OptionError(
                "ModelCheckpoint: path may contain {epoch} and {n_updates} in braces, got "
                f"{self.path!r}"
            ) from error
        self.every, self._every_epochs = every_steps, every_epochs
        self._best = None if monitor is None else Best("ModelCheckpoint", monitor, mode, 0.0)

    def reset(self) -> None:
        """Discard the values of other runs."""
        if self._best is not None:
            self._best.reset()

    def on_train_begin(self, progress: Progress) -> None:
        """Check folder and monitor before hours of training; remove old temporary files."""
        _check_folder("ModelCheckpoint", Path(self.path.format(epoch=0, n_updates=0)).parent)
        if self._best is not None:
            self._best.begin(progress)
        remove_leftovers(Path(self.path.format(epoch=0, n_updates=0)), self._names())

    def on_step_end(self, progress: Progress) -> None:
        """Save."""
        self._save(progress)

    def on_epoch_end(self, progress: Progress) -> None:
        """Save if a save is due and the monitored quantity has improved."""
        due = self._every_epochs is not None and progress.epoch % self._every_epochs == 0
        if due and (self._best is None or self._best.improved(progress)):
            self._save(progress)

    def on_train_end(self, progress: Progress) -> None:
        """Save the network as the callbacks before this one have left it."""
        if self._best is None:
            self._save(progress)

    def _names(self) -> str:
        """Return a glob pattern of the names of the files."""
        pieces = Formatter().parse(Path(self.path).name)
        return "".join(glob.escape(text) + "*" * (name is not None) for text, name, *_ in pieces)

    def _save(self, progress: Progress) -> None:
        place = self.path.format(epoch=progress.epoch, n_updates=progress.n_updates)
        progress.network.save(place)

    def state(self) -> dict[str, Any]:
        """Return the best value."""
        return {} if self._best is None else self._best.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        if self._best is not None and state:
            self._best.restore(state)


class _Logger(Callback, ABC):
    """Appends a line to a file after each epoch.

    A run that is not resumed begins a new file, unless `append` is True.
    """

    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        self.path, self.append = _path(type(self).__name__, path), append
        self._n_before: int | None = None  # lines of other runs, and the heading

    def reset(self) -> None:
        """Treat all existing lines as lines of other runs."""
        self._n_before = None

    def on_train_begin(self, progress: Progress) -> None:
        """Begin the file, or remove the lines of epochs that a resumed run will repeat."""
        file, resumed = Path(self.path), progress.n_updates > 0
        _check_folder(type(self).__name__, file.parent)
        if not file.exists() or not (self.append or resumed):
            file.write_text(self._heading())
        lines = file.read_text().splitlines(keepends=True)
        if self._n_before is None:
            self._n_before = len(lines)
            return
        while len(lines) > self._n_before and self._epoch(lines[-1]) > progress.epoch:
            lines.pop()
        file.write_text("".join(lines))

    def state(self) -> dict[str, Any]:
        """Return how many lines of the file belong to other runs."""
        return {"n_before": self._n_before}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._n_before = state["n_before"]

    def on_epoch_end(self, progress: Progress) -> None:
        """Append a line."""
        with open(self.path, "a", newline="") as file:
            file.write(self._line(_numbers(progress)))

    def _heading(self) -> str:
        return ""

    @abstractmethod
    def _line(self, numbers: dict[str, float]) -> str:
        """Return the line of an epoch."""

    @abstractmethod
    def _epoch(self, line: str) -> float:
        """Return the epoch of a line; infinity for an incomplete line."""


class CSVLogger(_Logger):
    """Write a line of comma-separated numbers after each epoch, under a heading.

    The columns are epoch (from 1), n_updates, loss, val_loss (empty without validation data),
    learning_rate and seconds.

    Parameters
    ----------
    path : path-like
    append : bool
        Append to an existing file; resumed runs always do.
    """

    def _heading(self) -> str:
        return ",".join(_COLUMNS) + "\n"

    def _line(self, numbers: dict[str, float]) -> str:
        line = StringIO()
        csv.writer(line, lineterminator="\n").writerow(numbers.get(name) for name in _COLUMNS)
        return line.getvalue()

    def _epoch(self, line: str) -> float:
        if line == self._heading():
            return 0
        return float(line.split(",")[0]) if line.endswith("\n") else math.inf


class JSONLogger(_Logger):
    """Write a line with a JSON object after each epoch: the same numbers as `CSVLogger`.

    Parameters
    ----------
    path : path-like
    append : bool
        Append to an existing file; resumed runs always do.
    """

    def _line(self, numbers: dict[str, float]) -> str:
        return json.dumps(numbers) + "\n"

    def _epoch(self, line: str) -> float:
        return float(json.loads(line)["epoch"]) if line.endswith("\n") else math.inf


_READ: dict[str, Callable[[Progress], float]] = {
    "epoch": lambda progress: progress.epoch,
    "n_updates": lambda progress: progress.n_updates,
    "loss": lambda progress: progress.loss,
    "val_loss": lambda progress: progress.val_loss,
    "learning_rate": lambda progress: progress.rate,
    "seconds": lambda progress: progress.history.seconds,
}
_COLUMNS = tuple(_READ)


def _numbers(progress: Progress) -> dict[str, float]:
    has = {name: read(progress) for name, read in _READ.items()}
    return {name: value for name, value in has.items() if math.isfinite(value)}


def _path(owner: str, path: object) -> str:
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise OptionError(f"{owner}: path must be a path, got {path!r}")
    return str(os.fspath(path))


def _check_folder(owner: str, folder: Path) -> None:
    if not folder.is_dir():
        raise OptionError(f"{owner}: there is no folder {str(folder)!r}")
