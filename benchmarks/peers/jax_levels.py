"""JAX: one compiled step, with the levels unrolled, or in a loop written by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from . import LEARNING_RATE
from .bases.levels import make_levels

GATHERED = 1024  # edges whose rows are gathered at a time: both factors stay in a core's L2 cache


class JaxUnrolledLevels:
    """Each level is a few operations with shapes of its own; `jax.grad` differentiates them."""

    name = "JAX jit, unrolled levels"
    package = "jax"

    def __init__(self, case, parameters, threads):
        self.case, self.levels = case, make_levels(case)
        levels = self.levels
        self.parameters = jax.device_put(levels.from_case(case, parameters))
        self.layout = [
            (*span, *_padded(levels.in_ptr, levels.in_src, span[0], span[2]))
            for span in levels.spans
        ]
        self._update = jax.jit(self._stepped, donate_argnums=0)
        self._gradient = jax.jit(jax.grad(self._loss))
        self._predict = jax.jit(self._forward)

    def set_batch(self, X, Y):
        """Store a batch."""
        self.X, self.Y = jnp.asarray(X), jnp.asarray(Y)

    def step(self):
        """Take one training step."""
        self.parameters = self._update(self.parameters, self.X, self.Y)
        jax.block_until_ready(self.parameters)

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        return self.levels.to_case(self.case, *map(np.array, self.raw_gradient()))

    def raw_gradient(self):
        """Return the gradient by slot, and by row."""
        return jax.block_until_ready(self._gradient(self.parameters, self.X, self.Y))

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        return np.asarray(self._predict(self.parameters, X))

    def _forward(self, parameters, X):
        w, b = parameters
        n_inputs = self.levels.n_inputs
        padded_w = jnp.append(w, 0)  # the weight of absent edges
        x = jnp.zeros((self.levels.n_nodes, len(X)), w.dtype).at[:n_inputs].set(X.T)
        for first, output, end, source, slot in self.layout:
            s = jnp.einsum("jk,jkb->jb", padded_w[slot], x[source])
            s += b[first - n_inputs : end - n_inputs, None]
            x = x.at[first:output].set(jax.nn.relu(s[: output - first]))
            x = x.at[output:end].set(s[output - first :])
        return x[self.levels.outputs].T

    def _loss(self, parameters, X, Y):
        return ((self._forward(parameters, X) - Y) ** 2).sum() / len(X)

    def _stepped(self, parameters, X, Y):
        gradients = jax.grad(self._loss)(parameters, X, Y)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients)


class JaxScanLevels:
    """A loop over levels padded to one width and one in-degree, both passes written by hand.

    Automatic differentiation of such a loop would store the whole state at every level. Level k
    begins at padded row ``n_inputs + k * width``. It compiles in a second at any depth. One node of
    high degree pads all nodes.
    """

    name = "JAX jit, loop over levels"
    package = "jax"

    def __init__(self, case, parameters, threads):
        self.case, self.levels = case, make_levels(case)
        self.parameters = jax.device_put(self.levels.from_case(case, parameters))
        self.width = max(end - first for first, _, end in self.levels.spans)
        self.n_rows = self.levels.n_inputs + len(self.levels.spans) * self.width
        self.layout = jax.device_put(self._layout())
        self._update = jax.jit(self._stepped, donate_argnums=0)
        self._gradient = jax.jit(self._differentiate)
        self._predict = jax.jit(lambda *given: self._forward(*given)[given[1]["outputs"]].T)

    def _layout(self):
        """Return the padded tables: arguments of the compiled step, and so no constants of it."""
        levels, n_inputs = self.levels, self.levels.n_inputs
        row = np.arange(levels.n_nodes, dtype=np.int32)  # padded row of each row
        for k, (first, _, end) in enumerate(levels.spans):
            row[first:end] = n_inputs + k * self.width + np.arange(end - first)
        hidden = np.zeros(self.n_rows, np.float32)
        hidden[row[levels.n_inputs :]] = 1
        hidden[row[levels.outputs]] = 0
        bias = np.full(self.n_rows, levels.n_nodes - n_inputs, np.int32)
        bias[row[n_inputs:]] = np.arange(levels.n_nodes - n_inputs)
        shape = len(levels.spans), self.width

        def table(ptr, columns, slot_of):
            source, slot = _padded(ptr, columns, n_inputs, levels.n_nodes)
            place = row[n_inputs:] - n_inputs
            sources = np.zeros((shape[0] * shape[1], source.shape[1]), np.int32)
            slots = np.full_like(sources, len(columns))
            sources[place], slots[place] = row[source], np.append(slot_of, len(columns))[slot]
            return sources.reshape(*shape, -1), slots.reshape(*shape, -1)

        slots = np.arange(len(levels.edge))
        missing = -len(slots) % GATHERED
        return {
            "in": table(levels.in_ptr, levels.in_src, slots),
            "out": table(levels.out_ptr, levels.out_dst, levels.out_slot),
            "hidden": hidden[n_inputs:].reshape(*shape, 1),
            "bias": bias[n_inputs:].reshape(shape),
            "rows": row[n_inputs:],
            "outputs": row[levels.outputs],
            "ends": tuple(
                np.pad(row[ends], (0, missing)).reshape(-1, GATHERED)
                for ends in (levels.in_src, levels.target)
            ),
        }

    def set_batch(self, X, Y):
        """Store a batch."""
        self.X, self.Y = jnp.asarray(X), jnp.asarray(Y)

    def step(self):
        """Take one training step."""
        self.parameters = self._update(self.parameters, self.layout, self.X, self.Y)
        jax.block_until_ready(self.parameters)

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        return self.levels.to_case(self.case, *map(np.array, self.raw_gradient()))

    def raw_gradient(self):
        """Return the gradient by slot, and by row."""
        return jax.block_until_ready(self._gradient(self.parameters, self.layout, self.X, self.Y))

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        return np.asarray(self._predict(self.parameters, self.layout, X))

    def _forward(self, parameters, layout, X):
        w, b = (jnp.append(p, 0) for p in parameters)  # absent edges read the last entry
        sources, slots = layout["in"]
        x = jnp.zeros((self.n_rows, len(X)), w.dtype).at[: self.levels.n_inputs].set(X.T)

        def level(k, x):
            s = jnp.einsum("jk,jkb->jb", w[slots[k]], x[sources[k]]) + b[layout["bias"][k], None]
            activated = jnp.where(layout["hidden"][k] > 0, jax.nn.relu(s), s)
            return jax.lax.dynamic_update_slice_in_dim(x, activated, self._first(k), 0)

        return jax.lax.fori_loop(0, len(sources), level, x)

    def _differentiate(self, parameters, layout, X, Y):
        x = self._forward(parameters, layout, X)
        w = jnp.append(parameters[0], 0)
        targets, slots = layout["out"]
        outputs = layout["outputs"]
        delta = jnp.zeros_like(x).at[outputs].set((x[outputs] - Y.T) * 2 / len(X))

        def level(passed, delta):
            k = len(targets) - 1 - passed
            own, activation = (
                jax.lax.dynamic_slice_in_dim(a, self._first(k), self.width) for a in (delta, x)
            )
            sums = jnp.einsum("jk,jkb->jb", w[slots[k]], delta[targets[k]])
            own = jnp.where(layout["hidden"][k] > 0, sums * (activation > 0), own)
            return jax.lax.dynamic_update_slice_in_dim(delta, own, self._first(k), 0)

        delta = jax.lax.fori_loop(0, len(targets), level, delta)
        dw = jax.lax.map(
            lambda ends: jnp.einsum("eb,eb->e", x[ends[0]], delta[ends[1]]), layout["ends"]
        )
        return dw.ravel()[: len(parameters[0])], delta[layout["rows"]].sum(axis=1)

    def _first(self, k):
        return self.levels.n_inputs + k * self.width

    def _stepped(self, parameters, layout, X, Y):
        gradients = self._differentiate(parameters, layout, X, Y)
        return tuple(p - LEARNING_RATE * g for p, g in zip(parameters, gradients, strict=True))


def _padded(ptr, columns, first, end):
    """Return columns and slots of some rows as tables of one width.

    Absent entries have column 0 and slot ``len(columns)``, beyond all edges.
    """
    counts = np.diff(ptr[first : end + 1])
    slots = np.arange(ptr[first], ptr[end])
    row = np.repeat(np.arange(end - first), counts)
    place = slots - np.repeat(ptr[first:end], counts)
    column = np.zeros((end - first, counts.max(initial=1)), np.int32)
    slot = np.full_like(column, len(columns))
    column[row, place], slot[row, place] = columns[slots], slots
    return column, slot
