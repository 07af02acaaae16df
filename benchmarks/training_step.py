"""Training steps: sparse layers against PyTorch's dense ones, arbitrary DAGs, depth, threads.

    python benchmarks/training_step.py          # one thread for all sides
    DAGBP_THREADS=2 python benchmarks/training_step.py

A step is forward, loss, backward and every weight's and bias's gradient, plus dagbp's own
optimizer, reduction and copying in (PyTorch's has none). GF/s are effective: 6 flop an edge and
sample, for edges that exist. PyTorch is optional: without it its columns say so.
"""

import measuring  # noqa: I001  (pins threads, so before NumPy)

from itertools import pairwise

import numpy as np

import dagbp

try:
    import torch
except ImportError:
    torch = None

SIZES = [784, 1024, 1024, 10]
DENSITIES = [1.0, 0.5, 0.2, 0.1, 0.05, 0.01]


def layered_edges(density):
    """Return (src, dst, n_nodes) of random layers, each weight there with this probability."""
    rng = np.random.default_rng(0)
    first = np.cumsum([0, *SIZES])
    ends = [np.nonzero(rng.random((a, b), dtype=np.float32) < density) for a, b in pairwise(SIZES)]
    src = np.concatenate([i + first[k] for k, (i, _) in enumerate(ends)])
    dst = np.concatenate([j + first[k + 1] for k, (_, j) in enumerate(ends)])
    return src, dst, int(first[-1])


def layered_network(src, dst, n_nodes, n_threads):
    """Return the network of these edges; at low density some hidden node may be a dead end."""
    return dagbp.Network.from_edges(
        src,
        dst,
        n_nodes,
        inputs=range(SIZES[0]),
        outputs=range(n_nodes - SIZES[-1], n_nodes),
        activation="relu",
        seed=0,
        n_threads=n_threads,
    )


def graph_edges(G):
    """Return (src, dst, n_nodes) of a builder's graph."""
    number = {node: k for k, node in enumerate(G)}
    ends = np.array([(number[u], number[v]) for u, v in G.edges])
    return ends[:, 0], ends[:, 1], len(G)


def random_batch(net, batch):
    """Return X, Y of standard normals, float32."""
    rng = np.random.default_rng(1)
    shapes = (batch, len(net.inputs)), (batch, len(net.outputs))
    return (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)


def training_call(net, X, Y, steps):
    """Return a call that takes `steps` whole training steps."""
    options = {"batch_size": len(X), "optimizer": "sgd", "learning_rate": 1e-9, "verbose": 0}
    return lambda: net.fit(X, Y, epochs=steps, seed=0, **options)


def steps_for(net, batch):
    """Return how many steps make a call long beside its start."""
    return max(1, int(2e9 / (6 * max(net.n_edges, 1000) * batch)))


class TorchDense:
    """The same layers as dense matrices, with zeros where there is no edge."""

    def __init__(self, net):
        torch.set_num_threads(measuring.THREADS)
        flat, plan = net.parameters, net._engine.plan
        rows = np.repeat(np.arange(net.n_nodes), np.diff(plan.in_ptr))
        first = np.cumsum([0, *SIZES])
        self.layers, self.present = [], []
        biases = np.split(flat[net.n_edges :], np.cumsum(SIZES[1:-1]))
        for k, bias in enumerate(biases):
            here = (rows >= first[k + 1]) & (rows < first[k + 2])
            W = np.zeros((SIZES[k + 1], SIZES[k]), np.float32)
            at = rows[here] - first[k + 1], plan.in_src[here] - first[k]
            W[at] = flat[: net.n_edges][here]
            self.present.append(at)
            self.layers.append((torch.tensor(W, requires_grad=True), torch.tensor(bias)))
            self.layers[-1][1].requires_grad_()

    def step(self, X, Y):
        """Forward, sum of squared errors over the batch's size, backward."""
        for W, b in self.layers:
            W.grad = b.grad = None
        x = X
        for k, (W, b) in enumerate(self.layers):
            x = torch.nn.functional.linear(x, W, b)
            x = torch.relu(x) if k < len(self.layers) - 1 else x
        loss = ((x - Y) ** 2).sum() / len(X)
        loss.backward()
        return loss

    def gradient(self):
        """Return the gradient in the order of `Network.parameters`."""
        pairs = zip(self.layers, self.present, strict=True)
        weights = [W.grad.numpy()[at] for (W, _), at in pairs]
        return np.concatenate([*weights, *(b.grad.numpy() for _, b in self.layers)])


def layered_against_dense(rows, batch):
    """Print density by density the step times of dagbp and of PyTorch's dense layers."""
    measuring.title(f"layered {'-'.join(map(str, SIZES))}, relu, batch {batch}")
    print(f"{'density':>8}{'edges':>11}{'dagbp ms':>10}{'GF/s':>7}{'torch ms':>10}{'ratio':>7}")
    for density in DENSITIES:
        src, dst, n = layered_edges(density)
        net = layered_network(src, dst, n, measuring.THREADS)
        X, Y = random_batch(net, batch)
        steps = steps_for(net, batch)
        calls = {"dagbp": training_call(net, X, Y, steps)}
        if torch is not None:
            dense = TorchDense(net)
            XT, YT = torch.tensor(X), torch.tensor(Y)
            calls["torch"] = lambda dense=dense, XT=XT, YT=YT: dense.step(XT, YT)
            dense.step(XT, YT)
            gradient = net.loss_and_gradient(X, Y)[1]
            gap = np.abs(gradient - dense.gradient()).max() / np.abs(gradient).max()
            assert gap < 1e-5, f"the gradients differ by {gap:.2g} of the largest"
        times = measuring.interleaved(calls)
        ours, theirs = times["dagbp"] / steps, times.get("torch")
        rate = 6 * net.n_edges * batch / ours / 1e9
        theirs_text = f"{theirs * 1e3:10.3f}{theirs / ours:7.2f}" if theirs else "   not installed"
        print(f"{density:>8.0%}{net.n_edges:>11,}{ours * 1e3:>10.3f}{rate:>7.1f}{theirs_text}")
        rows.append(
            {
                "case": "layered",
                "batch": batch,
                "density": density,
                "edges": net.n_edges,
                "ms": ours * 1e3,
                "gflops": rate,
                "torch_dense_ms": theirs and theirs * 1e3,
            }
        )


def dag_cases():
    """Yield (name, edges) of graphs that are not layered."""
    er = dagbp.random_dag(1_000, 20_000, 64, 10, depth=80, seed=0)
    yield "1,000 nodes, 20,000 edges, 80 levels", graph_edges(er)
    er = dagbp.random_dag(10_000, 200_000, 64, 10, depth=109, seed=0)
    yield "10,000 nodes, 200,000 edges, 109 levels", graph_edges(er)
    chain = dagbp.random_dag(8_000, 40_000, 64, 10, depth=2_000, seed=0)
    yield "8,000 nodes, 40,000 edges, 2,000 levels", graph_edges(chain)
    small_world = dagbp.watts_strogatz(5_000, 20, 0.1, 64, 10, seed=0)
    yield f"Watts-Strogatz, {small_world.number_of_edges():,} edges", graph_edges(small_world)
    scale_free = dagbp.barabasi_albert(5_000, 10, 64, 10, seed=0)
    yield f"Barabasi-Albert, {scale_free.number_of_edges():,} edges", graph_edges(scale_free)


def arbitrary_dags(rows, batch=128):
    """Print step times of graphs that no dense layer can run."""
    measuring.title(f"arbitrary DAGs, relu, batch {batch}")
    for name, (src, dst, n) in dag_cases():
        net = dagbp.Network.from_edges(
            src, dst, n, activation="relu", seed=0, n_threads=measuring.THREADS
        )
        X, Y = random_batch(net, batch)
        steps = steps_for(net, batch)
        seconds = measuring.median_time(training_call(net, X, Y, steps)) / steps
        rate = 6 * net.n_edges * batch / seconds / 1e9
        print(f"{name:<42}{seconds * 1e3:>9.3f} ms{rate:>7.1f} GF/s")
        rows.append({"case": name, "batch": batch, "ms": seconds * 1e3, "gflops": rate})


def activations(rows, in_degree=50, batch=128):
    """Print what activations cost beside relu, at a given in-degree."""
    measuring.title(f"activations, in-degree {in_degree}, batch {batch}: time over relu's")
    rng = np.random.default_rng(0)
    width, depth = 500, 6
    layers = [np.arange(width) + width * k for k in range(depth)]
    dst = np.repeat(np.concatenate(layers[1:]), in_degree)
    picks = [rng.choice(before, in_degree, replace=False) for before in layers[:-1] for _ in before]
    src = np.concatenate(picks)
    calls, steps = {}, 0
    for name in dagbp.activations.names():
        net = dagbp.Network.from_edges(
            src, dst, width * depth, activation=name, seed=0, n_threads=measuring.THREADS
        )
        X, Y = random_batch(net, batch)
        steps = steps_for(net, batch)
        calls[name] = training_call(net, X, Y, steps)
    times = measuring.interleaved(calls)
    for name, seconds in times.items():
        ratio = seconds / times["relu"]
        print(f"{name:<14}{seconds / steps * 1e3:>8.3f} ms{ratio:>7.2f}")
        rows.append({"case": "activation", "name": name, "over_relu": ratio})


def threads(rows, batch=1024):
    """Print how much two threads give."""
    measuring.title(f"threads, 10 % density, batch {batch}")
    src, dst, n = layered_edges(0.1)
    calls = {}
    for count in (1, 2):
        net = layered_network(src, dst, n, count)
        X, Y = random_batch(net, batch)
        calls[str(count)] = training_call(net, X, Y, 4)
    times = measuring.interleaved(calls)
    for count, seconds in times.items():
        speedup = times["1"] / seconds
        print(f"{count} threads{seconds / 4 * 1e3:>9.2f} ms{speedup:>7.2f}x")
        rows.append({"case": "threads", "threads": int(count), "speedup": speedup})


def main():
    """Print every table and keep the rows."""
    print(*(f"{key}: {value}" for key, value in measuring.machine().items()), sep="\n")
    limits = {"sgemm_gflops": measuring.sgemm_rate(), "copy_gbs": measuring.bandwidth()}
    print(f"sgemm {limits['sgemm_gflops']:.0f} GF/s, copy {limits['copy_gbs']:.1f} GB/s")
    rows = [{"case": "limits", **limits}]
    for batch in (128, 1024):
        layered_against_dense(rows, batch)
    arbitrary_dags(rows)
    activations(rows)
    threads(rows)
    measuring.save(f"training_step_{measuring.THREADS}", rows)


if __name__ == "__main__":
    main()
