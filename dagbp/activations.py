"""Activations by name: the built-in ones, and your own.

{table}

`init` is the default initialisation of the weights into a node with this activation. Their variance
is 2/(fan-in + fan-out) (glorot), 2/fan-in (he) or 1/fan-in (lecun).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dagbp._checks import real_array
from dagbp._compiler.decorators import compiled
from dagbp._errors import OptionError, did_you_mean
from dagbp._kernels.formulas import rows
from dagbp._kernels.formulas.activation import FORMULAS
from dagbp._kernels.vectors.vector import CHUNK_BYTES
from dagbp._memory import aligned
from dagbp._user_functions import Registry, check_functions, table

__all__ = ["Activation", "get", "names", "register"]

Init = Literal["glorot", "he", "lecun"]
Scalar = Callable[..., float]
Floats = NDArray[np.floating[Any]]

if __doc__:  # None under python -OO
    __doc__ = __doc__.format(
        table=table(
            ("name", "x = theta(s)", "theta'(s)", "init"),
            [(one.name, one.text, one.slope_text, one.init) for one in FORMULAS.values()],
        )
    )


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation by name. Call it to evaluate it on an array.

    Attributes
    ----------
    name : str
    init : {"glorot", "he", "lecun"}
        The default initialisation of the weights into a node with this activation.
    f, df : callable or None
        A user's scalar functions ``f(s)`` and ``df(s, x)``; None for a built-in activation.
    surrogate : bool
        Whether `df` replaces the derivative of `f` and may differ from it.

    Examples
    --------
    >>> import dagbp
    >>> relu = dagbp.activations.get("relu")
    >>> relu([-2.0, 0.0, 3.0])
    array([0., 0., 3.])
    >>> relu.slope([-2.0, 0.0, 3.0])
    array([0., 0., 1.])
    """

    name: str
    init: Init = "glorot"
    f: Scalar | None = None
    df: Scalar | None = None
    surrogate: bool = False

    @property
    def builtin(self) -> bool:
        """Whether it comes with the library."""
        return self.f is None

    @property
    def reads_signal(self) -> bool:
        """Whether the compiled slope reads s, or only x = theta(s)."""
        return not self.builtin or bool(FORMULAS[self.name].reads_signal)

    @property
    def probability(self) -> bool:
        """Whether it is a built-in sigmoid from 0 to 1, as of a probability."""
        return self.builtin and bool(FORMULAS[self.name].probability)

    def __call__(self, s: ArrayLike) -> Floats:
        """Return theta(s), elementwise, in float32 for float32 and in float64 otherwise."""
        return _evaluate(self, s)[0]

    def slope(self, s: ArrayLike) -> Floats:
        """Return theta'(s), elementwise, in float32 for float32 and in float64 otherwise."""
        return _evaluate(self, s)[1]

    def rows(self, dtype: DTypeLike) -> tuple[Any, Any]:
        """Return the C functions x = theta(s) and d = g theta'(s) of `_kernels.formulas.rows`.

        Both are compiled once in a process and stay valid until it ends.
        """
        forward, backward = compiled(_compile_rows, self, np.dtype(dtype))
        return forward, backward


def names() -> list[str]:
    """Return the names of all activations, including your own.

    Examples
    --------
    >>> import dagbp
    >>> "tanh" in dagbp.activations.names()
    True
    """
    return registry.names()


def get(activation: str | Activation) -> Activation:
    """Return the activation with this name.

    An `Activation` that another process registered is registered here, too.

    Raises
    ------
    OptionError
        If the name is unknown or has other functions here, or `activation` is neither a name nor an
        `Activation`.
    """
    return registry.get(activation)


def register(
    name: str,
    f: Scalar,
    df: Scalar,
    *,
    init: Init = "glorot",
    overwrite: bool = False,
    surrogate: bool = False,
) -> Activation:
    """Add your own activation, given by two scalar functions.

    Parameters
    ----------
    name : str
        A new name.
    f : callable
        ``f(s) -> float``, theta of one signal. A Python function that Numba can compile; it runs as
        machine code in float32 or float64. Where it raises, the value is NaN.
    df : callable
        ``df(s, x) -> float``, the derivative at s, where x = f(s). It is compared with differences
        of `f` at 200 points in [-8, 8] and some near 0. At a kink of `f`, the slope on either side
        is right.
    init : {"glorot", "he", "lecun"}
        The default initialisation of the weights into a node with this activation.
    overwrite : bool
        Whether `name` may replace an activation that you registered before. Existing networks keep
        the old one. Its machine code keeps a few MiB until the process ends.
    surrogate : bool
        Whether `df` replaces the derivative of `f`, as for neurons that spike or round (Neftci et
        al., "Surrogate gradient learning in spiking neural networks", 2019). It is then not
        compared with `f`, and `dagbp.testing.gradcheck` reports a disagreement.

    Returns
    -------
    Activation

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
    >>> def swish2(s):
    ...     return s / (1 + math.exp(-2 * s))
    >>> def d_swish2(s, x):
    ...     p = 1 / (1 + math.exp(-2 * s))
    ...     return p + 2 * x * (1 - p)
    >>> swish = dagbp.activations.register("swish2", swish2, d_swish2, init="he")
    >>> swish([-1.0, 0.0, 1.0]).round(4)
    array([-0.1192,  0.    ,  0.8808])
    """
    return registry.add(Activation(name, init, f, df, surrogate), overwrite)


def _check(activation: Activation) -> None:
    """Raise for a user's activation that cannot be used, or with a wrong derivative."""
    owner = f"activation {activation.name!r}"
    if activation.init not in get_args(Init):
        hint = did_you_mean(activation.init, get_args(Init))
        raise OptionError(f"{owner}: unknown init {activation.init!r}{hint}")
    small = np.geomspace(1e-12, 1e-2, 6)
    s = np.sort(np.concatenate([np.linspace(-8, 8, 200), small, -small, [0.0]]))
    takes = "s", "s, x"
    check_functions(owner, activation, takes, {"s": s}, lambda h: _evaluate(activation, s + h))


registry = Registry("activation", [Activation(f.name, f.init) for f in FORMULAS.values()], _check)


def _compile_rows(activation: Activation, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if activation.f is None:
        formula = FORMULAS[activation.name]
        return (
            rows.forward.specialised(formula.name, dtype, f=formula.f),
            rows.backward.specialised(formula.name, dtype, df=formula.df),
        )
    f, df = rows.compile_scalar(activation.f), rows.compile_scalar(activation.df)
    return (
        rows.scalar_forward.specialised("user", dtype, disk=False, f=f),
        rows.scalar_backward.specialised("user", dtype, disk=False, df=df),
    )


def _evaluate(activation: Activation, values: ArrayLike) -> tuple[Floats, Floats]:
    """Return theta and theta' of an array, by the compiled rows."""
    values = real_array(values, "s")
    dtype = np.dtype(np.float32 if values.dtype == np.float32 else np.float64)
    lanes = CHUNK_BYTES // dtype.itemsize
    s, x, g, d = rows_ = aligned((4, -(-values.size // lanes) * lanes), dtype)
    s[: values.size] = values.ravel()
    g.fill(1)
    forward, backward = activation.rows(dtype)
    rows.forward.prototype(forward.address)(s.ctypes.data, x.ctypes.data, s.size)
    rows.backward.prototype(backward.address)(*(row.ctypes.data for row in rows_), s.size)
    return x[: values.size].reshape(values.shape), d[: values.size].reshape(values.shape)
