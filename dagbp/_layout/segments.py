"""Level scheduling: cuts rows into segments, and segments into stages for a team of threads.

A *segment* is consecutive rows of one class (level and activation). None feeds another, so all sums
are taken first and the activation is then called once for all. Threads share segments.

The threads of a *team* work on the same tile. In a *stage* each takes some segments, none of which
depends on a row that another thread computes in this stage, so that one barrier after each stage is
enough. This is the level scheduling of sparse triangular solvers [1]_. A team of one thread has one
stage.

.. [1] Y. Saad, "Iterative methods for sparse linear systems", 2003, section 11.6.
"""

import numpy as np
import numpy.typing as npt

from dagbp._machine import WORTH_BARRIER

Int64 = npt.NDArray[np.int64]


def segments(row_class: Int64, panel: Int64, panel_rows: int, limit: int | Int64) -> Int64:
    """Return the first row of each segment, and the end of the last one.

    All rows of a segment have the same class. panel (n,): nonzero at the first row of each panel,
    which no segment may cut. limit: most rows of a segment, at least `panel_rows`; one number, or
    by row, the same for all rows of a class.
    """
    n = len(row_class)
    limit = np.broadcast_to(limit, n)
    inside = np.zeros(n + panel_rows, np.bool_)  # rows of panels, without their first
    starts = np.flatnonzero(panel)
    for r in range(1, panel_rows):
        inside[starts + r] = True
    may = ~inside[:n]
    cuts = np.flatnonzero(np.append(True, row_class[1:] != row_class[:-1])[:n])
    # Long classes are cut further: every `limit` rows, or a little before where a panel begins.
    last_allowed = np.maximum.accumulate(np.where(may, np.arange(n), 0))
    ends = np.append(cuts[1:], n)
    further = []
    for k in np.flatnonzero(ends - cuts > limit[cuts]).tolist():
        cut, step = int(cuts[k]), int(limit[cuts[k]])
        while ends[k] - cut > step:
            cut = int(last_allowed[cut + step])
            further.append(cut)
    return np.sort(np.concatenate([cuts, np.array(further, np.int64), [n]]))


def cut_stages(
    level: Int64, work: Int64, team_size: int, worth_barrier: int = WORTH_BARRIER
) -> Int64:
    """Return the segments of each thread of a team in each stage, (n_stages, team_size + 1).

    In stage k, thread t takes the segments from ``[k, t]`` to ``[k, t + 1]``. level (n_segments,):
    ascending. work (n_segments,): edges times samples. Levels with less than `worth_barrier` of
    work for each thread go to the first thread, one after the other.
    """
    n = len(level)
    if team_size == 1 or n == 0:
        return np.array([[0] + [n] * team_size], np.int64)
    total = np.concatenate([[0], np.cumsum(work)])
    ends = np.append(np.flatnonzero(np.diff(level)) + 1, n)
    starts = np.concatenate([[0], ends[:-1]])
    worth = (total[ends] - total[starts] >= team_size * worth_barrier) & (ends - starts > 1)
    stages: list[list[int]] = []
    at = 0  # segments before this one are in a stage
    for begin, end in zip(starts[worth].tolist(), ends[worth].tolist(), strict=True):
        shares = total[begin] + (total[end] - total[begin]) * np.arange(1, team_size) // team_size
        inner = np.searchsorted(total, shares).tolist()
        if inner[0] < end:  # more than one thread has some
            if at < begin:
                stages.append([at] + [begin] * team_size)
            stages.append([begin, *inner, end])
            at = end
    if at < n:
        stages.append([at] + [n] * team_size)
    return np.array(stages, np.int64)
