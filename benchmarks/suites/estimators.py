"""DAGClassifier and DAGRegressor beside scikit-learn's MLPs: held-out scores, and time to fit.

    python -m benchmarks estimators

Both sides have the same hidden layer, optimizer, learning rate, penalty, batches and number of
passes. Features are standardised, and so are targets of regressors. No side stops early. The
penalty is the MLPs' default; "dagbp, own alpha" uses dagbp's, which was chosen on these data sets
with other seeds. Each seed draws five folds, weights and the order of samples. The score is
accuracy or R2 on the held-out fold. Fits take turns. A ratio of times is the median over pairs of
fits on the same samples. The first fit of a process loads or compiles kernels, and is reported
separately.
"""

import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_friedman1,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dagbp

from ..harness import command, environment, results

HIDDEN, BATCH, EPOCHS, RATE, ALPHA = (100,), 32, 100, 0.001, 1e-4
FOLDS, SEEDS = 5, 10


class Data(NamedTuple):
    """Samples by name."""

    name: str
    X: np.ndarray
    y: np.ndarray
    classes: bool


def skewed():
    """Return 2,000 samples with log-normal features, which resemble incomes or sizes of homes.

    The target is linear in the features' logarithms, plus noise of a ninth of its variance.
    """
    X, y = make_regression(2000, 8, n_informative=6, random_state=0)
    noise = np.random.default_rng(0).normal(size=len(y)) * y.std() / 3
    return np.exp(X), y + noise


def data_sets(quick):
    """Yield the data sets: four from scikit-learn, and two generated ones."""
    yield Data("wine", *load_wine(return_X_y=True), True)
    if quick:
        return
    yield Data("breast cancer", *load_breast_cancer(return_X_y=True), True)
    yield Data("digits", *load_digits(return_X_y=True), True)
    yield Data("diabetes", *load_diabetes(return_X_y=True), False)
    yield Data("friedman1", *make_friedman1(1000, noise=1.0, random_state=0), False)
    yield Data("skewed", *skewed(), False)


def contenders(classes, epochs):
    """Return the estimators by name."""
    shared = {"learning_rate_init": RATE, "batch_size": BATCH, "max_iter": epochs}
    mlp = {**shared, "alpha": ALPHA, "tol": 0.0, "n_iter_no_change": epochs}
    # The same penalty: MLPs divide theirs by the samples of a batch, and halve the squared error.
    alpha = ALPHA / BATCH if classes else 2 * ALPHA / BATCH
    ours = {**shared, "tol": None, "n_threads": environment.THREADS}
    theirs, own = (
        (MLPClassifier, dagbp.DAGClassifier) if classes else (MLPRegressor, dagbp.DAGRegressor)
    )
    return {
        "MLP": theirs(hidden_layer_sizes=HIDDEN, **mlp),
        "dagbp": own(HIDDEN, **ours, alpha=alpha),
        "dagbp, float32": own(HIDDEN, **ours, alpha=alpha, dtype="float32"),
        "dagbp, own alpha": own(HIDDEN, **ours),
    }


def pipeline(estimator, seed):
    """Return an estimator with this seed, behind standardised features and targets."""
    scaled = make_pipeline(StandardScaler(), clone(estimator).set_params(random_state=seed))
    if is_classifier(estimator):
        return scaled
    return TransformedTargetRegressor(scaled, transformer=StandardScaler())


def folds(data, seed):
    """Return pairs of training and held-out samples."""
    kind = StratifiedKFold if data.classes else KFold
    return kind(FOLDS, shuffle=True, random_state=seed).split(data.X, data.y)


def first_fit():
    """Return the seconds of the process's first fit: kernels from the cache, or compiled."""
    began = time.perf_counter()
    dagbp.DAGClassifier((4,), max_iter=1, tol=None).fit([[0.0], [1.0]], [0, 1])
    return time.perf_counter() - began


def measure(data, epochs, seeds):
    """Return each contender's scores and seconds (seeds * folds,) on a data set."""
    estimators = contenders(data.classes, epochs)
    scores, seconds = ({name: [] for name in estimators} for _ in range(2))
    for seed in range(seeds):
        for train, test in folds(data, seed):
            for name, estimator in estimators.items():
                model = pipeline(estimator, seed)
                began = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model.fit(data.X[train], data.y[train])
                seconds[name].append(time.perf_counter() - began)
                scores[name].append(model.score(data.X[test], data.y[test]))
    return [{name: np.array(values) for name, values in kind.items()} for kind in (scores, seconds)]


def rows_of(data, scores, seconds):
    """Return a row for each contender."""
    rows = []
    for name in scores:
        gap = scores[name] - scores["MLP"]
        rows.append(
            {
                "case": data.name,
                "measure": "accuracy" if data.classes else "R2",
                "peer": name,
                "score": scores[name].mean(),
                "over_mlp": gap.mean(),
                # Folds of one seed share samples, so that this is a rough measure.
                "standard_error": gap.std(ddof=1) / len(gap) ** 0.5,
                "fit_s": float(np.median(seconds[name])),
                "times_faster": float(np.median(seconds["MLP"] / seconds[name])),
            }
        )
    return rows


def main(arguments):
    """Print a table for all data sets, and write the rows."""
    options = command.start("estimators", __doc__, arguments)
    epochs, seeds = (5, 1) if options.quick else (EPOCHS, SEEDS)
    cold = first_fit()
    rows, lines = [], []
    for data in data_sets(options.quick):
        here = rows_of(data, *measure(data, epochs, seeds))
        for row in here:
            lines.append(
                [
                    f"{row['case']}, {row['measure']}" if row["peer"] == "MLP" else "",
                    row["peer"],
                    f"{row['score']:.4f}",
                    f"{row['over_mlp']:+.4f}",
                    f"{row['standard_error']:.4f}",
                    f"{row['fit_s']:.3f}",
                    f"{row['times_faster']:.1f}",
                ]
            )
        rows += here
    command.title(f"{FOLDS} folds x {seeds} seeds, {epochs} passes of batches of {BATCH}")
    header = ["", "", "score", "over MLP", "s.e.", "fit, s", "times faster"]
    command.table(header, lines)
    print(f"\nfirst fit of the process: {cold:.2f} s")
    results.save("estimators", [*rows, {"case": "first fit", "seconds": cold}], options.quick)
