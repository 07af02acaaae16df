"""Learning rates of the next steps, computed before the compiled loop takes them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import is_number
from dagbp._errors import OptionError
from dagbp._training.listeners import Listeners, callback_context
from dagbp.callbacks import Schedule

Float64 = npt.NDArray[np.float64]

AT_ONCE = 2**16  # learning rates that are computed at once, in whole epochs


def epochs_at_once(steps_per_epoch: int) -> int:
    """Return for how many epochs the learning rates are computed at once."""
    return max(1, AT_ONCE // steps_per_epoch)


def check_rate(rate: Any) -> float:
    """Return a learning rate that a callback may have assigned, if it is valid."""
    if not is_number(rate) or rate < 0:
        raise OptionError(f"a callback set learning_rate to {rate!r}; it must be a number >= 0")
    return rate  # type: ignore[no-any-return]


def learning_rates(listeners: Listeners, times: Float64) -> Float64:
    """Return the learning rate times the factors of all schedules, (n,).

    times: (n,), when each step begins, in epochs.
    """
    progress = listeners.progress
    rates = np.full(len(times), progress.learning_rate)
    for schedule in listeners.schedules:
        with callback_context(schedule, "factor", progress):
            factors = schedule.factor(times, progress.n_epochs)
            rates *= _checked_factors(schedule, factors, len(times))
    return rates


def _checked_factors(schedule: Schedule, factors: Any, size: int) -> Float64:
    rates = np.asarray(factors, np.float64)
    if rates.shape != (size,) or not (rates >= 0).all() or not np.isfinite(rates).all():
        raise OptionError(
            f"{type(schedule).__name__}.factor must return {size} finite numbers >= 0, got "
            f"{factors!r}"
        )
    return rates
