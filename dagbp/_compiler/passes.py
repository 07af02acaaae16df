"""Numba's passes for kernels: only the passes that can change the code of a kernel.

Kernels contain no closures, no `with` blocks, no array expressions and no reference counts. Each of
their variables has one type throughout.
"""

from typing import Any

from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import NativeLowering, NoPythonBackend, NopythonTypeInference
from numba.core.untyped_passes import FixupArgs, InlineInlinables, IRProcessing, TranslateByteCode

from dagbp._compiler.machine_code import UseInnerLibrary

_UNTYPED = TranslateByteCode, FixupArgs, IRProcessing, InlineInlinables
_TYPED = NopythonTypeInference, NativeLowering, NoPythonBackend


def _pipeline(*passes: Any) -> list[Any]:
    manager = PassManager("dagbp")
    for one in passes:
        manager.add_pass(one, one._name)
    manager.finalize()
    return [manager]


class OuterCompiler(CompilerBase):
    """Compiles entries and C functions."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        return _pipeline(*_UNTYPED, *_TYPED)


class InnerCompiler(CompilerBase):
    """Compiles functions that are called only by other compiled functions."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        return _pipeline(*_UNTYPED, UseInnerLibrary, *_TYPED)
