"""Row clustering: planted blocks are found in any order of nodes; results do not change."""

import pickle
from functools import partial
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import dagbp
from dagbp._graph.from_edges import read_edges
from dagbp._layout.layout import Layout
from dagbp._network import model_of
from dagbp._plan import clustering
from dagbp._plan.clustering import DEFAULT, Clustering, View, cluster_rows
from dagbp._plan.from_graph import plan_graph
from dagbp._plan.plan import Plan, make_plan
from dagbp._plan.row_class import row_classes

SMALL_BLOCKS = Clustering(rows=4)

# ---------------------------------------------------------------------------- planted blocks
# A case yields edges (E, 2) of nodes in topological order, and how many of them are in the blocks.


def block(rng, sources, targets, share):
    """Return this share of the edges between two lists of nodes."""
    there = rng.random((len(sources), len(targets))) < share
    i, j = np.nonzero(there)
    return np.column_stack([np.asarray(sources)[i], np.asarray(targets)[j]])


def edges_of_layers(rng, first, widths, share):
    """Return the edges of layers; nodes are numbered from `first` on."""
    spans = [np.arange(a, b) for a, b in pairwise(first + np.cumsum([0, *widths]))]
    return np.concatenate([block(rng, *pair, share) for pair in pairwise(spans)])


def three_parts(rng):
    """Return three complete nets side by side."""
    parts = [edges_of_layers(rng, first, (64, 96, 64), 1.0) for first in (0, 224, 448)]
    return np.concatenate(parts), sum(map(len, parts))


def dense_and_sparse(rng):
    """Return a complete net, a sparse one, and a few edges between them."""
    dense, loose = (
        edges_of_layers(rng, 0, (96, 128, 64), 1.0),
        edges_of_layers(rng, 288, (96, 128, 64), 0.1),
    )
    spans = [np.arange(a, b) for a, b in ((0, 96), (384, 512), (96, 224), (512, 576))]
    across = [block(rng, *pair, 0.05) for pair in zip(spans[::2], spans[1::2], strict=True)]
    return np.concatenate([dense, loose, *across]), len(dense)


def residual(rng):
    """Return complete layers with skips, beside a sparse net."""
    G = nx.convert_node_labels_to_integers(dagbp.residual([64] * 4, skip=2, density=1.0, seed=0))
    dense, loose = np.array(G.edges), edges_of_layers(rng, len(G), (64, 96, 96, 64), 0.1)
    return np.concatenate([dense, loose]), len(dense)


def core(share):
    """Return a case: a block among random edges."""

    def draw(rng):
        loose = edges_of_layers(rng, 0, (300, 300, 300), 0.05)
        dense = block(rng, np.arange(96), np.arange(300, 396), share)
        return np.unique(np.concatenate([loose, dense]), axis=0), len(dense)

    return draw


def groups(share, side=48):
    """Return a case: each group of a layer reads some groups of the previous layer."""

    def draw(rng):
        spans = np.arange(3 * 6 * side).reshape(3, 6, side)
        pairs = [
            (spans[k, a], spans[k + 1, b])
            for k in range(2)
            for b in range(6)
            for a in rng.choice(6, 2, replace=False)
        ]
        edges = np.concatenate([block(rng, *pair, share) for pair in pairs])
        return edges, len(edges)

    return draw


CASES = {
    "three parts": three_parts,
    "dense and sparse": dense_and_sparse,
    "residual": residual,
    "core": core(1.0),
    "core, 80 %": core(0.8),
    "groups": groups(1.0),
    "groups, 85 %": groups(0.85),
    "groups of 60": groups(0.9, 60),
}


def shuffled(name, seed=0):
    """Return a case's edges with nodes and edges in random order, and its planted edges."""
    rng = np.random.default_rng(seed)
    edges, planted = CASES[name](rng)
    label = rng.permutation(edges.max() + 1)
    return label[rng.permutation(edges)], planted


def compiled(edges, weights=None, **options):
    if weights is None:
        weights = np.random.default_rng(1).normal(size=len(edges)) / 8
    return dagbp.Network.from_edges(*edges.T, weight=weights, **{"dense_above": 0.5} | options)


def unclustered(patch):
    """Make networks that leave the rows in graph order."""
    patch.setattr("dagbp._model.model.plan_graph", partial(plan_graph, clustering=None))


def graph_of(edges):
    return read_edges(*edges.T, known=("tanh", "identity"))


def unclustered_layout(edges):
    graph = graph_of(edges)
    plan = plan_graph(graph, clustering=None)
    own = np.zeros(len(plan.node), np.bool_)
    return Layout(plan, graph.activation[plan.node], own, np.dtype(np.float32), 0.5)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", CASES)
def test_planted_blocks_run_as_panels(name, seed):
    edges, planted = shuffled(name, seed)
    layout = model_of(compiled(edges)).engine.layout
    assert layout.ins.n_edges > 0.85 * planted
    assert layout.outs.n_edges > 0.85 * planted
    assert layout.n_explicit_zeros < 0.4 * planted
    assert unclustered_layout(edges).ins.n_edges < 0.6 * planted, "clustering makes the difference"


def test_the_summary_shows_them():
    edges, _ = shuffled("groups")
    assert "dense panels for 100% of the edges forward" in compiled(edges).summary()


@pytest.mark.parametrize("name", CASES)
def test_results_equal_those_in_the_graph_order(name, monkeypatch):
    edges, _ = shuffled(name)
    net = compiled(edges, dtype="float64")
    unclustered(monkeypatch)
    plain = compiled(edges, dtype="float64")
    assert not np.array_equal(model_of(net).engine.plan.node, model_of(plain).engine.plan.node)
    assert net.inputs == plain.inputs
    assert net.outputs == plain.outputs
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(70, len(net.inputs))), rng.normal(size=(70, len(net.outputs)))
    found = []
    for one in (net, plain):
        bp = one.backprop(X, Y)
        one.fit(X, Y, optimizer="sgd", learning_rate=1e-3, epochs=3, batch_size=32, seed=0)
        graph = one.to_networkx()
        found.append(
            {
                "loss": np.array([bp.loss]),
                "x": np.array([bp.x[i] for i in range(net.n_nodes)]),
                "delta": np.array([bp.delta[i] for i in bp.delta]),
                "grad_weight": np.array([bp.grad_weight[i, j] for i, j in edges]),
                "grad_bias": np.array([bp.grad_bias[i] for i in bp.grad_bias]),
                "predict": one.predict(X),
                "evaluate": np.array([one.evaluate(X, Y)]),
                "trained": np.array([graph.edges[i, j]["weight"] for i, j in edges.tolist()]),
            }
        )
    for key in found[0]:
        assert_near(found[0][key], found[1][key], 1e-11)
    assert np.array_equal(found[0]["x"][net.inputs], X.T)


def as_frame(X, tmp_path, inputs):
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(X, columns=inputs)[inputs[::-1]]


def as_memory_map(X, tmp_path, inputs):
    mapped = np.memmap(tmp_path / "X", np.float64, "w+", shape=X.shape)
    mapped[:] = X
    return mapped


def as_sparse(X, tmp_path, inputs):
    return sparse.csr_array(X)


FORMS = {
    "array": lambda X, tmp_path, inputs: X,
    "frame": as_frame,
    "memory map": as_memory_map,
    "sparse": as_sparse,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 7, 150])
@pytest.mark.parametrize("schedule", ["tiles", "levels"])
def test_inputs_move_and_features_go_with_them(form, n, schedule, tmp_path, monkeypatch):
    edges, _ = shuffled("three parts")
    net = compiled(edges, schedule=schedule, n_threads=2)
    assert (np.diff(model_of(net).engine.plan.row[net.inputs]) < 0).any()
    X = np.random.default_rng(0).normal(size=(n, len(net.inputs))).round(3)
    X[:, ::5] = 0
    given = FORMS[form](X, tmp_path, net.inputs)
    predicted, x = net.predict(given), net.forward(given).x
    for k in (0, 3, len(net.inputs) - 1):
        assert np.array_equal(x[net.inputs[k]], X[:, k].astype(np.float32))
    unclustered(monkeypatch)
    assert_near(predicted, compiled(edges).predict(X), 1e-5)


# ---------------------------------------------------------------------------- the same order again


@pytest.mark.parametrize("name", CASES)
def test_the_order_depends_on_the_graph_only(name):
    edges, _ = shuffled(name)
    net = compiled(edges)
    expected = model_of(net).engine.plan
    # compiled for many edges, or in Python for few
    for small in (0, 10**9):
        plan = plan_graph(graph_of(edges), clustering=DEFAULT._replace(small=small))
        for one, two in zip(plan, expected, strict=True):
            assert np.array_equal(one, two)
    # nor do options that choose kernels matter
    for options in ({"dense_above": 0.9}, {"dtype": "float64"}, {"schedule": "levels"}):
        assert np.array_equal(model_of(compiled(edges, **options)).engine.plan.node, expected.node)
    copy = pickle.loads(pickle.dumps(net))
    assert np.array_equal(model_of(copy).engine.plan.node, expected.node)
    assert np.array_equal(copy.parameters, net.parameters)
    assert copy.weights[tuple(edges[5])] == net.weights[tuple(edges[5])]


def test_hashing_few_edges_at_a_time_gives_the_same_order():
    graph = graph_of(shuffled("groups, 85 %")[0])
    few = plan_graph(graph, clustering=Clustering(slice_edges=100))
    assert np.array_equal(few.node, plan_graph(graph).node)


def test_parameters_follow_the_rows():
    edges, _ = shuffled("core")
    net = compiled(edges)
    node, n = model_of(net).engine.plan.node, net.n_nodes
    place = np.empty(n, np.int64)
    place[node] = np.arange(n)
    order = np.lexsort((place[edges[:, 0]], place[edges[:, 1]]))
    expected = np.array([net.weights[i, j] for i, j in edges[order]])
    assert np.array_equal(net.parameters[: net.n_edges], expected)


# ---------------------------------------------------------------------------- the graph order


def ring():
    i, step = np.meshgrid(np.arange(400), np.arange(-20, 20), indexing="ij")
    return np.column_stack([i.ravel(), 400 + ((i + step) % 400).ravel()])


def blocks_of(side):
    rng = np.random.default_rng(0)
    first = [np.arange(20 * side)[k::20] for k in range(20)]
    pairs = [(first[k], 20 * side + first[k]) for k in range(20)]
    return np.concatenate([block(rng, *pair, 1.0) for pair in pairs])


def edges_of(G):
    return np.array(nx.convert_node_labels_to_integers(G).edges)


KEPT = {
    "complete layers": lambda: edges_of(dagbp.layered([50, 80, 70, 40], seed=0)),
    "half-full layers": lambda: edges_of(dagbp.layered([100, 100, 100], density=0.5, seed=0)),
    "sparse layers": lambda: edges_of(dagbp.layered([100, 200, 100], density=0.2, seed=0)),
    "residual": lambda: edges_of(dagbp.residual([50, 60, 60, 40], skip=2, density=1.0, seed=0)),
    "random": lambda: edges_of(dagbp.random_dag(400, 8_000, 30, 10, depth=12, seed=0)),
    "small world": lambda: edges_of(dagbp.watts_strogatz(400, 40, 0.1, 30, 10, seed=0)),
    "scale-free": lambda: edges_of(dagbp.barabasi_albert(400, 20, 30, 10, seed=0)),
    "ring": ring,
    "blocks too small": lambda: blocks_of(DEFAULT.rows - 2),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_graph_order_stays_where_nothing_is_gained(name):
    graph = graph_of(KEPT[name]())
    assert np.array_equal(plan_graph(graph).node, plan_graph(graph, clustering=None).node)


def test_blocks_of_the_least_size_become_contiguous():
    rows = DEFAULT.rows
    node = plan_graph(graph_of(blocks_of(rows))).node
    assert np.array_equal(node[:rows], np.arange(20 * rows)[::20])


def test_cells_end_where_contiguous_blocks_end():
    edges, _ = CASES["groups of 60"](np.random.default_rng(0))
    layout = model_of(compiled(edges)).engine.layout
    assert layout.ins.n_edges > 0.95 * layout.n_slots
    plain = unclustered_layout(edges)
    assert layout.n_explicit_zeros < 0.7 * plain.n_explicit_zeros
    assert np.array_equal(layout.plan.node, plain.plan.node)


def test_rows_in_no_block_keep_their_order():
    """Blocks come first in their level, in the order of their first nodes, then the rest."""
    edges, _ = shuffled("core")
    plan = model_of(compiled(edges)).engine.plan
    moved = plan.cluster > 0
    assert moved.sum() == 2 * 96
    for level in range(3):
        here = plan.level == level
        assert not (np.diff(moved[here].astype(int)) > 0).any()
        assert (np.diff(plan.node[here & ~moved]) > 0).all()
        assert (np.diff(plan.node[here & moved]) > 0).all()


# ---------------------------------------------------------------------------- plans and kernels


@st.composite
def plans(draw):
    """Draw (plan, node_class by node) of small layers in blocks, nodes in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 14), min_size=2, max_size=4))
    start = np.cumsum([0, *widths])
    share = rng.choice([0.0, 0.1, 0.9, 1.0], size=(len(widths), len(widths), 2, 2))
    layer = np.repeat(np.arange(len(widths)), widths)
    half = rng.integers(2, size=start[-1])
    i, j = np.nonzero(layer[:, None] < layer[None, :])
    there = rng.random(len(i)) < share[layer[i], layer[j], half[i], half[j]]
    label = rng.permutation(start[-1])
    src, dst = label[i[there]], label[j[there]]
    sources = np.setdiff1d(np.arange(start[-1]), dst)
    inputs = rng.permutation(sources)[: rng.integers(len(sources) + 1)]
    node_class = rng.integers(draw(st.integers(1, 2)), size=start[-1])
    return make_plan(int(start[-1]), src, dst, inputs, [int(label[-1])], node_class), node_class


def ends(plan):
    """Return the nodes that each edge joins, (E, 2), by edge."""
    targets = np.repeat(np.arange(len(plan.node)), np.diff(plan.in_ptr))
    result = np.empty((len(targets), 2), np.int64)
    result[plan.in_edge] = plan.node[np.column_stack([plan.in_src, targets])]
    return result


@given(plans())
def test_a_clustered_plan_is_a_plan(drawn):
    plan, node_class = drawn
    found = cluster_rows(plan, node_class, SMALL_BLOCKS)
    n, n_edges = len(plan.node), len(plan.in_src)
    assert np.array_equal(np.sort(found.node), np.arange(n))
    assert np.array_equal(found.node[found.row], np.arange(n))
    assert set(found.node[: plan.n_inputs]) == set(plan.node[: plan.n_inputs])
    assert np.array_equal(found.level, plan.level)
    assert np.array_equal(found.level[found.row], plan.level[plan.row])
    rest = slice(plan.n_inputs, n)
    assert np.array_equal(node_class[found.node[rest]], node_class[plan.node[rest]])
    assert np.array_equal(found.node[found.outputs], plan.node[plan.outputs])
    assert np.array_equal(found.output_slot[found.row], plan.output_slot[plan.row])
    assert np.array_equal(np.sort(found.in_edge), np.arange(n_edges))
    slots = np.arange(1, n_edges + 1)
    by_target = sparse.csr_array((slots, found.in_src, found.in_ptr), shape=(n, n))
    targets = np.repeat(np.arange(n), np.diff(found.in_ptr))
    assert (found.in_src < targets).all()
    assert np.array_equal(np.lexsort((found.in_src, targets)), np.arange(n_edges))
    assert np.array_equal(ends(found), ends(plan))
    by_source = by_target.tocsc()
    by_source.sort_indices()
    assert np.array_equal(found.out_ptr, by_source.indptr)
    assert np.array_equal(found.out_dst, by_source.indices)
    assert np.array_equal(slots - 1, found.in_slot[by_source.data - 1])
    for name in set(Plan._fields) - {"n_inputs"}:
        assert getattr(found, name).dtype == getattr(plan, name).dtype, name
        assert getattr(found, name).flags.c_contiguous, name


def test_small_plans_are_clustered():
    """Otherwise the test before this one would pass for any code."""
    rng = np.random.default_rng(0)
    there = (np.arange(8)[:, None] + np.arange(8)) % 2 == 0
    src, dst = np.nonzero(there)
    plan = make_plan(16, src, 8 + dst, rng.permutation(8), [15])
    found = cluster_rows(plan, np.zeros(16), SMALL_BLOCKS)
    assert found.cluster.tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert [node % 2 for node in found.node[8:]] == [0] * 4 + [1] * 4


@st.composite
def clustered(draw):
    """Draw a view, and clusters of its rows as targets and as sources."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 150))
    matrix = sparse.csr_array(rng.random((n, n)) < draw(st.sampled_from([0.0, 0.3, 0.75, 1.0])))
    view = View(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))
    clusters = [rng.integers(draw(st.integers(1, 4)), size=n) for _ in range(2)]
    return matrix.toarray(), view, *clusters


@given(clustered())
def test_edges_in_blocks_by_definition(drawn):
    matrix, view, targets, sources = drawn
    total, found = 0, (set(), set())
    for a in range(1, targets.max() + 1):
        for b in range(1, sources.max() + 1):
            place = matrix[np.ix_(targets == a, sources == b)]
            full = 100 * place.sum() >= DEFAULT.percent * place.size
            if min(place.shape) >= DEFAULT.rows and full:
                total += place.sum()
                found[0].add(a)
                found[1].add(b)
    for small in (0, 10**9):
        options = DEFAULT._replace(small=small)
        edges, *dense = clustering._edges_in_blocks(view, targets, sources, options)
        assert edges == total
        assert tuple(set(np.flatnonzero(flags).tolist()) for flags in dense) == found


@given(plans())
def test_clusters_are_of_one_class_and_similar(drawn):
    """All rows of a cluster are similar to one of its rows."""
    plan, node_class = drawn
    views = View(plan.in_ptr, plan.in_src), View(plan.out_ptr, plan.out_dst)
    row_class = row_classes(plan, node_class[plan.node])
    cluster = clustering._clusters(*views, row_class, SMALL_BLOCKS)
    rows = [set(views[0].other[a:b].tolist()) for a, b in pairwise(plan.in_ptr)]
    for c in range(1, cluster.max(initial=0) + 1):
        members = np.flatnonzero(cluster == c)
        assert len(set(row_class[members].tolist())) <= 1
        near = [
            all(
                1000 * len(rows[i] & rows[j]) // len(rows[i] | rows[j]) >= clustering.SIMILAR
                for j in members
            )
            for i in range(len(rows))
            if rows[i]
        ]
        assert any(near)


def test_each_kernel_has_one_signature():
    for name in ("three parts", "core"):
        plan_graph(graph_of(shuffled(name)[0]), clustering=Clustering(small=0))
    for function in (clustering._lead_clusters, clustering._count_dense):
        assert len(function.signatures) == 1


def test_rows_that_share_one_neighbour_by_chance_form_no_cluster():
    """All targets share the source of the least hash; their other sources are random."""
    rng, n, hub = np.random.default_rng(0), 4_000, 7
    other = np.array([np.sort(rng.permutation(n)[:20]) for _ in range(500)])
    ptr = np.arange(0, other.size + 1, 20)
    ptr = np.concatenate([ptr, np.full(n - 500, ptr[-1])])
    row_class, best = np.zeros(n, np.int64), np.zeros(n, np.int64)
    strangers = rng.integers(1, 2**32, n)
    view = View(ptr, other.ravel().astype(np.int32))
    leaders = partial(clustering._leaders, view, row_class, best, np.full(n, hub), block_rows=32)
    assert len(leaders(second=strangers)) == 0
    few = np.where(np.arange(n) % 4 == 3, 5, strangers)  # as if a quarter were similar
    assert leaders(second=few).tolist() == [499]
    fewer = np.where(np.arange(n) % 25 == 24, 5, strangers)
    assert len(leaders(second=fewer)) == 0
