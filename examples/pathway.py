"""Important genes by the deltas of a pathway-shaped network, compared with a known mechanism.

The graph is a signalling map of named nodes, from ligands to phenotypes. The data come from a
mechanism that uses a part of the map: EGF and insulin together cause proliferation, TNF causes
apoptosis, and AKT protects from apoptosis. The network learns from doses and noisy phenotypes, and
should find the nodes of the mechanism. Doses alone cannot distinguish two routes between the same
ends. So some samples have a knock-down of a kinase or factor: an input with a fixed negative
weight. All edges of the map start with positive weights. An L1 penalty then shrinks unused ones.

The importance of a node for a phenotype is the mean of |delta (s - mean of s)|. To first order,
this is the change of the phenotype if the signal is fixed at its mean. The true effect beside it is
the change of the phenotype of the mechanism if the activity of the node is fixed at its mean.

Run it with `python examples/pathway.py`, or quickly with `--seeds 1`.
"""

import argparse

import networkx as nx
import numpy as np

import dagbp

MAP = """
ligand:   EGF > EGFR;  INS > INSR;  TNF > TNFR;  WNT > FZD;  IL6 > IL6R
receptor: EGFR > RAF PI3K;  INSR > PI3K RAF;  TNFR > IKK JNK;  FZD > GSK3;  IL6R > JAK PI3K
kinase:   RAF > ERK;  ERK > MYC AP1;  PI3K > AKT;  AKT > GSK3 IKK FOXO;  GSK3 > MYC BCAT
kinase:   IKK > NFKB;  JNK > AP1;  JAK > STAT3
factor:   MYC > proliferation;  BCAT > proliferation;  FOXO > proliferation apoptosis
factor:   AP1 > proliferation apoptosis;  NFKB > apoptosis;  STAT3 > proliferation apoptosis
"""
CHAINS = "EGF EGFR RAF ERK", "INS INSR PI3K AKT", "TNF TNFR JNK AP1"  # of the mechanism
PHENOTYPES = ["proliferation", "apoptosis"]


def draw_map(seed):
    """Draw the map, and an input for each knock-down of a kinase or factor."""
    rng, G = np.random.default_rng(seed), nx.DiGraph()
    for line in MAP.strip().splitlines():
        stage, _, arrows = line.partition(":")
        for node, _, targets in (arrow.strip().partition(" > ") for arrow in arrows.split(";")):
            G.add_node(node, stage=stage)
            G.add_edges_from((node, t, {"weight": rng.uniform(1, 3)}) for t in targets.split())
    for node in [v for v, stage in G.nodes(data="stage") if stage in ("kinase", "factor")]:
        G.add_edge(f"no {node}", node, weight=-10, trainable=False)
    return G


def draw_samples(inputs, n, rng):
    """Draw doses from 0 to 1, and a knock-down of each kind in 8 % of the samples."""
    return {v: rng.random(n) < 0.08 if v.startswith("no ") else rng.random(n) for v in inputs}


def mechanism(sample, held=None):
    """Return the true phenotypes, shape (n, 2); the node `held` is fixed at its mean."""
    x = {}

    def act(node, activity):
        x[node] = activity * ~sample.get(f"no {node}", np.False_)
        if node == held:
            x[node] = np.full_like(x[node], x[node].mean())

    def hill(activity):
        return activity**2 / (activity**2 + 0.2)

    for ligand, receptor, first, second in map(str.split, CHAINS):
        act(receptor, hill(sample[ligand]))
        act(first, x[receptor])
        act(second, hill(x[first]))
    act("MYC", x["ERK"])
    act("FOXO", 1 - x["AKT"])
    return np.column_stack([x["MYC"] * (1 - x["FOXO"]), x["AP1"] * (0.3 + 0.7 * x["FOXO"])])


def importance(net, X, phenotype):
    """Return for each node the effect of its signal on a phenotype, to first order."""
    Y = net.predict(X)
    Y[:, net.outputs.index(phenotype)] -= 0.5  # there (x - y)^2 has slope 1, elsewhere 0
    bp = net.backprop(X, Y)
    return {v: np.mean(abs(bp.delta[v] * (bp.s[v] - bp.s[v].mean()))) for v in bp.delta}


def study(seed, show):
    """Train on one data set; return in how many of its two lists the mechanism is first."""
    rng, G = np.random.default_rng(seed), draw_map(seed)
    net = dagbp.compile(G, outputs=PHENOTYPES, activation="sigmoid", output_activation="sigmoid")
    train, test = (draw_samples(net.inputs, n, rng) for n in (4000, 2000))
    X, X_test = (np.column_stack([sample[v] for v in net.inputs]) for sample in (train, test))
    Y, Y_test = mechanism(train) + rng.normal(scale=0.05, size=(4000, 2)), mechanism(test)
    for rate, penalties in (0.01, []), (0.003, [dagbp.Penalty(l1=5e-5)]):
        net.fit(X, Y, learning_rate=rate, epochs=300, penalties=penalties, seed=seed)
    r2 = 1 - np.mean((net.predict(X_test) - Y_test) ** 2, axis=0) / Y_test.var(axis=0)
    first = 0
    for k, phenotype in enumerate(PHENOTYPES):
        found = importance(net, X_test, phenotype)
        nodes = sorted(set(found) - set(PHENOTYPES), key=found.get, reverse=True)
        true = {v: np.mean(abs(mechanism(test, v) - Y_test)[:, k]) for v in nodes}
        used = {v for v in nodes if true[v] > 0}
        first += used == set(nodes[: len(used)])
        if show:
            print(f"\n{phenotype}: R2 {r2[k]:.3f} on new samples")
            print(f"{'rank':>4}  {'node':6}{'stage':10}{'importance':>11}{'true effect':>13}")
            for rank, v in enumerate(nodes, 1):
                print(f"{rank:4}  {v:6}{G.nodes[v]['stage']:10}{found[v]:11.4f}{true[v]:13.4f}")
    return first


def main():
    """Print one data set in full, and the count over all data sets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="data sets and initial weights")
    n_seeds = parser.parse_args().seeds
    first = sum(study(seed, show=seed == 0) for seed in range(n_seeds))
    n_lists = n_seeds * len(PHENOTYPES)
    print(f"\nOver {n_seeds} data sets, the mechanism comes first in {first} of {n_lists} lists.")


if __name__ == "__main__":
    main()
