"""Pictures of networks, by nodes and by levels, and of the weight matrix."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pictures import (
    X,
    Y,
    blocks,
    colour_bars,
    graph,
    legend,
    many,
    network,
    new_axes,
    of_type,
)
from strategies import networks

import dagbp
from dagbp import plotting
from dagbp._network import model_of
from dagbp.plotting._groups import group
from dagbp.plotting._positions import CLEAR, arc, crossings, place_nodes
from dagbp.plotting._reading import read

# ---------------------------------------------------------------------------- node by node


def test_every_node_and_edge_is_drawn():
    net, ax = network(), new_axes()
    assert plotting.draw_network(net, ax=ax) is ax
    assert ax.get_title() == "6 nodes, 6 edges, 4 levels"
    (edges,) = of_type(ax, LineCollection)
    assert sorted(edges.get_array()) == sorted(net.weights.values())
    widths = edges.get_linewidths()
    assert np.array_equal(np.argsort(widths), np.argsort(abs(edges.get_array())))
    markers = of_type(ax, PathCollection)  # inputs, constants, others; rings
    assert [len(marker.get_offsets()) for marker in markers] == [2, 1, 3, 2]
    assert legend(ax) == ["input (2)", "constant (1)", "computed (3)", "ringed: output (2)"]
    assert sorted(text.get_text() for text in ax.texts) == sorted(graph())
    assert colour_bars(ax) == ["weight; width: |weight|"]
    assert edges.norm.vmin == -edges.norm.vmax == -2
    assert ax.get_xlabel() == "topological level (0: inputs)"


def test_nodes_have_the_colour_of_their_value():
    net = network()
    bp = net.backprop(X, Y)
    ax = plotting.draw_network(net, values=bp.delta, quantity="delta", sample=1, ax=new_axes())
    assert colour_bars(ax) == ["weight; width: |weight|", "delta, sample 1"]
    bar = ax.figure.axes[2]
    most = max(abs(delta[1]) for delta in bp.delta.values())
    assert np.allclose(bar.get_ylim(), (-most, most))
    inputs, _, computed, _ = of_type(ax, PathCollection)
    assert np.all(inputs.get_facecolors() == 1), "inputs have no delta"
    colours = {tuple(colour) for colour in computed.get_facecolors()}
    assert len(colours) == 3
    ax = plotting.draw_network(net, values=bp.x, quantity="x", ax=new_axes())
    assert colour_bars(ax)[1] == "x, mean of 3 samples"


def test_values_by_name_are_the_same_as_a_record():
    net = network()
    x = net.forward(X).x
    pictures = [
        plotting.draw_network(net, values=values, ax=new_axes())
        for values in (x, dict(x), {node: value.mean() for node, value in x.items()})
    ]
    fills = [[m.get_facecolors() for m in of_type(ax, PathCollection)] for ax in pictures]
    for other in fills[1:]:
        for one, two in zip(fills[0], other, strict=True):
            assert np.allclose(one, two, atol=1 / 128)


def test_values_that_are_not_finite_are_counted():
    ax = plotting.draw_network(
        network(), values={"h": np.inf, "y": 1.0, "g": np.nan}, ax=new_axes()
    )
    assert ax.get_xlabel().endswith("; 2 values not finite")
    ax = plotting.draw_network(network(), values={"h": np.inf}, kind="levels", ax=new_axes())
    assert ax.texts[-1].get_text().endswith("; 1 value not finite")


def test_labels_are_text():
    G = nx.DiGraph([("$x^2$ & <b>", "_\n{unclosed"), ("_\n{unclosed", "$\\frac$")])
    net = dagbp.compile(G, seed=0)
    ax = new_axes()
    plotting.draw_network(net, labels=True, ax=ax)
    assert {t.get_text() for t in ax.texts} == {"$x^2$ & <b>", "_ {unclosed", "$\\frac$"}
    ax.figure.canvas.draw()
    assert not plotting.draw_network(net, labels=False, ax=new_axes()).texts
    wide = dagbp.compile(dagbp.layered([50, 50, 1], seed=0), seed=0)
    ax = plotting.draw_network(wide, ax=new_axes())
    assert [text.get_text() for text in ax.texts] == ["(2, 0)"]
    assert ax.get_xlabel().endswith("; some labels left out: no room")


def test_inputs_and_outputs_are_named_beside_them_the_first_at_the_top():
    G = nx.DiGraph((f"feature {k}", f"pathway {k % 5}") for k in range(30))
    G.add_edges_from((f"pathway {k}", "the outcome") for k in range(5))
    ax = plotting.draw_network(dagbp.compile(G, seed=0), ax=new_axes())
    texts = {text.get_text(): text for text in ax.texts}
    assert set(texts) == set(G)
    aligned = {name: texts[name].get_ha() for name in ("feature 0", "pathway 0", "the outcome")}
    assert list(aligned.values()) == ["right", "center", "left"]
    bottom, top = ax.get_ylim()
    assert bottom > top
    ax.figure.canvas.draw()
    assert {tick.get_text() for tick in ax.get_xticklabels()} <= {"", "0", "1", "2"}


@settings(max_examples=40)
@given(networks())
def test_edges_keep_clear_of_nodes(case):
    reading = read(case.compile(seed=0))
    positions, first = place_nodes(reading), reading.first
    for a, b in pairwise(first):
        assert np.allclose(np.sort(positions.y[a:b]), (np.arange(b - a) + 0.5) / (b - a))
    as_drawn = (np.arange(len(positions.y)) - first[reading.level] + 0.5) / np.diff(first)[
        reading.level
    ]
    ends = reading.source, reading.target, reading.level
    assert crossings(positions.y, *ends) <= crossings(as_drawn, *ends)
    span = reading.level[reading.target] - reading.level[reading.source]
    assert not positions.bend[span == 1].any()
    curves = arc(positions, reading.source, reading.target, np.linspace(0, 1, 5))
    assert np.allclose(curves[:, 0, 1], positions.y[reading.source])
    assert np.allclose(curves[:, -1, 1], positions.y[reading.target])


def test_long_labels_stay_within_the_axes():
    G = nx.DiGraph([("a very long name of a sensor", "h"), ("b", "h"), ("h", "the outcome of it")])
    net = dagbp.compile(G, seed=0)
    ax = Figure().add_subplot()
    plotting.draw_network(net, values={"h": 1.0}, ax=ax)
    ax.figure.canvas.draw()
    box = ax.get_window_extent()
    for text in ax.texts:
        drawn = text.get_window_extent()
        assert box.x0 <= drawn.x0 < drawn.x1 <= box.x1, text.get_text()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]
    assert len(ax.xaxis.get_ticklines()) == 6


@pytest.mark.parametrize("kind", ["levels", "deltas"])
def test_numbers_of_many_levels_do_not_touch(kind):
    net = dagbp.Network.from_edges(range(2000), range(1, 2001), seed=0)
    ax = Figure(figsize=(4, 3)).add_subplot()
    if kind == "levels":
        plotting.draw_network(net, ax=ax)
    else:
        plotting.histograms(net, net.backprop([[1.0]], [[0.0]]), ax=ax)
    ax.figure.canvas.draw()
    numbers = [tick.get_window_extent() for tick in ax.get_xticklabels()]
    assert len(numbers) > 2
    assert all(one.x1 < two.x0 for one, two in pairwise(numbers))
    box = ax.get_window_extent()
    assert all(box.x0 <= text.get_window_extent().x0 for text in ax.texts)


def test_crossings_are_counted_and_undone():
    G = nx.DiGraph([(i, 10 + (5 * i + 3) % 7) for i in range(7)])
    reading = read(dagbp.compile(G, seed=0))
    rows = np.array([reading.names.row(node) for node in [*range(7), *range(10, 17)]])
    y = np.empty(14)
    y[rows] = np.tile(np.arange(7), 2)
    order = [(5 * i + 3) % 7 for i in range(7)]
    inversions = sum(order[i] > order[j] for i in range(7) for j in range(i + 1, 7))
    ends = reading.source, reading.target, reading.level
    assert crossings(y, *ends) == inversions > 0
    assert crossings(place_nodes(reading).y, *ends) == 0


def test_a_skip_edge_in_a_chain_goes_around():
    G = nx.DiGraph([(i, j) for i in range(5) for j in range(i + 1, 5)])
    positions = place_nodes(read(dagbp.compile(G, seed=0)))
    assert np.all(positions.y == 0.5)
    span = np.array([j - i for j in range(5) for i in range(j)])
    t_of_first = 1 / span[span > 1]
    height = 4 * abs(positions.bend[span > 1]) * t_of_first * (1 - t_of_first)
    assert np.all(height >= CLEAR * 0.999)


# ---------------------------------------------------------------------------- by levels


@settings(max_examples=40)
@given(networks(), st.integers(2, 5))
def test_groups_add_up(case, most):
    net = case.compile(seed=0)
    reading = read(net)
    groups = group(reading, most)
    assert 1 <= len(groups.nodes) <= most
    assert groups.nodes.sum() == net.n_nodes
    assert groups.inputs.sum() == len(net.inputs)
    assert groups.outputs.sum() == len(net.outputs)
    level = {label: reading.level[row] for row, label in enumerate(reading.labels)}
    box = {v: int(np.searchsorted(groups.level, level[v], side="right")) - 1 for v in level}
    expected = {}
    for (u, v), weight in net.weights.items():
        expected.setdefault((box[u], box[v]), []).append(abs(float(weight)))
    inside = sum(len(found) for (a, b), found in expected.items() if a == b)
    assert groups.inside == inside
    pairs = zip(groups.source, groups.target, groups.n_edges, groups.strength, strict=True)
    for a, b, n_edges, strength in pairs:
        found = expected.pop((int(a), int(b)))
        assert n_edges == len(found)
        assert strength == pytest.approx(np.mean(found))
    assert all(a == b for a, b in expected)


def test_large_networks_are_drawn_by_levels():
    net, ax = many(), new_axes()
    plotting.draw_network(net, ax=ax)
    groups = group(read(net), 16)
    (bands,) = of_type(ax, LineCollection)
    assert len(bands.get_segments()) == len(groups.n_edges)
    assert np.count_nonzero(groups.target - groups.source > 1) > 0
    skips = [line for line in bands.get_segments() if len(line) > 2]
    assert len(skips) == np.count_nonzero(groups.target - groups.source > 1)
    assert all(line[:, 1].max() > 0.5 for line in skips), "above all boxes"
    boxes = [p for p in of_type(ax, Rectangle) if p.get_hatch() is None and p is not ax.patch]
    heights = np.array([box.get_height() for box in boxes])
    assert np.allclose(heights, np.maximum(groups.nodes / groups.nodes.max(), 0.012))
    *counts, caption = (text.get_text() for text in ax.texts)
    assert counts == [f"{n:,}" for n in groups.nodes]
    assert caption == (
        "aggregated: a box is a group of levels, its height the number of nodes;\n"
        "a band is the edges between two boxes, its width their number\n"
        f"({groups.inside:,} edges within boxes not shown)"
    )
    assert ax.get_xlabel() == "first topological level (0: inputs)"
    assert colour_bars(ax) == ["mean |weight| of a band"]
    assert legend(ax) == [
        "inputs (12)",
        "outputs (4)",
        f"widest band: {groups.n_edges.max():,} edges",
    ]


def test_boxes_have_the_mean_magnitude():
    net = dagbp.compile(dagbp.layered([3, 500, 2], activation="tanh", seed=0), seed=0)
    rng = np.random.default_rng(0)
    bp = net.backprop(rng.normal(size=(9, 3)), rng.normal(size=(9, 2)))
    ax = plotting.draw_network(net, values=bp.delta, quantity="delta", ax=new_axes())
    assert "a box is a level" in ax.texts[-1].get_text()
    assert colour_bars(ax)[1] == "mean |delta| over nodes, mean of 9 samples"
    means = [
        np.mean([abs(bp.delta[layer, k]) for k in range(n)]) for layer, n in ((1, 500), (2, 2))
    ]
    assert ax.figure.axes[2].get_ylim()[1] == pytest.approx(max(means), rel=1e-5)
    inputs = next(p for p in of_type(ax, Rectangle) if p.get_hatch() is None)
    assert to_rgb(inputs.get_facecolor()) == (1, 1, 1), "inputs have no delta"


# ---------------------------------------------------------------------------- the matrix


def test_spy_marks_every_slot():
    net, ax = blocks(), new_axes()
    plotting.spy(net, ax=ax)
    layout = model_of(net).engine.layout
    assert layout.n_explicit_zeros > 0
    dense, held = layout.ins.n_edges, layout.n_explicit_zeros
    assert legend(ax) == [
        f"edge ({net.n_edges + held - dense:,})",
        f"edge in a dense panel ({dense - held:,})",
        f"explicit zero ({held:,})",
    ]
    row = {v: model_of(net).names.row(v) for v in net.forward(np.zeros((1, 48))).x}
    expected = {(row[u], row[v]) for u, v in net.weights}
    *marks, zeros, bounds = ax.collections
    drawn = {tuple(p.vertices[:4].mean(axis=0).round()) for m in marks for p in m.get_paths()}
    assert drawn == expected
    assert len(zeros.get_paths()) == held
    assert len(bounds.get_segments()) == 2 * 3
    assert ax.yaxis_inverted()


def test_spy_counts_where_marks_would_be_too_many():
    net = many()
    ax = plotting.spy(net, ax=new_axes())
    (image,) = ax.images
    assert image.get_array().sum() == net.n_edges
    assert colour_bars(ax) == ["edges in a cell of 4 x 4 rows"]
    assert ax.get_xlabel().endswith("(bounds of 71 levels left out)")
    size = 4
    cells = image.get_array().filled(0)
    for u, v in list(net.weights)[:50]:
        assert cells[model_of(net).names.row(v) // size, model_of(net).names.row(u) // size] > 0
    dense = dagbp.compile(dagbp.layered([200, 200, 200], density=0.95, seed=0), seed=0)
    ax = plotting.spy(dense, ax=new_axes())
    layout = model_of(dense).engine.layout
    assert layout.n_explicit_zeros > 0
    assert legend(ax) == [
        f"mostly dense panels: {layout.ins.n_edges:,} slots",
        f"filled with explicit zeros: {layout.n_explicit_zeros:,} slots",
    ]
