"""Graphs of NetworkX: the meaning of each attribute, every error, and the plan of a graph."""

import re
import tracemalloc
from fractions import Fraction
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from reading import assert_same, edges, names, path_graph, read

import dagbp
from dagbp._errors import GraphError, OptionError, UnreachableWarning
from dagbp._plan.from_graph import plan_graph


def test_defaults():
    graph = read(path_graph())
    assert graph.labels == ("a", "h", "y")
    assert (graph.src.tolist(), graph.dst.tolist()) == ([0, 1], [1, 2])
    assert (graph.inputs.tolist(), graph.outputs.tolist()) == ([0], [2])
    assert names(graph) == ["identity", "tanh", "identity"]
    assert np.isnan(graph.weight).all()
    assert graph.edge_trainable.all()
    assert graph.bias.tolist() == [0, 0, 0]
    assert graph.has_bias.tolist() == graph.bias_trainable.tolist() == [False, True, True]


def test_attributes():
    G = path_graph(
        h={"activation": "relu", "bias": -1, "trainable": False, "pos": (0, 1)},
        y={"activation": None, "bias": None},
        ah={"weight": np.float32(0.5), "trainable": np.False_, "color": "red"},
        hy={"weight": None},
    )
    graph = read(G, output_activation="sigmoid")
    assert names(graph) == ["identity", "relu", "sigmoid"]
    assert graph.bias.tolist() == [0, -1, 0]
    assert graph.has_bias.tolist() == [False, True, False]
    assert graph.bias_trainable.tolist() == [False, False, False]
    assert np.array_equal(graph.weight, [0.5, np.nan], equal_nan=True)
    assert graph.edge_trainable.tolist() == [False, True]


@pytest.mark.parametrize(
    "value", [2, 2.0, np.int8(2), np.float16(2), Fraction(2), np.longdouble(2)]
)
def test_every_type_of_real_number_is_read(value):
    graph = read(path_graph(ah={"weight": value}, h={"bias": value}))
    assert graph.weight[0] == graph.bias[1] == 2


@pytest.mark.parametrize("value", [None, False, np.False_])
def test_no_bias(value):
    assert read(path_graph(h={"bias": value})).has_bias.tolist() == [False, False, True]


def test_attributes_of_an_input_that_change_nothing():
    G = path_graph(a={"activation": "identity", "bias": None, "trainable": False, "layer": 0})
    assert_same(read(G), read(path_graph()))


def test_labels_are_any_hashable():
    labels = [(0, 1), frozenset({1}), 3.5, "é", ("x", None), 7]
    G = nx.DiGraph(pairwise(labels))
    graph = read(G, inputs=[(0, 1)], outputs=[7, 3.5])
    assert list(graph.labels) == labels
    assert graph.outputs.tolist() == [5, 2]


def test_ports_keep_the_order_given():
    G = nx.DiGraph([("a", "y"), ("b", "y"), ("b", "z")])
    graph = read(G, inputs=["b", "a"], outputs=(v for v in "zy"))
    assert [graph.labels[i] for i in graph.inputs] == ["b", "a"]
    assert [graph.labels[i] for i in graph.outputs] == ["z", "y"]
    assert read(G, inputs=np.array(["b", "a"])).inputs.tolist() == graph.inputs.tolist()


def test_source_that_is_no_input_is_a_constant():
    G = nx.DiGraph([("a", "y"), ("one", "y")])
    graph = read(G, inputs=["a"])
    assert graph.has_bias.tolist() == [False, True, True]
    assert names(graph) == ["identity", "identity", "tanh"]
    assert plan_graph(graph).level.tolist() == [0, 1, 2]


def test_no_inputs_at_all():
    plan = plan_graph(read(path_graph(), inputs=[]))
    assert plan.n_inputs == 0
    assert plan.level.tolist() == [1, 2, 3]


def test_an_input_may_be_an_output():
    G = nx.DiGraph()
    G.add_node("a")
    graph = read(G, inputs=["a"], outputs=["a"], output_activation="relu")
    assert names(graph) == ["identity"]
    assert plan_graph(graph).outputs.tolist() == [0]


def test_isolated_nodes_are_inputs_and_no_outputs():
    G = path_graph()
    G.add_node("alone")
    graph = read(G)
    assert graph.inputs.tolist() == [0, 3]
    assert graph.outputs.tolist() == [2]


def test_views_are_graphs_too():
    G = path_graph(h={"bias": 1.0})
    G.add_edge("h", "extra")
    assert_same(read(G.subgraph(["a", "h", "y"])), read(path_graph(h={"bias": 1.0})))
    assert read(G.reverse(copy=False), outputs=["a"]).inputs.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("G", "error", "match"),
    [
        ([("a", "b")], OptionError, "the graph must be a networkx.DiGraph, got a list"),
        (
            nx.Graph([(0, 1)]),
            GraphError,
            "the graph is undirected; it must be a networkx.DiGraph",
        ),
        (
            nx.MultiDiGraph([(0, 1)]),
            GraphError,
            "the graph is a multigraph, but an edge has one weight; it must be a networkx.DiGraph",
        ),
        (nx.DiGraph(), GraphError, "the graph is empty; it needs at least one node"),
        (
            nx.DiGraph([("a", "h"), ("h", "h")]),
            GraphError,
            "node 'h' has an edge to itself; the graph must be acyclic",
        ),
        (
            nx.empty_graph(1, nx.DiGraph),
            GraphError,
            "every node is an input, which leaves no output; name the outputs",
        ),
    ],
)
def test_invalid_graphs(G, error, match):
    with pytest.raises(error, match=f"^{re.escape(match)}$"):
        read(G)


@pytest.mark.parametrize("before", [[], [("x", "a")]])
def test_a_cycle_without_sink_is_named(before):
    with pytest.raises(GraphError, match=r"the graph has a cycle: '[ab]' -> '[ab]' -> '[ab]'"):
        dagbp.compile(nx.DiGraph([*before, ("a", "b"), ("b", "a")]))


def test_an_activation_for_each_of_many_nodes():
    n = 20_000
    tracemalloc.start()
    try:
        edges([*range(n - 1)], [*range(1, n)], activation=["tanh"] * n)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        (
            {"h": {"activation": "rellu"}},
            "node 'h' has activation 'rellu', which is not registered; did you mean 'relu'? "
            "Known: identity, tanh, relu, sigmoid.",
        ),
        ({"h": {"activation": 3}}, "node 'h' has activation 3, which is not registered. Known: "),
        ({"h": {"activation": []}}, "node 'h' has activation [], which is not registered. Known: "),
        (
            {"h": {"bias": "1"}},
            "node 'h' has bias '1', which must be a finite real number, or None",
        ),
        ({"h": {"bias": True}}, "node 'h' has bias True, which must be a finite real number, or"),
        ({"h": {"bias": np.nan}}, "node 'h' has bias nan, which must be a finite real number"),
        ({"h": {"bias": 1j}}, "node 'h' has bias 1j, which must be a finite real number"),
        ({"h": {"trainable": 0}}, "node 'h' has trainable 0, which must be True or False"),
        ({"h": {"trainable": None}}, "node 'h' has trainable None, which must be True or False"),
        (
            {"a": {"activation": "relu"}},
            "node 'a' is an input and has activation 'relu'; an input's value is its feature: "
            "leave the attribute out, or name the inputs without this node, which makes it a con",
        ),
        ({"a": {"bias": 0.0}}, "node 'a' is an input and has bias 0.0; an input's value is its"),
        (
            {"hy": {"weight": "0.5"}},
            "edge 'h' -> 'y' has weight '0.5', which must be a finite real number; leave it out "
            "to draw it at random",
        ),
        ({"hy": {"weight": np.inf}}, "edge 'h' -> 'y' has weight inf, which must be a finite real"),
        ({"hy": {"weight": True}}, "edge 'h' -> 'y' has weight True, which must be a finite real"),
        ({"hy": {"weight": 10**400}}, "edge 'h' -> 'y' has weight 1000"),
        ({"hy": {"weight": np.ones(1)}}, "edge 'h' -> 'y' has weight array([1.]), which must be"),
        ({"hy": {"trainable": 1}}, "edge 'h' -> 'y' has trainable 1, which must be True or False"),
    ],
)
def test_invalid_attributes(attributes, match):
    with pytest.raises(GraphError, match=f"^{re.escape(match)}"):
        read(path_graph(**attributes))


@pytest.mark.parametrize(
    ("ports", "match"),
    [
        (
            {"inputs": ["b"]},
            "inputs names 'b', which is no node of the graph; its nodes: 'a', 'h', ",
        ),
        ({"inputs": ["hh"]}, "inputs names 'hh', which is no node of the graph; did you mean 'h'?"),
        ({"outputs": [["y"]]}, "outputs names ['y'], which is no node of the graph; "),
        ({"inputs": ["a", "a"]}, "inputs names node 'a' twice"),
        ({"outputs": ["y", "h", "y"]}, "outputs names node 'y' twice"),
        (
            {"inputs": ["h"]},
            "input 'h' has the predecessor 'a'; an input's value is its feature, so",
        ),
        ({"inputs": "a"}, "inputs is 'a'; it must be an iterable of nodes, such as ['a']"),
        ({"outputs": "hy"}, "outputs is 'hy'; it must be an iterable of nodes, such as ['hy']"),
        ({"inputs": 1}, "inputs is 1; it must be an iterable of nodes, such as [1]"),
        ({"inputs": {"a"}}, "inputs is a set, which has no order; give the nodes in column order"),
        ({"outputs": []}, "outputs is empty; name at least one node"),
    ],
)
def test_invalid_inputs_and_outputs(ports, match):
    with pytest.raises(GraphError, match=f"^{re.escape(match)}"):
        read(path_graph(), **ports)


def test_one_tuple_node_in_place_of_several_nodes():
    G = nx.DiGraph([((0, 0), (1, 0))])
    match = r"^inputs is \(0, 0\), itself one node; it must be an iterable of nodes: \[\(0, 0\)\]$"
    with pytest.raises(GraphError, match=match):
        read(G, inputs=(0, 0))


def test_nearest_node_is_shown_as_it_is():
    with pytest.raises(GraphError, match=r"names '1', which .*; did you mean 1\?$"):
        read(nx.DiGraph([(0, 1)]), outputs=["1"])


@pytest.mark.parametrize("argument", ["activation", "output_activation"])
@pytest.mark.parametrize("name", ["Tanh", None, 3])
def test_unknown_default_activations(argument, name):
    match = f"^{argument} is {re.escape(repr(name))}, which is not registered"
    with pytest.raises(OptionError, match=match):
        read(path_graph(), **{argument: name})
    with pytest.raises(OptionError, match=match):
        edges([0], [1], **{argument: name})


# ---- the plan of a graph ----------------------------------------------------------------------


def test_cycle_is_shown():
    G = nx.DiGraph([("in", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "y")])
    with pytest.raises(GraphError, match=r"^the graph has a cycle: 'a' -> 'b' -> 'c' -> 'a'$"):
        plan_graph(read(G))


def test_a_long_cycle_is_shown_in_part():
    around = np.arange(1, 1001)
    graph = edges(np.append(around, 5), np.append(np.roll(around, -1), 0), inputs=[])
    match = r"cycle: 1 -> 2 -> 3 -> 4 -> 5 -> \.\.\. 990 more \.\.\. -> 996 .* -> 1000 -> 1$"
    with pytest.raises(GraphError, match=match):
        plan_graph(graph)


def test_outputs_that_no_input_reaches():
    graph = edges([0, 2], [1, 3], inputs=[0])
    with pytest.warns(
        UnreachableWarning, match="^no input reaches output 3: its prediction does not"
    ):
        plan_graph(graph)


def test_many_unreached_outputs_are_named_in_part():
    graph = edges([0], [1], 10, inputs=[0])
    match = "^no input reaches output 2, 3, 4, 5, 6 and 3 more: "
    with pytest.warns(UnreachableWarning, match=match) as caught:
        plan_graph(graph, stacklevel=2)
    assert caught[0].filename == __file__
