"""Draw the pictures of the pages, in light and dark mode, and write the page "step by step"."""

import internals_pictures
import networkx as nx
import numpy as np
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

import dagbp
from benchmarks.harness import charts, results
from dagbp import plotting
from dagbp._network import model_of

BACK = {"light": "#ffffff", "dark": "#131416"}  # the theme's
INK = {"light": "#1a1a1a", "dark": "#eceff3"}
MUTED = {"light": "#6a6f78", "dark": "#9aa2ad"}
BLUE = {"light": "#0072b2", "dark": "#56b4e9"}
ORANGE = {"light": "#d55e00", "dark": "#e69f00"}
LETTERING = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")


class Picture(Directive):
    """An image in two versions, for light and dark mode: ``{picture} name``, with ``:alt:``."""

    required_arguments = 1
    option_spec = {"alt": directives.unchanged_required, "width": directives.unchanged}  # noqa: RUF012

    def run(self):
        """Return an image for each mode."""
        name = self.arguments[0]
        return [
            nodes.image(
                uri=f"/_generated/{name}-{mode}.svg", classes=[f"only-{mode}"], **self.options
            )
            for mode in BACK
        ]


def draw_all(folder):
    """Write every picture in both modes, and the page "step by step"."""
    (folder / "pages").mkdir(parents=True, exist_ok=True)
    for draw in (architecture, tiles, own, deltas, matrix, levels, curves, vanishing, lecture, cut):
        for mode in BACK:
            with rc_context(dict.fromkeys(LETTERING, INK[mode])):
                draw(mode).savefig(folder / f"{draw.__name__}-{mode}.svg", facecolor=BACK[mode])
    for draw in internals_pictures.ALL:
        for mode in BACK:
            draw(mode).savefig(folder / f"{draw.__name__}-{mode}.svg", facecolor=BACK[mode])
    for name in charts.CHARTS:
        for mode in BACK:
            with rc_context(dict.fromkeys(LETTERING, INK[mode])):
                figure = chart(name, mode)
                figure.savefig(folder / f"chart-{name}-{mode}.svg", facecolor=BACK[mode])
    plotting.animate_backprop(
        dagbp.compile(skipping(), activation="tanh", seed=3),
        x=[1.0, -0.5],
        y=0.5,
        path=folder / "pages" / "step-by-step.html",
    )


def new(mode, width=8.0, height=4.0, columns=1, **options):
    """Return a figure and its axes, in the colours of a mode."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=BACK[mode])
    axes = figure.subplots(1, columns, squeeze=False, **options)[0]
    for ax in axes:
        ax.set_facecolor(BACK[mode])
    return figure, axes if columns > 1 else axes[0]


# --- the networks ---


def skipping():
    """Return a graph with edges that skip levels, and an output that feeds another."""
    edges = [("a", "h1"), ("b", "h1"), ("a", "h2"), ("h1", "h2"), ("h1", "y"), ("h2", "y")]
    return nx.DiGraph([*edges, ("b", "y")])


def sensors():
    """Return the graph of the quick start."""
    G = nx.DiGraph()
    for place in ("roof", "door", "cellar"):
        for i in range(3):
            G.add_edge((place, "heat"), (place, i))
            G.add_edge((place, "light"), (place, i))
            G.add_edge((place, i), "alarm")
    G.add_edges_from((u, v) for u, v in [(("door", 0), "trend"), (("roof", 0), "trend")])
    G.add_edge("trend", "alarm")
    return nx.relabel_nodes(G, {v: " ".join(map(str, v)) for v in G if isinstance(v, tuple)})


def random():
    """Return a trained random network, with its data and history."""
    net = dagbp.compile(dagbp.random_dag(50, 140, 6, 3, depth=7, seed=0), seed=0)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(64, 6)), rng.normal(size=(64, 3))
    return net, X, Y, net.fit(X, Y, epochs=20, seed=0, verbose=0, validation_data=(X[:16], Y[:16]))


# --- drawn by dagbp.plotting ---


def own(mode):
    """Draw the network of the quick start."""
    figure, ax = new(mode, 8, 6.2)
    plotting.draw_network(dagbp.compile(sensors(), seed=0), ax=ax, labels=True)
    return figure


def deltas(mode):
    """Draw a random network with nodes coloured by delta."""
    net, X, Y, _ = random()
    figure, ax = new(mode, 9, 5)
    plotting.draw_network(net, values=net.backprop(X, Y).delta, quantity="delta", ax=ax)
    return figure


def matrix(mode):
    """Draw the matrix of a network with some dense panels."""
    figure, ax = new(mode, 6, 5.6)
    G = dagbp.residual([16, 48, 48, 8], density=0.2, seed=0)
    G.add_edges_from(((1, i), (2, j)) for i in range(32) for j in range(32))
    plotting.spy(dagbp.compile(G, seed=0), ax=ax)
    return figure


def levels(mode):
    """Draw a network by its levels."""
    figure, ax = new(mode, 9, 4)
    G = dagbp.random_dag(2_000, 20_000, 64, 10, depth=12, seed=0)
    plotting.draw_network(dagbp.compile(G, seed=0), ax=ax)
    return figure


def curves(mode):
    """Draw the losses of a run."""
    figure, ax = new(mode, 7, 3.4)
    plotting.learning_curves(random()[3], ax=ax)
    return figure


def vanishing(mode):
    """Draw the distribution of deltas by level."""
    net = dagbp.compile(dagbp.layered([8, *[24] * 10, 3], activation="sigmoid"), seed=0)
    rng = np.random.default_rng(0)
    bp = net.backprop(rng.normal(size=(64, 8)), rng.normal(size=(64, 3)))
    figure, ax = new(mode, 8, 4)
    plotting.histograms(net, bp, ax=ax)
    return figure


def lecture(mode):
    """Draw the layered network of the tutorial."""
    figure, ax = new(mode, 6, 3.4)
    plotting.draw_network(dagbp.compile(dagbp.layered([2, 3, 1]), seed=4), ax=ax, labels=True)
    return figure


def cut(mode):
    """Draw the network of the tutorial with a cut through it."""
    figure, ax = new(mode, 7, 4)
    G = dagbp.random_dag(14, 30, 3, 2, depth=5, seed=5)
    plotting.draw_network(dagbp.compile(G, seed=0), ax=ax, labels=True)
    ax.axvline(2.5, color=ORANGE[mode], linestyle="--", linewidth=2)
    return figure


# --- charts of the benchmarks ---


def chart(name, mode):
    """Draw a chart from the results of a suite."""
    draw, size = charts.CHARTS[name]
    figure = Figure(figsize=size, layout="constrained")
    draw(results.read(name), figure, INK[mode])
    for ax in figure.axes:
        ax.set_facecolor(BACK[mode])
    return figure


# --- schematic ---


def architecture(mode):
    """Draw graph, plan and kernels of one small network."""
    G = skipping()
    net = dagbp.compile(G, seed=3)
    plan = model_of(net).engine.plan
    labels = [list(G)[i] for i in plan.node]
    figure, (left, middle, right) = new(mode, 11, 3.9, 3, width_ratios=[1.25, 1.35, 1.1])
    _graph(left, mode, G, labels, plan)
    _arrays(middle, mode, labels, plan)
    _kernel(right, mode, labels)
    return figure


def _titled(ax, mode, title, text):
    ax.set_title(title, color=INK[mode], fontsize=13, loc="left")
    ax.text(0, -0.02, text, transform=ax.transAxes, va="top", fontsize=9.5, color=MUTED[mode])
    ax.set_axis_off()


def _graph(ax, mode, G, labels, plan):
    """Draw nodes at their levels."""
    place = {"a": (0, 1.5), "b": (0, 0), "h1": (1, 0.75), "h2": (2, 1.5), "y": (3, 0.75)}
    for u, v in G.edges:
        bend = 0.28 if (u, v) == ("b", "y") else 0.0
        arrow = {
            "arrowstyle": "-|>",
            "color": MUTED[mode],
            "shrinkA": 13,
            "shrinkB": 13,
            "connectionstyle": f"arc3,rad={bend}",
        }
        ax.annotate("", place[v], place[u], arrowprops=arrow)
    for row, label in enumerate(labels):
        colour = BLUE[mode] if row < plan.n_inputs else ORANGE[mode]
        ax.plot(*place[label], "o", markersize=25, color=BACK[mode], markeredgecolor=colour, mew=2)
        ax.text(*place[label], label, ha="center", va="center", color=INK[mode], fontsize=11)
    ax.set_xlim(-0.4, 3.4)
    ax.set_ylim(-0.75, 2)
    _titled(ax, mode, "graph", "NetworkX: nodes are neurons,\nedges are weights")


def _arrays(ax, mode, labels, plan):
    """Write the arrays of the plan."""
    rows = {
        "row": list(range(len(labels))),
        "node": labels,
        "in_ptr": plan.in_ptr.tolist(),
        "in_src": plan.in_src.tolist(),
        "out_ptr": plan.out_ptr.tolist(),
        "out_dst": plan.out_dst.tolist(),
    }
    for k, (name, values) in enumerate(rows.items()):
        y = 5 - k
        ax.text(-0.3, y, name, ha="right", va="center", color=INK[mode], fontsize=10)
        for i, value in enumerate(values):
            colour = BLUE[mode] if name.startswith("in_") else ORANGE[mode]
            colour = MUTED[mode] if k < 2 else colour
            ax.add_patch(
                Rectangle((i, y - 0.36), 0.94, 0.72, facecolor=colour, alpha=0.22, edgecolor="none")
            )
            ax.text(i + 0.47, y, value, ha="center", va="center", color=INK[mode], fontsize=10)
    ax.set_xlim(-2.2, 7.2)
    ax.set_ylim(-0.9, 5.7)
    _titled(ax, mode, "plan", "integer arrays: topological order,\nin-edges (CSR), out-edges (CSC)")


def _kernel(ax, mode, labels, lanes=12):
    """Draw a tile: a row for each node, a column for each sample."""
    n = len(labels)
    for row, label in enumerate(labels):
        y = n - 1 - row
        for lane in range(lanes):
            target, source = row == n - 1, label in ("b", "h1", "h2")
            colour = ORANGE[mode] if target else BLUE[mode] if source else MUTED[mode]
            ax.add_patch(
                Rectangle((lane, y), 0.88, 0.78, facecolor=colour, alpha=0.35, edgecolor="none")
            )
        ax.text(-0.4, y + 0.39, label, ha="right", va="center", color=INK[mode], fontsize=10)
    ax.text(lanes / 2, n + 0.1, "samples", ha="center", color=MUTED[mode], fontsize=10)
    ax.set_xlim(-2, lanes + 0.5)
    ax.set_ylim(-0.8, n + 0.7)
    _titled(
        ax,
        mode,
        "kernels",
        "row y of a tile is the sum of rows b, h1, h2,\neach times a weight",
    )


def tiles(mode):
    """Draw both schedules, and dense panels with other edges."""
    figure, (left, middle, right) = new(mode, 11, 3.7, 3)
    colours = (BLUE[mode], ORANGE[mode])
    for ax, title, text in (
        (left, 'schedule "tiles"', "each thread takes its own tiles\nthrough the whole net"),
        (
            middle,
            'schedule "levels"',
            "all threads take a tile together,\nand share the rows of each level",
        ),
    ):
        for tile in range(4):
            for row in range(8):
                thread = tile % 2 if ax is left else row // 2 % 2
                box = Rectangle((tile * 1.25, 7 - row), 1.1, 0.86, edgecolor="none")
                box.set(facecolor=colours[thread], alpha=0.55)
                ax.add_patch(box)
        ax.text(2.4, 8.2, "tiles of a batch", ha="center", color=MUTED[mode], fontsize=10)
        ax.text(-0.2, 4, "nodes", ha="right", va="center", color=MUTED[mode], fontsize=10)
        for thread, name in enumerate(("thread 0", "thread 1")):
            x = 0.2 + 2.6 * thread
            ax.add_patch(Rectangle((x, -0.95), 0.5, 0.5, facecolor=colours[thread], alpha=0.55))
            ax.text(x + 0.65, -0.7, name, va="center", color=INK[mode], fontsize=10)
        ax.set_xlim(-1.3, 5.2)
        ax.set_ylim(-1.6, 8.9)
        _titled(ax, mode, title, text)
    _panels(right, mode)
    return figure


def _panels(ax, mode):
    """Draw a matrix of edges with a full block and scattered ones."""
    rng = np.random.default_rng(1)
    for i in range(14):
        for j in range(14):
            dense = 2 <= i < 9 and 3 <= j < 10
            zero = dense and (i, j) in ((4, 6), (7, 4))
            if not dense and rng.random() > 0.14:
                continue
            colour = ORANGE[mode] if zero else BLUE[mode] if dense else INK[mode]
            ax.add_patch(Rectangle((j, 13 - i), 0.8, 0.8, facecolor=colour, edgecolor="none"))
    ax.add_patch(
        FancyBboxPatch(
            (2.9, 4.9), 7, 7, boxstyle="round,pad=0.15", fill=False, edgecolor=BLUE[mode]
        )
    )
    ax.set_xlim(-0.5, 14.5)
    ax.set_ylim(-1.2, 14.8)
    ax.set_aspect("equal")
    _titled(
        ax,
        mode,
        "dense panels",
        "a nearly full block is filled with explicit\nzeros (orange); other edges run one by one",
    )


def setup(app):
    """Register the directive."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True}
