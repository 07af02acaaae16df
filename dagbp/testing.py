"""Checks of the gradients of your own networks."""

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

# Relative to max(1, |parameter|). A central difference is then exact to about 1e-10 of the loss.
STEP = 1e-5
TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
# Near a minimum slopes are mostly rounding errors. Errors are then relative to the slope at this
# distance from the minimum.
NEAR = {"float32": 0.1, "float64": 1e-3}


@dataclass(frozen=True)
class GradientReport:
    """The result of `gradcheck`. `print` shows it, `bool` is `passed`.

    Attributes
    ----------
    passed : bool
        Whether no error exceeds the tolerance, and at least one parameter was compared.
    worst : node or (source, target)
        The parameter with the largest error: an edge for its weight, a node for its bias. None if
        no parameter was compared.
    kind : {"weight", "bias"}
        The kind of the worst parameter.
    gradient, difference : float
        Its derivative by back-propagation, and by finite differences of the loss.
    error : float
        Its error, divided by the largest magnitude of all finite differences. Near a minimum the
        divisor is the slope at a small distance from the minimum.
    tolerance : float
    n_checked : int
        Number of parameters that were compared.
    n_kinks : int
        Number of parameters that were left out: the loss has a kink within one step, as with ReLUs.
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

    The differences are computed by a copy of the network in float64. So the gradient of a float32
    network is compared with the exact one, within its own rounding errors.

    Parameters
    ----------
    net : Network
        Its parameters do not change.
    X, Y, loss, sample_weight
        As in `Network.fit`. A few samples are enough.
    most : int
        Largest number of parameters to check. They are drawn at random from the trainable ones.
        Each takes four forward passes.
    tolerance : float, optional
        Largest error, relative to the largest finite difference; by default 1e-6, or 1e-4 in
        float32.
    seed : int or numpy.random.Generator
        Seed of the random choice of parameters.

    Returns
    -------
    GradientReport

    Raises
    ------
    DataError, OptionError
        If an argument is invalid, or no parameter is trainable.

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
    n_kinks = int(len(trained) - smooth.sum())
    return _report(net, trained[smooth], gradient, slopes[smooth], scale, limit, n_kinks)


def _report(
    net: Network,
    checked: npt.NDArray[np.intp],
    gradient: npt.NDArray[Any],
    slopes: Float64,
    scale: float,
    limit: float,
    n_kinks: int,
) -> GradientReport:
    """Return the report on the parameters `checked`, with their slopes by differences."""
    if len(checked) == 0:
        return GradientReport(False, None, "weight", 0.0, 0.0, np.inf, limit, 0, n_kinks)
    found = gradient[checked].astype(np.float64)
    errors = np.abs(found - slopes) / scale
    k = int(np.argmax(errors))
    error = float(errors[k])
    return GradientReport(
        passed=error <= limit,
        worst=net.parameter_names[checked[k]],
        kind="weight" if checked[k] < net.n_edges else "bias",
        gradient=float(found[k]),
        difference=float(slopes[k]),
        error=error,
        tolerance=limit,
        n_checked=len(checked),
        n_kinks=n_kinks,
    )


def _differences(
    net: Network,
    parameters: npt.NDArray[np.intp],
    X: Any,
    Y: Any,
    loss: str | Loss,
    sample_weight: npt.ArrayLike | None,
) -> tuple[Float64, Float64, float]:
    """Return the slope of the loss along each parameter, its jump there, and a scale for both.

    The slope is a central difference. The jump is its change within one step: large at a kink.
    Errors are relative to the scale.
    """
    saved = take_snapshot(model_of(net), training=False)
    exact = Network(restore(replace(saved, parameters=saved.parameters.astype(np.float64))))
    origin = np.array(exact.parameters)

    def loss_at(parameter: int, change: float) -> float:
        moved = origin.copy()
        moved[parameter] += change
        exact.parameters = moved
        return exact.evaluate(X, Y, loss, sample_weight=sample_weight)

    slopes, curvatures = np.empty((2, 2, len(parameters)))
    here = exact.evaluate(X, Y, loss, sample_weight=sample_weight)
    steps = STEP * np.maximum(1.0, np.abs(origin[parameters]))
    for k, parameter in enumerate(parameters.tolist()):
        for half, step in enumerate((steps[k], steps[k] / 2)):
            above, below = loss_at(parameter, step), loss_at(parameter, -step)
            slopes[half, k] = (above - below) / (2 * step)
            curvatures[half, k] = (above - 2 * here + below) / step**2
    # At a kink the half step has twice the curvature, or another slope.
    whole, half_ = curvatures
    smooth = np.abs(whole - half_) < 0.2 * np.abs(curvatures).max(axis=0)
    curvature = float(np.median(np.abs(half_[smooth]))) if smooth.any() else 0.0
    scale = max(np.abs(slopes).max(), NEAR[net.dtype.name] * curvature, 1e-300)
    jumps = np.where(smooth, 0.0, np.abs(whole) * steps)
    return slopes[1], np.maximum(jumps, np.abs(slopes[0] - slopes[1])), scale
