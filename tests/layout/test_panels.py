"""Dense panels: each one found exists, and segments beside them are sparse."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from networks import complete_layers

import dagbp
from dagbp._layout.panels import (
    FIRST,
    HEADER,
    LEAST_RUN,
    LENGTH,
    N_RUNS,
    RUN_WORDS,
    START,
    columns,
    has_run,
    in_panels,
    in_runs,
    out_panels,
)
from dagbp._machine import PANEL_ROWS
from dagbp._network import model_of


def programs(panels):
    """Yield (first row, list of runs) of each panel."""
    for row in np.flatnonzero(panels.of_row):
        place = panels.of_row[row]
        n_runs = panels.program[place + N_RUNS]
        words = panels.program[place + HEADER :][: n_runs * RUN_WORDS]
        yield row, words.reshape(-1, RUN_WORDS)


@given(complete_layers())
def test_every_run_is_made_of_edges(case):
    plan = model_of(case.compile()).engine.plan
    marked = np.zeros(len(plan.node), np.int64)
    views = (
        (in_panels(plan, plan.level), plan.in_ptr, plan.in_src, 1),
        (out_panels(plan, plan.level, 16), plan.out_ptr, plan.out_dst, 16),
    )
    for panels, ptr, other, multiple in views:
        edges, previous, dense = 0, -1, np.zeros(len(other), np.bool_)
        for first, runs in programs(panels):
            assert first > previous, "panels do not overlap"
            previous = first + PANEL_ROWS - 1
            assert plan.level[first] == plan.level[previous]
            for run in runs:
                assert run[LENGTH] >= LEAST_RUN
                assert run[LENGTH] % multiple == 0
                expected = np.arange(run[FIRST], run[FIRST] + run[LENGTH])
                for r in range(PANEL_ROWS):
                    slots = slice(run[START + r], run[START + r] + run[LENGTH])
                    assert ptr[first + r] <= slots.start
                    assert slots.stop <= ptr[first + r + 1]
                    assert np.array_equal(other[slots], expected)
                    dense[slots] = True
                if multiple > 1:
                    marked[expected] = 1
                edges += PANEL_ROWS * run[LENGTH]
        assert panels.n_edges == edges
        assert np.array_equal(in_runs(panels, len(other)), dense)
        if multiple > 1:
            assert np.array_equal(columns(panels, len(plan.node)), marked)


def runs_of_targets(lengths):
    """Return ascending rows for each target: runs of these lengths, with gaps between."""
    rows = []
    for of_target in lengths:
        row = 0
        for length in of_target:
            rows += range(row, row + length)
            row += length + 1
    return np.array(rows, np.int32)


LENGTHS = st.lists(st.lists(st.integers(1, LEAST_RUN + 1), max_size=4), max_size=6)


@given(LENGTHS, st.integers(1, 40))
def test_a_run_is_found_in_slices_of_any_size(lengths, size):
    other = runs_of_targets(lengths)
    breaks = [-1, *np.flatnonzero(np.diff(other) != 1).tolist(), len(other) - 1]
    expected = max(b - a for a, b in pairwise(breaks)) >= LEAST_RUN
    assert has_run(other, slice_edges=size) == expected


def test_segments_beside_a_dense_core_are_not_mixed():
    """A dense core with explicit zeros does not change the segments beside it."""
    G = dagbp.layered([150, 140, 130, 7], density=0.5, seed=0)
    sparse = dagbp.compile(G, seed=0, n_threads=1)
    core = [[f"{layer}{k}" for k in range(48)] for layer in "uv"]
    G.add_nodes_from(core[1], activation="relu")
    pairs = [(a, b) for a in core[0] for b in core[1]]
    G.add_edges_from(pair for k, pair in enumerate(pairs) if k % 20)  # 95 % of them
    layout = model_of(dagbp.compile(G, seed=0, n_threads=1)).engine.layout
    assert layout.n_explicit_zeros > 0
    for segment, mixed, rows in (
        (layout.in_segment, layout.in_mixed, layout.ins.of_row),
        (layout.out_segment, layout.out_mixed, layout.outs.of_row),
    ):
        assert len(mixed) == len(segment) - 1
        assert 0 < mixed.sum() < len(mixed) / 2
        for k, (first, last) in enumerate(pairwise(segment)):
            assert mixed[k] or not rows[first:last].any()
    plain = model_of(sparse).engine.layout
    assert plain.in_mixed.sum() == plain.out_mixed.sum() == 0
