"""From which runs another can go on: with all of their state, or with the optimizer's alone."""

from collections.abc import Mapping
from typing import Any

from dagbp._checks import is_number
from dagbp._errors import OptionError
from dagbp._history import TrainingState
from dagbp.callbacks import Callback
from dagbp.optimizers import Optimizer

_NO_RUN = (
    "but there is none to go on with: it was not trained, or diverged, a solver did it, `release` "
    "has given its state back, or its file was saved without it"
)


def resumable(
    last: TrainingState | None, config: Mapping[str, str], epochs: int, optimizer: Optimizer
) -> TrainingState:
    """Return a state from which a run of these arguments can go on.

    Raises
    ------
    OptionError
        If there is none, or it is of a run with other arguments, or of more epochs.
    """
    if last is None:
        raise OptionError(f"resume=True goes on with the network's last run, {_NO_RUN}")
    if last.epoch > epochs:
        raise OptionError(
            f"resume=True: the last run has had {last.epoch} epochs, and epochs is {epochs}"
        )
    for name in dict.fromkeys([*last.config, *config]):
        then, now = last.config.get(name), config.get(name)
        if then != now:
            raise OptionError(
                f"resume=True needs the arguments of the run that it goes on with, but {name} was "
                f"{then or 'not given'} and is {now or 'not given'}"
            )
    if len(last.moments) != optimizer.slots:
        raise OptionError(
            f"resume=True: the last run kept {len(last.moments)} numbers a parameter, and "
            f"{optimizer!r} needs {optimizer.slots}"
        )
    return last


def keeps_moments(last: TrainingState | None, optimizer: Optimizer) -> bool:
    """Return whether a run left the state of an optimizer of the same kind."""
    if last is None or last.config.get("optimizer") != type(optimizer).__name__:
        return False
    return len(last.moments) == optimizer.slots


def with_moments(last: TrainingState | None, optimizer: Optimizer) -> TrainingState:
    """Return a state whose optimizer's part can be gone on with.

    Raises
    ------
    OptionError
        If there is none, or its optimizer is of another kind.
    """
    if last is None:
        raise OptionError(f'resume="optimizer" keeps the state of the last optimizer, {_NO_RUN}')
    if not keeps_moments(last, optimizer):
        raise OptionError(
            'resume="optimizer" keeps the state of the last optimizer, which was '
            f"{last.config.get('optimizer')} with {len(last.moments)} numbers a parameter, and "
            f"{optimizer!r} has {optimizer.slots}"
        )
    return last


def settings_of(callback: Callback) -> str:
    """Return a callback's kind, and its public attributes that are plain values, as text."""
    plain = (str, bool, int, float, type(None))
    settings = [
        f"{name}={value!r}"
        for name, value in sorted(vars(callback).items())
        if not name.startswith("_") and isinstance(value, plain)
    ]
    return f"{type(callback).__name__}({', '.join(settings)})"


def as_text(value: Any) -> str:
    """Return an optimizer's argument as text, the same for 1 and 1.0."""
    return str(float(value)) if is_number(value) else str(value)
