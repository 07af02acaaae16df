"""C functions among the kernels: the signature is stated once, in front of the function.

A kernel that is called by its address (from Python or from another kernel) is marked with
`c_function` and the types of its arguments. It returns nothing. It is compiled on demand, once for
each dtype and width of tiles:

>>> from dagbp._kernels.edges.source_blocks import source_block_sums
>>> source_block_sums.arguments
('i64*', 'real*', 'i32*', 'real*', 'tile', 'tile', 'size', 'size')

========== ====================================================================================
word       type
========== ====================================================================================
real       the network's dtype
tile       rows of a tile, `row_bytes` wide (see `vectors.vector`)
tag        a null pointer that carries the dtype, in functions of any width
frame      a record of addresses (see `frames`)
size       an unsigned size or index
f64 i64    numbers, and i32 u64 u32 u8 likewise
source     the dtype of samples as the user gave them
word*      a C pointer to such elements
========== ====================================================================================
"""

import numba
import numpy as np
from numba.core import types

from dagbp._compiler.decorators import EXACT, compile_callback, compiled
from dagbp._kernels.vectors.vector import Tile

_FIXED = {
    "size": types.uintp,
    "frame": types.CPointer(types.uint64),
    "f64": types.float64,
    "i64": types.int64,
    "i32": types.int32,
    "u64": types.uint64,
    "u32": types.uint32,
    "u8": types.uint8,
}


class CKernel:
    """A kernel that is called by address.

    Attributes
    ----------
    function : callable
        The Python function.
    arguments : tuple of str
        The type of each argument, in the words above.
    """

    def __init__(self, function, arguments, fastmath):
        self.function, self.arguments, self._fastmath = function, tuple(arguments), fastmath
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def compiled(self, dtype=None, row_bytes=None, source=None):
        """Return the C function for a dtype, rows of so many bytes and a dtype of samples."""
        return compiled(self._compile, dtype, row_bytes, source)

    def _compile(self, dtype, row_bytes, source):
        words = self._words(dtype, row_bytes, source)
        signature = types.void(*(_type(word, words) for word in self.arguments))
        return compile_callback(self.function, signature, fastmath=self._fastmath)

    def _words(self, dtype, row_bytes, source):
        words = dict(_FIXED)
        if dtype is not None:
            real = words["real"] = numba.from_dtype(np.dtype(dtype))
            words["tag"] = Tile(real, 1)
            if row_bytes is not None:
                words["tile"] = Tile(real, row_bytes * 8 // real.bitwidth)
        if source is not None:
            words["source"] = numba.from_dtype(np.dtype(source))
        return words


def _type(word, words):
    if word.endswith("*"):
        return types.CPointer(_type(word[:-1], words))
    return words[word]


def c_function(arguments, *, fastmath=EXACT):
    """Return a decorator for a kernel that is called by address.

    Parameters
    ----------
    arguments : str
        The types of the arguments, in the words above, separated by commas.
    fastmath : set of str
        LLVM's floating-point flags, `FAST` or `EXACT`.
    """
    return lambda function: CKernel(function, arguments.replace(" ", "").split(","), fastmath)
