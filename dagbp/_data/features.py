"""Checks X and brings it to a form that kernels read, without a copy of a large array.

An array of the network's dtype that is C-contiguous and aligned is used as it is. Another small
array is converted. Large and memory-mapped arrays and sparse matrices are not converted: a reader
(`_kernels.passes.readers`) copies their rows into tiles.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import real_array
from dagbp._data.arrays import columns_by_label, is_frame, numeric
from dagbp._errors import DataError
from dagbp._graph.arrays import listed
from dagbp._memory import require

Array = npt.NDArray[Any]

LARGE = 2**24  # bytes of a converted copy; an array of this size is read in place
AT_ONCE = 2**20  # numbers to check at once, since an array may be larger than the memory
READABLE = frozenset("bhilqBHILQfd")  # type codes that readers support


@dataclass(frozen=True, eq=False)
class Features:
    """Samples (n_samples, n_inputs): a direct array, an array for a reader, or a sparse matrix.

    A direct array is C-contiguous and of the network's dtype. Consecutive rows of an array are
    `stride` elements apart. A sparse matrix has its entries in `values`, and its structure in CSR
    form in `indptr` and `indices`.
    """

    values: Array
    n_samples: int
    stride: int = 0
    direct: bool = True
    indptr: npt.NDArray[np.int64] | None = None
    indices: npt.NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return self.n_samples


def read_features(
    X: Any, labels: Sequence[Hashable], dtype: np.dtype[Any], name: str = "X"
) -> Features:
    """Check X and return it as features, a DataFrame's by label; DataError if it is not valid."""
    if hasattr(X, "tocsr"):  # of SciPy, which takes longer to import than this package
        return _read_sparse(X, labels, dtype, name)
    if is_frame(X):
        X = columns_by_label(X, labels, name)
    mapped = _is_mapped(X)
    if mapped or (isinstance(X, np.ndarray) and X.size * dtype.itemsize >= LARGE):
        array = real_array(X, name)
        _check_shape(array.shape, labels, name)
        if not (array.dtype == dtype and array.flags.carray) and _is_readable(array):
            _check_in_range(array, dtype, name)
            bits = array.view(np.uint8) if array.dtype == np.bool_ else array
            return Features(bits, len(bits), bits.strides[0] // bits.itemsize, direct=False)
        if array.dtype != dtype or not array.flags.carray:
            require(array.size * dtype.itemsize, f"a copy of {name} in {dtype}")
    values = numeric(X, dtype, name)
    _check_shape(values.shape, labels, name)
    return Features(values, len(values), values.shape[1])


def _check_shape(shape: tuple[int, ...], labels: Sequence[Hashable], name: str) -> None:
    if len(shape) != 2 or shape[1] != len(labels):
        raise DataError(
            f"{name} must have shape (n_samples, {len(labels)}), one column for each input "
            f"({listed(labels, 5)}), got shape {shape}"
        )


def _is_mapped(X: Any) -> bool:
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return True
        X = X.base
    return False


def _is_readable(array: Array) -> bool:
    """Return whether a reader supports the array: each row contiguous, of a native type."""
    size = array.itemsize
    return (
        array.dtype.isnative
        and array.dtype.char in READABLE | {"?"}
        and array.flags.aligned
        and array.strides[1] == size
        and array.strides[0] >= 0
        and array.strides[0] % size == 0
    )


def _check_in_range(array: Array, dtype: np.dtype[Any], name: str) -> None:
    """Refuse numbers that are not finite in `dtype`; check a part of the rows at a time."""
    if array.dtype.kind != "f":
        return
    largest = np.finfo(dtype).max
    rows = max(1, AT_ONCE // max(1, array.shape[1]))
    for first in range(0, len(array), rows):
        part = array[first : first + rows]
        wrong = ~(np.abs(part) <= largest)
        if wrong.any():
            i, j = (int(k) for k in np.argwhere(wrong)[0])
            raise _not_finite(part[i, j], (first + i, j), dtype, name)


def _not_finite(value: Any, where: tuple[int, ...], dtype: np.dtype[Any], name: str) -> DataError:
    beyond = f", which is beyond {dtype}" if np.isfinite(value) else ""
    return DataError(f"{name} must be finite, got {value} at index {where}{beyond}")


def _read_sparse(X: Any, labels: Sequence[Hashable], dtype: np.dtype[Any], name: str) -> Features:
    _check_shape(X.shape, labels, name)
    if X.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold real numbers, got dtype {X.dtype}")
    rows = X.tocsr()
    try:
        # A copy of the structure, which kernels do not check again: the user may change X later.
        ends = rows.indices.copy(), rows.indptr.copy()
        rows = type(rows)((rows.data, *ends), shape=rows.shape)
        rows.check_format(full_check=True)
    except ValueError as error:
        raise DataError(f"{name} must be a valid sparse matrix: {error}") from error
    if rows.dtype.kind == "f" and not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()  # as only their sum must be within the dtype
    entries = np.ascontiguousarray(rows.data[: rows.indptr[-1]])
    if entries.dtype.char not in READABLE:
        entries = entries.astype(np.uint8 if entries.dtype == np.bool_ else dtype)
    if entries.dtype.kind == "f":
        wrong = np.flatnonzero(~(np.abs(entries) <= np.finfo(dtype).max))
        if len(wrong):
            k = int(wrong[0])
            row = int(np.searchsorted(rows.indptr, k, side="right")) - 1
            raise _not_finite(entries[k], (row, int(rows.indices[k])), dtype, name)
    return Features(
        entries,
        X.shape[0],
        direct=False,
        indptr=np.ascontiguousarray(rows.indptr, np.int64),
        indices=np.ascontiguousarray(rows.indices, np.int32),
    )
