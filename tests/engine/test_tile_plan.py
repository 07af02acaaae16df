"""Tile plans: the segments of each thread, and the choice for a batch."""

import functools
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import blocky, share_levels
from strategies import networks

import dagbp
from dagbp._engine.tile_plan import TilePlan, TilePlanner
from dagbp._kernels.frames import SEGMENT_ROWS
from dagbp._machine import NARROW_ROW, PANEL_ROWS, TILE_COST, WIDE_ROW
from dagbp._network import model_of


def places(cuts, backward):
    """Return (stage, thread, position) of each segment; assert that each segment occurs once."""
    found = {}
    for stage, row in enumerate(cuts.tolist()):
        for member, (first, last) in enumerate(pairwise(row)):
            for segment in range(first, last):
                assert segment not in found
                found[segment] = stage, member, -segment if backward else segment
    return found


def assert_no_row_waits_for_its_stage(layout, cuts):
    """Assert that a row's sources were computed in an earlier stage, or earlier by its thread."""
    plan = layout.plan
    target = np.repeat(np.arange(len(plan.node)), np.diff(plan.in_ptr))
    views = (layout.in_segment, cuts.forward, False), (layout.out_segment, cuts.backward, True)
    for bounds, stages, backward in views:
        place = places(stages, backward)
        assert sorted(place) == list(range(len(bounds) - 1)), "every segment once"
        if not place:
            continue
        of_row = np.searchsorted(bounds, np.arange(len(plan.node)), side="right") - 1
        first, then = (target, plan.in_src) if backward else (plan.in_src, target)
        for i, j in zip(first.tolist(), then.tolist(), strict=True):
            if not backward and i < plan.n_inputs:
                continue  # features are there from the beginning
            one, two = place[of_row[i]], place[of_row[j]]
            assert one[0] < two[0] or (one[:2] == two[:2] and one[2] < two[2])


@settings(max_examples=60)
@given(
    st.one_of(networks(max_nodes=30), blocky()),
    st.integers(1, 8),
    st.sampled_from([1, 100, 16_384]),
    st.sampled_from([1, 4]),
)
def test_no_row_depends_on_another_threads_row_of_its_stage(case, team_size, worth, group):
    engine = model_of(share_levels(case.compile(), worth)).engine
    cuts = engine.tile_planner.cuts(TilePlan(WIDE_ROW, group, 1, team_size))
    assert_no_row_waits_for_its_stage(engine.layout, cuts)
    assert cuts.forward.shape[1] == cuts.backward.shape[1] == team_size + 1


def test_the_cost_of_reading_rows_of_other_threads_counts():
    """Sharing sparse wide levels would save less time than reading the others' rows costs."""
    engine = model_of(
        dagbp.compile(dagbp.layered([784, 1024, 1024, 10], density=0.03, seed=0))
    ).engine
    assert engine.tile_planner.choose(128, 2) == TilePlan(WIDE_ROW, 1, n_teams=2, team_size=1)


def test_threads_share_a_wide_level_evenly():
    engine = model_of(dagbp.compile(dagbp.layered([50, 480, 480, 10], seed=0), seed=0)).engine
    for team_size in (2, 3, 4):
        cuts = engine.tile_planner.cuts(TilePlan(WIDE_ROW, 1, 1, team_size))
        widest = np.diff(cuts.forward).max(axis=0)
        assert widest.min() >= widest.max() - 2
        assert widest.sum() <= -(-480 // PANEL_ROWS // (SEGMENT_ROWS // PANEL_ROWS)) + team_size


# ---------------------------------------------------------------------------- the choice

NETS = {
    "small": lambda: dagbp.random_dag(60, 400, 5, 3, seed=0),
    "deep": lambda: dagbp.layered([20] * 60, seed=0),
    "wide": lambda: dagbp.layered([60, 200, 200, 10], seed=0),
}


@functools.cache
def engine_of(name, dtype, ways):
    return model_of(dagbp.compile(NETS[name](), dtype=dtype, schedule=ways, seed=0)).engine


@given(
    st.sampled_from(list(NETS)),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["auto", "tiles", "levels"]),
    st.integers(0, 5000),
    st.one_of(st.none(), st.integers(1, 70)),
    st.booleans(),
)
def test_the_choice_fits_the_batch_and_the_limit(name, dtype, ways, n, limit, back):
    engine = engine_of(name, dtype, ways)
    chosen = engine.tile_planner.choose(n, limit, back)
    lanes = chosen.row_bytes // engine.dtype.itemsize
    tiles = max(1, -(-n // lanes))
    size = max(1, n) * engine.dtype.itemsize
    costs = {width: -(-size // width) * cost for width, cost in TILE_COST.items()}
    assert costs[chosen.row_bytes] == min(costs.values())
    assert chosen.n_threads == chosen.n_teams * chosen.team_size >= 1
    assert limit is None or chosen.n_threads <= limit
    assert chosen.n_teams == 1 or chosen.team_size == 1
    assert chosen.n_teams <= tiles
    assert 1 <= chosen.group <= tiles
    if ways == "levels":
        assert chosen.n_teams == 1
        assert limit is None or chosen.n_threads == limit
    if ways == "tiles":
        assert chosen.team_size == 1
    assert engine.tile_planner.choose(n, limit, back) == chosen


def test_a_few_samples_take_narrow_tiles_and_many_take_wide_ones():
    for dtype in ("float32", "float64"):
        tile_planner, size = (
            engine_of("small", dtype, "auto").tile_planner,
            np.dtype(dtype).itemsize,
        )
        assert tile_planner.choose(1, None).row_bytes == NARROW_ROW
        for row_bytes in TILE_COST:  # a batch that fills one tile takes that
            assert tile_planner.choose(row_bytes // size, None).row_bytes == row_bytes
        for tiles in (2, 3, 10):
            assert tile_planner.choose(tiles * WIDE_ROW // size, None).row_bytes == WIDE_ROW


@pytest.mark.parametrize("name", NETS)
def test_the_choice_does_not_depend_on_earlier_ones(name):
    sizes = (1, 16, 64, 100, 256, 4096)
    for dtype in ("float32", "float64"):
        used = model_of(dagbp.compile(NETS[name](), dtype=dtype, seed=0)).engine.tile_planner
        for n in sizes:
            for limit in (2, 3, None):
                fresh = TilePlanner(used._layout)
                assert used.choose(n, limit) == fresh.choose(n, limit)


def test_the_choice_does_not_depend_on_earlier_ones_where_barriers_depend_on_the_tile():
    """Levels of 1,024 edges: worth a barrier for wide tiles only."""
    used = model_of(dagbp.compile(dagbp.layered([32] * 12, seed=0), seed=0)).engine.tile_planner
    fresh = TilePlanner(used._layout)
    used.choose(1, 2)
    assert used.choose(256, 2) == fresh.choose(256, 2)


@pytest.mark.parametrize("limit", [2, 4])
@pytest.mark.parametrize("n", [64, 4096])
def test_no_team_is_chosen_if_its_first_member_does_all_the_work(limit, n):
    """Levels of 400 edges: none is worth a barrier, so another member would only wait."""
    tile_planner = engine_of("deep", "float32", "auto").tile_planner
    chosen = tile_planner.choose(n, limit)
    if chosen.team_size > 1:
        cuts = tile_planner.cuts(chosen).forward
        assert (cuts[:, 1] < cuts[:, -1]).any()


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2)])
def test_several_teams_have_one_thread_each(shape):
    """A barrier counts the threads of all teams, so only one team may have several threads."""
    for name in NETS:
        for ways in ("auto", "tiles", "levels"):
            chosen = engine_of(name, "float32", ways).tile_planner.choose(1000, shape[0] * shape[1])
            assert 1 in (chosen.n_teams, chosen.team_size)
