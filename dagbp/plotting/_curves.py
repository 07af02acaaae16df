"""Losses over epochs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dagbp._errors import OptionError
from dagbp._history import History
from dagbp.plotting import _axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Losses = npt.NDArray[np.float64]

WIDE = 10  # losses with a larger ratio are drawn on a logarithmic scale


def learning_curves(
    history: History | Mapping[str, History], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the loss of each epoch, and the validation loss if there is one.

    The scale is logarithmic if all losses are positive and the largest is more than ten times the
    smallest. The epoch with the lowest validation loss is marked, or with the lowest training loss
    if there is no validation loss.

    Parameters
    ----------
    history : History, or mapping of str to History
        The result of `Network.fit`; or several results to compare, with their names in the legend.
        Each then has a colour, and its validation losses are dashed.
    ax : matplotlib.axes.Axes, optional
        Default: pyplot's current one, ``plt.gca()``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        If `history` is not a History, or has no epoch with a finite loss.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import dagbp.plotting
    >>> from matplotlib.figure import Figure
    >>> history = dagbp.History(loss=[1.0, 0.1, 0.01], val_loss=[1.0, 0.25, 0.5])
    >>> ax = dagbp.plotting.learning_curves(history, ax=Figure().add_subplot())
    >>> [line.get_label() for line in ax.lines]
    ['training loss', 'validation loss', 'best: 0.25 at epoch 2']
    """
    several = isinstance(history, Mapping)
    histories = dict(history) if isinstance(history, Mapping) else {"": history}
    for one in histories.values():
        if not isinstance(one, History):
            raise OptionError(
                f"history must be the result of net.fit(...), got {type(one).__name__}"
            )
    finite = _finite_losses(histories.values())
    if len(finite) == 0:
        raise OptionError("history has no epoch with a finite loss; nothing can be drawn")
    ax = _axes.axes(ax)
    colours = _axes.palette(ax)
    marker = "." if max(len(one.loss) for one in histories.values()) <= 40 else ""
    if several:
        _compare(ax, histories, marker)
    else:
        _draw(ax, histories[""], marker, colours)
    if finite.min() > 0 and finite.max() > WIDE * finite.min():
        ax.set_yscale("log")
    _axes.count_in_whole_numbers(ax.xaxis)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss, mean over samples")
    ax.legend(frameon=False, labelcolor=colours.ink)
    return ax


def _finite_losses(histories: Iterable[History]) -> Losses:
    values = [np.array(one.loss + one.val_loss, np.float64) for one in histories]
    together = np.concatenate(values) if values else np.empty(0)
    return together[np.isfinite(together)]


def _draw(ax: "Axes", history: History, marker: str, colours: _axes.Palette) -> None:
    """Draw the losses of one history, and mark the best epoch."""
    curves = [("training loss", np.array(history.loss, np.float64), colours.positive)]
    if history.val_loss:
        values = np.array(history.val_loss, np.float64)
        curves.append(("validation loss", values, colours.negative))
    for name, values, colour in curves:
        ax.plot(1 + np.arange(len(values)), values, color=colour, marker=marker, label=name)
    _mark_best(ax, curves[-1][1], colours)


def _compare(ax: "Axes", histories: Mapping[str, History], marker: str) -> None:
    """Draw the losses of several histories, in matplotlib's colours."""
    for name, one in histories.items():
        (line,) = ax.plot(1 + np.arange(len(one.loss)), one.loss, marker=marker, label=str(name))
        if one.val_loss:
            epochs = 1 + np.arange(len(one.val_loss))
            ax.plot(epochs, one.val_loss, color=line.get_color(), linestyle="--", marker=marker)


def _mark_best(ax: "Axes", values: Losses, colours: _axes.Palette) -> None:
    """Mark the epoch of the lowest value."""
    if not np.isfinite(values).any():
        return
    best = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
    ring: dict[str, Any] = {"ms": 9, "mfc": "none", "mec": colours.ink, "mew": 1.5, "zorder": 3}
    label = f"best: {values[best]:.4g} at epoch {best + 1:,}"
    ax.plot([best + 1], [values[best]], "o", label=label, **ring)
