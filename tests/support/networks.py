"""Networks that tests of several subjects share. The seed of initial values is 0 everywhere."""

import subprocess
import sys
from itertools import pairwise

import networkx as nx
import numpy as np
from hypothesis import strategies as st
from strategies import RandomNetwork, random_network

import dagbp

#: A small random network: 14 nodes, smooth activations.
CASE = random_network(11, max_nodes=14, min_inputs=2, smooth_only=True)


def network(source, dtype="float32", **options):
    """Compile sizes of layers, a networkx graph, or a `RandomNetwork`."""
    options = {"seed": 0, "dtype": dtype, **options}
    if isinstance(source, RandomNetwork):
        return source.compile(**options)
    graph = source if isinstance(source, nx.DiGraph) else dagbp.layered(source, seed=0)
    return dagbp.compile(graph, **options)


def chain(n_nodes, **options):
    """Return the network 0 -> 1 -> ... -> n_nodes - 1."""
    edges = range(n_nodes - 1), range(1, n_nodes)
    return dagbp.Network.from_edges(*edges, **{"seed": 0, **options})


@st.composite
def blocky(draw, max_width=50, shares=(1.0, 0.99, 0.9, 0.5, 0.1)):
    """Draw wide layers whose pairs are complete, nearly complete or sparse, with a few skips.

    Each layer has one activation or several, as each changes the rows that a block may hold.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=5))
    share, skips = draw(st.sampled_from(shares)), draw(st.sampled_from([0.0, 0.02, 1.0]))
    starts = np.cumsum([0, *widths]).tolist()
    layers = [list(range(a, b)) for a, b in pairwise(starts)]
    G = nx.DiGraph()
    G.add_nodes_from(layers[0])
    for layer in layers[1:]:
        several = draw(st.booleans())
        names = draw(st.permutations(["tanh", "relu", "identity", "gelu"]))
        for node in layer:
            name = names[int(rng.integers(2))] if several else names[0]
            G.add_node(node, activation=name, bias=float(rng.normal()))
    scale = 1 / max(widths) ** 0.5
    for b, layer in enumerate(layers):
        for a in range(b):
            wanted = share if a == b - 1 else skips
            mask = rng.random((widths[a], widths[b])) < wanted
            weight = rng.normal(size=mask.shape) * scale
            G.add_weighted_edges_from(
                (layers[a][i], layer[j], float(weight[i, j])) for i, j in np.argwhere(mask)
            )
    return RandomNetwork(G, layers[0], layers[-1])


def run_python(code, *arguments):
    """Return what a new Python process prints for this code; fail if it fails."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
