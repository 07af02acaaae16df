"""What kernels receive: frames of addresses and sizes, so that nothing about a net is compiled in.

Each record here has two lives under the same field names. In Python its fields are NumPy arrays
and numbers, and `pack` turns it into a frame, a uint64 array with an address or a number a field.
In a kernel, `open_*` turns the frame back into the record, its fields now C pointers. Frames keep
every signature to a few small arrays, quick to call and to compile.
The caller keeps the arrays alive.

n nodes, E edges, P >= E + (n - n_inputs) parameters (padded), N samples, T threads.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, lower_getattr_generic, models, register_model

from dagbp._kernels.vectors.vector import Tile
from dagbp._machine import PANEL_ROWS


class NetFrame(NamedTuple):
    """The wiring by rows, the parameters, and the functions of the nodes.

    `by_source` holds weights in CSC (out-edge) order, then the biases of the computed nodes, then
    padding: the order in which gradients are accumulated and parameters updated. `by_target` is the
    copy of both, the weights in CSR (in-edge) order, that the forward pass and the user read. Of
    segments with source blocks the forward pass reads `block_weights`; a step then does not update
    `by_target`.
    """

    n_nodes: Any
    n_inputs: Any
    n_edges: Any
    n_outputs: Any
    n_values: Any  # P
    width: Any  # samples in a tile
    in_ptr: Any  # (n+1,) int64
    in_src: Any  # (E,) int32: rows of sources, by target
    in_slot: Any  # (E,) uint32: CSR slot -> CSC slot; null where that is too narrow
    wide_slot: Any  # (E,) int64: the same then, null otherwise
    out_ptr: Any  # (n+1,) int64
    out_dst: Any  # (E,) int32: rows of targets, by source
    outputs: Any  # (n_outputs,) int64: rows
    output_slot: Any  # (n,) int64: position among the outputs, or -1
    theta: Any  # (n,) uint64: address of the activation's row function, if it is called
    d_theta: Any  # (n,) uint64: address of its derivative's
    applied: Any  # (n,) uint8: see `CALL_KEEPING_SIGNAL`, which a null pointer means
    panel_sums: Any  # addresses of the functions in `dense`, 0 where there is no panel
    outer_products: Any
    transpose_rows: Any
    copy_patches: Any
    edge_sum: Any
    mixed_sums: Any  # addresses of the functions in `mixed`, 0 likewise
    mixed_deltas: Any
    read: Any  # addresses of the functions in `parts`
    learn: Any
    write: Any
    by_source: Any  # (P,)
    by_target: Any  # (E + n - n_inputs,)
    in_segment: Any  # int64: first rows of the segments of computed rows, and n; see `_segments`
    out_segment: Any  # int64: likewise of all rows
    in_mixed: Any  # (n_segments,) uint8: whether rows of a segment have panels or held zeros
    out_mixed: Any
    source_blocks: (
        Any  # (n_segments,) int64: where in strip_ptr a segment of in-edges has its program, 0
    )
    # for none; null if none has: these and the next see `_strips`
    block_ptr: Any  # int64
    block_src: Any  # (S,) int32: rows of sources
    block_slot: Any  # (S,) uint32: CSC slots
    block_weights: Any  # (S,): copies of values
    source_block_sums: Any  # address of the function in `source_blocks`
    in_panel: Any  # (n,) int64: where a dense panel's program starts in in_runs, 0 for none
    in_runs: Any  # int64, see `sparse`
    out_panel: Any  # (n,) int64
    out_runs: Any  # int64
    in_is_edge: Any  # (E,) uint8: 0 for the held zeros of filled blocks, or null if there are none
    out_is_edge: Any
    column: Any  # (n,) int64: whether the row is in some out-panel's run
    stride: Any  # nodes in a row of Work.transposed


# Addresses that only nets with dense panels have: of the functions in `dense` and in `mixed`.
DENSE_PARTS = (
    "panel_sums",
    "outer_products",
    "transpose_rows",
    "copy_patches",
    "edge_sum",
    "mixed_sums",
    "mixed_deltas",
)


class SamplesFrame(NamedTuple):
    """Samples in rows; None for what is not given, a null pointer in a kernel.

    Features and targets are whatever their readers read, see `readers`.
    """

    n_samples: Any
    n_inputs: Any
    n_outputs: Any
    features: Any  # address of (N, n_inputs), or of the stored entries of a sparse matrix
    read_features: Any  # addresses of functions in `readers`
    read_targets: Any
    stride: Any  # elements from one row of features to the next
    indptr: Any  # (N + 1,) int64, of a sparse matrix in CSR form, and
    indices: Any  # int32, the columns of its entries
    places: Any  # (n_inputs,) int64: column of each input's row, or None for 0, 1, 2, ...; of a
    # sparse matrix the row of each column
    targets: Any  # address of (N, n_outputs), or of labels (N,) int64
    weight: Any  # (N,) float64, or None for ones
    order: Any  # (N,) int64, or None for 0, 1, 2, ...


class LossFrame(NamedTuple):
    """A loss's row function and its hyper-parameters."""

    address: Any
    hyper: Any  # float64


class WorkFrame(NamedTuple):
    """One thread's place in its crew and its buffers, most of which the crew shares.

    A crew is the threads that take one group of G tiles through the net together; see
    `_segments`. Rows are tile rows, one sample a lane.
    """

    x: Any  # (G, n) rows: activations; on the way back a row's delta takes its place
    out: Any  # (G, n_outputs) rows: activations of the outputs, in their order
    y: Any  # (G, n_outputs) rows: targets
    e: Any  # (G, n_outputs) rows: de/dx of the outputs
    row: Any  # (G, 2) rows: loss and weight of each sample
    tile_loss: Any  # (G,) float64
    transposed: Any  # (G, lanes, stride): deltas by sample, where there are dense panels
    scratch: Any  # (SEGMENT_ROWS,) rows, this thread's
    loss: Any  # (8,) float64, this thread's: the summed loss, the update's finiteness
    group: Any  # G
    thread: Any  # this thread's number among all
    n_threads: Any
    team: Any  # number of this thread's crew, and of all crews
    n_teams: Any
    member: Any  # this thread's number in its crew, and the crew's size
    team_size: Any
    in_stages: Any  # between the crew's meetings, see `_segments`
    out_stages: Any
    in_cuts: Any  # (in_stages, members + 1) int64: each member's segments
    out_cuts: Any  # (out_stages, members + 1) int64
    patches: Any  # (n_patches, 3) int64: what this thread copies after an update, see `_copies`
    n_patches: Any
    stretches: Any  # (n_stretches, 2) int64
    n_stretches: Any
    first_blocked: Any  # edges in strips
    last_blocked: Any
    first_row: Any
    last_row: Any
    losses: Any  # (n_threads, 8)
    squares: Any  # (blocks,) float64: of the gradient, where its norm is clipped
    barrier: Any  # (64,) int64: arrivals, and the abort flag a few cache lines on
    arrivals: Any  # (1,) int64: how often this thread has arrived
    meet: Any  # address of `threads.meet`, where there are several threads
    yield_address: Any
    first: Any  # this thread's share of the parameters, in whole blocks
    last: Any
    unstored: Any  # (n_unstored, 2) int64: what of its share no tile stores, see `STORE`
    n_unstored: Any
    first_cleared: Any  # its share of its crew's gradient
    last_cleared: Any
    s: Any = None  # (G, n) rows: signals, where some are kept
    gradient: Any = None  # (P,): this crew's
    gradients: Any = None  # (n_crews, P): those of all crews
    drop: Any = 0  # address of `dropout.drop`, or 0
    keep_probability: Any = None  # (n,) float64: of each row, for dropout
    drop_key: Any = None  # (2,) uint64: the run's seed and the number of the step
    tick: Any = 0  # address of `timing.add_time`, or 0
    clock: Any = 0
    times: Any = None  # (N_TIMES,) int64


class UpdateFrame(NamedTuple):
    """The optimizer: a row function, its hyper-parameters, and its state for each parameter."""

    address: Any
    hyper: Any  # float64
    state: Any  # (slots, P)
    n_runs: Any
    runs: Any  # (n_runs, 2) int64: stretches of `by_source` that train
    trained: Any  # (P,) uint8: 0 where the gradient counts for nothing, or null if all count
    reduce: Any  # address of `update.reduce`, or 0 where there is nothing to do
    penalise_and_clip: Any  # address of the function in `regularise`, or 0 without any of these:
    limits: Any  # (2,) float64: the largest global norm and the largest magnitude, or null
    l1: Any  # (P,): coefficients of |p|, and of p^2 / 2, or null
    l2: Any
    penalties: Any  # (blocks,) float64: the penalty of each block of parameters, or null
    project_max_norm: Any  # address of the function in `regularise`, or 0
    max_norm: Any  # (n,) float64: largest norm of each row's weights


class ClockFrame(NamedTuple):
    """Where training stands; in arrays, so that it survives an interrupt between two steps."""

    count: Any  # int64, see the indices below
    random: Any  # (2,) uint64: the shuffle's state, and what it was when the epoch began
    epoch_loss: Any  # (epochs,) float64
    step_loss: Any  # (1,) float64: of the last step
    rates: Any  # float64: learning rates of the updates from count[FIRST_RATE], or None
    shuffle: Any = 0  # address of `random.shuffle`, where samples are shuffled


def _indices(n: int) -> tuple[Any, ...]:
    """Return 0 ... n - 1, unsigned as kernels want them."""
    return tuple(np.uintp(k) for k in range(n))


# Indices into Clock.count.
EPOCH, STEP, UPDATES, LAST_EPOCH, LAST_UPDATE, BATCH_SIZE, SHUFFLE, STATUS = _indices(8)
FIRST_RATE, COUNTS = np.uintp(8), 9
# Indices into Clock.random, and into Work.drop_key.
NOW, EPOCH_BEGAN = _indices(2)
SEED, NUMBER = _indices(2)
# Where the learning rate stands among an update's hyper-parameters.
RATE = np.uintp(0)
# Layout of a panel's program of int64, see `dense`: the number of runs, then for each run its first
# row on the other side, its length, and the slot of each panel row's first weight.
N_RUNS, HEADER = _indices(2)
FIRST, LENGTH, START = _indices(3)
RUN_WORDS = START + np.uintp(PANEL_ROWS)
# Values of Clock.count[STATUS].
RUNNING, FINISHED, ABORTED, DIVERGED = range(4)
# Value of Clock.count[SHUFFLE], beside 0 and 1: in the midst of an epoch whose order is to be
# drawn once more.
AGAIN = 2
# Indices into Work.barrier, and its size.
ARRIVALS, ABORT, BARRIER_SIZE = np.uintp(0), np.uintp(32), 64
# Values of Work.barrier[ABORT]: stop before the next step, or at once, since a thread has failed.
STOP, BROKEN = 1, 2
# Rows of Work.row.
LOSS, WEIGHT, N_ROWS = _indices(3)
# What `parts.learn` does on the way back: nothing, add to the gradient, or do so where the gradient
# of full blocks has not been cleared: there the group's first tile is stored.
STAY, ADD, STORE = _indices(3)
# Values of Net.applied: the activation is called and s kept, for the derivative or for the user; it
# is called, and x takes the place of s; kernels rectify the sums themselves; x is s. In this order:
# up to REPLACE it is called.
CALL_KEEPING_SIGNAL, CALL_IN_PLACE, FUSED_RELU, FUSED_IDENTITY = _indices(4)
# Columns of Work.loss: one cache line a thread.
VALUE, FINITE, LOSS_COLUMNS = np.uintp(0), np.uintp(1), np.uintp(8)
# Rows that a segment has at most: a multiple of PANEL_ROWS, and its scratch fits L1.
SEGMENT_ROWS = 24


class ResultFrame(NamedTuple):
    """Where values go: by node (n, N), or in `x` alone those of the outputs, (N, n_outputs)."""

    s: Any
    x: Any
    delta: Any


class SingleSampleFrame(NamedTuple):
    """One sample by itself, a number a node, see `single`; C counts the lanes of 64 bytes.

    The vectors of all nodes have 64 bytes more at either end.
    """

    net: Any  # address of a frame: `NetFrame`, of which only what holds for any width is read
    x: Any  # (n,): activations; those of the inputs are the features
    s: Any  # (n,): signals
    d: Any  # (n,): deltas
    e: Any  # (n,): de/dx of the outputs, zeros for other nodes
    target: Any  # (n_outputs,)
    out: Any  # (n_outputs, C): what a loss's row function takes, each number C times
    y: Any
    slope: Any
    error: Any  # (C,)
    n_segments: Any
    segment: Any  # (n_segments + 1,) int64: first rows of those of one level and one activation
    size: Any  # (n_segments,) int64: how many numbers their activations are called for
    ptr: Any  # (n+1,) int64: in-edges without held zeros
    src: Any  # (E,) int32
    panel: Any  # (n,) int64: `NetFrame.in_panel` for those


def pack(record: tuple[Any, ...]) -> npt.NDArray[np.uint64]:
    """Return a record's frame: arrays by address, None as 0, numbers as they are."""
    return np.array([_word(value) for value in record], np.uint64)


def address(array: npt.NDArray[Any]) -> int:
    """Return the address of an array's first element."""
    try:  # a quarter of the time
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, empty, or with gaps
        return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _word(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return address(value)
    return 0 if value is None else int(value)


# --- in kernels: frames are C pointers, and `tag` is any tile, for its dtype and lanes -----------


def _opener(record, element):
    """Return an intrinsic that turns a frame into the record; `element` types its pointers."""

    def field_type(tag, name):
        of = element.get(name)
        if of is None:
            return types.uintp
        return tag if of is Tile else types.CPointer(tag.dtype if of is Real else of)

    @intrinsic
    def open_frame(typingctx, frame, tag):
        opened = Opened(record, tag, [field_type(tag, name) for name in record._fields])
        return opened(frame, tag), lambda context, builder, sig, args: args[0]

    return open_frame


class Opened(types.Type):
    """A frame as a record: a pointer to it, whose fields are loaded where they are named.

    So functions take one argument a record, which is quick to compile. Frames never change while a
    kernel runs, and the loads say so: LLVM moves them out of loops.
    """

    def __init__(self, record, tag, types_):
        self.fields = dict(zip(record._fields, types_, strict=True))
        super().__init__(name=f"{record.__name__}({tag.dtype}, {tag.lanes})")


@register_model(Opened)
class _OpenedModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(64).as_pointer())


@infer_getattr
class _Fields(AttributeTemplate):
    key = Opened

    def generic_resolve(self, opened, name):
        return opened.fields.get(name)


@lower_getattr_generic(Opened)
def _field(context, builder, opened, value, name):
    place = ir.Constant(ir.IntType(64), list(opened.fields).index(name))
    pointer = builder.gep(value, [place], source_etype=place.type)
    word = builder.load(pointer, typ=place.type)
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    field = opened.fields[name]
    if field == types.uintp:
        return word
    return builder.inttoptr(word, context.get_value_type(field))


class Real:
    """Stands for the dtype of the net's values."""


open_net = _opener(
    NetFrame,
    {
        "in_ptr": types.int64,
        "in_src": types.int32,
        "in_slot": types.uint32,
        "wide_slot": types.int64,
        "out_ptr": types.int64,
        "out_dst": types.int32,
        "outputs": types.int64,
        "output_slot": types.int64,
        "theta": types.uint64,
        "d_theta": types.uint64,
        "applied": types.uint8,
        "by_source": Real,
        "by_target": Real,
        "in_segment": types.int64,
        "source_blocks": types.int64,
        "block_ptr": types.int64,
        "block_src": types.int32,
        "block_slot": types.uint32,
        "block_weights": Real,
        "out_segment": types.int64,
        "in_mixed": types.uint8,
        "out_mixed": types.uint8,
        "in_panel": types.int64,
        "in_runs": types.int64,
        "out_panel": types.int64,
        "out_runs": types.int64,
        "in_is_edge": types.uint8,
        "out_is_edge": types.uint8,
        "column": types.int64,
    },
)
open_data = _opener(
    SamplesFrame,
    {
        "indptr": types.int64,
        "indices": types.int32,
        "weight": types.float64,
        "order": types.int64,
        "places": types.int64,
    },
)
open_loss = _opener(LossFrame, {"hyper": types.float64})
open_work = _opener(
    WorkFrame,
    {name: Tile for name in ("x", "s", "out", "y", "e", "row", "scratch")}
    | {name: Real for name in ("transposed", "gradient", "gradients")}
    | {
        name: types.float64
        for name in ("tile_loss", "loss", "losses", "squares", "keep_probability")
    }
    | {"drop_key": types.uint64}
    | {name: types.int64 for name in ("in_cuts", "out_cuts", "patches", "stretches", "unstored")}
    | {name: types.int64 for name in ("barrier", "arrivals", "times")},
)
open_update = _opener(
    UpdateFrame,
    {
        "hyper": types.float64,
        "state": Real,
        "runs": types.int64,
        "trained": types.uint8,
        "limits": types.float64,
        "l1": Real,
        "l2": Real,
        "penalties": types.float64,
        "max_norm": types.float64,
    },
)
open_clock = _opener(
    ClockFrame,
    {"count": types.int64, "random": types.uint64}
    | {name: types.float64 for name in ("epoch_loss", "step_loss", "rates")},
)
open_result = _opener(ResultFrame, {"s": Real, "x": Real, "delta": Real})
open_single = _opener(
    SingleSampleFrame,
    {name: Real for name in ("x", "s", "d", "e", "target", "out", "y", "slope", "error")}
    | {name: types.int64 for name in ("segment", "size", "ptr", "panel")}
    | {"net": types.uint64, "src": types.int32},
)
