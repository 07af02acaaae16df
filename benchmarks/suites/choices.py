"""Regret: the time of a step with dagbp's own choices over the time with the best ones.

    python -m benchmarks choices
    DAGBP_THREADS=2 python -m benchmarks choices

dagbp chooses by a model of costs which blocks of edges are filled, the size of source blocks, the
width of tiles, how many tiles go through the network in a group, and whether threads share tiles.
This suite measures a gradient with the choices of the model, and with each other choice instead of
one of them. Where blocks can be filled, all tiles are also measured with them filled and not
filled. Alternatives take turns in one process, and times are medians. All have the same gradient.
"""

from contextlib import nullcontext
from functools import partial
from unittest import mock

import numpy as np

from dagbp._engine.tile_plan import TilePlanner
from dagbp._layout import source_blocks
from dagbp._machine import TILE_COST
from dagbp._network import model_of

from .. import peers
from ..harness import command, environment, measuring, networks, race, results
from ..peers.dagbp_ import Dagbp

SIZES = {"784-1024-1024-10": networks.SIZES, "64-256-256-10": (64, 256, 256, 10)}
DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0)
BATCHES = (16, 128, 1024)
QUICK = {"sizes": {"16-24-4": (16, 24, 4)}, "densities": (0.2,), "batches": (16,)}
FILLED, NOT_FILLED = 0.05, 2.0  # values of `dense_above`
GROUPS = (1, 2, 4, 8)
WORST = 1.10  # the largest regret that is not marked


class Fixed(TilePlanner):
    """A planner with one answer."""

    def __init__(self, planner, tile_plan):
        self.__dict__.update(vars(planner))
        self._answer = tile_plan

    def choose(self, n_samples, max_threads, back=True):
        """Return the answer."""
        return self._answer


def layouts(case, parameters):
    """Return networks of the same case by the choices of their layout."""
    networks_of = {"chosen": (None, None)}
    networks_of |= {"filled": (FILLED, None), "not filled": (NOT_FILLED, None)}
    networks_of |= {f"source blocks of {rows}": (None, rows) for rows in (0, 128, 256, 512)}
    found = {}
    for name, (dense_above, rows) in networks_of.items():
        patch = nullcontext()
        if rows is not None:
            patch = mock.patch.object(source_blocks, "_best_rows", lambda *_, rows=rows: rows)
        with patch:
            net = Dagbp(case, parameters, environment.THREADS, dense_above=dense_above)
        found[name] = net
    return _distinct(found)


def _distinct(nets):
    """Return the networks without those whose layout equals an earlier one's."""
    seen, found = [], {}
    for name, net in nets.items():
        layout = model_of(net.net).engine.layout
        blocks = layout.source_blocks
        key = (layout.n_explicit_zeros, b"" if blocks is None else blocks.program.tobytes())
        if key not in seen:
            seen.append(key)
            found[name] = net
    return found


def tile_plans(planner, batch, itemsize):
    """Return the tile plans to compare, by name."""
    chosen = planner.choose(batch, environment.THREADS)
    found = {"": chosen}
    for row_bytes in TILE_COST:
        tiles = max(1, -(-batch * itemsize // row_bytes))
        for n_teams, team_size in {(1, 1), (1, environment.THREADS), (environment.THREADS, 1)}:
            if n_teams > tiles:
                continue
            for group in GROUPS:
                if group > max(1, -(-tiles // n_teams)):
                    continue
                plan = chosen._replace(
                    row_bytes=row_bytes, group=group, n_teams=n_teams, team_size=team_size
                )
                changed = sum(a != b for a, b in zip(plan, chosen, strict=True))
                threads = (n_teams, team_size) != (chosen.n_teams, chosen.team_size)
                # One choice differs; the number and the size of teams are one choice.
                if changed - (threads and changed > 1 and n_teams * team_size > 1) == 1:
                    found[f"{row_bytes} bytes, groups of {group}, {n_teams}x{team_size}"] = plan
    return found


def gradient(net, planner, tile_plan):
    """Compute the gradient with a tile plan."""
    model_of(net.net).engine.tile_planner = Fixed(planner, tile_plan)
    return net.raw_gradient()


def alternatives(case, batch):
    """Return a call for each alternative, by name; the first has dagbp's own choices."""
    problem = race.make_problem(case, batch)
    calls, expected = {}, None
    for name, net in layouts(case, problem.parameters).items():
        net.set_batch(problem.X, problem.Y)
        engine = model_of(net.net).engine
        planner = engine.tile_planner
        plans = tile_plans(planner, batch, engine.dtype.itemsize)
        if name.startswith("source"):
            plans = {"": plans[""]}
        for text, tile_plan in plans.items():
            found = gradient(net, planner, tile_plan)
            expected = found if expected is None else expected
            gap = peers.difference(found, expected)
            assert gap < peers.TOLERANCE, f"{name}, {text}: the gradient differs by {gap:.2g}"
            key = ", ".join(part for part in (name, text) if part)
            calls[key] = partial(gradient, net, planner, tile_plan)
    return calls


def measure(case, batch, quick):
    """Return dagbp's milliseconds, the regret, and the best alternative."""
    calls = alternatives(case, batch)
    rounds = (
        {"rounds": 1, "seconds": 0.002, "least": 1} if quick else {"rounds": 7, "seconds": 0.03}
    )
    times = measuring.interleaved(calls, **rounds)
    if not quick:  # the least of many medians is low by chance: the best few run again
        chosen = next(iter(times))
        best = sorted(times, key=times.get)[:4]
        again = {name: calls[name] for name in dict.fromkeys([chosen, *best])}
        times = measuring.interleaved(again, rounds=15, seconds=0.05)
    chosen = next(iter(times))
    best = min(times, key=times.get)
    return {
        "ms": 1e3 * times[chosen],
        "regret": times[chosen] / times[best],
        "best": best,
        "alternatives": len(calls),
    }


def main(arguments):
    """Print the table, and write the rows."""
    options = command.start("choices", __doc__, arguments)
    sizes, densities, batches = SIZES, DENSITIES, BATCHES
    if options.quick:
        sizes, densities, batches = QUICK["sizes"], QUICK["densities"], QUICK["batches"]
    rows = []
    for name, widths in sizes.items():
        for density in densities:
            case = networks.layered(widths, density)
            for batch in batches:
                row = {"net": name, "density": density, "batch": batch}
                row |= measure(case, batch, options.quick)
                rows.append(row)
                mark = "  <--" if row["regret"] > WORST else ""
                print(
                    f"{name} {density:6.1%} batch {batch:5}: {row['ms']:8.3f} ms, regret "
                    f"{row['regret']:.2f}, best of {row['alternatives']}: {row['best']}{mark}",
                    flush=True,
                )
    regrets = [row["regret"] for row in rows]
    print(f"\nlargest regret: {max(regrets):.2f}; median {np.median(regrets):.2f}")
    results.save("choices", rows, options.quick)
