"""The environment of a measurement: the same cores, BLAS threads and allocator for all sides.

`enter` must run before NumPy is imported, since BLAS, OpenMP and the allocator read the environment
when they are loaded. ``DAGBP_THREADS`` (default 1) is the number of cores for all sides.
``DAGBP_INSTRUCTIONS=avx2`` restricts all sides to AVX2 on a processor that has AVX-512.
"""

import os
import sys

THREADS = int(os.environ.get("DAGBP_THREADS", "1"))
INSTRUCTIONS = os.environ.get("DAGBP_INSTRUCTIONS", "")
RESTRICTIONS = {
    "": {},
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",  # those of haswell, not of the host
        "OPENBLAS_CORETYPE": "Haswell",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}
CAN_PIN = hasattr(os, "sched_setaffinity")
CORES = sorted(os.sched_getaffinity(0)) if CAN_PIN else list(range(os.cpu_count() or 1))
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # BLAS detects the processor best


def variables(threads=THREADS):
    """Return the environment variables of a measurement on so many threads."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | {
        **RESTRICTIONS[INSTRUCTIONS],
        "DAGBP_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "JAX_PLATFORMS": "cpu",
        # glibc returns large buffers to the system at every free. Libraries that allocate in each
        # step (NumPy, SciPy, PyTorch) would then fault in the same pages again and again.
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**40),
    }


def enter():
    """Set the environment of this process, and pin it to its first `THREADS` cores.

    On Linux this executes the interpreter again where a variable differs: glibc reads the
    allocator's variables only when a process starts.
    """
    wanted = variables()
    if sys.platform == "linux" and wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)
    for name in UNSET:
        if name not in wanted:
            os.environ.pop(name, None)
    os.environ.update(wanted)
    hold_to(THREADS)


def hold_to(cores):
    """Pin this process, and those it starts, to its first `cores` cores, on Linux."""
    if CAN_PIN:
        os.sched_setaffinity(0, CORES[:cores])
