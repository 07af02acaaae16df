"""Inputs and outputs: the nodes that hold the features and the nodes that are read out."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

import numpy as np

from dagbp._errors import GraphError
from dagbp._graph.arrays import Int32, Int64, listed, mask

Find = Callable[[Any], int | None]


def read_ports(
    labels: Sequence[Hashable],
    find: Find,
    src: Int32,
    dst: Int32,
    inputs: Iterable[Any] | None,
    outputs: Iterable[Any] | None,
) -> tuple[Int64, Int64]:
    """Return the indices of inputs and outputs. find: a label's index, None if no node has it."""
    n = len(labels)
    if inputs is None:
        chosen = np.flatnonzero(np.bincount(dst, minlength=n) == 0)
    else:
        chosen = _look_up("inputs", inputs, labels, find)
        _refuse_predecessors(labels, src, dst, chosen)
    if outputs is not None:
        read_out = _look_up("outputs", outputs, labels, find)
        if not len(read_out):
            raise GraphError("outputs is empty; name at least one node")
        return chosen, read_out
    read_out = np.flatnonzero((np.bincount(src, minlength=n) == 0) & ~mask(n, chosen))
    if not len(read_out) and len(chosen) == n:
        raise GraphError("every node is an input, which leaves no output; name the outputs")
    if not len(read_out):  # every node has an out-edge: a cycle, which the plan finds
        read_out = np.flatnonzero(~mask(n, chosen))
    return chosen, read_out


def _look_up(argument: str, chosen: Any, labels: Sequence[Hashable], find: Find) -> Int64:
    """Return the index of each chosen node; raise GraphError for unknown or repeated nodes."""
    found: dict[int, None] = {}
    for label in _as_list(argument, chosen, find):
        i = _find(find, label)
        if i is None:
            hint = _nearest(label, labels)
            raise GraphError(f"{argument} names {label!r}, which is no node of the graph{hint}")
        if i in found:
            raise GraphError(f"{argument} names node {label!r} twice")
        found[i] = None
    return np.array(list(found), np.int64)


def _as_list(argument: str, chosen: Any, find: Find) -> list[Any]:
    """Return the chosen nodes; raise GraphError if a single node came in place of several."""
    if isinstance(chosen, set | frozenset):
        raise GraphError(f"{argument} is a set, which has no order; give the nodes in column order")
    if isinstance(chosen, str | bytes) or not isinstance(chosen, Iterable):
        raise GraphError(
            f"{argument} is {chosen!r}; it must be an iterable of nodes, such as [{chosen!r}]"
        )
    members = list(chosen)
    if _find(find, chosen) is not None and any(_find(find, label) is None for label in members):
        raise GraphError(
            f"{argument} is {chosen!r}, itself one node; it must be an iterable of nodes: "
            f"[{chosen!r}]"
        )
    return members


def _find(find: Find, label: Any) -> int | None:
    try:
        return find(label)
    except TypeError:  # not hashable, so no node
        return None


def _refuse_predecessors(labels: Sequence[Hashable], src: Int32, dst: Int32, inputs: Int64) -> None:
    fed = mask(len(labels), inputs)[dst]
    if fed.any():
        edge = np.argmax(fed)
        raise GraphError(
            f"input {labels[dst[edge]]!r} has the predecessor {labels[src[edge]]!r}; an input's "
            "value is its feature, so no edge may lead to it"
        )


def _nearest(label: Any, labels: Sequence[Hashable]) -> str:
    """Return the end of an error text: the node most similar to `label`, else a few nodes."""
    by_text = {str(known): known for known in islice(labels, 1000)}
    near = get_close_matches(str(label), list(by_text), n=1)
    if near:
        return f"; did you mean {by_text[near[0]]!r}?"
    return f"; its nodes: {listed(labels, 5)}"
