"""Pictures of networks with matplotlib: ``pip install "dagbp[plot]"``.

Each function draws on the Axes that it is given, or on pyplot's current one, and returns the Axes.
Colours fit the background of the Axes, light or dark. `animate_backprop` writes an HTML page and
does not need matplotlib.

>>> import dagbp.plotting
>>> net = dagbp.compile(dagbp.layered([2, 3, 1], seed=0), seed=0)
>>> page = dagbp.plotting.animate_backprop(net, [1.0, -1.0], 0.5)
>>> page.startswith("<!doctype html>")
True
"""

from dagbp.plotting._animation import animate_backprop
from dagbp.plotting._curves import learning_curves
from dagbp.plotting._draw_network import draw_network
from dagbp.plotting._histograms import histograms
from dagbp.plotting._matrix import spy

__all__ = ["animate_backprop", "draw_network", "histograms", "learning_curves", "spy"]
