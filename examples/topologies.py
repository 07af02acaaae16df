"""Search for the best topology with 2,000 edges on handwritten digits, with scikit-learn.

The candidates are a fully connected hidden layer, a wider one with a fifth of its edges, layers
with shortcuts, a random DAG, and a small world. For `GridSearchCV`, a topology is an ordinary
parameter: sizes of hidden layers with a density, or a function that draws a graph for the data. The
data are the 1,797 scans of 8 x 8 pixels that scikit-learn contains. A quarter is held out until the
end.

Run it with `python examples/topologies.py`, on all cores with `--jobs -1`, or quickly with
`--epochs 5`.
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

import dagbp

EDGES = 2000
RATES = [0.002, 0.005]


def shortcuts(n_features, n_outputs):
    """Draw three hidden layers; each reads the two layers before it."""
    sizes = [n_features, 50, 40, 30, n_outputs]
    density = EDGES / dagbp.residual(sizes).number_of_edges()
    return dagbp.residual(sizes, density=density, seed=0)


def random_dag(n_features, n_outputs):
    """Draw 120 hidden nodes on four levels; each reads random nodes of earlier levels."""
    n_nodes = n_features + 120 + n_outputs
    return dagbp.random_dag(n_nodes, EDGES, n_features, n_outputs, depth=5, seed=0)


def small_world(n_features, n_outputs):
    """Draw a ring of 130 hidden nodes, a fifth of its edges rewired; 1,946 edges for digits."""
    return dagbp.watts_strogatz(130, 14, 0.2, n_features, n_outputs, seed=0)


CANDIDATES = {
    "fully connected": {"graph": [(27,)]},
    "wide and sparse": {"graph": [(135,)], "density": [0.2]},
    "shortcuts": {"graph": [shortcuts]},
    "random DAG": {"graph": [random_dag]},
    "small world": {"graph": [small_world]},
}


def main():
    """Search, and print the score of every candidate."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training scans")
    parser.add_argument("--jobs", type=int, default=1, help="processes; -1: one for each core")
    options = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)
    model = dagbp.DAGClassifier(max_iter=options.epochs, tol=None, batch_size=32, random_state=0)
    grid = [{**candidate, "learning_rate_init": RATES} for candidate in CANDIDATES.values()]
    search = GridSearchCV(model, grid, n_jobs=options.jobs).fit(X_train, y_train)
    names = [f"{name}, learning rate {rate}" for name in CANDIDATES for rate in RATES]
    for name, score in zip(names, search.cv_results_["mean_test_score"], strict=True):
        print(f"{name:36} {score:.2%}")
    edges = search.best_estimator_.network_.n_edges
    print(f"\nBest: {names[search.best_index_]}, with {edges:,} edges")
    print(f"{search.score(X_test, y_test):.2%} held-out accuracy")


if __name__ == "__main__":
    main()
