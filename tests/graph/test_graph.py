"""Reading graphs: the meaning of each attribute and array, writing back, and every error."""

import re
import tracemalloc
from fractions import Fraction
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dagbp
from dagbp._errors import GraphError, OptionError, UnreachableWarning
from dagbp._graph.arrays import MAX_NODES
from dagbp._graph.from_edges import read_edges
from dagbp._graph.from_networkx import draw, read_networkx, write_networkx
from dagbp._plan.from_graph import plan_graph

KNOWN = ("identity", "tanh", "relu", "sigmoid")
ARRAYS = ("src", "dst", "inputs", "outputs", "weight", "edge_trainable", "bias", "has_bias")
ARRAYS += ("bias_trainable",)


def read(G, *args, **options):
    return read_networkx(G, *args, known=KNOWN, **options)


def edges(src, dst, *args, **options):
    return read_edges(src, dst, *args, known=KNOWN, **options)


def names(graph):
    return [graph.activation_names[code] for code in graph.activation]


def chain(**attributes):
    """Return a -> h -> y with the attributes given for "a", "h", "y", "ah" and "hy"."""
    G = nx.DiGraph([("a", "h"), ("h", "y")])
    for where, values in attributes.items():
        (G.nodes[where] if len(where) == 1 else G.edges[tuple(where)]).update(values)
    return G


def assert_same(one, other, but=()):
    for name in set(ARRAYS) - set(but):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert names(one) == names(other)
    assert list(one.labels) == list(other.labels)


# ---- NetworkX ---------------------------------------------------------------------------------


def test_defaults():
    graph = read(chain())
    assert graph.labels == ("a", "h", "y")
    assert (graph.src.tolist(), graph.dst.tolist()) == ([0, 1], [1, 2])
    assert (graph.inputs.tolist(), graph.outputs.tolist()) == ([0], [2])
    assert names(graph) == ["identity", "tanh", "identity"]
    assert np.isnan(graph.weight).all()
    assert graph.edge_trainable.all()
    assert graph.bias.tolist() == [0, 0, 0]
    assert graph.has_bias.tolist() == graph.bias_trainable.tolist() == [False, True, True]


def test_attributes():
    G = chain(
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
    graph = read(chain(ah={"weight": value}, h={"bias": value}))
    assert graph.weight[0] == graph.bias[1] == 2


@pytest.mark.parametrize("value", [None, False, np.False_])
def test_no_bias(value):
    assert read(chain(h={"bias": value})).has_bias.tolist() == [False, False, True]


def test_attributes_of_an_input_that_change_nothing():
    G = chain(a={"activation": "identity", "bias": None, "trainable": False, "layer": 0})
    assert_same(read(G), read(chain()))


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
    plan = plan_graph(read(chain(), inputs=[]))
    assert plan.n_inputs == 0
    assert plan.level.tolist() == [1, 2, 3]


def test_an_input_may_be_an_output():
    G = nx.DiGraph()
    G.add_node("a")
    graph = read(G, inputs=["a"], outputs=["a"], output_activation="relu")
    assert names(graph) == ["identity"]
    assert plan_graph(graph).outputs.tolist() == [0]


def test_isolated_nodes_are_inputs_and_no_outputs():
    G = chain()
    G.add_node("alone")
    graph = read(G)
    assert graph.inputs.tolist() == [0, 3]
    assert graph.outputs.tolist() == [2]


def test_views_are_graphs_too():
    G = chain(h={"bias": 1.0})
    G.add_edge("h", "extra")
    assert_same(read(G.subgraph(["a", "h", "y"])), read(chain(h={"bias": 1.0})))
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
        read(chain(**attributes))


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
        read(chain(), **ports)


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
        read(chain(), **{argument: name})
    with pytest.raises(OptionError, match=match):
        edges([0], [1], **{argument: name})


# ---- arrays -----------------------------------------------------------------------------------


def test_edges_defaults():
    graph = edges([0, 1], [1, 2])
    assert graph.labels == range(3)
    assert_same(graph, read(nx.DiGraph([(0, 1), (1, 2)])))


def test_edges_in_full():
    graph = edges(
        np.array([2, 0], np.uint8),
        np.array([1, 2], np.int32),
        4,
        inputs=[0],
        outputs=np.array([3, 1]),
        weight=[1, 2],
        trainable=[True, False],
        activation=[None, "relu", "tanh", "relu"],
        bias=[9, 1, 2, 3],
        bias_trainable=[True, True, False, True],
    )
    assert graph.labels == range(4)
    assert graph.outputs.tolist() == [3, 1]
    assert graph.weight.tolist() == [1, 2]
    assert graph.edge_trainable.tolist() == [True, False]
    assert names(graph) == ["identity", "relu", "tanh", "relu"]
    assert graph.bias.tolist() == [0, 1, 2, 3]
    assert graph.bias_trainable.tolist() == [False, True, False, True]


def test_edges_scalar_flags():
    graph = edges([0], [1], trainable=False, bias=False, bias_trainable=True)
    assert not graph.edge_trainable.any()
    assert not graph.has_bias.any()
    assert not graph.bias_trainable.any()


def test_no_edges():
    graph = edges([], [], 2, outputs=[1])
    assert graph.inputs.tolist() == [0, 1]
    assert plan_graph(graph).in_ptr.tolist() == [0, 0, 0]


def test_arrays_are_copied():
    src, weight = np.array([0, 1]), np.array([1.0, 2.0])
    graph = edges(src, [1, 2], weight=weight)
    src[:], weight[:] = 5, 5
    assert graph.src.tolist() == [0, 1]
    assert graph.weight.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            {"src": [0.0]},
            GraphError,
            "src must be a 1-d array of integers; its dtype is float64",
        ),
        ({"dst": [True]}, GraphError, "dst must be a 1-d array of integers; its dtype is bool"),
        ({"src": [[0]]}, GraphError, "src must be a 1-d array of integers; its shape is (1, 1)"),
        ({"src": [[0], [1, 2]]}, GraphError, "src must be a 1-d array of integers; it is ragged"),
        ({"src": 0}, GraphError, "src must be a 1-d array of integers; its shape is ()"),
        ({"src": [0, 1]}, GraphError, "src has 2 entries and dst has 1; each edge has both"),
        ({"src": [-1]}, GraphError, "src[0] is -1; nodes run from 0 to 1"),
        ({"n_nodes": 1}, GraphError, "dst[0] is 1; nodes run from 0 to 0"),
        (
            {"src": np.array([2**63], np.uint64)},
            OptionError,
            f"n_nodes is 9223372036854775809; it must be an integer from 1 to {MAX_NODES}",
        ),
        (
            {"src": np.array([2**63], np.uint64), "n_nodes": 2},
            GraphError,
            "src[0] is 9223372036854775808; nodes run from 0 to 1",
        ),
        ({"src": [1]}, GraphError, "node 1 has an edge to itself; the graph must be acyclic"),
        (
            {"src": [], "dst": []},
            GraphError,
            "the graph is empty: there is no edge, and n_nodes is not given",
        ),
        ({"n_nodes": 0}, OptionError, "n_nodes is 0; it must be an integer from 1 to "),
        ({"n_nodes": 2.0}, OptionError, "n_nodes is 2.0; it must be an integer from 1 to "),
        ({"n_nodes": True}, OptionError, "n_nodes is True; it must be an integer from 1 to "),
        ({"n_nodes": 2**40}, OptionError, "n_nodes is 1099511627776; it must be an integer from 1"),
        ({"weight": [1, 2]}, GraphError, "weight has 2 entries; it must have 1"),
        (
            {"weight": 1.0},
            GraphError,
            "weight must be a 1-d array of real numbers; its shape is ()",
        ),
        ({"weight": [np.nan]}, GraphError, "weight[0] is nan, which must be finite"),
        (
            {"weight": [1j]},
            GraphError,
            "weight must be a 1-d array of real numbers; its dtype is complex128",
        ),
        (
            {"weight": ["1"]},
            GraphError,
            "weight must be a 1-d array of real numbers; its dtype is <U1",
        ),
        (
            {"trainable": [1]},
            GraphError,
            "trainable must be a 1-d array of bools; its dtype is int64",
        ),
        ({"trainable": [True] * 2}, GraphError, "trainable has 2 entries; it must have 1"),
        ({"bias": [0.0]}, GraphError, "bias has 1 entries; it must have 2"),
        ({"bias": True}, GraphError, "bias must be a 1-d array of real numbers; its shape is ()"),
        ({"bias": [0, np.inf]}, GraphError, "bias[1] is inf, which must be finite"),
        ({"bias_trainable": [True]}, GraphError, "bias_trainable has 1 entries; it must have 2"),
        (
            {"activation": ["tanh"]},
            GraphError,
            "activation has 1 entries; it must have 2, or be one name",
        ),
        (
            {"activation": [None, "rellu"]},
            GraphError,
            "node 1 has activation 'rellu', which is not registered; did you mean 'relu'?",
        ),
        (
            {"activation": ["tanh", None]},
            GraphError,
            "node 1 has activation None, which is not reg",
        ),
        (
            {"inputs": [2]},
            GraphError,
            "inputs names 2, which is no node of the graph; its nodes: 0,",
        ),
        ({"inputs": [False]}, GraphError, "inputs names False, which is no node of the graph; "),
        ({"outputs": [1.0]}, GraphError, "outputs names 1.0, which is no node of the graph; "),
        ({"inputs": 0}, GraphError, "inputs is 0; it must be an iterable of nodes, such as [0]"),
        (
            {"inputs": [1]},
            GraphError,
            "input 1 has the predecessor 0; an input's value is its feat",
        ),
    ],
)
def test_invalid_arrays(call, error, match):
    with pytest.raises(error, match=f"^{re.escape(match)}"):
        edges(**{"src": [0], "dst": [1]} | call)


def test_an_edge_given_twice():
    match = "^edge 0 -> 2 is given twice, at positions 0 and 2$"
    with pytest.raises(GraphError, match=match):
        dagbp.Network.from_edges([0, 1, 0], [2, 2, 2])


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


# ---- writing to NetworkX ----------------------------------------------------------------------


def test_write_networkx_keeps_other_attributes():
    G = chain(a={"pos": 1}, h={"bias": False}, y={"label": "out"}, ah={"color": "red"})
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
