"""What a network is and what it takes, in words."""

from collections import Counter

import numpy as np

from dagbp._engine.engine import Engine
from dagbp._engine.schedule import Schedule
from dagbp._graph.arrays import Drawing
from dagbp._memory import readable
from dagbp._plan.plan import depth


def describe(engine: Engine, drawing: Drawing) -> str:
    """Return one line: the sizes that tell networks apart."""
    n, plan = len(drawing.labels), engine.plan
    return (
        f"<Network: {n:,} nodes ({plan.n_inputs:,} inputs, {len(plan.outputs):,} outputs), "
        f"{engine.n_edges:,} edges, depth {depth(plan):,}, {engine.dtype}>"
    )


def summarise(
    engine: Engine,
    drawing: Drawing,
    thread_limit: int | None,
    batch_size: int,
    graph_bytes: int,
) -> str:
    """Return a table: nodes, edges, parameters, memory of a training step, kernels.

    graph_bytes: of the NetworkX graph that is kept beside, 0 for none.
    """
    rows = {
        **_wiring(engine, drawing),
        **_parameters(engine, drawing),
        **_running(engine, thread_limit, batch_size, graph_bytes),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _wiring(engine: Engine, drawing: Drawing) -> dict[str, str]:
    plan, n, edges = engine.plan, len(drawing.labels), engine.n_edges
    hidden = n - len(set(drawing.inputs.tolist()) | set(drawing.outputs.tolist()))
    in_degree = np.diff(plan.in_ptr)[plan.n_inputs :]
    constants = int((in_degree == 0).sum())
    kept = f"; {constants:,} of them constant" if constants else ""
    mean = in_degree.mean() if len(in_degree) else 0.0
    used = Counter(
        drawing.activation_names[code] for code in drawing.activation[plan.node[plan.n_inputs :]]
    )
    possible = n * (n - 1) // 2 - plan.n_inputs * (plan.n_inputs - 1) // 2
    return {
        "nodes": f"{n:,}: {plan.n_inputs:,} inputs, {hidden:,} hidden, "
        f"{len(plan.outputs):,} outputs{kept}",
        "edges": f"{edges:,}, {mean:.1f} into a computed node on average, "
        f"{in_degree.max(initial=0):,} at most",
        "depth": f"{depth(plan):,} edges on the longest path",
        "density": f"{edges / max(1, possible):.3%} of all edges that this order of nodes allows",
        "activations": ", ".join(f"{name} {count:,}" for name, count in used.most_common()),
    }


def _parameters(engine: Engine, drawing: Drawing) -> dict[str, str]:
    biases = int(drawing.has_bias.sum())
    trained = int(engine.parameters.trained.sum())
    return {
        "parameters": f"{engine.n_edges + biases:,}: {engine.n_edges:,} weights, "
        f"{biases:,} biases; {trained:,} trained",
    }


def _running(
    engine: Engine, thread_limit: int | None, batch_size: int, graph_bytes: int
) -> dict[str, str]:
    schedule = engine.scheduler.choose(batch_size, thread_limit)
    lanes = schedule.row_bytes // engine.dtype.itemsize
    slot = readable(engine.parameters.values.nbytes)
    graph = f"about {readable(graph_bytes)} for its NetworkX graph, " if graph_bytes else ""
    return {
        "memory": f"{readable(engine.network_bytes())} for the network, {graph}and for a training "
        f"step at batch {batch_size:,} {readable(engine.step_bytes(schedule))}; "
        f"{slot} for each number an optimizer keeps of a parameter",
        "schedule": f"{_threads(engine, schedule)}; {engine.dtype}, tiles of {lanes} samples "
        f"({schedule.row_bytes} bytes a node)",
        "kernels": _kernels(engine),
    }


def _threads(engine: Engine, schedule: Schedule) -> str:
    """Return how threads share the work."""
    if schedule.n_threads == 1:
        return "1 thread"
    if schedule.members == 1:
        return f"{schedule.n_threads} threads, each with tiles of its own"
    stages = len(engine.scheduler.cuts(schedule).forward)
    return f"{schedule.members} threads together through each tile, meeting {stages:,} times a pass"


def _kernels(engine: Engine) -> str:
    """Return which kernels take which share of the slots."""
    wiring = engine.wiring
    rows = "sparse rows"
    if wiring.strips is not None:
        share = len(wiring.strips.slot) / wiring.n_slots
        rows += f" (forward, {share:.0%} of the edges by strips of sources that fit L1)"
    if wiring.ins.n_edges == wiring.outs.n_edges == 0:
        return rows
    ahead, back = (f"{n / wiring.n_slots:.0%}" for n in (wiring.ins.n_edges, wiring.outs.n_edges))
    text = f"dense panels for {ahead} of the edges forward and {back} back, {rows} for the rest"
    if wiring.n_held:
        limit = wiring.dense_above
        full = "nearly full blocks" if limit is None else f"blocks more than {limit:.0%} full"
        text += f"; {full} are filled with {wiring.n_held:,} held zeros"
    return text
