"""Checks whether a run can be resumed, with all of its state or only the optimizer's."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import is_number
from dagbp._engine.clock import Position
from dagbp._engine.parameters import Parameters
from dagbp._errors import OptionError
from dagbp._history import TrainingState
from dagbp._training.options import Options
from dagbp._training.source import Source
from dagbp._version import __version__
from dagbp.optimizers import Optimizer

_NO_RUN = (
    "but there is none: the network was not trained, or diverged, or was trained by a solver, or "
    "`release` has discarded the state, or its file was saved without it"
)


def run_config(options: Options, optimizer: Optimizer, source: Source) -> dict[str, str]:
    """Return the arguments that a resumed run must share with the first one, as text."""
    return {
        "optimizer": type(optimizer).__name__,
        **{name: _as_text(value) for name, value in vars(optimizer).items()},
        "dagbp": __version__,
        "loss": repr(options.loss),
        **options.regularisation.described,
        **source.config(),
    }


def _as_text(value: Any) -> str:
    """Return an optimizer's argument as text, the same for 1 and 1.0."""
    return str(float(value)) if is_number(value) else str(value)


def resumable(
    last: TrainingState | None, config: Mapping[str, str], epochs: int, optimizer: Optimizer
) -> TrainingState:
    """Return the last run's state; OptionError if a run with these arguments cannot resume it."""
    if last is None:
        raise OptionError(f"resume=True continues the network's last run, {_NO_RUN}")
    if last.epoch > epochs:
        raise OptionError(
            f"resume=True: the last run had {last.epoch} epochs, but epochs is {epochs}"
        )
    for name in dict.fromkeys([*last.config, *config]):
        then, now = last.config.get(name), config.get(name)
        if then != now:
            raise OptionError(
                f"resume=True needs the arguments of the last run, but {name} was "
                f"{then or 'not given'} and is {now or 'not given'}"
            )
    if len(last.moments) != optimizer.slots:
        raise OptionError(
            f"resume=True: the last run kept {len(last.moments)} numbers for each parameter, but "
            f"{optimizer!r} needs {optimizer.slots}"
        )
    return last


def keeps_moments(last: TrainingState | None, optimizer: Optimizer) -> bool:
    """Return whether the last run left the state of an optimizer of the same class."""
    if last is None or last.config.get("optimizer") != type(optimizer).__name__:
        return False
    return len(last.moments) == optimizer.slots


def with_moments(last: TrainingState | None, optimizer: Optimizer) -> TrainingState:
    """Return the state of the last run; OptionError if this optimizer cannot use its moments."""
    if last is None:
        raise OptionError(f'resume="optimizer" keeps the state of the last optimizer, {_NO_RUN}')
    if not keeps_moments(last, optimizer):
        raise OptionError(
            'resume="optimizer" keeps the state of the last optimizer, which was '
            f"{last.config.get('optimizer')} with {len(last.moments)} numbers for each parameter, "
            f"but {optimizer!r} has {optimizer.slots}"
        )
    return last


def position_of(state: TrainingState) -> Position:
    """Return the place of the clock in a state."""
    return Position(**{field.name: getattr(state, field.name) for field in fields(Position)})


class LastParameters:
    """Keeps the parameters of the last step, from which a resumed run continues.

    `on_train_end` may replace the parameters, as `EarlyStopping` does by those of the best epoch.
    `kept` is None if they were not replaced.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.kept: npt.NDArray[Any] | None = None
        self._replaced: npt.NDArray[Any] | None = None

    def restore(self, state: TrainingState) -> None:
        """Assign the parameters of a state's last step to the network."""
        if state.parameters is not None:
            self._replaced = self._parameters.copy()
            self._parameters.assign(state.parameters)

    def undo(self) -> None:
        """Undo `restore`, for a run that has failed before its first step."""
        if self._replaced is not None:
            self.keep()
            self._parameters.assign(self._replaced)

    def keep(self) -> None:
        """Keep a copy of the parameters now."""
        self.kept = self._parameters.copy()

    def forget_if_unchanged(self) -> None:
        """Drop the copy if the network still has the same parameters."""
        if np.array_equal(self.kept, self._parameters.copy()):  # type: ignore[arg-type]
            self.kept = None
