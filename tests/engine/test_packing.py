"""Frames and operations: checked types of fields, and a table whose rows fit the kernels."""

from typing import NamedTuple

import numpy as np
import pytest
from strategies import random_network, random_samples

import dagbp
from dagbp._engine import operations
from dagbp._engine.buffers import Buffers, aligned, shapes, step_bytes
from dagbp._engine.operations import Operation
from dagbp._engine.tile_plan import TilePlan
from dagbp._kernels import frames
from dagbp._kernels.frames import ClockFrame, NetFrame, ResultFrame, WorkFrame, pack
from dagbp._machine import WIDE_ROW
from dagbp._network import model_of

REAL = np.dtype(np.float32)


class Example(NamedTuple):
    numbers: frames.Pointer[np.int64]
    values: frames.Pointer[frames.Real]
    rows: frames.Rows
    weights: frames.Pointer[np.float64] | None
    size: frames.Size
    function: frames.Address = 0


def example(**changed):
    values = Example(
        numbers=np.arange(3),
        values=np.ones(3, np.float32),
        rows=aligned((2, 16), np.float32),
        weights=None,
        size=7,
    )
    return values._replace(**changed)


def test_a_frame_has_one_word_for_each_field():
    record = example(weights=np.ones(2), function=np.ones((3, 3), np.int8)[:, ::2])
    words = np.array(pack(record, REAL))
    arrays = "numbers", "values", "rows", "weights", "function"
    places = [getattr(record, name).__array_interface__["data"][0] for name in arrays]
    assert words[[0, 1, 2, 3, 5]].tolist() == places
    assert words[4] == 7
    assert list(pack(example(), REAL))[3::2] == [0, 0]


def test_read_only_and_empty_arrays_are_packed():
    numbers = np.arange(3)
    numbers.flags.writeable = False
    words = pack(example(numbers=numbers, values=np.empty(0, np.float32)), REAL)
    assert words[0] == numbers.__array_interface__["data"][0]
    assert words[1] != 0


MISALIGNED = aligned((17,), np.float32)[1:]


@pytest.mark.parametrize(
    ("changed", "requirement", "found"),
    [
        (
            {"numbers": np.arange(3, dtype=np.int32)},
            "array of int64",
            "an array of int32, shape (3,)",
        ),
        (
            {"numbers": np.arange(6)[::2]},
            "array of int64",
            "an array with gaps of int64, shape (3,)",
        ),
        ({"numbers": np.empty((0, 2))}, "array of int64", "an array of float64, shape (0, 2)"),
        ({"numbers": None}, "array of int64", "None"),
        ({"numbers": 12}, "array of int64", "12"),
        ({"values": np.ones(3)}, "array of float32", "an array of float64, shape (3,)"),
        (
            {"weights": np.ones(2, np.float32)},
            "array of float64 or None",
            "an array of float32, shape (2,)",
        ),
        (
            {"rows": MISALIGNED},
            "array of float32 that begins at a multiple of 64 bytes",
            "an array of float32, shape (16,)",
        ),
        (
            {"rows": np.ones((4, 4), np.float32).T},
            "array of float32 that begins at a multiple of 64 bytes",
            "an array with gaps of float32, shape (4, 4)",
        ),
    ],
)
def test_a_value_of_another_type_is_refused(changed, requirement, found):
    (name,) = changed
    with pytest.raises(TypeError) as caught:
        pack(example(**changed), REAL)
    assert str(caught.value) == f"Example.{name} must be a C-contiguous {requirement}, got {found}"


def test_the_fields_of_real_frames_are_checked():
    clock = ClockFrame(
        np.zeros(9, np.int32), np.zeros(2, np.uint64), np.zeros(1), np.zeros(1), None
    )
    with pytest.raises(
        TypeError, match=r"^ClockFrame\.count must be a C-contiguous array of int64"
    ):
        pack(clock, REAL)
    with pytest.raises(TypeError, match=r"^ResultFrame\.x .* of float32 or None, got .* float64"):
        pack(ResultFrame(x=np.ones(2)), REAL)


OPERATIONS = {name: one for name, one in vars(operations).items() if isinstance(one, Operation)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_row_of_the_table_fits_its_kernels(name):
    """NetFrame has the functions of the group, and the entry point reads no others."""
    operation = OPERATIONS[name]
    assert {one.__name__ for one in operation.group} <= set(NetFrame._fields)
    assert set(operation.results) <= set(ResultFrame._fields)
    assert (operation.back is not None) == (operation.entry.arguments[-1] == "size")
    results = operation.new_results(5, 3, 2, REAL)
    assert set(results) == set(operation.results)
    assert {one.shape for one in results.values()} <= {(5, 3) if operation.by_node else (3, 2)}


@pytest.mark.parametrize("tile_plan", [TilePlan(WIDE_ROW, 1, 1, 1), TilePlan(WIDE_ROW, 2, 3, 1)])
@pytest.mark.parametrize("signals", [False, True])
def test_buffers_have_the_shapes_that_are_counted(tile_plan, signals):
    engine = model_of(dagbp.compile(dagbp.layered([20, 64, 64, 10], seed=0), seed=0)).engine
    assert engine.layout.stride > 0
    n_values = len(engine.parameters.by_source)
    cuts = engine.tile_planner.cuts(tile_plan)
    buffers = Buffers(engine.layout, engine.dtype, n_values, tile_plan, cuts, False)
    buffers.gradients()
    if signals:
        buffers.store_signals()
    works = [WorkFrame(*map(int, frame)) for frame in buffers.frames()]
    found = shapes(engine.layout, tile_plan, n_values)
    assert all((work.s != 0) == signals for work in works)
    of_team = [name for name in found if name not in ("gradients", "s")]
    used = dict.fromkeys([*of_team, "s"] if signals else of_team)
    taken = 0
    for name in used:
        shape = found[name]
        places = [getattr(work, name) for work in works]
        step = int(np.prod(shape[1:])) * engine.dtype.itemsize
        assert np.all(np.diff(places) == step), name
        taken += shape[0] * step
    taken += int(np.prod(found["gradients"])) * engine.dtype.itemsize
    assert step_bytes(engine.layout, tile_plan, n_values, signals) == taken


def test_forward_needs_no_gradient():
    case = random_network(3, max_nodes=30, min_inputs=2)
    X, Y = random_samples(0, case, 20)
    net = case.compile(seed=0, n_threads=1)
    net.forward(X)
    (buffers,) = model_of(net).engine._buffers.values()
    assert WorkFrame(*map(int, buffers.frames()[0])).gradient == 0
    net.backprop(X, Y)
    assert WorkFrame(*map(int, buffers.frames()[0])).gradient != 0
