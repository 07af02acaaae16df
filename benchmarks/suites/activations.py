"""Cost of activations relative to relu, in a network with 50 in-edges a node.

python -m benchmarks activations
"""

import dagbp

from ..harness import command, environment, measuring, networks, race, results

BATCH, IN_DEGREE, WIDTH, DEPTH = 128, 50, 500, 6
OPTIONS = {"optimizer": "sgd", "learning_rate": 0.0, "verbose": 0, "seed": 0}


class WithActivation:
    """A network with one activation in all hidden nodes, for `race.time_steps`."""

    def __init__(self, case, activation):
        self.X, self.Y = networks.draw_batch(case, BATCH)
        self.net = dagbp.Network.from_edges(
            case.src,
            case.dst,
            case.n_nodes,
            activation=activation,
            seed=0,
            n_threads=environment.THREADS,
        )

    def steps(self, count):
        """Take training steps."""
        self.net.fit(self.X, self.Y, epochs=count, batch_size=BATCH, **OPTIONS)


def main(arguments):
    """Print the table, and write the rows."""
    options = command.start("activations", __doc__, arguments)
    width, in_degree = (20, 5) if options.quick else (WIDTH, IN_DEGREE)
    case = networks.large(width * DEPTH, in_degree * width * (DEPTH - 1), DEPTH)
    names = ("relu", "tanh") if options.quick else dagbp.activations.names()
    times = race.time_steps({name: WithActivation(case, name) for name in names})
    command.title(f"activations, {case.name}, batch {BATCH}: a training step")
    rows, lines, work = [], [], 6 * case.n_edges * BATCH
    for name, seconds in times.items():
        rate, ratio = work / seconds / 1e9, seconds / times["relu"]
        share = rate / measuring.limits()["sgemm_gflops"]
        rows.append({"activation": name, "ms": seconds * 1e3, "gflops": rate, "over_relu": ratio})
        rows[-1]["share_of_sgemm"] = share
        lines.append([name, f"{seconds * 1e3:.3f}", f"{ratio:.2f}", f"{rate:.1f}", f"{share:.0%}"])
    command.table(["activation", "ms", "over relu", "GF/s", "of sgemm"], lines)
    results.save("activations", rows, options.quick)
