"""Losses: averaged over samples, summed over outputs.

{table}

The two cross-entropies take raw outputs (activation "identity") and apply the sigmoid or softmax
themselves, so that they neither overflow nor lose digits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from dagbp._compiler.decorators import compiled
from dagbp._errors import OptionError
from dagbp._kernels.formulas.loss import FORMULAS, scalar_row
from dagbp._kernels.formulas.rows import compile_scalar
from dagbp._kernels.frames import LossFrame
from dagbp._user_functions import Registry, check_functions, table

__all__ = ["BinaryCrossEntropy", "Huber", "Loss", "SoftmaxCrossEntropy", "get", "names", "register"]

Labels = Literal["no", "binary", "classes"]
Scalar = Callable[[float, float], float]

if __doc__:  # None under python -OO
    _LABELS = {"no": "no", "binary": "0 or 1", "classes": "0 ... K - 1"}
    __doc__ = __doc__.format(
        table=table(
            ("name", "error of one sample", "class labels"),
            [(one.name, one.text, _LABELS[one.labels]) for one in FORMULAS.values()],
        )
    )


@dataclass(frozen=True)
class Loss:
    """A loss by name, with its hyper-parameters.

    Attributes
    ----------
    name : str
    hyper : tuple of float
        The hyper-parameters of a built-in loss.
    labels : {"no", "binary", "classes"}
        The class labels that it takes in place of targets.
    f, df : callable or None
        A user's scalar functions ``f(x, y)`` and ``df(x, y)``; None for a built-in loss.
    surrogate : bool
        Whether `df` replaces the derivative of `f` and may differ from it.
    """

    name: str
    hyper: tuple[float, ...] = ()
    labels: Labels = "no"
    f: Scalar | None = field(default=None, repr=False, compare=False)
    df: Scalar | None = field(default=None, repr=False, compare=False)
    surrogate: bool = field(default=False, repr=False, compare=False)

    # Not a dataclass's: an interrupt can leave its recursion guard set, and it then prints '...'.
    def __repr__(self) -> str:
        return f"Loss(name={self.name!r}, hyper={self.hyper!r}, labels={self.labels!r})"

    def row(self, dtype: np.dtype[Any]) -> LossFrame:
        """Return the C function for values of `dtype`, and the hyper-parameters that it reads."""
        return _row(self.name, self.hyper, self.f, self.df, dtype)


def Huber(threshold: float = 1.0) -> Loss:
    """Return the Huber loss: a parabola where abs(x - y) <= threshold, lines beyond.

    Examples
    --------
    >>> Huber(2.0).hyper
    (2.0,)
    """
    return _built_in("huber", threshold)


def BinaryCrossEntropy(label_smoothing: float = 0.0) -> Loss:
    """Return the binary cross-entropy against (1 - h) y + h/2, h = label_smoothing in [0, 1].

    Examples
    --------
    >>> BinaryCrossEntropy(label_smoothing=0.1).hyper
    (0.1,)
    """
    return _built_in("binary_cross_entropy", label_smoothing)


def SoftmaxCrossEntropy(label_smoothing: float = 0.0) -> Loss:
    """Return the cross-entropy of K outputs against (1 - h) y + h/K, h = label_smoothing in [0, 1].

    Source: Szegedy et al., 2016.

    Examples
    --------
    >>> SoftmaxCrossEntropy(label_smoothing=0.1).hyper
    (0.1,)
    """
    return _built_in("softmax_cross_entropy", label_smoothing)


def _built_in(name: str, *hyper: float) -> Loss:
    known = registry.get(name)
    _check_record(replace(known, hyper=hyper), known)
    return replace(known, hyper=tuple(map(float, hyper)))


def names() -> list[str]:
    """Return the names of all losses, including your own."""
    return registry.names()


def get(loss: str | Loss) -> Loss:
    """Return the loss with this name.

    A `Loss` that another process registered is registered here, too.

    Raises
    ------
    OptionError
        If the name is unknown or has other functions here, `loss` is neither a name nor a `Loss`,
        or its hyper-parameters or labels are invalid.
    """
    known = registry.get(loss)
    if not isinstance(loss, Loss) or loss.f is not None:
        return known
    _check_record(loss, known)
    return loss if known.f is None else known


def _check_record(loss: Loss, known: Loss) -> None:
    """Raise `OptionError` for hyper-parameters or labels that differ from the known loss's."""
    owner, needs = f"loss {loss.name!r}", FORMULAS[loss.name].hyper if known.f is None else {}
    if not isinstance(loss.hyper, tuple) or len(loss.hyper) != len(needs):
        plural = "s" * (len(needs) != 1)
        raise OptionError(f"{owner} has {len(needs)} hyper-parameter{plural}, got {loss.hyper!r}")
    for (name, (_, requirement)), value in zip(needs.items(), loss.hyper, strict=True):
        requirement.check(f"{owner}: {name}", value)
    if loss.labels != known.labels:
        raise OptionError(f"{owner}: labels must be {known.labels!r}, got {loss.labels!r}")


def register(
    name: str, f: Scalar, df: Scalar, *, overwrite: bool = False, surrogate: bool = False
) -> Loss:
    """Add your own loss: the sum over outputs of f(x, y).

    Parameters
    ----------
    name : str
        A new name.
    f : callable
        ``f(x, y) -> float``, the error of one output x against its target y. A Python function that
        Numba can compile; it runs as machine code in float32 or float64. Where it raises, the value
        is NaN.
    df : callable
        ``df(x, y) -> float``, the derivative with respect to x. It is compared with differences of
        `f` for x in [-4, 4] and y in [0, 1]. At a kink of `f`, the slope on either side is right.
    overwrite : bool
        Whether `name` may replace a loss that you registered before. The machine code of the old
        one keeps a few MiB until the process ends.
    surrogate : bool
        Whether `df` replaces the derivative of `f`. It is then not compared with `f`.

    Returns
    -------
    Loss

    Raises
    ------
    OptionError
        If the name is taken or empty, or a function has the wrong arguments, does not compile, or
        returns a value that is not finite.
    DerivativeError
        If `df` disagrees with `f`; the text gives the first such point and both values.

    Examples
    --------
    >>> import math
    >>> import dagbp
    >>> dagbp.losses.register(
    ...     "log_cosh", lambda x, y: math.log(math.cosh(x - y)), lambda x, y: math.tanh(x - y)
    ... ).name
    'log_cosh'
    """
    return registry.add(Loss(name, f=f, df=df, surrogate=surrogate), overwrite)


def _check(loss: Loss) -> None:
    """Raise for a user's loss that cannot be used, or with a wrong derivative."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-4, 4, 41), np.linspace(0, 1, 5)))
    owner, takes, points = f"loss {loss.name!r}", ("x, y", "x, y"), {"x": x, "y": y}
    check_functions(owner, loss, takes, points, lambda h: _evaluate(loss, x + h, y))


registry = Registry(
    "loss",
    [
        Loss(one.name, tuple(default for default, _ in one.hyper.values()), one.labels)
        for one in FORMULAS.values()
    ],
    _check,
)


def _evaluate(loss: Loss, x: Any, y: Any) -> tuple[Any, Any]:
    """Return a user's f(x, y) and df(x, y) for arrays, by the compiled row."""
    e, errors = np.empty((2, len(x)))
    row = scalar_row.prototype(int(loss.row(x.dtype).address))
    row(*(one.ctypes.data for one in (x, y, e, errors)), None, 1, len(x))
    return errors, e


@lru_cache(100)
def _row(
    name: str, hyper: tuple[float, ...], f: Scalar | None, df: Scalar | None, dtype: np.dtype[Any]
) -> LossFrame:
    row = compiled(_compile_row, name, f, df, dtype)
    return LossFrame(row, np.array(hyper, np.float64))


def _compile_row(name: str, f: Scalar | None, df: Scalar | None, dtype: np.dtype[Any]) -> Any:
    if f is None:
        return FORMULAS[name].compiled(dtype)
    f, df = compile_scalar(f), compile_scalar(df)
    return scalar_row.specialised("user", dtype, disk=False, f=f, df=df)
