"""A compiled network: a plan and its parameters, seen by the names in the user's graph."""

import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from dagbp import _data, activations, losses, optimizers
from dagbp._drawing import Drawing, plan_drawing
from dagbp._edge_arrays import read_edges
from dagbp._engine import NO_LOSS, Engine
from dagbp._errors import DataError, OptionError, UnreachableWarning, did_you_mean
from dagbp._forking import ForkSafeLock
from dagbp._graph import draw, read_networkx, write_networkx
from dagbp._initialise import check_representable, draw_weights, real_dtype
from dagbp._kernels.records import Loss as LossRow
from dagbp._numbers import is_number
from dagbp._plan import Plan
from dagbp._schedule import WAYS
from dagbp._summary import describe, summarise
from dagbp._team import available_cores
from dagbp._views import Backprop, EdgeValues, Forward, Names, NodeValues

if TYPE_CHECKING:
    import networkx as nx

    from dagbp._profile import Profile
    from dagbp._training import History

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
        drawing: Drawing,
        *,
        dtype: npt.DTypeLike,
        seed: Any,
        init: str,
        n_threads: int | None,
        dense_above: float | None = None,
        schedule: str = "auto",
        graph: "nx.DiGraph[Any] | None" = None,
    ) -> None:
        real = real_dtype(dtype)
        if dense_above is not None and not (is_number(dense_above) and dense_above > 0):
            raise OptionError(f"dense_above must be a number > 0, or None, got {dense_above!r}")
        if schedule not in WAYS:
            raise OptionError(f"schedule is {schedule!r}{did_you_mean(schedule, WAYS)}")
        self.n_threads = n_threads
        plan = plan_drawing(drawing, stacklevel=4)
        self._dense_above, self._ways = dense_above, schedule
        self._build(drawing, plan, graph, real)
        check_representable(drawing, real)
        weights = draw_weights(drawing, plan, init, seed, real)
        bias = drawing.bias[plan.node[plan.n_inputs :]].astype(real)
        self.parameters = np.concatenate([weights, bias])

    def _build(
        self,
        drawing: Drawing,
        plan: Plan,
        graph: "nx.DiGraph[Any] | None",
        dtype: np.dtype[Any],
    ) -> None:
        """Set up all but the parameters."""
        self._names, self._graph = Names(drawing, plan), graph
        self._lock = ForkSafeLock()
        self._inputs = tuple(drawing.labels[i] for i in drawing.inputs)
        self._outputs = tuple(drawing.labels[i] for i in drawing.outputs)
        rows = plan.row[drawing.inputs]
        self._columns = None if (np.diff(rows) > 0).all() else np.argsort(rows)
        computed = plan.node[plan.n_inputs :]
        trained = drawing.edge_trainable[plan.in_edge], drawing.bias_trainable[computed]
        self._engine = Engine(
            plan,
            drawing.activation_names,
            drawing.activation[plan.node],
            np.concatenate(trained),
            dtype,
            self._dense_above,
            self._ways,
        )
        self._has_bias = drawing.has_bias[computed]

    @contextmanager
    def _alone(self) -> Iterator[Engine]:
        """Give the engine to one caller at a time: its buffers and parameters are shared.

        Other threads wait. The thread that has it may not come again, as a signal handler would.
        """
        with self._lock:
            if self._lock.busy:
                raise OptionError(
                    "the network is at work in this thread already; a signal handler must not use "
                    "it, but can set a flag for later"
                )
            self._lock.busy = True
            try:
                yield self._engine
            finally:
                self._lock.busy = False

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
        drawing = read_edges(
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
            drawing,
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
        return list(self._inputs)

    @property
    def outputs(self) -> list[Hashable]:
        """Labels of the outputs, in the order of Y's columns."""
        return list(self._outputs)

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
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and not (whole and 1 <= value <= cores):
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
        order. `weights` and `biases` tell them by name. An absent bias is a zero that stays zero.
        Assign a new array to set them.
        """
        with self._alone() as engine:
            flat = engine.parameters()
        flat.flags.writeable = False
        return flat

    @parameters.setter
    def parameters(self, values: npt.ArrayLike) -> None:
        size = self.n_edges + self._engine.n_computed
        flat = _data.vector(values, size, self.dtype, "parameters")
        absent = np.flatnonzero(~self._has_bias & (flat[self.n_edges :] != 0))
        if len(absent):
            node = self._label_of_row(self._engine.plan.n_inputs + int(absent[0]))
            raise DataError(
                f"node {node!r} has no bias, so its parameter must be 0, got "
                f"{flat[self.n_edges + absent[0]]}"
            )
        with self._alone() as engine:
            engine.set_parameters(flat)

    @property
    def weights(self) -> EdgeValues:
        """The weights now, by edge: ``net.weights["a", "b"]``."""
        return EdgeValues(self._names, self.parameters[: self.n_edges])

    @property
    def biases(self) -> NodeValues:
        """The biases now, by computed node."""
        return self._of_computed(self.parameters[self.n_edges :])

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
            Columns in the order of `outputs`.

        Raises
        ------
        DataError
            If X does not fit the inputs, or is not finite.
        """
        features = self._features(X)
        with self._alone() as engine:
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
        features = self._features(X)
        with self._alone() as engine:
            record = engine.inspect(features, None, NO_LOSS)
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
        problem = self._problem(X, Y, loss, sample_weight)
        with self._alone() as engine:
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
        problem = self._problem(X, Y, loss, sample_weight)
        with self._alone() as engine:
            value, gradient = engine.differentiate(problem, self.n_threads)
        if not self._engine.all_train:
            gradient[~self._engine.trained] = 0
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
        problem = self._problem(X, Y, loss, sample_weight)
        with self._alone() as engine:
            return engine.evaluate(problem, self.n_threads)

    def fit(
        self,
        X: Any,
        Y: Any,
        *,
        loss: str | losses.Loss = "squared_error",
        optimizer: str | optimizers.Optimizer = "adam",
        learning_rate: float | None = None,
        epochs: int = 10,
        batch_size: int = 64,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: npt.ArrayLike | None = None,
        seed: int | None = None,
        verbose: int = 1,
    ) -> "History":
        """Train on minibatches, whole epochs inside compiled code.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n_samples, n_inputs)
        Y : array_like or DataFrame, shape (n_samples, n_outputs), or class labels (n_samples,)
            Label k stands for the k-th of `outputs`.
        loss : str or Loss
            A name out of `dagbp.losses.names()`.
        optimizer : str or Optimizer
            A name out of `dagbp.optimizers.names()`, or a record such as ``Adam(beta1=0.8)``.
            Its state starts anew with every call.
        learning_rate : float, optional
            In place of the optimizer's.
        epochs : int
            Passes over the samples.
        batch_size : int
            Samples of a step; the last batch of an epoch may be smaller.
        shuffle : bool
            Draw a new order of the samples for each epoch.
        validation_data : tuple (X, Y) or (X, Y, sample_weight), optional
            Evaluated after each epoch.
        sample_weight : array_like, shape (n_samples,), optional
            Scaled to a mean of 1 over all samples.
        seed : int, optional
            Of the shuffling. The same seed on the same number of threads gives the same bits.
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
        from dagbp._training import Options, fit

        options = Options(
            optimizer=optimizers.get(optimizer, learning_rate),
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            verbose=verbose,
        )
        problem = self._problem(X, Y, loss, sample_weight)
        validation = None
        if validation_data is not None:
            validation = self._validation(validation_data, loss)
        with self._alone() as engine:
            return fit(engine, problem, validation, options, self.n_threads)

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
        >>> max(profile.parts, key=lambda part: part.seconds).seconds < profile.seconds * 2
        True
        """
        from dagbp._profile import take_profile
        from dagbp._training import start

        chosen = optimizers.get(optimizer)
        problem = self._problem(X, Y, loss, sample_weight)
        if len(problem.features) == 0:
            raise DataError("X has no samples; a profile needs some")
        with self._alone() as engine:
            return take_profile(engine, problem, start(engine, chosen), self.n_threads)

    # --- out of it ---

    def to_networkx(self) -> "nx.DiGraph[Any]":
        """Return the graph with the same labels, order and attributes, and today's parameters.

        Weights stand on the edges as ``weight``; on the computed nodes their ``activation``, and
        ``bias`` where they have one. Inputs and outputs that are not the default ones are to be
        named again when that graph is compiled: ``inputs=net.inputs, outputs=net.outputs``.
        """
        plan, drawing = self._engine.plan, self._names.drawing
        flat = self.parameters.astype(np.float64)
        weight, bias = np.empty(self.n_edges), np.zeros(self.n_nodes)
        weight[plan.in_edge] = flat[: self.n_edges]
        bias[plan.node[plan.n_inputs :]] = flat[self.n_edges :]
        graph = draw(drawing) if self._graph is None else self._graph
        copy = write_networkx(graph, drawing, weight, bias)
        for i in plan.node[plan.n_inputs :].tolist():
            name = drawing.activation_names[drawing.activation[i]]
            copy.nodes[drawing.labels[i]]["activation"] = name
        return copy

    def summary(self, batch_size: int = 64) -> str:
        """Return a table of what the network is, what a training step takes, and what will run.

        Parameters
        ----------
        batch_size : int
            Of the training step whose memory and threads are told; default: that of `fit`.
        """
        whole = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
        if not whole or batch_size < 1:
            raise OptionError(f"batch_size must be a whole number >= 1, got {batch_size!r}")
        return summarise(self._engine, self._names.drawing, self.n_threads, int(batch_size))

    def __repr__(self) -> str:
        return describe(self._engine, self._names.drawing)

    def release(self) -> None:
        """Give back the work buffers, which stay from call to call; the next one makes new ones."""
        with self._alone() as engine:
            engine.release()

    def __getstate__(self) -> dict[str, Any]:
        """Keep what was drawn and learnt; plan, buffers and addresses belong to a process."""
        return {
            "drawing": self._names.drawing,
            "graph": self._graph,
            "parameters": self.parameters,
            "dtype": self.dtype,
            "n_threads": self.n_threads,
            "dense_above": self._dense_above,
            "schedule": self._ways,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        drawing = state["drawing"]
        limit = state["n_threads"]  # of the machine it was made on
        self.n_threads = None if limit is None else min(limit, available_cores())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnreachableWarning)  # given when it was compiled
            plan = plan_drawing(drawing)
        self._dense_above, self._ways = state["dense_above"], state["schedule"]
        self._build(drawing, plan, state["graph"], state["dtype"])
        self.parameters = state["parameters"]

    # --- inside ---

    def _features(self, X: Any) -> Array:
        """Return X, checked, its columns in the order of the rows."""
        features = _data.features(X, self._inputs, self.dtype)
        return features if self._columns is None else features.take(self._columns, axis=1)

    def _problem(
        self, X: Any, Y: Any, loss: str | losses.Loss, weight: npt.ArrayLike | None
    ) -> _data.Problem:
        """Return X, Y, the loss and the weights, checked, as the engine takes them."""
        chosen = losses.get(loss)
        self._check_loss_fits(chosen)
        features = self._features(X)
        targets = _data.targets(Y, self._outputs, len(features), chosen, self.dtype)
        weights = _data.sample_weight(weight, len(features))
        hyper = np.array(chosen.hyper, np.float64)
        row = LossRow(chosen.address(self.dtype), hyper)
        return _data.Problem(features, targets, row, weights)

    def _validation(self, data: tuple[Any, ...], loss: str | losses.Loss) -> _data.Problem:
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise OptionError(
                "validation_data must be a tuple (X, Y) or (X, Y, sample_weight), got "
                f"{type(data).__name__} of length {len(data) if hasattr(data, '__len__') else '?'}"
            )
        return self._problem(data[0], data[1], loss, data[2] if len(data) == 3 else None)

    def _check_loss_fits(self, loss: losses.Loss) -> None:
        """Refuse an entropy of sigmoids, which it applies itself, and a softmax over one output."""
        if loss.labels == "no":
            return
        if loss.labels == "classes" and len(self._outputs) < 2:
            raise DataError(
                f"loss {loss.name!r} needs at least 2 outputs, one for each class, and the network "
                "has 1; use 'binary_cross_entropy'"
            )
        drawing = self._names.drawing
        for node in drawing.outputs:
            name = drawing.activation_names[drawing.activation[node]]
            if name in ("sigmoid", "hard_sigmoid"):
                raise DataError(
                    f"loss {loss.name!r} takes raw outputs and applies the sigmoid or softmax "
                    f"itself, but output {drawing.labels[node]!r} has activation {name!r}; give it "
                    "'identity'"
                )

    def _of_computed(self, values: Array) -> NodeValues:
        """Return values of the computed nodes by name; of all rows, the inputs' are left out."""
        first = self._engine.plan.n_inputs
        if len(values) != self._engine.n_computed:
            values = values[first:]
        return NodeValues(self._names, values, first)

    def _label_of_row(self, row: int) -> Hashable:
        return self._names.drawing.labels[int(self._engine.plan.node[row])]


def compile(
    G: "nx.DiGraph[Any]",
    inputs: Any = None,
    outputs: Any = None,
    *,
    activation: str = "tanh",
    output_activation: str = "identity",
    dtype: npt.DTypeLike = "float32",
    seed: Any = None,
    init: str = "auto",
    n_threads: int | None = None,
    dense_above: float | None = None,
    schedule: Literal["auto", "tiles", "levels"] = "auto",
) -> Network:
    """Compile a directed acyclic graph of neurons.

    Parameters
    ----------
    G : networkx.DiGraph
        Nodes are neurons, edges weights. Node attributes: ``activation``, a name; ``bias``, its
        initial value, or None for no bias (default: trained from 0); ``trainable``, False to fix
        the bias. Edge attributes: ``weight``, its initial value (default: drawn by `init`);
        ``trainable``, False to fix it. Others are kept for `Network.to_networkx`.
    inputs, outputs : iterable of nodes, optional
        In the order of the columns of X and Y. Default: the nodes without in-edges, and those
        without out-edges, in graph order. An output may feed other nodes. A node without in-edges
        that is no input is the constant theta(bias).
    activation, output_activation : str
        Of nodes without that attribute.
    dtype : {"float32", "float64"}
    seed : int or numpy.random.Generator, optional
        Of the initial weights.
    init : {"auto", "glorot", "he", "lecun", "zeros"}
        Their distribution, scaled by in-degree; "auto" suits it to each target's activation.
    n_threads : int, optional
        Most threads to use; default: as many cores as the work keeps busy.
    dense_above : float, optional
        Blocks of edges fuller than this run as dense, their absent edges held at exactly zero:
        results differ in their rounding alone. 1 for full ones only; default: where it is faster,
        see `summary`.
    schedule : {"auto", "tiles", "levels"}
        How threads share a batch: "tiles", each takes samples of its own; "levels", together
        through each level of the net, with the same bits on any number of threads; "auto", the
        faster way, but "levels" where it costs less than 5 %.

    Returns
    -------
    Network

    Raises
    ------
    GraphError
        If the graph is no DiGraph, is empty, or has a self-loop or a cycle, or an attribute does
        not fit; it names the node or edge.
    OptionError
        If another argument has a value that does not exist.

    Warns
    -----
    UnreachableWarning
        If no input reaches some output.

    Examples
    --------
    >>> import networkx as nx
    >>> import dagbp
    >>> G = nx.DiGraph([("a", "h"), ("b", "h"), ("h", "y"), ("a", "y")])
    >>> net = dagbp.compile(G, activation="relu", seed=0)
    >>> net.inputs, net.outputs
    (['a', 'b'], ['y'])
    >>> net.predict([[1.0, -1.0], [0.5, 2.0]]).shape
    (2, 1)
    """
    drawing = read_networkx(
        G,
        inputs,
        outputs,
        known=activations.names(),
        activation=activation,
        output_activation=output_activation,
    )
    # A copy: what `to_networkx` gives back must not change with the graph that was read.
    return Network(
        drawing,
        dtype=dtype,
        seed=seed,
        init=init,
        n_threads=n_threads,
        dense_above=dense_above,
        schedule=schedule,
        graph=G.copy(),
    )
