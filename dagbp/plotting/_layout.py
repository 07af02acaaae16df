"""Where nodes stand: levels from left to right, few crossings, no edge through a node."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dagbp.plotting._reading import Float64, Int64, Reading

SWEEPS = 8
# Bends to try for an edge that skips levels, as heights of its arc; levels are 1 high.
BENDS = (0.0, 0.05, 0.1, 0.16, 0.24, 0.34, 0.46)
CLEAR = 0.06  # of a node on the way, where its level has room


class Layout(NamedTuple):
    """Places of n nodes and shapes of E edges.

    Attributes
    ----------
    x, y : float64 (n,)
        x is the level; the nodes of a level of m stand at y = (k + 1/2) / m.
    bend : float64 (E,)
        How high an edge's parabola arches over the straight line; 0 between neighbouring levels.
    """

    x: Float64
    y: Float64
    bend: Float64


def lay_out(reading: Reading) -> Layout:
    """Return places and shapes."""
    source, target, level = reading.source, reading.target, reading.level
    y = _ordered(reading.first, source, target, level)
    return Layout(level.astype(np.float64), y, _bends(reading.first, source, target, level, y))


def arc(layout: Layout, source: Int64, target: Int64, t: Float64) -> Float64:
    """Return points of edges, (len(source), len(t), 2), at the shares t of their ways."""
    bend = layout.bend[:, None]
    x, y = (
        (1 - t) * ends[source][:, None] + t * ends[target][:, None] for ends in (layout.x, layout.y)
    )
    return np.stack([x, y + 4 * bend * t * (1 - t)], axis=-1)


def crossings(y: Float64, source: Int64, target: Int64, level: Int64) -> int:
    """Return how many pairs of edges cross between the same two levels."""
    pair = level[source] * (level[-1] + 1) + level[target]
    count = 0
    for key in np.unique(pair):
        a, b = y[source[pair == key]], y[target[pair == key]]
        count += int(np.count_nonzero((a[:, None] < a) & (b[:, None] > b)))
    return count


def _ordered(first: Int64, source: Int64, target: Int64, level: Int64) -> Float64:
    """Return y of each row after barycentre sweeps: the order with the fewest crossings seen."""
    sizes = np.diff(first)
    y = (np.arange(len(level)) - first[level] + 0.5) / sizes[level]
    best, least = y, crossings(y, source, target, level)
    for sweep in range(SWEEPS):
        if least == 0:
            break
        y = y.copy()
        levels = list(enumerate(pairwise(first.tolist())))
        for _, (a, b) in levels if sweep % 2 == 0 else levels[::-1]:
            here, other = (target, source) if sweep % 2 == 0 else (source, target)
            edges = np.flatnonzero((here >= a) & (here < b))
            degree = np.bincount(here[edges] - a, minlength=b - a)
            total = np.bincount(here[edges] - a, y[other[edges]], minlength=b - a)
            centre = np.where(degree > 0, total / np.maximum(degree, 1), y[a:b])
            rank = np.empty(b - a, np.int64)
            rank[np.lexsort((y[a:b], centre))] = np.arange(b - a)
            y[a:b] = (rank + 0.5) / (b - a)
        now = crossings(y, source, target, level)
        if now < least:
            best, least = y, now
    return best


def _bends(first: Int64, source: Int64, target: Int64, level: Int64, y: Float64) -> Float64:
    """Return the flattest bend of each edge that keeps clear of the nodes on its way."""
    span = level[target] - level[source]
    bend = np.zeros(len(span))
    skips = np.flatnonzero(span > 1)
    if len(skips) == 0:
        return bend
    # One entry for each edge and each level that it passes.
    passed = span[skips] - 1
    edge = np.repeat(np.arange(len(skips)), passed)
    start = np.cumsum(passed) - passed
    step = np.arange(len(edge)) - start[edge] + 1
    t = step / span[skips][edge]
    line = (1 - t) * y[source[skips]][edge] + t * y[target[skips]][edge]
    m = np.diff(first)[level[source[skips]][edge] + step]
    need = np.minimum(CLEAR, 0.3 / m)
    side = np.where(np.arange(len(skips)) % 2 == 0, 1.0, -1.0)  # both sides get their share
    chosen, clearest = np.zeros(len(skips)), np.full(len(skips), -1.0)
    for height in BENDS:
        for sign in (1, -1):
            at = line + 4 * (sign * height * side)[edge] * t * (1 - t)
            nearest = (np.clip(np.floor(at * m), 0, m - 1) + 0.5) / m
            clear = np.minimum.reduceat(np.minimum(abs(at - nearest) / need, 1), start)
            better = clear > clearest
            chosen[better], clearest[better] = (sign * height * side)[better], clear[better]
    bend[skips] = chosen
    return bend
