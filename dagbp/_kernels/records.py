"""What kernels receive: frames of addresses and sizes, so that nothing about a net is compiled in.

Each record here has two lives under the same field names. In Python its fields are NumPy arrays
and numbers, and `pack` turns it into a frame, a uint64 array with an address or a number a field.
In a kernel, `open_*` turns the frame back into the record, its fields now C pointers. Frames keep
every signature to a few small arrays, quick to call and to compile.
The caller keeps the arrays alive.

n nodes, E edges, P >= E + (n - n_inputs) parameters (padded), N samples, T threads.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dagbp._kernels.vector import Tile


class Net(NamedTuple):
    """The wiring by rows, the parameters, and the functions of the nodes.

    `values` holds weights in CSC (out-edge) order, then the biases of the computed nodes, then
    padding: the order in which gradients are accumulated and parameters updated. `flat` is the
    copy of both, the weights in CSR (in-edge) order, that the forward pass and the user read.
    """

    n_nodes: Any
    n_inputs: Any
    n_edges: Any
    n_outputs: Any
    n_values: Any  # P
    in_ptr: Any  # (n+1,) int64
    in_src: Any  # (E,) int32: rows of sources, by target
    in_slot: Any  # (E,) int64: CSR slot -> CSC slot
    out_ptr: Any  # (n+1,) int64
    out_dst: Any  # (E,) int32: rows of targets, by source
    out_slot: Any  # (E,) int64: CSC slot -> CSR slot
    outputs: Any  # (n_outputs,) int64: rows
    output_slot: Any  # (n,) int64: position among the outputs, or -1
    theta: Any  # (n,) uint64: address of the activation's row function
    d_theta: Any  # (n,) uint64: address of its derivative's
    panel_sums: Any  # addresses of the functions in `dense`, 0 where there is no panel
    outer_products: Any
    transpose_row: Any
    copy_panel: Any
    read: Any  # address of `parts.read`
    learn: Any  # address of `parts.learn`
    values: Any  # (P,)
    flat: Any  # (E + n - n_inputs,)
    in_panel: Any  # (n,) int64: where a dense panel's program starts in in_runs, 0 for none
    in_runs: Any  # int64, see `sparse`
    out_panel: Any  # (n,) int64, at the panel's last row
    out_runs: Any  # int64
    column: Any  # (n,) int64: whether the row is in some out-panel's run
    stride: Any  # nodes in a row of Work.transposed


class Data(NamedTuple):
    """Samples in rows; None for what is not given, a null pointer in a kernel."""

    n_samples: Any
    n_inputs: Any
    n_outputs: Any
    features: Any  # (N, n_inputs)
    targets: Any  # (N, n_outputs), or None
    has_labels: Any
    labels: Any  # (N,) int64 in place of targets, or None
    has_weight: Any
    weight: Any  # (N,) float64, or None for ones
    has_order: Any
    order: Any  # (N,) int64, or None for 0, 1, 2, ...


class Loss(NamedTuple):
    """A loss's row function and its hyper-parameters."""

    address: Any
    hyper: Any  # float64


class Work(NamedTuple):
    """One thread's buffers. Rows are tile rows, one sample a lane."""

    x: Any  # (n,) rows: activations
    d: Any  # (n,) rows: signals on the way forward, deltas on the way back
    out: Any  # (n_outputs,) rows: activations of the outputs, in their order
    y: Any  # (n_outputs,) rows: targets
    e: Any  # (n_outputs,) rows: de/dx of the outputs
    row: Any  # (2,) rows: loss and weight of each sample
    scratch: Any  # (PANEL_ROWS,) rows
    transposed: Any  # (lanes, stride): deltas by sample, where there are dense panels
    gradient: Any  # (P,)
    loss: Any  # (8,) float64: the summed loss, the gradient's squares, ...
    gradients: Any  # (T, P): those of all threads
    losses: Any  # (T, 8)


class Update(NamedTuple):
    """The optimizer: a row function, its hyper-parameters, and its state for each parameter."""

    address: Any
    hyper: Any  # float64
    state: Any  # (slots, P)
    n_runs: Any
    runs: Any  # (n_runs, 2) int64: stretches of `values` that train
    clip: Any  # (2,) float64: the largest global norm and the largest magnitude


class Clock(NamedTuple):
    """Where training stands; in arrays, so that it survives an interrupt between two steps."""

    count: Any  # int64, see the indices below
    random: Any  # (1,) uint64
    epoch_loss: Any  # (epochs,) float64
    barrier: Any  # (64,) int64: arrivals, and the abort flag a few cache lines on
    yield_address: Any


# Indices into Clock.count.
EPOCH, STEP, UPDATES, LAST_EPOCH, BATCH_SIZE, SHUFFLE, STATUS, COUNTS = range(8)
# Values of Clock.count[STATUS].
RUNNING, FINISHED, ABORTED, DIVERGED = range(4)
# Indices into Clock.barrier, and its size.
ARRIVALS, ABORT, BARRIER_SIZE = 0, 32, 64
# Values of Clock.barrier[ABORT]: stop before the next step, or at once, since a thread has failed.
STOP, BROKEN = 1, 2
# Rows of Work.row.
LOSS, WEIGHT, N_ROWS = range(3)
# Columns of Work.loss: one cache line a thread.
VALUE, SQUARES, FINITE, LOSS_COLUMNS = 0, 1, 2, 8


class Result(NamedTuple):
    """Where values go: by node (n, N), or in `x` alone those of the outputs, (N, n_outputs)."""

    s: Any
    x: Any
    delta: Any


def pack(record: tuple[Any, ...]) -> npt.NDArray[np.uint64]:
    """Return a record's frame: arrays by address, None as 0, numbers as they are."""
    return np.array([_word(value) for value in record], np.uint64)


def _word(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.__array_interface__["data"][0]  # type: ignore[no-any-return]
    return 0 if value is None else int(value)


# --- in kernels: frames are C pointers, and `kind` is any tile, for its dtype and lanes -----------


def _opener(record, element):
    """Return an intrinsic that turns a frame into the record; `element` types its pointers."""

    def field_type(kind, name):
        of = element.get(name)
        if of is None:
            return types.uintp
        return kind if of is Tile else types.CPointer(kind.dtype if of is Real else of)

    @intrinsic
    def open_frame(typingctx, frame, kind):
        fields = [field_type(kind, name) for name in record._fields]
        result = types.NamedTuple(fields, record)

        def codegen(context, builder, sig, args):
            words, values = args[0], []
            for k, field in enumerate(fields):
                word = builder.load(builder.gep(words, [ir.Constant(ir.IntType(64), k)]))
                is_number = field == types.uintp
                values.append(
                    word if is_number else builder.inttoptr(word, context.get_value_type(field))
                )
            return context.make_tuple(builder, result, values)

        return result(frame, kind), codegen

    return open_frame


class Real:
    """Stands for the dtype of the net's values."""


open_net = _opener(
    Net,
    {
        "in_ptr": types.int64,
        "in_src": types.int32,
        "in_slot": types.int64,
        "out_ptr": types.int64,
        "out_dst": types.int32,
        "out_slot": types.int64,
        "outputs": types.int64,
        "output_slot": types.int64,
        "theta": types.uint64,
        "d_theta": types.uint64,
        "values": Real,
        "flat": Real,
        "in_panel": types.int64,
        "in_runs": types.int64,
        "out_panel": types.int64,
        "out_runs": types.int64,
        "column": types.int64,
    },
)
open_data = _opener(
    Data,
    {
        "features": Real,
        "targets": Real,
        "labels": types.int64,
        "weight": types.float64,
        "order": types.int64,
    },
)
open_loss = _opener(Loss, {"hyper": types.float64})
open_work = _opener(
    Work,
    {name: Tile for name in ("x", "d", "out", "y", "e", "row", "scratch")}
    | {
        "transposed": Real,
        "gradient": Real,
        "gradients": Real,
        "loss": types.float64,
        "losses": types.float64,
    },
)
open_update = _opener(
    Update, {"hyper": types.float64, "state": Real, "runs": types.int64, "clip": types.float64}
)
open_clock = _opener(
    Clock,
    {
        "count": types.int64,
        "random": types.uint64,
        "epoch_loss": types.float64,
        "barrier": types.int64,
    },
)
open_result = _opener(Result, {"s": Real, "x": Real, "delta": Real})
