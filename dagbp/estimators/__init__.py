"""scikit-learn estimators: `DAGClassifier` and `DAGRegressor`.

Nothing else in the package imports this module: `dagbp.DAGClassifier` loads it when it is asked
for, and scikit-learn with it.

>>> from dagbp.estimators import DAGClassifier, DAGRegressor
>>> DAGClassifier(graph=(16, 16), density=0.5)
DAGClassifier(density=0.5, graph=(16, 16))
"""

from dagbp.estimators._classifier import DAGClassifier
from dagbp.estimators._regressor import DAGRegressor

__all__ = ["DAGClassifier", "DAGRegressor"]
