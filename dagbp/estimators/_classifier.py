"""The classifier: classes in, classes and their probabilities out."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dagbp._errors import DataError, OptionError
from dagbp.callbacks import Callback
from dagbp.estimators._base import DAGEstimator, takes_steps
from dagbp.estimators._classes import Classes, is_multilabel
from dagbp.estimators._graphs import Demand
from dagbp.estimators._sklearn import ClassifierMixin, available_if

Array = npt.NDArray[Any]


class DAGClassifier(ClassifierMixin, DAGEstimator):  # type: ignore[misc]
    """A classifier that trains a network of any wiring.

    Of two classes, one output is the log-odds of the second; of more, each has an output, and their
    softmax the probabilities. An indicator matrix y gives a sample any number of labels, each with
    an output of its own. The loss is the cross-entropy.

    Parameters
    ----------
    graph : networkx.DiGraph, callable or iterable of int
        The network's wiring: a DAG with an input for each feature and an output for each class (two
        classes may share one); a callable ``(n_features, n_outputs) -> DAG``; or the sizes of
        hidden layers, each wired to the next. Features go to the inputs in column order, or by name
        where X is a DataFrame whose columns are the inputs' labels; so do classes to outputs.
    density : float in (0, 1]
        Share of the edges between layers that there are, where `graph` is sizes.
    activation : str or dagbp.activations.Activation
        Of hidden nodes without one of their own. What `dagbp.activations.register` returns goes to
        other processes, too, as under ``n_jobs=2``.
    init : {"glorot", "auto", "he", "lecun", "zeros"}
        Distribution of the weights, as in `dagbp.compile`. Biases are uniform within
        1 / sqrt(in-degree), where a node does not give its own.
    optimizer : str, dagbp.optimizers.Optimizer or dagbp.optimizers.Solver
        As in `dagbp.Network.fit`: "adam", "sgd", "lbfgs", ``RMSprop(rho=0.95)``, ...
    learning_rate_init : float, optional
        In place of the optimizer's own, which is 0.001 for Adam.
    alpha : float
        The objective is the mean loss plus alpha / 2 times the sum of all squared weights, biases
        left out, whatever the batch. (The alpha of scikit-learn's MLPs is this times the samples
        of a batch, so that their default penalty is much smaller.)
    batch_size : int or "auto"
        Samples of a step; "auto" takes 200.
    max_iter : int
        Most passes over the samples; of a solver, iterations.
    shuffle : bool
        Draw a new order of the samples for each pass.
    class_weight : dict, "balanced" or None
        Weights of the classes, 1 where the dict names none; "balanced" gives all classes the same
        weight in sum. None: all 1.
    random_state : int, numpy.random.RandomState or None
        Draws edges, weights, the order of samples, and those held out for early stopping.
    tol : float, optional
        `fit` ends when the loss has fallen by less than this a pass, on the average of
        `n_iter_no_change`; with `early_stopping`, when none of so many has brought a score that is
        better by more than this. None: it takes all of `max_iter`.
    verbose : bool or int
        Whether to draw a progress bar on a terminal.
    warm_start : bool
        Whether `fit` trains the network there is further, with a fresh state of the optimizer.
    early_stopping : bool
        Whether `fit` holds samples out, looks at the score on them, and ends with the parameters
        that had the best one.
    validation_fraction : float
        Share of the samples that are held out, of each class alike; of labels at random.
    scoring : {"score", "loss"}
        What is looked at: accuracy, which says little where one class is rare; or minus the loss.
    n_iter_no_change : int
        Passes that are looked at for that.
    callbacks : list of dagbp.callbacks.Callback
        `fit` uses copies of them. With `early_stopping`, the loss of what is held out is their
        ``val_loss``; otherwise there is none.
    dtype : {"float32", "float64"}, optional
        Of everything inside; default: that of X, float64 if X is neither.
    n_threads : int, optional
        Most threads to use. None: as many cores as the work keeps busy; leave it at 1 where
        scikit-learn runs several processes, as under ``n_jobs=2``.
    dense_above, schedule
        As in `dagbp.compile`: with ``schedule="levels"``, `random_state` gives the same bits on any
        number of threads.

    Attributes
    ----------
    network_ : dagbp.Network
        What was trained; its `predict` gives raw outputs, before sigmoid or softmax.
    classes_ : array, shape (n_classes,)
        Sorted; of an indicator matrix, 0 ... n_labels - 1.
    n_features_in_ : int
    feature_names_in_ : array of str, shape (n_features,)
        If X was a DataFrame.
    n_iter_ : int
        Passes that the last call took.
    loss_ : float
        Mean loss of the last pass, with its penalty.
    loss_curve_ : list of float
        Mean loss of each pass with its penalty, every batch's before its step; those of earlier
        calls included where a network is trained further.
    validation_scores_ : list of float or None
        Accuracy on what was held out, or minus the loss, after each pass of an early-stopped `fit`.
    best_validation_score_ : float or None
        That of the parameters which were kept.
    callbacks_ : list of dagbp.callbacks.Callback
        The copies that the last `fit` used.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If `fit` ends by `max_iter` although it has a `tol`.

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
        self.graph = graph
        self.density = density
        self.activation = activation
        self.init = init
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.class_weight = class_weight
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.n_iter_no_change = n_iter_no_change
        self.callbacks = callbacks
        self.dtype = dtype
        self.n_threads = n_threads
        self.dense_above = dense_above
        self.schedule = schedule

    @available_if(takes_steps)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one pass over X and y, going on from the network there is.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_labels)
        classes : array_like, shape (n_classes,)
            All classes there are. Needed in the first call, unless y is an indicator matrix.
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1.

        Returns
        -------
        self
        """
        fitted = hasattr(self, "network_")
        if isinstance(self.class_weight, str):
            raise OptionError(
                f"class_weight={self.class_weight!r} needs all samples at once, which partial_fit "
                "does not see; give a dict of weights"
            )
        if classes is None and not fitted and not is_multilabel(y):
            raise DataError("classes must name all classes in the first call of partial_fit")
        if classes is not None and fitted and not np.array_equal(np.unique(classes), self.classes_):
            raise DataError(
                f"classes must stay {self.classes_.tolist()}, as in the first call, got {classes!r}"
            )
        return self._learn(X, y, sample_weight, classes, one_pass=True)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each sample; of labels, those more probable than not.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)

        Returns
        -------
        array, shape (n_samples,) or (n_samples, n_labels)
        """
        outputs = self._outputs(X)
        return self._classes.decode(self._classes.most_probable(outputs))

    def decision_function(self, X: Any) -> Array:
        """Return what the probabilities are computed of.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)

        Returns
        -------
        array, shape (n_samples,) or (n_samples, n_classes)
            Of two classes, the log-odds of the second. Of more, the raw outputs, whose softmax are
            the probabilities; of labels, the log-odds of each.
        """
        outputs = self._outputs(X)
        return self._classes.decision(outputs)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, or of each label.

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
        """Return the logarithm of `predict_proba`, exact where that is close to 0.

        Parameters
        ----------
        X : array_like, sparse matrix or DataFrame, shape (n_samples, n_features)

        Returns
        -------
        array, shape (n_samples, n_classes)
        """
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

    def _demand(self, targets: Array, columns: tuple[Any, ...]) -> Demand:
        n = len(self.classes_)
        if self._classes.multilabel:
            return self._ask(n, f"{n} labels", columns)
        names = tuple(self.classes_.tolist())
        return (
            self._ask(1, "2 classes", names, also=2)
            if n == 2
            else self._ask(n, f"{n} classes", names)
        )

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
