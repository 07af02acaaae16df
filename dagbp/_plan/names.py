"""Finds rows and slots of the plan by the labels of the graph."""

from collections.abc import Hashable, Mapping
from functools import cached_property

import numpy as np

from dagbp._graph.arrays import GraphArrays
from dagbp._plan.plan import Plan


class Names:
    """The rows and slots of labels; shared by all views of one network."""

    def __init__(self, graph: GraphArrays, plan: Plan) -> None:
        self.graph, self.plan = graph, plan

    @cached_property
    def index(self) -> Mapping[Hashable, int]:
        """The index of each label in the graph arrays."""
        return {label: i for i, label in enumerate(self.graph.labels)}

    @cached_property
    def inputs(self) -> tuple[Hashable, ...]:
        """Labels in the order of the columns of X."""
        return tuple(self.graph.labels[i] for i in self.graph.inputs)

    @cached_property
    def outputs(self) -> tuple[Hashable, ...]:
        """Labels in the order of the columns of Y."""
        return tuple(self.graph.labels[i] for i in self.graph.outputs)

    def row(self, label: Hashable) -> int:
        """Return a node's row; KeyError if there is no such node."""
        try:
            return int(self.plan.row[self.index[label]])
        except KeyError:
            raise KeyError(f"the network has no node {label!r}") from None

    def slot(self, edge: tuple[Hashable, Hashable]) -> int:
        """Return an edge's place in in-edge order; KeyError if there is no such edge."""
        if not isinstance(edge, tuple) or len(edge) != 2:  # the text "ay" is no edge
            raise KeyError(f"{edge!r} is no edge; it must be a tuple (source, target)")
        try:
            source, target = self.row(edge[0]), self.row(edge[1])
        except TypeError:  # not hashable
            raise KeyError(f"{edge!r} is no edge: its ends are not hashable") from None
        first, last = self.plan.in_ptr[target], self.plan.in_ptr[target + 1]
        slot = int(first + np.searchsorted(self.plan.in_src[first:last], source))
        if slot == last or self.plan.in_src[slot] != source:
            raise KeyError(f"the network has no edge from {edge[0]!r} to {edge[1]!r}")
        return slot
