"""Registries of activations and losses, and checks of the functions that users register."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from numba import NumbaError

from dagbp._errors import DerivativeError, OptionError, did_you_mean

Floats = npt.NDArray[np.floating[Any]]

_TOLERANCE = 1e-5  # relative to max(1, |slope|)
_STEP = 1e-4
_STENCIL = np.array([-2, -1, -0.5, 0, 0.5, 1, 2]) * _STEP
_CENTRE = 3  # index of the offset 0


class Record(Protocol):
    """An activation or a loss; `f` and `df` are a user's functions, or None if it is built in."""

    @property
    def name(self) -> str: ...
    @property
    def f(self) -> Callable[..., float] | None: ...
    @property
    def df(self) -> Callable[..., float] | None: ...
    @property
    def surrogate(self) -> bool: ...


R = TypeVar("R", bound=Record)


class Registry(Generic[R]):
    """Activations or losses by name. kind: for error texts. check: raises if one is unusable."""

    def __init__(self, kind: str, built_in: Iterable[R], check: Callable[[R], None]) -> None:
        self._kind, self._check = kind, check
        self.built_in: Mapping[str, R] = {one.name: one for one in built_in}
        self._records = dict(self.built_in)
        self._type = type(next(iter(self._records.values())))

    def names(self) -> list[str]:
        """Return the names of all records, the built-in ones first."""
        return list(self._records)

    def get(self, wanted: Any) -> R:
        """Return the registered record for a name or a record.

        A record that another process has registered is registered here also. OptionError if the
        name is unknown or has other functions here, or `wanted` is neither a name nor a record.
        """
        is_record = isinstance(wanted, self._type)
        name = wanted.name if is_record else wanted
        if not isinstance(name, str):
            one = self._type.__name__
            article = "an" if one[0] in "AEIOU" else "a"
            raise OptionError(f"{self._kind} must be a name or {article} {one}, got {wanted!r}")
        if is_record and wanted.f is not None:
            if name not in self._records:
                self._check_name(name, overwrite=True)
                self._check(wanted)
                self._records.setdefault(name, wanted)
            known = self._records[name]  # a pickled copy of its functions is another object
            if (_code(known.f), _code(known.df)) != (_code(wanted.f), _code(wanted.df)):
                raise OptionError(
                    f"{self._kind} {name!r} is registered here with other functions; register "
                    "yours with another name"
                )
        if name not in self._records:
            raise OptionError(f"unknown {self._kind} {name!r}{did_you_mean(name, self.names())}")
        return self._records[name]

    def add(self, record: R, overwrite: bool = False) -> R:
        """Check a user's record and register it; `overwrite` may replace an earlier one."""
        self._check_name(record.name, overwrite)
        self._check(record)
        if overwrite:
            self._records[record.name] = record
        elif self._records.setdefault(record.name, record) is not record:
            self._check_name(record.name, overwrite)  # another thread was faster
        return record

    def remove(self, name: str) -> None:
        """Forget a user's record; networks that use it are not affected."""
        if name not in self.built_in:
            self._records.pop(name, None)

    def _check_name(self, name: Any, overwrite: bool) -> None:
        if not isinstance(name, str) or not name:
            raise OptionError(f"name of {self._kind} must be a non-empty string, got {name!r}")
        if name in self.built_in:
            raise OptionError(f"{self._kind} {name!r} is built in and cannot be replaced")
        if name in self._records and not overwrite:
            raise OptionError(
                f"{self._kind} {name!r} is registered already; pass overwrite=True to replace it"
            )


def _code(function: Any) -> Any:
    """Return an object that is equal for two functions with the same code."""
    plain = getattr(function, "py_func", function)  # the Python function of a jitted one
    code = getattr(plain, "__code__", None)
    if code is None:
        return plain
    cells = [cell.cell_contents for cell in plain.__closure__ or ()]
    return code, plain.__defaults__, cells


def check_functions(
    owner: str,
    record: Record,
    takes: tuple[str, str],
    points: Mapping[str, Floats],
    evaluate: Callable[[float], tuple[Floats, Floats]],
) -> None:
    """Raise for a user's functions that cannot be used, or with a wrong derivative.

    owner: the activation or loss, for error texts. takes: the arguments of f and of df. points: the
    arguments of f by name, each (n,); df is the derivative with respect to the first one. evaluate:
    returns f and df at the points, after a number is added to the first argument.
    """
    for role, function, arguments in zip(("f", "df"), (record.f, record.df), takes, strict=True):
        _check_takes(owner, role, function, arguments)
    if not isinstance(record.surrogate, bool):
        raise OptionError(f"{owner}: surrogate must be True or False, got {record.surrogate!r}")
    try:
        _, slope = evaluate(0.0)
    except NumbaError as error:
        reason = _compile_reason(error)
        raise OptionError(f"{owner}: Numba cannot compile f or df: {reason}") from error
    values = np.array([evaluate(offset)[0] for offset in _STENCIL])

    def place(k: int) -> str:
        return ", ".join(f"{name} = {value[k]:.6g}" for name, value in points.items())

    for role, result in (("f", values[_CENTRE]), ("df", slope)):
        if not np.isfinite(result).all():
            k = int(np.argmin(np.isfinite(result)))
            raise OptionError(
                f"{owner}: {role} must be finite, but at {place(k)} it is {result[k]}"
            )
    wrong = None if record.surrogate else _first_disagreement(values, slope)
    if wrong is not None:
        k, expected = wrong
        raise DerivativeError(
            f"{owner}: at {place(k)}, df gives {slope[k]:.6g}, but the derivative of f "
            f"with respect to {next(iter(points))} is {expected:.6g}; pass surrogate=True if this "
            "is intended"
        )


def _check_takes(owner: str, role: str, function: Any, arguments: str) -> None:
    """Raise `OptionError` unless `function` is a Python function of these arguments."""
    need = f"{owner}: {role} must be a Python function of ({arguments})"
    if not inspect.isfunction(getattr(function, "py_func", function)):
        raise OptionError(f"{need}, got {function!r}")
    try:
        inspect.signature(function).bind(*arguments.split(", "))
    except TypeError as error:
        raise OptionError(f"{need}: {error}") from error


def _first_disagreement(values: Floats, slope: Floats) -> tuple[int, float] | None:
    """Return the first point where `slope` fits no finite difference of f, and the central one.

    Finite differences are the central one, and the ones from the left and from the right.
    """
    a, b, c, f, d, e, g = values
    candidates = np.array(
        [
            (8 * (d - c) - (e - b)) / (6 * _STEP),  # central, to fourth order
            (3 * f - 4 * b + a) / (2 * _STEP),  # from the left, to second order
            (4 * e - 3 * f - g) / (2 * _STEP),  # from the right
        ]
    )
    near = np.abs(candidates - slope) <= _TOLERANCE * np.maximum(1, np.abs(candidates))
    wrong = ~near.any(axis=0)
    if not wrong.any():
        return None
    k = int(np.argmax(wrong))
    return k, float(candidates[0, k])


def _compile_reason(error: Exception) -> str:
    """Return the line of an error of Numba that names the code it could not compile."""
    noise = ("Failed in", "During:", "No implementation")
    lines = [line.strip() for line in str(error).splitlines()]
    reason = next(line for line in lines if line and not line.startswith(noise))
    if reason.startswith(">>> "):  # a call
        return f"there is no implementation of {reason[4:]}"
    return reason


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in reStructuredText."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = " ".join("=" * width for width in widths)
    header_line, *body = (
        " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join([rule, header_line, rule, *body, rule])
