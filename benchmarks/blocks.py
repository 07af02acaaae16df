"""What dense blocks gain whose nodes were drawn in any order, by the side of a block.

    python benchmarks/blocks.py

The same net three times: blocks drawn one after the other; nodes shuffled; and shuffled, with the
order left as drawn (`dagbp._alike` switched off), where every edge is a sparse row's. Small blocks
and half-full ones are brought together here too, which tells what `LEAST` and `FULL` should be.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

from contextlib import contextmanager

import contest
import networks
from dagbp._plan import clustering as _alike
from dagbp._plan import from_graph as _drawing
from peers.dagbp_ import Dagbp

BATCH = 128
SIDES = (16, 24, 32, 48, 64, 128)
SHARES = (1.0, 0.9, 0.8, 0.7)


@contextmanager
def together(wanted):
    """Bring together what makes blocks, small and half-full ones too; or leave rows as drawn."""
    kept = _drawing.cluster_rows, _alike.LEAST, _alike.FULL
    if not wanted:
        _drawing.cluster_rows = lambda plan, kind: plan
    _alike.LEAST, _alike.FULL = min(SIDES), 50
    try:
        yield
    finally:
        _drawing.cluster_rows, _alike.LEAST, _alike.FULL = kept


def contenders(case):
    """Return the net in three orders, as `contest.time_steps` takes them."""
    nets = {}
    for name, drawn, wanted in (
        ("in order", case, True),
        ("shuffled", networks.shuffled(case), True),
        ("left shuffled", networks.shuffled(case), False),
    ):
        with together(wanted):
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
