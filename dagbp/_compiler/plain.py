"""The plain compiler: Numba's public decorators.

It works with every admitted version of Numba. `python -m benchmarks compilers` compares it with
the fast compiler.
"""

from collections.abc import Callable
from typing import Any

import numba

from dagbp._compiler.disk_cache import keep_on_disk

try:
    from numba.core.ccallback import CFunc  # `numba.cfunc` compiles before a cache can be set
except ImportError:  # pragma: no cover
    CFunc = None  # type: ignore[assignment, misc]

NAME = "plain"


def inner(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return a dispatcher for callers that are compiled functions."""
    options = {**options, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.njit(**options)(function)


def entry(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return a dispatcher for callers in Python; its code is kept on disk."""
    dispatcher = numba.njit(**options)(function)
    keep_on_disk(dispatcher, function, NAME)
    return dispatcher


def c_function(
    function: Callable[..., Any], signature: Any, options: dict[str, Any], disk: bool
) -> Any:
    """Compile a C function; its `address` and `cache_hits` are as Numba's."""
    if not disk or CFunc is None:
        return numba.cfunc(signature, **options)(function)
    made = CFunc(function, (signature.args, signature.return_type), {}, options)
    keep_on_disk(made, function, NAME)
    made.compile()
    return made
