"""Description of a network in words: its size, the memory of a step, its kernels."""

from collections import Counter

import numpy as np

from dagbp._engine.engine import CpuEngine
from dagbp._engine.tile_plan import TilePlan
from dagbp._graph.arrays import GraphArrays
from dagbp._graph.from_networkx import NETWORKX_EDGE_BYTES, NETWORKX_NODE_BYTES
from dagbp._memory import readable
from dagbp._model.model import Model
from dagbp._plan.plan import depth


def describe(engine: CpuEngine, graph: GraphArrays) -> str:
    """Return one line with the sizes of a network."""
    n, plan = len(graph.labels), engine.plan
    return (
        f"<Network: {n:,} nodes ({plan.n_inputs:,} inputs, {len(plan.outputs):,} outputs), "
        f"{engine.n_edges:,} edges, depth {depth(plan):,}, {engine.dtype}>"
    )


def summarise(model: Model, batch_size: int) -> str:
    """Return a table: nodes, edges, parameters, memory of a training step, kernels."""
    engine, graph, graph_bytes = model.engine, model.graph, 0
    if model.nx_graph is not None:
        graph_bytes = NETWORKX_NODE_BYTES * len(graph.labels) + NETWORKX_EDGE_BYTES * engine.n_edges
    rows = {**_sizes(engine, graph), **_running(engine, model.max_threads, batch_size, graph_bytes)}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _sizes(engine: CpuEngine, graph: GraphArrays) -> dict[str, str]:
    plan, n, edges = engine.plan, len(graph.labels), engine.n_edges
    hidden = n - len(set(graph.inputs.tolist()) | set(graph.outputs.tolist()))
    in_degree = np.diff(plan.in_ptr)[plan.n_inputs :]
    constants = int((in_degree == 0).sum())
    plural = "s" * (constants > 1)
    kept = f"; {constants:,} node{plural} without in-edges (constant)" if constants else ""
    mean = in_degree.mean() if len(in_degree) else 0.0
    used = Counter(
        graph.activation_names[code] for code in graph.activation[plan.node[plan.n_inputs :]]
    )
    biases, trained = int(graph.has_bias.sum()), int(engine.parameters.trained.sum())
    possible = n * (n - 1) // 2 - plan.n_inputs * (plan.n_inputs - 1) // 2
    return {
        "nodes": f"{n:,}: {plan.n_inputs:,} inputs, {hidden:,} hidden, "
        f"{len(plan.outputs):,} outputs{kept}",
        "edges": f"{edges:,}, {mean:.1f} into a computed node on average, "
        f"{in_degree.max(initial=0):,} at most",
        "depth": f"{depth(plan):,} edges on the longest path",
        "density": f"{edges / max(1, possible):.3%} of all edges possible in this order of nodes",
        "activations": ", ".join(f"{name} {count:,}" for name, count in used.most_common()),
        "parameters": f"{engine.n_edges + biases:,}: {engine.n_edges:,} weights, "
        f"{biases:,} biases; {trained:,} trained",
    }


def _running(
    engine: CpuEngine, max_threads: int | None, batch_size: int, graph_bytes: int
) -> dict[str, str]:
    tile_plan = engine.tile_planner.choose(batch_size, max_threads)
    lanes = tile_plan.row_bytes // engine.dtype.itemsize
    slot = readable(engine.parameters.by_source.nbytes)
    beside = f"about {readable(graph_bytes)} for its NetworkX graph, " if graph_bytes else ""
    return {
        "memory": f"{readable(engine.network_bytes())} for the network, {beside}and for a training "
        f"step at batch {batch_size:,} {readable(engine.step_bytes(tile_plan))}; "
        f"optimizer state: {slot} per slot (Adam has two)",
        "schedule": f"{_threads(engine, tile_plan)}; {engine.dtype}, tiles of {lanes} samples "
        f"({tile_plan.row_bytes} bytes a node)",
        "kernels": _kernels(engine),
    }


def _threads(engine: CpuEngine, tile_plan: TilePlan) -> str:
    """Describe how threads share the work."""
    if tile_plan.n_threads == 1:
        return "1 thread"
    if tile_plan.team_size == 1:
        return f"{tile_plan.n_threads} threads, each takes whole tiles"
    stages = len(engine.tile_planner.cuts(tile_plan).forward)
    return f"{tile_plan.team_size} threads share each tile, with {stages:,} barriers a pass"


def _kernels(engine: CpuEngine) -> str:
    """Describe the share of the edges that each kind of kernel takes."""
    layout = engine.layout
    rows = "sparse rows"
    if layout.source_blocks is not None:
        share = len(layout.source_blocks.slot) / layout.n_slots
        rows += f" (forward, {share:.0%} of the edges by source blocks that fit L1)"
    if layout.ins.n_edges == layout.outs.n_edges == 0:
        return rows
    ahead, back = (f"{n / layout.n_slots:.0%}" for n in (layout.ins.n_edges, layout.outs.n_edges))
    text = f"dense panels for {ahead} of the edges forward and {back} back, {rows} for the rest"
    if layout.n_explicit_zeros:
        limit = layout.dense_above
        full = "nearly full blocks" if limit is None else f"blocks more than {limit:.0%} full"
        text += f"; {full} are filled with {layout.n_explicit_zeros:,} explicit zeros"
    return text
