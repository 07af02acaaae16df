"""Loss by epoch."""

from typing import TYPE_CHECKING

import numpy as np

from dagbp._errors import OptionError
from dagbp._history import History
from dagbp.plotting import _axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 10  # a loss that falls by more is drawn on a logarithmic scale


def learning_curves(history: History, *, ax: "Axes | None" = None) -> "Axes":
    """Draw the loss of each epoch, and the validation loss if there is one.

    The scale is logarithmic where the losses are positive and differ by more than tenfold. The
    best epoch, by validation loss where there is one, is marked.

    Parameters
    ----------
    history : History
        What `Network.fit` returned.
    ax : matplotlib.axes.Axes, optional
        Default: pyplot's current one, ``plt.gca()``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        If `history` is none, or has no epoch.
    MissingPackageError
        Without matplotlib.

    Examples
    --------
    >>> import dagbp.plotting
    >>> from matplotlib.figure import Figure
    >>> history = dagbp.History(loss=[1.0, 0.1, 0.01], val_loss=[1.0, 0.25, 0.5])
    >>> ax = dagbp.plotting.learning_curves(history, ax=Figure().add_subplot())
    >>> [line.get_label() for line in ax.lines]
    ['training loss', 'validation loss', 'best: 0.25 at epoch 2']
    """
    if not isinstance(history, History):
        raise OptionError(
            f"history must be what net.fit(...) returned, got {type(history).__name__}"
        )
    curves = [("training loss", np.array(history.loss, np.float64))]
    if len(history.val_loss):
        curves.append(("validation loss", np.array(history.val_loss, np.float64)))
    finite = np.concatenate([values[np.isfinite(values)] for _, values in curves])
    if len(finite) == 0:
        raise OptionError("history has no epoch with a finite loss; nothing can be drawn")
    ax = _axes.axes(ax)
    colours = _axes.palette(ax)
    marker = "." if max(len(values) for _, values in curves) <= 40 else ""
    for (name, values), colour in zip(curves, (colours.positive, colours.negative), strict=False):
        ax.plot(1 + np.arange(len(values)), values, color=colour, marker=marker, label=name)
    _mark_best(ax, curves[-1][1], colours)
    if finite.min() > 0 and finite.max() > WIDE * finite.min():
        ax.set_yscale("log")
    _axes.count_in_whole_numbers(ax.xaxis)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss, mean over samples")
    ax.legend(frameon=False, labelcolor=colours.ink)
    return ax


def _mark_best(ax: "Axes", values: "np.typing.NDArray[np.float64]", colours: _axes.Palette) -> None:
    """Mark the epoch of the lowest value."""
    if not np.isfinite(values).any():
        return
    best = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
    ax.plot(
        [best + 1],
        [values[best]],
        linestyle="none",
        marker="o",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=colours.ink,
        markeredgewidth=1.5,
        label=f"best: {values[best]:.4g} at epoch {best + 1:,}",
        zorder=3,
    )
