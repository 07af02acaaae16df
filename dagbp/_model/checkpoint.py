"""Checkpoint files: a snapshot as a tree of plain values, with its arrays apart.

`_files.values` turns values into JSON, `_files.container` writes and reads the file. A file may
have been made by anyone, so everything read from it is checked like the arguments of a user.
"""

import os
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from dagbp import activations
from dagbp._checks import is_whole
from dagbp._engine.tile_plan import STRATEGIES
from dagbp._errors import CheckpointError, DagbpError, DagbpWarning, MemoryLimitError, OptionError
from dagbp._files import container
from dagbp._files.values import Arrays, decode, encode, hashable
from dagbp._graph.arrays import GraphArrays, mask
from dagbp._graph.from_edges import read_edges
from dagbp._history import MAX_EPOCHS, CallbackState, History, TrainingState
from dagbp._layout.fill import check_dense_above
from dagbp._model.model import Model
from dagbp._model.snapshot import Snapshot, restore
from dagbp._version import __version__

Array = npt.NDArray[Any]


def write_checkpoint(snapshot: Snapshot, path: str | os.PathLike[str]) -> None:
    """Write a network to a file. See `Network.save`."""
    place = _place(path)
    arrays, G, training, history = Arrays(), snapshot.nx_graph, snapshot.training, snapshot.history
    header = {
        "dagbp": __version__,
        "network": _network_out(snapshot, arrays),
        "graph": None if G is None else _graph_out(G, snapshot.graph, arrays),
        "training": None if training is None else _training_out(training, arrays),
        "history": None if history is None else encode(asdict(history), arrays),
    }
    container.write(place, header, arrays.found)


def _place(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise OptionError(f"path must be a str or another path-like, got {path!r}") from None


def read_checkpoint(path: str | os.PathLike[str]) -> Model:
    """Return the model that a file holds. See `dagbp.load`."""
    place = _place(path)
    header, found = container.read(place)
    try:
        arrays = Arrays(found)
        snapshot = _network_in(header["network"], arrays)
        if header["graph"] is not None:
            snapshot.nx_graph = _graph_in(header["graph"], snapshot.graph, arrays)
        if header["training"] is not None:
            snapshot.training = _training_in(header["training"], snapshot, arrays)
        elif header["history"] is not None:
            snapshot.history = _history_in(decode(header["history"], arrays))
        return restore(snapshot)
    except (MemoryLimitError, _Unregistered) as error:
        raise CheckpointError(f"{place}: {error}") from error
    except (*_WRONG, DagbpError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{place} holds no valid network: {reason:.300}") from error


_WRONG = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError),
    *(OverflowError, RecursionError),
)


class _Unregistered(DagbpError):
    pass


# --- the network ----------------------------------------------------------------------------------


_GRAPH_ARRAYS = (
    *("src", "dst", "inputs", "outputs"),
    *("edge_trainable", "activation", "has_bias", "bias_trainable"),
)


def _network_out(snapshot: Snapshot, arrays: Arrays) -> dict[str, Any]:
    graph = snapshot.graph
    labels = graph.labels
    try:
        kept = None if isinstance(labels, range) else [encode(label, arrays) for label in labels]
    except TypeError as error:
        raise CheckpointError(
            f"a label cannot be saved in a file: {error}; relabel the graph with strings, numbers "
            "or tuples of these"
        ) from error
    return {
        "labels": kept,
        "activation_names": list(graph.activation_names),
        **{name: arrays.add(getattr(graph, name)) for name in _GRAPH_ARRAYS},
        "parameters": arrays.add(snapshot.parameters),
        "n_threads": None if snapshot.n_threads is None else int(snapshot.n_threads),
        "dense_above": None if snapshot.dense_above is None else float(snapshot.dense_above),
        "schedule": snapshot.schedule,
    }


def _network_in(tree: dict[str, Any], arrays: Arrays) -> Snapshot:
    names = tuple(tree["activation_names"])
    for name in names:
        if name not in activations.names():
            raise _Unregistered(
                f"a node has activation {name!r}, which is not registered; register it before "
                "loading"
            )
    code = arrays.get(tree["activation"], np.int64)
    n = len(code)
    if n and not 0 <= code.min() <= code.max() < len(names):
        raise ValueError("an activation is out of range")
    inputs = arrays.get(tree["inputs"], np.int64)
    graph = read_edges(
        arrays.get(tree["src"], np.int32),
        arrays.get(tree["dst"], np.int32),
        n,
        inputs,
        arrays.get(tree["outputs"], np.int64),
        known=activations.names(),
        trainable=arrays.get(tree["edge_trainable"], np.bool_),
        activation=[names[k] for k in code.tolist()],
    )
    has_bias = arrays.get(tree["has_bias"], np.bool_, (n,)) & ~mask(n, inputs)
    graph = replace(
        graph,
        activation_names=names,  # in their order, which rows follow
        activation=code,
        labels=_labels_in(tree["labels"], n, arrays),
        has_bias=has_bias,
        bias_trainable=arrays.get(tree["bias_trainable"], np.bool_, (n,)) & has_bias,
    )
    n_threads, dense_above, schedule = (tree[k] for k in ("n_threads", "dense_above", "schedule"))
    if schedule not in STRATEGIES or not (
        n_threads is None or (is_whole(n_threads) and n_threads > 0)
    ):
        raise ValueError(f"schedule {schedule!r} on {n_threads!r} threads")
    check_dense_above(dense_above)
    parameters = arrays.get(tree["parameters"], None, (len(graph.src) + n,))
    if parameters.dtype.kind != "f":
        raise ValueError(f"parameters must be real, got dtype {parameters.dtype}")
    return Snapshot(graph, None, parameters, n_threads, dense_above, schedule, None)


def _labels_in(kept: Any, n: int, arrays: Arrays) -> Sequence[Hashable]:
    if kept is None:
        return range(n)
    labels = hashable(decode(label, arrays) for label in kept)
    if len(labels) != n or len(set(labels)) != n:
        raise ValueError(
            f"{len(labels)} labels, {len(set(labels))} of them different, of {n} nodes"
        )
    return labels


# --- attributes of the graph ----------------------------------------------------------------------


def _graph_out(G: "nx.DiGraph[Any]", graph: GraphArrays, arrays: Arrays) -> dict[str, Any]:
    lost: dict[str, None] = {}

    def kept(attributes: dict[Any, Any]) -> list[Any]:
        pairs = []
        for key, value in attributes.items():
            try:
                pairs.append([encode(key, arrays), encode(value, arrays)])
            except TypeError:
                lost[repr(key)] = None
        return pairs

    labels = graph.labels
    ends = zip(graph.src.tolist(), graph.dst.tolist(), strict=True)
    nodes = [[i, kept(G.nodes[label])] for i, label in enumerate(labels) if G.nodes[label]]
    edges = [
        [k, kept(G.edges[labels[i], labels[j]])]
        for k, (i, j) in enumerate(ends)
        if G.edges[labels[i], labels[j]]
    ]
    tree = {"graph": kept(G.graph), "nodes": nodes, "edges": edges}
    if lost:
        warnings.warn(
            f"the attributes {', '.join(lost)} of the graph have values that no file "
            "can hold; they are left out",
            DagbpWarning,
            stacklevel=4,
        )
    return tree


def _graph_in(tree: dict[str, Any], graph: GraphArrays, arrays: Arrays) -> "nx.DiGraph[Any]":
    def attributes(pairs: Any) -> Any:
        return decode({"dict": pairs}, arrays)

    labels, src, dst = graph.labels, graph.src, graph.dst
    G: nx.DiGraph[Any] = nx.DiGraph()
    G.graph.update(attributes(tree["graph"]))
    G.add_nodes_from(labels)
    G.add_edges_from(
        (labels[i], labels[j]) for i, j in zip(src.tolist(), dst.tolist(), strict=True)
    )
    for i, pairs in tree["nodes"]:
        G.nodes[labels[i]].update(attributes(pairs))
    for k, pairs in tree["edges"]:
        G.edges[labels[src[k]], labels[dst[k]]].update(attributes(pairs))
    return G


# --- the state of a training run ------------------------------------------------------------------

_WHOLE = ("epoch", "step", "n_updates", "optimizer_steps", "random", "drop_seed")
_REAL = ("epoch_loss", "epoch_weight", "learning_rate", "step_loss", "rate")


def _training_out(state: TrainingState, arrays: Arrays) -> dict[str, Any]:
    tree = {field.name: getattr(state, field.name) for field in fields(state)}
    tree["history"] = asdict(state.history)
    tree["moments"] = arrays.add(state.moments)
    tree["parameters"] = None if state.parameters is None else arrays.add(state.parameters)
    tree["callbacks"] = []
    for one in state.callbacks:
        try:
            content = encode(one.content, arrays)
        except TypeError as error:
            raise CheckpointError(
                f"the state of {one.class_name} cannot be saved: {error}"
            ) from error
        tree["callbacks"].append([one.class_name, content, one.epochs, one.updates])
    plain = {name: encode(tree[name], arrays) for name in ("history", *_REAL)}
    return {**tree, **plain}


def _training_in(tree: dict[str, Any], snapshot: Snapshot, arrays: Arrays) -> TrainingState:
    for name in _WHOLE:
        bits = 64 if name in ("random", "drop_seed") else 62
        if not is_whole(tree[name]) or not 0 <= tree[name] < 2**bits:
            raise ValueError(f"{name} must be a whole number >= 0, got {tree[name]!r}")
    history = _history_in(decode(tree["history"], arrays))
    if tree["n_updates"] > tree["optimizer_steps"] or tree["epoch"] > MAX_EPOCHS:
        raise ValueError(f"{tree['n_updates']} updates in {tree['epoch']} epochs")
    if len(history.loss) not in (tree["epoch"], tree["epoch"] - 1):
        raise ValueError(f"{len(history.loss)} losses of {tree['epoch']} epochs")
    size = len(snapshot.parameters)
    moments = arrays.get(tree["moments"], snapshot.parameters.dtype)
    if moments.ndim != 2 or moments.shape[1] != size or len(moments) > 8:
        raise ValueError(f"an optimizer's state of shape {moments.shape}")
    parameters = None
    if tree["parameters"] is not None:
        parameters = arrays.get(tree["parameters"], snapshot.parameters.dtype, (size,))
    return TrainingState(
        config={str(key): str(value) for key, value in tree["config"].items()},
        history=history,
        **{name: tree[name] for name in _WHOLE},
        **{name: float(decode(tree[name], arrays)) for name in _REAL},  # type: ignore[arg-type]
        moments=moments,
        callbacks=[_callback_in(*one, arrays=arrays) for one in tree["callbacks"]],
        stopped=_text_or_none(tree["stopped"]),
        stopped_by=_text_or_none(tree["stopped_by"]),
        parameters=parameters,
    )


def _callback_in(
    kind: Any, content: Any, epochs: Any, updates: Any, *, arrays: Arrays
) -> CallbackState:
    if not (is_whole(epochs) and is_whole(updates)):
        raise ValueError(f"a callback that was called for epoch {epochs!r}, update {updates!r}")
    return CallbackState(str(kind), dict(decode(content, arrays)), epochs, updates)


def _history_in(tree: dict[str, Any]) -> History:
    return History(
        loss=[float(value) for value in tree["loss"]],
        val_loss=[float(value) for value in tree["val_loss"]],
        n_updates=int(tree["n_updates"]),
        seconds=float(tree["seconds"]),
        stopped=_text_or_none(tree["stopped"]),
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
