"""`DAGRegressor`: predicts real targets."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dagbp.callbacks import Callback
from dagbp.estimators._base import DAGEstimator, takes_steps
from dagbp.estimators._graphs import Requirements
from dagbp.estimators._sklearn import RegressorMixin, available_if, column_or_1d, r2_score

Array = npt.NDArray[Any]


class DAGRegressor(RegressorMixin, DAGEstimator):  # type: ignore[misc]
    """A regressor that trains a network on any DAG, with an output for each target.

    Before training, a network's outputs are about 0 with a spread of about 1. Scale targets that
    are far from this, for example with `sklearn.compose.TransformedTargetRegressor`.

    Parameters
    ----------
    loss : str or dagbp.losses.Loss
        A loss or its name, see `dagbp.losses.names`; ``"squared_error"`` is (x - y)^2, without 1/2.
    graph, density, activation, init, optimizer, learning_rate_init, alpha, batch_size, max_iter, \
shuffle, random_state, tol, verbose, warm_start, early_stopping, validation_fraction, \
scoring, n_iter_no_change, callbacks, dtype, n_threads, dense_above, schedule
        As in `DAGClassifier`, with targets in place of classes. If y is a DataFrame, and its
        columns are the labels of the outputs, targets go to outputs by name.

    Attributes
    ----------
    network_ : dagbp.Network
        The trained network.
    n_features_in_, feature_names_in_, n_iter_, loss_, loss_curve_, validation_scores_, \
best_validation_score_, callbacks_
        As in `DAGClassifier`; scores are R2.

    Examples
    --------
    >>> import dagbp
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]
    >>> model = dagbp.DAGRegressor((8,), learning_rate_init=0.05, random_state=0).fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([1.5])
    """

    def __init__(
        self,
        graph: Any = (100,),
        *,
        density: float = 1.0,
        activation: Any = "relu",
        init: str = "glorot",
        loss: Any = "squared_error",
        optimizer: Any = "adam",
        learning_rate_init: float | None = None,
        alpha: float = 0.001,
        batch_size: Any = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float | None = 0.0001,
        verbose: int = 0,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        scoring: str = "score",
        n_iter_no_change: int = 10,
        callbacks: Sequence[Callback] = (),
        dtype: Any = None,
        n_threads: int | None = 1,
        dense_above: float | None = None,
        schedule: str = "auto",
    ) -> None:
        self._set_parameters(locals())

    @available_if(takes_steps)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over X and y; continue with the existing network if there is one.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1.

        Returns
        -------
        self
        """
        return self._learn(X, y, sample_weight, one_pass=True)

    def predict(self, X: Any) -> Array:
        """Return the predicted targets of each sample.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)

        Returns
        -------
        array, shape (n_samples,) or (n_samples, n_targets)
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: Any, classes: Any, fresh: bool) -> Array:
        return np.asarray(column_or_1d(y, warn=True) if y.ndim == 1 or y.shape[1] == 1 else y)

    def _requirements(self, targets: Array, columns: tuple[Any, ...]) -> Requirements:
        n = 1 if targets.ndim == 1 else targets.shape[1]
        return self._require(n, f"{n} targets", columns)

    def _loss_of(self, n_outputs: int) -> Any:
        return self.loss

    def _weigh(self, targets: Array, weight: Array | None) -> Array | None:
        return weight

    def _strata(self, targets: Array) -> Array | None:
        return None

    def _score_of(self, outputs: Array, targets: Array, weight: Array | None) -> float:
        return float(r2_score(targets, outputs, sample_weight=weight))
