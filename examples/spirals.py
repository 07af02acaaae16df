"""Two spirals, classified by a small world of 40 neurons, with a picture of the decision surface.

The hidden neurons form a Watts-Strogatz ring with a fifth of its edges rewired, which is a narrow
DAG with dozens of levels. Adam trains it with a small L2 penalty, which keeps the surface smooth,
and with a learning rate that falls to zero along a cosine. Each seed draws points, topology and
weights. The accuracy is measured on as many new points.

Run it with `python examples/spirals.py`, or quickly with `--seeds 1 --epochs 100`. With `--plot
spirals.png` it draws seed 0, which needs matplotlib.
"""

import argparse

import numpy as np

import dagbp
from dagbp import plotting
from dagbp.callbacks import CosineDecay

TURNS, NOISE, N_POINTS = 2, 0.02, 1000
NAMES = "first spiral", "second spiral"


def spirals(rng):
    """Return points (n, 2) on two spirals half a turn apart, and the spiral of each, 0 or 1."""
    label = rng.integers(2, size=N_POINTS)
    radius = np.sqrt(rng.random(N_POINTS))
    angle = np.pi * (2 * TURNS * radius + label)
    points = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return points + rng.normal(scale=NOISE, size=points.shape), label


def train(seed, epochs):
    """Return a trained network, its history, new points and their labels."""
    rng = np.random.default_rng(seed)
    X, y = spirals(rng)
    G = dagbp.watts_strogatz(40, k=8, p=0.2, n_inputs=2, n_outputs=1, seed=seed)
    net = dagbp.compile(G, seed=seed)
    history = net.fit(
        X,
        y,
        loss="binary_cross_entropy",
        learning_rate=0.01,
        epochs=epochs,
        penalties=[dagbp.Penalty(l2=3e-4)],
        callbacks=[CosineDecay()],
        seed=seed,
    )
    return net, history, *spirals(rng)


def draw(path, net, X, y, title):
    """Draw the probability over the plane, the points and the network to a file."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    blue, orange = "#0072B2", "#D55E00"  # distinct with any common colour blindness
    shades = LinearSegmentedColormap.from_list("", ["#3f9bd0", "#f5f5f5", "#f08d49"])
    figure = Figure(figsize=(14, 7), layout="constrained")
    plane, wiring = figure.subplots(1, 2, width_ratios=[1, 1.1])

    at = np.linspace(-1.15, 1.15, 400)
    grid = np.stack(np.meshgrid(at, at), axis=-1)
    probability = 1 / (1 + np.exp(-net.predict(grid.reshape(-1, 2)).reshape(grid.shape[:2])))
    levels = np.linspace(0, 1, 21)
    surface = plane.contourf(at, at, probability, levels, cmap=shades)
    plane.contour(at, at, probability, [0.5], colors="black", linewidths=1)
    plane.plot([], [], color="black", linewidth=1, label="as likely as not")
    wrong = (net.predict(X)[:, 0] > 0) != y
    for k, (marker, colour) in enumerate([("o", blue), ("^", orange)]):
        style = {"s": 16, "marker": marker, "color": colour, "edgecolors": "white"}
        plane.scatter(*X[y == k].T, linewidths=0.4, label=NAMES[k], **style)
    ring = {"s": 90, "facecolors": "none", "edgecolors": "black", "linewidths": 1.2}
    plane.scatter(*X[wrong].T, label=f"misjudged: {wrong.sum()} of {len(y)}", **ring)
    plane.set(aspect="equal", xlabel="a", ylabel="b", title=title)
    plane.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False)
    bar = figure.colorbar(
        surface, ax=plane, fraction=0.046, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1]
    )
    bar.set_label(f"probability of the {NAMES[1]}")
    plotting.draw_network(net, ax=wiring)
    figure.savefig(path, dpi=120)


def main():
    """Train with every seed, and draw the first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="points, wirings and initial weights")
    parser.add_argument("--epochs", type=int, default=2000, help="passes over the points")
    parser.add_argument("--plot", metavar="PNG", help="where to write a picture of seed 0")
    options = parser.parse_args()
    for seed in range(options.seeds):
        net, history, X, y = train(seed, options.epochs)
        accuracy = np.mean((net.predict(X)[:, 0] > 0) == y)
        print(
            f"seed {seed}: {accuracy:.1%} of {len(y)} new points right; {net.n_edges} edges, "
            f"{history.n_updates:,} steps in {history.seconds:.2f} s"
        )
        if seed == 0 and options.plot:
            draw(options.plot, net, X, y, f"{accuracy:.1%} of new points right")
            print(f"wrote {options.plot}")


if __name__ == "__main__":
    main()
