"""Graphs read with few known activations."""

import networkx as nx
import numpy as np

from dagbp._graph.from_edges import read_edges
from dagbp._graph.from_networkx import read_networkx

KNOWN = ("identity", "tanh", "relu", "sigmoid")
ARRAYS = ("src", "dst", "inputs", "outputs", "weight", "edge_trainable", "bias", "has_bias")
ARRAYS += ("bias_trainable",)


def read(G, *args, **options):
    """Read a graph of NetworkX."""
    return read_networkx(G, *args, known=KNOWN, **options)


def edges(src, dst, *args, **options):
    """Read a graph of arrays."""
    return read_edges(src, dst, *args, known=KNOWN, **options)


def names(graph):
    """Return the activation of each node."""
    return [graph.activation_names[code] for code in graph.activation]


def path_graph(**attributes):
    """Return a -> h -> y with the attributes given for "a", "h", "y", "ah" and "hy"."""
    G = nx.DiGraph([("a", "h"), ("h", "y")])
    for where, values in attributes.items():
        (G.nodes[where] if len(where) == 1 else G.edges[tuple(where)]).update(values)
    return G


def assert_same(one, other, but=()):
    """Assert that two graphs are equal, except for the arrays `but`."""
    for name in set(ARRAYS) - set(but):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert names(one) == names(other)
    assert list(one.labels) == list(other.labels)
