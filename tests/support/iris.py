"""The iris data, and estimators with the defaults of the tests."""

import networkx as nx
import numpy as np
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

import dagbp
from dagbp import DAGClassifier, DAGRegressor

X, LABELS = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])[LABELS]
Y = np.column_stack([X[:, 0] - X[:, 1], X[:, 2] * X[:, 3]])
BOTH = [(DAGClassifier, NAMES), (DAGRegressor, Y)]


def classifier(graph=(8,), **options):
    """Return a classifier that trains to the last pass."""
    defaults = {"learning_rate_init": 0.02, "random_state": 0, "tol": None}
    return DAGClassifier(graph, **{**defaults, **options})


def regressor(graph=(16,), **options):
    """Return a regressor that trains to the last pass."""
    defaults = {"learning_rate_init": 0.02, "random_state": 0, "tol": None}
    return DAGRegressor(graph, **{**defaults, **options})


def made(cls, **options):
    """Return an estimator of 20 passes."""
    return cls(**{"graph": (8,), "max_iter": 20, "random_state": 0, "tol": None, **options})


def names_of(G, inputs, outputs):
    """Return a layered graph of one hidden layer with these labels on its ends."""
    ends = {(0, i): label for i, label in enumerate(inputs)}
    ends |= {(2, i): label for i, label in enumerate(outputs)}
    return nx.relabel_nodes(G, ends)


def dag(n_features, n_outputs):
    """Return a random graph, as a callable argument `graph` does."""
    return dagbp.random_dag(n_features + n_outputs + 20, 120, n_features, n_outputs, seed=0)
