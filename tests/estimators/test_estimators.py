"""Estimators within scikit-learn: its checks, pickles, pipelines, searches, processes."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from iris import BOTH, LABELS, NAMES, X, Y, classifier, dag, made
from networks import run_python
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dagbp
from dagbp import DAGClassifier, DAGRegressor, OptionError
from dagbp.callbacks import Callback, ReduceOnPlateau

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


def test_an_interrupted_fit_keeps_its_parameters():
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


def test_an_activation_of_a_user_reaches_other_processes():
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


def test_a_loss_of_a_user_reaches_other_processes():
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
def test_early_stopping_by_the_loss_of_held_out_samples(cls, y):
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


def test_callbacks_may_monitor_held_out_samples():
    model = made(DAGClassifier, callbacks=[ReduceOnPlateau()], early_stopping=True).fit(X, NAMES)
    assert len(model.network_.history.val_loss) == model.n_iter_
    plain = made(DAGClassifier, early_stopping=True).fit(X, NAMES)
    assert plain.network_.history.val_loss == []  # nobody asked for it
    assert np.array_equal(plain.network_.parameters, model.network_.parameters)
