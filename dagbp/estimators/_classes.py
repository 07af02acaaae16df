"""Converts classes to targets for the loss, and raw outputs to classes and probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from dagbp._checks import is_number
from dagbp._errors import DataError, OptionError
from dagbp.estimators._sklearn import check_classification_targets, column_or_1d, type_of_target

Array = npt.NDArray[Any]

_FORMS = {True: "an indicator matrix of labels", False: "one class for each sample"}


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes in y: one for each sample, or any number of labels for each sample.

    `names` are the classes in sorted order, or the columns of labels. `multilabel` says whether y
    is an indicator matrix (n_samples, n_labels).
    """

    names: Array
    multilabel: bool

    @classmethod
    def of(cls, y: Any, names: Any = None) -> "Classes":
        """Return the classes of y, or those given as `names`."""
        check_classification_targets(y)
        if is_multilabel(y):
            return cls(np.arange(y.shape[1]), True)
        names = np.unique(y if names is None else names)
        if len(names) < 2:
            raise DataError(f"y must have at least 2 classes, got 1 class: {names[0]!r}")
        return cls(names, False)

    def encode(self, y: Any) -> Array:
        """Return each sample's index in `names`, or its row of the indicator matrix."""
        check_classification_targets(y)
        multilabel = is_multilabel(y)
        if multilabel != self.multilabel:
            raise DataError(
                f"y must be {_FORMS[self.multilabel]} as before, got {_FORMS[multilabel]}"
            )
        if multilabel:
            return np.asarray(y.toarray() if hasattr(y, "toarray") else y)
        y = column_or_1d(y, warn=True)
        unknown = ~np.isin(y, self.names)
        if unknown.any():
            raise DataError(
                f"classes in y must be one of {self.names.tolist()}, as in the first fit, got "
                f"{y[unknown.argmax()]!r}"
            )
        return np.asarray(np.searchsorted(self.names, y))

    def most_probable(self, outputs: Array) -> Array:
        """Return each sample's most probable class, or labels with probability > 1/2, encoded."""
        if self.multilabel:
            return (outputs > 0).astype(np.int64)
        return np.asarray(_two_sided(outputs).argmax(axis=1))

    def decode(self, encoded: Array) -> Array:
        """Undo `encode`."""
        return encoded if self.multilabel else np.asarray(self.names[encoded])

    def decision(self, outputs: Array) -> Array:
        """Return the log-odds of the second of two classes; raw outputs otherwise."""
        if self.multilabel or len(self.names) > 2:
            return outputs
        sides = _two_sided(outputs)
        return np.asarray(sides[:, 1] - sides[:, 0])

    def probabilities(self, outputs: Array) -> Array:
        """Return p (n_samples, n_classes): softmax over classes, or sigmoid for labels."""
        if self.multilabel:
            return np.asarray(special.expit(outputs))
        return np.asarray(special.softmax(_two_sided(outputs), axis=1))

    def log_probabilities(self, outputs: Array) -> Array:
        """Return log p, accurate also for p close to 0."""
        if self.multilabel:
            return np.asarray(special.log_expit(outputs))
        return np.asarray(special.log_softmax(_two_sided(outputs), axis=1))

    def weights(self, class_weight: Any, targets: Array, weight: Array | None) -> Array | None:
        """Return the samples' weights times the weights of their classes.

        With "balanced", the total weight of each class is the same.
        """
        if class_weight is None:
            return weight
        if self.multilabel:
            raise OptionError("class_weight must be None if y is an indicator matrix of labels")
        given = np.ones(len(targets)) if weight is None else weight
        weights = np.asarray(given * self._of_each(class_weight, targets, given)[targets])
        if not weights.any():
            raise OptionError(f"class_weight must give a sample a weight > 0, got {class_weight!r}")
        return weights

    def _of_each(self, class_weight: Any, targets: Array, weight: Array) -> Array:
        known = self.names.tolist()
        if isinstance(class_weight, str) and class_weight == "balanced":
            total = np.bincount(targets, weight, len(known))
            return np.divide(1.0, total, out=np.zeros(len(known)), where=total > 0)
        if not isinstance(class_weight, Mapping):
            raise OptionError(
                f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}"
            )
        for name, value in class_weight.items():
            if name not in known:
                raise OptionError(f"classes in class_weight must be one of {known}, got {name!r}")
            if not is_number(value) or value < 0:
                raise OptionError(f"class_weight[{name!r}] must be a number >= 0, got {value!r}")
        return np.array([class_weight.get(name, 1.0) for name in known], np.float64)


def is_multilabel(y: Any) -> bool:
    """Return whether y is an indicator matrix: a column of zeros and ones for each label."""
    return bool(type_of_target(y) == "multilabel-indicator")


def _two_sided(outputs: Array) -> Array:
    """Return an output for each class; if two classes share one, the first class has 0."""
    if outputs.shape[1] > 1:
        return outputs
    return np.concatenate([np.zeros_like(outputs), outputs], axis=1)
