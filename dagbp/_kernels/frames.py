"""Frames: the records of addresses and sizes that kernels receive.

Nothing about a network is compiled in: every array and every size comes in a frame. Each record
below is stated once. In Python its fields are NumPy arrays and numbers, and `pack` turns it into a
frame: 64-bit words, one address or number for each field. In a kernel the record's `open_*`
function turns the frame back into the record, and its fields are C pointers and sizes. So every
kernel takes a few pointers, which is quick to call and quick to compile. The caller keeps the
arrays alive.

The annotation of a field is its type:

================ ================================ ==================================
annotation       in Python                        in a kernel
================ ================================ ==================================
Pointer[int64]   a C-contiguous array of int64    a C pointer to int64
Pointer[Real]    likewise, of the network's dtype a C pointer to the network's dtype
Rows             likewise, aligned rows of tiles  the rows of a tile
Size             a number                         an unsigned integer
Address          a C function, or any array       an unsigned integer
================ ================================ ==================================

A field that may be None says so; a kernel then gets a null pointer.

n nodes, E edges, P >= E + (n - n_inputs) parameters (padded), N samples, T threads.
"""

import ctypes
from array import array
from functools import cache
from types import GenericAlias, UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, lower_getattr_generic, models, register_model
from numpy import float64, int32, int64, uint8, uint32, uint64

from dagbp._compiler.type_rules import type_attributes
from dagbp._machine import CACHE_LINE, PANEL_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray as Pointer

    Real = Any
    Rows = npt.NDArray[Any]
    Size = int
    Address = Any
else:

    class Pointer:
        """A C pointer to elements of a dtype."""

        __class_getitem__ = classmethod(GenericAlias)

    Real, Rows, Size, Address = (type(name, (), {}) for name in ("Real", "Rows", "Size", "Address"))


class NetFrame(NamedTuple):
    """The edges by row, the parameters, and the functions that kernels call.

    `by_source` holds the weights in CSC order (by out-edge), then the biases of the computed nodes,
    then padding. Gradients and optimizers use this order. `by_target` is a copy with the weights in
    CSR order (by in-edge), which the forward pass reads. For segments with source blocks the
    forward pass reads `block_weights` in place of `by_target`, and a training step does not update
    `by_target`.
    """

    n_nodes: Size
    n_inputs: Size
    n_edges: Size  # with explicit zeros
    n_outputs: Size
    n_values: Size  # P
    width: Size  # samples in a tile
    in_ptr: Pointer[int64]  # (n+1,)
    in_src: Pointer[int32]  # (E,): rows of sources, by target
    in_slot: Pointer[uint32] | None  # (E,): CSR slot -> CSC slot, or None where 32 bits are too few
    wide_slot: Pointer[int64] | None  # (E,): the same in that case, else None
    out_ptr: Pointer[int64]  # (n+1,)
    out_dst: Pointer[int32]  # (E,): rows of targets, by source
    outputs: Pointer[int64]  # (n_outputs,): rows
    output_slot: Pointer[int64]  # (n,): position among the outputs, or -1
    theta: Pointer[uint64]  # (n,): address of the activation's row function, if it is called
    d_theta: Pointer[uint64]  # (n,): address of the derivative's row function
    applied: Pointer[uint8] | None  # (n,): CALL_KEEPING_SIGNAL etc.; None: that one for all rows
    by_source: Pointer[Real]  # (P,)
    by_target: Pointer[Real]  # (E + n - n_inputs,)
    in_segment: Pointer[int64]  # first row of each segment of computed rows, and n
    out_segment: Pointer[int64]  # first row of each segment of all rows, and n
    in_mixed: Pointer[uint8]  # (n_segments,): 1 if rows of a segment have panels or explicit zeros
    out_mixed: Pointer[uint8]
    source_blocks: Pointer[int64] | None  # (n_segments,): start of its program, 0 for none
    block_ptr: Pointer[int64] | None  # programs of the segments, see `_layout.source_blocks`
    block_src: Pointer[int32] | None  # (S,): rows of sources
    block_slot: Pointer[uint32] | None  # (S,): CSC slots
    block_weights: Pointer[Real]  # (S,): copies from `by_source`
    in_panel: Pointer[int64]  # (n,): start of a panel's program in in_runs, 0 for none
    in_runs: Pointer[int64]  # see `edges.dense`
    out_panel: Pointer[int64]  # (n,)
    out_runs: Pointer[int64]
    in_is_edge: Pointer[uint8] | None  # (E,): 0 for explicit zeros; None if there are none
    out_is_edge: Pointer[uint8] | None
    column: Pointer[int64]  # (n,): whether the row is in a run of an out-panel
    stride: Size  # nodes in a row of `WorkFrame.transposed`
    load_and_forward: Address = 0  # functions of `passes.tile_group`, 0 where they are not called
    loss_and_backward: Address = 0
    store_outputs: Address = 0
    store_all: Address = 0
    source_block_sums: Address = 0  # function of `edges.source_blocks`
    panel_sums: Address = 0  # functions of `edges.dense`, 0 without panels and explicit zeros
    outer_products: Address = 0
    transpose_rows: Address = 0
    copy_patches: Address = 0
    edge_sum: Address = 0
    mixed_sums: Address = 0  # functions of `edges.mixed`, 0 without panels and explicit zeros
    mixed_deltas: Address = 0


class SamplesFrame(NamedTuple):
    """Samples in rows, of any dtype that the two reader functions take; see `passes.readers`."""

    n_samples: Size
    n_inputs: Size
    n_outputs: Size
    features: Address  # (N, n_inputs), or the stored entries of a sparse matrix
    read_features: Address  # functions of `passes.readers`
    read_targets: Address
    stride: Size  # elements from one row of features to the next
    indptr: Pointer[int64] | None  # (N + 1,): of a sparse matrix in CSR form
    indices: Pointer[int32] | None  # the columns of its entries
    # (n_inputs,), or None for 0, 1, 2, ...: of a dense array the column of each input's row, of a
    # sparse matrix the input's row of each column.
    places: Pointer[int64] | None
    targets: Address  # (N, n_outputs), or labels (N,) int64
    weight: Pointer[float64] | None  # (N,), or None for ones
    order: Pointer[int64] | None  # (N,), or None for 0, 1, 2, ...


class LossFrame(NamedTuple):
    """A loss's row function and its hyper-parameters."""

    address: Address
    hyper: Pointer[float64] | None


class WorkFrame(NamedTuple):
    """One thread's place in its team, and its buffers, most of which the team shares.

    A team is the threads that take one group of G tiles through the net together. Rows are rows of
    tiles, one sample a lane.
    """

    x: Rows  # (G, n): activations; on the way back a row's delta takes its place
    out: Rows  # (G, n_outputs): activations of the outputs, in their order
    y: Rows  # (G, n_outputs): targets
    e: Rows  # (G, n_outputs): de/dx of the outputs
    row: Rows  # (G, 2): loss and weight of each sample
    tile_loss: Pointer[float64]  # (G,)
    transposed: Pointer[Real]  # (G, lanes, stride): deltas by sample, where there are dense panels
    scratch: Rows  # (SEGMENT_ROWS,): this thread's
    loss: Pointer[float64]  # (8,): this thread's summed loss, and whether its update is finite
    group: Size  # G
    thread: Size  # this thread's number among all threads
    n_threads: Size
    team: Size  # the number of this thread's team
    n_teams: Size
    member: Size  # this thread's number in its team
    team_size: Size
    in_stages: Size
    out_stages: Size
    in_cuts: Pointer[int64]  # (in_stages, team_size + 1): each member's segments
    out_cuts: Pointer[int64]  # (out_stages, team_size + 1)
    patches: Pointer[int64]  # (n_patches, 3): this thread's copies, see `_layout.refresh`
    n_patches: Size
    stretches: Pointer[int64]  # (n_stretches, 2)
    n_stretches: Size
    first_blocked: Size  # edges in source blocks
    last_blocked: Size
    first_row: Size
    last_row: Size
    losses: Pointer[float64]  # (n_threads, 8)
    squares: Pointer[float64]  # (blocks,): of the gradient, where its norm is clipped
    barrier: Pointer[int64]  # (64,): arrivals, and the abort flag some cache lines behind
    arrivals: Pointer[int64]  # (1,): how often this thread has arrived
    wait: Address  # function of `passes.barrier`, where there are several threads
    yield_address: Address
    first: Size  # this thread's share of the parameters, in whole blocks
    last: Size
    unstored: Pointer[int64]  # (n_unstored, 2): ranges of that share that no tile STOREs
    n_unstored: Size
    first_cleared: Size  # this thread's share of its team's gradient
    last_cleared: Size
    s: Rows | None = None  # (G, n): signals, where some are kept
    gradient: Pointer[Real] | None = None  # (P,): this team's
    gradients: Pointer[Real] | None = None  # (n_teams, P): of all teams
    drop: Address = 0  # function of `formulas.dropout`, or 0
    keep_probability: Pointer[float64] | None = None  # (n,): of each row
    drop_key: Pointer[uint64] | None = None  # (2,): the run's seed and the step's number
    tick: Address = 0  # function of `passes.timing`, or 0
    clock: Address = 0
    times: Pointer[int64] | None = None  # (N_TIMES,)


class UpdateFrame(NamedTuple):
    """The optimizer: a row function, its hyper-parameters, and its state for each parameter."""

    address: Address
    hyper: Pointer[float64]
    state: Pointer[Real]  # (slots, P)
    n_runs: Size
    runs: Pointer[int64]  # (n_runs, 2): ranges of `by_source` that training changes
    trained: Pointer[uint8] | None  # (P,): 1 where a parameter is trained; None if all are
    reduce: Address  # `update.reduce`, or 0 where there is nothing to do
    penalise_and_clip: Address  # function of `regularise`, or 0 if the next four are None:
    limits: Pointer[float64] | None  # (2,): the largest global norm and the largest magnitude
    l1: Pointer[Real] | None  # (P,): coefficients of |p|
    l2: Pointer[Real] | None  # (P,): coefficients of p^2 / 2
    penalties: Pointer[float64] | None  # (blocks,): the penalty of each block of parameters
    project_max_norm: Address  # function of `regularise`, or 0
    max_norm: Pointer[float64] | None  # (n,): largest norm of each row's weights


class ClockFrame(NamedTuple):
    """The position of a training run; in arrays, so that it survives an interrupt."""

    count: Pointer[int64]  # type: ignore[assignment]  # see the indices below
    random: Pointer[uint64]  # (2,): the shuffle's state, now and when the epoch began
    epoch_loss: Pointer[float64]  # (epochs,)
    step_loss: Pointer[float64]  # (1,): of the last step
    rates: Pointer[float64] | None  # learning rates of the updates from count[FIRST_RATE]
    shuffle: Address = 0  # `shuffle.shuffle`, where samples are shuffled


class ResultFrame(NamedTuple):
    """Results: by node (n, N), or in `x` alone the outputs (N, n_outputs)."""

    s: Pointer[Real] | None = None
    x: Pointer[Real] | None = None
    delta: Pointer[Real] | None = None


class SingleSampleFrame(NamedTuple):
    """One sample outside of tiles, one number a node; see `passes.single_sample`.

    C is the number of values in 64 bytes. The vectors of all nodes have 64 bytes more at either
    end.
    """

    net: Pointer[uint64]  # a packed NetFrame; fields that depend on the width are not read
    x: Pointer[Real]  # (n,): activations; the inputs' are the features
    s: Pointer[Real]  # (n,): signals
    d: Pointer[Real]  # (n,): deltas
    e: Pointer[Real]  # (n,): de/dx of the outputs, zeros for other nodes
    target: Pointer[Real]  # (n_outputs,)
    out: Pointer[Real]  # (n_outputs, C): arguments of the loss's row function, each number C times
    y: Pointer[Real]
    slope: Pointer[Real]
    error: Pointer[Real]  # (C,)
    n_segments: Size
    segment: Pointer[int64]  # (n_segments + 1,): first rows; a segment has one level and activation
    size: Pointer[int64]  # (n_segments,): how many numbers the activation is called for
    ptr: Pointer[int64]  # (n+1,): in-edges without explicit zeros
    src: Pointer[int32]  # (E,)
    panel: Pointer[int64]  # (n,): `NetFrame.in_panel` for these edges


def _indices(n: int) -> tuple[Any, ...]:
    """Return 0 ... n - 1 as unsigned integers, which kernels use as indices."""
    return tuple(np.uintp(k) for k in range(n))


# Indices into ClockFrame.count.
EPOCH, STEP, UPDATES, LAST_EPOCH, LAST_UPDATE, BATCH_SIZE, SHUFFLE, STATUS = _indices(8)
FIRST_RATE, COUNTS = np.uintp(8), 9
# Indices into ClockFrame.random, and into WorkFrame.drop_key.
NOW, EPOCH_BEGAN = _indices(2)
SEED, NUMBER = _indices(2)
# Index of the learning rate in UpdateFrame.hyper.
RATE = np.uintp(0)
# Layout of a panel's program of int64, see `edges.dense`: the number of runs, then for each run its
# first row on the other side, its length, and the slot of each panel row's first weight.
N_RUNS, HEADER = _indices(2)
FIRST, LENGTH, START = _indices(3)
RUN_WORDS = START + np.uintp(PANEL_ROWS)
# Values of ClockFrame.count[STATUS].
RUNNING, FINISHED, ABORTED, DIVERGED = range(4)
# Value of ClockFrame.count[SHUFFLE], beside 0 and 1: the run resumes inside an epoch, and the next
# step draws the order of this epoch again.
AGAIN = 2
# Indices into WorkFrame.barrier, and its size.
ARRIVALS, ABORT, BARRIER_SIZE = np.uintp(0), np.uintp(32), 64
# Values of WorkFrame.barrier[ABORT]: stop before the next step; stop at once, as a thread failed.
STOP, BROKEN = 1, 2
# Rows of WorkFrame.row.
LOSS, WEIGHT, N_ROWS = _indices(3)
# The backward pass of `tile_group.loss_and_backward`:
#   FORWARD_ONLY  there is none
#   ADD           adds to the gradient
#   STORE         as ADD, but the first tile overwrites the gradient of panels
FORWARD_ONLY, ADD, STORE = _indices(3)
# Values of NetFrame.applied. The function is called for values up to CALL_IN_PLACE.
#   CALL_KEEPING_SIGNAL  calls the activation, keeps s
#   CALL_IN_PLACE        calls it, x overwrites s
#   FUSED_RELU           x = max(s, 0), computed with the sum
#   FUSED_IDENTITY       x = s
CALL_KEEPING_SIGNAL, CALL_IN_PLACE, FUSED_RELU, FUSED_IDENTITY = _indices(4)
# Columns of WorkFrame.loss: one cache line for each thread.
VALUE, FINITE, LOSS_COLUMNS = np.uintp(0), np.uintp(1), np.uintp(8)
# Most rows of a segment: a multiple of PANEL_ROWS, and so few that their scratch fits L1.
SEGMENT_ROWS = 24


# --- packing -------------------------------------------------------------------------------------


class _Field(NamedTuple):
    """The type of a field, read from its annotation."""

    element: Any  # Size, Address, Rows, Real, or a scalar type of NumPy
    nullable: bool
    dtype: Any  # of arrays; None where arrays are not checked


@cache
def _fields(record: type[Any], real: str = "f") -> tuple[_Field, ...]:
    """Return the type of each field of a record, with the code of the network's dtype."""
    result = []
    for annotation in record.__annotations__.values():
        options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        element = next(iter(get_args(options[0])), options[0])
        dtype = real if element in (Real, Rows) else element
        checked = None if element in (Size, Address) else np.dtype(dtype)
        result.append(_Field(element, len(options) > 1, checked))
    return tuple(result)


_address, _from_buffer = ctypes.addressof, ctypes.c_char.from_buffer


def pack(record: tuple[Any, ...], dtype: np.dtype[Any]) -> "array[int]":
    """Return a record's frame: arrays by address, None as 0, numbers as they are.

    `dtype` is the network's. TypeError if a value is not of the type that its field is annotated
    with. The loop calls no Python function for most values: every call of a network packs some
    records, and `predict` of a few samples takes 25 us in all. A NumPy array would take 1 us
    longer.
    """
    words: list[int] = []
    for value, (element, nullable, checked) in zip(
        record, _fields(record.__class__, dtype.char), strict=True
    ):
        if value.__class__ is int and checked is None:
            words.append(value)
        elif value is None and (nullable or checked is None):
            words.append(0)
        elif isinstance(value, np.ndarray) and element is not Size:
            found = value.dtype
            if checked is not None and found is not checked and found != checked:
                raise _mismatch(record, len(words), dtype)
            try:  # refuses arrays with gaps
                word = _address(_from_buffer(value))  # type: ignore[arg-type]
            except (TypeError, ValueError):  # also where it is read-only or empty
                if checked is not None and not value.flags.c_contiguous:
                    raise _mismatch(record, len(words), dtype) from None
                word = address(value)
            if element is Rows and word % CACHE_LINE:
                raise _mismatch(record, len(words), dtype)
            words.append(word)
        elif checked is None:
            words.append(int(value))
        else:
            raise _mismatch(record, len(words), dtype)
    return array("Q", words)


def address(values: npt.NDArray[Any]) -> int:
    """Return the address of an array's first element."""
    try:  # takes a quarter of the time of the other way
        return _address(_from_buffer(values))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, empty, or with gaps
        return values.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _mismatch(record: Any, index: int, dtype: np.dtype[Any]) -> TypeError:
    value, field = record[index], _fields(record.__class__, dtype.char)[index]
    found = repr(value)
    if isinstance(value, np.ndarray):
        gaps = "" if value.flags.c_contiguous else " with gaps"
        found = f"an array{gaps} of {value.dtype}, shape {value.shape}"
    begins = f" that begins at a multiple of {CACHE_LINE} bytes" if field.element is Rows else ""
    null = " or None" if field.nullable else ""
    return TypeError(
        f"{type(record).__name__}.{record._fields[index]} must be a C-contiguous array of "
        f"{field.dtype}{begins}{null}, got {found}"
    )


# --- opening in kernels: frames are C pointers, and `tag` is any tile, for its dtype and lanes ----


def _opener(record):
    """Return an intrinsic that turns a frame into the record."""

    def field_type(tag, element):
        if element in (Size, Address):
            return types.uintp
        if element is Rows:
            return tag
        return types.CPointer(tag.dtype if element is Real else numba.from_dtype(element))

    @intrinsic
    def open_frame(typingctx, frame, tag):
        opened = Opened(record, tag, [field_type(tag, field.element) for field in _fields(record)])
        return opened(frame, tag), lambda context, builder, sig, args: args[0]

    return open_frame


class Opened(types.Type):
    """A frame as a record: a pointer to the frame. A field is loaded where it is named.

    So functions take one argument for each record, which is quick to compile. Frames never change
    while a kernel runs, and the loads say so: LLVM moves them out of loops.
    """

    def __init__(self, record, tag, types_):
        self.fields = dict(zip(record._fields, types_, strict=True))
        super().__init__(name=f"{record.__name__}({tag.dtype}, {tag.lanes})")


@register_model(Opened)
class _OpenedModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(64).as_pointer())


type_attributes(Opened, lambda opened, name: opened.fields.get(name))


@lower_getattr_generic(Opened)
def _attribute(context, builder, opened, value, name):
    i64 = ir.IntType(64)
    place = ir.Constant(i64, list(opened.fields).index(name))
    word = builder.load(builder.gep(value, [place], source_etype=i64), typ=i64)
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    field = opened.fields[name]
    if field == types.uintp:
        return word
    return builder.inttoptr(word, context.get_value_type(field))


open_net = _opener(NetFrame)
open_data = _opener(SamplesFrame)
open_loss = _opener(LossFrame)
open_work = _opener(WorkFrame)
open_update = _opener(UpdateFrame)
open_clock = _opener(ClockFrame)
open_result = _opener(ResultFrame)
open_single = _opener(SingleSampleFrame)
