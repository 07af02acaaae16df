"""What passes for a number where an option is one."""

from math import isfinite
from numbers import Real


def is_number(value: object) -> bool:
    """Return whether `value` is a finite real number that float64 can hold; bools are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an int or a Fraction beyond float64
        return False
