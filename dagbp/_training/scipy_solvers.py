"""Full-batch training by `scipy.optimize.minimize`."""

import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # loads scipy.optimize on first use, which takes a third of a second

from dagbp._data.problem import Problem
from dagbp._errors import DagbpError, DivergenceError, OptionError
from dagbp._history import History
from dagbp._model.model import Model
from dagbp._training.listeners import Listeners
from dagbp._training.options import Options
from dagbp._training.regularisation import bounds_by_parameter
from dagbp.callbacks import Progress, ReduceOnPlateau, Schedule
from dagbp.callbacks._base import TrainedNetwork
from dagbp.optimizers import Solver

Float64 = npt.NDArray[np.float64]


class _Stop(Exception):
    """Ends a solver from within."""


def solve(
    model: Model,
    network: TrainedNetwork,
    solver: Solver,
    problem: Problem,
    validation: Problem | None,
    options: Options,
) -> History:
    """Minimise loss and penalties over the trainable parameters; see `Network.fit`."""
    _refuse(solver, options)
    if options.epochs == 0:
        return History()
    if not model.engine.parameters.trained.any():
        raise OptionError("no parameter of the network trains, so there is nothing to solve for")
    bounds = bounds_by_parameter(model.names, model.engine, solver.bounds)
    history = History()
    progress = Progress(network, history, int(options.epochs), np.nan)
    progress.validated = validation is not None
    listeners = Listeners(options.callbacks, progress, model.lock)
    try:
        _Solution(model, problem, validation, options, listeners).minimise(solver, bounds)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            history.stopped = "interrupted"
        if history.loss:  # otherwise nothing has changed, and the last run stays as it was
            model.end_run(None, history)
        raise
    model.end_run(None, history)
    return history


def _refuse(solver: Solver, options: Options) -> None:
    """Refuse options that solvers cannot use."""
    given = options.regularisation
    for name, is_set in (
        ("max_norm", given.max_norm is not None),
        ("dropout", given.keep_probability is not None),
        ("resume", bool(options.resume)),
    ):
        if is_set:
            raise OptionError(f"a solver ({solver.method!r}) cannot use {name}")
    for callback in options.callbacks:
        steps = callback.overrides("on_step_end") and callback.every is not None
        if isinstance(callback, (Schedule, ReduceOnPlateau)) or steps:
            raise OptionError(
                f"a solver ({solver.method!r}) cannot use {type(callback).__name__}: it has "
                "neither steps nor a learning rate, and its epochs are iterations"
            )


class _Solution:
    """The objective and the callback of one run of SciPy.

    `_iterate` is the last accepted vector of trainable parameters.
    """

    def __init__(
        self,
        model: Model,
        problem: Problem,
        validation: Problem | None,
        options: Options,
        listeners: Listeners,
    ) -> None:
        self._model, self._engine, self._listeners = model, model.engine, listeners
        self._problem, self._validation = problem, validation
        self._regularisation = options.regularisation
        self._trained, self._all = self._engine.parameters.trained, self._engine.parameters.copy()
        self._iterate = self._all[self._trained].astype(np.float64)
        self._began = time.perf_counter()
        self._computed: tuple[bytes, float, Float64] | None = None
        self._bounds: scipy.optimize.Bounds | None = None

    def minimise(self, solver: Solver, bounds: tuple[Float64, Float64] | None) -> None:
        """Run the solver; however it ends, the network gets the parameters of its last iterate."""
        listeners, progress = self._listeners, self._listeners.progress
        if bounds is not None:
            low, high = (end[self._trained] for end in bounds)
            self._bounds = scipy.optimize.Bounds(low, high)
        start = self._within_bounds(self._iterate)
        options = {**_limit(solver, progress.n_epochs, len(start)), **(solver.options or {})}
        try:
            listeners.reset()
            listeners.call("on_train_begin")
            with warnings.catch_warnings(), np.errstate(all="ignore"):  # a trial step may overflow
                warnings.filterwarnings("error", "Unknown solver options")
                result = scipy.optimize.minimize(  # type: ignore[call-overload]
                    self._value_and_gradient if solver.uses_gradient else self._value,
                    start,
                    method=solver.method,
                    jac=solver.uses_gradient or None,
                    bounds=self._bounds,
                    callback=self._end_iteration,
                    options=options,
                )
            if np.isfinite(result.fun):
                self._iterate = self._within_bounds(result.x)
            if len(progress.history.loss) < progress.n_epochs:
                progress.stop(str(result.message))  # converged, or not
        except _Stop:
            pass
        except DagbpError:
            raise
        except (scipy.optimize.OptimizeWarning, TypeError, ValueError) as error:
            raise OptionError(f"method {solver.method!r} of scipy.optimize: {error}") from error
        finally:
            self._assign(self._iterate)
            progress.history.seconds = time.perf_counter() - self._began
        progress.history.stopped = progress.stopped
        listeners.call("on_train_end")

    def _within_bounds(self, x: Float64) -> Float64:
        """Return x clipped to the bounds: some methods leave them by a rounding error."""
        return x if self._bounds is None else np.clip(x, self._bounds.lb, self._bounds.ub)

    def _assign(self, x: Float64) -> None:
        """Assign an iterate to the network."""
        self._all[self._trained] = x
        self._engine.parameters.assign(self._all)

    def _value_and_gradient(self, x: Float64) -> tuple[float, Float64]:
        largest = np.finfo(self._engine.dtype).max
        if not (np.abs(x) <= largest).all():  # a trial step beyond the range of the dtype
            return np.inf, np.zeros_like(x)
        self._assign(x)
        value, gradient = self._engine.differentiate(self._problem, self._model.max_threads)
        total = gradient.astype(np.float64)
        if self._regularisation.l1 is not None:
            penalty, slope = self._regularisation.penalty(self._all)
            value, total = value + penalty, total + slope
        if self._computed is None and not np.isfinite(value):
            self._diverge()
        self._computed = x.tobytes(), float(value), total[self._trained]
        return self._computed[1:]

    def _diverge(self) -> None:
        """End at the start: raise, unless a callback ends the run without an error."""
        if self._listeners.accept_divergence():
            raise _Stop
        error = DivergenceError("the loss is not finite where the solver begins; nothing changed")
        error.history = self._listeners.progress.history  # type: ignore[attr-defined]
        raise error

    def _value(self, x: Float64) -> float:
        return self._value_and_gradient(x)[0]

    def _end_iteration(self, x: Float64, *state: Any) -> None:
        """Record an iteration that has ended at x."""
        model, progress, history = self._model, self._listeners.progress, self._history
        # The parameters change now, so the run before cannot be resumed any more.
        model.end_run(None, model.history)
        x = self._within_bounds(np.array(x, np.float64))
        value = self._loss_at(x)
        if not np.isfinite(value):  # a step beyond the range of float32, for example
            progress.stop("the loss is not finite")
            raise _Stop
        self._iterate = x
        history.loss.append(value)
        history.n_updates = progress.n_updates = progress.epoch = len(history.loss)
        history.seconds = time.perf_counter() - self._began
        progress.loss = value
        self._assign(x)
        if self._validation is not None:
            progress.val_loss = self._engine.evaluate(self._validation, model.max_threads)
            history.val_loss.append(progress.val_loss)
        self._listeners.end_epoch(progress.epoch)
        if self._listeners.poll() or len(history.loss) >= progress.n_epochs:
            raise _Stop

    @property
    def _history(self) -> History:
        return self._listeners.progress.history

    def _loss_at(self, x: Float64) -> float:
        """Return the objective at x, which most methods have just computed."""
        if self._computed is not None and self._computed[0] == x.tobytes():
            return self._computed[1]
        return self._value(x)


def _limit(solver: Solver, n: int, size: int) -> dict[str, int]:
    """Return the option that limits the method's work to about n iterations.

    TNC and COBYLA count evaluations; COBYLA needs one for each of `size` parameters. The exact
    number of iterations is limited by `_end_iteration`.
    """
    if solver.method == "TNC":
        return {"maxfun": 100 * n}
    return {"maxiter": n * (size + 2) if solver.method == "COBYLA" else n}
