"""Back-propagation over arbitrary DAGs: compiles a NetworkX graph and trains it with Numba kernels.

>>> import networkx as nx
>>> import dagbp
>>> G = nx.DiGraph([("a", "h"), ("b", "h"), ("h", "y"), ("a", "y")])
>>> net = dagbp.compile(G, seed=0)
>>> history = net.fit([[0.0, 1.0], [1.0, 1.0]], [1.0, 0.0], epochs=3, verbose=0)
>>> len(history.loss)
3
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dagbp import activations, callbacks, losses, optimizers
from dagbp._compile import compile, load
from dagbp._engine.profile import Part, Profile
from dagbp._errors import (
    CallbackError,
    CheckpointError,
    DagbpError,
    DagbpWarning,
    DataError,
    DerivativeError,
    DivergenceError,
    GraphError,
    IgnoredArgumentWarning,
    MemoryLimitError,
    MissingPackageError,
    OptionError,
    UnreachableWarning,
)
from dagbp._graph.builders import from_adjacency
from dagbp._graph.layers import layered, residual
from dagbp._graph.random_graphs import barabasi_albert, random_dag, watts_strogatz
from dagbp._history import History
from dagbp._model.views import Backprop, Forward
from dagbp._network import Network
from dagbp._training.regularisation import Penalty
from dagbp._version import __version__

if TYPE_CHECKING:
    from dagbp.estimators import DAGClassifier as DAGClassifier
    from dagbp.estimators import DAGRegressor as DAGRegressor

__all__ = [
    "Backprop",
    "CallbackError",
    "CheckpointError",
    "DagbpError",
    "DagbpWarning",
    "DataError",
    "DerivativeError",
    "DivergenceError",
    "Forward",
    "GraphError",
    "History",
    "IgnoredArgumentWarning",
    "MemoryLimitError",
    "MissingPackageError",
    "Network",
    "OptionError",
    "Part",
    "Penalty",
    "Profile",
    "UnreachableWarning",
    "__version__",
    "activations",
    "barabasi_albert",
    "callbacks",
    "compile",
    "from_adjacency",
    "layered",
    "load",
    "losses",
    "optimizers",
    "random_dag",
    "residual",
    "watts_strogatz",
]

# Imported at first use. They are not in __all__, so `from dagbp import *` needs no scikit-learn.
_ESTIMATORS = ("DAGClassifier", "DAGRegressor")
_LEAVES = ("estimators", "plotting", "reference", "testing")


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(import_module("dagbp.estimators"), name)
    if name in _LEAVES:
        return import_module(f"dagbp.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ESTIMATORS, *_LEAVES})
