"""What kernels receive: tuples of arrays, so that no topology, option or size is compiled in.

Tuples of arrays hit Numba's disk cache, where closures and compiled classes never do.
n nodes, m computed nodes (not inputs), E edges, P >= E + m parameters (padded), T threads.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


class Net(NamedTuple):
    """The wiring by rows, the parameters, and the functions of the nodes.

    `values` holds weights in CSC (out-edge) order, then the biases of the computed nodes, then
    padding: the order in which gradients are accumulated and parameters updated. `w_in` is the
    copy of the weights in CSR (in-edge) order that the forward pass reads.
    """

    n_inputs: int
    in_ptr: Array  # (n+1,) int64
    in_src: Array  # (E,) int32: rows of sources, by target
    in_slot: Array  # (E,) int64: CSR slot -> CSC slot
    out_ptr: Array  # (n+1,) int64
    out_dst: Array  # (E,) int32: rows of targets, by source
    outputs: Array  # (n_outputs,) int64: rows
    output_slot: Array  # (n,) int64: position among the outputs, or -1
    forward_rows: Array  # (n,) uintp: addresses
    backward_rows: Array  # (n,) uintp
    values: Array  # (P,)
    w_in: Array  # (E,)


class Data(NamedTuple):
    """Samples in rows. Of `targets` and `labels` one is empty; an empty `weight` means ones."""

    features: Array  # (N, n_inputs)
    targets: Array  # (N, n_outputs) or (0, 0)
    labels: Array  # (N,) int64 or (0,)
    weight: Array  # (N,) float64 or (0,)
    order: Array  # (N,) int64, or (0,) for 0, 1, 2, ...


class Loss(NamedTuple):
    """A loss's row function and its hyper-parameters."""

    address: int
    hyper: Array  # float64


class Work(NamedTuple):
    """Buffers of every thread: tiles of records (see `vector.tile_dtype`), and gradients."""

    x: Array  # (T, n) tile: activations
    d: Array  # (T, n) tile: signals on the way forward, deltas on the way back
    out: Array  # (T, n_outputs) tile: activations of the outputs, in their order
    y: Array  # (T, n_outputs) tile: targets
    e: Array  # (T, n_outputs) tile: de/dx of the outputs
    row: Array  # (T, 3) tile: one row each of scratch, loss, sample weight
    gradient: Array  # (T, P)
    loss: Array  # (T, 8) float64: [:, 0] the summed loss; padded to a cache line


class Update(NamedTuple):
    """The optimizer: a row function, its hyper-parameters, and its state for each parameter."""

    address: int
    hyper: Array  # float64
    state: Array  # (slots, P)
    runs: Array  # (R, 2) int64: stretches of `values` that train
    clip: Array  # (2,) float64: the largest global norm and the largest magnitude


class Clock(NamedTuple):
    """Where training stands; arrays, so that it survives an interrupt between two steps.

    `count`: int64, see the indices below. `random`: (1,) uint64. `epoch_loss`: (epochs,) float64.
    `barrier`: (64,) int64, element 0 counts arrivals, element 32 is the abort flag.
    """

    count: Array
    random: Array
    epoch_loss: Array
    barrier: Array
    yield_address: int


# Indices into Clock.count.
EPOCH, STEP, UPDATES, LAST_EPOCH, BATCH_SIZE, SHUFFLE, STATUS, COUNTS = range(8)
# Values of Clock.count[STATUS].
RUNNING, FINISHED, ABORTED, DIVERGED = range(4)
# Indices into Clock.barrier, a cache line apart and more.
ARRIVALS, ABORT, BARRIER_SIZE = 0, 32, 64
