"""`DAGClassifier`: predicts classes and their probabilities."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dagbp._errors import DataError, OptionError
from dagbp.callbacks import Callback
from dagbp.estimators._base import DAGEstimator, takes_steps
from dagbp.estimators._classes import Classes, is_multilabel
from dagbp.estimators._graphs import Requirements
from dagbp.estimators._sklearn import ClassifierMixin, available_if

Array = npt.NDArray[Any]


class DAGClassifier(ClassifierMixin, DAGEstimator):  # type: ignore[misc]
    """A classifier that trains a network on any DAG.

    For two classes, one output is the log-odds of the second class. For more classes, each class
    has an output, and the softmax of the outputs gives the probabilities. If y is an indicator
    matrix, a sample has any number of labels, and each label has an output. The loss is the
    cross-entropy.

    Parameters
    ----------
    graph : networkx.DiGraph, callable or iterable of int
        The DAG of the network, with an input for each feature and an output for each class (two
        classes may share one output); a callable ``(n_features, n_outputs) -> DAG``; or the sizes
        of hidden layers, each connected to the next. Features go to the inputs in the order of
        columns. If X is a DataFrame, and its columns are the labels of the inputs, they are matched
        by name. Classes are matched to outputs in the same way.
    density : float in (0, 1]
        If `graph` is sizes: the share of all possible edges between two layers.
    activation : str or dagbp.activations.Activation
        Activation of hidden nodes that do not have one. Give your own as the object that
        `dagbp.activations.register` returned: it can be sent to other processes (``n_jobs=2``).
    init : {"glorot", "auto", "he", "lecun", "zeros"}
        Distribution of the weights, as in `dagbp.compile`. A bias that a node does not give is
        uniform within 1 / sqrt(in-degree).
    optimizer : str, dagbp.optimizers.Optimizer or dagbp.optimizers.Solver
        As in `dagbp.Network.fit`: "adam", "sgd", "lbfgs", ``RMSprop(rho=0.95)``, ...
    learning_rate_init : float, optional
        Learning rate; default: the optimizer's, which is 0.001 for Adam.
    alpha : float
        The objective is the mean loss plus alpha / 2 times the sum of all squared weights, without
        biases. (scikit-learn's MLPs divide their alpha by the number of samples of a batch.)
    batch_size : int or "auto"
        Number of samples of a step; "auto": 200.
    max_iter : int
        Maximum number of passes over the samples; of iterations, if `optimizer` is a solver.
    shuffle : bool
        Whether to draw a new order of the samples for each pass.
    class_weight : dict, "balanced" or None
        Weights of the classes; a class that the dict does not name has weight 1. With "balanced",
        the total weight of each class is the same. None: all weights are 1.
    random_state : int, numpy.random.RandomState or None
        Seed for edges, weights, the order of samples, and the validation samples.
    tol : float, optional
        `fit` ends when the mean decrease of the loss over `n_iter_no_change` passes is less than
        this. With `early_stopping`, `fit` ends when the score has not improved by more than this
        for `n_iter_no_change` passes. None: `fit` always runs `max_iter` passes.
    verbose : bool or int
        Whether to draw a progress bar on a terminal.
    warm_start : bool
        Whether `fit` continues with the existing network, with a new state of the optimizer.
    early_stopping : bool
        Whether `fit` holds out validation samples, monitors their score, and ends with the
        parameters of the best score.
    validation_fraction : float
        Share of the samples that are held out: the same of each class; random if y is an indicator
        matrix.
    scoring : {"score", "loss"}
        Score to monitor: accuracy, or minus the loss. If a class is rare,
        accuracy hardly depends on it.
    n_iter_no_change : int
        Number of passes without improvement after which `fit` ends; see `tol`.
    callbacks : list of dagbp.callbacks.Callback
        `fit` uses copies of them. With `early_stopping`, their ``val_loss`` is the loss of the
        validation samples; without it, they have none.
    dtype : {"float32", "float64"}, optional
        Precision of the network; default: the dtype of X, or float64 if X has another dtype.
    n_threads : int, optional
        Maximum number of threads. None: as many cores as the work keeps busy. Leave it at 1 if
        scikit-learn runs several processes (``n_jobs=2``).
    dense_above, schedule
        As in `dagbp.compile`. With ``schedule="levels"``, the same `random_state` gives the same
        bits with any number of threads.

    Attributes
    ----------
    network_ : dagbp.Network
        The trained network. Its `predict` returns raw outputs, without sigmoid or softmax.
    classes_ : array, shape (n_classes,)
        Classes in sorted order; for an indicator matrix, 0 ... n_labels - 1.
    n_features_in_ : int
    feature_names_in_ : array of str, shape (n_features,)
        Only if X was a DataFrame.
    n_iter_, loss_ : int, float
        Number of passes of the last call, and mean loss of the last pass, with the penalty.
    loss_curve_ : list of float
        Mean loss of each pass, as in `dagbp.History`, also of earlier calls that trained the same
        network.
    validation_scores_ : list of float or None
        Score of the validation samples after each pass, with `early_stopping`.
    best_validation_score_ : float or None
        Score with the parameters that were kept.
    callbacks_ : list of dagbp.callbacks.Callback
        The copies that the last `fit` used.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If `fit` ends after `max_iter` passes although `tol` is not None.

    Examples
    --------
    >>> import dagbp
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], ["same", "other", "other", "same"]
    >>> model = dagbp.DAGClassifier((8,), learning_rate_init=0.05, random_state=0).fit(X, y)
    >>> model.predict([[0, 1], [1, 1]])
    array(['other', 'same'], dtype='<U5')
    """

    def __init__(
        self,
        graph: Any = (100,),
        *,
        density: float = 1.0,
        activation: Any = "relu",
        init: str = "glorot",
        optimizer: Any = "adam",
        learning_rate_init: float | None = None,
        alpha: float = 0.001,
        batch_size: Any = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        class_weight: Any = None,
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
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one pass over X and y; continue with the existing network if there is one.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_labels)
        classes : array_like, shape (n_classes,)
            All classes. Required in the first call, unless y is an indicator matrix.
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1.

        Returns
        -------
        self
        """
        fitted = hasattr(self, "network_")
        if isinstance(self.class_weight, str):
            raise OptionError(
                f"class_weight={self.class_weight!r} needs all samples at once, but partial_fit "
                "gets one part of them; give a dict of weights"
            )
        if classes is None and not fitted and not is_multilabel(y):
            raise DataError("classes must name all classes in the first call of partial_fit")
        if classes is not None and fitted and not np.array_equal(np.unique(classes), self.classes_):
            raise DataError(
                f"classes must be {self.classes_.tolist()} as in the first call, got {classes!r}"
            )
        return self._learn(X, y, sample_weight, classes, one_pass=True)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each sample, or the labels with probability > 1/2.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)

        Returns
        -------
        array, shape (n_samples,) or (n_samples, n_labels)
        """
        outputs = self._outputs(X)  # raises NotFittedError
        return self._classes.decode(self._classes.most_probable(outputs))

    def decision_function(self, X: Any) -> Array:
        """Return the values from which probabilities are computed.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)

        Returns
        -------
        array, shape (n_samples,) or (n_samples, n_classes)
            For two classes, the log-odds of the second class; for more classes, the raw outputs
            before softmax; for labels, the log-odds of each label.
        """
        outputs = self._outputs(X)
        return self._classes.decision(outputs)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class or label.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)

        Returns
        -------
        array, shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        outputs = self._outputs(X)
        return self._classes.probabilities(outputs)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`, accurate also for probabilities close to 0."""
        outputs = self._outputs(X)
        return self._classes.log_probabilities(outputs)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _targets(self, y: Any, classes: Any, fresh: bool) -> Array:
        if fresh:
            self._classes = Classes.of(y, classes)
            self.classes_ = self._classes.names
        return self._classes.encode(y)

    def _requirements(self, targets: Array, columns: tuple[Any, ...]) -> Requirements:
        n = len(self.classes_)
        if self._classes.multilabel:
            return self._require(n, f"{n} labels", columns)
        names = tuple(self.classes_.tolist())
        if n == 2:
            return self._require(1, "2 classes", names, also=2)
        return self._require(n, f"{n} classes", names)

    def _loss_of(self, n_outputs: int) -> str:
        single = self._classes.multilabel or n_outputs == 1
        return "binary_cross_entropy" if single else "softmax_cross_entropy"

    def _weigh(self, targets: Array, weight: Array | None) -> Array | None:
        return self._classes.weights(self.class_weight, targets, weight)

    def _strata(self, targets: Array) -> Array | None:
        return None if self._classes.multilabel else targets

    def _score_of(self, outputs: Array, targets: Array, weight: Array | None) -> float:
        right = self._classes.most_probable(outputs) == targets
        return float(np.average(right.reshape(len(right), -1).all(axis=1), weights=weight))
