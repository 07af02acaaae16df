"""Small pictures in notebooks, and the page: they have the network's numbers and load nothing."""

import re
import subprocess
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import chain
from pictures import (
    BROWSER,
    Page,
    X,
    Y,
    blocks,
    many,
    network,
    page_data,
)
from strategies import networks, random_samples

import dagbp
from dagbp import DataError, plotting
from dagbp.plotting._groups import group
from dagbp.plotting._reading import read

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


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to run the page")
def test_the_page_runs(tmp_path):
    net = network()
    bp = net.backprop(X[:1], Y[:1])
    plotting.animate_backprop(net, X[0], Y[0], path=tmp_path / "page.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--no-first-run"]
    options += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]

    def panel(step):
        address = (tmp_path / "page.html").as_uri() + f"#step={step}"
        done = subprocess.run(
            [BROWSER, *options, address], capture_output=True, text=True, timeout=120
        )
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


def test_the_page_is_complete_and_loads_nothing(tmp_path):
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
