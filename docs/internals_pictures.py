"""Draw the pictures of the page on internals. Each function takes the mode and returns a figure."""

import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle

BACK = {"light": "#ffffff", "dark": "#131416"}  # the theme's
INK = {"light": "#1a1a1a", "dark": "#eceff3"}
MUTED = {"light": "#6a6f78", "dark": "#9aa2ad"}
BLUE = {"light": "#0072b2", "dark": "#56b4e9"}
ORANGE = {"light": "#d55e00", "dark": "#e69f00"}
GREEN = {"light": "#007a5a", "dark": "#3cc8a0"}


def new(mode, width, height):
    """Return a figure and an empty axes in the colours of a mode."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=BACK[mode])
    ax = figure.subplots()
    ax.set_facecolor(BACK[mode])
    ax.set_axis_off()
    return figure, ax


def box(ax, x, y, width, height, colour, alpha=0.25, **style):
    """Draw a filled cell."""
    ax.add_patch(
        Rectangle((x, y), width, height, facecolor=colour, alpha=alpha, edgecolor="none", **style)
    )


def text(ax, x, y, words, colour, size=10, **where):
    """Write centred text unless `where` says otherwise."""
    ax.text(x, y, words, color=colour, fontsize=size, **{"ha": "center", "va": "center", **where})


def arrow(ax, start, end, colour, bend=0.0, heads="-|>"):
    """Draw an arrow."""
    style = {"arrowstyle": heads, "color": colour, "connectionstyle": f"arc3,rad={bend}"}
    ax.annotate("", end, start, arrowprops=style)


def weight_orders(mode):
    """Draw a matrix of edges, numbered in the three orders in which weights are stored."""
    figure, ax = new(mode, 9.2, 3.8)
    edges = {(0, 0), (0, 1), (0, 3), (1, 0), (1, 2), (1, 3), (1, 5), (2, 1), (2, 2), (2, 4), (2, 5)}
    zero = (0, 2)  # an explicit zero
    by_target = sorted(edges | {zero})
    by_source = sorted(edges | {zero}, key=lambda edge: edge[::-1])
    # A class of rows with an explicit zero, here row 0, has no source blocks.
    by_block = sorted((e for e in edges if e[0] > 0), key=lambda edge: (edge[1] // 3, edge))
    orders = (
        ("by_target (CSR)", by_target, BLUE, "forward pass, and the user's order\nwithout zeros"),
        ("by_source (CSC)", by_source, ORANGE, "backward pass, gradients,\noptimizer state"),
        ("block_weights", by_block, GREEN, "forward pass, for levels\nwith many edges a row"),
    )
    for k, (title, order, colour, use) in enumerate(orders):
        left = 9 * k
        text(ax, left + 3, 5.0, title, INK[mode], 12)
        for number, (target, source) in enumerate(order):
            y = 3 - 1.1 * target
            box(
                ax,
                left + source,
                y,
                0.92,
                0.92,
                colour[mode],
                0.12 if (target, source) == zero else 0.35,
            )
            text(ax, left + source + 0.46, y + 0.46, number, INK[mode])
        if k == 2:
            ax.plot([left + 2.96] * 2, [0.6, 3.0], color=MUTED[mode], linestyle=":")
            text(ax, left + 3, 3.46, "no source blocks", MUTED[mode], 9)
        text(ax, left + 3, 4.3, "sources", MUTED[mode], 9)
        text(ax, left - 0.4, 2.3, "targets", MUTED[mode], 9, rotation=90)
        text(ax, left + 3, -0.5, use, MUTED[mode], 9.5)
    text(
        ax,
        15,
        -1.7,
        "pale: an explicit zero of a filled block; dotted line: the boundary of two source blocks",
        MUTED[mode],
        9,
    )
    ax.set_xlim(-1, 25)
    ax.set_ylim(-2.1, 5.5)
    return figure


def tile_life(mode):
    """Draw the rows of one tile at the steps of a training step."""
    figure, ax = new(mode, 9.2, 3.9)
    rows = ("a", "b", "h1", "h2", "y")
    columns = (
        ("load", ["x", "x", "", "", ""]),
        ("sums", ["x", "x", "s", "", ""]),
        ("activation", ["x", "x", "x", "", ""]),
        ("all nodes", ["x", "x", "x", "x", "x"]),
        ("loss", ["x", "x", "x", "x", "x"]),
        ("back: y", ["x", "x", "x", "x", "δ"]),
        ("back: h2", ["x", "x", "x", "δ", "δ"]),
        ("back: h1", ["x", "x", "δ", "δ", "δ"]),
    )
    colours = {"x": BLUE, "s": GREEN, "δ": ORANGE, "": MUTED}
    for k, (title, states) in enumerate(columns):
        text(ax, 2 * k + 0.8, 5.4, title, INK[mode], 10)
        for row, state in enumerate(states):
            y = 4 - row
            box(ax, 2 * k, y, 1.6, 0.85, colours[state][mode], 0.35 if state else 0.08)
            text(ax, 2 * k + 0.8, y + 0.42, state, INK[mode], 11)
    for row, label in enumerate(rows):
        text(ax, -0.3, 4.42 - row, label, INK[mode], 11, ha="right")
    text(ax, 8.8, -0.75, "∂loss/∂x of the outputs has its own rows", MUTED[mode], 9.5)
    arrow(ax, (0, -0.25), (7.2, -0.25), BLUE[mode])
    arrow(ax, (10, -0.25), (15.6, -0.25), ORANGE[mode])
    text(ax, 3.6, -0.75, "forward", BLUE[mode])
    text(ax, 13.6, -0.75, "backward", ORANGE[mode])
    ax.set_xlim(-0.9, 16)
    ax.set_ylim(-1.2, 5.9)
    return figure


def stages(mode):
    """Draw levels that are cut into segments, which two threads compute in stages."""
    figure, ax = new(mode, 9.2, 4.4)
    segments = [
        (1, "relu", 3),
        (1, "relu", 3),
        (1, "tanh", 2),
        (2, "relu", 3),
        (2, "relu", 2),
        (3, "tanh", 1),
        (4, "id", 1),
    ]
    owner, stage = (0, 0, 1, 0, 1, 0, 0), (0, 0, 0, 1, 1, 2, 2)
    colours = (BLUE, ORANGE)
    y, tops = 15.0, {}
    for (level, activation, size), thread, k in zip(segments, owner, stage, strict=True):
        tops.setdefault(("level", level), y)
        tops.setdefault(("stage", k), y)
        box(ax, 3, y - size + 0.12, 5, size - 0.24, colours[thread][mode], 0.35)
        unit = "row" if size == 1 else "rows"
        text(ax, 5.5, y - size / 2, f"segment: {size} {unit}, {activation}", INK[mode])
        y -= size
    for (kind, number), top in tops.items():
        if kind == "level":
            text(ax, 2.6, top - 0.6, f"level {number}", MUTED[mode], 10, ha="right")
        else:
            text(ax, 8.6, top - 0.7, f"stage {number}", INK[mode], 11, ha="left")
            if number:
                ax.plot([2.8, 11], [top] * 2, color=INK[mode], linestyle="--", linewidth=1.2)
                text(ax, 11.2, top, "barrier", INK[mode], 10, ha="left")
    for thread in range(2):
        box(ax, 14, 13 - 1.6 * thread, 0.8, 1.0, colours[thread][mode], 0.35)
        text(ax, 15.1, 13.5 - 1.6 * thread, f"thread {thread}", INK[mode], 10, ha="left")
    text(
        ax,
        14,
        4.2,
        "A segment: rows of one level\nand one activation.\n\n"
        "A stage: segments between two\nbarriers. No segment needs a row\n"
        "that another thread computes in\nthe same stage.\n\n"
        "Levels with little work: thread 0\ncomputes several in one stage.",
        MUTED[mode],
        10,
        ha="left",
    )
    ax.set_xlim(0.5, 21)
    ax.set_ylim(-0.6, 15.8)
    return figure


def panel_program(mode):
    """Draw a panel with two runs, and the integers that describe it."""
    figure, ax = new(mode, 9.2, 4.8)
    rng = np.random.default_rng(2)
    runs, rows = ((2, 5), (10, 4)), 6
    for r in range(rows):
        y = 6 - r
        for source in range(17):
            inside = any(first <= source < first + length for first, length in runs)
            if inside:
                box(ax, source, y, 0.88, 0.86, BLUE[mode], 0.5)
            elif rng.random() < 0.25:
                box(ax, source, y, 0.88, 0.86, MUTED[mode], 0.5)
        text(ax, -0.4, y + 0.43, f"row j+{r}" if r else "row j", INK[mode], 10, ha="right")
    for first, length in runs:
        text(
            ax,
            first + length / 2,
            7.35,
            f"run: sources {first} ... {first + length - 1}",
            BLUE[mode],
        )
    words = ["2", "2", "5", "start 0", "start 1", "...", "10", "4", "start 0", "start 1", "..."]
    names = [
        "number\nof runs",
        "first",
        "length",
        "slot of each row's first weight",
        "",
        "",
        "first",
        "length",
        "slot of each row's first weight",
        "",
        "",
    ]
    x = 0.0
    for word, name in zip(words, names, strict=True):
        width = 1.9 if word.startswith("start") else 1.2
        box(ax, x, -1.3, width - 0.08, 0.9, ORANGE[mode], 0.3)
        text(ax, x + width / 2, -0.85, word, INK[mode], 9.5)
        if name:
            text(ax, x + 0.05, -1.75, name, MUTED[mode], 8.5, ha="left")
        x += width
    text(ax, -0.4, -0.85, "program", INK[mode], 10, ha="right")
    text(ax, 8.5, 0.35, "grey: edges outside the runs; they run one by one", MUTED[mode], 9.5)
    ax.set_xlim(-2.4, 17.5)
    ax.set_ylim(-2.3, 7.9)
    return figure


def lock_states(mode):
    """Draw the states of the engine lock."""
    figure, ax = new(mode, 9.2, 4.2)
    states = {
        "free": (0, 1, MUTED),
        "held by a call": (6, 2.6, BLUE),
        "held by a run": (6, -0.6, ORANGE),
        "released by a run": (13, -0.6, GREEN),
    }
    for name, (x, y, colour) in states.items():
        width = 3.6 if name != "free" else 2.0
        patch = FancyBboxPatch(
            (x - width / 2, y - 0.4),
            width,
            0.8,
            boxstyle="round,pad=0.1",
            facecolor=colour[mode],
            alpha=0.25,
            edgecolor="none",
        )
        ax.add_patch(patch)
        text(ax, x, y, name, INK[mode], 11)
    moves = (
        ((1.1, 1.3), (4.0, 2.7), "predict, save ...", (1.6, 2.6), -0.15),
        ((4.0, 2.35), (1.2, 1.0), "end of the call", (4.1, 1.35), -0.15),
        ((1.1, 0.7), (4.0, -0.5), "hold_for_run", (3.9, 0.45), 0.15),
        ((4.0, -0.85), (0.6, 0.4), "end of the run", (1.0, -1.15), -0.25),
        ((8.0, -0.3), (11.0, -0.3), "a callback begins, or a thread waits", (9.5, 0.35), -0.15),
        (
            (11.0, -0.9),
            (8.0, -0.9),
            "the callback ends, or all waiters are served",
            (9.5, -1.55),
            -0.15,
        ),
    )
    for start, end, words, where, bend in moves:
        arrow(ax, start, end, MUTED[mode], bend)
        text(ax, *where, words, INK[mode], 9.5)
    arrow(ax, (13, 0.0), (8.0, 2.7), MUTED[mode], 0.25, heads="<|-|>")
    text(ax, 12.9, 2.6, "calls of the callback and of other threads", INK[mode], 9.5)
    ax.set_xlim(-1.6, 15.9)
    ax.set_ylim(-2.1, 3.4)
    return figure


ALL = (weight_orders, tile_life, stages, panel_program, lock_states)
