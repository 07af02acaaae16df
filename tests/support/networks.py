"""Networks that tests of several subjects share. The seed of initial values is 0 everywhere."""

import subprocess
import sys
from itertools import pairwise

import networkx as nx
import numpy as np
from hypothesis import strategies as st
from strategies import RandomNetwork, random_network

import dagbp
from dagbp._network import model_of

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
def blocky(draw):
    """Draw layers whose pairs are complete or sparse, with skip edges and three activations."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 50), min_size=2, max_size=5))
    share = draw(st.sampled_from([1.0, 0.9, 0.5, 0.1]))
    G, before = nx.DiGraph(), []
    for depth, width in enumerate(widths):
        layer = [(depth, k) for k in range(width)]
        for node in layer:
            name = {} if depth == 0 else {"activation": str(rng.choice(["tanh", "relu", "sin"]))}
            G.add_node(node, **name)
        last = before[-widths[depth - 1] :] if depth else []
        pairs = [(u, v) for u in last for v in layer if rng.random() < share]
        pairs += [(u, v) for u in before for v in layer if rng.random() < 0.02]
        G.add_weighted_edges_from((u, v, rng.normal() / width**0.5) for u, v in pairs)
        before += layer
    return RandomNetwork(G, [v for v in G if v[0] == 0], layer)


@st.composite
def complete_layers(draw):
    """Draw complete or nearly complete layers, some with skip edges, some without inputs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 40), min_size=2, max_size=4))
    holes = draw(st.sampled_from([0.0, 0.0, 0.01, 0.1]))
    layers, count = [], 0
    for width in widths:
        layers.append(range(count, count + width))
        count += width
    G = nx.DiGraph()
    for layer in layers:
        activation = draw(st.sampled_from(["tanh", "relu", "identity", "gelu"]))
        for node in layer:
            G.add_node(node, activation=activation, bias=rng.normal())
    inputs = list(layers[0]) if draw(st.booleans()) else []  # else constants
    for node in inputs:
        G.nodes[node].clear()
    pairs = [(u, v) for a, b in pairwise(layers) for u in a for v in b]
    if len(layers) > 2 and rng.random() < 0.5:
        pairs += [(u, v) for u in layers[0] for v in layers[2]]
    scale = 1 / np.sqrt(max(widths))
    for u, v in pairs:
        if rng.random() >= holes:
            G.add_edge(u, v, weight=rng.normal() * scale)
    return RandomNetwork(G, inputs, list(layers[-1]))


def dense_layers(activation="tanh", widths=(20, 40, 45, 20)):
    """Return layers of which 97 % of the edges exist."""
    return dagbp.layered(widths, density=0.97, activation=activation, seed=0)


def user_activation():
    """Register softsign as an activation of a user, once, and return its name."""
    name = "users_softsign"
    if name not in dagbp.activations.names():
        dagbp.activations.register(name, lambda s: s / (1 + abs(s)), lambda s, x: (1 - abs(x)) ** 2)
    return name


def share_levels(net, edges=1):
    """Let a team share each level of `net` with at least this many edges; return `net`."""
    model_of(net).engine.tile_planner.worth_barrier = edges
    return net


def run_python(code, *arguments):
    """Return the output of this code in a new Python process; fail if it fails."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
