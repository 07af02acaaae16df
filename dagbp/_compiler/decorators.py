"""The interface of the compiler: decorators, C functions, floating-point flags.

Two compilers stand behind it. The *fast* one replaces parts of Numba and is used only with
versions of Numba that it was tested with. The *plain* one uses Numba as it is. The environment
variable `DAGBP_COMPILER` chooses one of them. No caller can tell which one runs.
"""

import os
import signal
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import FrameType, ModuleType
from typing import Any

import numba

from dagbp._compiler import plain
from dagbp._errors import DagbpWarning, OptionError
from dagbp._locks import RobustLock, Stage, at_fork, forking_function

# `ninf` and `nnan` are left out: with them `isnan` folds to False and divergence goes unseen.
FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}
# For formulas that depend on their rounding: nothing may be reordered or approximated.
EXACT = {"nsz", "contract"}

# Versions of Numba with which the fast compiler was tested. With others, plain is the default.
_FAST_VERSIONS = ("0.62", "0.68")

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("dagbp's kernels are compiled; unset NUMBA_DISABLE_JIT to use it")

# Kernels make no arrays, so Numba's array rewrites would find nothing.
_OPTIONS = {"nogil": True, "error_model": "numpy", "no_rewrites": True}


def _chosen_compiler() -> ModuleType:
    """Return the module of the compiler to use."""
    choice = os.environ.get("DAGBP_COMPILER", "")
    if choice not in ("", "fast", "plain"):
        raise OptionError(f"DAGBP_COMPILER must be 'fast' or 'plain', got {choice!r}")
    if choice == "plain":
        return plain
    minor = ".".join(numba.__version__.split(".")[:2])
    if choice == "fast" or minor in _FAST_VERSIONS:
        try:
            return import_module("dagbp._compiler.fast")
        except (ImportError, AttributeError) as error:
            reason = f"does not import with it: {error}"
    else:
        reason = "was not tested with it"
    warnings.warn(
        f"Numba {numba.__version__}: dagbp's fast compiler {reason}. The plain compiler is used, "
        "which makes a first step after an installation slower. DAGBP_COMPILER=plain chooses it "
        "without this warning",
        DagbpWarning,
        stacklevel=2,
    )
    return plain


_compiler = _chosen_compiler()
_compiling = RobustLock()
# A fork waits for other threads' compilations: they hold locks of Numba, which a child would keep.
at_fork(
    Stage.COMPILER,
    before=lambda: _compiling.acquire(forking_function()),
    after_in_parent=lambda: _compiling.release(forking_function()),
)


def jit(
    function: Callable[..., Any] | None = None,
    *,
    fastmath: set[str] = FAST,
    forceinline: bool = False,
) -> Any:
    """Compile `function` for calls from compiled functions only; it has no file on disk."""
    if function is None:
        return lambda f: jit(f, fastmath=fastmath, forceinline=forceinline)
    return _compiler.inner(function, _OPTIONS | {"fastmath": fastmath, "forceinline": forceinline})


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call from Python; release the GIL; keep the code on disk."""
    dispatcher = _compiler.entry(function, _OPTIONS | {"fastmath": FAST})
    compile_ = dispatcher.compile
    dispatcher.compile = lambda signature: _uninterrupted(compile_, signature)
    return dispatcher


def _uninterrupted(function: Callable[..., Any], *args: Any) -> Any:
    """Call `function`, and handle Ctrl-C when it returns.

    llvmlite's lock is written in Python. An interrupt inside it would leave it locked, and nothing
    could be compiled any more. Compiling in a thread of its own would take longer.
    """
    handler = None
    if threading.current_thread() is threading.main_thread():  # only this one is interrupted
        handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        with _compiling:
            return function(*args)
    interrupts: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *interrupt: interrupts.append(interrupt))
    try:
        with _compiling:
            return function(*args)
    finally:
        signal.signal(signal.SIGINT, handler)
        if interrupts:
            handler(*interrupts[-1])


class CFunction:
    """A compiled C function: its address, and 1 in `cache_hits` if its code came from the disk.

    The address is valid for as long as this object lives.
    """

    def __init__(
        self, function: Callable[..., Any], signature: Any, options: dict[str, Any], disk: bool
    ) -> None:
        self._function = _compiler.c_function(function, signature, options, disk)
        self.address, self.cache_hits = int(self._function.address), int(self._function.cache_hits)

    def __int__(self) -> int:
        """Return the address."""
        return self.address


def compile_callback(
    function: Callable[..., Any], signature: Any, *, fastmath: set[str] = EXACT, disk: bool = True
) -> CFunction:
    """Compile `function` as a C function of this signature; with a user's functions: disk=False."""
    options = {**(_OPTIONS if disk else {"error_model": "numpy"}), "fastmath": fastmath}
    made = _uninterrupted(CFunction, function, signature, options, disk)
    return made  # type: ignore[no-any-return]


def compiled(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, which compiles something.

    It runs once in a process for the same arguments; the result is kept.
    """
    with _compiling:
        return _compile_once(function, *args)


@cache  # never cleared: networks hold addresses of the code
def _compile_once(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)
