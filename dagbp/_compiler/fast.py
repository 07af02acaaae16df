"""The fast compiler: Numba with passes, a linking step and a target for kernels.

It imports private parts of Numba, so it is used only with the versions that it was tested with.

CPU time of a steady step in us by `benchmarks/compilers.py`, medians of 14 rounds, on a busy
machine (2 cores AMD EPYC, family 25 model 1, AVX2):

=================== ===== ====== ===== ===========
..                  10 %  100 %  DAG   one sample
=================== ===== ====== ===== ===========
fast                7156  43991  1096  135
plain               7041  43290  1194  145
fast without target 7077  43630  1144  145
=================== ===== ====== ===== ===========

First steps are not settled. With an empty cache two rounds gave 7.0 s (fast), 13.3 s (plain) and
8.6 s (without target), but four single runs of plain took 5.2 to 7.0 s. Repeat them when quiet.
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
