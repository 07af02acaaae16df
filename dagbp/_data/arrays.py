"""Checks targets, weights and other arrays, and brings them to the form that kernels read.

Returned arrays are C-contiguous, aligned and of the network's dtype. An array that is so already
is not copied.
"""

from collections.abc import Hashable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._checks import real_array
from dagbp._errors import DataError
from dagbp.losses import Loss

Array = npt.NDArray[Any]

FEW = 10_000  # numbers; in a smaller array, the general checks take longer than the check of values


class Targets(NamedTuple):
    """Real targets (N, n_outputs), or class labels (N,)."""

    values: Array | None
    labels: npt.NDArray[np.int64] | None = None


def targets(
    Y: Any, labels: Sequence[Hashable], n_samples: int, loss: Loss, dtype: np.dtype[Any]
) -> Targets:
    """Return Y as targets (n_samples, n_outputs), or as class labels if the loss takes them."""
    if is_frame(Y):
        alone = len(labels) == 1 or loss.labels == "classes"  # a single column may have any name
        names = list(Y.columns) if alone and len(Y.columns) == 1 else labels
        Y = columns_by_label(Y, names, "Y")
        Y = Y[:, 0] if names is not labels else Y
    ready = _is_ready(Y, dtype)
    raw = Y if ready else real_array(Y, "Y")
    n_outputs = len(labels)
    if loss.labels == "classes" and raw.ndim == 1:
        labels_ = _class_labels(raw, n_outputs)
        result, length = Targets(None, labels_), len(labels_)
    else:
        values = raw if ready else numeric(raw, dtype, "Y")
        if values.ndim == 1 and n_outputs == 1:
            values = values.reshape(-1, 1)
        if values.ndim != 2 or values.shape[1] != n_outputs:
            raise DataError(_targets_shape(values.shape, n_outputs, loss))
        result, length = Targets(values), len(values)
        _check_probabilities(values, loss)
    if length != n_samples:
        raise DataError(f"Y has {length} samples, X has {n_samples}; they must be equal")
    return result


def sample_weight(weight: Any, n_samples: int) -> npt.NDArray[np.float64] | None:
    """Return the weights scaled to a mean of 1; None stays None and means equal weights."""
    if weight is None:
        return None
    values = numeric(weight, np.dtype(np.float64), "sample_weight")
    if values.shape != (n_samples,):
        raise DataError(f"sample_weight must have shape ({n_samples},), got shape {values.shape}")
    if values.min() < 0:
        k = int(values.argmin())
        raise DataError(f"sample_weight must be >= 0, got {values[k]} at sample {k}")
    if not values.any():
        raise DataError("sample_weight must have a positive sum, got zeros only")
    scaled: npt.NDArray[np.float64] = values / values.max()  # so that the sum cannot overflow
    scaled /= scaled.mean()
    return scaled


def is_frame(values: Any) -> bool:
    """Return whether `values` has named columns, as a DataFrame of pandas or polars has."""
    return hasattr(values, "columns") and hasattr(values, "__getitem__")


def columns_by_label(frame: Any, labels: Sequence[Hashable], name: str) -> Any:
    """Return a DataFrame's columns that `labels` name; columns named 0, 1, ... keep their order."""
    present = set(frame.columns)
    if list(frame.columns) == list(range(len(labels))) != list(labels):
        if present == set(labels):
            raise DataError(
                f"{name} is a DataFrame with columns numbered from 0, but the nodes have the "
                f"same numbers in another order, {', '.join(map(repr, labels[:5]))}...; pass "
                f"{name}.to_numpy() with the columns in the order of the nodes"
            )
        labels = list(frame.columns)
    missing = [label for label in labels if label not in present]
    if missing:
        raise DataError(
            f"{name} is a DataFrame without a column for {len(missing)} of {len(labels)} nodes: "
            f"{', '.join(map(repr, missing[:5]))}{', ...' if len(missing) > 5 else ''}; name its "
            f"columns after the nodes, or pass {name}.to_numpy() with the columns in their order"
        )
    columns = [_checked_column(frame[label], label, name) for label in labels]
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


def _checked_column(column: Any, label: Hashable, name: str) -> Array:
    """Return a DataFrame's column as an array; refuse text and numbers that are not finite."""
    values = np.asarray(column)
    if values.ndim != 1:
        raise DataError(f"{name} must have one column {label!r}, got {values.shape[1]}")
    text = values.dtype == object and any(isinstance(one, (str, bytes)) for one in values)
    if text or values.dtype.kind not in "biufO":
        kind = "text" if text or values.dtype.kind in "US" else f"dtype {values.dtype}"
        raise DataError(f"column {label!r} of {name} must hold real numbers, got {kind}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise DataError(
            f"column {label!r} of {name} must be finite, got {values[row]} in row {row}"
        )
    return values


def _is_ready(values: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether `values` is a small array that needs no conversion. A fast check.

    The sum of squares is finite only if all values are. It takes a third of the time of `isfinite`
    and `all`.
    """
    return (
        type(values) is np.ndarray
        and values.dtype == dtype
        and values.size <= FEW
        and values.flags.carray
        and isfinite(np.vdot(values, values))
    )


def numeric(values: Any, dtype: np.dtype[Any], name: str) -> Array:
    """Return `values` as a C-contiguous and aligned array of finite numbers of `dtype`."""
    if _is_ready(values, dtype):
        return values  # type: ignore[no-any-return]
    array = real_array(values, name)
    with np.errstate(over="ignore"):
        result = np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])
    _check_finite(result, array, name)
    return result


def _check_finite(result: Array, given: Array, name: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is finite only if each term is. `einsum` is vectorised and does not convert.
        if isfinite(np.einsum("i->", result.ravel())):
            return
    bad = np.flatnonzero(~np.isfinite(result.ravel()))
    if len(bad) == 0:
        return
    where = tuple(int(i) for i in np.unravel_index(bad[0], result.shape))
    value = given[where]
    beyond = f", which is beyond {result.dtype}" if np.isfinite(value) else ""
    raise DataError(f"{name} must be finite, got {value} at index {where}{beyond}")


def _class_labels(raw: Array, n_outputs: int) -> npt.NDArray[np.int64]:
    if raw.dtype.kind not in "biu":
        whole = np.isfinite(raw) & (np.rint(raw) == raw) & (np.abs(raw) < 2**53)
        if not whole.all():
            k = int(np.argmin(whole))
            raise DataError(f"class labels in Y must be whole numbers, got {raw[k]} at sample {k}")
    labels = raw.astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= n_outputs))
    if len(wrong):
        k = int(wrong[0])
        raise DataError(
            f"class labels in Y must be 0 ... {n_outputs - 1}, one class for each of the "
            f"{n_outputs} outputs, got {raw[k]} at sample {k}"
        )
    return labels


def _targets_shape(shape: tuple[int, ...], n_outputs: int, loss: Loss) -> str:
    also = " or class labels of shape (n_samples,)" if loss.labels == "classes" else ""
    hint = ""
    if len(shape) == 1 and loss.labels == "no":
        hint = "; for class labels use loss='softmax_cross_entropy'"
    return (
        f"Y must have shape (n_samples, {n_outputs}), one column for each output{also}, "
        f"got shape {shape}{hint}"
    )


def _check_probabilities(values: Array, loss: Loss) -> None:
    if loss.labels == "no" or values.size == 0:
        return
    for extreme in (values.argmin(), values.argmax()):
        where = tuple(int(i) for i in np.unravel_index(extreme, values.shape))
        if not 0 <= values[where] <= 1:
            raise DataError(
                f"loss {loss.name!r} needs targets in [0, 1], got {values[where]} at index {where}"
            )


def vector(values: Any, size: int, dtype: np.dtype[Any], name: str) -> Array:
    """Return `values` as an array (size,) of finite numbers."""
    flat = numeric(values, dtype, name)
    if flat.shape != (size,):
        raise DataError(f"{name} must have shape ({size},), got shape {flat.shape}")
    return flat
