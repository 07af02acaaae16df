"""From Numba's typed functions to machine code, with LLVM in threads of its own.

Numba parses, links and optimises each function by itself, under a lock, and llvmlite admits one
thread at a time to LLVM. Here Numba only writes LLVM's assembly. A *job* for each entry or callback
does the rest with all that it calls, in a thread and an LLVM context of its own, while Numba works
on the next function in Python: modules of different contexts have nothing in common, and ctypes
releases the GIL. `benchmarks/suites/startup.py` shows what a first step takes.
"""

import ctypes
import threading
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import llvmlite.binding as llvm
from llvmlite.binding import ffi
from numba.core import cgutils, config
from numba.core.codegen import CodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.llvm_bindings import create_pass_builder
from numba.core.lowering import Lower
from numba.core.transforms import canonicalize_cfg
from numba.core.typed_passes import (
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
)
from numba.core.untyped_passes import (
    FixupArgs,
    InlineInlinables,
    IRProcessing,
    TranslateByteCode,
)

from dagbp._locks import Stage, at_fork


class Made(NamedTuple):
    """What a job makes: object code, the optimised module as bitcode, its global variables."""

    code: bytes
    bitcode: bytes
    variables: list[str]


class Job:
    """The machine code of a function and all that it calls, in the making.

    Parameters
    ----------
    codegen : numba.core.codegen.JITCPUCodegen
        For which processor, with which options.
    modules : list of str or bytes
        Assembly or bitcode.
    """

    def __init__(self, codegen: Any, modules: list[str | bytes]) -> None:
        options: dict[str, Any] = {"opt": config.OPT}  # type: ignore[attr-defined]
        codegen._customize_tm_options(options)
        self._task = modules, options, codegen._data_layout
        self._made: Made | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="dagbp compiles")
        _running.add(self)
        if config.LLVM_PASS_TIMINGS:  # type: ignore[attr-defined]  # LLVM's timers are global
            self._run()
            return
        try:
            self._thread.start()
        except RuntimeError:  # there can be no more threads
            self._run()

    def result(self) -> Made:
        """Return what has been made, once it has; after an error another call tries again."""
        self.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error
        if self._made is None:
            self._made = _compile(*self._task)
        return self._made

    def wait(self) -> None:
        """Return once it has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._made = _compile(*self._task)
        except BaseException as error:
            self._error = error
        finally:
            _running.discard(self)


_running: set[Job] = set()


def _finish() -> None:
    """Wait for all jobs."""
    for job in list(_running):
        job.wait()


def _before_fork() -> None:
    """Wait for who compiles and for all jobs, and let none begin until there are two processes.

    A forked child has none of their threads, but Numba's lock and LLVM's as they are.
    """
    global_compiler_lock.acquire()
    _finish()


def _after_fork() -> None:
    global_compiler_lock.release()


at_fork(
    Stage.COMPILER, before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
)


def _compile(modules: list[str | bytes], options: dict[str, Any], layout: str) -> Made:
    # Each call of llvmlite may wait for the GIL: the fewer the better.
    context = llvm.create_context()
    whole, *others = (
        (llvm.parse_assembly if isinstance(module, str) else llvm.parse_bitcode)(module, context)
        for module in modules
    )
    for other in others:
        whole.link_in(other)
    whole.data_layout = layout
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(**options)
    builder = create_pass_builder(
        machine,
        opt=config.OPT,  # type: ignore[attr-defined]
        loop_vectorize=config.LOOP_VECTORIZE,  # type: ignore[attr-defined]
        slp_vectorize=config.SLP_VECTORIZE,  # type: ignore[attr-defined]
    )
    whole.verify()
    _unlocked("LLVMPY_RunNewModulePassManager")(builder.getModulePassManager(), whole, builder)
    with ffi.OutputString() as error:
        buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, whole, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        start, size = ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer)
        code = ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)
    return Made(code, whole.as_bitcode(), [one.name for one in whole.global_variables])


def _unlocked(name: str) -> Any:
    """Return a function of llvmlite's C interface, without its lock where that can be had."""
    function = getattr(ffi.lib, name)
    return getattr(function, "_cfn", function)


class Library(CodeLibrary):
    """A function as Numba lowers it: LLVM's assembly, and the libraries of what it calls."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self._own: list[str] = []
        self._called: list[Any] = []

    def add_ir_module(self, ir_module: Any) -> None:
        """Keep a module's assembly."""
        self._raise_if_finalized()
        self._own.append(cgutils.normalize_ir_text(str(ir_module)))

    def add_linking_library(self, library: Any) -> None:
        """Keep a library of functions that these here call."""
        self._raise_if_finalized()
        self._called.append(library)

    def finalize(self) -> None:
        """Admit no more."""
        self._finalized = True

    def _all_called(self, seen: set[int]) -> Iterator[str | bytes]:
        for library in self._called:
            if id(library) in seen:
                continue
            seen.add(id(library))
            if isinstance(library, Library):
                yield from library._own
                yield from library._all_called(seen)
            else:  # one of Numba's own
                yield library._get_module_for_linking().as_bitcode()

    def get_function(self, name: str) -> Any:
        """Refuse: there are no functions of LLVM's yet."""
        raise NotImplementedError

    def get_llvm_str(self) -> str:
        """Return the assembly as Numba has written it."""
        return "\n".join(self._own)

    def get_asm_str(self) -> str:
        """Refuse: there is no machine code to read."""
        raise NotImplementedError


class InnerLibrary(Library):
    """Code that only goes into its callers: never machine code of its own."""

    def add_ir_module(self, ir_module: Any) -> None:
        """Keep a module's assembly, its functions to be dropped where callers have merged them."""
        for function in ir_module.functions:
            if not function.is_declaration and not function.linkage:
                function.linkage = "linkonce_odr"
        super().add_ir_module(ir_module)

    def get_pointer_to_function(self, name: str) -> int:
        """Return that there is none."""
        return 0

    @property
    def codegen(self) -> Any:
        """What would write the environment of Python constants, of which there are none."""
        return _NoEnvironment


class _NoEnvironment:
    @staticmethod
    def set_env(name: str, env: Any) -> None:
        """Do nothing."""


class OuterLibrary(Library):
    """Code of an entry or callback, of which a job makes machine code; who asks for it waits."""

    _job: Job
    _loaded: Any = None

    def finalize(self) -> None:
        """Admit no more, and begin with the machine code."""
        super().finalize()
        modules = [*self._own, *self._all_called({id(self)})]
        self._job = Job(self._codegen, modules)

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of a function, 0 if there is none."""
        return int(self._ready().get_pointer_to_function(name))

    def _ready(self) -> Any:
        if self._loaded is None:
            self._loaded = self._codegen.unserialize_library(self.serialize_using_object_code())
        return self._loaded

    @property
    def _final_module(self) -> Any:
        return self._ready()._shared_module

    @property
    def has_dynamic_globals(self) -> bool:
        """Whether the optimised code has addresses of this process in it."""
        names = self._made().variables
        return any(name.startswith("numba.dynamic.globals") for name in names)

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """Return what Numba makes a library of that comes from the disk."""
        made = self._made()
        return self.name, "object", (made.code, made.bitcode)

    def _made(self) -> Made:
        self._ensure_finalized()
        return self._job.result()


class _Lower(Lower):
    """Numba's, without debugging information, for which it asks LLVM the size of each variable."""

    def alloca_lltype(self, name: str, lltype: Any, datamodel: Any = None) -> Any:
        """Allocate a variable."""
        return cgutils.alloca_once(self.builder, lltype, name=name, zfill=False)

    def storevar(self, value: Any, name: str, argidx: Any = None) -> None:
        """Store a value into a variable, an argument as any other."""
        super().storevar(value, name)


class _Signatures:
    """Numba's typing context, which remembers what functions return for arguments of some types.

    Inference asks for that at every call, and again until the types of a function are settled:
    mostly for what it has been told before.
    """

    _known: ClassVar[dict[Any, Any]] = {}

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call, None if there is none."""
        call = self._context, function, tuple(args), tuple(kws.items())
        found = self._known.get(call)
        if found is None:
            found = self._context.resolve_function_type(function, args, kws)
            if found is not None:  # one that is missing now may come
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


@register_pass(mutates_CFG=True, analysis_only=False)
class _Blocks(IRProcessing):
    """Numba's without the lifetimes of variables, which nothing asks for."""

    _name = "dagbp_blocks"

    def run_pass(self, state: Any) -> bool:
        state.func_ir.blocks = canonicalize_cfg(state.func_ir.blocks)
        return True


def compiler(library: type[Library]) -> Any:
    """Return a compiler whose last pass puts code into libraries of this class.

    Its passes are those of Numba's that do something for kernels, where there are no closures, no
    arrays to rewrite, no blocks of `with` and nothing to count references of, and where a variable
    has one type throughout.
    """

    @register_pass(mutates_CFG=True, analysis_only=False)
    class Lowering(NativeLowering):
        _name = f"dagbp_{library.__name__}"

        @property
        def lowering_class(self) -> Any:
            return _Lower

        def run_pass(self, state: Any) -> bool:
            state.library = library(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            return bool(super().run_pass(state))

    untyped = TranslateByteCode, FixupArgs, _Blocks, InlineInlinables
    typed = _Inference, Lowering, NoPythonBackend

    class Compiler(CompilerBase):
        def define_pipelines(self) -> list[Any]:
            manager = PassManager("dagbp")
            for one in (*untyped, *typed):
                manager.add_pass(one, one._name)
            manager.finalize()
            return [manager]

    return Compiler
