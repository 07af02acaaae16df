"""Facts about the processor: registers, caches, and every measured cost.

All other modules take these numbers from here. Where a number depends on the processor, one table
below has a row for each processor it was measured on, so that support of another one is one row.
Costs are ratios of each other: only which alternative is cheaper matters.
"""

from typing import NamedTuple

import llvmlite.binding as llvm
from numba import config

# What Numba compiles for: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, or the host.
CPU: str = config.CPU_NAME or llvm.get_host_cpu_name()  # type: ignore[attr-defined]


def _features() -> str:
    given: str | None = config.CPU_FEATURES  # type: ignore[attr-defined]
    if given is not None:
        return str(given)
    if config.CPU_NAME:  # type: ignore[attr-defined]
        return ""  # LLVM takes those of the name
    return str(llvm.get_host_cpu_features().flatten())


def _register_bytes() -> int:
    """Return the width of the widest vector register that Numba compiles for."""
    features = _features()
    if "+avx512f" in features or CPU in ("skylake-avx512", "icelake-server", "znver4"):
        return 64
    return 32 if "+avx" in features or CPU in ("haswell", "znver3") else 16


REGISTER_BYTES = _register_bytes()
CACHE_LINE = 64
L1_BYTES = 2**15

# Rows of a dense panel, and how many bytes of each are summed at once: the sums take 24 of
# AVX-512's 32 registers, or 12 of 16, and leave room for the factors.
PANEL_ROWS = 6
PART_BYTES = (4 if REGISTER_BYTES == 64 else 2) * REGISTER_BYTES

# Bytes of a tile's row, and the cost of such a tile relative to the widest. The widest row is four
# vector registers, but at least two cache lines. The benchmark `scaling` shows small batches.
TILE_COST = {64: 0.4, 128: 0.67, 256: 1.0} if REGISTER_BYTES == 64 else {64: 0.6, 128: 1.0}
NARROW_ROW, WIDE_ROW = min(TILE_COST), max(TILE_COST)

# Costs of a wide tile in ns, from `Network.profile` on AVX-512; those of barriers are assumed.
SPARSE_NS, DENSE_NS = 4.5, 2.0  # an edge, forward and backward, as a sparse one or in a panel
NODE_NS = 40.0  # a node's activation and its share of calls
SINGLE_COST = 0.4  # one sample by itself over a narrow tile, on one thread: 0.28 to 0.41 if sparse
REDUCE_NS = 0.2  # adding a parameter's gradient to the sum, for each team
BARRIER_NS = 800.0
# A wide row that one thread reads and another one has computed: the nets of `layers.py` at 5-20 %,
# batch 1,024, schedule="levels", took two threads 85 to 140 us a tile more than half of one's time.
EXCHANGE_NS = 35.0
WORTH_THREAD_NS = 50_000.0  # work that makes it worthwhile to wake another thread
WORTH_BARRIER = 16_384  # edges times samples of a thread that make a barrier worthwhile; assumed


class _Measured(NamedTuple):
    """What differs between processors.

    Attributes
    ----------
    streaming_group : int
        Tiles side by side that share what full blocks read of weights and gradients beyond L2:
        `layers.py` at 100 %.
    block_edge_ns : dict of int to float
        Forward edge by the bytes of a source block that stays in L1; `layers.py`, 2 to 50 %.
    far_edge_ns, piece_ns : float
        Forward edge whose source comes from L2, and the extra cost of each piece.
    far_share, near_share : float
        The share of its edges from which a block is faster filled, with many sources and with few:
        `layers.py` from 50 % to 100 % (784 and 1,024 sources), `blocks.py` (16 to 128 sources).
    """

    streaming_group: int
    block_edge_ns: dict[int, float]
    far_edge_ns: float
    piece_ns: float
    far_share: float
    near_share: float


# Zen 4: 32 KiB L1, 1 MiB L2; multiply-adds take twice the time of the Intel's, loads do not.
_ZEN4 = _Measured(8, {2**15: 1.0, 2**16: 1.2}, 2.6, 4.0, 0.66, 0.8)
# AVX-512 on an Intel of 48 KiB L1 and 2 MiB L2, where one tile takes 0.8 of the time of four.
_AVX512 = _Measured(1, {2**15: 0.93, 2**16: 1.1}, 1.55, 4.5, 0.58, 0.83)
# AVX2 on a Zen 3 of 32 KiB L1. Eight tiles, half as wide, take 0.9 of the time of one.
_AVX2 = _Measured(8, {2**15: 0.6, 2**16: 0.7}, 1.0, 12.0, 0.6, 0.82)

_HERE = _ZEN4 if CPU == "znver4" else _AVX512 if REGISTER_BYTES == 64 else _AVX2
STREAMING_GROUP = _HERE.streaming_group
BLOCK_EDGE_NS, FAR_EDGE_NS, PIECE_NS = _HERE.block_edge_ns, _HERE.far_edge_ns, _HERE.piece_ns
FAR_SHARE, NEAR_SHARE = _HERE.far_share, _HERE.near_share
