"""Functions that users register: checks of their derivatives, and whether two are the same code."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

TOLERANCE = 1e-5  # of max(1, |slope|)
_STEP = 1e-4
STENCIL = np.array([-2, -1, -0.5, 0, 0.5, 1, 2]) * _STEP
HERE = 3  # where the stencil is 0


def first_disagreement(values: Floats, slope: Floats) -> tuple[int, float] | None:
    """Return the first point where `slope` is not that of the function, and what it would be.

    Compared with the central difference, and, as at a kink, with those of either side.

    Parameters
    ----------
    values : (7, n)
        The function at each point plus each offset of `STENCIL`.
    slope : (n,)
        The derivative in question.
    """
    a, b, c, f, d, e, g = values
    candidates = np.array(
        [
            (8 * (d - c) - (e - b)) / (6 * _STEP),  # central, to fourth order
            (3 * f - 4 * b + a) / (2 * _STEP),  # from the left, to second
            (4 * e - 3 * f - g) / (2 * _STEP),  # from the right
        ]
    )
    near = np.abs(candidates - slope) <= TOLERANCE * np.maximum(1, np.abs(candidates))
    wrong = ~near.any(axis=0)
    if not wrong.any():
        return None
    k = int(np.argmax(wrong))
    return k, float(candidates[0, k])


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
