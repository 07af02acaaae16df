"""XOR by a single hidden neuron and edges that skip it.

A 2-1-1 network of layers cannot compute XOR: its output is a monotone function of a weighted sum of
the inputs. At best it classifies one sample, and gives the other three the mean of their labels, a
probability of 1/3 or 2/3. With two more edges, from the inputs directly to the output, it can
compute XOR. The example trains both from many initial weights.

Run it with `python examples/xor.py`, or quickly with `--seeds 5`.
"""

import argparse

import networkx as nx
import numpy as np

import dagbp

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
Y = np.array([0, 1, 1, 0])
LOSS = "binary_cross_entropy"


def train(edges, seed):
    """Return a network with these edges, trained on the four samples."""
    net = dagbp.compile(nx.DiGraph(edges), inputs=["a", "b"], outputs=["y"], seed=seed)
    net.fit(X, Y, loss=LOSS, learning_rate=0.05, epochs=1000, batch_size=4, seed=seed)
    return net


def probability(net):
    """Return the probability of a 1 for each sample; the loss takes raw outputs."""
    return 1 / (1 + np.exp(-net.predict(X)[:, 0]))


def main():
    """Train without and with the skip edges; print the best network and the number of successes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="initial weights to try")
    n_seeds = parser.parse_args().seeds
    bound = -np.mean([np.log(1), *np.log([1 / 3, 2 / 3, 2 / 3])])  # one apart, three at 1/3 or 2/3
    print(f"the least loss of layers alone, by theory: {bound:.4f}")

    layers = [("a", "h"), ("b", "h"), ("h", "y")]
    skips = [("a", "y"), ("b", "y")]
    for title, edges in ("layers", layers), ("layers and skip edges", layers + skips):
        nets = [train(edges, seed) for seed in range(n_seeds)]
        solved = sum(np.array_equal(probability(net) > 0.5, Y) for net in nets)
        best = min(nets, key=lambda net: net.evaluate(X, Y, loss=LOSS))
        print(f"\n{title}: {solved} of {n_seeds} seeds get all four samples right")
        print(f"  least loss {best.evaluate(X, Y, loss=LOSS):.4f}, by a network with the weights")
        print("  " + ", ".join(f"{u} -> {v} {best.weights[u, v]:.2f}" for u, v in edges))
        for (a, b), p in zip(X, probability(best), strict=True):
            print(f"  {a} xor {b} = 1 with probability {p:.3f}")


if __name__ == "__main__":
    main()
