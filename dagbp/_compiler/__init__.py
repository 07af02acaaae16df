"""Compiles kernels to machine code: the only package that imports private modules of Numba.

Other packages of dagbp import `decorators`, and `type_rules` for the kernels' own types. Of Numba
they import `numba`, `numba.extending`, `numba.core.types` and `numba.core.cgutils` only.

`decorators` chooses one of two compilers. `plain` uses Numba's public interface and works with
every admitted version. `fast` (with `passes`, `machine_code` and `target`) replaces parts of
Numba, and is used only with versions that it was tested with. `disk_cache` keeps the code of
both. May import `_errors` and `_locks`.
"""
