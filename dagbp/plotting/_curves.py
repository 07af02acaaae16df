"""Loss by epoch."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dagbp._errors import OptionError
from dagbp._history import History
from dagbp.plotting import _axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Losses = npt.NDArray[np.float64]

WIDE = 10  # a loss that falls by more is drawn on a logarithmic scale


def learning_curves(
    history: History | Mapping[str, History], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the loss of each epoch, and the validation loss if there is one.

    The scale is logarithmic where the losses are positive and differ by more than tenfold. The
    best epoch, by validation loss where there is one, is marked.

    Parameters
    ----------
    history : History, or mapping of str to History
        What `Network.fit` returned; or several to be compared, by what the legend calls them: each
        has a colour, and its validation losses are dashed.
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
    several = isinstance(history, Mapping)
    histories = dict(history) if isinstance(history, Mapping) else {"": history}
    for one in histories.values():
        if not isinstance(one, History):
            raise OptionError(
                f"history must be what net.fit(...) returned, got {type(one).__name__}"
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
    """Draw the losses of one history, the best one marked."""
    curves = [("training loss", np.array(history.loss, np.float64), colours.positive)]
    if history.val_loss:
        values = np.array(history.val_loss, np.float64)
        curves.append(("validation loss", values, colours.negative))
    for name, values, colour in curves:
        ax.plot(1 + np.arange(len(values)), values, color=colour, marker=marker, label=name)
    _mark_best(ax, curves[-1][1], colours)


def _compare(ax: "Axes", histories: Mapping[str, History], marker: str) -> None:
    """Draw the losses of several histories, in the colours of the style."""
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
