"""Graphs written to NetworkX: attributes, inputs and outputs, and reading them again."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import KNOWN, assert_same, edges, path_graph, read

import dagbp
from dagbp._errors import GraphError
from dagbp._graph.from_networkx import draw, write_networkx
from dagbp._plan.from_graph import plan_graph


def test_write_networkx_keeps_other_attributes():
    G = path_graph(a={"pos": 1}, h={"bias": False}, y={"label": "out"}, ah={"color": "red"})
    G.graph["name"] = "net"
    graph = read(G)
    trained = write_networkx(G, graph, weight=np.float32([0.5, 2]), bias=[7, 8, 9])
    assert trained.graph == {"name": "net"}
    assert dict(trained.nodes(data=True)) == {
        "a": {"pos": 1},
        "h": {"bias": False},
        "y": {"label": "out", "bias": 9},
    }
    assert list(trained.edges(data=True)) == [
        ("a", "h", {"color": "red", "weight": 0.5}),
        ("h", "y", {"weight": 2.0}),
    ]
    assert type(trained.edges["a", "h"]["weight"]) is float
    assert G.edges["h", "y"] == {}
    again = read(trained)
    assert again.weight.tolist() == [0.5, 2]
    assert again.bias.tolist() == [0, 0, 9]


@st.composite
def graph_arrays(draw):
    n = draw(st.integers(2, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    order = rng.permutation(n)
    src, dst = (order[ends] for ends in np.nonzero(np.triu(rng.random((n, n)) < 0.4, 1)))
    by_source = np.argsort(src, kind="stable")  # the order in which NetworkX keeps edges
    return edges(
        src[by_source],
        dst[by_source],
        n,
        outputs=order[-1:],
        weight=rng.normal(size=len(src)),
        trainable=rng.random(len(src)) < 0.5,
        activation=rng.choice(KNOWN, n),
        bias=rng.normal(size=n) if rng.random() < 0.8 else False,
        bias_trainable=rng.random(n) < 0.5,
    )


@given(graph_arrays())
def test_draw_then_read_is_the_identity(graph):
    labels = graph.labels
    ports = ([labels[i] for i in index] for index in (graph.inputs, graph.outputs))
    assert_same(read(draw(graph), *ports), graph)


@given(graph_arrays(), st.randoms(use_true_random=False))
def test_relabelling_changes_only_labels(graph, random):
    G = draw(graph)
    new = dict(zip(G, random.sample([f"n{i}" for i in G], len(G)), strict=True))
    renamed = nx.relabel_nodes(G, new)
    ports = [graph.inputs.tolist(), graph.outputs.tolist()]
    other = read(renamed, *([new[i] for i in index] for index in ports))
    plans = plan_graph(read(G, *ports)), plan_graph(other)
    assert all(np.array_equal(a, b) for a, b in zip(*plans, strict=True))


def test_draw_leaves_random_weights_out():
    G = draw(edges([0], [1], trainable=False))
    assert list(G.edges(data=True)) == [(0, 1, {"trainable": False})]
    assert dict(G.nodes(data=True)) == {0: {}, 1: {"activation": "identity", "bias": 0.0}}


PORTS = nx.DiGraph([("a", "h"), ("b", "h"), ("h", "y"), ("h", "z"), ("y", "z"), ("c", "y")])


@pytest.mark.parametrize(
    ("inputs", "outputs", "columns"),
    [
        (None, None, {}),
        (["a", "b", "c"], ["z"], {}),
        (["b", "a", "c"], None, {"a": ("input", 1), "b": ("input", 0), "c": ("input", 2)}),
        (["a"], ["z", "h"], {"a": ("input", 0), "z": ("output", 0), "h": ("output", 1)}),
        ([], ["y", "z"], {"y": ("output", 0), "z": ("output", 1)}),
    ],
)
@pytest.mark.filterwarnings("ignore::dagbp.UnreachableWarning")
def test_inputs_and_outputs_other_than_the_default_are_written(inputs, outputs, columns):
    net = dagbp.compile(PORTS, inputs, outputs, seed=0)
    G = net.to_networkx()
    found = {
        node: (name.removesuffix("_column"), own[name])
        for node, own in G.nodes.items()
        for name in ("input_column", "output_column")
        if name in own
    }
    assert found == columns
    if inputs != []:
        same = dagbp.compile(G)
        assert (same.inputs, same.outputs) == (net.inputs, net.outputs)
        assert np.array_equal(same.parameters, net.parameters)


def test_arguments_take_precedence_over_column_attributes():
    G = dagbp.compile(PORTS, ["c", "b", "a"], ["h", "y"], seed=0).to_networkx()
    net = dagbp.compile(G, ["a", "b", "c"], ["z"])
    assert (net.inputs, net.outputs) == (["a", "b", "c"], ["z"])
    assert not any("column" in name for own in net.to_networkx().nodes.values() for name in own)


def test_invalid_columns():
    for value, text in (
        ("first", "node 'y' has output_column 'first', which must be a whole number"),
        (0, "nodes 'h' and 'y' both have output_column 0"),
    ):
        G = nx.DiGraph([("a", "h"), ("h", "y")])
        G.nodes["h"]["output_column"], G.nodes["y"]["output_column"] = 0, value
        with pytest.raises(GraphError, match=text):
            dagbp.compile(G)


def test_an_ignored_activation_is_warned_of():
    G = dagbp.layered([2, 3, 1])
    for argument, kind in (("activation", "hidden nodes"), ("output_activation", "outputs")):
        match = f"^{argument}='sigmoid' is ignored: all {kind} of the graph have an activation of"
        with pytest.warns(dagbp.IgnoredArgumentWarning, match=match) as caught:
            dagbp.compile(G, **{argument: "sigmoid"})
        assert caught[0].filename == __file__
    del G.nodes[1, 0]["activation"], G.nodes[2, 0]["activation"]
    net = dagbp.compile(G, activation="sigmoid", output_activation="tanh").to_networkx()
    assert [net.nodes[node]["activation"] for node in ((1, 0), (1, 1), (2, 0))] == [
        "sigmoid",
        "relu",
        "tanh",
    ]
    dagbp.compile(nx.DiGraph([("a", "y")]), activation="relu")  # there is no hidden node
