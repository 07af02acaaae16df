"""`fit` and `partial_fit`: warm starts, early stopping, sparse features, refused parameters."""

import copy
import pickle

import networkx as nx
import numpy as np
import pytest
from iris import BOTH, LABELS, NAMES, X, Y, classifier, dag, made
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import dagbp
from dagbp import DAGClassifier, DAGRegressor, DataError, OptionError


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_precision_follows_x(cls, y):
    for dtype, given, expected in [
        (None, np.float32, "float32"),
        (None, np.float64, "float64"),
        (None, np.int64, "float64"),
        ("float32", np.float64, "float32"),
        (np.float64, np.float32, "float64"),
    ]:
        model = made(cls, dtype=dtype, max_iter=1).fit((3 * X).astype(given), y)
        assert model.network_.dtype == expected
        numbers = model.predict(X) if cls is DAGRegressor else model.predict_proba(X)
        assert numbers.dtype == expected


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_warm_start_continues(cls, y):
    model = made(cls, warm_start=True, max_iter=30).fit(X, y)
    network = model.network_
    model.fit(X, y)
    assert model.network_ is network
    assert len(model.loss_curve_) == 60
    assert model.n_iter_ == 30
    assert model.loss_curve_[30] < model.loss_curve_[29]
    cold = made(cls, max_iter=30).fit(X, y)
    first = cold.network_
    assert cold.fit(X, y).network_ is not first
    assert np.array_equal(cold.network_.parameters, first.parameters)
    assert len(cold.loss_curve_) == 30


def test_warm_start_keeps_features_and_classes():
    model = made(DAGClassifier, warm_start=True).fit(X, NAMES)
    with pytest.raises(ValueError, match="X has 3 features, but DAGClassifier is expecting 4"):
        model.fit(X[:, :3], NAMES)
    with pytest.raises(
        DataError, match=r"classes in y must be one of .*, as in the first fit, got .*'rose'"
    ):
        model.fit(X[:2], ["rose", "setosa"])


def test_partial_fit_classifies():
    model = classifier()
    assert model.partial_fit(X[:50], NAMES[:50], classes=np.unique(NAMES)) is model
    network = model.network_
    for _ in range(200):
        model.partial_fit(X, NAMES)
    assert model.network_ is network
    assert model.score(X, NAMES) > 0.95
    assert model.n_iter_ == 1
    model.fit(X, NAMES)
    assert model.network_ is not network


def test_partial_fit_of_labels_needs_no_classes():
    indicator = np.eye(3, dtype=int)[LABELS]
    model = made(DAGClassifier).partial_fit(X, indicator).partial_fit(X[:10], indicator[:10])
    assert model.predict(X).shape == (150, 3)


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_partial_fit_keeps_the_optimizers_state(cls, y):
    whole = made(cls, max_iter=5, batch_size=30, shuffle=False).fit(X, y)
    passes = made(cls, batch_size=30, shuffle=False)
    options = {"classes": np.unique(y)} if cls is DAGClassifier else {}
    for _ in range(5):
        passes = pickle.loads(pickle.dumps(passes)).partial_fit(X, y, **options)
    assert np.array_equal(passes.network_.parameters, whole.network_.parameters)
    assert passes.loss_curve_ == whole.loss_curve_
    assert (passes.n_iter_, whole.n_iter_) == (1, 5)


def test_partial_fit_refuses_invalid_arguments():
    with pytest.raises(DataError, match="classes must name all classes in the first call of"):
        made(DAGClassifier).partial_fit(X, NAMES)
    model = made(DAGClassifier).partial_fit(X, NAMES, classes=np.unique(NAMES))
    with pytest.raises(DataError, match=r"classes must be \['setosa', .* got \['rose'\]"):
        model.partial_fit(X, NAMES, classes=["rose"])
    with pytest.raises(OptionError, match="class_weight='balanced' needs all samples at once"):
        made(DAGClassifier, class_weight="balanced").partial_fit(X, NAMES, np.unique(NAMES))
    weighted = made(DAGClassifier, class_weight={"setosa": 2.0})
    weighted.partial_fit(X[50:], NAMES[50:], classes=np.unique(NAMES))


def test_partial_fit_needs_an_optimizer_that_takes_steps():
    model = made(DAGClassifier, optimizer="lbfgs")
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as caught:
        model.partial_fit(X, NAMES)
    assert "optimizer='lbfgs' is a solver, which needs all samples" in str(caught.value.__cause__)
    assert model.fit(X, NAMES).score(X, NAMES) > 0.95


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_alpha_penalises_weights(cls, y):
    still = made(cls, alpha=0.5, max_iter=1, batch_size=1000, learning_rate_init=0.0).fit(X, y)
    net = still.network_
    targets = y if cls is DAGRegressor else LABELS
    loss = "squared_error" if cls is DAGRegressor else "softmax_cross_entropy"
    squares = sum(weight**2 for weight in net.weights.values())
    assert np.isclose(still.loss_curve_[0], net.evaluate(X, targets, loss) + 0.25 * squares)
    norms = [
        np.linalg.norm(list(made(cls, alpha=alpha).fit(X, y).network_.weights.values()))
        for alpha in (0, 0.01, 1)
    ]
    assert norms[0] > norms[1] > norms[2]


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_fit_ends_when_the_loss_falls_no_more(cls, y):
    options = {"learning_rate_init": 0.02, "max_iter": 2000, "n_iter_no_change": 5}
    coarse, fine = (made(cls, tol=tol, **options).fit(X, y) for tol in (1e-2, 1e-4))
    assert 5 < coarse.n_iter_ < fine.n_iter_ < 2000
    assert len(fine.loss_curve_) == fine.n_iter_
    assert fine.loss_curve_[-1] < coarse.loss_curve_[-1]
    *_, before = coarse.loss_curve_[:-5]
    assert before - min(coarse.loss_curve_[-5:]) <= 5e-2
    assert coarse.validation_scores_ is coarse.best_validation_score_ is None


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_max_iter_that_does_not_suffice(cls, y):
    model = made(cls, tol=1e-4)
    with pytest.warns(
        ConvergenceWarning, match="fit ended after max_iter=20 passes, but"
    ) as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    assert model.n_iter_ == 20


class Snapshots(dagbp.callbacks.Callback):
    """Stores the parameters after each epoch, and ends the run after some epochs."""

    def __init__(self, most=None):
        self.most, self.seen = most, []

    def on_epoch_end(self, progress):
        self.seen.append(progress.network.parameters)
        if len(self.seen) == self.most:
            progress.stop("enough")


@pytest.mark.parametrize(("cls", "y"), BOTH)
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping_goes_back_to_the_best_score(cls, y, weighted):
    model = made(
        cls,
        early_stopping=True,
        validation_fraction=0.3,
        tol=1e-3,
        max_iter=1000,
        learning_rate_init=0.05,
        callbacks=[Snapshots()],
    ).fit(X, y, sample_weight=1 + LABELS if weighted else None)
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ < 1000
    kept = scores.index(model.best_validation_score_)
    assert model.best_validation_score_ == max(scores)
    assert np.array_equal(model.network_.parameters, model.callbacks_[0].seen[kept])
    assert model.score(X, y) > 0.9


def test_held_out_samples():
    y = np.where(np.arange(150) < 30, "few", "many")  # every fifth
    seen = []

    class Spy(DAGClassifier):
        def _score_of(self, outputs, targets, weight):
            seen.append((len(targets), np.bincount(targets).tolist(), weight))
            return super()._score_of(outputs, targets, weight)

    Spy((4,), early_stopping=True, validation_fraction=0.2, max_iter=1, tol=None).fit(X, y)
    assert seen == [(30, [6, 24], None)]


def test_early_stopping_without_tol_takes_all_passes():
    model = classifier(early_stopping=True, max_iter=60).fit(X, NAMES)
    assert len(model.validation_scores_) == model.n_iter_ == 60
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_early_stopping_that_is_refused():
    with pytest.raises(
        DataError, match="early_stopping needs at least 2 validation samples, but va"
    ):
        made(DAGRegressor, early_stopping=True, validation_fraction=0.005).fit(X, Y)
    with pytest.raises(OptionError, match="early_stopping must be False for partial_fit"):
        made(DAGRegressor, early_stopping=True).partial_fit(X, Y)


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_callbacks_are_copied(cls, y):
    given = Snapshots(most=3)
    model = made(cls, callbacks=[given], tol=1e-4).fit(X, y)
    assert model.n_iter_ == len(model.callbacks_[0].seen) == 3
    assert given.seen == []
    assert model.callbacks[0] is given


@pytest.mark.parametrize(("cls", "y"), BOTH)
@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_sparse_features(cls, y, form, early_stopping):
    features = np.where(X > 0.3, X, 0)
    options = {"early_stopping": early_stopping, "batch_size": 20}
    dense = made(cls, **options).fit(features, y)
    from_sparse = made(cls, **options).fit(form(features), y)
    assert np.allclose(
        from_sparse.network_.parameters, dense.network_.parameters, rtol=1e-9, atol=1e-12
    )
    expected = dense.network_.predict(features)
    assert np.allclose(from_sparse.network_.predict(form(features)), expected, rtol=1e-9)
    assert np.array_equal(from_sparse.predict(form(features)), from_sparse.predict(features))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_iter", 0, "max_iter must be a whole number >= 1, got 0"),
        ("max_iter", 2.5, "max_iter must be a whole number >= 1, got 2.5"),
        ("batch_size", "all", "batch_size must be 'auto' or a whole number >= 1, got 'all'"),
        ("batch_size", True, "batch_size must be 'auto' or a whole number >= 1, got True"),
        ("alpha", -1, "alpha must be a number >= 0, got -1"),
        ("tol", -1, "tol must be a number >= 0, or None, got -1"),
        ("early_stopping", None, "early_stopping must be True or False, got None"),
        ("validation_fraction", 0, "validation_fraction must be a number between 0 and 1, got 0"),
        ("validation_fraction", 1, "validation_fraction must be a number between 0 and 1, got 1"),
        ("n_iter_no_change", 0, "n_iter_no_change must be a whole number >= 1, got 0"),
        ("callbacks", 3, "callbacks must be a list of callbacks, got 3"),
        ("callbacks", [3], "callbacks must be .* got 3 in the list"),
        ("warm_start", 1, "warm_start must be True or False, got 1"),
        ("dtype", "float16", "dtype must be 'float32' or 'float64', got 'float16'"),
        ("density", 0, r"density is 0; it must lie in \(0, 1\]"),
        ("activation", "rellu", "'rellu'.*did you mean 'relu'"),
        ("init", "xavier", "unknown init 'xavier'"),
        ("optimizer", "adan", "unknown optimizer 'adan'; did you mean 'adam'"),
        ("learning_rate_init", -1.0, "learning_rate must be a number >= 0, got -1.0"),
    ],
)
@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_parameters_that_are_refused(cls, y, name, value, text):
    model = cls(**{name: value})
    with pytest.raises(OptionError, match=text):
        model.fit(X, y)


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_nothing_given_is_changed(cls, y):
    features, targets = X.copy(), np.asfortranarray(y)
    features.flags.writeable = targets.flags.writeable = False
    graph = dag(4, 3 if cls is DAGClassifier else 2)
    drawn = copy.deepcopy(graph)
    model = made(cls, graph=graph)
    before = dict(model.get_params())
    model.fit(features, targets, sample_weight=np.ones(150)).predict(features)
    model.partial_fit(features, targets)
    assert np.array_equal(features, X)
    assert np.array_equal(targets, y)
    assert model.get_params() == before
    assert model.graph is graph
    assert nx.utils.graphs_equal(graph, drawn)


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_before_fit(cls, y):
    with pytest.raises(NotFittedError):
        cls().predict(X)
