"""Reads the data for pictures from a network. Only this module uses the inside of `Network`."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import is_whole, real_array
from dagbp._errors import OptionError, did_you_mean
from dagbp._graph.arrays import listed, mask
from dagbp._layout.panels import in_runs
from dagbp._model.views import NodeValues
from dagbp._network import Network, model_of
from dagbp._plan.names import Names
from dagbp._plan.plan import Plan

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

FEW_NAMES = 50  # an error text lists all labels of a network up to this size


@dataclass(frozen=True, eq=False)
class Reading:
    """Data of a network: n nodes by row, E edges in in-edge order."""

    net: Network
    names: Names
    plan: Plan
    weight: Float64

    @cached_property
    def labels(self) -> Sequence[Hashable]:
        """Label of each row."""
        labels = self.names.graph.labels
        return [labels[i] for i in self.plan.node.tolist()]

    @cached_property
    def source(self) -> Int64:
        """Source row of each edge."""
        return self.plan.in_src.astype(np.int64)

    @cached_property
    def target(self) -> Int64:
        """Target row of each edge."""
        return np.repeat(np.arange(len(self.plan.node)), np.diff(self.plan.in_ptr))

    @cached_property
    def level(self) -> Int64:
        """Level of each row, counted from 0 also if there are no inputs."""
        level: Int64 = self.plan.level - self.plan.level[0]
        return level

    @cached_property
    def first(self) -> Int64:
        """First row of each level, then the end of the last level."""
        return np.searchsorted(self.level, np.arange(self.n_levels + 1))

    @property
    def n_levels(self) -> int:
        """Number of levels; none is empty."""
        return int(self.level[-1]) + 1

    @cached_property
    def is_output(self) -> Bool:
        """Mask of the rows that are outputs."""
        return mask(len(self.plan.node), self.plan.outputs)

    @cached_property
    def sizes(self) -> str:
        """Numbers of nodes, edges and levels in words."""
        return (
            f"{counted(self.net.n_nodes, 'node')}, {counted(self.net.n_edges, 'edge')}, "
            f"{counted(self.n_levels, 'level')}"
        )


def read(net: object) -> Reading:
    """Return the data of a network; refuse any other object."""
    if not isinstance(net, Network):
        hint = "; compile the graph first" if hasattr(net, "number_of_edges") else ""
        raise OptionError(f"net must be a dagbp.Network, got {type(net).__name__}{hint}")
    weight = net.parameters[: net.n_edges].astype(np.float64)
    return Reading(net, model_of(net).names, model_of(net).plan, weight)


@dataclass(frozen=True, eq=False)
class Slots:
    """The slots of kernels: edges and explicit zeros, arrays (n_slots,) in in-edge order.

    `source` and `target` are the rows of the two ends. `dense` slots run in a dense panel in the
    forward pass.
    """

    source: Array
    target: Int64
    dense: Bool
    explicit_zero: Bool


def read_slots(reading: Reading) -> Slots:
    """Return the slots of a network."""
    layout = model_of(reading.net).engine.layout
    plan = layout.plan
    explicit_zero = np.zeros(layout.n_slots, np.bool_)
    if layout.in_is_edge is not None:
        explicit_zero = layout.in_is_edge == 0
    return Slots(
        source=plan.in_src,
        target=np.repeat(np.arange(len(plan.node)), np.diff(plan.in_ptr)),
        dense=in_runs(layout.ins, layout.n_slots),
        explicit_zero=explicit_zero,
    )


def slopes(reading: Reading, s: Array) -> Float64:
    """Return theta'(s) with the network's own activations; s (n_computed,) by row."""
    graph, plan = reading.names.graph, reading.plan
    kind = graph.activation[plan.node[plan.n_inputs :]]
    slope = np.empty(len(s))
    for code, activation in enumerate(model_of(reading.net).engine.activations):
        here = kind == code
        if here.any():
            slope[here] = activation.slope(s[here])
    return slope


@dataclass(frozen=True, eq=False)
class Shades:
    """One number for each row, shown as its colour.

    `value` is NaN where no value is `given`. `where` names the samples, as in ", sample 3"; it is
    "" if values do not belong to samples.
    """

    value: Float64
    given: Bool
    where: str

    @property
    def note(self) -> str:
        """A note on values that are not finite; they have a colour of their own."""
        bad = int((self.given & ~np.isfinite(self.value)).sum())
        return f"; {counted(bad, 'value')} not finite" if bad else ""


def shades(
    reading: Reading, values: Mapping[Any, Any], sample: int | None, *, absolute: bool
) -> Shades:
    """Return one number for each node: the value of one sample, or the mean over all samples.

    With `absolute`, the numbers are magnitudes.
    """
    if not isinstance(values, Mapping):
        raise OptionError(
            "values must be a mapping of nodes to numbers or arrays over samples, such as "
            f"net.forward(X).x, got {type(values).__name__}"
        )
    rows, table = _table(reading, values)
    where = ""
    if table.ndim == 1:
        if sample is not None:
            raise OptionError(f"sample must be None for values without samples, got {sample!r}")
    elif sample is None:
        table, where = _mean(table, absolute)
    else:
        table, where = table[:, _checked_sample(sample, table.shape[1])], f", sample {sample}"
    value, given = np.full(len(reading.plan.node), np.nan), np.zeros(len(reading.plan.node), bool)
    value[rows], given[rows] = np.abs(table) if absolute else table, True
    return Shades(value, given, where)


def _table(reading: Reading, values: Mapping[Any, Any]) -> tuple[Int64, Array]:
    """Return the k rows that have values, and the values: (k,) or (k, n_samples)."""
    if isinstance(values, NodeValues) and values.names is reading.names:
        first, table = values.by_row()
        return first + np.arange(len(table)), table
    rows = np.array([_row(reading, label) for label in values], np.int64)
    columns = [real_array(value, f"values[{label!r}]") for label, value in values.items()]
    shapes = {column.shape for column in columns}
    if len(shapes) > 1 or any(len(shape) > 1 for shape in shapes):
        raise OptionError(
            "values must have one number for each node, or one array (n_samples,) for each, got "
            f"shapes {', '.join(map(str, sorted(shapes)))}"
        )
    return rows, np.array(columns, np.float64) if columns else np.empty(0)


def _row(reading: Reading, label: Any) -> int:
    try:
        return reading.names.row(label)
    except (KeyError, TypeError):
        labels = reading.names.graph.labels
        known = f". Known: {listed(labels, 5)}."
        if len(labels) <= FEW_NAMES:
            known = did_you_mean(label, labels)
        raise OptionError(f"values has node {label!r}, which does not exist{known}") from None


def _mean(table: Array, absolute: bool) -> tuple[Float64, str]:
    """Return the mean of each row, and the samples in words."""
    n_samples = table.shape[1]
    if n_samples == 0:
        raise OptionError("values has no samples")
    mean = np.asarray((np.abs(table) if absolute else table).mean(axis=1, dtype=np.float64))
    return mean, f", mean of {n_samples:,} samples" if n_samples > 1 else ""


def _checked_sample(sample: Any, n_samples: int) -> int:
    if not (is_whole(sample) and 0 <= sample < n_samples):
        raise OptionError(f"sample must be 0 ... {n_samples - 1}, or None, got {sample!r}")
    return int(sample)


def counted(n: int, thing: str) -> str:
    """Return a count with its noun, such as "2 edges"."""
    return f"{n:,} {thing}{'s' * (n != 1)}"
