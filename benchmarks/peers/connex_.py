"""Connex: arbitrary DAGs in JAX, each topological batch a masked dense product."""

import connex
import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from . import LEARNING_RATE


class Connex:
    """`connex.NeuralNetwork`, mapped over samples."""

    name = "Connex"
    package = "connex"

    def __init__(self, case, parameters, threads):
        G = nx.DiGraph()
        G.add_nodes_from(range(case.n_nodes))
        G.add_edges_from(zip(case.src.tolist(), case.dst.tolist(), strict=True))
        inputs, outputs = np.asarray(case.inputs).tolist(), np.asarray(case.outputs).tolist()
        model = connex.NeuralNetwork(G, inputs, outputs, jax.nn.relu)
        self.shapes = [block.shape for block in model._weights_and_biases]
        self.cell = _cells(model, case, self.shapes)
        flat = np.zeros(sum(map(np.prod, self.shapes)), np.float32)
        flat[self.cell] = parameters
        ends = np.cumsum([np.prod(shape) for shape in self.shapes])[:-1]
        blocks = [
            jnp.asarray(block.reshape(shape))
            for block, shape in zip(np.split(flat, ends), self.shapes, strict=True)
        ]
        model = eqx.tree_at(lambda m: m._weights_and_biases, model, blocks)
        # Split once: the static part holds the edges, and comparing it in every call is slow.
        self.arrays, static = eqx.partition(model, eqx.is_inexact_array)

        def forward(arrays, X):
            whole, key = eqx.combine(arrays, static), jax.random.PRNGKey(0)  # no dropout
            return jax.vmap(lambda x: whole(x, key=key))(X)

        def loss(arrays, X, Y):
            return ((forward(arrays, X) - Y) ** 2).sum() / len(X)

        def update(arrays, X, Y):
            gradients = jax.grad(loss)(arrays, X, Y)
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, arrays, gradients)

        self._predict, self._gradient = jax.jit(forward), jax.jit(jax.grad(loss))
        self._update = jax.jit(update, donate_argnums=0)

    def set_batch(self, X, Y):
        """Store a batch."""
        self.X, self.Y = jnp.asarray(X), jnp.asarray(Y)

    def step(self):
        """Take one training step."""
        self.arrays = self._update(self.arrays, self.X, self.Y)
        jax.block_until_ready(self.arrays)

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        blocks = self.raw_gradient()._weights_and_biases
        return np.concatenate([np.asarray(block).ravel() for block in blocks])[self.cell]

    def raw_gradient(self):
        """Return the gradient in the structure of a Connex network."""
        return jax.block_until_ready(self._gradient(self.arrays, self.X, self.Y))

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        return np.asarray(self._predict(self.arrays, X))


def _cells(model, case, shapes):
    """Return the index of each weight, then of each bias, in the concatenated blocks.

    A block has a row for each neuron of a topological batch, a column for each neuron between its
    first and its last source, and the biases in the last column.
    """
    number = np.array([model._neuron_to_id[node] for node in range(case.n_nodes)])
    start = np.cumsum([0, *(rows * columns for rows, columns in shapes)])
    row = np.full(case.n_nodes, -1)  # of each neuron, by its number: first cell of its row
    low, width = np.zeros_like(row), np.zeros_like(row)
    for k, batch in enumerate(model._topo_batches):
        members = np.asarray(batch)
        row[members] = start[k] + np.arange(len(members)) * shapes[k][1]
        low[members], width[members] = model._min_index[k], shapes[k][1]
    src, dst = number[case.src], number[case.dst]
    computed = number[case.computed]
    return np.concatenate([row[dst] + src - low[dst], row[computed] + width[computed] - 1])
