"""How functions are compiled: decorators, floating-point flags, C functions, Numba's disk cache.

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
import signal
import threading
import uuid
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import numba
from numba.core import config
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps

from dagbp._compiler.machine_code import InnerLibrary, OuterLibrary, compiler
from dagbp._compiler.target import KernelCallback, KernelDispatcher
from dagbp._locks import ForkSafeLock

# `ninf` and `nnan` are left out: with them `isnan` folds to False and divergence goes unseen.
FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}
# For formulas whose rounding is reasoned about: nothing may be reordered or approximated.
EXACT = {"nsz", "contract"}

if config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("dagbp's kernels are compiled; unset NUMBA_DISABLE_JIT to use it")

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
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(f"{numba.__version__} {version('llvmlite')}".encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _Files:
    """A function's machine code on disk: a file for each signature and processor.

    A file begins with the stamp, and is replaced whole when that is another; then a checksum, and
    what it is of.
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
        size = len(self._header)
        header, checksum, data = saved[:size], saved[size : size + 32], saved[size + 32 :]
        if header != self._header or checksum != hashlib.sha256(data).digest():
            return None
        return pickle.loads(data)

    def save(self, key: Any, data: Any) -> None:
        """Save `data`, so that a reader finds all of it or what was there before."""
        path = self._path(key)
        part = path.with_suffix(f".{uuid.uuid4().hex[:16]}")
        try:
            content = dumps(data)
            part.write_bytes(self._header + hashlib.sha256(content).digest() + content)
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
            # Not Numba's `load_overload`, which imports all that it can compile, to load code.
            return self._load_overload(sig, target_context)
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


_COMPILER, _INNER_COMPILER = compiler(OuterLibrary), compiler(InnerLibrary)


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
    options = {
        **_OPTIONS,
        "fastmath": fastmath,
        "forceinline": forceinline,
        "no_cpython_wrapper": True,
        "no_cfunc_wrapper": True,
    }
    return KernelDispatcher(function, targetoptions=options, pipeline_class=_INNER_COMPILER)


def _undisturbed(function: Callable[..., Any], *args: Any) -> Any:
    """Call a compiler to its end: an interrupt by Ctrl-C comes after it.

    In its midst it would leave a lock of llvmlite's behind, whose code is Python's, and nobody
    could compile any more. In a thread of its own the compiler would take longer.
    """
    before = None
    if threading.current_thread() is threading.main_thread():  # no other is interrupted
        before = signal.getsignal(signal.SIGINT)
    if not callable(before):
        return function(*args)
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *what: came.append(what))
    try:
        return function(*args)
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[-1])


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
    options = {**_OPTIONS, "fastmath": FAST}
    dispatcher: Any = KernelDispatcher(function, targetoptions=options, pipeline_class=_COMPILER)
    _enable_cache(dispatcher, function)
    compile_ = dispatcher.compile
    dispatcher.compile = lambda signature: _undisturbed(_uncollected, compile_, signature)
    return dispatcher


class Callback:
    """A C function whose machine code may be in the making: its address is there to wait for.

    Attributes
    ----------
    cache_hits : int
        1 if its code came from the disk, else 0.
    """

    def __init__(
        self, function: Callable[..., Any], signature: Any, fastmath: set[str], disk: bool
    ) -> None:
        # What goes to the disk is the library's own; the rest runs functions of a user.
        options = _OPTIONS if disk else {"nopython": True, "error_model": "numpy"}
        options = {**options, "fastmath": fastmath}
        types = signature.args, signature.return_type
        kind = KernelCallback if disk else CFunc
        self._function: Any = kind(function, types, {}, options, pipeline_class=_COMPILER)
        if disk:
            _enable_cache(self._function, function)
        self._address: int | None = None
        with global_compiler_lock:
            self._begin()

    def _begin(self) -> None:
        """Load the code from the disk, or begin to make it."""
        target = self._function._targetdescr.target_context
        self._made = self._function._cache.load_overload(self._function._sig, target)
        self.cache_hits = int(self._made is not None)
        if self._made is None:
            self._made = self._function._compile_uncached()
            self._made.library.finalize()

    @property
    def address(self) -> int:
        """The address of the machine code, good for as long as this object lives."""
        if self._address is None:
            _undisturbed(self._find_address)
        assert self._address is not None
        return self._address

    def _find_address(self) -> None:
        with global_compiler_lock:
            name = self._made.fndesc.llvm_cfunc_wrapper_name
            address = self._made.library.get_pointer_to_function(name)
            if not self.cache_hits:
                self._function._cache.save_overload(self._function._sig, self._made)
            self._address = int(address)

    def __int__(self) -> int:
        """Return the address."""
        return self.address


def compile_callback(
    function: Callable[..., Any], signature: Any, *, fastmath: set[str] = EXACT, disk: bool = True
) -> Callback:
    """Compile `function` as a C function with the given signature; see its `address`.

    LLVM's part goes on in a thread of its own until somebody asks for the address: compile all that
    is needed together before.
    """
    made = _undisturbed(_uncollected, Callback, function, signature, fastmath, disk)
    return made  # type: ignore[no-any-return]


_compiling = ForkSafeLock()


def compiled(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a compiling function returns for these arguments; once a process."""
    with _compiling.lock:
        return _compile_once(function, *args)


@cache  # for good: addresses must outlive the networks that hold them
def _compile_once(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)
