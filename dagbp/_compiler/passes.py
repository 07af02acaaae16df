"""Numba's passes for kernels: only the passes that can change the code of a kernel.

Kernels contain no closures, no `with` blocks, no array expressions and no reference counts. Each of
their variables has one type throughout.
"""

from typing import Any, ClassVar

from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import NativeLowering, NoPythonBackend, NopythonTypeInference
from numba.core.untyped_passes import FixupArgs, InlineInlinables, IRProcessing, TranslateByteCode

from dagbp._compiler.machine_code import UseInnerLibrary


class _Signatures:
    """Numba's typing context with a memo: type inference asks again and again for the same ones."""

    _known: ClassVar[dict[Any, Any]] = {}

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call, None if it has none."""
        call = self._context, function, tuple(args), tuple(kws.items())
        found = self._known.get(call)
        if found is None:
            found = self._context.resolve_function_type(function, args, kws)
            if found is not None:  # a missing one may be defined later
                self._known[call] = found
        return found


@register_pass(mutates_CFG=True, analysis_only=False)
class _Inference(NopythonTypeInference):
    _name = "dagbp_inference"

    def run_pass(self, state: Any) -> bool:
        context, state.typingctx = state.typingctx, _Signatures(state.typingctx)
        try:
            return bool(super().run_pass(state))
        finally:
            state.typingctx = context


_UNTYPED = TranslateByteCode, FixupArgs, IRProcessing, InlineInlinables
_TYPED = _Inference, NativeLowering, NoPythonBackend


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
