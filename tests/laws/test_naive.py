"""The oracle equals differences and values by hand; the strategy covers all features."""

import math
from collections import Counter

import naive
import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import networks, random_network, samples

#: Points on both sides of every kink, none on one, out to where tails matter.
POINTS = (-40.0, -7.3, -3.1, -2.9, -1.1, -0.9, -0.3, -1e-2, 1e-2, 0.2, 0.95, 1.05, 2.9, 3.1, 12.0)


def differences(f, v, h=1e-3):
    """Return f'(v) by central differences of 6th order."""
    odd = [(f(v + k * h) - f(v - k * h)) / (2 * k * h) for k in (1, 2, 3)]
    return 1.5 * odd[0] - 0.6 * odd[1] + 0.1 * odd[2]


# ---------------------------------------------------------------------------- activations


@pytest.mark.parametrize("name", naive.ACTIVATIONS)
@pytest.mark.parametrize("s", POINTS)
def test_activation_derivative(name, s):
    theta, d_theta = naive.ACTIVATIONS[name]
    assert d_theta(s) == pytest.approx(differences(theta, s), rel=1e-10, abs=1e-11)


@pytest.mark.parametrize("name", naive.ACTIVATIONS)
def test_activation_is_finite_everywhere_and_keeps_nan(name):
    theta, d_theta = naive.ACTIVATIONS[name]
    for s in (0.0, -0.0, 1e-308, 1e3, -1e3, 1e200, -1e200):
        assert math.isfinite(theta(s))
        assert math.isfinite(d_theta(s))
    assert math.isnan(theta(math.nan))


@pytest.mark.parametrize(
    ("name", "s", "value", "slope"),
    [
        ("relu", 0.0, 0.0, 0.0),
        ("leaky_relu", 0.0, 0.0, 0.01),
        ("leaky_relu", -2.0, -0.02, 0.01),
        ("elu", 0.0, 0.0, 1.0),
        ("elu", -1.0, math.exp(-1) - 1, math.exp(-1)),
        ("selu", 2.0, 2 * 1.0507009873554805, 1.0507009873554805),
        ("sigmoid", math.log(3), 0.75, 0.1875),
        ("sigmoid", -700.0, math.exp(-700), math.exp(-700)),
        ("tanh", 300.0, 1.0, 4 * math.exp(-600)),
        ("softplus", -700.0, math.exp(-700), math.exp(-700)),
        ("softplus", 700.0, 700.0, 1.0),
        ("softsign", -3.0, -0.75, 0.0625),
        ("gelu", 1.0, 0.8413447460685429, 1.0833154705876863),
        ("silu", math.log(3), 0.75 * math.log(3), 0.75 * (1 + 0.25 * math.log(3))),
        ("gelu", -30.0, -1.472014178144456e-196, -4.416031690708495e-195),
        ("gaussian", 1.0, math.exp(-1), -2 * math.exp(-1)),
        ("hard_sigmoid", 3.0, 1.0, 0.0),
        ("hard_sigmoid", 1.5, 0.75, 1 / 6),
        ("hard_tanh", -1.0, -1.0, 0.0),
        ("hard_tanh", 0.5, 0.5, 1.0),
    ],
)
def test_activation_by_hand(name, s, value, slope):
    theta, d_theta = naive.ACTIVATIONS[name]
    assert theta(s) == pytest.approx(value, rel=1e-15, abs=0)
    assert d_theta(s) == pytest.approx(slope, rel=1e-15, abs=0)


# ---------------------------------------------------------------------------- losses


@pytest.mark.parametrize("name", naive.LOSSES)
@pytest.mark.parametrize("y", [(1.0, 0.0, 0.0), (0.2, 0.5, 0.3)])
@pytest.mark.parametrize("x", [(0.3, -1.7, 2.5), (-4.0, 0.7, 0.1), (9.0, -8.0, 0.6)])
def test_loss_derivative(name, x, y):
    loss = naive.LOSSES[name]
    _, slope = loss(x, y)
    for k in range(3):
        numeric = differences(lambda v, k=k: loss((*x[:k], v, *x[k + 1 :]), y)[0], x[k])
        assert slope[k] == pytest.approx(numeric, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize(
    ("name", "x", "y", "error", "slope"),
    [
        ("squared_error", [3.0, 1.0], [1.0, 1.5], 4.25, [4.0, -1.0]),
        ("absolute_error", [3.0, 1.0, 2.0], [1.0, 1.5, 2.0], 2.5, [1.0, -1.0, 0.0]),
        ("huber", [3.0, 1.0], [1.0, 1.5], 1.625, [1.0, -0.5]),
        ("binary_cross_entropy", [0.0, 800.0], [1.0, 0.0], math.log(2) + 800, [-0.5, 1.0]),
        ("binary_cross_entropy", [50.0], [1.0], math.exp(-50), [-math.exp(-50)]),
        ("softmax_cross_entropy", [0.0, 0.0], [0.0, 1.0], math.log(2), [0.5, -0.5]),
        ("softmax_cross_entropy", [900.0, 0.0], [0.0, 1.0], 900.0, [1.0, -1.0]),
        (
            "softmax_cross_entropy",
            [50.0, 0.0],
            [1.0, 0.0],
            math.exp(-50),
            [-math.exp(-50), math.exp(-50)],
        ),
    ],
)
def test_loss_by_hand(name, x, y, error, slope):
    e, de_dx = naive.LOSSES[name](x, y)
    assert e == pytest.approx(error, rel=1e-14, abs=0)
    assert de_dx == pytest.approx(slope, rel=1e-14, abs=0)


# ---------------------------------------------------------------------------- the network


def graph_by_hand():
    """Return 1 -> 'h' -> 'y' with x = 2, s_h = 3, and the output also reading the input."""
    G = nx.DiGraph()
    G.add_node("y", activation="identity", bias=None)
    G.add_node("h", activation="relu", bias=-1.0)
    G.add_node(1)
    G.add_edge("h", "y", weight=0.5)
    G.add_edge(1, "h", weight=2.0)
    G.add_edge(1, "y", weight=-1.0)
    return G


def test_backprop_by_hand():
    bp = naive.backprop(
        graph_by_hand(), [{1: 2.0}, {1: 0.0}], [[1.5], [1.0]], "squared_error", ["y"]
    )
    assert bp.s == {"h": [3.0, -1.0], "y": [-0.5, 0.0]}
    assert bp.x == {1: [2.0, 0.0], "h": [3.0, 0.0], "y": [-0.5, 0.0]}
    assert bp.loss == (4.0 + 1.0) / 2
    assert bp.delta == {"y": [-4.0, -2.0], "h": [-2.0, 0.0]}
    assert bp.grad_weight == {("h", "y"): -6.0, (1, "h"): -2.0, (1, "y"): -4.0}
    assert bp.grad_bias == {"h": -1.0}


def test_sample_weights_are_relative():
    arguments = [{1: 2.0}, {1: 0.0}], [[1.5], [1.0]], "squared_error", ["y"]
    bp = naive.backprop(graph_by_hand(), *arguments, sample_weight=[30.0, 10.0])
    assert bp.loss == (3 * 4.0 + 1.0) / 4
    assert bp.delta == {"y": [-4.0, -2.0], "h": [-2.0, 0.0]}
    assert bp.grad_weight[1, "y"] == 3 * -8.0 / 4


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        naive.topological_order(nx.DiGraph([(0, 1), (1, 2), (2, 1)]))


def oracle_of(net, X, Y, loss="squared_error", **options):
    return naive.backprop(
        net.G, naive.as_samples(net.inputs, X), Y.tolist(), loss, net.outputs, **options
    )


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy", "softmax_cross_entropy"])
@given(data=st.data())
def test_gradient_equals_differences(loss, data):
    net = data.draw(networks(max_nodes=8, smooth_only=True))
    X, Y = data.draw(samples(net, 2, loss))
    bp = oracle_of(net, X, Y, loss, sample_weight=[1.0, 3.0])

    def varied(attributes, key):
        def mean_loss(value):
            before = attributes.get(key)
            attributes[key] = value
            try:
                return oracle_of(net, X, Y, loss, sample_weight=[1.0, 3.0]).loss
            finally:
                attributes[key] = before

        return mean_loss

    for edge, slope in bp.grad_weight.items():
        e = net.G.edges[edge]
        assert slope == pytest.approx(
            differences(varied(e, "weight"), e["weight"]), rel=1e-7, abs=1e-8 * (1 + bp.loss)
        )
    for j, slope in bp.grad_bias.items():
        node = net.G.nodes[j]
        node.setdefault("bias", 0.0)
        assert slope == pytest.approx(
            differences(varied(node, "bias"), node["bias"]), rel=1e-7, abs=1e-8 * (1 + bp.loss)
        )


@given(data=st.data())
def test_memorylessness(data):
    """Given the values on a cut, the error and later deltas do not depend on nodes before it."""
    net = data.draw(networks())
    order = naive.topological_order(net.G)
    before = set(order[: data.draw(st.integers(0, len(order)))]) | set(net.inputs)
    cut = [j for j in order if j in before and (j in net.outputs or set(net.G.succ[j]) - before)]

    after = nx.DiGraph()
    after.add_nodes_from((j, a) for j, a in net.G.nodes(data=True) if j in cut or j not in before)
    after.add_edges_from((i, j, e) for i, j, e in net.G.edges(data=True) if j not in before)

    X, Y = data.draw(samples(net, 3))
    whole = oracle_of(net, X, Y)
    given_cut = [{j: whole.x[j][n] for j in cut} for n in range(3)]
    part = naive.backprop(after, given_cut, Y.tolist(), "squared_error", net.outputs)
    assert part.loss == whole.loss
    assert part.delta == {j: whole.delta[j] for j in after if j not in cut}


@given(data=st.data())
def test_relabelling_changes_no_bit(data):
    net = data.draw(networks())
    X, Y = data.draw(samples(net, 2))
    nodes = data.draw(st.permutations(list(net.G)))
    H = nx.DiGraph()
    H.add_nodes_from((("new", j), net.G.nodes[j]) for j in nodes)
    H.add_edges_from(
        (("new", i), ("new", j), e) for i, j, e in reversed(list(net.G.edges(data=True)))
    )
    renamed = type(net)(H, [("new", j) for j in net.inputs], [("new", j) for j in net.outputs])
    a, b = oracle_of(net, X, Y), oracle_of(renamed, X, Y)
    assert a.loss == b.loss
    assert {("new", j): d for j, d in a.delta.items()} == b.delta


# ---------------------------------------------------------------------------- optimizers

# The second gradient is -1; every value is worked out by hand from p = 1, g = 0.5, lr = 0.1.
STEPS = {
    "sgd": ({}, [0.95, 1.05]),
    "momentum": ({"mu": 0.5}, [0.95, 0.95 + 0.1 * 0.75]),
    "nesterov": ({"mu": 0.5}, [1 - 0.1 * 0.75, 0.925 + 0.1 * 1.375]),
    "adam": (
        {"beta1": 0.5, "beta2": 0.5, "eps": 0.0},
        [0.9, 0.9 + 0.1 * 0.5 / math.sqrt(0.75)],
    ),
    "adamw": (
        {"beta1": 0.5, "beta2": 0.5, "eps": 0.0, "weight_decay": 0.1},
        [0.89, 0.89 * 0.99 + 0.1 * 0.5 / math.sqrt(0.75)],
    ),
    "rmsprop": (
        {"alpha": 0.75, "eps": 0.0},
        [0.8, 0.8 + 0.1 / math.sqrt(0.296875)],
    ),
    "adagrad": ({"eps": 0.0}, [0.9, 0.9 + 0.1 / math.sqrt(1.25)]),
    "rprop": ({}, [0.9, 0.9]),  # the sign changes: this step is skipped
}


@pytest.mark.parametrize("name", naive.OPTIMIZERS)
def test_optimizer_by_hand(name):
    hyper, (first, second) = STEPS[name]
    assert naive.descend(name, [1.0], [[0.5]], lr=0.1, **hyper) == pytest.approx([first], rel=1e-14)
    assert naive.descend(name, [1.0], [[0.5], [-1.0]], lr=0.1, **hyper) == pytest.approx(
        [second], rel=1e-14
    )


@pytest.mark.parametrize("name", [n for n in naive.OPTIMIZERS if n != "adamw"])
def test_weight_decay_joins_the_gradient(name):
    decayed = naive.descend(name, [2.0, -1.0], [[0.5, 0.5]], lr=0.1, weight_decay=0.25)
    assert decayed == naive.descend(name, [2.0, -1.0], [[1.0, 0.25]], lr=0.1)


def test_rmsprop_momentum():
    hyper = {"alpha": 0.75, "eps": 0.0, "mu": 0.5}
    p = naive.descend("rmsprop", [1.0], [[0.5], [-1.0]], lr=0.1, **hyper)
    assert p == pytest.approx([0.8 - 0.1 * (0.5 * 2.0 - 1 / math.sqrt(0.296875))], rel=1e-14)


def test_clipping():
    assert naive.clip_by_value([3.0, -0.5, -4.0], 1.0) == [1.0, -0.5, -1.0]
    assert naive.clip_by_norm([3.0, -4.0], 2.5) == [1.5, -2.0]
    assert naive.clip_by_norm([3.0, -4.0], 5.0) == [3.0, -4.0]


# ---------------------------------------------------------------------------- the strategy


def features(net):
    """Yield the special properties of a network."""
    G, inputs, outputs = net.G, set(net.inputs), set(net.outputs)
    alive = outputs.union(*(nx.ancestors(G, j) for j in outputs))
    hidden = set(G) - inputs - outputs
    order = {j: k for k, j in enumerate(G)}
    depth = nx.dag_longest_path_length(G, weight=None)
    yield from {
        "one node": len(G) == 1,
        "no inputs": not inputs,
        "wide": len(G) > 20 and depth <= 2,
        "deep": depth >= 20,
        "isolated": any(nx.isolates(G)),
        "components": sum(len(c) > 2 for c in nx.weakly_connected_components(G)) > 1,
        "output feeds others": any(G.succ[j] for j in outputs),
        "input is an output": bool(inputs & outputs),
        "constant": any(not G.pred[j] for j in set(G) - inputs),
        "dead node": bool(hidden - alive),
        "skip": any(nx.has_path(nx.restricted_view(G, [], [e]), *e) for e in list(G.edges)[:5]),
        "not topological": any(order[i] > order[j] for i, j in G.edges),
        "mixed labels": len({type(j) for j in G}) == 4,
        "dense block": any(
            len(sources) > 1 and n > 2
            for sources, n in Counter(frozenset(G.pred[j]) for j in G).items()
        ),
    }.items()


def test_the_strategy_covers():
    seen = Counter()
    for seed in range(1000):
        net = random_network(seed)
        assert nx.is_directed_acyclic_graph(net.G)
        assert not any(net.G.pred[j] for j in net.inputs)
        seen.update(name for name, holds in features(net) if holds)
        seen.update(f"bias {a.get('bias', 'absent')}" for a in _others(net) if _unusual(a))
        seen.update("frozen node" for a in _others(net) if a.get("trainable") is False)
        seen.update("frozen edge" for *_, f in net.G.edges(data="trainable") if f is False)
        seen.update(a["activation"] for a in _others(net))
    expected = {"bias None", "bias False", "bias absent", "frozen node", "frozen edge"}
    expected |= {name for name, _ in features(random_network(0))} | set(naive.ACTIVATIONS)
    assert {name for name in expected if seen[name] < 10} == set()


def _others(net):
    return (a for j, a in net.G.nodes(data=True) if j not in net.inputs)


def _unusual(attributes):
    return not isinstance(attributes.get("bias"), float)
