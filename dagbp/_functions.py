"""Functions that users register, which other processes get as copies."""

from collections.abc import Iterable
from typing import Any


def same_functions(ours: Iterable[Any], theirs: Iterable[Any]) -> bool:
    """Return whether functions are made of the same code: a copy, pickled, is another object."""
    return [*map(_made_of, ours)] == [*map(_made_of, theirs)]


def _made_of(function: Any) -> Any:
    plain = getattr(function, "py_func", function)  # of one that is jitted
    code = getattr(plain, "__code__", None)
    if code is None:
        return plain
    cells = [cell.cell_contents for cell in plain.__closure__ or ()]
    return code, plain.__defaults__, cells
