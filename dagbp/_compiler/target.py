"""Numba's target for kernels: Numba's own target with fewer language features.

Kernels use numbers, pointers, tuples and arrays. They raise nothing, and their loops over sizes
count up. So this target differs from Numba's own one in three ways. It imports only what kernels
use (Numba imports SciPy's linear algebra, among others). A function returns its result, without a
status for exceptions. A loop compares its counter with the end, while Numba first computes the
number of iterations. Functions of users are compiled for Numba's own target.
`fast` has the measurements.
"""

from functools import cache

from llvmlite import ir
from numba.core import cgutils, fastmathpass, types
from numba.core.callconv import BaseCallConv, Status
from numba.core.cpu import CPUContext
from numba.core.dispatcher import Dispatcher
from numba.core.imputils import RefType, Registry, iternext_impl
from numba.core.registry import CPUTarget
from numba.core.target_extension import (
    CPU,
    dispatcher_registry,
    jit_registry,
    target_override,
    target_registry,
)
from numba.core.typing.context import Context
from numba.core.utils import threadsafe_cached_property


@cache
def _typed():
    """Import and return the registries of types of expressions."""
    from numba.core.typing import mathdecl, npydecl

    return mathdecl.registry, npydecl.registry


@cache
def _lowered():
    """Import and return the registries of the code of expressions.

    Numba 0.62 stores the code of an intrinsic in the first registry of the target that used it
    last. So both targets must have the same first registry, which is that of complex numbers.
    """
    from numba.core import optional  # noqa: F401
    from numba.cpython import (  # noqa: F401
        builtins,
        cmathimpl,
        mathimpl,
        numbers,
        rangeobj,
        tupleobj,
    )
    from numba.np import npyimpl

    return cmathimpl.registry, mathimpl.registry, npyimpl.registry


class _Convention(BaseCallConv):
    """The calling convention: arguments and results by value, no status."""

    def _make_call_helper(self, builder):
        return None

    def get_function_type(self, restype, argtypes):
        model = self.context.data_model_manager[restype]
        arguments = self._get_arg_packer(argtypes).argument_types
        return ir.FunctionType(model.get_return_type(), list(arguments))

    def get_arguments(self, func):
        return func.args

    def decorate_function(self, fn, args, fe_argtypes, noalias=False):
        pass

    def call_function(self, builder, callee, resty, argtys, args, attrs=()):
        """Return the status, which is always the same, and the result."""
        values = self._get_arg_packer(argtys).as_arguments(builder, args)
        result = builder.call(callee, list(values), attrs=attrs)
        return _OK, self.context.get_returned_value(builder, resty, result)

    def return_value(self, builder, retval):
        builder.ret(retval)

    def return_user_exc(self, builder, *args, **kwargs):
        builder.unreachable()

    def return_status_propagate(self, builder, status):
        builder.unreachable()

    def raise_error(self, builder, pyapi, status):
        pass


_YES, _NO = cgutils.true_bit, cgutils.false_bit
_OK = Status(
    code=ir.Constant(ir.IntType(32), 0),
    is_ok=_YES,
    is_none=_NO,
    is_error=_NO,
    is_stop_iteration=_NO,
    is_python_exc=_NO,
    is_user_exc=_NO,
    excinfoptr=None,
)


class _Typing(Context):
    def load_additional_registries(self):
        for registry in _typed():
            self.install_registry(registry)


class _Context(CPUContext):
    def load_additional_registries(self):
        for registry in _lowered():
            self.install_registry(registry)

    def refresh(self):
        with target_override(self.target_name):
            super().refresh()
        self.install_registry(_loops)  # last: the latest definition wins

    @property
    def call_conv(self):
        return _Convention(self)

    def insert_user_function(self, func, fndesc, libs=()):
        def call(context, builder, sig, args):
            callee = context.declare_function(builder.module, fndesc)
            kinds = fndesc.restype, fndesc.argtypes
            return context.call_conv.call_function(builder, callee, *kinds, args)[1]

        call.libs = tuple(libs)
        self._defns[func].append(call, fndesc.argtypes)

    def create_cfunc_wrapper(self, library, fndesc, env, call_helper, release_gil=False):
        kinds = fndesc.restype, fndesc.argtypes
        result, *arguments = (self.get_value_type(kind) for kind in (kinds[0], *kinds[1]))
        module = self.create_module("cfunc_wrapper")
        kind = ir.FunctionType(result, arguments)
        wrapper = ir.Function(module, kind, fndesc.llvm_cfunc_wrapper_name)
        builder = ir.IRBuilder(wrapper.append_basic_block("entry"))
        callee = self.declare_function(module, fndesc)
        builder.ret(self.call_conv.call_function(builder, callee, *kinds, wrapper.args)[1])
        library.add_ir_module(module)

    def post_lowering(self, mod, library):
        if self.fastmath:
            fastmathpass.rewrite_module(mod, self.fastmath)


# --- loops over sizes: the end plus a step must be less than 2**64 ---

_loops = Registry("dagbp's loops")
_RANGE, _LOOP = types.unsigned_range_state64_type, types.unsigned_range_iter64_type


@_loops.lower("getiter", _RANGE)
def _begin(context, builder, sig, args):
    state = cgutils.create_struct_proxy(_RANGE)(context, builder, args[0])
    loop = cgutils.create_struct_proxy(_LOOP)(context, builder)
    loop.iter = loop.count = cgutils.alloca_once_value(builder, state.start)
    loop.stop, loop.step = state.stop, state.step
    return loop._getvalue()


@_loops.lower("iternext", _LOOP)
@iternext_impl(RefType.UNTRACKED)
def _advance(context, builder, sig, args, result):
    loop = cgutils.create_struct_proxy(_LOOP)(context, builder, args[0])
    value = builder.load(loop.iter)
    result.set_valid(builder.icmp_unsigned("<", value, loop.stop))
    result.yield_(value)
    builder.store(builder.add(value, loop.step, flags=["nuw"]), loop.iter)


# --- the target and its dispatchers ---


class Kernels(CPU):
    """Marks the target in Numba's registries."""


class _Target(CPUTarget):
    @threadsafe_cached_property
    def _toplevel_target_context(self):
        return _Context(self.typing_context, self._target_name)

    @threadsafe_cached_property
    def _toplevel_typing_context(self):
        return _Typing()


target_registry.pop("dagbp", None)  # if the package was imported before, and now again
target_registry["dagbp"] = Kernels
TARGET = _Target("dagbp")


class KernelDispatcher(Dispatcher):
    """A kernel that other kernels or Python call."""

    targetdescr = TARGET


def _jit(**options):
    """Return a decorator for Numba's own functions that are written in Python."""
    return lambda function: KernelDispatcher(function, targetoptions=options)


dispatcher_registry[Kernels] = KernelDispatcher
jit_registry[Kernels] = _jit
