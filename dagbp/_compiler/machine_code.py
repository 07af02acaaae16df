"""Runs LLVM once for an entry with all its callees, not once for each function.

Numba optimises each function by itself, and again in each of its callers. Kernels consist of many
small functions that are called only by other kernels, so here these stay unoptimised, and LLVM sees
them only inside the entry or C function that calls them. Their libraries need neither machine code
nor an address.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import FunctionPass, register_pass


class InnerLibrary(JITCodeLibrary):
    """The LLVM module of a function that is called only by other compiled functions."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        """Do nothing."""

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0: there is no machine code."""
        return 0

    @property
    def codegen(self) -> Any:
        """An object that ignores the environment of Python constants: kernels have none."""
        return _NoEnvironment


class _NoEnvironment:
    @staticmethod
    def set_env(name: str, env: Any) -> None:
        """Do nothing."""


@register_pass(mutates_CFG=False, analysis_only=True)
class UseInnerLibrary(FunctionPass):
    """Compiles a function into an `InnerLibrary`."""

    _name = "dagbp_inner_library"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Set the library."""
        state.library = InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return False
