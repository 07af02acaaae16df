"""Filled blocks: a valid plan, and explicit zeros that change no result."""

import copy
import math
import pickle
from itertools import groupby, pairwise

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near
from hypothesis import given
from hypothesis import strategies as st
from strategies import RandomNetwork

import dagbp
from dagbp._layout.fill import fill_blocks
from dagbp._machine import FAR_SHARE, NEAR_SHARE
from dagbp._network import model_of
from dagbp._plan.plan import Plan, make_plan
from dagbp._plan.row_class import CELL_ROWS, LEAST_ROWS
from dagbp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

EXACT = 1e-12
DENSITIES = (None, 0.1, 1.0, 2.0)
UNFILLED = 2.0

# ---------------------------------------------------------------------------- the plan


@st.composite
def plans_with_blocks(draw):
    """Draw (plan, row class) of layers; pairs are full, nearly full, sparse or not connected."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 110), min_size=2, max_size=4))
    n_classes = draw(st.integers(1, 2))
    start = np.concatenate([[0], np.cumsum(widths)])
    src, dst = [], []
    for b in range(1, len(widths)):
        for a in range(b):
            skip = rng.choice([0.0, 0.05, 0.4, 0.7, 0.97, 1.0])
            share = rng.random() + 0.2 if a == b - 1 else skip
            i, j = np.nonzero(rng.random((widths[a], widths[b])) < share)
            src.append(start[a] + i)
            dst.append(start[b] + j)
    row_class = rng.integers(n_classes, size=start[-1])
    inputs = np.arange(widths[0])
    src, dst = np.concatenate(src), np.concatenate(dst)
    plan = make_plan(int(start[-1]), src, dst, inputs, [int(start[-1]) - 1], row_class)
    by_row = plan.level * n_classes + row_class[plan.node]
    by_row[: plan.n_inputs] = -1
    return plan, by_row


def targets(plan):
    return np.repeat(np.arange(len(plan.node)), np.diff(plan.in_ptr))


def cells(row_class):
    """Return lists of CELL_ROWS neighbours of one class; the last few go with the list before."""
    found = []
    for _, group in groupby(range(len(row_class)), row_class.tolist().__getitem__):
        rows = list(group)
        while len(rows) >= CELL_ROWS + LEAST_ROWS:
            found.append(rows[:CELL_ROWS])
            del rows[:CELL_ROWS]
        found.append(rows)
    return found


def matrix(plan):
    full = np.zeros((len(plan.node), len(plan.node)), bool)
    full[targets(plan), plan.in_src] = True
    return full


@given(plans_with_blocks(), st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_a_filled_plan_is_a_plan(drawn, dense_above):
    plan, row_class = drawn
    filled, slot = fill_blocks(plan, row_class, dense_above)
    if slot is None:
        assert filled is plan
        return
    target, n_slots = targets(filled), len(filled.in_src)
    assert filled.in_ptr[0] == 0
    assert filled.in_ptr[-1] == filled.out_ptr[-1] == len(filled.out_dst) == n_slots
    assert (plan.level[filled.in_src] < plan.level[target]).all()
    assert not (target < plan.n_inputs).any()
    same_target = target[1:] == target[:-1]
    assert (np.diff(filled.in_src)[same_target] > 0).all(), "sources ascend, and none repeats"
    assert np.array_equal(np.sort(filled.in_slot), np.arange(n_slots))
    source = np.repeat(np.arange(len(plan.node)), np.diff(filled.out_ptr))
    assert np.array_equal(filled.out_dst[filled.in_slot], target)
    assert np.array_equal(source[filled.in_slot], filled.in_src)
    assert (np.diff(filled.out_dst)[source[1:] == source[:-1]] > 0).all()
    for name in {"node", "row", "level", "outputs", "output_slot"}:
        assert np.array_equal(getattr(filled, name), getattr(plan, name)), name
    assert filled.n_inputs == plan.n_inputs
    for name in set(Plan._fields) - {"n_inputs", "in_edge"}:
        array = getattr(filled, name)
        assert array.dtype == getattr(plan, name).dtype, name
        assert array.flags.c_contiguous, name


@given(plans_with_blocks(), st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_every_edge_is_at_its_slot_and_explicit_zeros_have_no_edge(drawn, dense_above):
    plan, row_class = drawn
    filled, slot = fill_blocks(plan, row_class, dense_above)
    if slot is None:
        return
    assert (np.diff(slot) > 0).all()
    assert np.array_equal(filled.in_src[slot], plan.in_src)
    assert np.array_equal(targets(filled)[slot], targets(plan))
    assert np.array_equal(filled.in_edge[slot], plan.in_edge)
    added = np.ones(len(filled.in_src), bool)
    added[slot] = False
    assert added.any()
    assert (filled.in_edge[added] == -1).all()


@given(plans_with_blocks(), st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_blocks_are_filled_whole_or_not_at_all(drawn, dense_above):
    plan, row_class = drawn
    filled, _ = fill_blocks(plan, row_class, dense_above)
    before, after = matrix(plan), matrix(filled)
    for sources in cells(row_class):
        for rows in cells(row_class):
            place = np.ix_(rows, sources)
            old, new = before[place], after[place]
            large = min(old.shape) >= LEAST_ROWS
            if not np.array_equal(new, old):
                assert new.all()
                assert large
                assert old.sum() > dense_above * old.size
            elif large and (old.mean(axis=1) > dense_above).all():
                assert old.all(), "with as many edges in every row it had to be filled"


@given(plans_with_blocks(), st.sampled_from([0.1, 0.5, 0.75]))
def test_counting_few_edges_at_a_time_fills_the_same(drawn, dense_above):
    plan, row_class = drawn
    expected = fill_blocks(plan, row_class, dense_above)
    found = fill_blocks(plan, row_class, dense_above, slice_edges=50)
    assert (found.slot is None) == (expected.slot is None)
    for one, two in zip(found.plan[:-1], expected.plan[:-1], strict=True):
        assert np.array_equal(one, two)


def test_a_case_by_hand():
    """Two layers of 20 behind 20 inputs: the first lacks three edges, the second two thirds."""
    layers = [range(20 * k, 20 * k + 20) for k in range(3)]
    missing = {(3, 25), (19, 20), (7, 39)}
    pairs = [(i, j) for i in layers[0] for j in layers[1] if (i, j) not in missing]
    pairs += [(i, j) for i in layers[1] for j in layers[2] if (i + j) % 3 == 0]
    src, dst = np.array(pairs).T
    plan = make_plan(60, src, dst, layers[0], [59])
    filled, slot = fill_blocks(plan, plan.level, 0.9)
    added = filled.in_edge < 0
    ends = filled.node[filled.in_src[added]], filled.node[targets(filled)[added]]
    assert set(zip(*(side.tolist() for side in ends), strict=True)) == missing
    assert len(slot) == len(pairs)
    assert fill_blocks(plan, plan.level, 397 / 400).slot is None, "no more than this share"
    assert fill_blocks(plan, plan.level, 396 / 400).slot is not None
    both, _ = fill_blocks(plan, plan.level, 0.2)
    assert len(both.in_src) == 800


def test_a_plan_without_edges_stays_as_it_is():
    plan = make_plan(3, [], [], inputs=[0], outputs=[2])
    assert fill_blocks(plan, plan.level, 0.1).slot is None


# ---------------------------------------------------------------------------- the network


def holey(seed, widths=(18, 33, 20, 17), share=0.85, activation=None, frozen=0.0):
    """Return layers with holes, of two activations or of one, some of it frozen or without bias."""
    rng = np.random.default_rng(seed)
    G, last = nx.DiGraph(), []
    for depth, width in enumerate(widths):
        layer = [(depth, k) for k in range(width)]
        for k, node in enumerate(layer):
            name = activation or ("tanh" if k < 17 else "gelu")
            G.add_node(node, **({"activation": name} if depth else {}))
            if depth:
                G.nodes[node]["bias"] = rng.normal() if k % 5 else None
                G.nodes[node]["trainable"] = bool(rng.random() >= frozen)
        for u in last:
            for v in layer:
                if rng.random() < share:
                    weight, trained = rng.normal() / math.sqrt(width), bool(rng.random() >= frozen)
                    G.add_edge(u, v, weight=weight, trainable=trained)
        last = layer
    first = [node for node in G if node[0] == 0]
    return RandomNetwork(G, first, last)


def data(case, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, len(case.inputs))), rng.normal(size=(n, len(case.outputs)))


def explicit_zeros(net):
    """Return the values of the explicit zeros in both orders of the weights."""
    engine, layout = model_of(net).engine, model_of(net).engine.layout
    weights = (
        engine.parameters.by_target[: layout.n_slots],
        engine.parameters.by_source[: layout.n_slots],
    )
    keeps = layout.in_is_edge, layout.out_is_edge
    return np.concatenate([w[keep == 0] for w, keep in zip(weights, keeps, strict=True)])


OPTIMIZERS = {
    "sgd": SGD(learning_rate=0.01, weight_decay=0.1),
    "momentum": SGD(learning_rate=0.01, momentum=0.9, weight_decay=0.1, clip_norm=1.0),
    "nesterov": SGD(learning_rate=0.01, momentum=0.8, nesterov=True, clip_value=0.05),
    "adam": Adam(learning_rate=0.01),
    "adam, decay": Adam(learning_rate=0.01, weight_decay=0.1, clip_norm=0.5),
    "adamw": AdamW(learning_rate=0.01, weight_decay=0.3, clip_norm=0.5, clip_value=0.1),
    "rmsprop": RMSprop(learning_rate=0.01, momentum=0.5, weight_decay=0.1),
    "adagrad": Adagrad(learning_rate=0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("n_threads", "frozen"), [(1, 0.0), (1, 0.3), (3, 0.3)])
def test_training_agrees_and_explicit_zeros_stay_zero(name, n_threads, frozen):
    case = holey(3, frozen=frozen)
    X, Y = data(case, 150)
    results = {}
    for dense_above in DENSITIES:
        net = case.compile(dtype="float64", dense_above=dense_above, n_threads=n_threads)
        before = net.parameters
        history = net.fit(
            X, Y, optimizer=OPTIMIZERS[name], epochs=3, batch_size=70, seed=0, verbose=0
        )
        engine = model_of(net).engine
        assert np.array_equal(
            net.parameters, engine.parameters.to_user_order(engine.parameters.by_source)
        )
        if engine.layout.n_explicit_zeros:
            zeros = explicit_zeros(net)
            assert len(zeros) == 2 * engine.layout.n_explicit_zeros
            assert (zeros == 0).all()
        moved = net.parameters != before
        assert not moved[~engine.parameters.trained].any()
        assert moved[engine.parameters.trained].mean() > 0.8
        results[dense_above] = history.loss, net.parameters, net.predict(X)
    for dense_above in DENSITIES:
        for one, two in zip(results[dense_above], results[UNFILLED], strict=True):
            assert_near(one, two, 1e-9)


def test_clipping_ignores_explicit_zeros_and_fixed_parameters():
    case = holey(5, frozen=0.4)
    X, Y = data(case, 30)
    net = case.compile(dtype="float64", dense_above=0.1)
    assert model_of(net).engine.layout.n_explicit_zeros > 0
    before, (_, gradient) = net.parameters, net.loss_and_gradient(X, Y)
    optimizer = SGD(learning_rate=1.0, clip_norm=0.01)
    net.fit(X, Y, optimizer=optimizer, epochs=1, batch_size=30, shuffle=False, verbose=0)
    expected = before - 0.01 * gradient / np.linalg.norm(gradient)
    assert_near(net.parameters, expected, EXACT)


def test_explicit_zeros_are_not_visible():
    case = holey(1)
    X, Y = data(case, 20)
    net = case.compile(dtype="float64", dense_above=0.1)
    plain = case.compile(dtype="float64", dense_above=UNFILLED)
    added = model_of(net).engine.layout.n_explicit_zeros
    assert added > 0
    n_edges, n_computed = case.G.number_of_edges(), len(case.G) - len(case.inputs)
    assert net.n_edges == plain.n_edges == n_edges
    assert net.parameters.shape == (n_edges + n_computed,)
    assert np.array_equal(net.parameters, plain.parameters)
    assert net.loss_and_gradient(X, Y)[1].shape == net.parameters.shape
    assert set(net.weights) == set(net.backprop(X, Y).grad_weight) == set(case.G.edges)
    (u, v) = next(iter(nx.complement(case.G.subgraph(n for n in case.G if n[0] < 2)).edges))
    with pytest.raises(KeyError):
        net.weights[u, v]
    for other in (pickle.loads(pickle.dumps(net)), copy.copy(net), copy.deepcopy(net)):
        assert model_of(other).engine.layout.n_explicit_zeros == added
        assert np.array_equal(other.parameters, net.parameters)
        assert np.array_equal(other.predict(X), net.predict(X))
    net.fit(X, Y, epochs=2, seed=0, verbose=0)
    graph = net.to_networkx()
    assert set(graph.edges) == set(case.G.edges)
    for edge in graph.edges:
        assert graph.edges[edge]["weight"] == net.weights[edge]
    assert f"filled with {added:,} " in net.summary()
    assert "filled" not in plain.summary()


def test_assigned_parameters_are_read_back():
    net = holey(2).compile(dense_above=0.1)
    values = np.random.default_rng(0).normal(size=net.parameters.shape).astype(np.float32)
    nodes = net.to_networkx().nodes
    absent = [
        not isinstance(nodes[v].get("bias"), float) for v in net.parameter_names[net.n_edges :]
    ]
    values[net.n_edges :][np.array(absent, bool)] = 0
    net.parameters = values
    assert np.array_equal(net.parameters, values)
    assert (explicit_zeros(net) == 0).all()


# ---------------------------------------------------------------------------- values not finite


def pattern(values):
    """Return 0 for finite values, 1 for inf, -1 for -inf and 2 for NaN."""
    values = np.asarray(values)
    return np.where(np.isnan(values), 2, np.where(np.isinf(values), np.sign(values), 0))


def overflowing(activation, seed):
    """Return layers of which one node overflows for a sample with a large first feature.

    That node has a few targets, which lie in the same block as many others.
    """
    case = holey(seed, (16, 20, 36, 18, 2), 0.8, activation)
    G = case.G
    for node in G:
        G.nodes[node].pop("bias", None)
        if node[0] > 2:
            G.nodes[node]["activation"] = "identity"
    for v in list(G.succ[0, 0]):
        if v != (1, 3):
            G.remove_edge((0, 0), v)
    G.add_edge((0, 0), (1, 3), weight=1e200)
    for v in list(G.succ[1, 3])[4:]:
        G.remove_edge((1, 3), v)
    return case


@pytest.mark.parametrize("activation", ["identity", "relu", "sin", "silu"])
@pytest.mark.parametrize("n", [1, 3, 70])
def test_an_overflow_changes_only_the_nodes_behind_it(activation, n):
    case = overflowing(activation, seed=n)
    X, Y = data(case, n)
    X[:, 0] = 0
    X[n // 2, 0] = 1e200  # times 1e200: no float64
    found = {}
    for dense_above in (0.1, 0.5, UNFILLED):
        net = case.compile(dtype="float64", dense_above=dense_above)
        assert (model_of(net).engine.layout.n_explicit_zeros > 0) == (dense_above < 1)
        forward, bp = net.forward(X), net.backprop(X, Y)
        found[dense_above] = {
            "s": np.array([forward.s[v] for v in forward.s]),
            "x": np.array([bp.x[v] for v in bp.x]),
            "delta": np.array([bp.delta[v] for v in bp.delta]),
            "gradient": np.array([bp.grad_weight[e] for e in case.G.edges]),
            "grad_bias": np.array([bp.grad_bias[v] for v in bp.grad_bias]),
            "predict": net.predict(X),
            "loss": np.array([bp.loss]),
        }
    expected = found[UNFILLED]
    assert not np.isfinite(expected["x"]).all()
    assert np.isfinite(expected["x"][:, n // 2]).sum() > 36, "others are far from it"
    assert_same_patterns(found, expected)


def test_a_delta_that_overflows_changes_only_the_nodes_before_it():
    """A node with a huge out-weight: its delta overflows, and its block has explicit zeros."""
    case = holey(8, (16, 20, 18, 1), 0.8, "identity")
    G = case.G
    for node in G:
        G.nodes[node].pop("bias", None)
    for u in G.pred[2, 5]:
        G.edges[u, (2, 5)]["weight"] = 0.0
    for u in list(G.pred[2, 5])[3:]:
        G.remove_edge(u, (2, 5))
    G.add_edge((2, 5), (3, 0), weight=1e200)
    X, Y = data(case, 20)
    Y[4] = 1e120  # its squared error is 1e240, and 1e120 * 1e200 is no float64
    found = {}
    for dense_above in (0.1, UNFILLED):
        net = case.compile(dtype="float64", dense_above=dense_above)
        bp = net.backprop(X, Y)
        found[dense_above] = {
            "delta": np.array([bp.delta[v] for v in bp.delta]),
            "gradient": np.array([bp.grad_weight[e] for e in G.edges]),
            "grad_bias": np.array([bp.grad_bias[v] for v in bp.grad_bias]),
        }
    expected = found[UNFILLED]
    assert not np.isfinite(expected["delta"]).all()
    assert np.isfinite(expected["gradient"]).sum() > 100
    assert_same_patterns(found, expected)


def assert_same_patterns(found, expected):
    """Assert that the same values are not finite in all results, and that the others agree."""
    for dense_above, results in found.items():
        for name, values in results.items():
            where = f"{name} with dense_above={dense_above}"
            assert np.array_equal(pattern(values), pattern(expected[name])), where
            one, two = (both[np.isfinite(values)] for both in (values, expected[name]))
            assert (np.abs(one - two) <= 1e-9 * np.maximum(1, np.abs(two))).all(), where


def test_training_diverges_as_without_filling():
    case = overflowing("identity", seed=0)
    X, Y = data(case, 8)
    X[:, 0] = 0
    for dense_above in (0.1, UNFILLED):
        net = case.compile(dtype="float64", dense_above=dense_above)
        net.fit(X, Y, optimizer="sgd", learning_rate=1e-6, epochs=1, verbose=0)
        before = net.parameters
        Z = X.copy()
        Z[3, 0] = 1e200
        with pytest.raises(dagbp.DivergenceError):
            net.fit(Z, Y, optimizer="sgd", epochs=1, verbose=0)
        assert np.array_equal(net.parameters, before)


# ---------------------------------------------------------------------------- the option


@pytest.mark.parametrize(
    "bad", [0, 0.049, -0.5, math.nan, math.inf, "0.5", True, [0.5], 1j, np.array([0.5])]
)
def test_a_share_must_not_be_tiny(bad):
    message = r"dense_above must be a number >= 0.05, or None, got"
    with pytest.raises(dagbp.OptionError, match=message):
        dagbp.compile(dagbp.layered([2, 2], seed=0), dense_above=bad)
    with pytest.raises(dagbp.OptionError, match="dense_above"):
        dagbp.Network.from_edges([0], [1], dense_above=bad)


@pytest.mark.parametrize("good", [1, np.float32(0.5), np.int64(1), 0.05])
def test_any_type_of_number_is_accepted(good):
    net = dagbp.Network.from_edges([0], [1], dense_above=good, seed=0)
    assert net.predict([[1.0]]).shape == (1, 1)


# ---------------------------------------------------------------------------- the default


def filled_share(sizes, density):
    """Return the share of the absent edges that is filled with explicit zeros."""
    net = dagbp.compile(dagbp.layered(sizes, density=density, seed=0), seed=0)
    layout = model_of(net).engine.layout
    absent = sum(a * b for a, b in pairwise(sizes)) - (layout.n_slots - layout.n_explicit_zeros)
    return layout.n_explicit_zeros / absent


def test_a_wide_layer_is_filled_as_a_whole_or_not_at_all():
    """The densities of cells vary by chance: some lie above the limit and some below."""
    limit = FAR_SHARE
    assert filled_share([672, 672], limit + 0.03) == 1
    assert filled_share([672, 672], limit - 0.03) == 0


def test_blocks_of_few_sources_need_to_be_fuller():
    between = (FAR_SHARE + NEAR_SHARE) / 2
    assert filled_share([672, 96], between) == 1
    assert filled_share([96, 672], between) == 0
    assert filled_share([96, 672], NEAR_SHARE + 0.03) == 1
    assert filled_share([16, 672], 0.98) == 0
