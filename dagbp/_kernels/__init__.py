"""Kernels: the numerical code, compiled by Numba, on LLVM vectors.

`vectors` has the types and intrinsics, `formulas` the mathematics of values and parameters, `edges`
the sums over edges, and `passes` the loops over rows, tiles and steps. `frames` packs the addresses
of an object's arrays into one record, and `signatures` declares kernels that are called by address.

Kernels know no graphs, labels or options, and callers check every index before the call. May import
the compiler, `_machine` and `_checks`.
"""
