"""Graphs of arrays: the meaning of each argument, and every error."""

import re

import networkx as nx
import numpy as np
import pytest
from reading import assert_same, edges, names, read

import dagbp
from dagbp._errors import GraphError, OptionError
from dagbp._graph.arrays import MAX_NODES
from dagbp._plan.from_graph import plan_graph


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
        (
            {"src": [0, 1]},
            GraphError,
            "src has 2 entries and dst has 1; their lengths must be equal",
        ),
        ({"src": [-1]}, GraphError, "src[0] is -1; nodes run from 0 to 1"),
        ({"n_nodes": 1}, GraphError, "dst[0] is 1; nodes run from 0 to 0"),
        (
            {"src": np.array([2**63], np.uint64)},
            OptionError,
            f"n_nodes must be a whole number >= 1 and <= {MAX_NODES:,}, got 9223372036854775809",
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
        (
            {"n_nodes": 0},
            OptionError,
            f"n_nodes must be a whole number >= 1 and <= {MAX_NODES:,}, got 0",
        ),
        (
            {"n_nodes": 2.0},
            OptionError,
            f"n_nodes must be a whole number >= 1 and <= {MAX_NODES:,}, got 2.0",
        ),
        (
            {"n_nodes": True},
            OptionError,
            f"n_nodes must be a whole number >= 1 and <= {MAX_NODES:,}, got True",
        ),
        (
            {"n_nodes": 2**40},
            OptionError,
            f"n_nodes must be a whole number >= 1 and <= {MAX_NODES:,}, got 1099511627776",
        ),
        ({"weight": [1, 2]}, GraphError, "weight has 2 entries; it must have 1"),
        (
            {"weight": 1.0},
            GraphError,
            "weight must be a 1-d array of real numbers; its shape is ()",
        ),
        ({"weight": [np.nan]}, GraphError, "weight[0] must be finite, got nan"),
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
        ({"bias": [0, np.inf]}, GraphError, "bias[1] must be finite, got inf"),
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
