"""Errors and warnings. Each text names the thing, the requirement, and the value that came."""

from collections.abc import Iterable
from difflib import get_close_matches


class DagbpError(ValueError):
    """Base class of all errors of this package. It is a `ValueError`."""


class GraphError(DagbpError):
    """A graph, or an attribute of a node or edge, cannot be compiled."""


class DataError(DagbpError):
    """Samples, targets, labels, weights or parameters do not fit the network."""


class OptionError(DagbpError):
    """An argument has an invalid value, or an unknown name."""


class DerivativeError(DagbpError):
    """A registered function's derivative disagrees with its finite differences."""


class DivergenceError(DagbpError, ArithmeticError):
    """The training loss or an updated parameter is not finite.

    The network keeps its last finite parameters.
    """


class CallbackError(DagbpError, RuntimeError):
    """A callback raised an exception, which is the `__cause__` of this one."""


class CheckpointError(DagbpError):
    """A file is not a checkpoint or is damaged, or a value cannot be saved or restored."""


class MemoryLimitError(DagbpError, MemoryError):
    """A request is larger than the available memory. Nothing has been allocated."""


class MissingPackageError(DagbpError, ImportError):
    """A package is not installed. The text names the extra that installs it."""


class DagbpWarning(UserWarning):
    """Base class of all warnings of this package."""


class UnreachableWarning(DagbpWarning):
    """No input reaches an output, so its prediction is a constant."""


class IgnoredArgumentWarning(DagbpWarning):
    """An argument has no effect on this graph."""


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return the end of an error text: the most similar known name, then all known names."""
    names = [str(k) for k in known]
    folded = {_fold(known_name): known_name for known_name in reversed(names)}
    near = get_close_matches(_fold(str(name)), folded, n=1)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
    return f"{hint} Known: {', '.join(names)}."


def _fold(name: str) -> str:
    """Return a name in lower case without separators, which `did_you_mean` ignores."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
