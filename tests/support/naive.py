"""A dict-of-lists network in plain Python: the oracle for every kernel.

One sample at a time, one node at a time, one edge at a time, in Python floats, with the formulas
as a textbook prints them. Nothing here is fast and nothing here is shared with the library.

Sums go through `math.fsum`, which rounds once whatever the order of its terms: relabelling a
graph or shuffling its edges changes no bit of the result.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, expm1, fsum, log1p, sqrt

import networkx as nx

Loss = Callable[[Sequence[float], Sequence[float]], tuple[float, list[float]]]

# ---------------------------------------------------------------------------- activations
# Tails are written so that nothing overflows and nothing cancels: 1 - sigmoid(s) is
# sigmoid(-s), and 1 - tanh(s)^2 is 4 sigmoid(2s) sigmoid(-2s). A NaN comes out as NaN.

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def relu(s):
    return 0.0 if s <= 0 else s


def leaky_relu(s):
    return 0.01 * s if s <= 0 else s


def elu(s):
    return expm1(s) if s <= 0 else s


def d_elu(s):
    return exp(s) if s <= 0 else 1.0


def selu(s):
    return SELU_SCALE * (SELU_ALPHA * expm1(s) if s <= 0 else s)


def d_selu(s):
    return SELU_SCALE * (SELU_ALPHA * exp(s) if s <= 0 else 1.0)


def sigmoid(s):
    return 1 / (1 + exp(-s)) if s > 0 else exp(s) / (1 + exp(s))


def d_sigmoid(s):
    return sigmoid(s) * sigmoid(-s)


def d_tanh(s):
    return 4 * sigmoid(2 * s) * sigmoid(-2 * s)


def softplus(s):
    return relu(s) + log1p(exp(-abs(s)))


def softsign(s):
    return s / (1 + abs(s))


def d_softsign(s):
    return (1 / (1 + abs(s))) * (1 / (1 + abs(s)))


def bell(s, c=1.0):
    """Return exp(-c s^2) for c = 1 or 1/2."""
    if abs(s) > 40:
        return 0.0
    # s^2 = a^2 + (s - a)(s + a), where a^2 is exact: the rounding of s * s alone gives
    # an error of 200 ulp in the tail
    a = s - math.fmod(s, 2**-16)
    return exp(-c * a * a) * exp(-c * (s - a) * (s + a))


def normal_cdf(s):
    z = -s / sqrt(2)
    if not -37 < s < -1:
        return math.erfc(z) / 2
    # erfc(z) exp(z^2) changes little with z; the rounding of z gives erfc(z) an error of 500 ulp
    return math.erfc(z) / bell(z) * bell(s, 0.5) / 2


def normal_pdf(s):
    return bell(s, 0.5) / sqrt(2 * math.pi)


def gelu(s):
    return s * normal_cdf(s)


def d_gelu(s):
    return normal_cdf(s) + s * normal_pdf(s)


def silu(s):
    return s * sigmoid(s)


def d_silu(s):
    return sigmoid(s) * (1 + s * sigmoid(-s))


def d_gaussian(s):
    return -2 * s * bell(s)


def clip(v, low, high):
    return min(max(v, low), high)


#: name -> (theta, theta')
ACTIVATIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "identity": (lambda s: s, lambda s: 1.0),
    "relu": (relu, lambda s: 1.0 if s > 0 else 0.0),
    "leaky_relu": (leaky_relu, lambda s: 1.0 if s > 0 else 0.01),
    "elu": (elu, d_elu),
    "selu": (selu, d_selu),
    "sigmoid": (sigmoid, d_sigmoid),
    "tanh": (math.tanh, d_tanh),
    "softplus": (softplus, sigmoid),
    "softsign": (softsign, d_softsign),
    "gelu": (gelu, d_gelu),
    "silu": (silu, d_silu),
    "sin": (math.sin, math.cos),
    "gaussian": (bell, d_gaussian),
    "hard_sigmoid": (lambda s: clip(s / 6 + 0.5, 0.0, 1.0), lambda s: 1 / 6 if abs(s) < 3 else 0.0),
    "hard_tanh": (lambda s: clip(s, -1.0, 1.0), lambda s: 1.0 if abs(s) < 1 else 0.0),
}

#: Analytic on the whole line: differences of any order converge. The others have a kink, or
#: (elu, softsign) a kink in the derivative.
SMOOTH = ("identity", "sigmoid", "tanh", "softplus", "gelu", "silu", "sin", "gaussian")

# ---------------------------------------------------------------------------- losses


def squared_error(x, y):
    """Return e = sum (x - y)^2, with no 1/2, and de/dx = 2 (x - y)."""
    r = [a - b for a, b in zip(x, y, strict=True)]
    return fsum(d * d for d in r), [2 * d for d in r]


def absolute_error(x, y):
    """Return e = sum |x - y| and de/dx = sign(x - y), 0 where they agree."""
    r = [a - b for a, b in zip(x, y, strict=True)]
    return fsum(abs(d) for d in r), [float((d > 0) - (d < 0)) for d in r]


def huber(x, y):
    """Return e = sum r^2 / 2 where |r| <= 1, else |r| - 1/2, and de/dx = r clipped to [-1, 1]."""
    r = [a - b for a, b in zip(x, y, strict=True)]
    return (
        fsum(d * d / 2 if abs(d) <= 1 else abs(d) - 0.5 for d in r),
        [clip(d, -1.0, 1.0) for d in r],
    )


def binary_cross_entropy(x, y):
    """Return e = -sum y log p + (1 - y) log (1 - p) for p = sigmoid(x), and de/dx = p - y."""
    # -log p = softplus(-x), 1 - p = sigmoid(-x), and p - y = (1 - y) p - y (1 - p)
    pairs = list(zip(x, y, strict=True))
    return (
        fsum(b * softplus(-a) + (1 - b) * softplus(a) for a, b in pairs),
        [(1 - b) * sigmoid(a) - b * sigmoid(-a) for a, b in pairs],
    )


def softmax_cross_entropy(x, y):
    """Return e = -sum y log p for p = softmax(x), and de/dx = p sum(y) - y."""
    top = max(range(len(x)), key=x.__getitem__)
    tail = fsum(exp(a - x[top]) for k, a in enumerate(x) if k != top)
    log_p = [(a - x[top]) - log1p(tail) for a in x]
    p = [exp(a) for a in log_p]
    # with sum(p) = 1:  p_k sum_j y_j - y_k sum_j p_j,  whose own term j = k cancels exactly
    return (
        -fsum(b * a for a, b in zip(log_p, y, strict=True)),
        [
            fsum(p_k * y_j - y_k * p_j for p_j, y_j in zip(p, y, strict=True))
            for p_k, y_k in zip(p, y, strict=True)
        ],
    )


#: name -> function (outputs, targets) -> (e, de/dx) of one sample
LOSSES: dict[str, Loss] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "binary_cross_entropy": binary_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
}

# ---------------------------------------------------------------------------- the network


@dataclass(frozen=True)
class Backprop:
    """The mean loss and its gradient, and every node's s, x and delta, a list over the samples."""

    loss: float
    s: dict[Hashable, list[float]]
    x: dict[Hashable, list[float]]
    delta: dict[Hashable, list[float]]
    grad_weight: dict[tuple[Hashable, Hashable], float]
    grad_bias: dict[Hashable, float]


def topological_order(G: nx.DiGraph) -> list[Hashable]:
    """Return the nodes, each after all its predecessors (Kahn's algorithm)."""
    missing = {j: len(G.pred[j]) for j in G}
    order = [j for j in G if missing[j] == 0]
    for i in order:  # grows during this loop
        for j in G.succ[i]:
            missing[j] -= 1
            if missing[j] == 0:
                order.append(j)
    if len(order) < len(G):
        raise ValueError("the graph has a cycle")
    return order


def bias(G: nx.DiGraph, j: Hashable) -> float | None:
    """Return the bias of `j`: 0 where the attribute is absent, None where it is None or False."""
    value = G.nodes[j].get("bias", 0.0)
    return None if value is None or value is False else value


def forward(G: nx.DiGraph, sample: Mapping[Hashable, float]):
    """Return (s, x) by node for one sample; its keys are the input nodes, which have no s."""
    s, x = {}, dict(sample)
    for j in topological_order(G):
        if j in sample:
            continue
        theta, _ = ACTIVATIONS[G.nodes[j]["activation"]]
        # s_j = w_0j + sum over i->j of w_ij x_i
        s[j] = fsum([bias(G, j) or 0.0, *(e["weight"] * x[i] for i, e in G.pred[j].items())])
        x[j] = theta(s[j])
    return s, x


def backward(G: nx.DiGraph, s: Mapping[Hashable, float], de_dx: Mapping[Hashable, float]):
    """Return delta_j = de/ds_j of one sample by node, from `de_dx` on the output nodes."""
    delta = {}
    for j in reversed(topological_order(G)):
        if j not in s:
            continue
        _, d_theta = ACTIVATIONS[G.nodes[j]["activation"]]
        # delta_j = theta'_j(s_j) [ de/dx_j + sum over j->k of w_jk delta_k ]
        later = (e["weight"] * delta[k] for k, e in G.succ[j].items())
        delta[j] = d_theta(s[j]) * fsum([de_dx.get(j, 0.0), *later])
    return delta


def backprop(
    G: nx.DiGraph,
    samples: Sequence[Mapping[Hashable, float]],
    targets: Sequence[Sequence[float]],
    loss: str,
    outputs: Sequence[Hashable],
    sample_weight: Sequence[float] | None = None,
) -> Backprop:
    """Return the loss and its gradient, averaged over the samples, and each sample's own delta.

    `loss` and the gradients are sum_n w_n (...)_n / sum_n w_n. `delta` is that of a sample's own
    error e_n, neither weighted nor averaged. Every edge and every bias has a gradient, whether it
    is trainable or not; a node without bias has none.
    """
    weight = [1.0] * len(samples) if sample_weight is None else sample_weight
    errors, signals, values, deltas = [], [], [], []
    for sample, y in zip(samples, targets, strict=True):
        s, x = forward(G, sample)
        e, slope = LOSSES[loss]([x[j] for j in outputs], y)
        errors.append(e)
        signals.append(s)
        values.append(x)
        deltas.append(backward(G, s, dict(zip(outputs, slope, strict=True))))

    def mean(terms):
        return fsum(w * t for w, t in zip(weight, terms, strict=True)) / fsum(weight)

    def by_node(rows):
        return {j: [row[j] for row in rows] for j in rows[0]}

    x, delta = by_node(values), by_node(deltas)
    return Backprop(
        loss=mean(errors),
        s=by_node(signals),
        x=x,
        delta=delta,
        # de/dw_ij = x_i delta_j,  de/dw_0j = delta_j
        grad_weight={
            (i, j): mean(a * d for a, d in zip(x[i], delta[j], strict=True)) for i, j in G.edges
        },
        grad_bias={j: mean(delta[j]) for j in delta if bias(G, j) is not None},
    )


def as_samples(inputs: Sequence[Hashable], X) -> list[dict[Hashable, float]]:
    """Return the rows of an array (n_samples, n_inputs) as dicts from input node to value."""
    return [dict(zip(inputs, map(float, row), strict=True)) for row in X]


# ---------------------------------------------------------------------------- optimizers
# Each rule maps one parameter p and its gradient g to the new p, and stores its state in
# `state`, a dict that starts empty. The equations are those of PyTorch's documentation.


def sgd(p, g, state, *, lr, weight_decay=0.0):
    return p - lr * (g + weight_decay * p)


def momentum(p, g, state, *, lr, mu=0.9, weight_decay=0.0):
    g = g + weight_decay * p
    v = state["v"] = mu * state.get("v", 0.0) + g
    return p - lr * v


def nesterov(p, g, state, *, lr, mu=0.9, weight_decay=0.0):
    g = g + weight_decay * p
    v = state["v"] = mu * state.get("v", 0.0) + g
    return p - lr * (g + mu * v)


def adam(p, g, state, *, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * p
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return p - lr * m_hat / (sqrt(v_hat) + eps)


def adamw(p, g, state, *, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    p = p - lr * weight_decay * p
    return adam(p, g, state, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


def rmsprop(p, g, state, *, lr, alpha=0.9, eps=1e-8, mu=0.0, weight_decay=0.0):
    g = g + weight_decay * p
    v = state["v"] = alpha * state.get("v", 0.0) + (1 - alpha) * g * g
    b = state["b"] = mu * state.get("b", 0.0) + g / (sqrt(v) + eps)
    return p - lr * b


def adagrad(p, g, state, *, lr, eps=1e-10, weight_decay=0.0):
    g = g + weight_decay * p
    v = state["v"] = state.get("v", 0.0) + g * g
    return p - lr * g / (sqrt(v) + eps)


def rprop(
    p, g, state, *, lr, grow=1.2, shrink=0.5, least_step=1e-6, most_step=50.0, weight_decay=0.0
):
    g = g + weight_decay * p
    step, before = state.get("step", lr), state.get("g", 0.0)
    if g * before > 0:
        step = min(step * grow, most_step)
    elif g * before < 0:
        step, g = max(step * shrink, least_step), 0.0
    state["step"], state["g"] = step, g
    return p - step * ((g > 0) - (g < 0))


OPTIMIZERS = {
    rule.__name__: rule for rule in (sgd, momentum, nesterov, adam, adamw, rmsprop, adagrad, rprop)
}


def dropout_mask(seed: int, step: int, row: int, sample: int, stays: float) -> float:
    """Return m / stays: what dropout multiplies a node's activation by; m is 0 or 1.

    row counts nodes in topological order, sample is the position in the epoch's order. The bits are
    a hash of all of them: SplitMix64's finaliser for seed, step and row, and a mixer of 32 bits.
    """
    z = (seed + step * 0x9E3779B97F4A7C15 + (row << 32)) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    h = ((z ^ z >> 31) + sample * 0x9E3779B9) % 2**32
    h = (h ^ h >> 16) * 0x7FEB352D % 2**32
    h = (h ^ h >> 15) * 0x846CA68B % 2**32
    h ^= h >> 16
    return (h <= int(stays * (2**32 - 1))) / stays


def descend(name: str, parameters: Sequence[float], gradients, **hyper) -> list[float]:
    """Return the parameters after one step for each of `gradients`, an iterable of lists."""
    parameters, states = list(parameters), [{} for _ in parameters]
    for gradient in gradients:
        parameters = [
            OPTIMIZERS[name](p, g, state, **hyper)
            for p, g, state in zip(parameters, gradient, states, strict=True)
        ]
    return parameters


def clip_by_value(gradient: Sequence[float], limit: float) -> list[float]:
    """Return the gradient with each entry clipped to [-limit, limit]."""
    return [clip(g, -limit, limit) for g in gradient]


def clip_by_norm(gradient: Sequence[float], limit: float) -> list[float]:
    """Return the gradient scaled down to Euclidean norm `limit`, if it is longer."""
    norm = math.hypot(*gradient)
    return [g * (limit / norm) for g in gradient] if norm > limit else list(gradient)
