"""Learning curves, histograms, and properties of all pictures: styles, errors, missing packages."""

import re
import sys
from xml.etree import ElementTree

import matplotlib as mpl
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from networks import chain, run_python
from pictures import (
    X,
    Y,
    graph,
    legend,
    many,
    network,
    new_axes,
    of_type,
    page_data,
)
from strategies import networks, random_samples

import dagbp
from dagbp import DataError, MissingPackageError, OptionError, plotting
from dagbp.plotting import _inline
from dagbp.plotting._histograms import ENOUGH, _power_of_ten

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


def test_of_many_deltas_one_sample_in_two_is_drawn():
    net = chain(2)
    samples = np.linspace(0, 1, ENOUGH + 1, dtype=np.float32)[:, None]
    bp = net.backprop(samples, samples)
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
            "unknown kind 'node'; did you mean 'nodes'? Known: auto, nodes, levels.",
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
    run_python(code)
