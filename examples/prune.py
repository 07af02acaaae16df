"""Pruning by graph editing: removes the weakest edges, compiles and trains again, prints accuracy.

A layered network learns handwritten digits. Then each round takes the graph with its trained
weights from `to_networkx`, removes the edges with the smallest weights and the neurons without
in-edges or out-edges, and compiles the next network. That network starts with the remaining
weights. The last column shows whether these weights matter: it has the accuracy of the same edges
with new random weights, trained for as many epochs as all rounds so far together.

Each seed draws its own weights, and holds out its own quarter of the scans. In the first row, the
column "pruned" has the untrained network. The time is the smallest of many training steps of 128
samples on one thread. At first it falls less than the number of edges, because the edges of the
full network run as dense panels.

Run it with `python examples/prune.py`, or quickly with `--seeds 1 --rounds 2 --width 64`.
"""

import argparse
import copy

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dagbp

LOSS = "softmax_cross_entropy"
KEEP = 0.4  # of the edges, in each round
EPOCHS = 15  # of each round


def compile_like(net, G, seed=None):
    """Compile an edited graph; a pixel without out-edges remains an input."""
    return dagbp.compile(G, inputs=net.inputs, outputs=net.outputs, seed=seed)


def prune(net):
    """Return a network of the strongest edges, with their weights."""
    G = net.to_networkx()
    edges = sorted(G.edges, key=lambda edge: abs(G.edges[edge]["weight"]))
    G.remove_edges_from(edges[: round((1 - KEEP) * len(edges))])
    hidden = set(G) - set(net.inputs) - set(net.outputs)
    while idle := {v for v in hidden if G.in_degree(v) == 0 or G.out_degree(v) == 0}:
        G.remove_nodes_from(idle)
        hidden -= idle
    return compile_like(net, G)


def renew(net, seed):
    """Return a network of the same edges with new weights."""
    G = net.to_networkx()
    for edge in G.edges:
        del G.edges[edge]["weight"]
    for node in G:
        G.nodes[node].pop("bias", None)
    return compile_like(net, G, seed)


def train(net, data, epochs, seed):
    """Train the network; return its accuracy on the held-out scans."""
    X, X_test, y, y_test = data
    net.fit(X, y, loss=LOSS, epochs=epochs, batch_size=32, seed=seed)
    return accuracy(net, X_test, y_test)


def accuracy(net, X, y):
    """Return the share of correct answers."""
    return np.mean(net.predict(X).argmax(axis=1) == y)


def milliseconds(net, X, y):
    """Return the time of a training step of a copy of the network."""
    net = copy.deepcopy(net)
    net.n_threads = 1
    runs = [net.fit(X[:1280], y[:1280], loss=LOSS, batch_size=128, epochs=2) for _ in range(12)]
    return min(1000 * run.seconds / run.n_updates for run in runs)


def study(seed, rounds, width):
    """Yield for each round: edges, the three accuracies, and the time of a step."""
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=seed)
    X, X_test, y, y_test = data
    net = dagbp.compile(dagbp.layered([64, width, width, 10]), seed=seed)
    for k in range(rounds + 1):
        if k > 0:
            net = prune(net)
        before = accuracy(net, X_test, y_test)
        trained = train(net, data, EPOCHS, seed + k)
        renewed = train(renew(net, seed), data, (k + 1) * EPOCHS, seed)
        yield net.n_edges, before, trained, renewed, milliseconds(net, X, y)


def main():
    """Print the means over the seeds, and the smallest times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="splits and initial weights to try")
    parser.add_argument("--rounds", type=int, default=5, help="times that edges are dropped")
    parser.add_argument("--width", type=int, default=400, help="neurons of both hidden layers")
    options = parser.parse_args()
    seeds = range(options.seeds)
    found = np.array([list(study(seed, options.rounds, options.width)) for seed in seeds])
    mean, least = found.mean(axis=0), found.min(axis=0)
    print(f"{'':18}{f'held-out accuracy, mean of {len(seeds)}':>37}{'a step':>9}")
    print(f"{'edges':>10}{'share':>8}{'pruned':>12}{'trained on':>12}{'new weights':>13}{'ms':>9}")
    for (edges, before, trained, renewed, _), ms in zip(mean, least[:, -1], strict=True):
        print(
            f"{edges:10,.0f}{edges / mean[0, 0]:8.1%}{before:12.2%}{trained:12.2%}{renewed:13.2%}"
            f"{ms:9.3f}"
        )


if __name__ == "__main__":
    main()
