"""How the rows of a net are cut into segments, and these dealt out to the threads of a crew.

*Segments* are consecutive rows of one level and one activation: none feeds another, so their sums
can all be taken before the activation is called once for all. They are what threads share.

A *crew* of several threads goes through the net together. Its segments are dealt out by *stages*:
runs of segments of which none depends on a row that another member computes in the same stage, so
that one meeting a stage is enough. A crew of one has one stage.
"""

import numpy as np
import numpy.typing as npt

from dagbp._machine import WORTH_BARRIER

Int64 = npt.NDArray[np.int64]


def segments(row_class: Int64, panel: Int64, panel_rows: int, most: int | Int64) -> Int64:
    """Return the first row of each segment, and the end of the last one.

    Parameters
    ----------
    kind : int64 (n,)
        A segment's rows have the same kind: level and activation.
    panel : int64 (n,)
        Nonzero at the first row of each panel, which no segment may cut.
    panel_rows : int
        Rows of a panel.
    most : int or int64 (n,)
        Most rows of a segment, a multiple of that; or for each row, the same for all of a kind.

    Returns
    -------
    int64 (n_segments + 1,)

    Examples
    --------
    >>> segments(np.array([0, 0, 0, 1, 1]), np.zeros(5, int), 2, most=2)
    array([0, 2, 3, 5])
    """
    n = len(row_class)
    most = np.broadcast_to(most, n)
    inside = np.zeros(n + panel_rows, np.bool_)  # rows of panels but their first
    starts = np.flatnonzero(panel)
    for r in range(1, panel_rows):
        inside[starts + r] = True
    may = ~inside[:n]
    cuts = np.flatnonzero(np.append(True, row_class[1:] != row_class[:-1])[:n])
    # Long stretches are cut further, where no panel is cut: every `most` rows, or a little before.
    last_allowed = np.maximum.accumulate(np.where(may, np.arange(n), 0))
    ends = np.append(cuts[1:], n)
    further = []
    for k in np.flatnonzero(ends - cuts > most[cuts]).tolist():
        cut, step = int(cuts[k]), int(most[cuts[k]])
        while ends[k] - cut > step:
            cut = int(last_allowed[cut + step])
            further.append(cut)
    return np.sort(np.concatenate([cuts, np.array(further, np.int64), [n]]))


def cut_stages(level: Int64, work: Int64, team_size: int) -> Int64:
    """Return how a crew shares out segments that come in the order of their levels.

    Levels with too little work to be worth a meeting go to the first member, one after the other.

    Parameters
    ----------
    level : int64 (n_segments,)
        Ascending.
    work : int64 (n_segments,)
        Edges times samples.
    members : int

    Returns
    -------
    int64 (n_stages, members + 1)
        Member m of stage k takes the segments from ``[k, m]`` to ``[k, m + 1]``.

    Examples
    --------
    >>> cut_stages(np.array([1, 1, 2, 3]), np.array([90_000, 90_000, 10, 10]), members=2)
    array([[0, 1, 2],
           [2, 4, 4]])
    """
    n = len(level)
    if team_size == 1 or n == 0:
        return np.array([[0] + [n] * team_size], np.int64)
    total = np.concatenate([[0], np.cumsum(work)])
    ends = np.append(np.flatnonzero(np.diff(level)) + 1, n)
    starts = np.concatenate([[0], ends[:-1]])
    worth = (total[ends] - total[starts] >= team_size * WORTH_BARRIER) & (ends - starts > 1)
    stages: list[list[int]] = []
    at = 0  # what is before is shared out
    for begin, end in zip(starts[worth].tolist(), ends[worth].tolist(), strict=True):
        shares = total[begin] + (total[end] - total[begin]) * np.arange(1, team_size) // team_size
        inner = np.searchsorted(total, shares).tolist()
        if inner[0] < end:  # more than one member has something
            if at < begin:
                stages.append([at] + [begin] * team_size)
            stages.append([begin, *inner, end])
            at = end
    if at < n:
        stages.append([at] + [n] * team_size)
    return np.array(stages, np.int64)
