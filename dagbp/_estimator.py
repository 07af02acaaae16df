"""What `DAGClassifier` and `DAGRegressor` share: from X and y to a trained network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dagbp import _data
from dagbp._errors import OptionError
from dagbp._initialise import real_dtype
from dagbp._network import Network
from dagbp._numbers import is_number
from dagbp._sklearn import (
    BaseEstimator,
    check_is_fitted,
    check_random_state,
    is_regressor,
    validate_data,
)
from dagbp._topologies import Demand, compile_to_fit

Array = npt.NDArray[Any]

FLOATS = (np.float64, np.float32)


def _is_flag(value: object) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_count(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not _is_flag(value) and bool(value >= 1)


# What the network does not check, or knows under another name.
_NEEDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "alpha": (lambda value: is_number(value) and value >= 0, "a number >= 0"),
    "batch_size": (
        lambda value: value == "auto" if isinstance(value, str) else _is_count(value),
        "'auto' or a whole number >= 1",
    ),
    "max_iter": (_is_count, "a whole number >= 1"),
    "warm_start": (_is_flag, "True or False"),
}


class DAGEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """What both estimators share: all but how y becomes targets, and outputs predictions."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a network on X and y.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1.

        Returns
        -------
        self

        Raises
        ------
        GraphError
            If the graph's inputs or outputs are not as many as the data ask.
        DataError, OptionError, ValueError
            If X, y, a weight or a parameter is not what it must be.
        DivergenceError
            If a loss or gradient is not finite.
        """
        return self._learn(X, y, sample_weight)

    def _learn(
        self, X: Any, y: Any, weight: Any, classes: Any = None, one_pass: bool = False
    ) -> Self:
        """Train a new network, or the one there is; for one pass over the samples, or a run."""
        self._check_parameters()
        fresh = not (hasattr(self, "network_") and (self.warm_start or one_pass))
        columns = tuple(getattr(y, "columns", ()))
        X, y = validate_data(
            self,
            X,
            y,
            reset=fresh,
            dtype=self._dtype(fresh),
            multi_output=True,
            y_numeric=is_regressor(self),
        )
        targets = self._targets(y, classes, fresh)
        weight = self._weigh(targets, _data.sample_weight(weight, len(targets)))
        if fresh or not one_pass:
            self._random = check_random_state(self.random_state)
        if fresh:
            self.network_ = self._new_network(X, self._demand(targets, columns))
        history = self.network_.fit(
            X,
            targets,
            loss=self._loss_of(len(self.network_.outputs)),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate_init,
            epochs=1 if one_pass else self.max_iter,
            batch_size=200 if self.batch_size == "auto" else self.batch_size,
            shuffle=self.shuffle,
            sample_weight=weight,
            seed=self._draw_seed(),
            verbose=int(self.verbose),
        )
        self.loss_curve_ = history.loss
        self.n_iter_ = len(history.loss)
        return self

    def _check_parameters(self) -> None:
        for name, (valid, need) in _NEEDS.items():
            value = getattr(self, name)
            if not valid(value):
                raise OptionError(f"{name} must be {need}, got {value!r}")

    def _dtype(self, fresh: bool) -> Any:
        """Return what X is brought to: the network's precision, or either of the two."""
        if not fresh:
            return self.network_.dtype
        return FLOATS if self.dtype is None else real_dtype(self.dtype)

    def _draw_seed(self) -> int:
        return int(self._random.randint(2**31 - 1))

    def _new_network(self, X: Any, demand: Demand) -> Network:
        return compile_to_fit(
            self.graph,
            self.density,
            self.activation,
            demand,
            self._draw_seed(),
            init=self.init,
            dtype=X.dtype,
            n_threads=self.n_threads,
            dense_above=self.dense_above,
        )

    def _ask(
        self, n_outputs: int, outputs_for: str, names: Sequence[Any], also: int | None = None
    ) -> Demand:
        """Return a demand with what is known of X."""
        columns = tuple(getattr(self, "feature_names_in_", ()))
        return Demand(self.n_features_in_, n_outputs, outputs_for, also, columns, names)

    def _outputs(self, X: Any) -> Array:
        """Return the network's raw outputs, which the estimator makes predictions of."""
        check_is_fitted(self, "network_")
        X = validate_data(self, X, reset=False, dtype=self.network_.dtype)
        return np.asarray(self.network_.predict(X))

    @abstractmethod
    def _targets(self, y: Any, classes: Any, fresh: bool) -> Array:
        """Return y as the loss takes it; learn its classes if `fresh`."""

    @abstractmethod
    def _demand(self, targets: Array, columns: tuple[Any, ...]) -> Demand:
        """Return what the data ask of a graph; y's columns have these names, if any."""

    @abstractmethod
    def _loss_of(self, n_outputs: int) -> Any:
        """Return the loss of a network with so many outputs."""

    @abstractmethod
    def _weigh(self, targets: Array, weight: Array | None) -> Array | None:
        """Return the samples' weights, those of their classes included."""
