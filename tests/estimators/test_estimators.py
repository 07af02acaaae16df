"""Estimators: scikit-learn's checks, every form of graph and y, and invalid arguments."""

import copy
import json
import os
import pickle
import subprocess
import sys

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from networks import run_python
from scipy import sparse, special
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_blobs, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dagbp
from dagbp import DAGClassifier, DAGRegressor, DataError, GraphError, OptionError
from dagbp.callbacks import Callback, ReduceOnPlateau

RNG = np.random.default_rng(0)
X, LABELS = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])[LABELS]
Y = np.column_stack([X[:, 0] - X[:, 1], X[:, 2] * X[:, 3]])
BOTH = [(DAGClassifier, NAMES), (DAGRegressor, Y)]


def classifier(graph=(8,), **options):
    defaults = {"learning_rate_init": 0.02, "random_state": 0, "tol": None}
    return DAGClassifier(graph, **{**defaults, **options})


def regressor(graph=(16,), **options):
    defaults = {"learning_rate_init": 0.02, "random_state": 0, "tol": None}
    return DAGRegressor(graph, **{**defaults, **options})


def made(cls, **options):
    return cls(**{"graph": (8,), "max_iter": 20, "random_state": 0, "tol": None, **options})


def names_of(G, inputs, outputs):
    """Return a layered graph of one hidden layer with these labels on its ends."""
    ends = {(0, i): label for i, label in enumerate(inputs)}
    ends |= {(2, i): label for i, label in enumerate(outputs)}
    return nx.relabel_nodes(G, ends)


# ------------------------------------------------------------------------- scikit-learn's checks


CHECK = """
import json, warnings
warnings.simplefilter("ignore")  # the checks stop training early, and some warn on purpose
from sklearn.utils.estimator_checks import check_estimator
import dagbp

def residual(n_features, n_outputs):
    return dagbp.residual([n_features, 10, 10, n_outputs])

results = check_estimator(dagbp.{}, on_fail=None, on_skip=None)
print(json.dumps([(result["check_name"], result["status"]) for result in results]))
"""


@pytest.mark.parametrize(
    "estimator",
    [
        "DAGClassifier()",
        "DAGRegressor()",
        "DAGClassifier((20, 10), density=0.3)",
        "DAGRegressor((20, 10), density=0.3, learning_rate_init=0.01)",
        "DAGRegressor(graph=residual, learning_rate_init=0.01)",
        pytest.param(
            "DAGClassifier((10,), optimizer='lbfgs', max_iter=50)", marks=pytest.mark.slow
        ),
        pytest.param("DAGRegressor((10,), optimizer='lbfgs', max_iter=50)", marks=pytest.mark.slow),
    ],
)
def test_every_check_of_scikit_learn_passes(estimator):
    # Without the variable, scikit-learn skips one.
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(estimator)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) > 50
    assert [(name, status) for name, status in results if status != "passed"] == []


# -------------------------------------------------------------------------------------- loading


def test_scikit_learn_is_imported_with_the_first_estimator():
    run_python(
        "import sys, dagbp\n"
        "assert 'DAGClassifier' in dir(dagbp) and 'DAGRegressor' in dir(dagbp)\n"
        "assert 'sklearn' not in sys.modules\n"
        "dagbp.DAGRegressor\n"
        "assert 'sklearn' in sys.modules"
    )


@pytest.mark.parametrize(
    "use", ["dagbp.DAGClassifier", "dagbp.DAGRegressor", "import dagbp.estimators"]
)
def test_without_scikit_learn_the_error_names_the_extra(use):
    assert "done" in run_python(
        "import sys, dagbp\n"
        "sys.modules['sklearn'] = None\n"
        "from dagbp import *\n"
        "try:\n"
        f"    {use}\n"
        "except ImportError as error:\n"
        "    assert 'pip install \"dagbp[sklearn]\"' in str(error), error\n"
        "    print('done')"
    )


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="module 'dagbp' has no attribute 'DAGTransformer'"):
        dagbp.DAGTransformer  # noqa: B018


# ------------------------------------------------------------------------------ forms of a graph


def dag(n_features, n_outputs):
    return dagbp.random_dag(n_features + n_outputs + 20, 120, n_features, n_outputs, seed=0)


@pytest.mark.parametrize("graph", [(12,), (8, 6), [12], (), dag(4, 3), dag])
def test_forms_of_a_graph(graph):
    model = classifier(graph, activation="tanh").fit(X, NAMES)
    assert model.score(X, NAMES) > 0.9
    assert (len(model.network_.inputs), len(model.network_.outputs)) == (4, 3)
    assert model.graph is graph


def test_density():
    full = classifier((50,)).fit(X, NAMES).network_
    tenth = classifier((50,), density=0.1).fit(X, NAMES).network_
    assert full.n_edges == 50 * 7
    assert tenth.n_edges == dagbp.layered([4, 50, 3], density=0.1).number_of_edges()


def test_the_seed_draws_edges_weights_and_order():
    one, same, other = (
        made(DAGClassifier, density=0.5, batch_size=10, random_state=seed).fit(X, NAMES).network_
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one.parameters, same.parameters)
    assert set(one.to_networkx().edges) != set(other.to_networkx().edges)
    state = np.random.RandomState(1)
    drawn = made(DAGClassifier, density=0.5, batch_size=10, random_state=state).fit(X, NAMES)
    assert np.array_equal(drawn.network_.parameters, one.parameters)
    again = drawn.fit(X, NAMES).network_
    assert not np.array_equal(again.parameters, one.parameters)


def test_activation_is_for_nodes_without_their_own():
    G = dag(4, 3)
    for node in list(G)[::2]:
        G.nodes[node].pop("activation", None)
    drawn = made(DAGClassifier, graph=G, activation="gelu").fit(X, NAMES).network_.to_networkx()
    for node in G:
        expected = (
            "identity" if G.out_degree(node) == 0 else G.nodes[node].get("activation", "gelu")
        )
        assert drawn.nodes[node].get("activation", expected) == expected
    sizes = made(DAGClassifier, graph=(5,), activation="gelu").fit(X, NAMES).network_.to_networkx()
    assert sizes.nodes[1, 0]["activation"] == "gelu"


def test_first_weights_and_biases():
    G = dag(4, 3)
    nodes = [node for node in G if G.in_degree(node)]
    fixed, absent, given = nodes[:3]
    G.nodes[fixed]["trainable"] = False
    G.nodes[absent]["bias"] = None
    G.nodes[given]["bias"] = 5.0
    net = (
        made(DAGRegressor, graph=G, learning_rate_init=0.0)
        .fit(X, LABELS.reshape(-1, 1) == [0, 1, 2])
        .network_
    )
    biases, weights = net.biases, net.weights
    assert (biases[fixed], biases[absent], biases[given]) == (0, 0, 5)
    scaled = np.array([biases[node] * G.in_degree(node) ** 0.5 for node in nodes[3:]])
    assert 0.8 < np.abs(scaled).max() <= 1
    assert scaled.min() < 0 < scaled.max()
    bound = [6 / (G.in_degree(v) + G.out_degree(u)) for u, v in G.edges]
    assert (
        0.9
        < np.max([weights[edge] ** 2 / top for edge, top in zip(G.edges, bound, strict=True)])
        <= 1
    )
    other = (
        made(DAGRegressor, graph=G, init="zeros", learning_rate_init=0.0)
        .fit(X, Y[:, [0, 0, 0]])
        .network_
    )
    assert not any(other.weights.values())


COLUMNS = ["sepal length", "sepal width", "petal length", "petal width"]


def test_features_go_to_inputs_in_column_order():
    model = made(DAGRegressor, graph=dag(4, 2)).fit(X, Y)
    assert np.array_equal(model.predict(X), model.network_.predict(X))
    frame = made(DAGRegressor, graph=dag(4, 2)).fit(pd.DataFrame(X, columns=COLUMNS), Y)
    assert np.array_equal(frame.network_.parameters, model.network_.parameters)
    assert list(frame.feature_names_in_) == COLUMNS
    assert frame.n_features_in_ == 4


def test_features_go_to_inputs_of_their_name():
    G = names_of(dagbp.layered([4, 8, 2]), COLUMNS[::-1], ["first", "second"])
    G.edges["petal width", (1, 0)]["weight"] = 3.0
    frame = pd.DataFrame(X, columns=COLUMNS)
    targets = pd.DataFrame(Y, columns=["second", "first"])
    model = made(DAGRegressor, graph=G).fit(frame, targets)
    assert model.network_.inputs == COLUMNS
    assert model.network_.outputs == ["second", "first"]
    assert np.array_equal(model.predict(frame), model.network_.predict(frame))
    by_order = made(DAGRegressor, graph=G).fit(X, Y)
    assert by_order.network_.inputs == COLUMNS[::-1]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[COLUMNS[::-1]])


def test_classes_go_to_outputs_of_their_name():
    names = ["virginica", "setosa", "versicolor"]
    G = names_of(dagbp.layered([4, 8, 3]), COLUMNS, names)
    model = made(DAGClassifier, graph=G).fit(X, NAMES)
    assert model.network_.outputs == sorted(names)
    assert model.network_.inputs == COLUMNS


@pytest.mark.parametrize(
    ("graph", "y", "text"),
    [
        (dag(5, 3), NAMES, r"the graph has 5 inputs \(0, 1, 2, 3, 4\), but X has 4 features"),
        (dag(4, 2), NAMES, r"2 outputs \(24, 25\), but y has 3 classes, which take 3$"),
        (dag(4, 4), LABELS, r"the graph has 4 outputs .* but y has 3 classes, which take 3$"),
        (dag(4, 3), LABELS > 0, r"3 outputs .* but y has 2 classes, which take 1, or 2$"),
        (dag(4, 3), np.eye(3)[LABELS][:, :2], r"3 outputs .* but y has 2 labels, which take 2$"),
        (lambda n, k: dag(n + 1, k), NAMES, "the graph has 5 inputs .* but X has 4 features"),
    ],
)
def test_graphs_that_do_not_fit_the_data(graph, y, text):
    with pytest.raises(GraphError, match=text):
        made(DAGClassifier, graph=graph).fit(X, y)


def test_graphs_that_do_not_fit_the_targets():
    with pytest.raises(GraphError, match=r"1 outputs \(24\), but y has 2 targets, which take 2$"):
        made(DAGRegressor, graph=dag(4, 1)).fit(X, Y)


def test_one_output_stands_for_the_second_class():
    X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, ["benign", "benign", "malignant", "malignant"] * 5
    for name, fits in (("malignant", True), ("tumour", True), ("benign", False)):
        model = DAGClassifier(nx.DiGraph([("x", "h"), ("h", name)]), tol=None, max_iter=1)
        if fits:
            model.fit(X, y)
            continue
        with pytest.raises(
            GraphError, match=r"output must be named after .* 'malignant', got 'benign"
        ):
            model.fit(X, y)


def test_inputs_of_which_some_are_columns():
    G = names_of(dagbp.layered([4, 8, 3]), [*COLUMNS[:3], "stem"], ["a", "b", "c"])
    with pytest.raises(
        GraphError, match="input 'stem' of the graph is not a column of X, but other"
    ):
        made(DAGClassifier, graph=G).fit(pd.DataFrame(X, columns=COLUMNS), NAMES)


@pytest.mark.parametrize("graph", [3, "sizes", None, nx.path_graph(3)])
def test_what_is_no_graph(graph):
    with pytest.raises(OptionError, match=r"graph must be a networkx.DiGraph, a callable .* got"):
        made(DAGClassifier, graph=graph).fit(X, NAMES)


def test_a_callable_that_returns_no_graph():
    with pytest.raises(OptionError, match=r"graph\(n_features, n_outputs\) must return .* got 7"):
        made(DAGClassifier, graph=lambda n, k: n + k).fit(X, NAMES)


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
def test_y_that_are_no_classes(y, text):
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


# ----------------------------------------------------------------------------- runs, and going on


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
def test_warm_start_goes_on(cls, y):
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


def test_what_partial_fit_refuses():
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


def test_what_is_held_out():
    y = np.where(np.arange(150) < 30, "few", "many")  # every fifth
    seen = []

    class Spy(DAGClassifier):
        def _score_of(self, outputs, targets, weight):
            seen.append((len(targets), np.bincount(targets).tolist(), weight))
            return super()._score_of(outputs, targets, weight)

    Spy((4,), early_stopping=True, validation_fraction=0.2, max_iter=1, tol=None).fit(X, y)
    assert seen == [(30, [6, 24], None)]


def test_endless_early_stopping_takes_all_passes():
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


# --------------------------------------------------------------------------- within scikit-learn


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_pickles_and_clones(cls, y):
    model = made(cls, graph=dag).fit(X, y)
    back = pickle.loads(pickle.dumps(model))
    assert np.array_equal(back.predict(X), model.predict(X))
    assert np.array_equal(
        back.partial_fit(X, y).network_.parameters, model.partial_fit(X, y).network_.parameters
    )
    new = clone(model)
    assert not hasattr(new, "network_")
    assert new.graph is dag


def test_cross_validation_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), classifier())
    scores = cross_val_score(pipeline, X, NAMES, cv=3)
    assert scores.min() > 0.9
    weighted = pipeline.fit(X, NAMES, dagclassifier__sample_weight=np.ones(150))
    assert weighted.score(X, NAMES) > 0.95


def test_a_grid_of_topologies_on_two_processes():
    graphs = [(), (8,), (6, 4), dag(4, 3), dag, dagbp.residual([4, 5, 5, 3])]
    runs = []
    for _ in range(2):
        grid = GridSearchCV(
            made(DAGClassifier, learning_rate_init=0.02, max_iter=50),
            {"graph": graphs, "density": [0.5, 1.0]},
            cv=3,
            n_jobs=2,
        ).fit(X, NAMES)
        runs.append(grid)
    one, two = runs
    assert one.best_score_ > 0.9
    assert len(one.cv_results_["params"]) == 12
    assert one.best_index_ == two.best_index_
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert np.array_equal(one.best_estimator_.predict(X), two.best_estimator_.predict(X))


def test_digits():
    Z, y = load_digits(return_X_y=True)
    model = classifier((64,), density=0.3, max_iter=50, learning_rate_init=0.01)
    assert cross_val_score(model, Z / 16, y, cv=3).mean() > 0.9


@pytest.mark.parametrize("cls", [DAGClassifier, DAGRegressor])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"optimizer": "bogus"}, dagbp.OptionError),
        ({"graph": dagbp.layered([7, 2])}, dagbp.GraphError),
        ({"optimizer": dagbp.optimizers.SGD(learning_rate=1e300)}, dagbp.DivergenceError),
    ],
)
def test_a_fit_that_fails_leaves_the_model_before(cls, bad, error):
    y = LABELS if cls is DAGClassifier else Y
    model, unfitted = made(cls).fit(X, y), made(cls)
    expected, attributes = model.predict(X), sorted(vars(model))
    with pytest.raises(error):
        model.set_params(**bad).fit(X[:, ::-1], np.flip(y, 0))
    assert np.array_equal(model.predict(X), expected)
    assert sorted(vars(model)) == attributes
    with pytest.raises(error):
        unfitted.set_params(**bad).fit(X, y)
    with pytest.raises(NotFittedError):
        unfitted.predict(X)


def test_an_interrupted_fit_keeps_what_it_has_learnt():
    class Interrupt(Callback):
        def on_epoch_end(self, progress):
            raise KeyboardInterrupt

    model = made(DAGClassifier, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, LABELS)
    assert model.network_.history.n_updates > 0
    assert model.predict(X).shape == (150,)


def test_numbers_of_numpy_are_whole_numbers():
    made(DAGRegressor, verbose=np.int64(0), max_iter=np.int32(2), tol=None).fit(X, Y)


def test_an_activation_of_ones_own_goes_to_other_processes():
    def half(s):
        return 0.5 * s if s < 0 else s

    def d_half(s, x):
        return 0.5 if s < 0 else 1.0

    leak = dagbp.activations.register("half_relu_here", half, d_half)
    model = made(DAGClassifier, activation=leak)
    scores = cross_val_score(model, X, LABELS, n_jobs=2, cv=2, error_score="raise")
    assert np.array_equal(scores, cross_val_score(model, X, LABELS, cv=2))
    G = model.fit(X, LABELS).network_.to_networkx()
    assert G.nodes[1, 0]["activation"] == "half_relu_here"


def test_a_loss_of_ones_own_goes_to_other_processes():
    loss = dagbp.losses.register(
        "cubed_here", lambda x, y: abs(x - y) ** 3, lambda x, y: 3 * (x - y) * abs(x - y)
    )
    model = made(DAGRegressor, loss=loss)
    scores = cross_val_score(model, X, Y, n_jobs=2, cv=2, error_score="raise")
    assert np.array_equal(scores, cross_val_score(model, X, Y, cv=2))


def test_the_last_loss():
    model = made(DAGRegressor).fit(X, Y)
    assert model.loss_ == model.loss_curve_[-1]


def test_the_same_bits_on_any_number_of_threads():
    several = [
        made(DAGRegressor, schedule="levels", n_threads=n).fit(X, Y).network_.parameters
        for n in (1, 2)
    ]
    assert np.array_equal(*several)
    with pytest.raises(OptionError, match="schedule"):
        made(DAGRegressor, schedule="threads").fit(X, Y)


@pytest.mark.parametrize(("cls", "y"), BOTH)
def test_early_stopping_by_the_loss_of_what_is_held_out(cls, y):
    seen = []

    class Look(Callback):
        def on_epoch_end(self, progress):
            seen.append(progress.val_loss)

    options = {"early_stopping": True, "scoring": "loss", "max_iter": 40}
    model = made(cls, callbacks=[Look()], **options).fit(X, y)
    assert model.validation_scores_ == [-loss for loss in model.network_.history.val_loss]
    assert model.best_validation_score_ == max(model.validation_scores_)
    by_score = made(cls, **{**options, "scoring": "score"}).fit(X, y)
    assert by_score.validation_scores_ != model.validation_scores_
    with pytest.raises(OptionError, match="scoring must be 'score' or 'loss', got 'auc'"):
        made(cls, scoring="auc").fit(X, y)


def test_callbacks_may_monitor_what_is_held_out():
    model = made(DAGClassifier, callbacks=[ReduceOnPlateau()], early_stopping=True).fit(X, NAMES)
    assert len(model.network_.history.val_loss) == model.n_iter_
    plain = made(DAGClassifier, early_stopping=True).fit(X, NAMES)
    assert plain.network_.history.val_loss == []  # nobody asked for it
    assert np.array_equal(plain.network_.parameters, model.network_.parameters)
