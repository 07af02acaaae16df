"""PyTorch level by level: with MKL's sparse products by hand, and with autograd."""

import torch

from . import LEARNING_RATE
from .bases.levels import make_levels


class TorchExpertLevels:
    """A CSR product a level each way, and all weight gradients in one `sampled_addmm`.

    Forward and backward are written by hand, since autograd would record every level. Activations
    and sensitivities are arrays (n_nodes, batch), and every product writes into them.
    """

    name = "PyTorch expert per level"
    package = "torch"

    def __init__(self, case, parameters, threads):
        torch.set_num_threads(threads)
        self.case, self.levels = case, make_levels(case)
        levels, n = self.levels, self.levels.n_nodes
        w, b = levels.from_case(case, parameters)
        self.w, self.b = torch.from_numpy(w), torch.from_numpy(b)[:, None]
        self.out_slot = torch.from_numpy(levels.out_slot)
        self.w_out = self.w[self.out_slot]
        self.outputs = torch.from_numpy(levels.outputs)
        incoming = levels.in_ptr, levels.in_src, self.w
        outgoing = levels.out_ptr, levels.out_dst, self.w_out
        self.forward = [_rows(*incoming, first, end, n) for first, _, end in levels.spans]
        self.backward = [_rows(*outgoing, first, output, n) for first, output, _ in levels.spans]
        self.dw = _rows(levels.in_ptr, levels.in_src, torch.zeros_like(self.w), 0, n, n)

    def set_batch(self, X, Y):
        """Store a batch, and allocate the buffers for its size."""
        self.X, self.Y = torch.from_numpy(X), torch.from_numpy(Y)
        self.x = torch.zeros(self.levels.n_nodes, len(X))
        self.delta = torch.zeros_like(self.x)

    def step(self):
        """Take one training step."""
        dw, db = self.raw_gradient()
        self.w.sub_(dw, alpha=LEARNING_RATE)
        self.b.sub_(db, alpha=LEARNING_RATE)
        torch.index_select(self.w, 0, self.out_slot, out=self.w_out)

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        dw, db = self.raw_gradient()
        return self.levels.to_case(self.case, dw.numpy(), db.numpy().ravel())

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        x = torch.zeros(self.levels.n_nodes, len(X))
        self._forward(torch.from_numpy(X), x)
        return x[self.outputs].T.numpy()

    def _forward(self, X, x):
        n_inputs = self.levels.n_inputs
        x[:n_inputs] = X.T
        for (first, output, end), W in zip(self.levels.spans, self.forward, strict=True):
            # W has a column for every row, but its entries lie in columns before `first`.
            bias = self.b[first - n_inputs : end - n_inputs].expand(-1, x.shape[1])
            torch.addmm(bias, W, x, out=x[first:end])
            x[first:output].relu_()

    def raw_gradient(self):
        """Return the gradient by slot, and by row as (n_computed, 1)."""
        x, delta = self.x, self.delta
        self._forward(self.X, x)
        delta[self.outputs] = (x[self.outputs] - self.Y.T) * (2 / len(self.X))
        spans = reversed(self.levels.spans)
        for (first, output, _), W in zip(spans, reversed(self.backward), strict=True):
            if output > first:
                rows = delta[first:output]
                torch.mm(W, delta, out=rows)
                torch.ops.aten.threshold_backward.grad_input(
                    rows, x[first:output], 0, grad_input=rows
                )
        torch.sparse.sampled_addmm(self.dw, delta, x.T, beta=0.0, out=self.dw)
        return self.dw.values(), delta[self.levels.n_inputs :].sum(dim=1, keepdim=True)


def _rows(ptr, columns, values, first, end, n_columns):
    """Return some rows of a CSR matrix. Its values are a view, so updates change them."""
    slots = slice(ptr[first], ptr[end])
    return torch.sparse_csr_tensor(
        torch.from_numpy(ptr[first : end + 1] - ptr[first]),
        torch.from_numpy(columns[slots]),
        values[slots],
        (end - first, n_columns),
        check_invariants=False,
    )


class TorchEagerLevels:
    """Autograd over gathers and `index_add` into one array of activations, level by level."""

    name = "PyTorch eager per level"
    package = "torch"

    def __init__(self, case, parameters, threads):
        torch.set_num_threads(threads)
        self.case, self.levels = case, make_levels(case)
        levels = self.levels
        w, b = (torch.tensor(a, requires_grad=True) for a in levels.from_case(case, parameters))
        self.w, self.b = w, b
        self.optimizer = torch.optim.SGD([w, b], lr=LEARNING_RATE)
        self.outputs = torch.from_numpy(levels.outputs)
        self.layout = []
        for first, output, end in levels.spans:
            slots = slice(levels.in_ptr[first], levels.in_ptr[end])
            source = torch.from_numpy(levels.in_src[slots])
            target = torch.from_numpy(levels.target[slots]) - first
            self.layout.append((first, output, end, slots, source, target))

    def set_batch(self, X, Y):
        """Store a batch."""
        self.X, self.Y = torch.from_numpy(X), torch.from_numpy(Y)

    def step(self):
        """Take one training step."""
        self.raw_gradient()
        self.optimizer.step()

    def gradient(self):
        """Return the gradient in the order of the parameters."""
        return self.levels.to_case(self.case, *(g.numpy() for g in self.raw_gradient()))

    def predict(self, X):
        """Return the outputs, (n_samples, n_outputs)."""
        with torch.no_grad():
            return self._forward(torch.from_numpy(X)).numpy()

    def _forward(self, X):
        n_inputs = self.levels.n_inputs
        x = torch.zeros(self.levels.n_nodes, len(X))
        x[:n_inputs] = X.T
        for first, output, end, slots, source, target in self.layout:
            bias = self.b[first - n_inputs : end - n_inputs, None].expand(-1, len(X))
            s = bias.index_add(0, target, self.w[slots, None] * x[source])
            x[first:end] = torch.cat([torch.relu(s[: output - first]), s[output - first :]])
        return x[self.outputs].T

    def raw_gradient(self):
        """Return the gradient by slot, and by row."""
        self.optimizer.zero_grad()
        loss = ((self._forward(self.X) - self.Y) ** 2).sum() / len(self.X)
        loss.backward()
        return self.w.grad, self.b.grad
