"""A compiled network: a plan and its parameters, seen by the names in the user's graph."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from dagbp import activations, losses, optimizers
from dagbp._checks import check_whole, is_whole, real_dtype
from dagbp._data import arrays
from dagbp._data.features import Problem, read_features
from dagbp._data.problem import check_loss_fits, read_batch, read_problem, read_validation
from dagbp._engine.engine import Engine
from dagbp._engine.tile_plan import STRATEGIES
from dagbp._engine.workers import available_cores
from dagbp._errors import DataError, OptionError, did_you_mean
from dagbp._graph.arrays import GraphArrays
from dagbp._graph.from_edges import read_edges
from dagbp._graph.from_networkx import (
    NETWORKX_EDGE_BYTES,
    NETWORKX_NODE_BYTES,
    draw,
    write_networkx,
)
from dagbp._layout.fill import check_dense_above
from dagbp._model.engine_lock import Turn
from dagbp._model.initial_values import check_representable, draw_parameters
from dagbp._model.summary import describe, summarise
from dagbp._model.views import Backprop, EdgeValues, Forward, NodeValues
from dagbp._plan.from_graph import plan_graph
from dagbp._plan.names import Names
from dagbp._plan.plan import Plan

if TYPE_CHECKING:
    import networkx as nx

    from dagbp._engine.profile import Profile
    from dagbp._history import History, TrainingState
    from dagbp._training.regularisation import Penalty, Regularisation
    from dagbp._training.run import Options
    from dagbp._training.source import Source
    from dagbp.callbacks import Callback

Array = npt.NDArray[Any]


class Network:
    """A DAG of neurons, ready to run and to train. Made by `compile` or `Network.from_edges`.

    Attributes
    ----------
    inputs, outputs : list of hashable
        Labels, in the order of the columns of X and Y.
    dtype : numpy.dtype
        float32 or float64, of everything inside.
    n_threads : int or None
        Most threads to use; None: as many cores as the work keeps busy.
    """

    def __init__(
        self,
        graph: GraphArrays,
        *,
        dtype: npt.DTypeLike,
        seed: Any,
        init: str,
        n_threads: int | None,
        dense_above: float | None = None,
        schedule: str = "auto",
        nx_graph: "nx.DiGraph[Any] | None" = None,
    ) -> None:
        real = real_dtype(dtype)
        check_dense_above(dense_above)
        if schedule not in STRATEGIES:
            raise OptionError(f"schedule is {schedule!r}{did_you_mean(schedule, STRATEGIES)}")
        self.n_threads = n_threads
        plan = plan_graph(graph, stacklevel=4)
        self._dense_above, self._strategy = dense_above, schedule
        self._build(graph, plan, nx_graph, real)
        check_representable(graph, real)
        self.parameters = draw_parameters(graph, plan, init, seed, real)

    def _build(
        self,
        graph: GraphArrays,
        plan: Plan,
        nx_graph: "nx.DiGraph[Any] | None",
        dtype: np.dtype[Any],
    ) -> None:
        """Set up all but the parameters."""
        self._names, self._nx_graph = Names(graph, plan), nx_graph
        self._training: Callable[[], TrainingState] | TrainingState | None = None
        self._history: History | None = None
        computed = plan.node[plan.n_inputs :]
        trained = graph.edge_trainable[plan.in_edge], graph.bias_trainable[computed]
        self._engine = Engine(
            plan,
            graph.activation_names,
            graph.activation[plan.node],
            np.concatenate(trained),
            dtype,
            self._dense_above,
            self._strategy,
        )
        self._turn = Turn(self._engine)
        self._has_bias = graph.has_bias[computed]

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
            Default: nodes without in-edges, and without out-edges.
        weight : array_like of float, shape (n_edges,), optional
            Initial weights; default: drawn by `init`.
        trainable : bool or array_like of bool, shape (n_edges,), optional
            Which weights `fit` changes; default: all.
        activation : str or sequence of str
            One for all computed nodes, or one for each of the n_nodes.
        output_activation : str
            Of the outputs, where `activation` is one name.
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
            For indices out of range, repeated edges, self-loops, cycles, or arrays that do not fit.

        Examples
        --------
        >>> import dagbp
        >>> net = dagbp.Network.from_edges([0, 1, 0, 2], [2, 2, 3, 3], n_nodes=4, seed=0)
        >>> net.inputs, net.outputs
        ([0, 1], [3])
        >>> net.predict([[0.5, 1.0]]).shape
        (1, 1)
        """
        graph = read_edges(
            src,
            dst,
            n_nodes,
            inputs,
            outputs,
            known=activations.names(),
            weight=weight,
            trainable=trainable,
            activation=activation,
            output_activation=output_activation,
            bias=bias,
            bias_trainable=bias_trainable,
        )
        return cls(
            graph,
            dtype=dtype,
            seed=seed,
            init=init,
            n_threads=n_threads,
            dense_above=dense_above,
            schedule=schedule,
        )

    # --- what it is ---

    @property
    def inputs(self) -> list[Hashable]:
        """Labels of the inputs, in the order of X's columns."""
        return list(self._names.inputs)

    @property
    def outputs(self) -> list[Hashable]:
        """Labels of the outputs, in the order of Y's columns."""
        return list(self._names.outputs)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating-point type of everything inside."""
        return self._engine.dtype

    @property
    def n_nodes(self) -> int:
        """Number of nodes, inputs included."""
        return len(self._engine.plan.node)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return self._engine.n_edges

    @property
    def n_threads(self) -> int | None:
        """Most threads to use; None: as many cores as the work keeps busy."""
        return self._n_threads

    @n_threads.setter
    def n_threads(self, value: int | None) -> None:
        cores = available_cores()
        if value is not None and not (is_whole(value) and 1 <= value <= cores):
            raise OptionError(
                f"n_threads must be None or a whole number from 1 to {cores}, the cores that this "
                f"process may use, got {value!r}"
            )
        self._n_threads = value

    @property
    def parameters(self) -> Array:
        """All parameters in one flat array (read-only): weights in CSR order, then biases.

        Weights stand by target and then by source, in a topological order of the nodes that the
        graph alone decides, on any machine; the biases of all computed nodes follow, in the same
        order. `parameter_names` says which is which; `weights` and `biases` tell them by name. An
        absent bias is a zero that stays zero. Assign a new array to set them.
        """
        with self._turn as engine:
            flat = engine.parameters.copy()
        flat.flags.writeable = False
        return flat

    @parameters.setter
    def parameters(self, values: npt.ArrayLike) -> None:
        size = self.n_edges + self._engine.n_computed
        flat = arrays.vector(values, size, self.dtype, "parameters")
        absent = np.flatnonzero(~self._has_bias & (flat[self.n_edges :] != 0))
        if len(absent):
            node = self._label_of_row(self._engine.plan.n_inputs + int(absent[0]))
            raise DataError(
                f"node {node!r} has no bias, so its parameter must be 0, got "
                f"{flat[self.n_edges + absent[0]]}"
            )
        with self._turn as engine:
            engine.parameters.assign(flat)
            last = self._training
            if last is not None and not callable(last):  # a resumed run goes on with these
                self._training = replace(last, parameters=None)

    @property
    def parameter_names(self) -> list[Any]:
        """What each of `parameters` belongs to: an edge (source, target), or a node for its bias.

        A list made anew each time, of the order of `parameters` and of every flat gradient.

        Examples
        --------
        >>> import networkx as nx, dagbp
        >>> net = dagbp.compile(nx.DiGraph([("b", "y"), ("a", "h"), ("h", "y")]))
        >>> net.parameter_names
        [('a', 'h'), ('b', 'y'), ('h', 'y'), 'h', 'y']
        """
        plan, graph = self._engine.plan, self._names.graph
        ends = (end[plan.in_edge].tolist() for end in (graph.src, graph.dst))
        edges = [(graph.labels[i], graph.labels[j]) for i, j in zip(*ends, strict=True)]
        return [*edges, *(graph.labels[i] for i in plan.node[plan.n_inputs :].tolist())]

    @property
    def weights(self) -> EdgeValues:
        """The weights now, by edge: ``net.weights["a", "b"]``; assign to one to set it."""
        return EdgeValues(self._names, self.parameters[: self.n_edges].copy(), self._assign)

    @property
    def biases(self) -> NodeValues:
        """The biases now, by computed node; assign to one to set it."""
        values, first = self.parameters[self.n_edges :].copy(), self._engine.plan.n_inputs
        n_edges = self.n_edges
        return NodeValues(
            self._names, values, first, lambda place, value: self._assign(n_edges + place, value)
        )

    # --- running it ---

    def predict(self, X: Any) -> Array:
        """Return the outputs for each sample.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n_samples, n_inputs)
            Features; an array's columns in the order of `inputs`, a DataFrame's by node label.

        Returns
        -------
        array, shape (n_samples, n_outputs)
            Columns in the order of `outputs`. After training by a cross-entropy, which takes raw
            outputs, they are raw too: `scipy.special.softmax` or `scipy.special.expit` makes
            probabilities of them.

        Raises
        ------
        DataError
            If X does not fit the inputs, or is not finite.
        """
        features = read_features(X, self._names.inputs, self.dtype)
        with self._turn as engine:
            return engine.predict(features, self.n_threads)

    def forward(self, X: Any) -> Forward:
        """Return every node's signal and activation for each sample.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n_samples, n_inputs)

        Returns
        -------
        Forward

        Examples
        --------
        >>> import networkx as nx, dagbp
        >>> G = nx.DiGraph([("a", "y")])
        >>> G.edges["a", "y"]["weight"] = 2.0
        >>> dagbp.compile(G).forward([[3.0]]).s["y"]
        array([6.], dtype=float32)
        """
        features = read_features(X, self._names.inputs, self.dtype)
        with self._turn as engine:
            record = engine.inspect(features, None, None)
        return Forward(self._of_computed(record.s), NodeValues(self._names, record.x, 0))

    def backprop(
        self,
        X: Any,
        Y: Any,
        loss: str | losses.Loss = "squared_error",
        *,
        sample_weight: npt.ArrayLike | None = None,
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
        problem = read_problem(self._names, self.dtype, X, Y, loss, sample_weight)
        with self._turn as engine:
            record = engine.inspect(*problem[:3])
            value, flat = engine.differentiate(problem, self.n_threads)
        assert record.delta is not None
        return Backprop(
            value,
            self._of_computed(record.s),
            NodeValues(self._names, record.x, 0),
            self._of_computed(record.delta),
            EdgeValues(self._names, flat[: self.n_edges]),
            self._of_computed(flat[self.n_edges :]),
        )

    def loss_and_gradient(
        self,
        X: Any,
        Y: Any,
        loss: str | losses.Loss = "squared_error",
        *,
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient, aligned with `parameters`.

        Parameters
        ----------
        X, Y, loss, sample_weight
            As in `backprop`.

        Returns
        -------
        value : float
        gradient : array, shape (n_parameters,)
            Zero for parameters that do not train, ready for `scipy.optimize`.
        """
        problem = read_problem(self._names, self.dtype, X, Y, loss, sample_weight)
        with self._turn as engine:
            value, gradient = engine.differentiate(problem, self.n_threads)
        if not self._engine.parameters.all_train:
            gradient[~self._engine.parameters.trained] = 0
        return value, gradient

    def evaluate(
        self,
        X: Any,
        Y: Any,
        loss: str | losses.Loss = "squared_error",
        *,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        """Return the loss, averaged over samples and summed over outputs.

        Parameters
        ----------
        X, Y, loss, sample_weight
            As in `backprop`.
        """
        problem = read_problem(self._names, self.dtype, X, Y, loss, sample_weight)
        with self._turn as engine:
            return engine.evaluate(problem, self.n_threads)

    def fit(
        self,
        X: Any,
        Y: Any,
        *,
        loss: str | losses.Loss = "squared_error",
        optimizer: "str | optimizers.Optimizer | optimizers.Solver" = "adam",
        learning_rate: float | None = None,
        epochs: int = 10,
        batch_size: int = 64,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: npt.ArrayLike | None = None,
        penalties: "Sequence[Penalty]" = (),
        max_norm: float | Mapping[Hashable, float] | None = None,
        dropout: float | Mapping[Hashable, float] = 0.0,
        input_dropout: float = 0.0,
        callbacks: "Sequence[Callback]" = (),
        resume: bool | Literal["optimizer"] = False,
        seed: Any = None,
        verbose: int = 1,
    ) -> "History":
        """Train on minibatches, whole epochs inside compiled code; or by a full-batch solver.

        Parameters
        ----------
        X : array_like, DataFrame or sparse matrix, shape (n_samples, n_inputs)
            Sparse matrices, and arrays that are memory-mapped or large, are read batch by batch and
            never converted whole; arrays if their rows are contiguous integers, bools or floats of
            4 or 8 bytes in the machine's byte order.
        Y : array_like or DataFrame, shape (n_samples, n_outputs), or class labels (n_samples,)
            Label k stands for the k-th of `outputs`.
        loss : str or Loss
            A name out of `dagbp.losses.names()`, or a record such as ``Huber(0.5)``.
        optimizer : str, Optimizer or Solver
            A name out of `dagbp.optimizers.names()`, or a record such as ``Adam(beta1=0.8)``; or a
            solver: "lbfgs", "tnc", "cg" or another method of `scipy.optimize.minimize`, or
            ``Solver("L-BFGS-B", bounds=(-1, 1))``. Solvers take all samples at once and `epochs`
            as the most iterations; `batch_size` and `shuffle` mean nothing to them.
        learning_rate : float, optional
            In place of the optimizer's.
        epochs : int
            Passes over the samples.
        batch_size : int
            Samples of a step; the last batch of an epoch may be smaller.
        shuffle : bool
            Draw a new order of the samples for each epoch.
        validation_data : tuple (X, Y) or (X, Y, sample_weight), optional
            Evaluated after each epoch, without dropout and penalties.
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1 over all samples.
        penalties : list of Penalty
            L1 and L2 terms over edges or nodes, added to the loss.
        max_norm : float or mapping of node to float, optional
            Largest Euclidean norm of a node's in-weights; after each step those of a node beyond it
            are scaled back. Weights that do not train neither count nor change.
        dropout : float or mapping of node to float
            With what probability a node's activation is dropped in a step, the others scaled up to
            make up for it; one number is for all nodes but inputs and outputs.
        input_dropout : float
            The same of the inputs.
        callbacks : list of Callback
            See `dagbp.callbacks`.
        resume : bool or "optimizer"
            True: go on with the network's last run, which an interrupt, a time limit or a kill
            ended (then after `dagbp.load`), up to `epochs` in all and to the same bits as without
            it; the other arguments must be the same but for callbacks and validation. It may also
            have ended: by its epochs, and goes on if `epochs` are more now; by a callback, and goes
            on unless one of the same settings is given again. Parameters that were assigned since
            are gone on with. "optimizer": a new run that keeps the state of the last one's
            optimizer, which must be of the same kind.
        seed : int or numpy.random.Generator, optional
            Of shuffling and dropout. The same seed on the same number of threads gives the same
            bits.
        verbose : int
            0: no progress bar. Otherwise one is drawn on a terminal if training lasts.

        Returns
        -------
        History
            The loss of each epoch: the mean over its steps, each before its update.

        Raises
        ------
        DataError, OptionError
            Before anything has changed.
        DivergenceError
            If a loss or gradient is not finite. That step is not taken: the parameters are those
            of the last finite one. Its `history` attribute holds the epochs so far.
        CallbackError
            If a callback fails, from what it raised; the network is as the last step left it.
        KeyboardInterrupt
            On Ctrl-C, after the step in progress; the network is as that step left it.

        Examples
        --------
        >>> import dagbp
        >>> net = dagbp.compile(dagbp.layered([2, 8, 1], activation="tanh"), seed=0)
        >>> X, Y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
        >>> history = net.fit(X, Y, learning_rate=0.05, epochs=500, seed=0)
        >>> (net.predict(X) > 0.5).ravel().tolist()
        [False, True, True, False]
        """
        from dagbp._training.minibatches import Minibatches
        from dagbp._training.run import Options

        problem = read_problem(self._names, self.dtype, X, Y, loss, sample_weight)
        restrained = self._regularisation(penalties, max_norm, dropout, input_dropout)
        validation = self._validation(validation_data, loss)
        asked = epochs, verbose, callbacks, restrained, resume
        solver = optimizers.as_solver(optimizer, learning_rate)
        if solver is not None:
            return self._solve(solver, problem, validation, Options(*asked))
        checked = Options(*asked, optimizers.get(optimizer, learning_rate), losses.get(loss))
        source = Minibatches(problem, batch_size, shuffle, int(epochs), seed)
        return self._train(source, validation, checked, source.drop_seed)

    def fit_batches(
        self,
        batches: Any,
        *,
        loss: str | losses.Loss = "squared_error",
        optimizer: "str | optimizers.Optimizer" = "adam",
        learning_rate: float | None = None,
        epochs: int = 1,
        validation_data: tuple[Any, ...] | None = None,
        penalties: "Sequence[Penalty]" = (),
        max_norm: float | Mapping[Hashable, float] | None = None,
        dropout: float | Mapping[Hashable, float] = 0.0,
        input_dropout: float = 0.0,
        callbacks: "Sequence[Callback]" = (),
        resume: bool | Literal["optimizer"] = False,
        seed: Any = None,
        verbose: int = 1,
    ) -> "History":
        """Train on batches as they come, for data beyond memory: one step for each.

        The next two batches are fetched and checked by another thread while kernels run.

        Parameters
        ----------
        batches : iterable of (X, Y) or (X, Y, sample_weight), or callable
            Iterated anew for each epoch, as lists and data loaders can be; or a function that gets
            the number of the epoch, from 0, and returns an iterable. Weights are scaled to a mean
            of 1 in each batch.
        loss, optimizer, learning_rate, validation_data, penalties, max_norm, dropout, \
        input_dropout, callbacks, verbose
            As in `fit`; no solver.
        epochs : int
            Passes over the batches.
        resume : bool or "optimizer"
            As in `fit`. Batches of an epoch that was broken off are fetched again and skipped.
        seed : int or numpy.random.Generator, optional
            Of dropout.

        Returns
        -------
        History
            The loss of each epoch: the mean over its samples.

        Raises
        ------
        DataError
            If a batch does not fit or the iterator fails, from what it raised; the network is as
            the last step left it.
        OptionError, DivergenceError, CallbackError, KeyboardInterrupt
            As in `fit`.

        Examples
        --------
        >>> import numpy as np, dagbp
        >>> net = dagbp.compile(dagbp.layered([3, 8, 1], seed=0), seed=0)
        >>> def batches(epoch):
        ...     rng = np.random.default_rng(epoch)
        ...     for _ in range(10):
        ...         X = rng.normal(size=(32, 3))
        ...         yield X, X.sum(axis=1)
        >>> len(net.fit_batches(batches, epochs=3, verbose=0).loss)
        3
        """
        from dagbp._training.minibatches import seeds
        from dagbp._training.run import Options
        from dagbp._training.stream import Batches

        restrained = self._regularisation(penalties, max_norm, dropout, input_dropout)
        asked = epochs, verbose, callbacks, restrained, resume
        checked = Options(*asked, optimizers.get(optimizer, learning_rate), losses.get(loss))
        check_loss_fits(losses.get(loss), self._names.graph)
        validation = self._validation(validation_data, loss)
        prepare = partial(read_batch, read=self._reader(loss))
        source = Batches(batches, prepare, int(epochs))
        return self._train(source, validation, checked, seeds(seed)[1])

    @property
    def history(self) -> "History | None":
        """The history of the last run, also of one that was loaded; None if there is none."""
        with self._turn:
            return None if self._history is None else self._history.copy()

    def save(self, path: "str | os.PathLike[str]", *, training: bool = True) -> None:
        """Write the network to one file, which `dagbp.load` reads.

        Arrays behind a JSON header, with a checksum; nothing in it can be executed. It is written
        beside the old file and takes its place in one piece, so a process that is killed at any
        instant leaves the one or the other.

        Parameters
        ----------
        path : path-like
        training : bool
            Whether the state of the last run goes along: optimizer, random numbers, callbacks and
            history, so that ``fit(resume=True)`` can go on with it.

        Raises
        ------
        CheckpointError
            If a label is neither a str, int, float, bool, bytes or None nor a tuple or frozenset of
            such, a callback's state holds what cannot be kept, or there is something at `path` that
            is no regular file. Links are followed.
        OSError
            If the file cannot be written; an old one is left as it was.

        Warns
        -----
        DagbpWarning
            If an attribute of the graph is of another kind; it is left out.

        Examples
        --------
        >>> import tempfile, pathlib, dagbp
        >>> net = dagbp.compile(dagbp.layered([2, 3, 1], seed=0), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "net.dagbp")
        ...     net.save(path)
        ...     bool((dagbp.load(path).parameters == net.parameters).all())
        True
        """
        from dagbp._model.checkpoint import save
        from dagbp._model.snapshot import keep

        save(keep(self, training), path)

    def profile(
        self,
        X: Any,
        Y: Any,
        loss: str | losses.Loss = "squared_error",
        *,
        optimizer: "str | optimizers.Optimizer" = "sgd",
        sample_weight: npt.ArrayLike | None = None,
    ) -> "Profile":
        """Return where the time of a training step goes, beside what the machine can do.

        Steps that take all of X as their batch run for about a second; the parameters are the
        same before and after.

        Parameters
        ----------
        X, Y, loss, sample_weight
            As in `fit`.
        optimizer : str or Optimizer

        Returns
        -------
        Profile
            `print` it.

        Raises
        ------
        DivergenceError
            If such a step is not finite.

        Examples
        --------
        >>> import dagbp
        >>> net = dagbp.compile(dagbp.layered([4, 20, 1], seed=0), seed=0, n_threads=1)
        >>> profile = net.profile([[0.0, 1.0, 2.0, 3.0]] * 32, [0.0] * 32)
        >>> profile.batch_size, profile.n_threads, profile.parts[0].name
        (32, 1, 'copy in')
        """
        from dagbp._engine.profile import take_profile
        from dagbp._training.run import start

        chosen = optimizers.get(optimizer)
        problem = read_problem(self._names, self.dtype, X, Y, loss, sample_weight)
        with self._turn as engine:
            return take_profile(engine, problem, start(engine, chosen), self.n_threads)

    # --- out of it ---

    def to_networkx(self) -> "nx.DiGraph[Any]":
        """Return the graph with the same labels, order and attributes, and today's parameters.

        Weights stand on the edges as ``weight``; on the computed nodes their ``activation``, and
        ``bias`` where they have one. Where inputs or outputs are not those without in-edges or
        out-edges, in graph order, they have ``input_column`` or ``output_column``, by which
        `dagbp.compile` finds them.
        """
        plan, graph = self._engine.plan, self._names.graph
        flat = self.parameters.astype(np.float64)
        weight, bias = np.empty(self.n_edges), np.zeros(self.n_nodes)
        weight[plan.in_edge] = flat[: self.n_edges]
        bias[plan.node[plan.n_inputs :]] = flat[self.n_edges :]
        nx_graph = draw(graph) if self._nx_graph is None else self._nx_graph
        copy = write_networkx(nx_graph, graph, weight, bias)
        for i in plan.node[plan.n_inputs :].tolist():
            name = graph.activation_names[graph.activation[i]]
            copy.nodes[graph.labels[i]]["activation"] = name
        return copy

    def summary(self, batch_size: int = 64) -> str:
        """Return a table of what the network is, what a training step takes, and what will run.

        Parameters
        ----------
        batch_size : int
            Of the training step whose memory and threads are told; default: that of `fit`.
        """
        check_whole("batch_size", batch_size, 1)
        kept = self._nx_graph is not None
        graph_bytes = kept * (
            NETWORKX_NODE_BYTES * self.n_nodes + NETWORKX_EDGE_BYTES * self.n_edges
        )
        facts = self._engine, self._names.graph, self.n_threads, int(batch_size)
        return summarise(*facts, graph_bytes)

    def __repr__(self) -> str:
        return describe(self._engine, self._names.graph)

    def _repr_html_(self) -> str:
        """Return what notebooks show: a small picture and the summary."""
        from dagbp.plotting._inline import page

        return page(self)

    def release(self) -> None:
        """Give back the work buffers, which stay from call to call; the next one makes new ones.

        The state of the last run goes too: it cannot be resumed any more.
        """
        with self._turn as engine:
            engine.release()
            if not self._turn.training:
                self._training = None

    def __getstate__(self) -> dict[str, Any]:
        """Keep what was drawn and learnt; plan, buffers and addresses belong to a process."""
        from dagbp._model.snapshot import keep

        return {"saved": keep(self, training=True)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from dagbp._model.snapshot import bring_back

        bring_back(self, state["saved"])

    # --- inside ---

    def _reader(self, loss: str | losses.Loss) -> Callable[[Any, Any, Any], Problem]:
        """Return what turns X, Y and weights into a problem of this loss."""
        return lambda X, Y, weight: read_problem(self._names, self.dtype, X, Y, loss, weight)

    def _validation(self, data: tuple[Any, ...] | None, loss: str | losses.Loss) -> Problem | None:
        return read_validation(data, self._reader(loss))

    def _regularisation(
        self,
        penalties: "Sequence[Penalty]",
        max_norm: float | Mapping[Hashable, float] | None,
        dropout: float | Mapping[Hashable, float],
        input_dropout: float,
    ) -> "Regularisation":
        from dagbp._training.regularisation import regularisation

        given = penalties, max_norm, dropout, input_dropout
        return regularisation(self._names, self._engine, *given)

    def _train(
        self, source: "Source", validation: Problem | None, options: "Options", drop_seed: int
    ) -> "History":
        """Run the source; callbacks may use the network between its steps."""
        from dagbp._training.run import Run

        with self._turn.for_a_run() as engine:
            return Run(self, engine, source, validation, options, drop_seed).go()

    def _solve(
        self,
        solver: "optimizers.Solver",
        problem: Problem,
        validation: Problem | None,
        options: "Options",
    ) -> "History":
        from dagbp._training.scipy_solvers import solve

        with self._turn.for_a_run() as engine:
            return solve(self, engine, solver, problem, validation, options)

    def _last_run(self) -> "TrainingState | None":
        return self._training() if callable(self._training) else self._training

    def _assign(self, place: int, value: Any) -> Any:
        """Set one parameter; return it in the network's precision."""
        with self._turn:
            flat = self._engine.parameters.copy()
        flat[place] = arrays.vector([value], 1, self.dtype, "the value")[0]
        self.parameters = flat
        return flat[place]

    def _of_computed(self, values: Array) -> NodeValues:
        """Return values of the computed nodes by name; of all rows, the inputs' are left out."""
        first = self._engine.plan.n_inputs
        if len(values) != self._engine.n_computed:
            values = values[first:]
        return NodeValues(self._names, values, first)

    def _label_of_row(self, row: int) -> Hashable:
        return self._names.graph.labels[int(self._engine.plan.node[row])]
