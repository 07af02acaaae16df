"""Activations by name: the built-in ones, and your own.

============ ======================================== ======================================= ======
name         x = theta(s)                             theta'(s)                               init
============ ======================================== ======================================= ======
identity     s                                        1                                       glorot
relu         max(s, 0)                                1 where s > 0, else 0                   he
leaky_relu   s where s > 0, else s/100                1 where s > 0, else 1/100               he
elu          s where s > 0, else exp(s) - 1           1 where s > 0, else exp(s)              he
selu         1.0507 elu(s), exp(s) - 1 times 1.6733   1.0507 where s > 0, else 1.758 exp(s)   lecun
sigmoid      1/(1 + exp(-s))                          x (1 - x)                               glorot
tanh         tanh(s)                                  1 - x^2                                 glorot
softplus     log(1 + exp(s))                          1/(1 + exp(-s))                         he
softsign     s/(1 + abs(s))                           1/(1 + abs(s))^2                        glorot
gelu         s P(Z < s), Z standard normal, exact     P(Z < s) + s exp(-s^2/2)/sqrt(2 pi)     he
silu         s/(1 + exp(-s))                          p + x (1 - p), p = 1/(1 + exp(-s))      he
sin          sin(s)                                   cos(s)                                  glorot
gaussian     exp(-s^2)                                -2 s x                                  glorot
hard_sigmoid s/6 + 1/2, clipped to [0, 1]             1/6 where abs(s) < 3, else 0            glorot
hard_tanh    s, clipped to [-1, 1]                    1 where abs(s) < 1, else 0              glorot
============ ======================================== ======================================= ======

``init`` is how the weights into such a node are drawn unless told otherwise: with variance
2/(fan-in + fan-out) (glorot), 2/fan-in (he) or 1/fan-in (lecun).
"""

import ctypes
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dagbp._checks import real_array
from dagbp._errors import DerivativeError, OptionError, did_you_mean
from dagbp._locks import ForkSafeLock
from dagbp._user_functions import HERE, STENCIL, first_disagreement, same_functions

__all__ = ["Activation", "addresses", "get", "names", "register"]

Init = Literal["glorot", "he", "lecun"]
Scalar = Callable[..., float]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation by name. Call it to evaluate it on an array.

    Attributes
    ----------
    name : str
        As registered.
    init : {"glorot", "he", "lecun"}
        How the weights into such a node are drawn unless told otherwise.
    f, df : callable or None
        A user's scalar functions ``f(s)`` and ``df(s, x)``; None for a built-in.
    surrogate : bool
        Whether `df` stands in for a derivative that is of no use.

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
        """Whether the compiled slope reads s; else x = theta(s) will do."""
        return not self.builtin or self.name in _READ_SIGNAL

    def __call__(self, s: ArrayLike) -> Floats:
        """Return theta(s), elementwise; float32 stays float32, all else becomes float64."""
        return _evaluate(self, s)[0]

    def slope(self, s: ArrayLike) -> Floats:
        """Return theta'(s), elementwise; float32 stays float32, all else becomes float64."""
        return _evaluate(self, s)[1]


_BUILT_IN: dict[str, Init] = {
    "identity": "glorot",
    "relu": "he",
    "leaky_relu": "he",
    "elu": "he",
    "selu": "lecun",
    "sigmoid": "glorot",
    "tanh": "glorot",
    "softplus": "he",
    "softsign": "glorot",
    "gelu": "he",
    "silu": "he",
    "sin": "glorot",
    "gaussian": "glorot",
    "hard_sigmoid": "glorot",
    "hard_tanh": "glorot",
}
# Whose slope reads s; the others' read x alone, which may then take the place of s.
_READ_SIGNAL = {"gelu", "silu", "sin", "gaussian"}
_activations = {name: Activation(name, init) for name, init in _BUILT_IN.items()}
_lock = ForkSafeLock()


def names() -> list[str]:
    """Return the names of all activations, the users' own included.

    Examples
    --------
    >>> import dagbp
    >>> "tanh" in dagbp.activations.names()
    True
    """
    return list(_activations)


def get(activation: str | Activation) -> Activation:
    """Return the activation that a name stands for.

    Raises
    ------
    OptionError
        For an unknown name, or what is neither a name nor an activation.
    """
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str):
        raise OptionError(f"activation must be a name or an Activation, got {activation!r}")
    if activation not in _activations:
        raise OptionError(f"unknown activation {activation!r}{did_you_mean(activation, names())}")
    return _activations[activation]


def register(
    name: str,
    f: Scalar,
    df: Scalar,
    *,
    init: Init = "glorot",
    overwrite: bool = False,
    surrogate: bool = False,
) -> Activation:
    """Add an activation of your own, by two scalar functions.

    Parameters
    ----------
    name : str
        A new name, an identifier.
    f : callable
        ``f(s) -> float``, theta of one signal. Plain Python that Numba can compile; it runs as
        machine code, on float32 or float64.
    df : callable
        ``df(s, x) -> float``, its derivative at s, where x = f(s); checked against differences
        of `f` at 200 points in [-8, 8] and some near 0. At a kink of `f`, either side's will do.
    init : {"glorot", "he", "lecun"}
        How the weights into such a node are drawn unless told otherwise.
    overwrite : bool
        Whether `name` may replace an earlier one of yours. Networks that exist keep what they
        have compiled.
    surrogate : bool
        Whether `df` is no derivative of `f`, but stands in for it, as for neurons that spike or
        round (Neftci et al., "Surrogate gradient learning in spiking neural networks", 2019): then
        it is not compared with `f`, and `dagbp.testing.gradcheck` will find that it disagrees.

    Returns
    -------
    Activation

    Raises
    ------
    OptionError
        If the name is taken or no identifier, or a function does not take what it must, does not
        compile, or gives what is not finite.
    DerivativeError
        Where `df` first disagrees with `f`, with both values.

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
    _check_name(name, overwrite)
    if init not in get_args(Init):
        hint = did_you_mean(init, get_args(Init))
        raise OptionError(f"activation {name!r}: unknown init {init!r}{hint}")
    _check_takes(name, "f", f, 1)
    _check_takes(name, "df", df, 2)
    if not isinstance(surrogate, bool):
        raise OptionError(
            f"activation {name!r}: surrogate must be True or False, got {surrogate!r}"
        )
    activation = Activation(name, init, f, df, surrogate)
    _check_values(activation)
    with _lock.lock:
        _check_name(name, overwrite)
        _activations[name] = activation
    return activation


def name_of(activation: str | Activation) -> str:
    """Return the name of an activation; one that another process made is registered first.

    Raises
    ------
    OptionError
        If other functions have that name here, or `activation` is neither name nor activation.
    """
    if not isinstance(activation, Activation) or activation.f is None:
        return get(activation).name
    here = _activations.get(activation.name)
    if here is None:
        assert activation.df is not None
        register(
            activation.name,
            activation.f,
            activation.df,
            init=activation.init,
            surrogate=activation.surrogate,
        )
    elif not same_functions((here.f, here.df), (activation.f, activation.df)):
        raise OptionError(
            f"activation {activation.name!r} is registered here with other functions; register "
            "yours with another name"
        )
    return activation.name


def addresses(activation: str | Activation, dtype: DTypeLike) -> tuple[int, int]:
    """Return the addresses of the compiled forward and backward rows; see `_kernels.rows`.

    They are valid for as long as the process lives.
    """
    forward, backward = rows(activation, dtype)
    return forward.address, backward.address


def rows(activation: str | Activation, dtype: DTypeLike) -> tuple[Any, Any]:
    """Return the forward and the backward row, C functions that are there for good."""
    with _lock.lock:
        return _compiled(get(activation), np.dtype(dtype))


@cache  # for good: a network holds addresses only, and they must outlive it
def _compiled(activation: Activation, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    from dagbp._kernels.formulas import activation as formulas
    from dagbp._kernels.formulas import rows as templates

    name = activation.name
    if activation.f is not None:
        return templates.compile_scalar_pair(name, activation.f, activation.df, dtype)
    slope = getattr(formulas, f"{name}_slope")
    return templates.compile_pair(name, getattr(formulas, name), slope, dtype)


_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_size_t
_FORWARD = ctypes.CFUNCTYPE(None, *[_POINTER] * 2, _COUNT)
_BACKWARD = ctypes.CFUNCTYPE(None, *[_POINTER] * 4, _COUNT)


def _evaluate(activation: Activation, values: ArrayLike) -> tuple[Floats, Floats]:
    """Return theta and theta' of an array, by the compiled rows."""
    values = real_array(values, "s")
    dtype = np.dtype(np.float32 if values.dtype == np.float32 else np.float64)
    s, x, g, d = rows = _aligned(4, values.size, dtype)
    s[: values.size] = values.ravel()
    g.fill(1)
    forward, backward = addresses(activation, dtype)
    _FORWARD(forward)(s.ctypes.data, x.ctypes.data, s.size)
    _BACKWARD(backward)(*(row.ctypes.data for row in rows), s.size)
    return x[: values.size].reshape(values.shape), d[: values.size].reshape(values.shape)


def _aligned(count: int, size: int, dtype: np.dtype[Any]) -> Floats:
    """Return (count, size or more) zeros, each row 64-byte aligned and a multiple of 64 bytes."""
    row_bytes = -(-size * dtype.itemsize // 64) * 64
    raw = np.zeros(count * row_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * row_bytes].view(dtype).reshape(count, -1)


# --- what registration checks --------------------------------------------------------------------


def _check_name(name: str, overwrite: bool) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise OptionError(f"an activation's name must be an identifier, got {name!r}")
    if name in _BUILT_IN:
        raise OptionError(f"activation {name!r} is built in and cannot be replaced")
    if name in _activations and not overwrite:
        raise OptionError(f"activation {name!r} is registered already; pass overwrite=True")


def _check_takes(name: str, role: str, function: Scalar, count: int) -> None:
    must = f"activation {name!r}: {role} must be a Python function of ({'s, x'[: 3 * count - 2]})"
    if not inspect.isfunction(getattr(function, "py_func", function)):
        raise OptionError(f"{must}, got {function!r}")
    try:
        inspect.signature(function).bind(*[0.0] * count)
    except TypeError as error:
        raise OptionError(f"{must}: {error}") from error


def _check_values(activation: Activation) -> None:
    """Compare df with differences of f: central ones, and at a kink those of either side."""
    small = np.geomspace(1e-12, 1e-2, 6)
    s = np.sort(np.concatenate([np.linspace(-8, 8, 200), small, -small, [0.0]]))
    given = _first_values(activation, s)
    values = activation(s + STENCIL[:, None])
    for role, result in (("f", values[HERE]), ("df", given)):
        _check_finite(activation.name, role, s, result)
    wrong = None if activation.surrogate else first_disagreement(values, given)
    if wrong is not None:
        k, expected = wrong
        raise DerivativeError(
            f"activation {activation.name!r}: at s = {s[k]:.6g}, df gives {given[k]:.6g}, "
            f"but the slope of f is {expected:.6g}; surrogate=True takes it all the same"
        )


def _first_values(activation: Activation, s: Floats) -> Floats:
    """Return theta'(s), compiled for the first time."""
    from numba.core.errors import NumbaError

    try:
        return activation.slope(s)
    except NumbaError as error:
        noise = ("Failed in", "During:", "No implementation")
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next(line for line in lines if line and not line.startswith(noise))
        if reason.startswith(">>> "):  # a call
            reason = f"it knows no {reason[4:]}"
        raise OptionError(
            f"activation {activation.name!r}: Numba cannot compile f or df: {reason}"
        ) from error


def _check_finite(name: str, role: str, s: Floats, result: Floats) -> None:
    bad = ~np.isfinite(result)
    if bad.any():
        k = int(np.argmax(bad))
        raise OptionError(
            f"activation {name!r}: {role} must be finite on [-8, 8], "
            f"but at s = {s[k]:.6g} it is {result[k]}"
        )
