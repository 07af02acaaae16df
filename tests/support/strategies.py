"""One Hypothesis strategy of random DAGs with every feature.

Hypothesis draws a shape, a few sizes and a seed; `random.Random(seed)` fills in the rest. This
is fast (0.1 ms for a network), as Hypothesis draws a few numbers, not each attribute. Examples
still shrink to few nodes.
"""

import random
import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
import numpy as np
from hypothesis import strategies as st
from naive import ACTIVATIONS, SMOOTH


@dataclass(frozen=True)
class RandomNetwork:
    """A graph with all its attributes, and its inputs and outputs in the order of the columns."""

    G: nx.DiGraph
    inputs: list[Hashable]
    outputs: list[Hashable]

    def compile(self, **options):
        """Return `dagbp.compile` of this network; an output that no input reaches is meant."""
        import dagbp
        from dagbp._errors import UnreachableWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnreachableWarning)
            return dagbp.compile(self.G, inputs=self.inputs, outputs=self.outputs, **options)


# ---------------------------------------------------------------------------- shapes
# A shape yields edges i -> j of nodes 0..n-1 with i < j; the first n_inputs are the inputs, and an
# edge into one of these is dropped later.


def _sparse(rng: random.Random, n: int, n_inputs: int) -> Iterator[tuple[int, int]]:
    """Yield about one edge a node, with many isolated nodes, constants and dead ends."""
    for j in range(1, n):
        for i in range(j):
            if rng.random() * j < 1.2:
                yield i, j


def _dense(rng: random.Random, n: int, n_inputs: int) -> Iterator[tuple[int, int]]:
    """Yield four fifths of all possible edges: skips over every distance."""
    for j in range(1, n):
        for i in range(j):
            if rng.random() < 0.8:
                yield i, j


def _deep(rng: random.Random, n: int, n_inputs: int) -> Iterator[tuple[int, int]]:
    """Yield one chain, as deep as there are nodes, with a few skips."""
    for j in range(1, n):
        yield j - 1, j
        if j > 1 and rng.random() < 0.2:
            yield rng.randrange(j - 1), j
    for i in range(min(n_inputs, n - 1)):  # the other inputs join where it begins
        yield i, min(n_inputs, n - 1)


def _wide(rng: random.Random, n: int, n_inputs: int) -> Iterator[tuple[int, int]]:
    """Yield one hidden layer of nearly all nodes, between the inputs and one or two nodes."""
    first_out = max(n_inputs, n - rng.randint(1, 2))
    for j in range(n_inputs, first_out):
        yield from ((i, j) for i in range(n_inputs) if rng.random() < 0.8)
    for j in range(first_out, n):
        yield from ((i, j) for i in range(n_inputs, first_out))


def _layered(rng: random.Random, n: int, n_inputs: int) -> Iterator[tuple[int, int]]:
    """Yield complete layers of random widths: dense blocks."""
    start = [0, n_inputs]
    while start[-1] < n:
        start.append(min(n, start[-1] + rng.randint(1, 8)))
    for (a, b), (_, c) in pairwise(pairwise(start)):
        yield from ((i, j) for i in range(a, b) for j in range(b, c))


def _components(rng: random.Random, n: int, n_inputs: int) -> Iterator[tuple[int, int]]:
    """Yield two or three networks without edges between them."""
    k = rng.randint(2, 3)
    for j in range(k, n):
        yield from ((i, j) for i in range(j % k, j, k) if rng.random() < 0.6)


SHAPES = {
    "sparse": _sparse,
    "dense": _dense,
    "deep": _deep,
    "wide": _wide,
    "layered": _layered,
    "components": _components,
}

# ---------------------------------------------------------------------------- labels, attributes

_LABELS = (
    lambda k: k,
    lambda k: -1 - k,
    lambda k: f"n{k}",
    lambda k: (k, "cell"),
    lambda k: frozenset((k, "set")),
)


def _labels(rng: random.Random, n: int) -> list[Hashable]:
    """Return n distinct labels, plain ints or of mixed kinds, in no order."""
    numbers = rng.sample(range(n), n)
    if rng.random() < 0.3:
        return numbers
    return [rng.choice(_LABELS)(k) for k in numbers]


def _node(rng: random.Random, activations: Sequence[str]) -> dict:
    """Return the attributes of a node that is no input."""
    attributes: dict = {"activation": rng.choice(activations)}
    kind = rng.random()
    if kind < 0.6:
        attributes["bias"] = rng.uniform(-1, 1)
    elif kind < 0.85:
        attributes["bias"] = rng.choice((None, False, 0.0))
    return attributes | _extras(rng)


def _input(rng: random.Random) -> dict:
    """Return the attributes of an input: none, or some without effect."""
    return rng.choice(({}, {}, {"bias": None}, {"activation": "identity"})) | _extras(rng, frozen=0)


def _edge(rng: random.Random, fan_in: int) -> dict:
    """Return the attributes of an edge into a node with `fan_in` in-edges."""
    weight = 0.0 if rng.random() < 0.03 else rng.uniform(-2, 2) / fan_in**0.5
    return {"weight": weight} | _extras(rng)


def _extras(rng: random.Random, frozen: float = 0.15) -> dict:
    """Return `trainable`, rarely False, and attributes that dagbp does not use."""
    extras: dict = {}
    if rng.random() < frozen:
        extras["trainable"] = rng.random() < 0.3
    if rng.random() < 0.1:
        extras |= {"pos": (rng.random(), rng.random()), "label": "drawn"}
    return extras


def _outputs(rng: random.Random, G: nx.DiGraph, inputs: list) -> list[Hashable]:
    """Return the sinks, or any nodes at all: hidden, feeding others, rarely an input."""
    sinks = [j for j in G if not G.succ[j] and j not in set(inputs)]
    if sinks and rng.random() < 0.5:
        return sinks
    hidden = [j for j in G if j not in set(inputs)]
    pool = hidden if hidden and rng.random() < 0.9 else list(G)
    return rng.sample(pool, rng.randint(1, min(len(pool), 4)))


def _build(
    rng: random.Random, shape: str, n_inputs: int, n_others: int, activations: Sequence[str]
) -> RandomNetwork:
    n = n_inputs + n_others
    labels = _labels(rng, n)
    pairs = sorted({(i, j) for i, j in SHAPES[shape](rng, n, n_inputs) if j >= n_inputs})
    fan_in = [0] * n
    for _, j in pairs:
        fan_in[j] += 1

    G = nx.DiGraph()
    for j in rng.sample(range(n), n):  # in no topological order
        G.add_node(labels[j], **(_input(rng) if j < n_inputs else _node(rng, activations)))
    for i, j in rng.sample(pairs, len(pairs)):
        G.add_edge(labels[i], labels[j], **_edge(rng, fan_in[j]))

    inputs = labels[:n_inputs]
    return RandomNetwork(G, inputs, _outputs(rng, G, inputs))


def _activations(activations: Sequence[str] | None, smooth_only: bool) -> Sequence[str]:
    """Return the names to draw from."""
    if activations is not None:
        return activations
    return SMOOTH if smooth_only else tuple(ACTIVATIONS)


# ---------------------------------------------------------------------------- what tests use


@st.composite
def networks(
    draw,
    *,
    max_nodes: int = 16,
    min_inputs: int = 0,
    activations: Sequence[str] | None = None,
    smooth_only: bool = False,
) -> RandomNetwork:
    """Draw a network of 1 to `max_nodes` nodes with every attribute set.

    `activations` are the names to choose from; `smooth_only` leaves those that are analytic, for
    tests by differences. Without inputs (`min_inputs` = 0) the samples have no columns.
    """
    shape = draw(st.sampled_from(list(SHAPES)))
    n_inputs = draw(st.integers(min_inputs, min(4, max_nodes)))
    n_others = draw(st.integers(1 if n_inputs == 0 else 0, max_nodes - n_inputs))
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    return _build(rng, shape, n_inputs, n_others, _activations(activations, smooth_only))


def random_network(
    seed: int,
    *,
    max_nodes: int = 40,
    min_inputs: int = 0,
    activations: Sequence[str] | None = None,
    smooth_only: bool = False,
) -> RandomNetwork:
    """Return the network of this seed, drawn as in `networks` but without Hypothesis."""
    rng = random.Random(seed)
    shape = rng.choice(list(SHAPES))
    n_inputs = rng.randint(min_inputs, min(6, max_nodes))
    most = max_nodes - n_inputs
    n_others = rng.randint(1 if n_inputs == 0 else 0, rng.choice((min(2, most), most)))
    return _build(rng, shape, n_inputs, n_others, _activations(activations, smooth_only))


def random_samples(
    seed: int, net: RandomNetwork, n: int, loss: str = "squared_error"
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, n_inputs) and Y (n, n_outputs), targets such as `loss` takes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, len(net.inputs)))
    shape = (n, len(net.outputs))
    if loss == "binary_cross_entropy":
        Y = np.clip(rng.uniform(-1, 2, size=shape), 0, 1)
    elif loss == "softmax_cross_entropy":
        Y = rng.dirichlet(np.ones(shape[1]), size=n)
        Y[::2] = np.eye(shape[1])[rng.integers(shape[1], size=len(Y[::2]))]
    else:
        Y = rng.normal(size=shape)
    return X, Y


@st.composite
def samples(
    draw, net: RandomNetwork, n: int, loss: str = "squared_error"
) -> tuple[np.ndarray, np.ndarray]:
    """Draw X (n, n_inputs) and Y (n, n_outputs), targets such as `loss` takes."""
    return random_samples(draw(st.integers(0, 2**32 - 1)), net, n, loss)
