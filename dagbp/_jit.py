"""The only place that configures Numba: one decorator, its floating-point flags, its disk cache.

Numba's own disk cache is not enough, in two ways. It stamps a function with the one file that
defines it, so a change in an imported helper leaves old machine code running (numba issue 1833):
here one stamp covers every source file of the package, and the versions of Numba and llvmlite. And
it numbers the files of a function's signatures in an index, where two processes that compile two of
them at once take the same number, after which each may run the other's: here each has a name.
"""

import contextlib
import gc
import hashlib
import os
import pickle
import uuid
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.serialize import dumps
from numba.core.typed_passes import NativeLowering

# `ninf` and `nnan` are left out: with them `isnan` folds to False and divergence goes unseen.
FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}
# For formulas whose rounding is reasoned about: nothing may be reordered or approximated.
EXACT = {"nsz", "contract"}

if config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("dagbp's kernels are compiled; unset NUMBA_DISABLE_JIT to use it")

_jit: Any = numba.jit
# Kernels hold no Python objects and no arrays of their own: no reference counts, and nothing for
# Numba's array rewrites to do, so both are left out of compiling.
_OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",
    "no_rewrites": True,
    "_nrt": False,
}


@cache
def stamp() -> str:
    """Return a digest of every file that compiled code can depend on."""
    root = Path(__file__).parent
    digest = hashlib.sha256(f"{numba.__version__} {version('llvmlite')}".encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _Files:
    """A function's machine code on disk: a file for each signature and processor.

    A file begins with the stamp, and is replaced whole when that is another.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._folder, self._name = Path(folder), name
        self._header = stamp().encode()

    def _path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
        return self._folder / f"{self._name}.{digest}.nbc"

    def load(self, key: Any) -> Any:
        """Return what was saved with this stamp, or None."""
        try:
            saved = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        header, data = saved[: len(self._header)], saved[len(self._header) :]
        return pickle.loads(data) if header == self._header else None

    def save(self, key: Any, data: Any) -> None:
        """Save `data`, so that a reader finds all of it or what was there before."""
        path = self._path(key)
        part = path.with_suffix(f".{uuid.uuid4().hex[:16]}")
        try:
            part.write_bytes(self._header + dumps(data))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


class _Cache(FunctionCache):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        files: Any = _Files(self._cache_path, self._impl.filename_base)
        self._cache_file = files

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code on disk, or None: a damaged file is as good as none."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code on disk if there is room."""
        with contextlib.suppress(Exception):
            super().save_overload(sig, data)


def _enable_cache(compiled: Any, function: Callable[..., Any]) -> None:
    """Keep `compiled` on disk if a writable place exists and Numba's cache is as expected."""
    try:
        compiled._cache = _Cache(function)
    except (RuntimeError, AttributeError, OSError):
        return  # no cache: a slower start, never stale code


class _Library(JITCodeLibrary):
    """Code of an entry or callback, optimised once.

    Numba's own library optimises twice, for reference counts, of which there are none here.
    """

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _InnerLibrary(JITCodeLibrary):
    """Code that only goes into its callers: not optimised by itself, and never machine code.

    A caller is optimised with all that it calls, which is most of the work again;
    `benchmarks/startup.py` shows what a first step takes.
    """

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return that there is none."""
        return 0

    @property
    def codegen(self) -> Any:
        """What would write the environment of Python constants, of which there are none."""
        return _NoEnvironment


class _NoEnvironment:
    @staticmethod
    def set_env(name: str, env: Any) -> None:
        """Do nothing."""


def _lowering(library: type[JITCodeLibrary]) -> Any:
    """Return Numba's compiler, with a pass that puts code into libraries of this class."""

    @register_pass(mutates_CFG=True, analysis_only=False)
    class Lowering(NativeLowering):
        _name = f"dagbp_{library.__name__}"

        def run_pass(self, state: Any) -> bool:
            state.library = library(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            return bool(super().run_pass(state))

    class Compiler(CompilerBase):
        def define_pipelines(self) -> list[Any]:
            pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
            pipeline.passes = [
                (Lowering, text) if one is NativeLowering else (one, text)
                for one, text in pipeline.passes
            ]
            pipeline.finalize()
            return [pipeline]

    return Compiler


_COMPILER, _INNER_COMPILER = _lowering(_Library), _lowering(_InnerLibrary)


def jit(
    function: Callable[..., Any] | None = None,
    *,
    fastmath: set[str] = FAST,
    forceinline: bool = False,
) -> Any:
    """Compile `function` where another compiled function calls it.

    Without a way in from Python, and without a file: an entry's machine code holds it already.
    """
    if function is None:
        return lambda f: jit(f, fastmath=fastmath, forceinline=forceinline)
    return _jit(
        **_OPTIONS,
        fastmath=fastmath,
        forceinline=forceinline,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        pipeline_class=_INNER_COMPILER,
    )(function)


def _uncollected(function: Callable[..., Any], *args: Any) -> Any:
    """Call a compiler without garbage collections, which walk all that it makes each time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return function(*args)
    finally:
        if enabled:
            gc.enable()


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call from Python; release the GIL; keep the code on disk."""
    dispatcher = _jit(**_OPTIONS, fastmath=FAST, pipeline_class=_COMPILER)(function)
    _enable_cache(dispatcher, function)
    compile_ = dispatcher.compile
    dispatcher.compile = lambda signature: _uncollected(compile_, signature)
    return dispatcher


def compile_callback(
    function: Callable[..., Any], signature: Any, *, fastmath: set[str] = EXACT, disk: bool = True
) -> CFunc:
    """Compile `function` now as a C function with the given signature; see its `address`."""
    args, result = signature.args, signature.return_type
    callback = CFunc(
        function,
        (args, result),
        {},
        {"nopython": True, "error_model": "numpy", "fastmath": fastmath},
        pipeline_class=_COMPILER,
    )
    if disk:
        _enable_cache(callback, function)
    _uncollected(callback.compile)
    return callback
