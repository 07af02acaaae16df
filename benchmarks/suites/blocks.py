"""Gain of dense blocks, by the side of a block, for several orders of the nodes.

    python -m benchmarks blocks

Measures the same network three times: with the nodes of a block in order; with shuffled nodes; and
with shuffled nodes and without row clustering, so that every edge is sparse. Row clustering accepts
smaller and emptier blocks here than in dagbp, to find good values of `Clustering.rows` and
`.percent`.
"""

from functools import partial
from unittest import mock

from dagbp._plan.clustering import Clustering
from dagbp._plan.from_graph import plan_graph

from ..harness import command, environment, networks, race, results
from ..peers.dagbp_ import Dagbp

BATCH = 128
SIDES = (16, 24, 32, 48, 64, 128)
SHARES = (1.0, 0.9, 0.8, 0.7)


def row_clustering(wanted):
    """Return a context with the limits of this suite, or without row clustering."""
    options = Clustering(rows=min(SIDES), percent=50) if wanted else None
    return mock.patch("dagbp._model.model.plan_graph", partial(plan_graph, clustering=options))


def contenders(case):
    """Return the net in three orders, for `race.time_steps`."""
    nets = {}
    for name, drawn, wanted in (
        ("in order", case, True),
        ("shuffled", networks.shuffled(case), True),
        ("left shuffled", networks.shuffled(case), False),
    ):
        with row_clustering(wanted):
            nets[name] = Dagbp(drawn, networks.draw_parameters(drawn), environment.THREADS)
        nets[name].set_batch(*networks.draw_batch(drawn, BATCH))
    return nets


def main(arguments):
    """Print the table, and write the rows."""
    options = command.start("blocks", __doc__, arguments)
    command.title(f"blocks by their side, four layers, batch {BATCH}: a training step, ms")
    rows, lines = [], []
    for share in SHARES[:1] if options.quick else SHARES:
        for side in SIDES[:1] if options.quick else SIDES:
            case = networks.blocks(side, share, 64 if options.quick else 1_536)
            rounds = {"rounds": 1, "least": 0.002} if options.quick else {"rounds": 15}
            times = race.time_steps(contenders(case), **rounds)
            ratio = times["left shuffled"] / times["shuffled"]
            for name, seconds in times.items():
                row = {"case": case.name, "edges": case.n_edges, "peer": name}
                rows.append({**row, "ms": 1e3 * seconds})
            texts = [f"{1e3 * seconds:.3f}" for seconds in times.values()]
            lines.append([case.name, f"{case.n_edges:,}", *texts, f"{ratio:.2f}"])
    header = ["", "edges", "in order", "shuffled", "left shuffled", "gain"]
    command.table(header, lines)
    results.save("blocks", rows, options.quick)
