"""Initial values: random weights scaled by in-degree, in a precision that holds them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._checks import generator, is_one_of
from dagbp._errors import GraphError, OptionError, did_you_mean
from dagbp._graph.arrays import GraphArrays
from dagbp._plan.edge_order import row_slices
from dagbp._plan.plan import Plan

SCHEMES = ("auto", "glorot", "he", "lecun", "zeros")
SLICE_EDGES = 1_000_000  # edges drawn at once: their random numbers take 64 bytes each


def draw_parameters(
    graph: GraphArrays,
    plan: Plan,
    scheme: str,
    seed: Any,
    dtype: np.dtype[Any],
    slice_edges: int = SLICE_EDGES,
) -> npt.NDArray[Any]:
    """Return the weights (E,) by in-edge, followed by the biases of the computed rows.

    Weights without a value in the graph are drawn at random:

    * ``"glorot"``: uniform, variance 2 / (in-degree of the target + out-degree of the source)
      (Glorot and Bengio, 2010);
    * ``"he"``: normal, variance 2 / in-degree (He et al., 2015);
    * ``"lecun"``: normal, variance 1 / in-degree (LeCun et al., 1998);
    * ``"zeros"``;
    * ``"auto"``: the scheme that the activation of the target names.
    """
    if not is_one_of(scheme, SCHEMES):
        raise OptionError(f"unknown init {scheme!r}{did_you_mean(scheme, SCHEMES)}")
    random = generator(seed)
    names = [activations.get(name).init for name in graph.activation_names]
    schemes = names if scheme == "auto" else [scheme] * len(names)
    by_node = np.array([SCHEMES.index(name) for name in schemes], np.int8)[graph.activation]
    in_degree, out_degree = np.diff(plan.in_ptr), np.diff(plan.out_ptr)
    n_edges, computed = len(plan.in_src), plan.node[plan.n_inputs :]
    parameters = np.empty(n_edges + len(computed), dtype)
    weights = parameters[:n_edges]
    parameters[n_edges:] = graph.bias[computed]
    none_drawn = not np.isnan(graph.weight).any()
    for first, last in row_slices(plan.in_ptr, slice_edges):
        slots = slice(plan.in_ptr[first], plan.in_ptr[last])
        given = graph.weight[plan.in_edge[slots]]
        if none_drawn:
            weights[slots] = given
            continue
        target = np.repeat(np.arange(first, last), in_degree[first:last])
        fan_in, fan_out = in_degree[target], out_degree[plan.in_src[slots]]
        normal = random.standard_normal(len(target))
        uniform = random.uniform(-1.0, 1.0, len(target))
        choices = {
            "glorot": uniform * np.sqrt(6.0 / (fan_in + fan_out)),
            "he": normal * np.sqrt(2.0 / fan_in),
            "lecun": normal * np.sqrt(1.0 / fan_in),
            "zeros": np.zeros(len(target)),
        }
        suited = by_node[plan.node[target]]
        drawn = np.choose(suited, [choices.get(name, normal) for name in SCHEMES])
        weights[slots] = np.where(np.isnan(given), drawn, given)
    return parameters


def check_representable(graph: GraphArrays, dtype: np.dtype[Any]) -> None:
    """Raise GraphError for initial values beyond the largest number of the dtype."""
    largest = float(np.finfo(dtype).max)
    if _magnitude(graph.weight) > largest:
        i = int(np.argmax(np.abs(graph.weight) > largest))
        u, v = graph.labels[graph.src[i]], graph.labels[graph.dst[i]]
        raise GraphError(
            f"edge {u!r} -> {v!r} has weight {graph.weight[i]}, which is beyond {dtype}"
        )
    if _magnitude(graph.bias) > largest:
        i = int(np.argmax(np.abs(graph.bias) > largest))
        raise GraphError(
            f"node {graph.labels[i]!r} has bias {graph.bias[i]}, which is beyond {dtype}"
        )


def _magnitude(values: npt.NDArray[np.float64]) -> float:
    """Return the largest magnitude; NaN does not count."""
    most, least = np.fmax.reduce(values, initial=0.0), np.fmin.reduce(values, initial=0.0)
    return float(max(most, -least))
