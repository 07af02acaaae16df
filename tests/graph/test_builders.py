"""Built graphs: counts, coverage, depth, seeds, and the text of every error."""

import tracemalloc
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import dagbp
from dagbp import _memory
from dagbp._errors import OptionError
from dagbp._graph import builders, from_networkx, random_graphs
from dagbp._graph.from_networkx import read_networkx
from dagbp._plan.from_graph import plan_graph
from dagbp._plan.plan import depth

KNOWN = ("identity", "relu", "tanh")
NUMBERED = {  # builders with integers as nodes, inputs first
    "random_dag": lambda seed: dagbp.random_dag(60, 300, 5, 3, seed=seed),
    "watts_strogatz": lambda seed: dagbp.watts_strogatz(52, 4, 0.2, 5, 3, seed=seed),
    "barabasi_albert": lambda seed: dagbp.barabasi_albert(52, 2, 5, 3, seed=seed),
}
SEEDED = NUMBERED | {
    "layered": lambda seed: dagbp.layered([5, 8, 3], 0.5, seed=seed),
    "residual": lambda seed: dagbp.residual([5, 8, 8, 3], 2, 0.5, seed=seed),
}


def sources_and_sinks(G):
    return [v for v in G if not G.in_degree(v)], [v for v in G if not G.out_degree(v)]


def edges_between(G, lower, upper):
    return sum(u[0] == lower and v[0] == upper for u, v in G.edges)


@pytest.mark.parametrize("name", SEEDED)
def test_equal_seeds_draw_equal_graphs(name):
    build = SEEDED[name]
    assert list(build(7).edges) == list(build(7).edges)
    assert list(build(7).edges) == list(build(np.random.default_rng(7)).edges)
    assert list(build(7).edges) != list(build(8).edges)
    assert nx.is_directed_acyclic_graph(build(None))


@pytest.mark.parametrize("name", SEEDED)
def test_defaults_of_compile_find_inputs_and_outputs(name):
    G = SEEDED[name](0)
    graph = read_networkx(G, known=KNOWN)
    plan_graph(graph)
    assert len(graph.inputs) == 5
    assert len(graph.outputs) == 3
    given_names = [G.nodes[v].get("activation", "identity") for v in G]
    assert [graph.activation_names[k] for k in graph.activation] == given_names


@pytest.mark.parametrize("name", NUMBERED)
def test_numbers_are_a_topological_order(name):
    G = NUMBERED[name](0)
    assert list(G) == list(range(60))
    assert all(u < v for u, v in G.edges)
    assert sources_and_sinks(G) == ([0, 1, 2, 3, 4], [57, 58, 59])
    assert {G.nodes[v]["activation"] for v in range(5, 57)} == {"tanh"}
    assert {G.nodes[v]["activation"] for v in range(57, 60)} == {"identity"}


def test_layered_is_full_by_default():
    G = dagbp.layered([2, 3, 1])
    assert set(G.edges) == {((0, i), (1, j)) for i in range(2) for j in range(3)} | {
        ((1, i), (2, 0)) for i in range(3)
    }
    assert G.nodes[0, 0] == {"layer": 0}
    assert G.nodes[1, 2] == {"layer": 1, "activation": "relu"}
    assert G.nodes[2, 0] == {"layer": 2, "activation": "identity"}
    assert len(nx.multipartite_layout(G, subset_key="layer")) == 6


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.floats(0, 1, exclude_min=True),
    st.integers(0, 99),
)
def test_layered_has_the_exact_number_of_edges_and_no_isolated_node(sizes, density, seed):
    G = dagbp.layered(sizes, density, seed=seed)
    for layer, (a, b) in enumerate(pairwise(sizes)):
        expected = max(round(density * a * b), a, b)
        assert edges_between(G, layer, layer + 1) == expected
    sources, sinks = sources_and_sinks(G)
    assert sources == [(0, i) for i in range(sizes[0])]
    assert sinks == [(len(sizes) - 1, i) for i in range(sizes[-1])]


def test_layered_edges_are_drawn_uniformly():
    count = np.zeros((3, 4))
    for seed in range(2000):
        for (_, i), (_, j) in dagbp.layered([3, 4], 0.5, seed=seed).edges:
            count[i, j] += 1
    assert count.sum() == 12_000
    assert np.allclose(count, 1000, atol=110)  # five standard deviations


def test_residual_adds_shortcuts():
    G = dagbp.residual([2, 3, 4, 5], skip=2, density=0.5, seed=0)
    assert {v[0] - u[0] for u, v in G.edges} == {1, 2}
    assert edges_between(G, 0, 2) == 4
    assert edges_between(G, 1, 3) == 8  # round half to even, of 7.5
    assert edges_between(G, 1, 2) == 6


@st.composite
def dag_sizes(draw):
    n_inputs, n_outputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    hidden = draw(st.integers(0, 20))
    depth = 1 if hidden == 0 else draw(st.integers(2, hidden + 1))
    return n_inputs, hidden, n_outputs, depth


@given(dag_sizes(), st.floats(0, 1), st.integers(0, 99))
def test_random_dag_has_the_given_sizes_and_depth(sizes, fill, seed):
    n_inputs, hidden, n_outputs, levels = sizes
    n = n_inputs + hidden + n_outputs
    widths = random_graphs._level_widths(n_inputs, hidden, n_outputs, levels)
    least = int(np.maximum(widths[1:], widths[:-1]).sum())
    most = (n**2 - int((widths**2).sum())) // 2
    count = least + int(fill * (most - least))
    G = dagbp.random_dag(n, count, n_inputs, n_outputs, levels, seed=seed)
    assert G.number_of_edges() == count
    assert nx.dag_longest_path_length(G) == levels
    assert sources_and_sinks(G) == (list(range(n_inputs)), list(range(n - n_outputs, n)))
    plan = plan_graph(read_networkx(G, known=KNOWN))
    assert plan.level.tolist() == [G.nodes[v]["layer"] for v in G]


@pytest.mark.parametrize(
    ("nodes", "edges", "levels"),
    [(1_000, 20_000, 80), (10_000, 200_000, 109), (8_000, 40_000, 2_000)],
)
def test_random_dag_large_and_deep(nodes, edges, levels):
    G = dagbp.random_dag(nodes, edges, 4, 4, levels, seed=0)
    plan = plan_graph(read_networkx(G, known=KNOWN))
    assert len(plan.in_edge) == edges
    assert depth(plan) == levels


def test_random_dag_without_hidden_nodes():
    G = dagbp.random_dag(5, 6, 2, 3)
    assert G.number_of_edges() == 6


def test_inputs_and_outputs_of_a_small_world():
    G = dagbp.watts_strogatz(50, k=4, p=0.0, n_inputs=3, n_outputs=2, seed=0)
    hidden = G.subgraph(range(3, 53))
    ring = nx.relabel_nodes(nx.watts_strogatz_graph(50, 4, 0.0), lambda i: i + 3)
    assert nx.utils.graphs_equal(nx.Graph(hidden.edges), nx.Graph(ring.edges))
    assert all(G.out_degree(i) in (4, 5) for i in range(3))
    assert all(G.in_degree(i) in (4, 5) for i in (53, 54))


def test_hubs_of_a_scale_free_network():
    G = dagbp.barabasi_albert(500, m=2, n_inputs=3, n_outputs=2, seed=0)
    degree = [G.subgraph(range(3, 503)).degree(i) for i in range(3, 503)]
    assert G.subgraph(range(3, 503)).number_of_edges() == 2 * 498
    assert max(degree) > 8 * np.mean(degree)


def test_from_adjacency_keeps_stored_zeros():
    A = sparse.coo_array(([0.0, 2, 1, 1], ([0, 0, 1, 1], [1, 2, 2, 2])), shape=(4, 4))
    G = dagbp.from_adjacency(A)
    assert list(G) == [0, 1, 2, 3]
    assert list(G.edges(data="weight")) == [(0, 1, 0.0), (0, 2, 2.0), (1, 2, 2.0)]
    assert A.nnz == 4


@pytest.mark.parametrize(
    "kind", ["csr_matrix", "csc_array", "coo_matrix", "lil_array", "dok_array"]
)
def test_from_adjacency_takes_every_format(kind):
    A = getattr(sparse, kind)(np.array([[0, 3], [0, 0]], np.int8))
    assert list(dagbp.from_adjacency(A).edges(data="weight")) == [(0, 1, 3.0)]


def _matrix(value=1.0, shape=(2, 2)):
    return sparse.coo_array(([value], ([0], [1])), shape=shape)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: dagbp.layered([2]), r"^sizes is \[2\]; it must have at least 2 layers$"),
        (
            lambda: dagbp.layered([2, 0]),
            r"^sizes\[1\] must be a whole number >= 1, got 0$",
        ),
        (lambda: dagbp.layered([2, 1.0]), r"^sizes\[1\] must be a whole number >= 1, got 1\.0"),
        (lambda: dagbp.layered([2, True]), r"^sizes\[1\] must be a whole number >= 1, got True"),
        (lambda: dagbp.layered(3), r"^sizes is 3; it must list the nodes of each layer, such as"),
        (lambda: dagbp.layered("23"), r"^sizes is '23'; it must list the nodes of each layer"),
        (lambda: dagbp.layered([2, 1], 0), r"^density is 0; it must lie in \(0, 1\]$"),
        (lambda: dagbp.layered([2, 1], 1.5), r"^density is 1\.5; it must lie in \(0, 1\]$"),
        (lambda: dagbp.layered([2, 1], float("nan")), r"^density is nan; it must lie in"),
        (lambda: dagbp.layered([2, 1], "1"), r"^density is '1'; it must lie in"),
        (lambda: dagbp.layered([2, 1], True), r"^density is True; it must lie in"),
        (
            lambda: dagbp.layered([2, 1], activation=3),
            r"^activation is 3; it must be the name of an activation$",
        ),
        (
            lambda: dagbp.layered([2, 1], output_activation=None),
            r"^output_activation is None; it must be the name of an activation$",
        ),
        (
            lambda: dagbp.layered([2, 1], seed=-1),
            r"^seed must be None, a whole number >= 0 or a Generator, got -1$",
        ),
        (lambda: dagbp.layered([2, 1], seed=1.5), r"^seed must be .*, got 1\.5$"),
        (lambda: dagbp.residual([2, 1]), r"^sizes is \[2, 1\]; it must have at least 3 layers$"),
        (
            lambda: dagbp.residual([2, 1, 1], skip=3),
            r"^skip must be a whole number >= 2 and <= 2, got 3$",
        ),
        (lambda: dagbp.random_dag(9, 9, 0, 1), r"^n_inputs must be a whole number >= 1, got 0$"),
        (lambda: dagbp.random_dag(9, 9, 1, 0), r"^n_outputs must be a whole number >= 1, got 0$"),
        (
            lambda: dagbp.random_dag(9, np.True_, 1, 1),
            r"^n_edges must be a whole number >= 0, got .*True.*$",
        ),
        (lambda: dagbp.random_dag(2, 9, 1, 2), r"^n_nodes must be a whole number >= 3, got 2$"),
        (
            lambda: dagbp.random_dag(4, 2, 1, 1, 3),
            r"^n_edges must be a whole number >= 3 and <= 6, got 2$",
        ),
        (
            lambda: dagbp.random_dag(4, 7, 1, 1, 3),
            r"^n_edges must be a whole number >= 3 and <= 6, got 7$",
        ),
        (
            lambda: dagbp.random_dag(4, 4, 1, 1, 4),
            r"^depth must be a whole number >= 2 and <= 3, got 4$",
        ),
        (
            lambda: dagbp.random_dag(4, 4, 1, 1, 1),
            r"^depth must be a whole number >= 2 and <= 3, got 1$",
        ),
        (
            lambda: dagbp.random_dag(2, 1, 1, 1, 2),
            r"^depth must be a whole number >= 1 and <= 1, got 2$",
        ),
        (lambda: dagbp.watts_strogatz(2, 2, 0, 1, 1), r"^n must be a whole number >= 3, got 2$"),
        (
            lambda: dagbp.watts_strogatz(5, 5, 0, 1, 1),
            r"^k must be a whole number >= 2 and <= 4, got 5$",
        ),
        (
            lambda: dagbp.watts_strogatz(5, 2, -0.1, 1, 1),
            r"^p is -0\.1; it must lie in \[0, 1\]$",
        ),
        (
            lambda: dagbp.watts_strogatz(5, 2, 0, 0, 1),
            r"^n_inputs must be a whole number >= 1, got 0$",
        ),
        (lambda: dagbp.barabasi_albert(1, 1, 1, 1), r"^n must be a whole number >= 2, got 1$"),
        (
            lambda: dagbp.barabasi_albert(5, 5, 1, 1),
            r"^m must be a whole number >= 1 and <= 4, got 5$",
        ),
        (
            lambda: dagbp.barabasi_albert(5, 1, 1, 0),
            r"^n_outputs must be a whole number >= 1, got 0$",
        ),
        (
            lambda: dagbp.from_adjacency(np.eye(2)),
            r"^A must be a scipy sparse array, got a ndarray, .*; wrap it in scipy\.sparse\.csr",
        ),
        (
            lambda: dagbp.from_adjacency(_matrix(shape=(2, 3))),
            r"^A must be square, .*; its shape is \(2, 3\)$",
        ),
        (
            lambda: dagbp.from_adjacency(_matrix(1j)),
            r"^A must hold real numbers; its dtype is complex128$",
        ),
        (lambda: dagbp.from_adjacency(_matrix(True)), r"^A must hold real numbers; .* bool$"),
        (
            lambda: dagbp.from_adjacency(_matrix(np.nan)),
            r"^A\[0, 1\] must be finite, got nan$",
        ),
        (
            lambda: dagbp.from_adjacency(_matrix(np.inf)),
            r"^A\[0, 1\] must be finite, got inf$",
        ),
    ],
)
def test_invalid_arguments(build, match):
    with pytest.raises(OptionError, match=match):
        build()


def test_a_graph_too_large_for_the_memory_raises_before_it_is_drawn(monkeypatch):
    monkeypatch.setattr(_memory, "available_bytes", lambda: 10**7)
    for build, text in (
        (lambda: dagbp.layered([10**7, 10**7]), "a graph of 20,000,000 nodes and 100,000,000,000,"),
        (lambda: dagbp.residual([300, 300, 300]), "a graph of 900 nodes and 180,000 edges"),
        (lambda: dagbp.layered([4000, 4000], 0.05), "a graph of 8,000 nodes and 800,000 edges"),
        (lambda: dagbp.random_dag(10_000, 100_000, 9, 9), "a graph of 10,000 nodes and 100,000 ed"),
        (
            lambda: dagbp.residual([1200, 1, 1200], density=0.03),
            "drawing 43,200 of 1,440,000 edges",
        ),
        (
            lambda: dagbp.watts_strogatz(10**9, 4, 0.1, 2, 1),
            "a graph of 1,000,000,003 nodes and 2,000,000,012 edges",
        ),
        (
            lambda: dagbp.barabasi_albert(10**9, 2, 2, 1),
            "a graph of 1,000,000,003 nodes and 2,000,000,002 edges",
        ),
        (
            lambda: dagbp.barabasi_albert(1_000, 1, 1_000, 1),
            "drawing the edges of 1,000 inputs or outputs",
        ),
    ):
        with pytest.raises(dagbp.MemoryLimitError, match=f"^{text}.* needs .* are available$"):
            build()
    assert dagbp.layered([30, 30]).number_of_edges() == 900


def _peak_bytes(draw):
    tracemalloc.start()
    try:
        return draw(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("draw", "n_drawn"),
    [
        (lambda: dagbp.layered([200, 200, 200], seed=0), 0),
        (lambda: dagbp.layered([8000, 8000], 2e-4, seed=0), 0),
        (lambda: dagbp.watts_strogatz(5_000, 6, 0.1, 4, 2, seed=0), 15_000),
        (lambda: dagbp.barabasi_albert(2_000, 50, 4, 2, seed=0), 97_500),
    ],
)
def test_graphs_take_about_the_estimated_memory(draw, n_drawn):
    G, peak = _peak_bytes(draw)
    asked = from_networkx.NETWORKX_NODE_BYTES * len(G)
    asked += from_networkx.NETWORKX_EDGE_BYTES * G.number_of_edges()
    asked += builders.UNDIRECTED_EDGE_BYTES * n_drawn
    assert 0.6 * asked < peak < 1.3 * asked
