"""A file of arrays behind a JSON header, written atomically and protected by a checksum.

    magic (8 bytes)  format (uint32)  header's size (uint64)  file's size (uint64)
    header: JSON, UTF-8
    arrays, each starting at a multiple of 64 bytes
    SHA-256 of everything before (32 bytes)

Integers are little-endian. A reader compares each size with the file's size before it allocates
memory, and estimates the memory that the header's lists and objects will take before it parses.
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
STALE = 60.0  # seconds: an older temporary file belongs to no running writer
# Upper bound of the memory of `json.loads`: bytes for each byte of the text, and bytes for each of
# these characters. On 17 texts that each repeat one value, the bound was 1.1 to 8 times the memory
# used. A text of empty lists used 23 times its own size.
PER_BYTE, PER_CHARACTER = 8, {b"[": 88, b"{": 160, b",": 40, b":": 40, b'"': 16}
DTYPES = ("|b1", "|u1", "<i4", "<i8", "<f4", "<f8")


def write(path: Path, header: dict[str, Any], arrays: Sequence[Array]) -> None:
    """Write the file atomically: an existing file stays until the new one is complete.

    A symbolic link is followed. An existing file's permissions are kept. Raises CheckpointError if
    the path exists and is not a regular file.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} must be a regular file, or not exist")
    table, parts, place = [], [], 0
    for array in arrays:
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        if array.dtype.str not in DTYPES:
            raise CheckpointError(f"an array of dtype {array.dtype} cannot be saved")
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
    """Open a temporary file; rename it to `path` when it is complete and on the disk."""
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
    if os.name != "nt":  # Windows cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(path: Path, names: str) -> None:
    """Remove old temporary files of `path`, which killed processes have left.

    A symbolic link is followed. If `path` is not a link, the temporary files of all files with the
    pattern `names` are removed.
    """
    real = Path(os.path.realpath(path))
    pattern = names if real.name == path.name else glob.escape(real.name)
    for beside in real.parent.glob(f".{pattern}.{8 * '[0-9a-f]'}.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - beside.stat().st_mtime > STALE:
                beside.unlink()


def read(path: Path) -> tuple[dict[str, Any], list[Array]]:
    """Return the header and the arrays.

    Raises CheckpointError if the file was not written by `write`, has a newer format, or is
    damaged, and MemoryLimitError if the content does not fit into the available memory.
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
            raise self._damaged("it ends within its first bytes")
        _, version, length, stated = PREFIX.unpack(prefix)
        if version > FORMAT:
            raise CheckpointError(
                f"{self._path} has format {version}, of a newer dagbp; this version reads format "
                f"{FORMAT}"
            )
        if version < 1:
            raise self._damaged(f"its format is {version}")
        if stated != size:
            raise self._damaged(f"it has {size:,} bytes and should have {stated:,}")
        if length > size - PREFIX.size - DIGEST:
            raise self._damaged(f"its header has {length:,} bytes, more than fit into the file")
        require(2 * size, f"the content of {self._path}")
        self._digest.update(prefix)
        text = self._take(length)
        body = self._take(size - PREFIX.size - length - DIGEST)
        if self._file.read() != self._digest.digest():
            raise self._damaged("its checksum is wrong")
        self._require_memory_for_header(text.tobytes())
        try:
            header = json.loads(text.tobytes())
            arrays, end = [], 0
            for entry in header["arrays"]:  # they must not overlap, so all fit into the file
                if entry["place"] < end:
                    raise ValueError(f"an array at {entry['place']!r}, inside the previous one")
                arrays.append(self._array(entry, body))
                end = entry["place"] + arrays[-1].nbytes
            return header, arrays
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._damaged(f"its header is wrong: {error!r:.200}") from error

    def _require_memory_for_header(self, text: bytes) -> None:
        n_bytes = sum(n * text.count(character) for character, n in PER_CHARACTER.items())
        require(n_bytes + PER_BYTE * len(text), f"the header of {self._path}")

    def _take(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        """Return the next bytes, and add them to the checksum."""
        data = np.empty(n_bytes, np.uint8)
        if io.BufferedReader.readinto(self._file, data.data) != n_bytes:  # type: ignore[arg-type]
            raise self._damaged("it became shorter while it was read")
        self._digest.update(data.data)
        return data

    def _array(self, entry: dict[str, Any], body: npt.NDArray[np.uint8]) -> Array:
        dtype, shape, place = entry["dtype"], entry["shape"], entry["place"]
        whole = all(type(n) is int and n >= 0 for n in [*shape, place])
        if dtype not in DTYPES or not whole or len(shape) > 2:
            raise ValueError(f"an array of dtype {dtype!r}, shape {shape!r} at {place!r}")
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if place % ALIGNMENT or place + n_bytes > len(body):
            raise ValueError(f"an array of {n_bytes} bytes at {place} of {len(body)}")
        array: Array = body[place : place + n_bytes].view(dtype).reshape(shape)
        return array.astype(array.dtype.newbyteorder("="))  # a copy, so that `body` can be freed

    def _damaged(self, how: str) -> CheckpointError:
        return CheckpointError(f"{self._path} is damaged: {how}")
