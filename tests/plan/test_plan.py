"""The plan equals a plain-Python oracle, SciPy and NetworkX, and keeps its laws."""

import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import blocky
from scipy import sparse
from strategies import networks

from dagbp._network import model_of
from dagbp._plan import edge_order, paths
from dagbp._plan.plan import CycleFound, EdgeRepeated, Plan, depth, make_plan, reached


@st.composite
def dags(draw):
    """Draw (n, src, dst, inputs, outputs): nodes and edges in any order, some sources no inputs."""
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    upper = np.triu(rng.random((n, n)) < draw(st.floats(0, 1)), 1)
    order = rng.permutation(n)
    src, dst = (order[ends] for ends in np.nonzero(upper))
    shuffle = rng.permutation(len(src))
    sources = rng.permutation(np.setdiff1d(np.arange(n), dst))
    inputs = sources[: draw(st.integers(0, len(sources)))]
    outputs = rng.permutation(n)[: draw(st.integers(1, n))]
    return n, src[shuffle], dst[shuffle], inputs, outputs


def naive_levels(n, src, dst, inputs):
    edges = list(zip(src.tolist(), dst.tolist(), strict=True))

    def level(j):
        below = [level(i) for i, k in edges if k == j]
        return 0 if j in inputs else 1 + max(below, default=0)

    return [level(j) for j in range(n)]


@given(dags())
def test_rows_are_inputs_then_levels_then_graph_order(dag):
    n, src, dst, inputs, outputs = dag
    plan = make_plan(*dag)
    levels = naive_levels(n, src, dst, inputs.tolist())
    others = sorted(set(range(n)) - set(inputs.tolist()), key=lambda j: (levels[j], j))
    assert plan.node.tolist() == inputs.tolist() + others
    assert plan.row[plan.node].tolist() == list(range(n))
    assert plan.level.tolist() == [levels[j] for j in plan.node]
    assert plan.n_inputs == len(inputs)
    assert plan.outputs.tolist() == [plan.row[j] for j in outputs]
    slots = {row: k for k, row in enumerate(plan.outputs.tolist())}
    assert plan.output_slot.tolist() == [slots.get(row, -1) for row in range(n)]


@given(dags())
def test_views_hold_every_edge_in_order(dag):
    n, src, dst, _, _ = dag
    plan = make_plan(*dag)
    targets = np.repeat(np.arange(n), np.diff(plan.in_ptr))
    assert np.array_equal(plan.row[src[plan.in_edge]], plan.in_src)
    assert np.array_equal(plan.row[dst[plan.in_edge]], targets)
    assert np.array_equal(np.sort(plan.in_edge), np.arange(len(src)))
    assert (plan.in_src < targets).all()
    order = np.lexsort((plan.in_src, targets))
    assert np.array_equal(order, np.arange(len(src)))


@given(dags())
def test_views_agree_with_scipy(dag):
    n = dag[0]
    plan = make_plan(*dag)
    slots = np.arange(1, len(plan.in_src) + 1)
    by_target = sparse.csr_array((slots, plan.in_src, plan.in_ptr), shape=(n, n))
    by_source = by_target.tocsc()
    by_source.sort_indices()
    assert np.array_equal(plan.out_ptr, by_source.indptr)
    assert np.array_equal(plan.out_dst, by_source.indices)
    assert np.array_equal(np.arange(len(plan.in_src)), plan.in_slot[by_source.data - 1])


@given(dags())
def test_level_is_the_longest_path(dag):
    n, src, dst, _, outputs = dag
    G = nx.DiGraph(zip(src.tolist(), dst.tolist(), strict=True))
    G.add_nodes_from(range(n))
    sources = [j for j in range(n) if not G.in_degree(j)]
    plan = make_plan(n, src, dst, sources, outputs)
    assert depth(plan) == nx.dag_longest_path_length(G)
    assert (np.diff(plan.level) >= 0).all()


@given(dags())
def test_reached_is_reachability(dag):
    n, src, dst, inputs, _ = dag
    G = nx.DiGraph(zip(src.tolist(), dst.tolist(), strict=True))
    G.add_nodes_from(range(n))
    expected = set(inputs.tolist()).union(*(nx.descendants(G, i) for i in inputs.tolist()))
    found = reached(make_plan(*dag))
    assert set(np.flatnonzero(found[make_plan(*dag).row]).tolist()) == expected


@given(dags(), st.randoms(use_true_random=False))
def test_order_of_edges_changes_only_edge_numbers(dag, random):
    n, src, dst, inputs, outputs = dag
    order = np.array(random.sample(range(len(src)), len(src)), np.int64)
    plan = make_plan(*dag)
    other = make_plan(n, src[order], dst[order], inputs, outputs)
    assert np.array_equal(order[other.in_edge], plan.in_edge)
    for name in set(Plan._fields) - {"in_edge"}:
        assert np.array_equal(getattr(plan, name), getattr(other, name)), name


@given(dags(), st.booleans())
def test_edges_already_in_the_order_of_the_plan(dag, by_level):
    """The short cut gives the same plan, also where only the edge numbers ascend."""
    n, src, dst, inputs, outputs = dag
    row = make_plan(*dag).row
    if not by_level:  # some other topological order
        G = nx.empty_graph(n, nx.DiGraph)
        G.add_edges_from(zip(src.tolist(), dst.tolist(), strict=True))
        row = np.argsort(list(nx.topological_sort(G)))
    src, dst, inputs, outputs = row[src], row[dst], row[inputs], row[outputs]
    order = np.lexsort((src, dst))
    src, dst = src[order], dst[order]
    expected = make_plan(n, src, dst, inputs, outputs)
    plan = make_plan(n, src, dst, inputs, outputs, small=-1)
    for arrays in zip(plan, expected, strict=True):
        assert np.array_equal(*arrays)
    if len(src) > 1:  # the other way, for the same edges
        other = make_plan(n, src[::-1], dst[::-1], inputs, outputs, small=-1)
        assert np.array_equal(other.in_src, plan.in_src)
        assert np.array_equal(other.level, plan.level)
    if by_level:
        assert np.array_equal(plan.in_edge, np.arange(len(src)))


@given(dags(), st.randoms(use_true_random=False))
def test_relabelling_keeps_the_graph(dag, random):
    n, src, dst, inputs, outputs = dag
    label = np.array(random.sample(range(n), n), np.int64)
    plan = make_plan(*dag)
    other = make_plan(n, label[src], label[dst], label[inputs], label[outputs])
    assert np.array_equal(plan.level[plan.row], other.level[other.row[label]])
    assert sorted(np.diff(plan.in_ptr).tolist()) == sorted(np.diff(other.in_ptr).tolist())
    edges = [set(zip(p.node[p.in_src], p.node[_targets(p)], strict=True)) for p in (plan, other)]
    assert {(label[i], label[j]) for i, j in edges[0]} == edges[1]


def _targets(plan):
    return np.repeat(np.arange(len(plan.node)), np.diff(plan.in_ptr))


def test_constants_come_after_inputs():
    plan = make_plan(3, [0, 1], [2, 2], inputs=[1], outputs=[2])
    assert plan.node.tolist() == [1, 0, 2]
    assert plan.level.tolist() == [0, 1, 2]


def test_a_single_node_and_no_edge():
    plan = make_plan(1, [], [], inputs=[0], outputs=[0])
    assert plan.in_ptr.tolist() == plan.out_ptr.tolist() == [0, 0]
    assert depth(plan) == 0
    assert reached(plan).tolist() == [True]


@pytest.mark.parametrize(
    ("src", "dst", "cycle"),
    [
        ([0, 1, 2], [1, 2, 0], [0, 1, 2]),
        ([1, 0], [0, 1], [0, 1]),
        ([0, 3, 2, 1, 3], [3, 2, 3, 0, 1], None),  # two cycles, a node ahead of them
        ([2, 1, 0], [1, 2, 1], [1, 2]),
        ([0, 1, 2], [1, 0, 2], None),
    ],
)
def test_cycle_is_shown_from_its_lowest_node(src, dst, cycle):
    with pytest.raises(CycleFound) as caught:
        make_plan(4, src, dst, inputs=[], outputs=[0])
    nodes = caught.value.nodes
    assert cycle is None or nodes == cycle
    assert nodes[0] == min(nodes)
    assert len(set(nodes)) == len(nodes)
    assert set(zip(nodes, nodes[1:] + nodes[:1], strict=True)) <= set(zip(src, dst, strict=True))


def test_nodes_behind_a_cycle_are_not_named():
    with pytest.raises(CycleFound) as caught:
        make_plan(4, [2, 3, 2, 1], [3, 2, 1, 0], inputs=[], outputs=[0])
    assert caught.value.nodes == [2, 3]


@given(dags(), st.data())
def test_two_edges_with_the_same_ends_are_found(dag, data):
    n, src, dst, inputs, outputs = dag
    if len(src) == 0:
        return
    again = data.draw(st.integers(0, len(src) - 1))
    with pytest.raises(EdgeRepeated) as caught:
        make_plan(n, np.append(src, src[again]), np.append(dst, dst[again]), inputs, outputs)
    assert caught.value.edges == (again, len(src))


def test_a_very_long_chain():
    n = 200_000
    order = np.random.default_rng(0).permutation(n)
    plan = make_plan(n, order[:-1], order[1:], order[:1], order[-1:])
    assert np.array_equal(plan.node, order)
    assert depth(plan) == n - 1


def test_arrays_are_contiguous_and_of_fixed_type():
    plan = make_plan(3, [0, 1], [2, 2], inputs=[1], outputs=[2])
    for name, array in zip(Plan._fields[:-1], plan[:-1], strict=True):
        assert array.flags.c_contiguous, name
        assert array.flags.writeable, name
        row, slot = name in ("in_src", "out_dst"), name in ("in_edge", "in_slot")
        assert array.dtype == (np.int32 if row else np.uint32 if slot else np.int64), name


def test_all_types_of_arrays_share_one_compiled_signature():
    frozen = np.array([0, 1])
    frozen.flags.writeable = False
    strided = np.arange(4, dtype=np.int32)[::2]
    make_plan(3, frozen, [2, 2], inputs=strided[:1], outputs=np.array([2], np.uint8), small=0)
    make_plan(3, strided, [1, 1], inputs=[0], outputs=[1], small=0)
    reached(make_plan(3, [0], [1], inputs=[0], outputs=[2]))
    sorts = edge_order._counting_sort, edge_order._sort_by_target, edge_order._transpose
    for function in (*sorts, paths._kahn, paths._spread, paths.raise_levels):
        assert len(function.signatures) == 1, function


def test_plan_pickles():
    plan = make_plan(3, [0, 1], [2, 2], inputs=[1], outputs=[2])
    copy = pickle.loads(pickle.dumps(plan))
    assert all(np.array_equal(a, b) for a, b in zip(plan, copy, strict=True))


# ---------------------------------------------------------------------------- Python and compiled


@given(st.one_of(networks(max_nodes=40), blocky()))
def test_the_plan_is_the_same_in_python_and_compiled(case):
    graph = model_of(case.compile()).graph
    arrays = graph.src, graph.dst, graph.inputs, graph.outputs, graph.activation
    one, two = (make_plan(len(graph.labels), *arrays, small=small) for small in (0, 10**9))
    for name in Plan._fields:
        first, second = getattr(one, name), getattr(two, name)
        assert np.array_equal(first, second), name
        assert getattr(first, "dtype", None) == getattr(second, "dtype", None), name


@pytest.mark.parametrize("small", [0, 10**9])
@pytest.mark.parametrize(
    ("src", "dst", "error"),
    [
        ([0, 1, 2], [1, 2, 1], CycleFound),
        ([0, 1, 0], [1, 2, 1], EdgeRepeated),
        ([2, 2, 0, 2], [3, 1, 1, 3], EdgeRepeated),
    ],
)
def test_the_same_errors_in_python_and_compiled(small, src, dst, error):
    with pytest.raises(error) as caught:
        make_plan(4, src, dst, inputs=[], outputs=[3], small=small)
    if error is EdgeRepeated:
        assert caught.value.edges == ((0, 2) if len(src) == 3 else (0, 3))
