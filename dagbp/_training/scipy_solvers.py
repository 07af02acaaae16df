"""Full-batch training by `scipy.optimize.minimize`."""

import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from dagbp._data.features import Problem
from dagbp._errors import DagbpError, DivergenceError, OptionError
from dagbp._history import History
from dagbp._model.model import Model
from dagbp._training.regularisation import bounds_by_parameter
from dagbp._training.run import Options, told
from dagbp.callbacks import Progress, ReduceOnPlateau, Schedule
from dagbp.optimizers import Solver

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


class _Stop(Exception):
    """Ends a solver from within."""


def solve(
    network: Any,
    model: Model,
    solver: Solver,
    problem: Problem,
    validation: Problem | None,
    options: Options,
) -> History:
    """Minimise the loss and its penalties over the parameters that train. See `Network.fit`."""
    _refuse(solver, options)
    if options.epochs == 0:
        return History()
    engine = model.engine
    if not engine.parameters.trained.any():
        raise OptionError("no parameter of the network trains, so there is nothing to solve for")
    bounds = bounds_by_parameter(model.names, engine, solver.bounds)
    run = _Run(network, model, problem, validation, options)
    try:
        run.minimise(solver, bounds)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            run.history.stopped = "interrupted"
        if run.history.loss:  # else nothing has changed, and the last run stays as it was
            model.end_run(model.last_run, run.history)
        raise
    model.end_run(None, run.history)
    return run.history


def _refuse(solver: Solver, options: Options) -> None:
    """Refuse what means nothing to a solver."""
    given = options.regularisation
    for name, set_ in (
        ("max_norm", given.most is not None),
        ("dropout", given.stays is not None),
        ("resume", options.resume is not False),
    ):
        if set_:
            raise OptionError(f"{name} does not go with a solver, {solver.method!r}")
    for callback in options.callbacks:
        steps = callback.overrides("on_step_end") and callback.every is not None
        if isinstance(callback, (Schedule, ReduceOnPlateau)) or steps:
            raise OptionError(
                f"{type(callback).__name__} does not go with a solver, {solver.method!r}, which "
                "has neither steps nor a learning rate; epochs are its iterations"
            )


class _Run:
    def __init__(
        self,
        network: Any,
        model: Model,
        problem: Problem,
        validation: Problem | None,
        options: Options,
    ) -> None:
        engine = model.engine
        self._network, self._model, self._engine, self._options = network, model, engine, options
        self._problem, self._validation = problem, validation
        self._trained, self._all = engine.parameters.trained, engine.parameters.copy()
        self._iterate = self._all[self._trained].astype(np.float64)
        self._began, self.history = time.perf_counter(), History()
        self._progress = Progress(network, self.history, int(options.epochs), np.nan)
        self._progress.validated = validation is not None
        self._last: tuple[bytes, float, Float64] | None = None
        self._bounds: optimize.Bounds | None = None

    def minimise(self, solver: Solver, bounds: tuple[Float64, Float64] | None) -> None:
        """Run the solver; the parameters are those of its last iterate, whatever ends it."""
        limits = None
        if bounds is not None:
            low, high = (end[self._trained] for end in bounds)
            limits = self._bounds = optimize.Bounds(low, high)
        start = self._within_bounds(self._iterate)
        most = _most_iterations(solver, self._progress.n_epochs, len(start))
        options = {**most, **(solver.options or {})}
        try:
            for callback in self._options.callbacks:
                with told(callback, "reset", self._progress):
                    callback.reset()
            self._tell("on_train_begin")
            with warnings.catch_warnings(), np.errstate(all="ignore"):  # a trial step may overflow
                warnings.filterwarnings("error", "Unknown solver options")
                result = optimize.minimize(  # type: ignore[call-overload]
                    self._value_and_gradient if solver.uses_gradient else self._value,
                    start,
                    method=solver.method,
                    jac=solver.uses_gradient or None,
                    bounds=limits,
                    callback=self._end_iteration,
                    options=options,
                )
            if np.isfinite(result.fun):
                self._iterate = self._within_bounds(result.x)
            if len(self.history.loss) < self._progress.n_epochs:
                self._progress.stop(str(result.message))  # converged, or not
        except _Stop:
            pass
        except DagbpError:
            raise
        except (optimize.OptimizeWarning, TypeError, ValueError) as error:
            raise OptionError(f"method {solver.method!r} of scipy.optimize: {error}") from error
        finally:
            self._take(self._iterate)
            self.history.seconds = time.perf_counter() - self._began
        self.history.stopped = self._progress.stopped
        self._tell("on_train_end")

    def _within_bounds(self, x: Float64) -> Float64:
        """Return x within the bounds, from which some methods are off by their rounding."""
        return x if self._bounds is None else np.clip(x, self._bounds.lb, self._bounds.ub)

    def _take(self, x: Float64) -> None:
        """Make x the parameters that train."""
        self._all[self._trained] = x
        self._engine.parameters.assign(self._all)

    def _value_and_gradient(self, x: Float64) -> tuple[float, Float64]:
        largest = np.finfo(self._engine.dtype).max
        if not (np.abs(x) <= largest).all():  # a trial beyond what the network can hold
            return np.inf, np.zeros_like(x)
        self._take(x)
        value, gradient = self._engine.differentiate(self._problem, self._network.n_threads)
        total = gradient.astype(np.float64)
        if self._options.regularisation.l1 is not None:
            penalty, slope = self._options.regularisation.penalty(self._all)
            value, total = value + penalty, total + slope
        if not self.history.loss and self._last is None and not np.isfinite(value):
            self._diverge()
        self._last = x.tobytes(), float(value), total[self._trained]
        return self._last[1:]

    def _diverge(self) -> None:
        """End where it began: raise, unless some callback ends the run in another way."""
        for callback in self._options.callbacks:
            with told(callback, "on_divergence", self._progress), self._model.lock.released():
                ends = callback.on_divergence(self._progress)
            if ends:
                raise _Stop
        error = DivergenceError("the loss is not finite where the solver begins; nothing changed")
        error.history = self.history  # type: ignore[attr-defined]
        raise error

    def _value(self, x: Float64) -> float:
        return self._value_and_gradient(x)[0]

    def _end_iteration(self, x: Float64, *state: Any) -> None:
        """Record an iteration: x is its end."""
        self._model.end_run(None, self._model.history)
        x = self._within_bounds(np.array(x, np.float64))
        value = self._loss_at(x)
        if not np.isfinite(value):  # a step too far, as on float32's edge
            self._progress.stop("the loss is not finite")
            raise _Stop
        self._iterate = x
        progress, history = self._progress, self.history
        history.loss.append(value)
        history.n_updates = progress.n_updates = progress.epoch = len(history.loss)
        history.seconds = time.perf_counter() - self._began
        progress.loss = value
        self._take(x)
        if self._validation is not None:
            history.val_loss.append(
                self._engine.evaluate(self._validation, self._network.n_threads)
            )
            progress.val_loss = history.val_loss[-1]
        self._tell("on_epoch_end")
        for callback in self._options.callbacks:
            with told(callback, "on_poll", progress):
                callback.on_poll(progress)
        if progress.stopped is not None or len(history.loss) >= progress.n_epochs:
            raise _Stop

    def _loss_at(self, x: Float64) -> float:
        """Return the objective, which most methods have just computed."""
        if self._last is not None and self._last[0] == x.tobytes():
            return self._last[1]
        return self._value(x)

    def _tell(self, method: str) -> None:
        for callback in self._options.callbacks:
            with told(callback, method, self._progress), self._model.lock.released():
                getattr(callback, method)(self._progress)


def _most_iterations(solver: Solver, n: int, size: int) -> dict[str, int]:
    """Return the option that limits the method's work; iterations are counted here, too.

    TNC and COBYLA count evaluations, of which COBYLA needs one for each of `size` parameters.
    """
    if solver.method == "TNC":
        return {"maxfun": 100 * n}
    return {"maxiter": n * (size + 2) if solver.method == "COBYLA" else n}
