"""Errors and warnings: each text names the thing, what it must be, and what came."""

from collections.abc import Iterable
from difflib import get_close_matches


class DagbpError(ValueError):
    """Base of the library's errors; a `ValueError`, so that broad handlers still work."""


class GraphError(DagbpError):
    """The drawn graph, or an attribute of a node or an edge, cannot be compiled."""


class DataError(DagbpError):
    """An array of samples, targets, labels, weights or parameters does not fit the network."""


class OptionError(DagbpError):
    """An argument has a value, or a name, that does not exist."""


class DerivativeError(DagbpError):
    """A registered function's derivative disagrees with its finite differences."""


class DivergenceError(DagbpError, ArithmeticError):
    """Training produced a loss that is not finite; the last finite parameters are kept."""


class CallbackError(DagbpError, RuntimeError):
    """A callback of a training run failed; its `__cause__` is what it raised."""


class CheckpointError(DagbpError):
    """A file is no checkpoint, is damaged, or holds what cannot be kept or brought back."""


class MemoryLimitError(DagbpError, MemoryError):
    """Something would not fit the memory there is; nothing has been allocated."""


class MissingPackageError(DagbpError, ImportError):
    """Something optional needs a package that is not installed; the text names the extra."""


class DagbpWarning(UserWarning):
    """Base of the library's warnings."""


class UnreachableWarning(DagbpWarning):
    """An output that no input reaches: its prediction is a constant."""


class IgnoredArgumentWarning(DagbpWarning):
    """An argument that says nothing about this graph."""


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return the tail of an error text: the nearest known name, then all of them."""
    names = [str(k) for k in known]
    folded = {_fold(known_name): known_name for known_name in reversed(names)}
    near = get_close_matches(_fold(str(name)), folded, n=1)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
    return f"{hint} Known: {', '.join(names)}."


def _fold(name: str) -> str:
    """Return a name without case and separators, as people mistype those first."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
