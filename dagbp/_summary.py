"""What a network is and what it takes, in words."""

from collections import Counter

import numpy as np

from dagbp._drawing import Drawing
from dagbp._engine import ROW_BYTES, Engine
from dagbp._plan import depth


def describe(engine: Engine, drawing: Drawing) -> str:
    """Return one line: the sizes that tell networks apart."""
    n, plan = len(drawing.labels), engine.plan
    return (
        f"<Network: {n:,} nodes ({plan.n_inputs:,} inputs, {len(plan.outputs):,} outputs), "
        f"{engine.n_edges:,} edges, depth {depth(plan):,}, {engine.dtype}>"
    )


def summarise(engine: Engine, drawing: Drawing, thread_limit: int | None, batch_size: int) -> str:
    """Return a table: nodes, edges, parameters, memory of a training step, kernels."""
    rows = {
        **_wiring(engine, drawing),
        **_parameters(engine, drawing),
        **_running(engine, thread_limit, batch_size),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _wiring(engine: Engine, drawing: Drawing) -> dict[str, str]:
    plan, n, edges = engine.plan, len(drawing.labels), engine.n_edges
    hidden = n - len(set(drawing.inputs.tolist()) | set(drawing.outputs.tolist()))
    in_degree = np.diff(plan.in_ptr)[plan.n_inputs :]
    mean = in_degree.mean() if len(in_degree) else 0.0
    used = Counter(
        drawing.activation_names[code] for code in drawing.activation[plan.node[plan.n_inputs :]]
    )
    possible = n * (n - 1) // 2 - plan.n_inputs * (plan.n_inputs - 1) // 2
    return {
        "nodes": f"{n:,}: {plan.n_inputs:,} inputs, {hidden:,} hidden, "
        f"{len(plan.outputs):,} outputs",
        "edges": f"{edges:,}, {mean:.1f} into a computed node on average, "
        f"{in_degree.max(initial=0):,} at most",
        "depth": f"{depth(plan):,} edges on the longest path",
        "density": f"{edges / max(1, possible):.3%} of all edges that this order of nodes allows",
        "activations": ", ".join(f"{name} {count:,}" for name, count in used.most_common()),
    }


def _parameters(engine: Engine, drawing: Drawing) -> dict[str, str]:
    biases = int(drawing.has_bias.sum())
    trained = int(engine.trained.sum())
    return {
        "parameters": f"{engine.n_edges + biases:,}: {engine.n_edges:,} weights, "
        f"{biases:,} biases; {trained:,} trained",
    }


def _running(engine: Engine, thread_limit: int | None, batch_size: int) -> dict[str, str]:
    threads = engine.threads_for(batch_size, thread_limit)
    plural = "s" * (threads > 1)
    return {
        "training step": f"{_bytes(engine.step_bytes(threads))} of tiles and gradients, on "
        f"{threads} thread{plural} at batch {batch_size:,}",
        "kernels": f"{_kernels(engine)}; {engine.dtype}, tiles of {engine.lanes} samples "
        f"({ROW_BYTES} bytes a node)",
    }


def _kernels(engine: Engine) -> str:
    """Return which kernels take which share of the edges."""
    forward, backward = (panels.n_edges for panels in engine.panels())
    if forward == backward == 0:
        return "sparse rows"
    ahead, back = (f"{n / engine.n_edges:.0%}" for n in (forward, backward))
    return (
        f"dense panels for {ahead} of the edges forward and {back} back, sparse rows for the rest"
    )


def _bytes(n: int) -> str:
    power = min(3, max(0, n.bit_length() - 1) // 10)
    unit = ("bytes", "KiB", "MiB", "GiB")[power]
    return f"{n / 1024**power:,.{min(power, 1)}f} {unit}"
