"""A file of arrays behind a JSON header, written in one piece and believed only whole.

    magic (8 bytes)  format (uint32)  header's size (uint64)  file's size (uint64)
    header: JSON, UTF-8
    arrays, each from a multiple of 64 bytes on
    SHA-256 of all that (32 bytes)

Integers are little-endian. Nothing is allocated that the file's real size does not bear out.
"""

import contextlib
import glob
import hashlib
import io
import json
import math
import os
import secrets
import shutil
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dagbp._errors import CheckpointError
from dagbp._memory import require

Array = npt.NDArray[Any]

MAGIC, FORMAT = b"\x89DAGBP\r\n", 1
PREFIX = struct.Struct("<8sIQQ")
DIGEST, ALIGNMENT = 32, 64
STALE = 60.0  # seconds: nobody writes to a file for so long
KINDS = ("|b1", "|u1", "<i4", "<i8", "<f4", "<f8")


def write(path: Path, header: dict[str, Any], arrays: Sequence[Array]) -> None:
    """Write the file; what was at its place stays whole until the new one is.

    A link stays, and what it names is written; a file that is there keeps its permissions.

    Raises
    ------
    CheckpointError
        If what is at its place is no regular file.
    OSError
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no regular file, whose place a network could take")
    table, parts, place = [], [], 0
    for array in arrays:
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        if array.dtype.str not in KINDS:
            raise CheckpointError(f"an array of dtype {array.dtype} cannot be kept")
        table.append({"dtype": array.dtype.str, "shape": list(array.shape), "place": place})
        parts.append(array)
        place += _padded(array.nbytes)
    text = json.dumps({**header, "arrays": table}, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(PREFIX.size + len(text)) % ALIGNMENT)
    size = PREFIX.size + len(text) + place + DIGEST
    digest = hashlib.sha256()
    with _replacing(path) as file:

        def put(data: Any) -> None:
            digest.update(data)
            file.write(data)

        put(PREFIX.pack(MAGIC, FORMAT, len(text), size))
        put(text)
        for array in parts:
            put(array.reshape(-1).view(np.uint8).data)
            put(b"\0" * (_padded(array.nbytes) - array.nbytes))
        file.write(digest.digest())


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


@contextlib.contextmanager
def _replacing(path: Path) -> Any:
    """Open a file that takes the place of `path` once it is whole and on the disk."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as file:
            if path.exists():
                shutil.copymode(path, beside)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.filename == str(beside):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if os.name != "nt":  # where a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(path: Path, names: str) -> None:
    """Remove temporary files that a process, killed a while ago, has left.

    path: of one file, links followed; names: a pattern of the names of all where that is one.
    """
    real = Path(os.path.realpath(path))
    pattern = names if real.name == path.name else glob.escape(real.name)
    for beside in real.parent.glob(f".{pattern}.{8 * '[0-9a-f]'}.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - beside.stat().st_mtime > STALE:
                beside.unlink()


def read(path: Path) -> tuple[dict[str, Any], list[Array]]:
    """Return the header and the arrays.

    Raises
    ------
    CheckpointError
        If the file is not one of these, is of a newer format, or not as it was written.
    OSError
        If there is no such file, or it cannot be read.
    """
    with open(path, "rb") as file:
        return _Reader(file, path).read()


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._digest = hashlib.sha256()

    def read(self) -> tuple[dict[str, Any], list[Array]]:
        size = os.fstat(self._file.fileno()).st_size
        prefix = self._file.read(PREFIX.size)
        if prefix[: len(MAGIC)] != MAGIC:
            raise CheckpointError(f"{self._path} was not written by dagbp")
        if len(prefix) < PREFIX.size:
            raise self._damaged("it ends within its first line")
        _, version, length, stated = PREFIX.unpack(prefix)
        if version > FORMAT:
            raise CheckpointError(
                f"{self._path} has format {version}, of a newer dagbp; this one reads {FORMAT}"
            )
        if version < 1 or stated != size or length > size - PREFIX.size - DIGEST:
            raise self._damaged(f"it has {size:,} bytes and should have {stated:,}")
        require(2 * size, f"the content of {self._path}")
        self._digest.update(prefix)
        text = self._take(length)
        body = self._take(size - PREFIX.size - length - DIGEST)
        if self._file.read() != self._digest.digest():
            raise self._damaged("its checksum is wrong")
        try:
            header = json.loads(text.tobytes())
            arrays, end = [], 0
            for entry in header["arrays"]:  # one behind the other: together no more than the file
                if entry["place"] < end:
                    raise ValueError(f"an array at {entry['place']!r}, within the one before")
                arrays.append(self._array(entry, body))
                end = entry["place"] + arrays[-1].nbytes
            return header, arrays
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._damaged(f"its header is wrong: {error!r:.200}") from error

    def _take(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        """Return so many bytes, which the checksum covers."""
        data = np.empty(n_bytes, np.uint8)
        if io.BufferedReader.readinto(self._file, data.data) != n_bytes:  # type: ignore[arg-type]
            raise self._damaged("it ends too early")
        self._digest.update(data.data)
        return data

    def _array(self, entry: dict[str, Any], body: npt.NDArray[np.uint8]) -> Array:
        dtype, shape, place = entry["dtype"], entry["shape"], entry["place"]
        whole = all(type(n) is int and n >= 0 for n in [*shape, place])
        if dtype not in KINDS or not whole or len(shape) > 2:
            raise ValueError(f"an array of dtype {dtype!r}, shape {shape!r} at {place!r}")
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if place % ALIGNMENT or place + n_bytes > len(body):
            raise ValueError(f"an array of {n_bytes} bytes at {place} of {len(body)}")
        array: Array = body[place : place + n_bytes].view(dtype).reshape(shape)
        return array.astype(array.dtype.newbyteorder("="))  # a copy: the file's content can go

    def _damaged(self, how: str) -> CheckpointError:
        return CheckpointError(f"{self._path} is damaged: {how}")
