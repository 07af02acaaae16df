"""Losses: averaged over samples, summed over outputs.

====================== ======================================================== ===============
name                   error of one sample                                      class labels
====================== ======================================================== ===============
squared_error          sum of (x - y)^2, the lecture's, with no half            no
absolute_error         sum of abs(x - y)                                        no
huber                  sum of r^2/2 if abs(r) <= h else h (abs(r) - h/2), h = 1 no
binary_cross_entropy   -sum of y log p + (1 - y) log(1 - p), p = sigmoid(x)     0 or 1
softmax_cross_entropy  -sum of y log p, p = softmax(x)                          0 ... K - 1
====================== ======================================================== ===============

The two entropies take raw outputs (activation "identity") and fuse the last step, so that they
neither overflow nor lose digits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np

from dagbp._checks import is_number
from dagbp._compiler.decorators import compile_callback
from dagbp._errors import DerivativeError, OptionError, did_you_mean
from dagbp._kernels.frames import LossFrame
from dagbp._locks import ForkSafeLock
from dagbp._user_functions import HERE, STENCIL, first_disagreement, same_functions

__all__ = [
    "BinaryCrossEntropy",
    "Huber",
    "Loss",
    "SoftmaxCrossEntropy",
    "get",
    "names",
    "register",
]


@dataclass(frozen=True)
class Loss:
    """A loss by name, with its hyper-parameters.

    Attributes
    ----------
    name : str
        As registered.
    hyper : tuple of float
        What its row function reads.
    labels : {"no", "binary", "classes"}
        Which class labels it takes in place of targets.
    f, df : callable or None
        A user's scalar functions, which go to other processes with the record; None for a built-in.
    """

    name: str
    hyper: tuple[float, ...] = ()
    labels: Literal["no", "binary", "classes"] = "no"
    f: Callable[[float, float], float] | None = field(default=None, repr=False, compare=False)
    df: Callable[[float, float], float] | None = field(default=None, repr=False, compare=False)

    def row(self, dtype: np.dtype[Any]) -> LossFrame:
        """Return the compiled row function for values of `dtype`, and what it reads."""
        with _lock.lock:
            return _row(self.name, self.hyper, _users.get(self.name), dtype)


@dataclass(frozen=True)
class _Scalars:
    """A user's loss: scalar functions of output and target."""

    f: Callable[[float, float], float]
    df: Callable[[float, float], float]


def Huber(threshold: float = 1.0) -> Loss:
    """Return the Huber loss with this threshold between its parabola and its lines.

    Examples
    --------
    >>> Huber(2.0).hyper
    (2.0,)
    """
    if not is_number(threshold) or threshold <= 0:
        raise OptionError(f"Huber: threshold must be a finite number > 0, got {threshold!r}")
    return Loss("huber", (float(threshold),))


def BinaryCrossEntropy(label_smoothing: float = 0.0) -> Loss:
    """Return the binary cross-entropy against (1 - h) y + h/2, h the label smoothing, in [0, 1].

    Examples
    --------
    >>> BinaryCrossEntropy(label_smoothing=0.1).hyper
    (0.1,)
    """
    return Loss("binary_cross_entropy", (_smoothing("Binary", label_smoothing),), "binary")


def SoftmaxCrossEntropy(label_smoothing: float = 0.0) -> Loss:
    """Return the cross-entropy against (1 - h) y + h/K of K outputs, h the label smoothing.

    It is in [0, 1]; 0 for none (Szegedy et al., 2016).

    Examples
    --------
    >>> SoftmaxCrossEntropy(label_smoothing=0.1).hyper
    (0.1,)
    """
    return Loss("softmax_cross_entropy", (_smoothing("Softmax", label_smoothing),), "classes")


def _smoothing(kind: str, value: float) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        raise OptionError(
            f"{kind}CrossEntropy: label_smoothing must be a number in [0, 1], got {value!r}"
        )
    return float(value)


_BUILT_IN = {
    "squared_error": Loss("squared_error"),
    "absolute_error": Loss("absolute_error"),
    "huber": Huber(),
    "binary_cross_entropy": BinaryCrossEntropy(),
    "softmax_cross_entropy": SoftmaxCrossEntropy(),
}
_MAKERS = {
    "huber": Huber,
    "binary_cross_entropy": BinaryCrossEntropy,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
}
_losses = dict(_BUILT_IN)
_users: dict[str, _Scalars] = {}
_lock = ForkSafeLock()


def names() -> list[str]:
    """Return the names of all losses, the users' own included."""
    return list(_losses)


def get(loss: str | Loss) -> Loss:
    """Return the loss that a name stands for.

    Raises
    ------
    OptionError
        For an unknown name, what is neither a name nor a loss, or a record that its row function
        cannot read.
    """
    name = loss.name if isinstance(loss, Loss) else loss
    if not isinstance(name, str):
        raise OptionError(f"loss must be a name or a Loss, got {loss!r}")
    if isinstance(loss, Loss) and loss.f is not None and loss.df is not None:
        return _known_here(loss, loss.f, loss.df)
    if name not in _losses:
        raise OptionError(f"unknown loss {name!r}{did_you_mean(name, names())}")
    if isinstance(loss, Loss):
        _check_record(loss, _losses[name])
        return loss
    return _losses[name]


def _known_here(loss: Loss, f: Any, df: Any) -> Loss:
    """Return a user's loss; one that another process has registered is registered here, too."""
    here = _losses.get(loss.name)
    if here is None:
        return register(loss.name, f, df)
    if not same_functions((here.f, here.df), (f, df)):
        raise OptionError(
            f"loss {loss.name!r} is registered here with other functions; register yours with "
            "another name"
        )
    return here


def _check_record(loss: Loss, known: Loss) -> None:
    """Refuse hyper-parameters or labels that the row function of this name does not take."""
    count = len(known.hyper)
    valid = isinstance(loss.hyper, tuple) and all(map(is_number, loss.hyper))
    if not valid or len(loss.hyper) != count:
        plural = "s" * (count != 1)
        raise OptionError(
            f"loss {loss.name!r} has {count} hyper-parameter{plural}, got {loss.hyper!r}"
        )
    if loss.name in _MAKERS:
        _MAKERS[loss.name](*loss.hyper)  # which checks them
    if loss.labels != known.labels:
        raise OptionError(
            f"loss {loss.name!r} takes class labels {known.labels!r}, got {loss.labels!r}"
        )


def register(
    name: str,
    f: Callable[[float, float], float],
    df: Callable[[float, float], float],
    *,
    overwrite: bool = False,
) -> Loss:
    """Add a loss of your own: the sum over outputs of f(x, y).

    Parameters
    ----------
    name : str
        A new name.
    f : callable
        ``f(x, y) -> float``, the error of one output x against its target y. Plain Python that
        Numba can compile; it runs as machine code.
    df : callable
        ``df(x, y) -> float``, its derivative by x; checked against differences of `f` for x in
        [-4, 4] and y in [0, 1]. Where `f` has a kink, either side's slope will do.
    overwrite : bool
        Whether `name` may replace an earlier one of yours.

    Returns
    -------
    Loss

    Raises
    ------
    OptionError
        If the name is taken or no string, or a function does not compile.
    DerivativeError
        Where `df` first disagrees with `f`, with both values.

    Examples
    --------
    >>> import math
    >>> import dagbp
    >>> dagbp.losses.register(
    ...     "log_cosh", lambda x, y: math.log(math.cosh(x - y)), lambda x, y: math.tanh(x - y)
    ... ).name
    'log_cosh'
    """
    if not isinstance(name, str) or not name:
        raise OptionError(f"a loss's name must be a string that is not empty, got {name!r}")
    if name in _BUILT_IN:
        raise OptionError(f"loss {name!r} is built in and cannot be replaced")
    if name in _losses and not overwrite:
        raise OptionError(f"loss {name!r} is registered already; pass overwrite=True")
    scalars = _compile_scalars(name, f, df)
    _check_values(name, scalars)
    with _lock.lock:
        _users[name] = scalars
        _losses[name] = Loss(name, f=f, df=df)
    return _losses[name]


def _compile_scalars(name: str, f: Any, df: Any) -> _Scalars:
    """Return both functions compiled, after one call of each."""
    import numba

    compiled = []
    for role, function in (("f", f), ("df", df)):
        if not callable(function):
            raise OptionError(
                f"loss {name!r}: {role} must be a function of (x, y), got {function!r}"
            )
        plain = getattr(function, "py_func", function)
        jitted = numba.njit(error_model="numpy")(plain)
        try:
            value = jitted(0.5, 0.25)
        except (TypeError, numba.core.errors.NumbaError) as error:
            raise OptionError(
                f"loss {name!r}: {role} must be a function of (x, y) that Numba can compile: "
                f"{error}"
            ) from error
        if not isinstance(value, (int, float)):
            raise OptionError(
                f"loss {name!r}: {role} must return a real number, got {value!r} at x = 0.5, "
                "y = 0.25"
            )
        compiled.append(jitted)
    return _Scalars(*compiled)


def _check_values(name: str, scalars: _Scalars) -> None:
    """Compare df with differences of f, for outputs in [-4, 4] against targets in [0, 1]."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-4, 4, 41), np.linspace(0, 1, 5)))
    values = np.array([[*map(scalars.f, x + h, y)] for h in STENCIL])
    slope = np.array([*map(scalars.df, x, y)])
    for role, result in (("f", values[HERE]), ("df", slope)):
        if not np.isfinite(result).all():
            k = int(np.argmin(np.isfinite(result)))
            raise OptionError(
                f"loss {name!r}: {role} must be finite, but at x = {x[k]:.6g}, y = {y[k]:.6g} it "
                f"is {result[k]}"
            )
    wrong = first_disagreement(values, slope)
    if wrong is not None:
        k, expected = wrong
        raise DerivativeError(
            f"loss {name!r}: at x = {x[k]:.6g}, y = {y[k]:.6g}, df gives {slope[k]:.6g}, but the "
            f"slope of f by x is {expected:.6g}"
        )


@lru_cache(100)
def _row(
    name: str, hyper: tuple[float, ...], scalars: _Scalars | None, dtype: np.dtype[Any]
) -> LossFrame:
    return LossFrame(_compiled(name, scalars, dtype), np.array(hyper, np.float64))


@cache  # for good: rows hold addresses only
def _compiled(name: str, scalars: _Scalars | None, dtype: np.dtype[Any]) -> Any:
    from dagbp._kernels.formulas import loss
    from dagbp._kernels.formulas.rows import specialise

    signature = loss.row_signature(dtype)
    if scalars is not None:
        row = specialise(loss.scalar_row, name, f=scalars.f, df=scalars.df)
        return compile_callback(row, signature, disk=False)
    if name == "softmax_cross_entropy":
        return compile_callback(loss.softmax_cross_entropy_row, signature)
    row = specialise(loss.elementwise_row, name, formula=getattr(loss, name))
    return compile_callback(row, signature)
