"""The argument `graph`: forms, sizes, columns of features and outputs of classes."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from iris import LABELS, NAMES, X, Y, classifier, dag, made, names_of

import dagbp
from dagbp import DAGClassifier, DAGRegressor, GraphError, OptionError


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
        (dag(4, 2), NAMES, r"2 outputs \(24, 25\), but y has 3 classes, which need 3$"),
        (dag(4, 4), LABELS, r"the graph has 4 outputs .* but y has 3 classes, which need 3$"),
        (dag(4, 3), LABELS > 0, r"3 outputs .* but y has 2 classes, which need 1, or 2$"),
        (dag(4, 3), np.eye(3)[LABELS][:, :2], r"3 outputs .* but y has 2 labels, which need 2$"),
        (lambda n, k: dag(n + 1, k), NAMES, "the graph has 5 inputs .* but X has 4 features"),
    ],
)
def test_graphs_that_do_not_fit_the_data(graph, y, text):
    with pytest.raises(GraphError, match=text):
        made(DAGClassifier, graph=graph).fit(X, y)


def test_graphs_that_do_not_fit_the_targets():
    with pytest.raises(GraphError, match=r"1 outputs \(24\), but y has 2 targets, which need 2$"):
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
def test_invalid_graph_arguments(graph):
    with pytest.raises(OptionError, match=r"graph must be a networkx.DiGraph, a callable .* got"):
        made(DAGClassifier, graph=graph).fit(X, NAMES)


def test_a_callable_that_returns_no_graph():
    with pytest.raises(OptionError, match=r"graph\(n_features, n_outputs\) must return .* got 7"):
        made(DAGClassifier, graph=lambda n, k: n + k).fit(X, NAMES)
