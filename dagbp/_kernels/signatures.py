"""C kernels: kernels that are called by address, with the signature stated at the function.

`c_function` marks such a kernel and names the types of its arguments. It returns nothing. It is
compiled when `compiled` is first called for a dtype and a width of rows:

>>> from dagbp._kernels.edges.source_blocks import source_block_sums
>>> source_block_sums.arguments
('i64*', 'real*', 'i32*', 'real*', 'tile', 'tile', 'size', 'size')

========== ====================================================================================
word       type
========== ====================================================================================
real       the network's dtype
tile       rows of a tile, `row_bytes` wide (see `vectors.vector`)
tag        a null pointer that carries the dtype, in functions for tiles of any width
frame      a record of addresses (see `frames`)
size       an unsigned size or index
f64 i64    float64 and int64; i32, u64, u32 and u8 likewise
source     the dtype of the user's samples
word*      a C pointer to such elements
========== ====================================================================================

A *template* is a C kernel in which some names are defined nowhere, as `f` in

    @c_function("real*, real*, size")
    def forward(s, x, n): ... f(load_chunk(s, i)) ...

`forward.specialised("tanh", dtype, f=tanh)` compiles a copy in which they mean the given objects.
"""

import ctypes
from types import FunctionType

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
_NUMBERS = {"size": ctypes.c_size_t, "f64": ctypes.c_double, "i64": ctypes.c_int64}


class CKernel:
    """A kernel that is called by address; `arguments` are types, in the words above."""

    def __init__(self, function, arguments, fastmath):
        self.function, self.arguments, self._fastmath = function, tuple(arguments), fastmath
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def compiled(self, dtype=None, row_bytes=None, source=None):
        """Return the C function, compiled at the first call with these arguments.

        dtype: the network's, on which `real`, `tile` and `tag` depend. row_bytes: the width of a
        tile's rows. source: the dtype of the user's samples.
        """
        return compiled(self._compile, dtype, row_bytes, source)

    def specialised(self, name, dtype, *, disk=True, **names):
        """Compile a copy of a template; the caller keeps it for later calls.

        `names` are the objects that the template's free names mean. A closure would do the same,
        but would never be found in the disk cache. There `name` tells the copies apart, as they
        share one code object. It must be the same in every process. Functions of a user have
        disk=False.
        """
        template = self.function
        copy = FunctionType(template.__code__, {**template.__globals__, **names})
        copy.__name__ = copy.__qualname__ = f"{template.__name__}_{name}"
        copy.__module__ = template.__module__
        return compile_callback(copy, self._signature(dtype), fastmath=self._fastmath, disk=disk)

    def call_from_python(self, *args):
        """Return a Python function that calls `compiled(*args)`; pointers are passed as ints.

        It is valid for as long as the process lives.
        """
        return compiled(self._python_function, *args)

    @property
    def prototype(self):
        """The function's type in ctypes: `prototype(address)` is a Python function."""
        kinds = [
            ctypes.c_void_p if _is_pointer(word) else _NUMBERS[word] for word in self.arguments
        ]
        return ctypes.CFUNCTYPE(None, *kinds)

    def _python_function(self, *args):
        return self.prototype(self.compiled(*args).address)

    def _compile(self, dtype, row_bytes, source):
        signature = self._signature(dtype, row_bytes, source)
        return compile_callback(self.function, signature, fastmath=self._fastmath)

    def _signature(self, dtype, row_bytes=None, source=None):
        words = dict(_FIXED)
        if dtype is not None:
            real = words["real"] = numba.from_dtype(np.dtype(dtype))
            words["tag"] = Tile(real, 1)
            if row_bytes is not None:
                words["tile"] = Tile(real, row_bytes * 8 // real.bitwidth)
        if source is not None:
            words["source"] = numba.from_dtype(np.dtype(source))
        return types.void(*(_type(word, words) for word in self.arguments))


def _is_pointer(word):
    return word.endswith("*") or word in ("tile", "tag", "frame")


def _type(word, words):
    return types.CPointer(_type(word[:-1], words)) if word.endswith("*") else words[word]


def c_function(arguments, *, fastmath=EXACT):
    """Return a decorator for a kernel called by address, with argument types in the words above."""
    return lambda function: CKernel(function, arguments.replace(" ", "").split(","), fastmath)
