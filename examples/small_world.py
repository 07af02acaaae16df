"""Small worlds against layers, at the same number of neurons, edges and parameters.

Four topologies of 200 hidden neurons classify handwritten digits: a Watts-Strogatz ring (0 %
rewired), a small world (10 %), a random graph (100 %), and two hidden layers of 100 neurons with
random edges. The layers have exactly as many edges as the small world of the same seed. The random
graph has a few more, because neurons without edges after rewiring get new ones.

Each seed draws its own topologies and weights, and holds out its own quarter of the scans. All
networks are tuned in the same way: for each network and seed, the learning rate is the best of
three on a quarter of the training scans, and then a new network learns from all training scans. The
held-out scans are used once, at the end. The confidence interval of the mean difference from layers
treats seeds as independent, although all use the same 1,797 scans.

Run it with `python examples/small_world.py`, or quickly with `--seeds 2 --epochs 5`.
"""

import argparse
from itertools import pairwise

import networkx as nx
import numpy as np
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dagbp

HIDDEN, NEIGHBOURS = 200, 16
RATES = (0.001, 0.003, 0.01)


def small_world(rewired, seed):
    """Draw pixels, a ring of hidden neurons with a share of its edges rewired, and digits."""
    return dagbp.watts_strogatz(HIDDEN, NEIGHBOURS, rewired, n_inputs=64, n_outputs=10, seed=seed)


def layers(n_edges, seed):
    """Draw pixels, two hidden layers and digits, with exactly `n_edges` edges."""
    sizes = [64, HIDDEN // 2, HIDDEN // 2, 10]
    possible = sum(a * b for a, b in pairwise(sizes))
    for density in np.arange(n_edges - 1, n_edges + 1, 0.1) / possible:  # rounded layer by layer
        G = dagbp.layered(sizes, density, activation="tanh", seed=seed)
        if G.number_of_edges() == n_edges:
            return G
    raise ValueError(f"no layers of {sizes} nodes have {n_edges} edges")


def wirings(seed):
    """Return the four graphs of a seed."""
    world = small_world(0.1, seed)
    return {
        "layers": layers(world.number_of_edges(), seed),
        "ring": small_world(0.0, seed),
        "small world": world,
        "random graph": small_world(1.0, seed),
    }


def accuracy(G, rate, seed, epochs, train, test):
    """Train a network on one set of scans; return its accuracy on the other."""
    net = dagbp.compile(G, seed=seed)
    loss = "softmax_cross_entropy"
    net.fit(*train, loss=loss, learning_rate=rate, epochs=epochs, batch_size=32, seed=seed)
    X, y = test
    return np.mean(net.predict(X).argmax(axis=1) == y)


def split(X, y, seed):
    """Return three quarters of the scans, and the others."""
    X_a, X_b, y_a, y_b = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    return (X_a, y_a), (X_b, y_b)


def held_out_accuracy(G, seed, epochs):
    """Choose the learning rate on the training scans; return the accuracy on the held-out scans."""
    X, y = load_digits(return_X_y=True)
    train, test = split(X / 16, y, seed)
    part = split(*train, seed)
    rate = max(RATES, key=lambda rate: accuracy(G, rate, seed, epochs, *part))
    return accuracy(G, rate, seed, epochs, train, test)


def verdict(difference):
    """Describe a mean difference and its 95 % confidence interval (Student's t)."""
    mean, n = np.mean(difference), len(difference)
    half = stats.t.ppf(0.975, n - 1) * np.std(difference, ddof=1) / np.sqrt(n)
    says = "better" if mean > half else "worse" if mean < -half else "no difference found"
    low, high = mean - half, mean + half
    return f"{100 * mean:+.2f} points, from {100 * low:+.2f} to {100 * high:+.2f}: {says}"


def main():
    """Train every topology with every seed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="splits and wirings, at least 2")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training scans")
    options = parser.parse_args()

    found = {}
    for seed in range(options.seeds):
        for name, G in wirings(seed).items():
            found.setdefault(name, []).append(held_out_accuracy(G, seed, options.epochs))

    print(f"{'seed 0':14}{'edges':>8}{'parameters':>12}{'depth':>7}")
    for name, G in wirings(0).items():
        n_parameters = len(dagbp.compile(G).parameters)
        depth = nx.dag_longest_path_length(G)
        print(f"{name:14}{G.number_of_edges():8,}{n_parameters:12,}{depth:7}")
    print(f"\nheld-out accuracy over {options.seeds} seeds: mean, standard deviation, range")
    for name, a in found.items():
        print(f"{name:14}{np.mean(a):8.2%}{np.std(a, ddof=1):8.2%}   {min(a):.2%} to {max(a):.2%}")
    print("\ndifference from layers with the same seed, 95 % interval")
    for name in list(found)[1:]:
        print(f"{name:14}{verdict(np.subtract(found[name], found['layers']))}")


if __name__ == "__main__":
    main()
