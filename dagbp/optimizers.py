"""Optimizers: frozen records of hyper-parameters. The training run holds their state.

Every optimizer takes `weight_decay` and gradient clipping: `clip_norm` limits the Euclidean norm of
the gradient of all trained parameters, then `clip_value` limits each component. `fit` takes a
record, or a name, which stands for the record with its defaults.

Examples
--------
>>> from dagbp.optimizers import SGD
>>> SGD(learning_rate=0.1, momentum=0.9, nesterov=True).momentum
0.9
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import Requirement, is_number
from dagbp._errors import OptionError, did_you_mean
from dagbp._kernels.formulas import update
from dagbp._kernels.formulas.update import UpdateRule

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

_NOT_NEGATIVE = Requirement("a number >= 0", lambda v: is_number(v) and v >= 0)
_POSITIVE_OR_NONE = Requirement(
    "a number > 0, or None", lambda v: v is None or (is_number(v) and v > 0)
)
_DECAY_RATE = Requirement("a number in [0, 1)", lambda v: is_number(v) and 0 <= v < 1)
# A much smaller epsilon is 0 in float32, and the step for a gradient of 0 would be 0 / 0.
_EPSILON = Requirement("a number >= 1e-30", lambda v: is_number(v) and v >= 1e-30)
_GROWTH = Requirement("a number >= 1", lambda v: is_number(v) and v >= 1)
_SHRINKAGE = Requirement("a number in (0, 1]", lambda v: is_number(v) and 0 < v <= 1)
_BOOL = Requirement("True or False", lambda v: isinstance(v, (bool, np.bool_)))


def _hyper(default: Any, requirement: Requirement) -> Any:
    """Return a field with this requirement; a field without one must be a number >= 0."""
    return field(default=default, metadata={"requirement": requirement})


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """Base of all optimizers: the common hyper-parameters, and the interface to a training run.

    Parameters
    ----------
    learning_rate : float
        Step size, >= 0.
    weight_decay : float
        L2 coefficient: ``weight_decay * parameter`` is added to the gradient.
    clip_norm, clip_value : float, optional
        Largest Euclidean norm of the whole gradient, and largest magnitude of a component. The norm
        is clipped first.
    """

    learning_rate: float
    weight_decay: float = 0.0
    clip_norm: float | None = _hyper(None, _POSITIVE_OR_NONE)
    clip_value: float | None = _hyper(None, _POSITIVE_OR_NONE)

    def __post_init__(self) -> None:
        """Check every hyper-parameter."""
        for one in fields(self):
            requirement = one.metadata.get("requirement", _NOT_NEGATIVE)
            requirement.check(f"{type(self).__name__}: {one.name}", getattr(self, one.name))

    @property
    @abstractmethod
    def _rule(self) -> UpdateRule:
        """Return the update kernel, its number of state slots and its hyper-parameters."""

    @property
    def slots(self) -> int:
        """Number of state arrays, each with one number per parameter."""
        return self._rule.slots

    def hyper(self) -> npt.NDArray[np.float64]:
        """Return the hyper-parameters in the order in which the update kernel reads them."""
        own = (getattr(self, name) for name in self._rule.hyper)
        return np.array([self.learning_rate, self.weight_decay, *own], np.float64)

    def clips(self) -> npt.NDArray[np.float64] | None:
        """Return the largest norm and the largest component, infinite where not limited.

        None if neither is limited.
        """
        limits = (self.clip_norm, self.clip_value)
        if limits == (None, None):
            return None
        return np.array([math.inf if limit is None else limit for limit in limits])

    def row(self, dtype: np.dtype[Any]) -> Any:
        """Return the C function that updates parameters of `dtype`."""
        return self._rule.kernel.compiled(dtype)


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v <- momentum v + g; p -= learning_rate v.

    With `nesterov`, p -= learning_rate (g + momentum v) (Sutskever et al., 2013).
    """

    learning_rate: float = 0.01
    momentum: float = _hyper(0.0, _DECAY_RATE)
    nesterov: bool = _hyper(False, _BOOL)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise OptionError("SGD: nesterov=True needs momentum > 0, got momentum=0.0")

    @property
    def _rule(self) -> UpdateRule:
        rule: UpdateRule = update.sgd
        if self.momentum != 0:
            rule = update.nesterov if self.nesterov else update.momentum
        return rule


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam with bias correction (Kingma and Ba, 2015); the decay is added to the gradient."""

    _rule = update.adam
    learning_rate: float = 0.001
    beta1: float = _hyper(0.9, _DECAY_RATE)
    beta2: float = _hyper(0.999, _DECAY_RATE)
    epsilon: float = _hyper(1e-8, _EPSILON)


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled decay, p -= learning_rate weight_decay p.

    Source: Loshchilov and Hutter, 2019.
    """

    _rule = update.adamw
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    beta1: float = _hyper(0.9, _DECAY_RATE)
    beta2: float = _hyper(0.999, _DECAY_RATE)
    epsilon: float = _hyper(1e-8, _EPSILON)


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012): v <- rho v + (1 - rho) g^2; p -= eta g / (sqrt(v) + e).

    With `momentum`, b <- momentum b + g / (sqrt(v) + e); p -= eta b. eta is the learning rate, e is
    `epsilon`.
    """

    _rule = update.rmsprop
    learning_rate: float = 0.001
    rho: float = _hyper(0.9, _DECAY_RATE)
    momentum: float = _hyper(0.0, _DECAY_RATE)
    epsilon: float = _hyper(1e-8, _EPSILON)


@dataclass(frozen=True, kw_only=True)
class Adagrad(Optimizer):
    """AdaGrad (Duchi, Hazan and Singer, 2011): v <- v + g^2; p -= eta g / (sqrt(v) + eps)."""

    _rule = update.adagrad
    learning_rate: float = 0.01
    epsilon: float = _hyper(1e-10, _EPSILON)


@dataclass(frozen=True, kw_only=True)
class Rprop(Optimizer):
    """Resilient back-propagation, for whole batches: steps depend only on the gradient's sign.

    Each parameter has its own step size, `learning_rate` at first. It grows by the factor
    `increase` while the gradient keeps its sign. When the sign changes, it shrinks by the factor
    `decrease`, and the parameter does not move. It stays within [`least_step`, `most_step`]. A
    learning-rate schedule has no effect after the first step. Sources: Riedmiller and Braun, 1993;
    the variant iRprop- of Igel and Huesken, 2000.
    """

    _rule = update.rprop
    learning_rate: float = 0.01
    increase: float = _hyper(1.2, _GROWTH)
    decrease: float = _hyper(0.5, _SHRINKAGE)
    least_step: float = 1e-6
    most_step: float = 50.0

    def __post_init__(self) -> None:
        """Check every hyper-parameter, and that least_step <= most_step."""
        super().__post_init__()
        if self.least_step > self.most_step:
            raise OptionError(
                f"Rprop: least_step must be a number <= most_step, got {self.least_step} and "
                f"{self.most_step}"
            )


# In the order of their definition; "RMSprop" has the name "rmsprop".
_BY_NAME: dict[str, Any] = {kind.__name__.lower(): kind for kind in Optimizer.__subclasses__()}


@dataclass(frozen=True)
class Solver:
    """A method of `scipy.optimize.minimize`, over all samples at once.

    It minimises the loss and its penalties. Parameters that do not train are left out.

    Parameters
    ----------
    method : str
        SciPy's name, in upper or lower case; "lbfgs" stands for "L-BFGS-B".
    bounds : tuple (lower, upper), or mapping, optional
        Of the parameters, for methods that take bounds: a pair of numbers or of arrays
        (n_parameters,), or a mapping from edges, and nodes for their biases, to pairs of numbers.
        None in a pair is no bound.
    options : mapping, optional
        Options of SciPy's method, such as ``{"ftol": 1e-12}``.

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
                f"method {self.method!r} takes no bounds; these do: {', '.join(_TAKES_BOUNDS)}"
            )
        if self.options is not None and not isinstance(self.options, Mapping):
            raise OptionError(f"options must be a mapping, got {self.options!r}")

    @property
    def uses_gradient(self) -> bool:
        """Whether the method takes the gradient."""
        return self.method not in _NO_GRADIENT


# Without the methods that need a Hessian.
_NO_GRADIENT = ("Nelder-Mead", "Powell", "COBYLA", "COBYQA")
_METHODS = ("L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "Newton-CG", "trust-constr", *_NO_GRADIENT)
_TAKES_BOUNDS = ("L-BFGS-B", "TNC", "SLSQP", "trust-constr", *_NO_GRADIENT)


def solvers() -> list[str]:
    """Return the names that stand for solvers.

    Examples
    --------
    >>> solvers()[:3]
    ['lbfgs', 'l-bfgs-b', 'bfgs']
    """
    return ["lbfgs", *(name.lower() for name in _METHODS)]


def names() -> list[str]:
    """Return the names of all optimizers.

    Examples
    --------
    >>> names()
    ['sgd', 'adam', 'adamw', 'rmsprop', 'adagrad', 'rprop']
    """
    return list(_BY_NAME)


def as_solver(optimizer: Any, learning_rate: float | None = None) -> Solver | None:
    """Return the solver that a name stands for, or None if it is the name of an optimizer.

    Raises
    ------
    OptionError
        If a learning rate is given, as solvers have none.

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
        If the name is unknown, or `optimizer` is neither a name nor a record.

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
        if optimizer not in _BY_NAME:
            known = [*names(), *solvers()]
            raise OptionError(f"unknown optimizer {optimizer!r}{did_you_mean(optimizer, known)}")
        optimizer = _BY_NAME[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise OptionError(
            f"optimizer must be a name or a record of dagbp.optimizers, got {optimizer!r}"
        )
    return optimizer if learning_rate is None else replace(optimizer, learning_rate=learning_rate)
