"""Tile plans: laws of segments, stages and choices; no tile plan changes a result."""

import contextlib
import functools
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from comparing import assert_near, assert_same_backprop, oracle
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import RandomNetwork, networks, random_network, random_samples

import dagbp
from dagbp._engine.tile_plan import TilePlan, TilePlanner
from dagbp._kernels.frames import SEGMENT_ROWS
from dagbp._layout import segments as _segments
from dagbp._layout.segments import cut_stages, segments
from dagbp._machine import NARROW_ROW, PANEL_ROWS, TILE_COST, WIDE_ROW
from dagbp._network import model_of
from dagbp._plan import plan as _plan
from dagbp._plan.plan import Plan, make_plan
from dagbp.optimizers import SGD, Adam

EXACT = 1e-12
TILES = [1, 5, 16, 17, 32, 33, 64, 65, 200]

# ---------------------------------------------------------------------------- segments


@st.composite
def rows(draw):
    """Draw (kind, panel, panel_rows, most): panels of one kind."""
    panel_rows = draw(st.integers(1, 8))
    most = panel_rows * draw(st.integers(1, 5))
    kind, panel = [], []
    for _ in range(draw(st.integers(0, 30))):
        one = draw(st.integers(0, 2))
        if draw(st.booleans()):
            kind += [one] * panel_rows
            panel += [1 + len(panel)] + [0] * (panel_rows - 1)
        else:
            n = draw(st.integers(1, 2 * most))
            kind += [one] * n
            panel += [0] * n
    return np.array(kind, int), np.array(panel, int), panel_rows, most


@given(rows())
def test_segments_cover_rows_of_one_kind_and_cut_no_panel(drawn):
    kind, panel, panel_rows, most = drawn
    found = segments(*drawn)
    if len(kind) == 0:
        assert found.tolist() in ([0], [0, 0])
        return
    assert found[0] == 0
    assert found[-1] == len(kind)
    for first, last in pairwise(found.tolist()):
        assert 0 < last - first <= most
        assert len(set(kind[first:last].tolist())) == 1
    inside = {start + r for start in np.flatnonzero(panel) for r in range(1, panel_rows)}
    assert not inside & set(found.tolist())


@given(rows())
def test_segments_are_cut_only_where_they_must_be(drawn):
    kind, _, _, most = drawn
    found = segments(*drawn).tolist()
    for (first, middle), (_, last) in pairwise(pairwise(found)):
        assert kind[middle - 1] != kind[middle] or last - first > most


def user_activation():
    """Register an activation of a user's, once, and return its name."""
    name = "scheduled"
    if name not in dagbp.activations.names():
        dagbp.activations.register(name, lambda s: s / (1 + abs(s)), lambda s, x: (1 - abs(x)) ** 2)
    return name


def layered(seed=0, activation="tanh", widths=(20, 40, 45, 20)):
    """Return layers with some holes."""
    return dagbp.layered(widths, density=0.97, activation=activation, seed=seed)


@pytest.mark.parametrize("kind", ["built in", "user's", "both"])
def test_no_segment_of_a_network_cuts_a_panel(kind):
    G = layered(activation=user_activation() if kind == "user's" else "tanh")
    if kind == "both":
        for node in list(G)[20:45]:
            G.nodes[node]["activation"] = user_activation()
    layout = model_of(dagbp.compile(G, seed=0)).engine.layout
    for cuts, panels in ((layout.in_segment, layout.ins), (layout.out_segment, layout.outs)):
        starts = np.flatnonzero(panels.of_row)
        inside = (starts[:, None] + np.arange(1, PANEL_ROWS)).ravel()
        assert not np.isin(cuts, inside).any()
        assert np.diff(cuts).max() <= SEGMENT_ROWS


# ---------------------------------------------------------------------------- stages


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100_000)), max_size=40),
    st.integers(1, 8),
)
@example([(0, 0), (3, 0), (0, 32768)], 2)  # one segment has all of a level's work
def test_stages_cover_every_segment_once_level_by_level(drawn, team_size):
    level = np.cumsum([step // 3 for step, _ in drawn]).astype(np.int64)
    work = np.array([one for _, one in drawn], np.int64)
    stages = cut_stages(level, work, team_size)
    n = len(level)
    assert stages.dtype == np.int64
    assert stages.shape[1] == team_size + 1
    if team_size == 1 or n == 0:
        assert stages.tolist() == [[0] + [n] * team_size]
        return
    assert stages[0, 0] == 0
    assert stages[-1, -1] == n
    assert (np.diff(stages) >= 0).all()
    assert np.array_equal(stages[1:, 0], stages[:-1, -1])
    for stage in stages:
        of_first = stage[1] == stage[-1]
        inside = slice(stage[0], stage[-1])
        assert of_first or len(np.unique(level[inside])) == 1
        if not of_first:
            shares = [work[a:b].sum() for a, b in pairwise(stage.tolist())]
            assert max(shares) <= work[inside].sum() / team_size + work[inside].max() + 1
    for one, two in pairwise(stages.tolist()):
        assert not one[1] == one[-1] == two[0] < two[1] == two[-1], "the first would just go on"


@contextlib.contextmanager
def shared_levels(edges=1):
    """Let teams share levels of any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_segments, "WORTH_BARRIER", edges)
        yield patch


@st.composite
def blocky(draw):
    """Draw a net of complete and of holey layers, with skips, of three activations."""
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


def places(cuts, backward):
    """Return (stage, member, turn) of each segment; assert that it has one only."""
    found = {}
    for stage, row in enumerate(cuts.tolist()):
        for member, (first, last) in enumerate(pairwise(row)):
            for segment in range(first, last):
                assert segment not in found
                found[segment] = stage, member, -segment if backward else segment
    return found


def assert_no_row_waits_for_its_stage(layout, cuts):
    """Assert that a row's sources were computed in an earlier stage or earlier by its member."""
    plan = layout.plan
    target = np.repeat(np.arange(len(plan.node)), np.diff(plan.in_ptr))
    views = (layout.in_segment, cuts.forward, False), (layout.out_segment, cuts.backward, True)
    for bounds, stages, backward in views:
        place = places(stages, backward)
        assert sorted(place) == list(range(len(bounds) - 1)), "every segment once"
        if not place:
            continue
        of_row = np.searchsorted(bounds, np.arange(len(plan.node)), side="right") - 1
        first, then = (target, plan.in_src) if backward else (plan.in_src, target)
        for i, j in zip(first.tolist(), then.tolist(), strict=True):
            if not backward and i < plan.n_inputs:
                continue  # features are there from the beginning
            one, two = place[of_row[i]], place[of_row[j]]
            assert one[0] < two[0] or (one[:2] == two[:2] and one[2] < two[2])


@settings(max_examples=60)
@given(
    st.one_of(networks(max_nodes=30), blocky()),
    st.integers(1, 8),
    st.sampled_from([1, 100, 16_384]),
    st.sampled_from([1, 4]),
)
def test_no_row_depends_on_another_members_row_of_its_stage(case, team_size, worth, group):
    with shared_levels(worth):
        engine = model_of(case.compile()).engine
        cuts = engine.tile_planner.cuts(TilePlan(WIDE_ROW, group, 1, team_size))
    assert_no_row_waits_for_its_stage(engine.layout, cuts)
    assert cuts.forward.shape[1] == cuts.backward.shape[1] == team_size + 1


def test_rows_of_other_members_are_not_free():
    """Sharing sparse wide levels would save less time than reading the others' rows costs."""
    engine = model_of(
        dagbp.compile(dagbp.layered([784, 1024, 1024, 10], density=0.03, seed=0))
    ).engine
    assert engine.tile_planner.choose(128, 2) == TilePlan(WIDE_ROW, 1, n_teams=2, team_size=1)


def test_members_share_a_wide_level_evenly():
    engine = model_of(dagbp.compile(dagbp.layered([50, 480, 480, 10], seed=0), seed=0)).engine
    for team_size in (2, 3, 4):
        cuts = engine.tile_planner.cuts(TilePlan(WIDE_ROW, 1, 1, team_size))
        widest = np.diff(cuts.forward).max(axis=0)
        assert widest.min() >= widest.max() - 2
        assert widest.sum() <= -(-480 // PANEL_ROWS // (SEGMENT_ROWS // PANEL_ROWS)) + team_size


# ---------------------------------------------------------------------------- the choice

NETS = {
    "small": lambda: dagbp.random_dag(60, 400, 5, 3, seed=0),
    "deep": lambda: dagbp.layered([20] * 60, seed=0),
    "wide": lambda: dagbp.layered([60, 200, 200, 10], seed=0),
}


@functools.cache
def engine_of(name, dtype, ways):
    return model_of(dagbp.compile(NETS[name](), dtype=dtype, schedule=ways, seed=0)).engine


@given(
    st.sampled_from(list(NETS)),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["auto", "tiles", "levels"]),
    st.integers(0, 5000),
    st.one_of(st.none(), st.integers(1, 70)),
    st.booleans(),
)
def test_what_is_chosen_fits_the_batch_and_the_limit(name, dtype, ways, n, limit, back):
    engine = engine_of(name, dtype, ways)
    chosen = engine.tile_planner.choose(n, limit, back)
    lanes = chosen.row_bytes // engine.dtype.itemsize
    tiles = max(1, -(-n // lanes))
    size = max(1, n) * engine.dtype.itemsize
    costs = {width: -(-size // width) * cost for width, cost in TILE_COST.items()}
    assert costs[chosen.row_bytes] == min(costs.values())
    assert chosen.n_threads == chosen.n_teams * chosen.team_size >= 1
    assert limit is None or chosen.n_threads <= limit
    assert chosen.n_teams == 1 or chosen.team_size == 1
    assert chosen.n_teams <= tiles
    assert 1 <= chosen.group <= tiles
    if ways == "levels":
        assert chosen.n_teams == 1
        assert limit is None or chosen.n_threads == limit
    if ways == "tiles":
        assert chosen.team_size == 1
    assert engine.tile_planner.choose(n, limit, back) == chosen


def test_a_few_samples_take_narrow_tiles_and_many_take_wide_ones():
    for dtype in ("float32", "float64"):
        tile_planner, size = (
            engine_of("small", dtype, "auto").tile_planner,
            np.dtype(dtype).itemsize,
        )
        assert tile_planner.choose(1, None).row_bytes == NARROW_ROW
        for row_bytes in TILE_COST:  # a batch that fills one tile takes that
            assert tile_planner.choose(row_bytes // size, None).row_bytes == row_bytes
        for tiles in (2, 3, 10):
            assert tile_planner.choose(tiles * WIDE_ROW // size, None).row_bytes == WIDE_ROW


@pytest.mark.parametrize("name", NETS)
def test_the_choice_does_not_depend_on_earlier_ones(name):
    sizes = (1, 16, 64, 100, 256, 4096)
    for dtype in ("float32", "float64"):
        used = model_of(dagbp.compile(NETS[name](), dtype=dtype, seed=0)).engine.tile_planner
        for n in sizes:
            for limit in (2, 3, None):
                fresh = TilePlanner(used._layout)
                assert used.choose(n, limit) == fresh.choose(n, limit)


def test_the_choice_does_not_depend_on_earlier_ones_where_meetings_depend_on_the_tile():
    """Levels of 1,024 edges: worth a barrier for wide tiles only."""
    used = model_of(dagbp.compile(dagbp.layered([32] * 12, seed=0), seed=0)).engine.tile_planner
    fresh = TilePlanner(used._layout)
    used.choose(1, 2)
    assert used.choose(256, 2) == fresh.choose(256, 2)


@pytest.mark.parametrize("limit", [2, 4])
@pytest.mark.parametrize("n", [64, 4096])
def test_no_team_is_chosen_if_its_first_member_does_all_the_work(limit, n):
    """Levels of 400 edges: none is worth a barrier, so another member would only wait."""
    tile_planner = engine_of("deep", "float32", "auto").tile_planner
    chosen = tile_planner.choose(n, limit)
    if chosen.team_size > 1:
        cuts = tile_planner.cuts(chosen).forward
        assert (cuts[:, 1] < cuts[:, -1]).any()


# ---------------------------------------------------------------------------- the same bits


def everything(net, X, Y, batch_size):
    """Return all that training and running gives: first the losses, then arrays."""
    value, gradient = net.loss_and_gradient(X, Y)
    losses, found = [value, net.evaluate(X, Y)], [net.predict(X), gradient]
    optimizers = (
        "sgd",
        Adam(learning_rate=0.01),
        SGD(learning_rate=0.1, momentum=0.5, clip_norm=0.1),
        SGD(learning_rate=0.1, clip_value=0.001, weight_decay=0.1),
    )
    for optimizer in optimizers:
        history = net.fit(
            X, Y, optimizer=optimizer, epochs=2, batch_size=batch_size, seed=0, verbose=0
        )
        losses += history.loss
        found.append(net.parameters)
    return [np.array(losses), *found, net.predict(X), net.predict(X[:3])]


def assert_same_bits(found, expected):
    for one, two in zip(found, expected, strict=True):
        assert np.array_equal(one, two)


def layers(activation="tanh"):
    G = layered(activation=activation)
    return RandomNetwork(G, list(G)[:20], list(G)[-20:])


CASES = {
    "one activation": layers,
    "random": lambda: random_network(7, max_nodes=40, min_inputs=2, smooth_only=True),
    "user's activation": lambda: layers(user_activation()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_levels_give_the_same_bits_on_any_number_of_threads(case, dtype):
    case = CASES[case]()
    X, Y = random_samples(0, case, 150)
    with shared_levels():
        results = []
        for n_threads in (1, 2, 3, 7):
            net = case.compile(dtype=dtype, schedule="levels", n_threads=n_threads, seed=0)
            results.append(everything(net, X, Y, batch_size=70))
            assert {tile_plan.team_size for tile_plan in model_of(net).engine._buffers} == {
                n_threads
            }
    for result in results[1:]:
        assert_same_bits(result, results[0])


@settings(max_examples=12)
@given(
    st.one_of(networks(max_nodes=30, smooth_only=True), blocky()),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([2, 3, 7]),
    st.sampled_from(TILES),
)
def test_levels_of_random_networks_give_the_same_bits(case, dtype, n_threads, n):
    X, Y = random_samples(n, case, n)
    results = []
    with shared_levels():
        for limit in (1, n_threads):
            net = case.compile(dtype=dtype, schedule="levels", n_threads=limit, seed=0)
            history = net.fit(X, Y, optimizer="sgd", epochs=2, seed=0, verbose=0)
            results.append(
                [net.predict(X), *net.loss_and_gradient(X, Y), history.loss, net.parameters]
            )
    assert_same_bits(*results)


def test_levels_give_the_same_bits_as_one_thread_of_the_models_own_accord():
    """With levels large enough for the real threshold, and a panel in each."""
    G = layered(widths=(100, 300, 300, 50))
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, 100)), rng.normal(size=(300, 50))
    results = []
    for n_threads in (1, 2, 3):
        net = dagbp.compile(G, schedule="levels", n_threads=n_threads, seed=0)
        results.append(everything(net, X, Y, batch_size=128))
        for tile_plan in model_of(net).engine._buffers:
            cuts = model_of(net).engine.tile_planner.cuts(tile_plan).forward
            assert n_threads == 1 or (cuts[:, 1] < cuts[:, -1]).any()
    for result in results[1:]:
        assert_same_bits(result, results[0])


# ---------------------------------------------------------------------------- the oracle


@pytest.mark.parametrize("ways", ["tiles", "levels"])
@pytest.mark.parametrize("n", TILES)
def test_every_way_and_every_batch_equals_the_oracle(ways, n):
    with shared_levels():
        for seed, n_threads in ((1, 1), (2, 2), (3, 4)):
            case = random_network(seed, max_nodes=25, min_inputs=1)
            X, Y = random_samples(seed, case, n)
            net = case.compile(dtype="float64", schedule=ways, n_threads=n_threads)
            assert_same_backprop(net.backprop(X, Y), oracle(case, X, Y), EXACT)
            outputs = np.array([net.forward(X).x[v] for v in case.outputs]).T
            assert_near(net.predict(X), outputs, EXACT)


@settings(max_examples=25)
@given(
    blocky(),
    st.sampled_from(["tiles", "levels"]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 8, 9, 33]),
)
def test_dense_networks_equal_the_oracle(case, ways, n_threads, n):
    X, Y = random_samples(n, case, n)
    with shared_levels():
        net = case.compile(dtype="float64", schedule=ways, n_threads=n_threads)
        assert_same_backprop(net.backprop(X, Y), oracle(case, X, Y), EXACT)


def test_user_activations_on_dense_layers_equal_finite_differences():
    case = CASES["user's activation"]()
    X, Y = random_samples(0, case, 40)
    direction = None
    for ways, n_threads in (("tiles", 1), ("tiles", 2), ("levels", 3)):
        with shared_levels():
            net = case.compile(dtype="float64", schedule=ways, n_threads=n_threads, seed=0)
            here, (_, gradient) = net.parameters, net.loss_and_gradient(X, Y)
            if direction is None:
                direction = np.random.default_rng(0).normal(size=here.shape)
            values = []
            for sign in (1, -1):
                net.parameters = here + sign * 1e-6 * direction
                values.append(net.evaluate(X, Y))
        assert_near(gradient @ direction, (values[0] - values[1]) / 2e-6, 1e-6)


# ---------------------------------------------------------------------------- every tile plan


def run_by(case, tile_plan, dtype, X, Y):
    """Return all results and deltas of a network that uses this tile plan for every call."""
    with shared_levels() as patch:
        one = tile_plan._replace(n_teams=1, team_size=1)
        ways = {1: one}  # "limit" is 1 where every node's values are asked for
        patch.setattr(TilePlanner, "_choose", lambda _, n, limit, back: ways.get(limit, tile_plan))
        net = case.compile(dtype=dtype, seed=0)
        found = everything(net, X, Y, batch_size=90)
        bp = net.backprop(X, Y)
        return [*found, np.array([bp.delta[v] for v in bp.delta])]


@pytest.mark.parametrize("case", ["one activation", "random"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_groups_and_teams_change_nothing_but_rounding(case, dtype, tolerance):
    case = CASES[case]()
    X, Y = random_samples(1, case, 200)
    teams = [(1, 1), (1, 2), (1, 4), (2, 1), (3, 1), (4, 1)]
    plain = None
    for row_bytes in TILE_COST:
        one = None
        for group in (1, 2, 4):
            for n_teams, team_size in teams:
                tile_plan = TilePlan(row_bytes, group, n_teams, team_size)
                found = run_by(case, tile_plan, dtype, X, Y)
                plain = plain or found
                for result, expected in zip(found, plain, strict=True):
                    assert_near(result, expected, tolerance)
                if n_teams == 1:
                    one = one or found
                    assert_near(found[0], one[0], 1e-14)  # a group's losses are summed together
                    assert_same_bits(found[1:], one[1:])


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2)])
def test_several_teams_have_one_thread_each(shape):
    """A barrier counts the threads of all teams, so only one team may have several threads."""
    for name in NETS:
        for ways in ("auto", "tiles", "levels"):
            chosen = engine_of(name, "float32", ways).tile_planner.choose(1000, shape[0] * shape[1])
            assert 1 in (chosen.n_teams, chosen.team_size)


@pytest.mark.parametrize("case", ["one activation", "random"])
def test_slots_of_64_bits_give_the_same_bits(case):
    case = CASES[case]()
    X, Y = random_samples(0, case, 150)
    results = []
    for dtype in (np.uint32, np.int64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_plan, "slots_dtype", lambda n_edges, dtype=dtype: dtype)
            net = case.compile(n_threads=2, seed=0)
            assert model_of(net).engine.layout.plan.in_slot.dtype == dtype
            results.append(everything(net, X, Y, batch_size=70))
    assert_same_bits(*results)


# ---------------------------------------------------------------------------- two planners


@given(st.one_of(networks(max_nodes=40), blocky()))
def test_the_plan_is_the_same_in_python_and_compiled(case):
    plans = []
    for small in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_plan, "SMALL", small)
            engine = model_of(case.compile(dense_above=0.3)).engine
        plans.append((engine.plan, engine.layout.plan))
    for one, two in zip(*plans, strict=True):
        for name in Plan._fields:
            first, second = getattr(one, name), getattr(two, name)
            assert np.array_equal(first, second), name
            assert getattr(first, "dtype", None) == getattr(second, "dtype", None), name


@pytest.mark.parametrize("small", [0, 10**9])
@pytest.mark.parametrize(
    ("src", "dst", "error"),
    [
        ([0, 1, 2], [1, 2, 1], _plan.CycleFound),
        ([0, 1, 0], [1, 2, 1], _plan.EdgeRepeated),
        ([2, 2, 0, 2], [3, 1, 1, 3], _plan.EdgeRepeated),
    ],
)
def test_both_planners_refuse_the_same(monkeypatch, small, src, dst, error):
    monkeypatch.setattr(_plan, "SMALL", small)
    with pytest.raises(error) as caught:
        make_plan(4, src, dst, inputs=[], outputs=[3])
    if error is _plan.EdgeRepeated:
        assert caught.value.edges == ((0, 2) if len(src) == 3 else (0, 3))


# ---------------------------------------------------------------------------- functions that raise


def raising():
    """Register activations that raise beyond 50, in f or in df, and return their names."""

    def fussy(s):
        if s > 50:
            raise ValueError("too large")
        return s

    def slope(s, x):
        if s > 50:
            raise ValueError("too large")
        return 1.0

    if "raising" not in dagbp.activations.names():
        dagbp.activations.register("raising", fussy, lambda s, x: 1.0)
        dagbp.activations.register("raising_slope", lambda s: s, slope)
    return "raising", "raising_slope"


def one_loud_node(activation, share, n_hidden=30):
    """Return 20 inputs, hidden nodes of which the fourth alone hears the first input, outputs."""
    rng = np.random.default_rng(0)
    G = nx.DiGraph()
    G.add_nodes_from(("in", k) for k in range(20))
    G.add_nodes_from((("h", k) for k in range(n_hidden)), activation=activation)
    G.add_nodes_from((("y", k) for k in range(n_hidden)), activation="identity")
    for k in range(n_hidden):
        for i in range(1, 20):
            if rng.random() < share:
                G.add_edge(("in", i), ("h", k), weight=rng.normal() / 20)
        G.add_edge(("h", k), ("y", k), weight=1.0)
    G.add_edge(("in", 0), ("h", 3), weight=100.0)
    return RandomNetwork(G, [("in", k) for k in range(20)], [("y", k) for k in range(n_hidden)])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_activation_that_raises_spoils_its_own_node_alone(share, n_threads):
    case = one_loud_node(raising()[0], share)
    X = np.zeros((40, 20))
    X[:, 1:] = np.random.default_rng(1).normal(size=(40, 19))
    Y = np.zeros((40, 30))
    loud = X.copy()
    loud[20:, 0] = 1.0
    with shared_levels():
        net = case.compile(dtype="float64", schedule="levels", n_threads=n_threads)
        calm, found = net.backprop(X, Y), net.backprop(loud, Y)
        predicted = net.predict(loud)
    assert np.isnan(found.x["h", 3][20:]).all()
    assert np.isnan(predicted[20:, 3]).all()
    for k in set(range(30)) - {3}:
        for node in (("h", k), ("y", k)):
            assert_near(found.x[node], calm.x[node], EXACT)
            assert_near(found.delta[node], calm.delta[node], EXACT)
        for i in range(1, 20):
            if case.G.has_edge(("in", i), ("h", k)):
                edge = ("in", i), ("h", k)
                assert_near(found.grad_weight[edge], calm.grad_weight[edge], EXACT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_derivative_that_raises_gives_nan_and_no_wrong_number():
    case = one_loud_node(raising()[1], 0.3)
    X = np.zeros((8, 20))
    X[2, 0] = 1.0
    net = case.compile(dtype="float64", n_threads=1)
    found = net.backprop(X, np.zeros((8, 30)))
    assert np.isfinite(found.x["h", 3]).all()
    assert np.isnan(found.delta["h", 3][2])
    assert np.isnan(found.grad_weight[("in", 0), ("h", 3)])
    for k in set(range(30)) - {3}:
        assert np.isfinite(found.delta["h", k]).all()
