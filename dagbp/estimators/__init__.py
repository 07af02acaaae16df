"""scikit-learn estimators: `DAGClassifier` and `DAGRegressor`.

No other module imports this package, so that dagbp does not need scikit-learn. The first use of
`dagbp.DAGClassifier` or `dagbp.DAGRegressor` imports both.

>>> from dagbp.estimators import DAGClassifier, DAGRegressor
>>> DAGClassifier(graph=(16, 16), density=0.5)
DAGClassifier(density=0.5, graph=(16, 16))
"""

from dagbp.estimators._classifier import DAGClassifier
from dagbp.estimators._regressor import DAGRegressor

__all__ = ["DAGClassifier", "DAGRegressor"]
