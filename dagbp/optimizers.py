"""Optimizers: hyper-parameters as frozen records; their state lives in the training run.

Every optimizer takes `weight_decay`, and gradient clipping by `clip_norm` (the Euclidean norm of
all trained parameters' gradient) and then `clip_value` (each component). `fit` takes a record or
a name, which stands for the record with its defaults.

Examples
--------
>>> from dagbp.optimizers import SGD
>>> SGD(learning_rate=0.1, momentum=0.9, nesterov=True).momentum
0.9
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from dagbp._checks import is_number
from dagbp._compiler.decorators import compile_callback
from dagbp._errors import OptionError, did_you_mean
from dagbp._locks import ForkSafeLock

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "Rprop",
    "Solver",
    "as_solver",
    "get",
    "names",
    "solvers",
]


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """Base of all optimizers: what they share, and what a training run asks of them.

    Parameters
    ----------
    learning_rate : float
        Step size, >= 0.
    weight_decay : float
        L2 coefficient, added to the gradient as ``weight_decay * parameter``.
    clip_norm, clip_value : float, optional
        Largest Euclidean norm of the whole gradient, and largest magnitude of a component;
        the norm is clipped first.
    """

    learning_rate: float
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        """Check every hyper-parameter."""
        for field in fields(self):
            _check(type(self).__name__, field.name, getattr(self, field.name))

    @property
    @abstractmethod
    def _row(self) -> str:
        """The name of the update in `_kernels.update`."""

    @abstractmethod
    def _own(self) -> tuple[float, ...]:
        """Hyper-parameters after the learning rate and the decay, in the update's order."""

    @property
    def slots(self) -> int:
        """Numbers of state kept for each parameter."""
        return _SLOTS[self._row]

    def hyper(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the hyper-parameters as the update reads them."""
        return np.array([self.learning_rate, self.weight_decay, *self._own()], np.float64)

    def clips(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Return the largest norm and the largest component, infinite where it is not clipped.

        None where neither is.
        """
        limits = (self.clip_norm, self.clip_value)
        if limits == (None, None):
            return None
        return np.array([math.inf if limit is None else limit for limit in limits])

    def row(self, dtype: np.dtype[Any]) -> Any:
        """Return the update of parameters of `dtype`, a C function."""
        with _lock.lock:
            return _compiled(self._row, dtype)


def _check(owner: str, name: str, value: object) -> None:
    if name == "nesterov":
        valid, need = isinstance(value, (bool, np.bool_)), "True or False"
    elif name in ("clip_norm", "clip_value"):
        valid, need = value is None or (is_number(value) and value > 0), "a number > 0, or None"  # type: ignore[operator]
    elif name in ("beta1", "beta2", "rho", "momentum"):
        valid, need = is_number(value) and 0 <= value < 1, "a number in [0, 1)"  # type: ignore[operator]
    elif name == "increase":
        valid, need = is_number(value) and value >= 1, "a number >= 1"  # type: ignore[operator]
    elif name == "decrease":
        valid, need = is_number(value) and 0 < value <= 1, "a number in (0, 1]"  # type: ignore[operator]
    elif name == "epsilon":
        # Much less is 0 in single precision, and 0 / 0 the step of a gradient of 0.
        valid, need = is_number(value) and value >= 1e-30, "a number >= 1e-30"  # type: ignore[operator]
    else:
        valid, need = is_number(value) and value >= 0, "a number >= 0"  # type: ignore[operator]
    if not valid:
        raise OptionError(f"{owner}: {name} must be {need}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v <- momentum v + g; p -= learning_rate v.

    With `nesterov`, p -= learning_rate (g + momentum v) (Sutskever et al., 2013).
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise OptionError("SGD: nesterov=True needs momentum > 0, got momentum=0.0")

    @property
    def _row(self) -> str:
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    def _own(self) -> tuple[float, ...]:
        return (self.momentum,)


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam with bias correction (Kingma and Ba, 2015); the decay is added to the gradient."""

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def _row(self) -> str:
        return "adam"

    def _own(self) -> tuple[float, ...]:
        return (self.beta1, self.beta2, self.epsilon)


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled decay, p -= learning_rate weight_decay p.

    Source: Loshchilov and Hutter, 2019.
    """

    learning_rate: float = 0.001
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def _row(self) -> str:
        return "adamw"

    def _own(self) -> tuple[float, ...]:
        return (self.beta1, self.beta2, self.epsilon)


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012): v <- rho v + (1 - rho) g^2; p -= a g / (sqrt(v) + eps).

    With `momentum`, the quotient g / (sqrt(v) + eps) is what gathers momentum.
    """

    learning_rate: float = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-8

    @property
    def _row(self) -> str:
        return "rmsprop"

    def _own(self) -> tuple[float, ...]:
        return (self.rho, self.momentum, self.epsilon)


@dataclass(frozen=True, kw_only=True)
class Adagrad(Optimizer):
    """AdaGrad (Duchi, Hazan and Singer, 2011): v <- v + g^2; p -= a g / (sqrt(v) + eps)."""

    learning_rate: float = 0.01
    epsilon: float = 1e-10

    @property
    def _row(self) -> str:
        return "adagrad"

    def _own(self) -> tuple[float, ...]:
        return (self.epsilon,)


@dataclass(frozen=True, kw_only=True)
class Rprop(Optimizer):
    """Resilient back-propagation, for whole batches: steps by the sign of the gradient alone.

    Each parameter has a step of its own, `learning_rate` at first; it grows by `increase` while the
    gradient keeps its sign and shrinks by `decrease` when it changes, which skips that step, and
    stays within [`least_step`, `most_step`]. Sources: Riedmiller and Braun, 1993; iRprop- of Igel
    and Huesken, 2000. Learning-rate schedules do not touch steps once they have begun.
    """

    learning_rate: float = 0.01
    increase: float = 1.2
    decrease: float = 0.5
    least_step: float = 1e-6
    most_step: float = 50.0

    @property
    def _row(self) -> str:
        return "rprop"

    def _own(self) -> tuple[float, ...]:
        return (self.increase, self.decrease, self.least_step, self.most_step)

    def __post_init__(self) -> None:
        """Check that the limits are in order, too."""
        super().__post_init__()
        if self.least_step > self.most_step:
            raise OptionError(
                f"Rprop: least_step must be a number <= most_step, got {self.least_step} and "
                f"{self.most_step}"
            )


@dataclass(frozen=True)
class Solver:
    """A method of `scipy.optimize.minimize`, over all samples at once.

    The loss and its penalties are what it minimises; parameters that do not train are left out.

    Parameters
    ----------
    method : str
        As SciPy names it, in any case; "lbfgs" stands for "L-BFGS-B".
    bounds : tuple (lower, upper), or mapping, optional
        Of the parameters, for methods that take bounds: a pair of numbers or of arrays
        (n_parameters,), or a mapping from edges, and nodes for their biases, to pairs of numbers.
        None in a pair is no bound.
    options : mapping, optional
        What SciPy's method takes, such as ``{"ftol": 1e-12}``.

    Examples
    --------
    >>> Solver("lbfgs", bounds=(0, None)).method
    'L-BFGS-B'
    """

    method: str
    bounds: Any = None
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Find the method by its name."""
        known = {"lbfgs": "L-BFGS-B", **{name.lower(): name for name in _METHODS}}
        name = self.method.lower() if isinstance(self.method, str) else None
        if name not in known:
            hint = did_you_mean(self.method, solvers())
            raise OptionError(f"unknown method {self.method!r} of scipy.optimize.minimize{hint}")
        object.__setattr__(self, "method", known[name])
        if self.bounds is not None and self.method not in _TAKES_BOUNDS:
            raise OptionError(
                f"method {self.method!r} takes no bounds; those that do: {', '.join(_TAKES_BOUNDS)}"
            )
        if self.options is not None and not isinstance(self.options, Mapping):
            raise OptionError(f"options must be a mapping, got {self.options!r}")

    @property
    def uses_gradient(self) -> bool:
        """Whether the method takes the gradient."""
        return self.method not in _NO_GRADIENT


# Those that need a Hessian are not among them.
_METHODS = (
    *("L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "Newton-CG", "trust-constr"),
    *("Nelder-Mead", "Powell", "COBYLA", "COBYQA"),
)
_TAKES_BOUNDS = (
    *("L-BFGS-B", "TNC", "SLSQP", "trust-constr"),
    *("Nelder-Mead", "Powell", "COBYLA", "COBYQA"),
)
_NO_GRADIENT = ("Nelder-Mead", "Powell", "COBYLA", "COBYQA")


def solvers() -> list[str]:
    """Return the names that stand for solvers.

    Examples
    --------
    >>> solvers()[:3]
    ['lbfgs', 'l-bfgs-b', 'bfgs']
    """
    return ["lbfgs", *(name.lower() for name in _METHODS)]


_lock = ForkSafeLock()
_SLOTS = {
    **{"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2},
    **{"rmsprop": 2, "adagrad": 1, "rprop": 2},
}
_DEFAULTS: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "rprop": Rprop,
}


def names() -> list[str]:
    """Return the names of all optimizers.

    Examples
    --------
    >>> names()
    ['sgd', 'adam', 'adamw', 'rmsprop', 'adagrad', 'rprop']
    """
    return list(_DEFAULTS)


def as_solver(optimizer: Any, learning_rate: float | None = None) -> Solver | None:
    """Return the solver that a name stands for, or None if it is the name of an optimizer.

    Raises
    ------
    OptionError
        If a learning rate is given, which solvers have not.

    Examples
    --------
    >>> as_solver("lbfgs")
    Solver(method='L-BFGS-B', bounds=None, options=None)
    >>> as_solver("adam")
    """
    if isinstance(optimizer, str) and optimizer.lower() in solvers():
        optimizer = Solver(optimizer)
    if not isinstance(optimizer, Solver):
        return None
    if learning_rate is not None:
        raise OptionError(f"a solver has no learning_rate, got {learning_rate!r}")
    return optimizer


def get(optimizer: str | Optimizer | Solver, learning_rate: float | None = None) -> Optimizer:
    """Return the record that a name stands for, with this learning rate if one is given.

    Raises
    ------
    OptionError
        For an unknown name, or what is neither a name nor a record.

    Examples
    --------
    >>> get("adagrad", learning_rate=0.5).learning_rate
    0.5
    """
    if as_solver(optimizer) is not None:
        raise OptionError(
            f"{optimizer!r} is a solver, which needs all samples at once, as in `fit`"
        )
    if isinstance(optimizer, str):
        if optimizer not in _DEFAULTS:
            known = [*names(), *solvers()]
            raise OptionError(f"unknown optimizer {optimizer!r}{did_you_mean(optimizer, known)}")
        optimizer = _DEFAULTS[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise OptionError(
            f"optimizer must be a name or a record of dagbp.optimizers, got {optimizer!r}"
        )
    return optimizer if learning_rate is None else replace(optimizer, learning_rate=learning_rate)


@cache
def _compiled(row: str, dtype: np.dtype[Any]) -> Any:
    from dagbp._kernels.formulas import update

    return compile_callback(getattr(update, row), update.row_signature(dtype))
