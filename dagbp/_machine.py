"""Facts about the processor: registers by LLVM; cache sizes and costs as constants.

All other modules take these numbers from here, and no other module branches on the processor. A
number that was measured on several processors stands in one of two tables: `TILE_COST` by the width
of registers, `_Measured` by processor. The other costs are the same everywhere. Costs are compared
with each other only, so their ratios count.
"""

from typing import NamedTuple

import llvmlite.binding as llvm
from numba import config

# The processor that Numba compiles for: NUMBA_CPU_NAME, or the host.
CPU: str = config.CPU_NAME or llvm.get_host_cpu_name()  # type: ignore[attr-defined]


_SUM = """
define void @sum(ptr %a) {
    %v = load <16 x float>, ptr %a, align 4
    %s = fadd <16 x float> %v, %v
    store <16 x float> %s, ptr %a, align 4
    ret void
}
"""


def _features() -> str:
    """Return the instruction sets that Numba names to LLVM beside `CPU`, as "+avx,-avx512f".

    Without NUMBA_CPU_FEATURES, these are the host's, even if NUMBA_CPU_NAME names another
    processor.
    """
    given: str | None = config.CPU_FEATURES  # type: ignore[attr-defined]
    if given is not None:
        return given
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this processor's
        return ""
    if not config.ENABLE_AVX:  # type: ignore[attr-defined]
        features.update({name: False for name in features if name.startswith("avx")})
    return features.flatten()  # type: ignore[no-any-return]


def _register_bytes() -> int:
    """Return the bytes of the widest vector register that Numba compiles for.

    It compiles `_SUM` and looks for registers of 64 bytes (zmm) and 32 bytes (ymm) in the code.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=CPU, features=_features())
    code = machine.emit_assembly(llvm.parse_assembly(_SUM))
    return 64 if "zmm" in code else 32 if "ymm" in code else 16


REGISTER_BYTES = _register_bytes()
CACHE_LINE = 64
L1_BYTES = 2**15  # of data; the smallest of the measured processors

# Register blocking: the rows of a dense panel, and the bytes of each row that are summed at once.
# The sums take 24 of AVX-512's 32 registers, or 12 of 16; the others hold the factors.
PANEL_ROWS = 6
PART_BYTES = (4 if REGISTER_BYTES == 64 else 2) * REGISTER_BYTES
# Multiply-adds that run at the same time: two begin in a cycle, and each takes four cycles.
FMAS_IN_FLIGHT = 8
# Bytes of a gathered vector. Gathers of 64 bytes moved 20 % fewer elements in a cycle.
GATHER_BYTES = min(32, REGISTER_BYTES)
# Sources in a window of `copy_patches`, which copies weights from `by_source` to `by_target`: the
# fastest of 16 ... 1,024.
COPY_WINDOW = 256
# Polls of a barrier before a waiting thread yields the processor. They last some microseconds. More
# are rarely needed, as all threads have nearly equal work.
SPINS = 2000

# Bytes of a tile's row, and the cost of such a tile relative to the widest. The widest row is four
# vector registers, but at least two cache lines. The benchmark `scaling` shows small batches.
TILE_COST = {64: 0.4, 128: 0.67, 256: 1.0} if REGISTER_BYTES == 64 else {64: 0.6, 128: 1.0}
NARROW_ROW, WIDE_ROW = min(TILE_COST), max(TILE_COST)

# Costs of a wide tile in ns, as `Network.profile` measures them on AVX-512. Those of barriers are
# assumed, and all of these for AVX2.
SPARSE_NS, DENSE_NS = 4.5, 2.0  # an edge, forward and backward, as a sparse one or in a panel
NODE_NS = 40.0  # a node's activation and its share of calls
# Time of one sample without tiles over the time of a narrow tile, on one thread. Measured on sparse
# nets: 0.28 to 0.41.
SINGLE_COST = 0.4
REDUCE_NS = 0.2  # adding a parameter's gradient to the sum, for each team
BARRIER_NS = 800.0
# Time to read a wide row that another thread has computed. Measured on the nets of `layers.py` at 5
# to 20 %, batch 1,024, schedule="levels": with two threads a tile took 85 to 140 us longer than
# half the time of one thread.
EXCHANGE_NS = 35.0
WORTH_THREAD_NS = 50_000.0  # work that makes it worthwhile to wake another thread
# Edges times samples of each thread in a level that make a barrier worthwhile; fewer are left to
# the first thread. Assumed to be the cost of a few barriers, not fitted.
WORTH_BARRIER = 16_384


# Bytes of weights from which tiles run in groups, where most edges are in panels and where they are
# not: fewer stay in L2, or are read from there fast enough. Measured on Zen 4, as AVX-512 and as
# AVX2, at 20 % to 100 % (`choices`): at 50 %, groups of eight take 0.83 to 0.90 of the time.
STREAMED_DENSE, STREAMED_SPARSE = 2**20, 2**21


class _Measured(NamedTuple):
    """Measurements that differ between processors."""

    # Tiles in a group if the weights are streamed: the group reads weights and gradients once.
    # `layers.py` at 100 %.
    streaming_group: int
    block_edge_ns: dict[int, float]  # a forward edge, by the bytes of a source block
    far_edge_ns: float  # a forward edge with a source in L2
    piece_ns: float  # the extra cost of each piece
    # Least density (existing edges / possible edges) from which a block runs faster when it is
    # filled: with more than `MANY_SOURCES` sources, and with fewer.
    # Measured with 784 and 1,024 sources (`layers.py`, from 50 % to 100 %), and with 16 to 128
    # (`blocks.py`); in between assumed.
    far_share: float
    near_share: float


# Zen 4 of 32 KiB L1 and 1 MiB L2. A step in groups of eight tiles takes 0.93 of the time of
# a step in groups of one. Multiply-adds take twice as long as on the Intel processor; loads do not.
# The costs of source blocks were fitted for the shortest steps of `layers.py`, from 2 % to 50 %.
_ZEN4 = _Measured(8, {2**15: 1.0, 2**16: 1.2}, 2.6, 4.0, 0.66, 0.8)
# AVX-512, rows of 256 bytes: an Intel of 48 KiB L1 and 2 MiB L2. A step in groups of one tile
# takes 0.8 of the time of a step in groups of four. The costs of source blocks were measured
# edge by edge.
_AVX512 = _Measured(1, {2**15: 0.93, 2**16: 1.1}, 1.55, 4.5, 0.58, 0.83)
# AVX2, rows of 128 bytes: a Zen 3 of 32 KiB L1. A step in groups of eight tiles takes 0.9
# of the time of a step in groups of one. The costs of source blocks were measured edge by edge.
_AVX2 = _Measured(8, {2**15: 0.6, 2**16: 0.7}, 1.0, 12.0, 0.6, 0.82)

_HERE = _ZEN4 if CPU == "znver4" else _AVX512 if REGISTER_BYTES == 64 else _AVX2
STREAMING_GROUP = _HERE.streaming_group
BLOCK_EDGE_NS, FAR_EDGE_NS, PIECE_NS = _HERE.block_edge_ns, _HERE.far_edge_ns, _HERE.piece_ns
FAR_SHARE, NEAR_SHARE = _HERE.far_share, _HERE.near_share
# Blocks of more sources are filled from `FAR_SHARE` on. Smaller ones need `NEAR_SHARE`, and those
# of fewer than 54 sources even more (`blocks.py`).
MANY_SOURCES, FEW_SOURCES, FEW_SHARE = 640, 8.0, 0.15
# Slots from which a copy of all parameters is shared among threads. Assumed.
WORTH_COPY_SLOTS = 2**18
