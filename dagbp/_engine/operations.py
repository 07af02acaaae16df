"""The table of operations: one row for each call that the engine makes into compiled code.

A row drives everything around its call: which kernels are compiled and packed into the network's
frame, which buffers the threads need, and which arrays hold the results. CONTRIBUTING.md
says what a new row needs, in "An operation". The path of one sample without tiles is
`single_sample`.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dagbp._kernels.frames import ADD, FORWARD_ONLY, STORE
from dagbp._kernels.passes import entry_points
from dagbp._kernels.passes.tile_group import (
    load_and_forward,
    loss_and_backward,
    store_all,
    store_outputs,
)
from dagbp._kernels.signatures import CKernel


class Operation(NamedTuple):
    """One call into compiled code."""

    entry: CKernel  # the entry point; every thread calls it
    group: tuple[CKernel, ...]  # the functions that it calls, the slowest to compile first
    back: int | None = (
        None  # the last argument of the entry point, if it has one: FORWARD_ONLY, ADD, STORE
    )
    gradient: bool = False  # whether each team needs room for a gradient
    signals: bool = False  # whether every node's signal is stored
    results: tuple[str, ...] = ()  # the fields of ResultFrame that it fills
    by_node: bool = False  # whether results are (n_nodes, n_samples), else (n_samples, n_outputs)

    def new_results(
        self, n_nodes: int, n_samples: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return an array for each result; the entry point writes every element."""
        shape = (n_nodes, n_samples) if self.by_node else (n_samples, n_outputs)
        return {name: np.empty(shape, dtype) for name in self.results}


PREDICT = Operation(entry_points.predict, (load_and_forward, store_outputs), results=("x",))
FORWARD = Operation(
    entry_points.inspect,
    (load_and_forward, store_all),
    back=int(FORWARD_ONLY),
    signals=True,
    results=("s", "x"),
    by_node=True,
)
BACKPROP = FORWARD._replace(
    group=(loss_and_backward, load_and_forward, store_all),
    back=int(ADD),
    gradient=True,
    results=("s", "x", "delta"),
)
EVALUATE = Operation(
    entry_points.evaluate, (loss_and_backward, load_and_forward), int(FORWARD_ONLY)
)
DIFFERENTIATE = EVALUATE._replace(back=int(STORE), gradient=True)
TRAIN = Operation(entry_points.train, (loss_and_backward, load_and_forward), gradient=True)
