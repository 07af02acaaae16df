"""Classes, targets and weights of samples and classes."""

import networkx as nx
import numpy as np
import pytest
from iris import BOTH, LABELS, NAMES, X, Y, classifier, dag, made, regressor
from scipy import special
from sklearn.base import clone
from sklearn.datasets import make_blobs, make_multilabel_classification
from sklearn.exceptions import DataConversionWarning
from sklearn.preprocessing import StandardScaler

import dagbp
from dagbp import DAGClassifier, DataError, OptionError

# ---------------------------------------------------------------------------- classes and targets


@pytest.mark.parametrize(
    "classes", [NAMES, LABELS, LABELS - 7, LABELS.astype(float), NAMES == "setosa"]
)
def test_kinds_of_classes(classes):
    model = classifier().fit(X, classes)
    assert np.array_equal(model.classes_, np.unique(classes))
    predicted = model.predict(X)
    assert predicted.dtype == classes.dtype
    assert np.mean(predicted == classes) > 0.95
    assert model.score(X, classes) == np.mean(predicted == classes)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("graph", [(6,), dag(4, 2)])
def test_probabilities(n_classes, graph):
    if n_classes == 3 and graph != (6,):
        graph = dag(4, 3)
    y = NAMES if n_classes == 3 else NAMES == "virginica"
    model = classifier(graph).fit(X, y)
    p, log_p = model.predict_proba(X), model.predict_log_proba(X)
    assert p.shape == log_p.shape == (150, n_classes)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-12)
    assert np.allclose(np.exp(log_p), p, rtol=1e-12)
    assert np.array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))
    raw = model.network_.predict(X)
    assert raw.shape[1] == (1 if n_classes == 2 and graph == (6,) else n_classes)
    if raw.shape[1] == 1:
        assert np.allclose(p[:, 1], special.expit(raw[:, 0]), rtol=1e-12)
    else:
        assert np.allclose(p, special.softmax(raw, axis=1), rtol=1e-12)
    decision = model.decision_function(X)
    if n_classes == 2:
        assert np.allclose(decision, log_p[:, 1] - log_p[:, 0], rtol=1e-9)
    else:
        assert np.array_equal(decision, raw)


def test_one_output_and_two_learn_the_same_classes():
    y = NAMES == "virginica"
    one, two = (classifier(dag(4, k), max_iter=400).fit(X, y) for k in (1, 2))
    assert one.score(X, y) > 0.95
    assert two.score(X, y) > 0.95


def test_log_probabilities_do_not_underflow():
    G = nx.DiGraph([("x", "y")])
    G.edges["x", "y"].update(weight=1.0, trainable=False)
    G.nodes["y"].update(bias=None)
    model = DAGClassifier(G, max_iter=1, tol=None).fit([[1.0], [-1.0]], [1, 0])
    assert model.predict_log_proba([[-1000.0]]).tolist() == [[0.0, -1000.0]]
    assert model.predict_proba([[-1000.0]]).tolist() == [[1.0, 0.0]]


def test_labels():
    Z, indicator = make_multilabel_classification(300, n_features=10, n_classes=4, random_state=0)
    Z = StandardScaler().fit_transform(Z)
    model = classifier((30,), batch_size=50).fit(Z, indicator)
    assert np.mean(model.predict(Z) == indicator) > 0.9
    assert model.classes_.tolist() == [0, 1, 2, 3]
    raw = model.network_.predict(Z)
    assert np.allclose(model.predict_proba(Z), special.expit(raw), rtol=1e-12)
    assert np.allclose(np.exp(model.predict_log_proba(Z)), special.expit(raw), rtol=1e-12)
    assert np.array_equal(model.decision_function(Z), raw)
    value = model.network_.evaluate(Z, indicator, "binary_cross_entropy")
    assert value < 0.5 * model.loss_curve_[0]
    warmer = clone(model).set_params(warm_start=True).fit(Z, indicator)
    with pytest.raises(
        DataError, match="y must be an indicator matrix of labels as before, got one"
    ):
        warmer.fit(Z, indicator[:, 0])


def test_several_targets():
    model = regressor(max_iter=400).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.score(X, Y) > 0.95
    single = regressor(max_iter=400).fit(X, Y[:, 0])
    assert single.predict(X).shape == (150,)
    assert single.score(X, Y[:, 0]) > 0.95
    with pytest.warns(DataConversionWarning):
        assert regressor(max_iter=1).fit(X, Y[:, :1]).predict(X).shape == (150,)


def test_regression_losses():
    targets = Y[:, 0].copy()
    targets[::10] += 30  # which a median does not mind, and a mean does
    fitted = [
        regressor((), loss=loss, learning_rate_init=0.05, max_iter=1000).fit(X, targets)
        for loss in ("absolute_error", dagbp.losses.Huber(0.1), "squared_error")
    ]
    errors = [np.median(np.abs(model.predict(X) - Y[:, 0])) for model in fitted]
    assert max(errors[:2]) < 0.2
    assert errors[2] > 1


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (np.zeros(150, int), "y must have at least 2 classes, got 1 class: .*0"),
        (X[:, 0], "Unknown label type"),
        (
            np.column_stack([LABELS, LABELS]),
            r"y should be a 1d array, got an array of shape \(150, 2\)",
        ),
    ],
)
def test_targets_that_are_no_classes(y, text):
    with pytest.raises(ValueError, match=text):
        made(DAGClassifier).fit(X, y)


# ---------------------------------------------------------------------------------------- weights


def unequal():
    """Return samples of two overlapping classes; one sample in ten is of the second class."""
    Z, y = make_blobs([500, 50], centers=[[0, 0], [1.5, 1.5]], random_state=0)
    return Z, np.where(y == 1, "few", "many")


def share(model, Z):
    return np.mean(model.predict(Z) == "few")


def test_class_weight():
    Z, y = unequal()
    plain = classifier(()).fit(Z, y)
    balanced = classifier((), class_weight="balanced").fit(Z, y)
    by_hand = classifier((), class_weight={"few": 10}).fit(Z, y)
    assert share(plain, Z) < 0.12 < share(balanced, Z)
    assert np.allclose(balanced.predict_proba(Z), by_hand.predict_proba(Z), atol=1e-9)
    weight = np.where(y == "few", 10.0, 1.0)
    weighted = classifier(()).fit(Z, y, sample_weight=weight)
    assert np.allclose(weighted.predict_proba(Z), by_hand.predict_proba(Z), atol=1e-9)
    both = classifier((), class_weight="balanced").fit(Z, y, sample_weight=weight)
    assert np.allclose(both.predict_proba(Z), balanced.predict_proba(Z), atol=1e-9)


@pytest.mark.parametrize(
    ("class_weight", "text"),
    [
        ("unbalanced", "class_weight must be a dict, 'balanced' or None, got 'unbalanced'"),
        ({"rose": 1}, r"classes in class_weight must be one of \['setosa', .* got 'rose'"),
        ({"setosa": -1}, r"class_weight\['setosa'\] must be a number >= 0, got -1"),
        ({"setosa": None}, r"class_weight\['setosa'\] must be a number >= 0, got None"),
        (dict.fromkeys(NAMES, 0), r"class_weight must give a sample a weight > 0, got \{"),
    ],
)
def test_class_weights_that_are_refused(class_weight, text):
    with pytest.raises(OptionError, match=text):
        made(DAGClassifier, class_weight=class_weight).fit(X, NAMES)


def test_class_weight_of_labels_is_refused():
    with pytest.raises(OptionError, match="class_weight must be None if y is an indicator matrix"):
        made(DAGClassifier, class_weight="balanced").fit(X, np.eye(3, dtype=int)[LABELS])


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_whole_sample_weights_repeat_samples(cls, y):
    weight = np.arange(150) % 3
    options = {"activation": "tanh", "batch_size": 1000, "dtype": "float64"}
    weighted = made(cls, **options).fit(X, y, sample_weight=weight)
    repeated = made(cls, **options).fit(X.repeat(weight, axis=0), y.repeat(weight, axis=0))
    assert np.allclose(weighted.network_.parameters, repeated.network_.parameters, atol=1e-9)
    plain = made(cls, **options).fit(X, y)
    assert not np.allclose(weighted.network_.parameters, plain.network_.parameters, atol=1e-4)
