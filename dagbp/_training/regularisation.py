"""Penalties, norm limits and dropout: from labels of the graph to arrays by parameter and row."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from dagbp._checks import Requirement, is_number, real_array
from dagbp._engine.protocol import Engine
from dagbp._errors import OptionError
from dagbp._graph.arrays import listed
from dagbp._model.model import Model
from dagbp._plan.names import Names

Float64 = npt.NDArray[np.float64]

_POSITIVE = Requirement("a number > 0", lambda value: is_number(value) and value > 0)
_SHARE = Requirement("a number in [0, 1)", lambda value: is_number(value) and 0 <= value < 1)


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """A term of the objective: sum of ``l1 |w| + l2 w^2 / 2`` over some parameters.

    Several penalties of one run add up. `History.loss` includes them; `History.val_loss` does not.

    Parameters
    ----------
    l1, l2 : float
        Coefficients, >= 0.
    edges : iterable of (source, target), or bool array (n_edges,), optional
        Penalise the weights of these edges; an array is in the order of `Network.parameters`.
    nodes : iterable of nodes, optional
        Penalise the weights of all edges into these nodes. Without `edges` and `nodes`: all
        weights.
    biases : bool
        Penalise biases too: those of `nodes` if given; all of them if neither `edges` nor `nodes`
        is given. With `edges` alone it has no effect.

    Examples
    --------
    >>> import networkx as nx, dagbp
    >>> net = dagbp.compile(nx.DiGraph([("a", "h"), ("h", "y")]), seed=0)
    >>> penalties = [dagbp.Penalty(l2=1e-4), dagbp.Penalty(l1=1e-3, edges=[("a", "h")])]
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], penalties=penalties, epochs=1)
    """

    l1: float = 0.0
    l2: float = 0.0
    edges: Iterable[tuple[Hashable, Hashable]] | npt.NDArray[np.bool_] | None = None
    nodes: Iterable[Hashable] | None = None
    biases: bool = False

    def __post_init__(self) -> None:
        """Check the coefficients."""
        for name in ("l1", "l2"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise OptionError(f"Penalty: {name} must be a number >= 0, got {value!r}")
        for name in ("edges", "nodes"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, np.ndarray):
                if not isinstance(value, Iterable):
                    raise OptionError(f"Penalty: {name} must be a list of {name}, got {value!r}")
                object.__setattr__(self, name, tuple(value))  # an iterator can be read only once
        if not isinstance(self.biases, (bool, np.bool_)):
            raise OptionError(f"Penalty: biases must be True or False, got {self.biases!r}")


@dataclass(frozen=True, eq=False)
class Regularisation:
    """The penalties, norm limits and dropout of a run; None for each that is not used.

    `l1` and `l2` have a coefficient for each of `Network.parameters`, 0 where a parameter does not
    train. `max_norm` has the largest norm of the in-weights of each row, infinite for no limit.
    `keep_probability` has the probability that a row is not dropped in a step. `described` has each
    argument as a text, which differs for different values.
    """

    l1: Float64 | None = None
    l2: Float64 | None = None
    max_norm: Float64 | None = None
    keep_probability: Float64 | None = None
    described: Mapping[str, str] = field(default_factory=dict)

    def penalty(self, parameters: npt.NDArray[Any]) -> tuple[float, Float64]:
        """Return the penalty of these parameters and its gradient, (n_parameters,)."""
        assert self.l1 is not None
        assert self.l2 is not None
        p = parameters.astype(np.float64)
        value = float(self.l1 @ np.abs(p) + 0.5 * (self.l2 @ (p * p)))
        return value, self.l1 * np.sign(p) + self.l2 * p


def regularisation(
    model: Model,
    penalties: Sequence[Penalty],
    max_norm: float | Mapping[Hashable, float] | None,
    dropout: float | Mapping[Hashable, float],
    input_dropout: float,
) -> Regularisation:
    """Return the arguments of `fit` with these names as arrays, checked."""
    names, engine = model.names, model.engine
    l1, l2 = _coefficients(names, engine, penalties)
    limits = _norm_limits(names, engine, max_norm)
    kept = _keep_probabilities(names, engine, dropout, input_dropout)
    described = {
        "penalties": f"l1 {_described(l1)}, l2 {_described(l2)}",
        "max_norm": _described(limits),
        "dropout": "none" if kept is None else _described(1 - kept),
    }
    return Regularisation(l1, l2, limits, kept, described)


def _described(values: Float64 | None) -> str:
    """Return the range and a checksum of values as text."""
    if values is None:
        return "none"
    return f"{values.min():g} to {values.max():g} ({crc32(values.data):08x})"


def _coefficients(
    names: Names, engine: Engine, penalties: Sequence[Penalty]
) -> tuple[Float64 | None, Float64 | None]:
    if isinstance(penalties, Penalty) or not isinstance(penalties, Iterable):
        raise OptionError(f"penalties must be a list of dagbp.Penalty, got {penalties!r}")
    given = list(penalties)
    for penalty in given:
        if not isinstance(penalty, Penalty):
            raise OptionError(f"penalties must be a list of dagbp.Penalty, got {penalty!r} in it")
    if not given:
        return None, None
    size = engine.n_edges + engine.n_computed
    l1, l2 = np.zeros(size), np.zeros(size)
    for penalty in given:
        chosen = _parameters_of(names, engine, penalty)
        l1[chosen] += penalty.l1
        l2[chosen] += penalty.l2
    l1[~engine.parameters.trained] = l2[~engine.parameters.trained] = 0
    return (l1, l2) if l1.any() or l2.any() else (None, None)


def _parameters_of(names: Names, engine: Engine, penalty: Penalty) -> npt.NDArray[np.bool_]:
    """Return the mask of the parameters that a penalty applies to."""
    plan, n_edges = engine.plan, engine.n_edges
    chosen = np.zeros(n_edges + engine.n_computed, np.bool_)
    everywhere = penalty.edges is None and penalty.nodes is None
    if everywhere:
        chosen[:n_edges] = True
        chosen[n_edges:] = penalty.biases
    if penalty.edges is not None:
        chosen[:n_edges][_edge_slots(names, n_edges, penalty.edges)] = True
    for node in penalty.nodes if penalty.nodes is not None else ():
        row = _row_of(names, node, "Penalty: nodes")
        chosen[plan.in_ptr[row] : plan.in_ptr[row + 1]] = True
        if penalty.biases and row >= plan.n_inputs:
            chosen[n_edges + row - plan.n_inputs] = True
    if penalty.nodes and not chosen.any():
        raise OptionError(
            f"Penalty: nodes must have in-edges, got {listed(list(penalty.nodes), 5)}"
        )
    return chosen


def _edge_slots(names: Names, n_edges: int, edges: Any) -> npt.NDArray[np.int64]:
    if isinstance(edges, np.ndarray) and edges.dtype == np.bool_:
        if edges.shape != (n_edges,):
            raise OptionError(
                f"Penalty: edges, as a bool array, must have shape ({n_edges},), one for each "
                f"edge, got shape {edges.shape}"
            )
        return np.flatnonzero(edges)
    slots = []
    try:
        for edge in edges:
            slots.append(names.slot(tuple(edge)))
    except (KeyError, TypeError) as error:
        raise OptionError(
            f"Penalty: edges must be edges of the graph, (source, target): {error.args[0]}"
        ) from error
    return np.array(slots, np.int64)


def _row_of(names: Names, node: Any, what: str) -> int:
    try:
        return names.row(node)
    except (KeyError, TypeError):
        raise OptionError(f"{what} must be nodes of the graph, got {node!r}") from None


def _by_row(
    names: Names,
    values: Mapping[Hashable, float],
    what: str,
    result: Float64,
    requirement: Requirement,
) -> None:
    """Fill result[row] from a mapping by node."""
    for node, value in values.items():
        requirement.check(f"{what} of node {node!r}", value)
        result[_row_of(names, node, what)] = value


def _norm_limits(
    names: Names, engine: Engine, max_norm: float | Mapping[Hashable, float] | None
) -> Float64 | None:
    if max_norm is None:
        return None
    limits = np.full(len(engine.plan.node), np.inf)
    if isinstance(max_norm, Mapping):
        _by_row(names, max_norm, "max_norm", limits, _POSITIVE)
        if max_norm and not np.isfinite(limits[engine.plan.n_inputs :]).any():
            raise OptionError(f"max_norm: nodes must have in-edges, got {listed([*max_norm], 5)}")
    else:
        _POSITIVE.check("max_norm", max_norm)
        limits[engine.plan.n_inputs :] = max_norm
    return limits


def _keep_probabilities(
    names: Names, engine: Engine, dropout: float | Mapping[Hashable, float], input_dropout: float
) -> Float64 | None:
    plan = engine.plan
    rates = np.zeros(len(plan.node))
    _SHARE.check("input_dropout", input_dropout)
    if isinstance(dropout, Mapping):
        _by_row(names, dropout, "dropout", rates, _SHARE)
    else:
        _SHARE.check("dropout", dropout)
        rates[plan.n_inputs :] = dropout
        rates[plan.outputs] = 0
    rates[: plan.n_inputs] = np.maximum(rates[: plan.n_inputs], input_dropout)
    return 1 - rates if rates.any() else None


def bounds_by_parameter(
    names: Names, engine: Engine, bounds: Any
) -> tuple[Float64, Float64] | None:
    """Return the lower and the upper bounds of all parameters, each (n_parameters,).

    bounds: None; (lower, upper), each a number or an array (n_parameters,); or a mapping from edges
    (weights) and nodes (biases) to pairs of numbers.
    """
    if bounds is None:
        return None
    size, n_inputs = engine.n_edges + engine.n_computed, engine.plan.n_inputs
    lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
    if isinstance(bounds, Mapping):
        for key, pair in bounds.items():
            try:
                place = names.slot(key) if isinstance(key, tuple) and len(key) == 2 else None
            except KeyError:
                place = None
            if place is None:
                row = _row_of(names, key, "bounds: keys other than edges")
                if row < n_inputs:
                    raise OptionError(f"bounds: node {key!r} is an input, which has no bias")
                place = engine.n_edges + row - n_inputs
            lower[place], upper[place] = _pair(pair, f"of {key!r}", ())
    else:
        lower[:], upper[:] = _pair(bounds, "", (size,))
    wrong = np.flatnonzero(~(lower <= upper))
    if len(wrong):
        k = int(wrong[0])
        raise OptionError(
            f"bounds: the lower one must be <= the upper one, got {lower[k]} and {upper[k]} for "
            f"parameter {k}"
        )
    return lower, upper


def _pair(pair: Any, of_what: str, shape: tuple[int, ...]) -> tuple[Float64, Float64]:
    what = f"bounds {of_what}".rstrip()
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise OptionError(f"{what} must be a pair (lower, upper), got {pair!r}")
    ends = []
    for value, default in zip(pair, (-np.inf, np.inf), strict=True):
        array = real_array(default if value is None else value, what).astype(np.float64)
        if array.shape not in ((), shape):
            need = f"numbers or arrays of shape {shape}" if shape else "two numbers, or None"
            raise OptionError(f"{what} must be {need}, got {value!r}")
        ends.append(array)
    return ends[0], ends[1]
