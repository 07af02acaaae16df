"""Levels in place of nodes: groups of levels, and how many edges lead from one to another."""

from typing import NamedTuple

import numpy as np

from dagbp.plotting._reading import Float64, Int64, Reading


class Groups(NamedTuple):
    """G groups of consecutive levels, and P pairs of groups with edges between them.

    Attributes
    ----------
    level, first : int64 (G + 1,)
        First level, and first row, of each group; the end is last.
    inputs, outputs : int64 (G,)
        How many of the nodes are such.
    source, target : int64 (P,)
        Groups; a pair of one group with itself is left out.
    n_edges : int64 (P,)
    strength : float64 (P,)
        Mean |weight| of those edges.
    inside : int
        Edges within a group.
    """

    level: Int64
    first: Int64
    inputs: Int64
    outputs: Int64
    source: Int64
    target: Int64
    n_edges: Int64
    strength: Float64
    inside: int

    @property
    def nodes(self) -> Int64:
        """How many nodes each group has."""
        return np.diff(self.first)


def cut_levels(reading: Reading, most: int) -> Int64:
    """Return the first level of each of at most so many groups; the end is last.

    Inputs stay apart: they have no in-edges, no bias and no delta.
    """
    n = reading.n_levels
    if n <= most:
        return np.arange(n + 1)
    start = int(reading.plan.n_inputs > 0)
    size = -(-(n - start) // (most - start))
    return np.unique(np.concatenate([[0], np.arange(start, n, size), [n]]))


def group(reading: Reading, most: int) -> Groups:
    """Return at most so many groups."""
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
