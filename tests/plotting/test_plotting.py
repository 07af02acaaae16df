"""Pictures: Axes and page show the network's numbers."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib as mpl

mpl.use("Agg")

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from networks import chain
from networks import network as compiled
from strategies import networks, random_samples

import dagbp
from dagbp import DataError, MissingPackageError, OptionError, plotting
from dagbp.plotting import _inline
from dagbp.plotting._groups import group
from dagbp.plotting._histograms import _power_of_ten
from dagbp.plotting._positions import CLEAR, arc, crossings, place_nodes
from dagbp.plotting._reading import read


def graph():
    """Return a graph with skips, a constant, and an output that feeds another node."""
    G = nx.DiGraph()
    G.add_weighted_edges_from(
        [
            ("a", "h", 0.5),
            ("b", "h", -2.0),
            ("h", "g", 1.5),
            ("a", "y", 0.75),
            ("g", "y", -0.25),
            ("c", "y", 1.0),
        ]
    )
    return G


network = partial(compiled, graph(), inputs=["a", "b"], outputs=["y", "g"])


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

X, Y = np.array([[1.0, -0.5], [0.25, 2.0], [-1.0, 0.5]]), np.array([[0.5, 0], [1, -1], [0, 2]])


def new_axes():
    return Figure().add_subplot()


def of_type(ax, kind):
    return [artist for artist in ax.get_children() if type(artist) is kind]


def colour_bars(ax):
    return [other.get_ylabel() for other in ax.figure.axes if other is not ax]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def many():
    """Return a net that is too large to draw nodes, with skips over many levels."""
    return dagbp.compile(dagbp.random_dag(900, 6000, 12, 4, depth=70, seed=0), seed=0)


def blocks():
    """Return a net that runs mostly as dense panels, with explicit zeros."""
    G = dagbp.layered([48, 96, 96, 5], density=0.9, seed=0)
    return dagbp.compile(G, seed=0, dense_above=0.5)


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
    layout = net._model.engine.layout
    assert layout.n_explicit_zeros > 0
    dense, held = layout.ins.n_edges, layout.n_explicit_zeros
    assert legend(ax) == [
        f"edge ({net.n_edges + held - dense:,})",
        f"edge in a dense panel ({dense - held:,})",
        f"explicit zero ({held:,})",
    ]
    row = {v: net._model.names.row(v) for v in net.forward(np.zeros((1, 48))).x}
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
        assert cells[net._model.names.row(v) // size, net._model.names.row(u) // size] > 0
    dense = dagbp.compile(dagbp.layered([200, 200, 200], density=0.95, seed=0), seed=0)
    ax = plotting.spy(dense, ax=new_axes())
    layout = dense._model.engine.layout
    assert layout.n_explicit_zeros > 0
    assert legend(ax) == [
        f"mostly dense panels: {layout.ins.n_edges:,} slots",
        f"filled with explicit zeros: {layout.n_explicit_zeros:,} slots",
    ]


# ---------------------------------------------------------------------------- curves, histograms


def test_learning_curves():
    history = dagbp.History(loss=[8.0, 2.0, 0.5, 0.25], val_loss=[9.0, 3.0, 1.0, 2.0])
    ax = plotting.learning_curves(history, ax=new_axes())
    loss, val_loss, best = ax.lines
    assert loss.get_xdata().tolist() == [1, 2, 3, 4]
    assert loss.get_ydata().tolist() == history.loss
    assert val_loss.get_ydata().tolist() == history.val_loss
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (3, 1.0)
    assert legend(ax) == ["training loss", "validation loss", "best: 1 at epoch 3"]
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss, mean over samples")
    for losses in ([1.0, 0.5], [100.0, 0.0], [100.0, -1.0]):
        ax = plotting.learning_curves(dagbp.History(loss=losses), ax=new_axes())
        assert ax.get_yscale() == "linear"
        assert legend(ax)[1].endswith("at epoch 2")
    broken = dagbp.History(loss=[2.0, np.nan, 1.0, np.inf])
    assert legend(plotting.learning_curves(broken, ax=new_axes()))[1] == "best: 1 at epoch 3"


def test_learning_curves_are_compared():
    one, two = dagbp.History(loss=[4.0, 2.0, 1.0]), dagbp.History([3.0, 1.0], [3.5, 2.5])
    ax = plotting.learning_curves({"plain": one, "momentum": two}, ax=new_axes())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["plain", "momentum"]
    plain, momentum, validation = ax.lines
    assert momentum.get_color() == validation.get_color() != plain.get_color()
    assert (momentum.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    assert list(validation.get_ydata()) == [3.5, 2.5]
    for bad in ({}, {"none": dagbp.History()}, {"x": 3}):
        with pytest.raises(OptionError, match="history"):
            plotting.learning_curves(bad, ax=new_axes())


def test_histograms_of_weights():
    net, ax = network(), new_axes()
    plotting.histograms(net, ax=ax)
    assert ax.get_title() == "Weights into each level"
    assert ax.get_ylabel() == "weight"
    columns = [artist for artist in ax.collections if isinstance(artist, PolyCollection)]
    assert len(columns) == 3, "no weights lead into inputs; c has none either, but h has"
    low, high = ax.get_ylim()
    assert low < -2
    assert high > 1.5
    centres = [
        p.get_datalim(ax.transData).x0 + p.get_datalim(ax.transData).width / 2 for p in columns
    ]
    assert np.allclose(centres, [1, 2, 3])
    assert legend(ax) == ["histogram", "median", "5 % to 95 %"]


def test_ticks_are_powers_of_ten_or_numbers_between():
    labels = [_power_of_ten(exponent, 0) for exponent in (-0.0, -2.0, 0.25)]
    assert labels == ["$10^{0}$", "$10^{-2}$", "1.8"]


def test_vanishing_deltas_show():
    G = nx.DiGraph([(k, k + 1) for k in range(100)])
    nx.set_edge_attributes(G, 0.5, "weight")
    net = dagbp.compile(G, activation="identity")
    bp = net.backprop([[1.0], [2.0]], [[1.0], [1.0]])
    ax = plotting.histograms(net, bp, ax=new_axes())
    assert ax.get_title() == "Deltas of each group of levels"
    lines = of_type(ax, LineCollection)  # of each column: its quantiles, its median
    medians = [line.get_segments()[0][0, 1] for line in lines[1::2]]
    assert len(medians) == 17
    assert np.allclose(np.diff(medians)[:-1], 6 * np.log10(2), atol=1e-4)
    assert ax.figure.axes == [ax], "no zeros, no second scale"


def test_dead_nodes_are_counted():
    G = nx.DiGraph([("a", "dead"), ("a", "alive"), ("dead", "y"), ("alive", "y")])
    nx.set_edge_attributes(G, {("a", "dead"): -1.0, ("a", "alive"): 1.0}, "weight")
    net = dagbp.compile(G, activation="relu", seed=0)
    bp = net.backprop([[1.0], [2.0]], [[9.0], [9.0]])
    ax = plotting.histograms(net, bp, ax=new_axes())
    _, right = ax.figure.axes
    assert right.get_ylabel() == "deltas that are exactly 0, %"
    share = right.lines[0].get_ydata()
    assert np.isnan(share[0])
    assert share[1:].tolist() == [50, 0]
    all_dead = net.backprop([[0.0]], [[0.0]])
    ax = plotting.histograms(net, all_dead, ax=new_axes())
    assert ax.figure.axes[1].lines[0].get_ydata()[1:].tolist() == [100, 100]


def test_of_many_deltas_every_so_many_th_is_taken(monkeypatch):
    monkeypatch.setattr("dagbp.plotting._histograms.ENOUGH", 6)
    net = network()
    bp = net.backprop(X, Y)
    ax = plotting.histograms(net, bp, ax=new_axes())
    assert ax.get_title() == "Deltas of each level; one sample in 2"


# ---------------------------------------------------------------------------- all of them

PICTURES = {
    "nodes": lambda net, bp, ax: plotting.draw_network(net, values=bp.x, ax=ax),
    "levels": lambda net, bp, ax: plotting.draw_network(net, kind="levels", ax=ax),
    "shaded levels": lambda net, bp, ax: plotting.draw_network(
        net, kind="levels", values=bp.delta, ax=ax
    ),
    "spy": lambda net, bp, ax: plotting.spy(net, ax=ax),
    "weights": lambda net, bp, ax: plotting.histograms(net, ax=ax),
    "deltas": lambda net, bp, ax: plotting.histograms(net, bp, ax=ax),
    "curves": lambda net, bp, ax: plotting.learning_curves(dagbp.History([1.0, 2.0]), ax=ax),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_nothing_global_changes(name, style):
    net = network()
    bp = net.backprop(X, Y)
    with plt.style.context(style):
        figure = Figure(layout="constrained")
        ax = figure.add_subplot()
        before, open_figures = dict(mpl.rcParams), plt.get_fignums()
        assert PICTURES[name](net, bp, ax) is ax
        figure.canvas.draw()
        assert dict(mpl.rcParams) == before
        assert plt.get_fignums() == open_figures
    back = to_rgb(figure.get_facecolor())
    texts = [*ax.texts, *(ax.get_legend().get_texts() if ax.get_legend() else [])]
    for text in texts:
        if not (name == "nodes" and text in ax.texts):  # these stand on their node's colour
            assert abs(np.mean(to_rgb(text.get_color())) - np.mean(back)) > 0.5


@pytest.mark.parametrize("name", PICTURES)
def test_without_an_axes_pyplots_current_one_is_used(name):
    net = network()
    figure = plt.figure()
    try:
        ax = figure.add_subplot()
        assert PICTURES[name](net, net.backprop(X, Y), None) is ax
        assert plt.get_fignums() == [figure.number]
    finally:
        plt.close(figure)


def test_colours_suit_an_axes_of_another_style():
    with plt.style.context("dark_background"):
        ax = new_axes()
    plotting.draw_network(network(), kind="levels", ax=ax)
    assert all(np.mean(to_rgb(text.get_color())) > 0.8 for text in ax.texts)
    bare = new_axes()
    bare.set_facecolor("none")
    bare.figure.set_facecolor("none")
    with plt.style.context("dark_background"):
        plotting.draw_network(network(), kind="levels", ax=bare)
    assert all(np.mean(to_rgb(text.get_color())) > 0.8 for text in bare.texts)


@settings(max_examples=15)
@given(networks(min_inputs=1), st.integers(0, 99))
def test_every_network_can_be_drawn(case, seed):
    net = case.compile(seed=0)
    data = random_samples(seed, case, 3)
    bp = net.backprop(*data)
    for name, picture in PICTURES.items():
        ax = new_axes()
        if name == "weights" and net.n_edges == 0:
            with pytest.raises(OptionError, match="the network has no edges"):
                picture(net, bp, ax)
        elif name == "deltas" and net.n_nodes == len(net.inputs):
            with pytest.raises(OptionError, match="the network has no deltas"):
                picture(net, bp, ax)
        else:
            assert picture(net, bp, ax) is ax
    ElementTree.fromstring(_inline.svg(net))
    if net.n_nodes <= 40:
        page_data(plotting.animate_backprop(net, *(array[0] for array in data)))


# ---------------------------------------------------------------------------- errors

net = network()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plotting.draw_network(graph()),
            "net must be a dagbp.Network, got DiGraph; compile the graph first",
        ),
        (lambda: plotting.spy(3), "net must be a dagbp.Network, got int"),
        (lambda: plotting.histograms(None), "net must be a dagbp.Network, got NoneType"),
        (
            lambda: plotting.animate_backprop("net", [1], [1]),
            "net must be a dagbp.Network, got str",
        ),
        (lambda: plotting.spy(net, ax="here"), "ax must be a matplotlib Axes, or None, got str"),
        (
            lambda: plotting.draw_network(net, kind="node"),
            "kind is 'node'; did you mean 'nodes'? Known: auto, nodes, levels.",
        ),
        (
            lambda: plotting.draw_network(net, values={"hh": 1.0}),
            "values has node 'hh', which does not exist; did you mean 'h'? "
            "Known: a, h, b, g, y, c.",
        ),
        (
            lambda: plotting.draw_network(many(), values={"hh": 1.0}),
            "values has node 'hh', which does not exist. Known: 0, 1, 2, 3, 4 and 895 more.",
        ),
        (lambda: plotting.draw_network(net, values={("h",): 1.0}), "values has node ('h',)"),
        (
            lambda: plotting.draw_network(net, values=[1.0]),
            "values must be a mapping of nodes to numbers or arrays over samples, such as "
            "net.forward(X).x, got list",
        ),
        (
            lambda: plotting.draw_network(net, values={"h": [1.0], "g": 2.0}),
            "values must have one number for each node, or one array (n_samples,) for each, got "
            "shapes (), (1,)",
        ),
        (
            lambda: plotting.draw_network(net, values=net.forward(X).x, sample=3),
            "sample must be 0 ... 2, or None, got 3",
        ),
        (
            lambda: plotting.draw_network(net, values=net.forward(X).x, sample=True),
            "sample must be 0 ... 2, or None, got True",
        ),
        (
            lambda: plotting.draw_network(net, sample=0),
            "sample must be None if values is None, got 0",
        ),
        (
            lambda: plotting.draw_network(net, values={"h": 1.0}, sample=0),
            "sample must be None for values without samples, got 0",
        ),
        (
            lambda: plotting.draw_network(net, values=net.forward(X[:0]).x),
            "values has no samples",
        ),
        (
            lambda: plotting.draw_network(chain(2001), kind="nodes"),
            "kind='nodes' draws at most 2,000 nodes and 20,000 edges, but the network has 2,001 "
            "and 2,000; use kind='levels' or dagbp.plotting.spy",
        ),
        (
            lambda: plotting.learning_curves([1.0]),
            "history must be the result of net.fit(...), got list",
        ),
        (
            lambda: plotting.learning_curves(dagbp.History()),
            "history has no epoch with a finite loss; nothing can be drawn",
        ),
        (
            lambda: plotting.histograms(net, net.forward(X)),
            "backprop must be the result of net.backprop(X, Y), got Forward",
        ),
        (
            lambda: plotting.histograms(net, network().backprop(X, Y)),
            "backprop must be of this network, got one of another network",
        ),
        (
            lambda: plotting.animate_backprop(chain(41), [1.0], [1.0]),
            "animate_backprop shows at most 40 nodes, but the network has 41; "
            "dagbp.plotting.draw_network(net, values=net.backprop(X, Y).delta) draws any number",
        ),
        (
            lambda: plotting.animate_backprop(net, X, Y[0]),
            "x must be one sample, an array of one dimension, got shape (3, 2)",
        ),
        (lambda: plotting.animate_backprop(net, X[0], 1.0), "Y must have shape (n_samples, 2)"),
        (lambda: plotting.animate_backprop(net, X[0], Y[0], loss="l2"), "unknown loss 'l2'"),
    ],
)
def test_errors(call, message):
    figures = plt.get_fignums()
    with pytest.raises((OptionError, DataError), match=re.escape(message)):
        call()
    assert plt.get_fignums() == figures, "refused before anything is drawn"


@pytest.mark.parametrize("name", PICTURES)
def test_without_matplotlib(monkeypatch, name):
    bp = net.backprop(X, Y)
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=r'pip install "dagbp\[plot\]"') as error:
        PICTURES[name](net, bp, None)
    assert isinstance(error.value, ImportError)
    assert "<svg" in net._repr_html_()
    assert "<svg" in plotting.animate_backprop(net, X[0], Y[0])


def test_matplotlib_is_loaded_when_it_draws():
    code = (
        "import sys, dagbp, dagbp.plotting as plotting\n"
        "net = dagbp.compile(dagbp.layered([2, 3, 1], seed=0), seed=0)\n"
        "net._repr_html_(), plotting.animate_backprop(net, [1, 2], 3)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from matplotlib.figure import Figure\n"
        "plotting.draw_network(net, ax=Figure().add_subplot())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------- in notebooks


@pytest.mark.parametrize(
    "net", [network(), many(), blocks(), chain(60), chain(95)], ids=lambda net: str(net.n_nodes)
)
def test_small_pictures(net):
    html = net._repr_html_()
    svg, _, rest = html.partition("</svg>")
    root = ElementTree.fromstring(svg + "</svg>")
    elements = list(root.iter())
    assert len(elements) < 200
    shapes = [element.tag.rpartition("}")[2] for element in elements]
    if net.n_nodes + net.n_edges <= 190:
        assert shapes.count("path") == net.n_edges
        assert shapes.count("rect") == len(net.inputs)
        assert shapes.count("circle") == net.n_nodes - len(net.inputs)
    else:
        groups = group(read(net), 10)
        assert shapes.count("rect") == len(groups.nodes)
        assert shapes.count("path") == len(groups.n_edges)
        assert f"the widest band is {groups.n_edges.max():,} edges" in svg
    assert rest == f"<pre>{net.summary()}</pre>"


def test_small_pictures_escape_labels():
    bad = "</title><script>alert('&')</script>"
    html = dagbp.compile(nx.DiGraph([("a", bad)]), seed=0)._repr_html_()
    assert "<script" not in html
    titles = [e.text for e in ElementTree.fromstring(html.partition("<pre>")[0]).iter()]
    assert bad in titles


# ---------------------------------------------------------------------------- the page


class Page(HTMLParser):
    """Collects a page's elements, and the addresses that it would load."""

    def __init__(self, html):
        super().__init__()
        self.data, self.fetched, self.tags, self._inside = "", [], [], False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = dict(attrs).get("id") == "data"
        self.fetched += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.data += data


def page_data(html):
    return json.loads(Page(html).data)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to run the page")
def test_the_page_runs(tmp_path):
    net = network()
    bp = net.backprop(X[:1], Y[:1])
    plotting.animate_backprop(net, X[0], Y[0], path=tmp_path / "page.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--no-first-run"]
    options += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]

    def panel(step):
        address = (tmp_path / "page.html").as_uri() + f"#step={step}"
        done = subprocess.run([BROWSER, *options, address], capture_output=True, text=True)
        return re.search(r'<section id="panel".*?</section>', done.stdout, re.DOTALL)[0]

    steps = ["", *read(net).labels, "", *read(net).labels[:1:-1], ""]
    for phase, start in (("Forward", 0), ("Backward", 8)):
        step = steps.index("h", start)
        text = panel(step)
        assert f"{phase}: node h" in text
        value = (bp.x if phase == "Forward" else bp.delta)["h"][0]
        assert f"{abs(value):.4g}" in text
    assert text.count("<tr") == 4 + 4, "de/dx and one target; two sources and the bias"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_page_has_the_networks_numbers(dtype):
    net = network(dtype=dtype)
    bp = net.backprop(X[:1], Y[:1])
    data = page_data(plotting.animate_backprop(net, X[0], Y[0]))
    assert (data["loss"], data["error"], data["inputs"]) == ("squared_error", bp.loss, 2)
    assert [node["label"] for node in data["nodes"]] == list(read(net).labels)
    for node in data["nodes"]:
        label = node["label"]
        assert node["value"] == bp.x[label][0]
        assert node["output"] == (label in ("y", "g"))
        assert ("s" in node) == (label in bp.s)
        if label in bp.s:
            assert (node["s"], node["delta"]) == (bp.s[label][0], bp.delta[label][0])
            assert (node["bias"], node["activation"]) == (
                net.biases[label],
                "identity" if label in ("y", "g") else "tanh",
            )
    labels = [node["label"] for node in data["nodes"]]
    edges = {(labels[e["source"]], labels[e["target"]]): e for e in data["edges"]}
    assert {edge: e["weight"] for edge, e in edges.items()} == dict(net.weights)
    assert {edge: e["gradient"] for edge, e in edges.items()} == dict(bp.grad_weight)


@settings(max_examples=40)
@given(networks(min_inputs=1, max_nodes=12), st.integers(0, 99))
def test_the_pages_terms_make_the_delta(case, seed):
    """delta_i = theta'(s_i) [de/dx_i + sum of w_ij delta_j], by the numbers on the page."""
    net = case.compile(seed=0, dtype="float64")
    x, y = (array[0] for array in random_samples(seed, case, 1))
    data = page_data(plotting.animate_backprop(net, x, y))
    nodes = data["nodes"]
    for row, node in enumerate(nodes[data["inputs"] :], data["inputs"]):
        outs = [e for e in data["edges"] if e["source"] == row]
        terms = [node["errorSlope"], *(e["weight"] * nodes[e["target"]]["delta"] for e in outs)]
        expected = node["slope"] * sum(terms)
        size = abs(node["slope"]) * sum(map(abs, terms))
        assert node["delta"] == pytest.approx(expected, rel=1e-9, abs=1e-12 * size + 1e-300)
        if not node["output"]:
            assert node["errorSlope"] == 0


def test_class_labels_and_entropies():
    net = dagbp.compile(dagbp.layered([3, 4, 3], seed=0), seed=0, dtype="float64")
    x = [0.5, -1.0, 2.0]
    data = page_data(plotting.animate_backprop(net, x, 2, loss="softmax_cross_entropy"))
    p = np.exp(net.predict([x])[0])
    slopes = [node["errorSlope"] for node in data["nodes"] if node["output"]]
    assert np.allclose(slopes, p / p.sum() - [0, 0, 1])
    one = dagbp.compile(dagbp.layered([3, 4, 1], seed=0), seed=0)
    data = page_data(plotting.animate_backprop(one, x, 0.5, loss=dagbp.losses.Huber(0.1)))
    assert data["loss"] == "huber"
    assert abs(data["nodes"][-1]["errorSlope"]) <= np.float32(0.1)


def test_the_slope_is_of_the_activation_that_the_network_was_made_with():
    dagbp.activations.register("replaced", lambda s: 2 * s, lambda s, x: 2.0)
    made = dagbp.compile(nx.DiGraph([("a", "y")]), output_activation="replaced", seed=0)
    dagbp.activations.register("replaced", lambda s: 3 * s, lambda s, x: 3.0, overwrite=True)
    data = page_data(plotting.animate_backprop(made, [1.0], [0.0]))
    assert data["nodes"][1]["slope"] == 2


def test_values_beyond_all_bounds_are_on_the_page():
    G = nx.DiGraph([("a", "h"), ("h", "y")])
    nx.set_edge_attributes(G, 1e30, "weight")
    net = dagbp.compile(G, activation="identity", output_activation="tanh")
    data = page_data(plotting.animate_backprop(net, [1e30], [0.0]))
    assert [node["value"] for node in data["nodes"][1:]] == ["Infinity", 1]
    net = dagbp.compile(G, activation="identity")
    with pytest.raises(DataError, match="output 'y' must be finite for back-propagation, got inf"):
        plotting.animate_backprop(net, [1.0], [0.0])


def test_the_page_is_whole_and_harmless(tmp_path):
    bad = "</script><script>alert(1)</script><!--"
    net = dagbp.compile(nx.DiGraph([("<b>", bad)]), seed=0)
    path = tmp_path / "page.html"
    html = plotting.animate_backprop(net, [1.0], [0.0], path=path)
    assert path.read_text(encoding="utf-8") == html
    page = Page(html)
    assert page.tags.count("script") == 2, "the data and the program"
    assert "b" not in page.tags
    assert page.fetched == []
    assert re.findall(r"https?://[^\"]*", html) == ["http://www.w3.org/2000/svg"]
    assert [node["label"] for node in page_data(html)["nodes"]] == ["<b>", bad]
    for part in ('type="range"', "ArrowRight", "#step=", "innerHTML"):
        assert (part in html) == (part != "innerHTML")
