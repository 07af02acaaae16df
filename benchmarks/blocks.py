"""The gain of row clustering for dense blocks with shuffled nodes, by the side of a block.

    python benchmarks/blocks.py

The same net three times: with contiguous blocks; with shuffled nodes; and shuffled without row
clustering (`dagbp._plan.clustering`), where every edge runs as sparse. Small and half-full blocks
are clustered here too, which shows the best defaults of `Clustering.rows` and `.percent`.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

from functools import partial
from unittest import mock

import contest
import networks
from dagbp._plan.clustering import Clustering
from dagbp._plan.from_graph import plan_graph
from peers.dagbp_ import Dagbp

BATCH = 128
SIDES = (16, 24, 32, 48, 64, 128)
SHARES = (1.0, 0.9, 0.8, 0.7)


def clustering(wanted):
    """Return a context in which small and half-full blocks are clustered too, or none at all."""
    options = Clustering(rows=min(SIDES), percent=50) if wanted else None
    return mock.patch("dagbp._network.plan_graph", partial(plan_graph, clustering=options))


def contenders(case):
    """Return the net in three orders, as `contest.time_steps` takes them."""
    nets = {}
    for name, drawn, wanted in (
        ("in order", case, True),
        ("shuffled", networks.shuffled(case), True),
        ("left shuffled", networks.shuffled(case), False),
    ):
        with clustering(wanted):
            nets[name] = Dagbp(drawn, networks.draw_parameters(drawn), measuring.THREADS)
        nets[name].set_batch(*networks.draw_batch(drawn, BATCH))
    return nets


def main():
    """Print the table and keep the rows."""
    options = measuring.start(__doc__)
    measuring.title(f"blocks by their side, four layers, batch {BATCH}: a training step, ms")
    rows, lines = [], []
    for share in SHARES[:1] if options.quick else SHARES:
        for side in SIDES[:1] if options.quick else SIDES:
            case = networks.blocks(side, share, 64 if options.quick else 1_536)
            rounds = {"rounds": 1, "least": 0.002} if options.quick else {"rounds": 15}
            times = contest.time_steps(contenders(case), **rounds)
            ratio = times["left shuffled"] / times["shuffled"]
            for name, seconds in times.items():
                row = {"case": case.name, "edges": case.n_edges, "peer": name}
                rows.append({**row, "ms": 1e3 * seconds})
            texts = [f"{1e3 * seconds:.3f}" for seconds in times.values()]
            lines.append([case.name, f"{case.n_edges:,}", *texts, f"{ratio:.2f}"])
    header = ["", "edges", "in order", "shuffled", "left shuffled", "gain"]
    measuring.table(header, lines)
    measuring.save("blocks", rows, options.quick)


if __name__ == "__main__":
    main()
