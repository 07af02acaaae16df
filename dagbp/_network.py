"""The public class: a compiled network, addressed by the labels of the user's graph."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from dagbp import activations, losses, optimizers
from dagbp._checks import check_whole
from dagbp._data.features import read_features
from dagbp._data.problem import Problem, check_loss_fits, read_batch, read_problem, read_validation
from dagbp._engine.optimizer_state import Update
from dagbp._engine.profile import Profile, take_profile
from dagbp._graph.from_edges import read_edges
from dagbp._history import History
from dagbp._model.checkpoint import write_checkpoint
from dagbp._model.model import Model, new_model
from dagbp._model.snapshot import drawn_graph, restore, take_snapshot
from dagbp._model.summary import describe, summarise
from dagbp._model.views import Backprop, EdgeValues, Forward, NodeValues
from dagbp._training.minibatches import Minibatches
from dagbp._training.options import Options
from dagbp._training.regularisation import Penalty, regularisation
from dagbp._training.run import Run
from dagbp._training.scipy_solvers import solve
from dagbp._training.stream import Batches
from dagbp.callbacks import Callback

if TYPE_CHECKING:
    import networkx as nx

Array = npt.NDArray[Any]
LossLike = str | losses.Loss
Weights = npt.ArrayLike | None  # of samples
PerNode = float | Mapping[Hashable, float]


class Network:
    """A DAG of neurons, ready to run and to train. Made by `compile` or `Network.from_edges`."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @classmethod
    def from_edges(
        cls,
        src: npt.ArrayLike,
        dst: npt.ArrayLike,
        n_nodes: int | None = None,
        *,
        inputs: Any = None,
        outputs: Any = None,
        weight: npt.ArrayLike | None = None,
        trainable: npt.ArrayLike | None = None,
        activation: str | Sequence[str | None] = "tanh",
        output_activation: str = "identity",
        bias: npt.ArrayLike | None = None,
        bias_trainable: bool = True,
        dtype: npt.DTypeLike = "float32",
        seed: Any = None,
        init: str = "auto",
        n_threads: int | None = None,
        dense_above: float | None = None,
        schedule: Literal["auto", "tiles", "levels"] = "auto",
    ) -> "Network":
        """Compile edges given as arrays; nodes are 0 ... n_nodes - 1.

        Parameters
        ----------
        src, dst : array_like of int, shape (n_edges,)
            Source and target of each edge.
        n_nodes : int, optional
            Default: the largest node of an edge, plus one.
        inputs, outputs : iterable of int, optional
            Default: nodes without in-edges, and nodes without out-edges.
        weight : array_like of float, shape (n_edges,), optional
            Initial weights; default: drawn by `init`.
        trainable : bool or array_like of bool, shape (n_edges,), optional
            Which weights `fit` changes; default: all.
        activation, output_activation : str or sequence of str
            Of hidden nodes, and of outputs; or `activation` has one name for each of the n_nodes.
        bias : array_like of float, shape (n_nodes,), or False, optional
            Initial biases; default: zeros. False: no biases.
        bias_trainable : bool
            Whether `fit` changes the biases.
        dtype, seed, init, n_threads, dense_above, schedule
            As in `compile`.

        Returns
        -------
        Network

        Raises
        ------
        GraphError
            For nodes out of range, repeated edges, self-loops, cycles, or arrays that do not fit.

        Examples
        --------
        >>> import dagbp
        >>> net = dagbp.Network.from_edges([0, 1, 0, 2], [2, 2, 3, 3], n_nodes=4, seed=0)
        >>> net.inputs, net.outputs
        ([0, 1], [3])
        """
        graph = read_edges(
            *(src, dst, n_nodes, inputs, outputs),
            known=activations.names(),
            weight=weight,
            trainable=trainable,
            activation=activation,
            output_activation=output_activation,
            bias=bias,
            bias_trainable=bias_trainable,
        )
        return cls(new_model(graph, dtype, seed, init, n_threads, dense_above, schedule))

    # --- structure and parameters ---

    @property
    def inputs(self) -> list[Hashable]:
        """Labels of the inputs, in the order of X's columns."""
        return list(self._model.names.inputs)

    @property
    def outputs(self) -> list[Hashable]:
        """Labels of the outputs, in the order of Y's columns."""
        return list(self._model.names.outputs)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of all values inside: float32 or float64."""
        return self._model.engine.dtype

    @property
    def n_nodes(self) -> int:
        """Number of nodes, inputs included."""
        return len(self._model.graph.labels)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return self._model.n_edges

    @property
    def n_threads(self) -> int | None:
        """Maximum number of threads; None: as many cores as the work keeps busy."""
        return self._model.max_threads

    @n_threads.setter
    def n_threads(self, value: int | None) -> None:
        self._model.max_threads = value

    @property
    def parameters(self) -> Array:
        """All parameters in one flat array (read-only): weights in CSR order, then biases.

        Weights are sorted by target and then by source, in a topological order of the nodes that
        depends on the graph alone. The biases of all computed nodes (all nodes but inputs) follow,
        in the same order; an absent bias is a zero that stays zero. `parameter_names` lists the
        owner of each element. Assign a new array to set all of them.
        """
        flat = self._model.parameters
        flat.flags.writeable = False
        return flat

    @parameters.setter
    def parameters(self, values: npt.ArrayLike) -> None:
        self._model.parameters = values

    @property
    def parameter_names(self) -> list[Any]:
        """The owner of each of `parameters`: an edge (source, target), or a node for its bias.

        A new list each time, such as ``[("a", "h"), ("b", "y"), ("h", "y"), "h", "y"]``, in the
        order of `parameters` and of every flat gradient.
        """
        plan, graph = self._model.plan, self._model.graph
        ends = (end[plan.in_edge].tolist() for end in (graph.src, graph.dst))
        edges = [(graph.labels[i], graph.labels[j]) for i, j in zip(*ends, strict=True)]
        return [*edges, *(graph.labels[i] for i in plan.node[plan.n_inputs :].tolist())]

    @property
    def weights(self) -> EdgeValues:
        """The weights now, by edge: ``net.weights["a", "b"]``; assign to one to set it."""
        values = self._model.parameters[: self.n_edges].copy()
        return EdgeValues(self._model.names, values, self._model.assign)

    @property
    def biases(self) -> NodeValues:
        """The biases now, by computed node; assign to one to set it."""
        model, first = self._model, self._model.n_edges
        return NodeValues(
            *(model.names, model.parameters[first:].copy(), model.plan.n_inputs),
            lambda place, value: model.assign(first + place, value),
        )

    # --- forward and backward ---

    def predict(self, X: Any) -> Array:
        """Return the outputs for each sample.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n_samples, n_inputs)
            Features; an array's columns in the order of `inputs`, a DataFrame's by node label.

        Returns
        -------
        array, shape (n_samples, n_outputs)
            Columns in the order of `outputs`. A network trained by a cross-entropy has raw outputs:
            apply `scipy.special.softmax` or `scipy.special.expit` to get probabilities.

        Raises
        ------
        DataError
            If X does not fit the inputs, or is not finite.
        """
        features = read_features(X, self._model.names.inputs, self.dtype)
        with self._model.lock as engine:
            return engine.predict(features, self.n_threads)

    def forward(self, X: Any) -> Forward:
        """Return every node's signal and activation for each sample.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n_samples, n_inputs)

        Returns
        -------
        Forward
        """
        features = read_features(X, self._model.names.inputs, self.dtype)
        with self._model.lock as engine:
            record = engine.inspect(features)
        return Forward.of(self._model.names, record.s, record.x)

    def backprop(
        self, X: Any, Y: Any, loss: LossLike = "squared_error", *, sample_weight: Weights = None
    ) -> Backprop:
        """Return the loss, every s, x and delta, and every gradient, by node and edge.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n_samples, n_inputs)
        Y : array_like or DataFrame, shape (n_samples, n_outputs), or class labels (n_samples,)
        loss : str or Loss
        sample_weight : array_like, shape (n_samples,), optional
            Weights of the samples in `loss` and the gradients; they are scaled to a mean of 1.

        Returns
        -------
        Backprop

        Examples
        --------
        >>> import networkx as nx, dagbp
        >>> G = nx.DiGraph([("a", "y")])
        >>> G.edges["a", "y"]["weight"] = 2.0
        >>> bp = dagbp.compile(G).backprop([[3.0]], [[5.0]])
        >>> bp.loss, float(bp.delta["y"][0]), float(bp.grad_weight["a", "y"])
        (1.0, 2.0, 6.0)
        """
        problem = self._problem(loss)(X, Y, sample_weight)
        with self._model.lock as engine:
            record = engine.inspect(problem.features, targets=problem.targets, loss=problem.loss)
            value, flat = engine.differentiate(problem, self.n_threads)
        return Backprop.of(self._model.names, value, record.s, record.x, record.delta, flat)

    def loss_and_gradient(
        self, X: Any, Y: Any, loss: LossLike = "squared_error", *, sample_weight: Weights = None
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient, aligned with `parameters`. Arguments: `backprop`.

        Returns
        -------
        value : float
        gradient : array, shape (n_parameters,)
            Zero for parameters that are not trainable; ready for `scipy.optimize`.
        """
        problem = self._problem(loss)(X, Y, sample_weight)
        with self._model.lock as engine:
            value, gradient = engine.differentiate(problem, self.n_threads)
            if not engine.parameters.all_train:
                gradient[~engine.parameters.trained] = 0
        return value, gradient

    def evaluate(
        self, X: Any, Y: Any, loss: LossLike = "squared_error", *, sample_weight: Weights = None
    ) -> float:
        """Return the loss, averaged over samples and summed over outputs. Arguments: `backprop`."""
        problem = self._problem(loss)(X, Y, sample_weight)
        with self._model.lock as engine:
            return engine.evaluate(problem, self.n_threads)

    # --- training ---

    def fit(
        self,
        X: Any,
        Y: Any,
        *,
        loss: LossLike = "squared_error",
        optimizer: str | optimizers.Optimizer | optimizers.Solver = "adam",
        learning_rate: float | None = None,
        epochs: int = 10,
        batch_size: int = 64,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: Weights = None,
        penalties: Sequence[Penalty] = (),
        max_norm: PerNode | None = None,
        dropout: PerNode = 0.0,
        input_dropout: float = 0.0,
        callbacks: Sequence[Callback] = (),
        resume: bool | Literal["optimizer"] = False,
        seed: Any = None,
        verbose: int = 1,
    ) -> History:
        """Train with an optimizer on minibatches, or with a SciPy solver on all samples.

        Parameters
        ----------
        X : array_like, DataFrame or sparse matrix, shape (n_samples, n_inputs)
            Sparse matrices, and memory-mapped or large arrays with contiguous rows of a native
            type, are read batch by batch and never converted whole.
        Y : array_like or DataFrame, shape (n_samples, n_outputs), or class labels (n_samples,)
            Label k means the output ``outputs[k]``, k from 0.
        loss : str or Loss
            A name from `dagbp.losses.names()`, or a record such as ``Huber(0.5)``.
        optimizer : str, Optimizer or Solver
            A name from `dagbp.optimizers.names()`, or a record such as ``Adam(beta1=0.8)``; or a
            method of `scipy.optimize.minimize`, such as "lbfgs", or a `dagbp.optimizers.Solver`. A
            solver takes all samples at once, `epochs` is its largest number of iterations, and it
            ignores `batch_size` and `shuffle`.
        learning_rate : float, optional
            Replaces the learning rate of the optimizer.
        epochs, batch_size : int
            Passes over the samples, and samples of a step. An epoch's last batch may be smaller.
        shuffle : bool
            Draw a new order of the samples for each epoch.
        validation_data : tuple (X, Y) or (X, Y, sample_weight), optional
            Evaluated after each epoch, without dropout and penalties.
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1 over all samples.
        penalties : list of Penalty
            L1 and L2 terms over edges or nodes, added to the loss.
        max_norm : float or mapping of node to float, optional
            Largest Euclidean norm of a node's trainable in-weights. After each step, those with a
            larger norm are scaled down to it.
        dropout : float or mapping of node to float
            Probability that a node's activation is dropped in a step; the others are scaled up by
            1 / (1 - dropout). One number is for all nodes except inputs and outputs.
        input_dropout : float
            Probability that a feature is dropped.
        callbacks : list of Callback
            See `dagbp.callbacks`.
        resume : bool or "optimizer"
            True continues the network's last run up to `epochs` in all, with the same bits as an
            uninterrupted run, also after `dagbp.load`. A run that `EarlyStopping` has ended
            continues only without a callback of the same class and settings; one that `TimeLimit`
            has ended always continues. Except callbacks and validation, all other arguments must be
            the same. "optimizer" starts a new run with the last state of the same optimizer.
        seed : int or numpy.random.Generator, optional
            For shuffling and dropout: the same bits on the same number of threads.
        verbose : int
            0: no progress bar. Otherwise a terminal shows one if training takes long.

        Returns
        -------
        History
            The loss of each epoch: the mean over samples of the loss of their step, before its
            update.

        Raises
        ------
        DataError, OptionError
            For bad arguments, before anything has changed.
        DivergenceError
            If a loss or gradient is not finite. That step is not taken, the parameters are those
            of the step before, and the error's `history` holds the epochs so far.
        CallbackError, KeyboardInterrupt
            If a callback fails, or on Ctrl-C. The network is as the last step left it.

        Examples
        --------
        >>> import dagbp
        >>> net = dagbp.compile(dagbp.layered([2, 8, 1], activation="tanh"), seed=0)
        >>> X, Y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
        >>> history = net.fit(X, Y, learning_rate=0.05, epochs=500, seed=0)
        >>> (net.predict(X) > 0.5).ravel().tolist()
        [False, True, True, False]
        """
        problem = self._problem(loss)(X, Y, sample_weight)
        restrained = regularisation(self._model, penalties, max_norm, dropout, input_dropout)
        validation = read_validation(validation_data, self._problem(loss))
        options = Options(epochs, losses.get(loss), restrained, callbacks, resume, verbose)
        solver = optimizers.as_solver(optimizer, learning_rate)
        if solver is not None:
            with self._model.lock.hold_for_run():
                return solve(self._model, self, solver, problem, validation, options)
        chosen = optimizers.get(optimizer, learning_rate)
        source = Minibatches(problem, batch_size, shuffle, seed)
        with self._model.lock.hold_for_run():
            return Run(self._model, self, source, validation, options, chosen).go()

    def fit_batches(
        self,
        batches: Any,
        *,
        loss: LossLike = "squared_error",
        optimizer: str | optimizers.Optimizer = "adam",
        learning_rate: float | None = None,
        epochs: int = 1,
        validation_data: tuple[Any, ...] | None = None,
        penalties: Sequence[Penalty] = (),
        max_norm: PerNode | None = None,
        dropout: PerNode = 0.0,
        input_dropout: float = 0.0,
        callbacks: Sequence[Callback] = (),
        resume: bool | Literal["optimizer"] = False,
        seed: Any = None,
        verbose: int = 1,
    ) -> History:
        """Train on a stream of batches, for data larger than the memory: one step for each batch.

        Another thread fetches and checks the next two batches while kernels run.

        Parameters
        ----------
        batches : iterable of (X, Y) or (X, Y, sample_weight), or callable
            Iterated again for each epoch, as lists and data loaders can be; or a function that
            takes the number of the epoch, from 0, and returns an iterable. Weights are scaled to a
            mean of 1 in each batch.
        loss, optimizer, learning_rate, epochs, validation_data, penalties, max_norm, dropout, \
        input_dropout, callbacks, verbose
            As in `fit`; no solver.
        resume : bool or "optimizer"
            As in `fit`. Batches of an interrupted epoch are fetched again and skipped.
        seed : int or numpy.random.Generator, optional
            For dropout.

        Returns
        -------
        History
            The loss of each epoch: the mean over samples of the loss of their step, before its
            update.

        Raises
        ------
        DataError
            If a batch does not fit or the iterator fails. The network is as the last step left it.
        OptionError, DivergenceError, CallbackError, KeyboardInterrupt
            As in `fit`.

        Examples
        --------
        >>> import dagbp
        >>> net = dagbp.compile(dagbp.layered([2, 8, 1], seed=0), seed=0)
        >>> batches = [([[0.0, 1.0], [1.0, 1.0]], [1.0, 2.0]), ([[1.0, 0.0]], [1.0])]
        >>> len(net.fit_batches(batches, epochs=3, verbose=0).loss)
        3
        """
        restrained = regularisation(self._model, penalties, max_norm, dropout, input_dropout)
        options = Options(epochs, losses.get(loss), restrained, callbacks, resume, verbose)
        chosen = optimizers.get(optimizer, learning_rate)
        check_loss_fits(losses.get(loss), self._model.graph)
        validation = read_validation(validation_data, self._problem(loss))
        prepare = partial(read_batch, read=self._problem(loss))
        source = Batches(batches, prepare, int(epochs), seed, self._model.lock)
        with self._model.lock.hold_for_run():
            return Run(self._model, self, source, validation, options, chosen).go()

    @property
    def history(self) -> History | None:
        """The history of the last run, loaded ones included; None if there is none."""
        with self._model.lock:
            return None if self._model.history is None else self._model.history.copy()

    def profile(
        self,
        X: Any,
        Y: Any,
        loss: LossLike = "squared_error",
        *,
        optimizer: str | optimizers.Optimizer = "sgd",
        sample_weight: Weights = None,
    ) -> Profile:
        """Return the time of each part of a training step, beside the machine's limits.

        Runs steps with all of X as their batch for about a second. The parameters do not change.

        Parameters
        ----------
        X, Y, loss, optimizer, sample_weight
            As in `fit`; no solver.

        Returns
        -------
        Profile
            `print` it.

        Raises
        ------
        DivergenceError
            If such a step is not finite.
        """
        chosen, problem = optimizers.get(optimizer), self._problem(loss)(X, Y, sample_weight)
        with self._model.lock as engine:
            update = Update(engine.parameters, chosen)
            return take_profile(self._model.engine, problem, update, self.n_threads)

    def release(self) -> None:
        """Free the work buffers and the state of the last run, which then cannot be resumed."""
        self._model.release()

    # --- saving and showing ---

    def save(self, path: "str | os.PathLike[str]", *, training: bool = True) -> None:
        """Write the network to one file, which `dagbp.load` reads.

        The file holds arrays after a JSON header, with a checksum; nothing in it can be executed.
        It replaces an old file atomically: a process killed at any instant leaves one of the two.

        Parameters
        ----------
        path : path-like
            Links are followed.
        training : bool
            Whether to save the last run too, so that ``fit(resume=True)`` can continue it.

        Raises
        ------
        CheckpointError
            If a label is not a str, int, float, bool, bytes, None or a tuple or frozenset of
            these, if a callback's state holds other values, or if `path` exists and is not a
            regular file.
        OSError
            If the file cannot be written; an old one is left as it was.

        Warns
        -----
        DagbpWarning
            If an attribute of the graph has another type; it is left out.
        """
        write_checkpoint(take_snapshot(self._model, training), path)

    def to_networkx(self) -> "nx.DiGraph[Any]":
        """Return the graph with the same labels, order and attributes, and the parameters now.

        Edges have a ``weight``; computed nodes have an ``activation``, and a ``bias`` if they have
        one. If inputs or outputs differ from the defaults of `dagbp.compile`, their nodes also have
        ``input_column`` or ``output_column``, which `dagbp.compile` reads.
        """
        return drawn_graph(self._model)

    def summary(self, batch_size: int = 64) -> str:
        """Return a table of the network's size, the memory of a training step, and its kernels.

        Parameters
        ----------
        batch_size : int
            Of the training step; default: as in `fit`.
        """
        check_whole("batch_size", batch_size, 1)
        return summarise(self._model, int(batch_size))

    def __repr__(self) -> str:
        return describe(self._model.engine, self._model.graph)

    def _repr_html_(self) -> str:
        """Return a small picture and the summary, for notebooks."""
        from dagbp.plotting._inline import page

        return page(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return a snapshot; plan, buffers and addresses belong to a process."""
        return {"snapshot": take_snapshot(self._model, training=True)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._model = restore(state["snapshot"])

    def _problem(self, loss: LossLike) -> Callable[[Any, Any, Any], Problem]:
        """Return the function that checks X, Y and sample weights for this loss."""
        names, dtype = self._model.names, self.dtype
        return lambda X, Y, weight: read_problem(names, dtype, X, Y, loss, weight)


def model_of(net: Network) -> Model:
    """Return a network's model, for the modules of this package above it."""
    return net._model
