"""Base class of `DAGClassifier` and `DAGRegressor`: parameters, checks and training."""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dagbp import activations, optimizers
from dagbp._checks import Requirement, is_number, is_whole, real_dtype
from dagbp._data import arrays
from dagbp._errors import DataError, OptionError
from dagbp._history import History
from dagbp._network import Network, model_of
from dagbp._training.regularisation import Penalty
from dagbp._training.resuming import keeps_moments
from dagbp.callbacks import Callback, EarlyStopping, Progress
from dagbp.estimators._graphs import Requirements, compile_to_fit
from dagbp.estimators._sklearn import (
    BaseEstimator,
    ConvergenceWarning,
    check_is_fitted,
    check_random_state,
    is_regressor,
    train_test_split,
    validate_data,
)
from dagbp.optimizers import as_solver

Array = npt.NDArray[Any]

FLOATS = (np.float64, np.float32)


def _is_flag(value: object) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_count(value: object) -> bool:
    return is_whole(value) and value >= 1


_FLAG, _COUNT = (
    Requirement("True or False", _is_flag),
    Requirement("a whole number >= 1", _is_count),
)
# Requirements that `Network` does not check, or checks under another name.
_NEEDS = {
    "alpha": Requirement("a number >= 0", lambda value: is_number(value) and value >= 0),
    "batch_size": Requirement(
        "'auto' or a whole number >= 1",
        lambda value: value == "auto" if isinstance(value, str) else _is_count(value),
    ),
    "max_iter": _COUNT,
    "tol": Requirement(
        "a number >= 0, or None", lambda value: value is None or (is_number(value) and value >= 0)
    ),
    "early_stopping": _FLAG,
    "validation_fraction": Requirement(
        "a number between 0 and 1", lambda value: is_number(value) and 0 < value < 1
    ),
    "scoring": Requirement("'score' or 'loss'", lambda value: value in ("score", "loss")),
    "n_iter_no_change": _COUNT,
    "callbacks": Requirement("a list of callbacks", lambda value: isinstance(value, (list, tuple))),
    "warm_start": _FLAG,
    "verbose": Requirement("a whole number", lambda value: is_whole(value) or _is_flag(value)),
}


class Samples(NamedTuple):
    """Features, targets, and weights or None."""

    X: Any
    targets: Array
    weight: Array | None

    def part(self, rows: npt.NDArray[np.intp]) -> "Samples":
        """Return the samples of these rows."""
        weight = None if self.weight is None else self.weight[rows]
        weight = arrays.sample_weight(weight, len(rows))
        return Samples(self.X[rows], self.targets[rows], weight)


def takes_steps(estimator: "DAGEstimator") -> bool:
    """Return True; refuse a full-batch solver, for which there is no `partial_fit`."""
    if as_solver(estimator.optimizer) is not None:
        raise OptionError(
            f"partial_fit takes single steps, but optimizer={estimator.optimizer!r} is a solver, "
            "which needs all samples at once"
        )
    return True


class DAGEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """Trains a network. A subclass converts y to targets, and outputs to predictions."""

    def _set_parameters(self, arguments: dict[str, Any]) -> None:
        """Store the arguments of a constructor, its `locals()`, unchanged under their names."""
        for name, value in arguments.items():
            if name != "self":
                setattr(self, name, value)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a network on X and y.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1.

        Returns
        -------
        self

        Raises
        ------
        GraphError
            If the graph's number of inputs or outputs does not fit X or y.
        DataError, OptionError, ValueError
            If X, y, a weight or a parameter is invalid.
        DivergenceError
            If a loss or gradient is not finite.
        """
        return self._learn(X, y, sample_weight)

    def _learn(
        self, X: Any, y: Any, weight: Any, classes: Any = None, one_pass: bool = False
    ) -> Self:
        """Train a new network or the existing one, for one pass over the samples or a whole run.

        If the training of a new network fails, all attributes get their earlier values. With
        `warm_start` or `partial_fit`, and after an interrupt, the network keeps the steps taken.
        """
        before = self.__dict__.copy()
        fresh = not (hasattr(self, "network_") and (self.warm_start or one_pass))
        try:
            self._learn_from(X, y, weight, classes, one_pass, fresh)
        except Exception:
            if fresh:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise
        return self

    def _learn_from(
        self, X: Any, y: Any, weight: Any, classes: Any, one_pass: bool, fresh: bool
    ) -> None:
        self._check_parameters()
        if one_pass and self.early_stopping:
            raise OptionError("early_stopping must be False for partial_fit, got True")
        columns = tuple(getattr(y, "columns", ()))
        X, y = validate_data(
            self,
            X,
            y,
            reset=fresh,
            accept_sparse="csr",
            dtype=self._dtype(fresh),
            multi_output=True,
            y_numeric=is_regressor(self),
        )
        targets = self._targets(y, classes, fresh)
        weight = self._weigh(targets, arrays.sample_weight(weight, len(targets)))
        if fresh or not one_pass:
            self._random = check_random_state(self.random_state)
        if fresh:
            self.network_ = self._new_network(X, self._requirements(targets, columns))
            self.loss_curve_: list[float] = []
        samples = Samples(X, targets, weight)
        if one_pass:
            same = keeps_moments(model_of(self.network_).last_run, optimizers.get(self.optimizer))
            self._run(samples, epochs=1, resume="optimizer" if same else False)
        else:
            self._run_to_end(samples)

    def _run_to_end(self, samples: Samples) -> None:
        """Train until the loss or the validation score stops improving."""
        self.callbacks_ = [copy.deepcopy(callback) for callback in self.callbacks]
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None
        tol, patience = self.tol, self.n_iter_no_change
        own: list[Callback] = []
        more: dict[str, Any] = {}
        if self.early_stopping:
            samples, held_out = self._split(samples)
            scores = self.validation_scores_ = []
            stopping = EarlyStopping(
                self._scorer(held_out, scores),
                mode="max",
                patience=self.max_iter if tol is None else patience,
                min_delta=0.0 if tol is None else tol,
            )
            own = [stopping]
            if self.callbacks_:  # they may use val_loss
                more = {"validation_data": tuple(held_out)}
        elif tol is not None:
            # The mean improvement of these passes must be at least tol.
            least = tol * patience
            own = [EarlyStopping("loss", patience=patience, min_delta=least, restore_best=False)]
        callbacks = [*self.callbacks_, *own]
        history = self._run(samples, epochs=self.max_iter, callbacks=callbacks, **more)
        if self.early_stopping and scores:  # there are none if a callback ended the first pass
            self.best_validation_score_ = scores[stopping.best_epoch - 1]
        if history.stopped is None and tol is not None and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"fit ended after max_iter={self.max_iter} passes, but the last n_iter_no_change="
                f"{patience} passes still brought an improvement. Increase max_iter, or set "
                "tol=None to always run max_iter passes",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _run(self, samples: Samples, **options: Any) -> History:
        """Call the network's `fit`, and store the losses."""
        history = self.network_.fit(
            samples.X,
            samples.targets,
            loss=self._loss_of(len(self.network_.outputs)),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate_init,
            batch_size=200 if self.batch_size == "auto" else self.batch_size,
            shuffle=self.shuffle,
            sample_weight=samples.weight,
            penalties=[Penalty(l2=self.alpha)],
            seed=self._draw_seed(),
            verbose=int(self.verbose),
            **options,
        )
        self.loss_curve_ += history.loss
        self.n_iter_ = len(history.loss)
        if history.loss:
            self.loss_ = history.loss[-1]
        return history

    def _split(self, samples: Samples) -> tuple[Samples, Samples]:
        """Return the samples to train on, and those held out for validation."""
        n = len(samples.targets)
        train, test = train_test_split(
            np.arange(n),
            test_size=self.validation_fraction,
            random_state=self._random,
            stratify=self._strata(samples.targets),
        )
        if len(test) < 2:
            raise DataError(
                "early_stopping needs at least 2 validation samples, but validation_fraction="
                f"{self.validation_fraction} of {n} samples is {len(test)}"
            )
        return samples.part(train), samples.part(test)

    def _scorer(self, held_out: Samples, scores: list[float]) -> Callable[[Progress], float]:
        """Return the function that early stopping monitors; it appends each score to `scores`."""

        def validation_score(progress: Progress) -> float:
            network, (X, targets, weight) = progress.network, held_out
            if self.scoring == "loss":
                loss = self._loss_of(len(network.outputs))
                scores.append(-network.evaluate(X, targets, loss, sample_weight=weight))
            else:
                scores.append(self._score_of(network.predict(X), targets, weight))
            return scores[-1]

        return validation_score

    def _check_parameters(self) -> None:
        for name, requirement in _NEEDS.items():
            requirement.check(name, getattr(self, name))

    def _dtype(self, fresh: bool) -> Any:
        """Return the dtypes to which X may be converted: the network's, or both precisions."""
        if not fresh:
            return self.network_.dtype
        return FLOATS if self.dtype is None else real_dtype(self.dtype)

    def _draw_seed(self) -> int:
        return int(self._random.randint(2**31 - 1))

    def _new_network(self, X: Any, requirements: Requirements) -> Network:
        return compile_to_fit(
            self.graph,
            self.density,
            activations.get(self.activation).name,
            requirements,
            self._draw_seed(),
            init=self.init,
            dtype=X.dtype,
            n_threads=self.n_threads,
            dense_above=self.dense_above,
            schedule=self.schedule,
        )

    def _require(
        self, n_outputs: int, outputs_for: str, names: Sequence[Any], also: int | None = None
    ) -> Requirements:
        """Return the requirements on a graph, with the number and names of X's columns."""
        columns = tuple(getattr(self, "feature_names_in_", ()))
        return Requirements(self.n_features_in_, n_outputs, outputs_for, also, columns, names)

    def _outputs(self, X: Any) -> Array:
        """Return the network's raw outputs."""
        check_is_fitted(self, "network_")
        dtype = self.network_.dtype
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=dtype)
        return np.asarray(self.network_.predict(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _targets(self, y: Any, classes: Any, fresh: bool) -> Array:
        """Convert y to the loss's targets; store its classes if `fresh`."""

    @abstractmethod
    def _requirements(self, targets: Array, columns: tuple[Any, ...]) -> Requirements:
        """Return the requirements on a graph; `columns` are the names of y's columns, if any."""

    @abstractmethod
    def _loss_of(self, n_outputs: int) -> Any:
        """Return the loss for a network with `n_outputs` outputs."""

    @abstractmethod
    def _weigh(self, targets: Array, weight: Array | None) -> Array | None:
        """Return the samples' weights times the weights of their classes."""

    @abstractmethod
    def _strata(self, targets: Array) -> Array | None:
        """Return the classes for a stratified split; None for a random split."""

    @abstractmethod
    def _score_of(self, outputs: Array, targets: Array, weight: Array | None) -> float:
        """Return the score of raw outputs."""
