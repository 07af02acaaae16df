"""Plans a graph; errors and warnings name nodes by their labels."""

import warnings
from collections.abc import Hashable, Sequence

from dagbp._errors import GraphError, UnreachableWarning
from dagbp._graph.arrays import GraphArrays, listed
from dagbp._plan.clustering import DEFAULT, Clustering, cluster_rows
from dagbp._plan.plan import CycleFound, EdgeRepeated, Plan, make_plan, reached


def plan_graph(
    graph: GraphArrays, stacklevel: int = 3, clustering: Clustering | None = DEFAULT
) -> Plan:
    """Return the plan of a graph; without `clustering` the rows of a class stay in graph order.

    GraphError if the graph has a cycle or an edge twice. UnreachableWarning if there are inputs,
    and an output that none of them reaches; its `stacklevel` 3 is the caller of the caller.
    """
    ends = graph.src, graph.dst, graph.inputs, graph.outputs
    try:
        plan = make_plan(len(graph.labels), *ends, node_class=graph.activation)
    except CycleFound as cycle:
        labels = [graph.labels[i] for i in cycle.nodes]
        raise GraphError(f"the graph has a cycle: {_show_cycle(labels)}") from None
    except EdgeRepeated as repeated:
        first, second = repeated.edges
        i, j = (graph.labels[ends[first]] for ends in (graph.src, graph.dst))
        raise GraphError(
            f"edge {i!r} -> {j!r} is given twice, at positions {first} and {second}"
        ) from None
    if clustering is not None:
        plan = cluster_rows(plan, graph.activation, clustering)
    missed = graph.outputs[~reached(plan)[plan.outputs]]
    if plan.n_inputs and len(missed):
        text = listed([graph.labels[i] for i in missed], 5)
        warnings.warn(
            f"no input reaches output {text}: its prediction does not depend on the features",
            UnreachableWarning,
            stacklevel=stacklevel,
        )
    return plan


def _show_cycle(labels: Sequence[Hashable]) -> str:
    shown = [repr(label) for label in labels]
    if len(shown) > 10:
        shown = [*shown[:5], f"... {len(shown) - 10} more ...", *shown[-5:]]
    return " -> ".join([*shown, repr(labels[0])])
