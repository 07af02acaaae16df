"""The fast compiler: Numba with passes, a linking step and a target for kernels.

It imports private parts of Numba, so it is used only with the versions that it was tested with.

CPU time by `python -m benchmarks compilers`: seconds to the end of the first step (medians of 5
rounds), microseconds of a steady step (medians of 9), on 2 cores of an AMD EPYC, family 25 model 1
(Zen 3), AVX2.

==================== ===== ===== ===== ====== ===== ===========
..                   cold  warm  10 %  100 %  DAG   one sample
==================== ===== ===== ===== ====== ===== ===========
fast                 5.31  0.98  3472  31774  534   69
plain                9.15  1.55  3578  31842  561   75
fast without target  6.84  0.97  3633  31109  565   73
fast without loops   5.45  0.99  3547  31598  524   70
fast without library 6.96  1.27  3376  30506  548   70
fast without passes  6.69  1.27  3574  29606  525   69
==================== ===== ===== ===== ====== ===== ===========

10 % and 100 % are layered nets of that density. *library* is `machine_code.InnerLibrary`, *loops*
is `target._loops`. Steady steps vary by some percent with the addresses of code and arrays. By
`python -m benchmarks compare` with 8 starts, a step of the Watts-Strogatz net takes 1.16 times as
long without the target, and 1.09 times without its loops; other nets take 0.99 to 1.06 times as
long.
"""

from collections.abc import Callable
from typing import Any

from numba.core.ccallback import CFunc

from dagbp._compiler import plain
from dagbp._compiler.disk_cache import keep_on_disk
from dagbp._compiler.passes import InnerCompiler, OuterCompiler
from dagbp._compiler.target import TARGET, KernelDispatcher

NAME = "fast"

_OPTIONS = {"nopython": True, "_nrt": False}  # kernels hold no Python objects


def inner(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return a dispatcher for callers that are compiled functions."""
    options = {**options, **_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return KernelDispatcher(function, targetoptions=options, pipeline_class=InnerCompiler)


def entry(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return a dispatcher for callers in Python; its code is kept on disk."""
    options = {**options, **_OPTIONS}
    dispatcher = KernelDispatcher(function, targetoptions=options, pipeline_class=OuterCompiler)
    keep_on_disk(dispatcher, function, NAME)
    return dispatcher


class _KernelFunction(CFunc):
    _targetdescr = TARGET


def c_function(
    function: Callable[..., Any], signature: Any, options: dict[str, Any], disk: bool
) -> Any:
    """Compile a C function. Functions of a user (`disk=False`) are compiled by Numba."""
    if not disk:
        return plain.c_function(function, signature, options, disk)
    types, options = (signature.args, signature.return_type), {**options, **_OPTIONS}
    compiler: Any = OuterCompiler
    made = _KernelFunction(function, types, {}, options, pipeline_class=compiler)
    keep_on_disk(made, function, NAME)
    made.compile()
    return made
