"""Segments and stages: each row once, no panel cut, no more cuts than needed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from networks import dense_layers, user_activation

import dagbp
from dagbp._kernels.frames import SEGMENT_ROWS
from dagbp._layout.segments import cut_stages, segments
from dagbp._machine import PANEL_ROWS
from dagbp._network import model_of


@st.composite
def rows(draw):
    """Draw (kind, panel, panel_rows, most): panels of one kind."""
    panel_rows = draw(st.integers(1, 8))
    most = panel_rows * draw(st.integers(1, 5))
    kind, panel = [], []
    for _ in range(draw(st.integers(0, 30))):
        one = draw(st.integers(0, 2))
        if draw(st.booleans()):
            kind += [one] * panel_rows
            panel += [1 + len(panel)] + [0] * (panel_rows - 1)
        else:
            n = draw(st.integers(1, 2 * most))
            kind += [one] * n
            panel += [0] * n
    return np.array(kind, int), np.array(panel, int), panel_rows, most


@given(rows())
def test_segments_cover_rows_of_one_kind_and_cut_no_panel(drawn):
    kind, panel, panel_rows, most = drawn
    found = segments(*drawn)
    if len(kind) == 0:
        assert found.tolist() in ([0], [0, 0])
        return
    assert found[0] == 0
    assert found[-1] == len(kind)
    for first, last in pairwise(found.tolist()):
        assert 0 < last - first <= most
        assert len(set(kind[first:last].tolist())) == 1
    inside = {start + r for start in np.flatnonzero(panel) for r in range(1, panel_rows)}
    assert not inside & set(found.tolist())


@given(rows())
def test_segments_are_cut_only_where_they_must_be(drawn):
    kind, _, _, most = drawn
    found = segments(*drawn).tolist()
    for (first, middle), (_, last) in pairwise(pairwise(found)):
        assert kind[middle - 1] != kind[middle] or last - first > most


@pytest.mark.parametrize("kind", ["built in", "user's", "both"])
def test_no_segment_of_a_network_cuts_a_panel(kind):
    G = dense_layers(user_activation() if kind == "user's" else "tanh")
    if kind == "both":
        for node in list(G)[20:45]:
            G.nodes[node]["activation"] = user_activation()
    layout = model_of(dagbp.compile(G, seed=0)).engine.layout
    for cuts, panels in ((layout.in_segment, layout.ins), (layout.out_segment, layout.outs)):
        starts = np.flatnonzero(panels.of_row)
        inside = (starts[:, None] + np.arange(1, PANEL_ROWS)).ravel()
        assert not np.isin(cuts, inside).any()
        assert np.diff(cuts).max() <= SEGMENT_ROWS


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100_000)), max_size=40),
    st.integers(1, 8),
)
@example([(0, 0), (3, 0), (0, 32768)], 2)  # one segment has all of a level's work
def test_stages_cover_every_segment_once_level_by_level(drawn, team_size):
    level = np.cumsum([step // 3 for step, _ in drawn]).astype(np.int64)
    work = np.array([one for _, one in drawn], np.int64)
    stages = cut_stages(level, work, team_size)
    n = len(level)
    assert stages.dtype == np.int64
    assert stages.shape[1] == team_size + 1
    if team_size == 1 or n == 0:
        assert stages.tolist() == [[0] + [n] * team_size]
        return
    assert stages[0, 0] == 0
    assert stages[-1, -1] == n
    assert (np.diff(stages) >= 0).all()
    assert np.array_equal(stages[1:, 0], stages[:-1, -1])
    for stage in stages:
        of_first = stage[1] == stage[-1]
        inside = slice(stage[0], stage[-1])
        assert of_first or len(np.unique(level[inside])) == 1
        if not of_first:
            shares = [work[a:b].sum() for a, b in pairwise(stage.tolist())]
            assert max(shares) <= work[inside].sum() / team_size + work[inside].max() + 1
    for one, two in pairwise(stages.tolist()):
        assert not one[1] == one[-1] == two[0] < two[1] == two[-1], "two such stages would be one"
