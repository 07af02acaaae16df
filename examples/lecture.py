"""The matrix recursion of the lecture and the compiled graph, side by side.

The example writes a 3-4-2 network twice: as the matrices W^(1), W^(2) of the recursion in
`dagbp.reference`, and as a graph with a node for each neuron and an edge for each weight. dagbp
compiles the graph. Then every number of the recursion is read from the graph by the label of a
node.

Run it with `python examples/lecture.py`.
"""

from itertools import pairwise

import numpy as np

import dagbp
from dagbp import reference

WIDTHS = (3, 4, 2)
ACTIVATIONS = ("tanh", "identity")


def lecture(W, X, Y):
    """Return s, x, delta and dW of layers 1 to L by the matrix recursion."""
    theta = [reference.THETA[name] for name in ACTIVATIONS]
    s, x = reference.forward_batch(W, X, theta)
    delta = reference.backward_batch(W, s, x, Y, theta)
    values = [x_l[:, 1:] for x_l in x[1:-1]] + [x[-1]]  # without the constant x_0 = 1
    return s, values, delta, reference.gradient_batch(x, delta)


def engine(W, X, Y):
    """Return the same values from the graph, where node (l, i) is neuron i of layer l."""
    net = dagbp.compile(reference.graph_from_weights(W, ACTIVATIONS), dtype="float64")
    bp = net.backprop(X, Y, loss="squared_error")
    layers = [[(layer, i) for i in range(width)] for layer, width in enumerate(WIDTHS)]

    def columns(by_node):
        return [np.column_stack([by_node[node] for node in nodes]) for nodes in layers[1:]]

    dW = [
        np.array(
            [[bp.grad_bias[v] for v in after]]
            + [[bp.grad_weight[u, v] for v in after] for u in before]
        )
        for before, after in pairwise(layers)
    ]
    return columns(bp.s), columns(bp.x), columns(bp.delta), dW


def show(name, ours, theirs):
    """Print two matrices side by side, row by row."""
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        left, right = ("".join(f"{v:9.4f}" for v in row) for row in (a, b))
        print(f"  {name if k == 0 else '':8}{left:40}{right}")


def main():
    """Compare both on one batch, and print its first sample."""
    rng = np.random.default_rng(0)
    W = [rng.normal(size=(a + 1, b)) for a, b in pairwise(WIDTHS)]
    X, Y = rng.normal(size=(100, WIDTHS[0])), rng.normal(size=(100, WIDTHS[-1]))
    recursion, graph = lecture(W, X, Y), engine(W, X, Y)

    print(f"A {'-'.join(map(str, WIDTHS))} network, e = sum (x - y)^2, {len(X)} samples.")
    print("s, x, delta: the first sample. dW: the mean over all, with the biases in row 0.")
    for layer, name in enumerate(ACTIVATIONS):
        print(f"\nLayer {layer + 1}, {name}")
        print(f"  {'':8}{'   matrix recursion':40}   compiled graph")
        for symbol, ours, theirs in zip(("s", "x", "delta", "dW"), recursion, graph, strict=True):
            rows = slice(None) if symbol == "dW" else slice(1)
            show(symbol, ours[layer][rows], theirs[layer][rows])

    print("\nLargest difference, over all samples and layers")
    for symbol, ours, theirs in zip(("s", "x", "delta", "dW"), recursion, graph, strict=True):
        difference = max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))
        print(f"  {symbol:8}{difference:9.1e}")


if __name__ == "__main__":
    main()
