"""XOR by a single hidden neuron, thanks to edges that skip it.

A 2-1-1 network of layers cannot compute XOR: its output is monotone in a weighted sum of the
inputs, whatever it learns. With two more edges, from the inputs straight to the output, it can.

Run it with `python examples/xor.py`.
"""

import networkx as nx
import numpy as np

import dagbp

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
Y = np.array([0, 1, 1, 0])


def train(edges):
    """Return a network of these edges, trained on the four samples."""
    net = dagbp.compile(nx.DiGraph(edges), inputs=["a", "b"], outputs=["y"], seed=0)
    net.fit(X, Y, loss="binary_cross_entropy", learning_rate=0.05, epochs=1000, batch_size=4)
    return net


def main():
    """Train without and with the skip edges; print what each network has learnt."""
    layers = [("a", "h"), ("b", "h"), ("h", "y")]
    skips = [("a", "y"), ("b", "y")]
    for title, edges in ("layers", layers), ("layers and skip edges", layers + skips):
        net = train(edges)
        probability = 1 / (1 + np.exp(-net.predict(X)[:, 0]))  # the loss takes raw outputs
        print(f"\n{title}: loss {net.evaluate(X, Y, loss='binary_cross_entropy'):.4f}")
        for (a, b), p in zip(X, probability, strict=True):
            print(f"  {a} xor {b} = 1 with probability {p:.3f}")
        print("  weights " + ", ".join(f"{u} -> {v} {net.weights[u, v]:.2f}" for u, v in edges))


if __name__ == "__main__":
    main()
