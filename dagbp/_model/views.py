"""Values of nodes and edges as mappings from the labels of the user's graph."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._plan.names import Names

Array = npt.NDArray[Any]
Assign = Callable[[int, Any], Any]  # sets the parameter at a place; returns it as stored


class NodeValues(Mapping[Hashable, Any]):
    """One value, or one array over samples, for each node from `first_row` on; by label.

    `values[k]` belongs to the plan's row `first_row + k`.
    `names` are the network's: equal for all views of one network.
    """

    def __init__(
        self, names: Names, values: Array, first_row: int, assign: Assign | None = None
    ) -> None:
        self.names, self._values, self._first, self._assign = names, values, first_row, assign

    def _place(self, label: Hashable) -> int:
        place = self.names.row(label) - self._first
        if place < 0:
            raise KeyError(f"node {label!r} is an input; inputs have no such value")
        return place

    def __getitem__(self, label: Hashable) -> Any:
        return self._values[self._place(label)]

    def __iter__(self) -> Iterator[Hashable]:
        labels: Sequence[Hashable] = self.names.graph.labels
        rows = self.names.plan.row
        return (label for i, label in enumerate(labels) if rows[i] >= self._first)

    def __len__(self) -> int:
        return len(self._values)

    def by_row(self) -> tuple[int, Array]:
        """Return the first row and the array of values, of this row and all that follow."""
        return self._first, self._values

    def __setitem__(self, label: Hashable, value: Any) -> None:
        _assign(self._assign, self._values, self._place(label), value)

    def __repr__(self) -> str:
        return _show(self, "nodes")


class EdgeValues(Mapping[tuple[Hashable, Hashable], Any]):
    """One value for each edge, by the pair (source, target); values in in-edge order."""

    def __init__(self, names: Names, values: Array, assign: Assign | None = None) -> None:
        self.names, self._values, self._assign = names, values, assign

    def __getitem__(self, edge: tuple[Hashable, Hashable]) -> Any:
        return self._values[self.names.slot(edge)]

    def __iter__(self) -> Iterator[tuple[Hashable, Hashable]]:
        graph = self.names.graph
        labels = graph.labels
        return ((labels[i], labels[j]) for i, j in zip(graph.src, graph.dst, strict=True))

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, edge: tuple[Hashable, Hashable], value: Any) -> None:
        _assign(self._assign, self._values, self.names.slot(edge), value)

    def __repr__(self) -> str:
        return _show(self, "edges")


@dataclass(frozen=True)
class Forward:
    """Every node's signal and activation.

    Attributes
    ----------
    s : mapping of node to array (n_samples,)
        Signals (pre-activations) of the computed nodes.
    x : mapping of node to array (n_samples,)
        Activations; of an input node its feature.
    """

    s: NodeValues
    x: NodeValues

    @classmethod
    def of(cls, names: Names, s: Array, x: Array) -> "Forward":
        """Return the values of all rows by name."""
        return cls(_of_computed(names, s), NodeValues(names, x, 0))


@dataclass(frozen=True)
class Backprop:
    """The results of back-propagation, by the labels of the graph.

    Attributes
    ----------
    loss : float
        Averaged over samples, summed over outputs.
    s, x : mappings of node to array (n_samples,)
        Signals of the computed nodes, activations of all nodes.
    delta : mapping of node to array (n_samples,)
        Sensitivities de/ds of the computed nodes. Here e is the error of one sample, neither
        averaged nor weighted.
    grad_weight : mapping of (source, target) to float
        Gradient of `loss` with respect to each weight, also of edges that do not train.
    grad_bias : mapping of node to float
        Gradient of `loss` with respect to the biases of the computed nodes.
    """

    loss: float
    s: NodeValues
    x: NodeValues
    delta: NodeValues
    grad_weight: EdgeValues
    grad_bias: NodeValues

    @classmethod
    def of(
        cls, names: Names, loss: float, s: Array, x: Array, delta: Array, gradient: Array
    ) -> "Backprop":
        """Return the values of all rows, and a flat gradient, by name."""
        n_edges = len(names.plan.in_src)
        return cls(
            loss,
            _of_computed(names, s),
            NodeValues(names, x, 0),
            _of_computed(names, delta),
            EdgeValues(names, gradient[:n_edges]),
            NodeValues(names, gradient[n_edges:], names.plan.n_inputs),
        )


def _of_computed(names: Names, values: Array) -> NodeValues:
    first = names.plan.n_inputs
    return NodeValues(names, values[first:], first)


def _assign(assign: Assign | None, values: Array, place: int, value: Any) -> None:
    if assign is None:
        raise TypeError("these values are results and cannot be assigned")
    values[place] = assign(place, value)


def _show(view: Mapping[Any, Any], things: str) -> str:
    shown = [f"{key!r}: {_brief(view[key])}" for key, _ in zip(view, range(3), strict=False)]
    more = ", ..." if len(view) > len(shown) else ""
    return f"<{len(view)} {things}: {{{', '.join(shown)}{more}}}>"


def _brief(value: Any) -> str:
    return f"array of {len(value):,}" if isinstance(value, np.ndarray) else repr(value)
