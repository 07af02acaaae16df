"""Checks for networks of your own."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dagbp._checks import check_whole, generator, is_number
from dagbp._errors import DataError, OptionError
from dagbp._model.snapshot import restore, take_snapshot
from dagbp._network import Network, model_of
from dagbp.losses import Loss

__all__ = ["GradientReport", "gradcheck"]

Float64 = npt.NDArray[np.float64]

STEP = 1e-5  # of a parameter, or of 1: the difference's own error is about 1e-10 of the loss
TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
# Near a minimum slopes are all rounding: errors are held against the slope so far from there.
NEAR = {"float32": 0.1, "float64": 1e-3}


@dataclass(frozen=True)
class GradientReport:
    """What `gradcheck` found; `print` shows it.

    Attributes
    ----------
    passed : bool
        Whether no error is above the tolerance.
    worst : node or (source, target)
        The parameter with the largest error: an edge for its weight, a node for its bias; None if
        none could be compared.
    kind : {"weight", "bias"}
    gradient, difference : float
        What back-propagation says of it, and what differences of the loss do.
    error, tolerance : float
        The largest error, over the largest magnitude of any difference; near a minimum, over what
        it would be a little further away.
    n_checked : int
        Parameters compared.
    n_kinks : int
        Parameters left out: the loss has a kink within a step of their value, as with ReLUs.
    """

    passed: bool
    worst: Hashable
    kind: str
    gradient: float
    difference: float
    error: float
    tolerance: float
    n_checked: int
    n_kinks: int

    def __bool__(self) -> bool:
        """Return whether it passed, for ``assert gradcheck(...)``."""
        return self.passed

    def __str__(self) -> str:
        if self.n_checked == 0:
            return f"gradient not compared: the loss has a kink at all {self.n_kinks} parameters"
        kinks = f", {self.n_kinks} at kinks left out" if self.n_kinks else ""
        return (
            f"gradient {'agrees' if self.passed else 'DISAGREES'} with differences in "
            f"{self.n_checked} parameters{kinks}; worst: the {self.kind} of {self.worst!r}, "
            f"{self.gradient:.8g} against {self.difference:.8g}, off by {self.error:.1e} of the "
            f"largest (tolerance {self.tolerance:.0e})"
        )


def gradcheck(
    net: Network,
    X: Any,
    Y: Any,
    loss: str | Loss = "squared_error",
    *,
    sample_weight: npt.ArrayLike | None = None,
    most: int = 1000,
    tolerance: float | None = None,
    seed: Any = 0,
) -> GradientReport:
    """Compare a network's gradient with central differences of its loss.

    The differences are those of a copy of the network in float64, so a float32 network is held to
    the exact gradient within its own rounding.

    Parameters
    ----------
    net : Network
        Its parameters stay as they are.
    X, Y, loss, sample_weight
        As in `Network.fit`. A few samples do.
    most : int
        Most parameters to check, drawn at random from those that train; each takes four passes.
    tolerance : float, optional
        Of the errors, over the largest difference; default: 1e-6, for float32 1e-4.
    seed : int or numpy.random.Generator
        Of the draw.

    Returns
    -------
    GradientReport

    Raises
    ------
    DataError, OptionError
        If an argument does not fit, or no parameter trains.

    Examples
    --------
    >>> import dagbp
    >>> from dagbp.testing import gradcheck
    >>> net = dagbp.compile(dagbp.layered([2, 3, 1], activation="tanh"), seed=0)
    >>> report = gradcheck(net, [[0.5, 1.0]], [1.0])
    >>> report.passed, report.n_checked
    (True, 13)
    """
    if not isinstance(net, Network):
        raise OptionError(f"net must be a dagbp Network, got {net!r:.80}")
    check_whole("most", most, 1)
    limit = TOLERANCE[net.dtype.name] if tolerance is None else tolerance
    if not is_number(limit) or limit <= 0:
        raise OptionError(f"tolerance must be a number > 0, or None, got {tolerance!r}")
    _, gradient = net.loss_and_gradient(X, Y, loss, sample_weight=sample_weight)
    trained = np.flatnonzero(model_of(net).engine.parameters.trained)
    if len(trained) == 0:
        raise DataError("no parameter of the network trains, so there is nothing to check")
    if len(trained) > most:
        trained = np.sort(generator(seed).choice(trained, int(most), replace=False))
    slopes, jumps, scale = _differences(net, trained, X, Y, loss, sample_weight)
    smooth = jumps <= limit / 4 * scale
    checked = trained[smooth]
    expected, found = slopes[smooth], gradient[checked].astype(np.float64)
    errors = np.abs(found - expected) / scale
    n_kinks = len(trained) - len(checked)
    if len(checked) == 0:
        return GradientReport(False, None, "weight", 0.0, 0.0, np.inf, limit, 0, n_kinks)
    k = int(np.argmax(errors))
    worst, kind = net.parameter_names[checked[k]], "weight" if checked[k] < net.n_edges else "bias"
    error = float(errors[k])
    numbers = float(found[k]), float(expected[k]), error, limit
    return GradientReport(error <= limit, worst, kind, *numbers, len(checked), n_kinks)


def _differences(
    net: Network,
    parameters: npt.NDArray[np.intp],
    X: Any,
    Y: Any,
    loss: str | Loss,
    sample_weight: npt.ArrayLike | None,
) -> tuple[Float64, Float64, float]:
    """Return the slope of the loss by each parameter, how far it jumps there, and a scale for both.

    The scale is what errors are held against.
    """
    saved = take_snapshot(model_of(net), training=False)
    exact = Network(restore(replace(saved, parameters=saved.parameters.astype(np.float64))))
    origin = np.array(exact.parameters)
    slopes, bends = np.empty((2, 2, len(parameters)))
    here = exact.evaluate(X, Y, loss, sample_weight=sample_weight)
    for k, parameter in enumerate(parameters.tolist()):
        for way, part in enumerate((1.0, 0.5)):
            step = part * STEP * max(1.0, abs(origin[parameter]))
            ends = []
            for sign in (1, -1):
                moved = origin.copy()
                moved[parameter] += sign * step
                exact.parameters = moved
                ends.append(exact.evaluate(X, Y, loss, sample_weight=sample_weight))
            slopes[way, k] = (ends[0] - ends[1]) / (2 * step)
            bends[way, k] = (ends[0] - 2 * here + ends[1]) / step**2
    smooth = np.abs(bends[0] - bends[1]) < 0.2 * np.abs(bends).max(axis=0)
    bend = float(np.median(np.abs(bends[1, smooth]))) if smooth.any() else 0.0
    scale = max(np.abs(slopes).max(), NEAR[net.dtype.name] * bend, 1e-300)
    # At a kink half the step bends twice as much, or the slope is another.
    steps = STEP * np.maximum(1.0, np.abs(origin[parameters]))
    jumps = np.where(smooth, 0.0, np.abs(bends[0]) * steps)
    return slopes[1], np.maximum(jumps, np.abs(slopes[0] - slopes[1])), scale
