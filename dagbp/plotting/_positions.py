"""Positions of nodes: levels from left to right, few crossings, no edge across a node.

The order within levels is found by barycentre sweeps (Sugiyama, Tagawa and Toda 1981).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dagbp.plotting._reading import Float64, Int64, Reading

SWEEPS = 8
# Heights to try for the arc of an edge that skips levels; a level is 1 high.
BENDS = (0.0, 0.05, 0.1, 0.16, 0.24, 0.34, 0.46)
CLEAR = 0.06  # distance between an arc and a node that it passes, if the level has room


class Positions(NamedTuple):
    """Positions of n nodes, and shapes of E edges.

    x is the level. In a level of m nodes, node k has y = (k + 1/2) / m. `bend` is the height of
    each edge's parabola above the straight line; 0 between neighbouring levels.
    """

    x: Float64
    y: Float64
    bend: Float64


def place_nodes(reading: Reading) -> Positions:
    """Return the positions of all nodes and edges."""
    source, target, level = reading.source, reading.target, reading.level
    y = _ordered(reading.first, source, target, level)
    return Positions(level.astype(np.float64), y, _bends(reading.first, source, target, level, y))


def arc(positions: Positions, source: Int64, target: Int64, t: Float64) -> Float64:
    """Return points on edges, (len(source), len(t), 2), at the shares t of their lengths."""
    bend = positions.bend[:, None]
    x, y = (
        (1 - t) * ends[source][:, None] + t * ends[target][:, None]
        for ends in (positions.x, positions.y)
    )
    return np.stack([x, y + 4 * bend * t * (1 - t)], axis=-1)


def crossings(y: Float64, source: Int64, target: Int64, level: Int64) -> int:
    """Count the pairs of edges that cross between the same two levels."""
    pair = level[source] * (level[-1] + 1) + level[target]
    count = 0
    for key in np.unique(pair):
        a, b = y[source[pair == key]], y[target[pair == key]]
        count += int(np.count_nonzero((a[:, None] < a) & (b[:, None] > b)))
    return count


def _ordered(first: Int64, source: Int64, target: Int64, level: Int64) -> Float64:
    """Return y of each row in the order with the fewest crossings, of all barycentre sweeps."""
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
    """Return for each edge the lowest arc that keeps its distance from the nodes it passes."""
    span = level[target] - level[source]
    bend = np.zeros(len(span))
    skips = np.flatnonzero(span > 1)
    if len(skips) == 0:
        return bend
    # One entry for each pair of an edge and a level that it passes.
    passed = span[skips] - 1
    edge = np.repeat(np.arange(len(skips)), passed)
    start = np.cumsum(passed) - passed
    step = np.arange(len(edge)) - start[edge] + 1
    t = step / span[skips][edge]
    line = (1 - t) * y[source[skips]][edge] + t * y[target[skips]][edge]
    m = np.diff(first)[level[source[skips]][edge] + step]
    need = np.minimum(CLEAR, 0.3 / m)
    side = np.where(np.arange(len(skips)) % 2 == 0, 1.0, -1.0)  # edges arch up and down in turns
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
