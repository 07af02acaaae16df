"""Networks to draw, and parts of the drawn pictures."""

import json
import shutil
from functools import partial
from html.parser import HTMLParser

import matplotlib as mpl

mpl.use("Agg")
import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from networks import network as compiled

import dagbp


def graph():
    """Return a graph with skips, a constant, and an output that feeds another node."""
    G = nx.DiGraph()
    G.add_weighted_edges_from(
        [
            ("a", "h", 0.5),
            ("b", "h", -2.0),
            ("h", "g", 1.5),
            ("a", "y", 0.75),
            ("g", "y", -0.25),
            ("c", "y", 1.0),
        ]
    )
    return G


network = partial(compiled, graph(), inputs=["a", "b"], outputs=["y", "g"])


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

X, Y = np.array([[1.0, -0.5], [0.25, 2.0], [-1.0, 0.5]]), np.array([[0.5, 0], [1, -1], [0, 2]])


def new_axes():
    """Return the axes of a new figure."""
    return Figure().add_subplot()


def of_type(ax, kind):
    """Return the artists of this type."""
    return [artist for artist in ax.get_children() if type(artist) is kind]


def colour_bars(ax):
    """Return the labels of the colour bars."""
    return [other.get_ylabel() for other in ax.figure.axes if other is not ax]


def legend(ax):
    """Return the texts of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def many():
    """Return a net that is too large to draw nodes, with skips over many levels."""
    return dagbp.compile(dagbp.random_dag(900, 6000, 12, 4, depth=70, seed=0), seed=0)


def blocks():
    """Return a net that runs mostly as dense panels, with explicit zeros."""
    G = dagbp.layered([48, 96, 96, 5], density=0.9, seed=0)
    return dagbp.compile(G, seed=0, dense_above=0.5)


class Page(HTMLParser):
    """Collects a page's elements, and the addresses that it would load."""

    def __init__(self, html):
        super().__init__()
        self.data, self.fetched, self.tags, self._inside = "", [], [], False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = dict(attrs).get("id") == "data"
        self.fetched += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.data += data


def page_data(html):
    """Return the numbers of a page."""
    return json.loads(Page(html).data)
