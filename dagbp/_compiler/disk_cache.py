"""Compiled code on disk: one file for each function, signature and processor.

Numba's own cache has two faults that matter here. It notices changes only in the file that defines
a function, so a change in an imported helper leaves old code running (numba issue 1833). And two
processes that compile two signatures of a function at once give both files the same name, after
which each process may load the code of the other. Here a stamp covers every source file of the
package, and the name of a file depends on the signature.

Only serialisation and the choice of the folder (`NUMBA_CACHE_DIR`) are Numba's. If a later version
of Numba lacks the imported modules, nothing is kept on disk.
"""

import hashlib
import os
import pickle
import sys
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba

from dagbp._errors import DagbpWarning

try:
    from numba.core import caching, serialize
except ImportError:  # pragma: no cover
    caching = serialize = None  # type: ignore[assignment]

_CHECKSUM_BYTES = 32


@cache
def stamp() -> str | None:
    """Return a digest of all source files of the package and the versions of the compiler.

    None, after a warning, if the package is not in a folder: then nothing can be kept on disk.
    """
    root = Path(__file__).parents[1]
    if not root.is_dir():
        warnings.warn(
            f"dagbp is imported from {root}, which is not a folder: its compiled code is not kept "
            "on disk, so each process compiles it again. Install it as a folder, not as a zip file",
            DagbpWarning,
            stacklevel=2,
        )
        return None
    versions = f"Python {sys.version}, Numba {numba.__version__}, llvmlite {version('llvmlite')}"
    digest = hashlib.sha256(versions.encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class CodeFiles:
    """The files of one function: a checksum, then the title and the data that it covers.

    Each file is `folder/name.DIGEST.nbc`, with a digest of the signature and the processor. The
    stamp is part of each title. A file with another stamp is replaced.
    """

    def __init__(self, folder: str, name: str, stamp: str) -> None:
        self._folder, self._name, self._stamp = Path(folder), name, stamp

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        return self._folder / f"{self._name}.{digest}.nbc"

    def _title(self, key: str) -> bytes:
        return repr((self._name, key, self._stamp)).encode() + b"\n"

    def load(self, key: str) -> Any:
        """Return the data of this key and stamp, None if there are none or the file is damaged."""
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        checksum, content = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
        title = self._title(key)
        if checksum != hashlib.sha256(content).digest() or not content.startswith(title):
            return None
        return pickle.loads(content[len(title) :])

    def save(self, key: str, data: Any) -> None:
        """Write the data. A reader finds either the whole new file or the old one."""
        path = self._path(key)
        part = path.with_suffix(f".{uuid.uuid4().hex[:16]}")
        try:
            content = self._title(key) + serialize.dumps(data)
            part.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


class DiskCache:
    """The disk cache of one function, with the two methods that Numba's dispatcher calls.

    They raise no errors. compiler: "fast" or "plain", a part of each key. stamp: see `CodeFiles`.
    """

    def __init__(self, function: Callable[..., Any], compiler: str, stamp: str) -> None:
        self._numba, self._compiler = caching.CompileResultCacheImpl(function), compiler
        folder = self._numba.locator.get_cache_path()
        self._files = CodeFiles(folder, self._numba.filename_base, stamp)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled function, None if its file is missing or damaged."""
        try:
            if self._compiler == "plain":  # defines symbols of Numba's runtime; takes 0.3 s
                target_context.refresh()
            data = self._files.load(self._key(signature, target_context.codegen()))
            return None if data is None else self._numba.rebuild(target_context, data)
        except Exception:
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Save the compiled function if Numba can, and if there is room."""
        with suppress(Exception):
            if self._numba.check_cachable(result):
                self._numba.locator.ensure_cache_path()
                key = self._key(signature, result.codegen)
                self._files.save(key, self._numba.reduce(result))

    def _key(self, signature: Any, codegen: Any) -> str:
        return repr((self._compiler, signature, codegen.magic_tuple()))


def keep_on_disk(compiled: Any, function: Callable[..., Any], compiler: str) -> None:
    """Give `compiled`, a dispatcher or C function of Numba's, a cache, if a folder is writable."""
    mark = stamp()
    if mark is None or caching is None:
        return
    with suppress(RuntimeError, AttributeError, OSError):  # Numba finds no folder
        compiled._cache = DiskCache(function, compiler, mark)
