"""Checks X, Y, the loss and sample weights against a network's inputs and outputs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp import activations, losses
from dagbp._data import arrays
from dagbp._data.features import Features, read_features
from dagbp._errors import DataError, OptionError
from dagbp._graph.arrays import GraphArrays
from dagbp._plan.names import Names


class Problem(NamedTuple):
    """Checked data of a training run or an evaluation."""

    features: Features
    targets: arrays.Targets
    loss: losses.Loss
    weight: npt.NDArray[np.float64] | None


def read_problem(
    names: Names,
    dtype: np.dtype[Any],
    X: Any,
    Y: Any,
    loss: str | losses.Loss,
    weight: npt.ArrayLike | None,
) -> Problem:
    """Return X, Y, the loss and the weights in the form for the engine."""
    chosen = losses.get(loss)
    check_loss_fits(chosen, names.graph)
    features = read_features(X, names.inputs, dtype)
    if len(features) == 0:
        raise DataError("X has no samples; a loss needs at least one")
    targets = arrays.targets(Y, names.outputs, len(features), chosen, dtype)
    weights = arrays.sample_weight(weight, len(features))
    return Problem(features, targets, chosen, weights)


def read_validation(
    data: tuple[Any, ...] | None, read: Callable[[Any, Any, Any], Problem]
) -> Problem | None:
    """Return the problem of a tuple (X, Y) or (X, Y, sample_weight), or None."""
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise OptionError(
            "validation_data must be a tuple (X, Y) or (X, Y, sample_weight), got "
            f"{type(data).__name__} of length {len(data) if hasattr(data, '__len__') else '?'}"
        )
    try:
        return read(data[0], data[1], data[2] if len(data) == 3 else None)
    except DataError as error:
        raise DataError(f"validation_data: {error}") from error


def read_batch(batch: Any, read: Callable[[Any, Any, Any], Problem]) -> Problem:
    """Return the problem of a stream's batch, as copies: the generator may reuse its memory."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise DataError(
            f"a batch must be a tuple (X, Y) or (X, Y, sample_weight), got {batch!r:.80}"
        )
    problem = read(batch[0], batch[1], batch[2] if len(batch) == 3 else None)
    features, targets = problem.features, problem.targets
    values = features.values.copy()
    features = replace(features, values=values, stride=values.shape[1] if values.ndim == 2 else 0)
    if targets.values is not None:
        targets = targets._replace(values=targets.values.copy())
    if targets.labels is not None:
        targets = targets._replace(labels=targets.labels.copy())
    return problem._replace(features=features, targets=targets)


def check_loss_fits(loss: losses.Loss, graph: GraphArrays) -> None:
    """Refuse a cross-entropy that would apply the sigmoid again, or a softmax of one output."""
    if loss.labels == "no":
        return
    if loss.labels == "classes" and len(graph.outputs) < 2:
        raise DataError(
            f"loss {loss.name!r} needs at least 2 outputs, one for each class, and the network "
            "has 1; use 'binary_cross_entropy'"
        )
    for node in graph.outputs:
        name = graph.activation_names[graph.activation[node]]
        if activations.get(name).probability:
            raise DataError(
                f"loss {loss.name!r} takes raw outputs and applies the sigmoid or softmax "
                f"itself, but output {graph.labels[node]!r} has activation {name!r}; give it "
                "'identity'"
            )
