"""Groups of levels, and the number of edges between two groups."""

from typing import NamedTuple

import numpy as np

from dagbp.plotting._reading import Float64, Int64, Reading


class Groups(NamedTuple):
    """G groups of consecutive levels, and P pairs of different groups with edges between them."""

    level: Int64  # (G + 1,): the first level of each group, then the end of the last one
    first: Int64  # (G + 1,): the first row of each group, then the end of the last one
    inputs: Int64  # (G,): number of inputs
    outputs: Int64  # (G,): number of outputs
    source: Int64  # (P,): the groups from which the edges of each pair start
    target: Int64  # (P,): the groups at which they end
    n_edges: Int64  # (P,)
    strength: Float64  # (P,): mean |weight|
    inside: int  # number of edges within groups

    @property
    def nodes(self) -> Int64:
        """Number of nodes in each group."""
        return np.diff(self.first)


def cut_levels(reading: Reading, most: int) -> Int64:
    """Return the first level of each of at most `most` groups, then the end of the last group.

    Inputs are a group of their own, because they have no in-edges, no bias and no delta.
    """
    n = reading.n_levels
    if n <= most:
        return np.arange(n + 1)
    start = int(reading.plan.n_inputs > 0)
    size = -(-(n - start) // (most - start))
    return np.unique(np.concatenate([[0], np.arange(start, n, size), [n]]))


def group(reading: Reading, most: int) -> Groups:
    """Divide the levels into at most `most` groups."""
    level = cut_levels(reading, most)
    first = reading.first[level]
    n = len(first) - 1
    of_row = np.repeat(np.arange(n), np.diff(first))
    key = of_row[reading.source] * n + of_row[reading.target]
    n_edges = np.bincount(key, minlength=n * n)
    total = np.bincount(key, abs(reading.weight), minlength=n * n)
    inside = int(n_edges[:: n + 1].sum())
    n_edges[:: n + 1] = 0
    pairs = np.flatnonzero(n_edges)
    return Groups(
        level=level,
        first=first,
        inputs=np.bincount(of_row[: reading.plan.n_inputs], minlength=n),
        outputs=np.bincount(of_row[reading.plan.outputs], minlength=n),
        source=pairs // n,
        target=pairs % n,
        n_edges=n_edges[pairs],
        strength=total[pairs] / n_edges[pairs],
        inside=inside,
    )
