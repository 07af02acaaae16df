"""The architecture, read from the source: allowed imports, and limits on every module."""

import ast
from functools import cache
from pathlib import Path

import pytest

import dagbp

PACKAGE = Path(dagbp.__file__).parent
PUBLIC = {"activations", "losses", "optimizers"}
BASE = {"_errors", "_version", "_checks", "_locks", "_memory", "_user_functions", "_machine"}

# Strata from low to high, and what each may import beside itself and the base.
MAY_IMPORT = {
    "_errors": set(),
    "_version": set(),
    "_checks": {"_errors"},
    "_locks": set(),
    "_machine": set(),
    "_memory": {"_errors", "_machine"},
    "_user_functions": {"_checks", "_errors", "_locks"},
    "_compiler": BASE,
    "_kernels": BASE | {"_compiler"},
    "activations": BASE | {"_compiler", "_kernels"},
    "losses": BASE | {"_compiler", "_kernels"},
    "optimizers": BASE | {"_compiler", "_kernels"},
    "_graph": BASE,
    "_plan": BASE | {"_compiler", "_graph"},
    "_layout": BASE | {"_compiler", "_kernels", "_plan"},
    "_data": BASE | {"_graph", "_plan", "activations", "losses"},
    "_engine": BASE | PUBLIC | {"_compiler", "_kernels", "_plan", "_layout", "_data"},
    "_history": BASE,
    "_files": BASE,
    "callbacks": BASE | {"_history", "_files"},
    "_model": BASE
    | PUBLIC
    | {"_graph", "_plan", "_layout", "_data", "_engine", "_history", "_files"},
    "_training": BASE
    | PUBLIC
    | {"_graph", "_plan", "_data", "_engine", "_history", "_model", "callbacks"},
    "_network": BASE
    | PUBLIC
    | {"_graph", "_data", "_engine", "_history", "_model", "_training", "callbacks"},
    "_compile": BASE | PUBLIC | {"_graph", "_model", "_network"},
}
# Public leaves: they may import everything below, and nothing below imports them.
LEAVES = {"plotting", "estimators", "testing", "reference"}

# Packages that a user may not have, or that take long to import and are rarely used.
OPTIONAL = {"sklearn", "pandas", "matplotlib", "tqdm", "IPython"}
# What is reached across objects all the same: named tuples' methods, and one owner each.
PRIVATE = {
    "_replace": None,
    "_fields": None,
    "_asdict": None,
    "_model": "_network.py",  # `model_of` and nothing else
    "_getframe": ["_locks.py", "_model/engine_lock.py"],
    "_current_frames": "_locks.py",
    "_initializing": "_locks.py",
}
RIDDLES = ("What", "How", "Where", "Which", "Whether", "Who", "From which", "Why")


@cache
def modules():
    """Return the syntax tree of every module by its path below the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in paths}


def name_of(path):
    """Return the module's name: of `_plan/plan.py` it is dagbp._plan.plan."""
    parts = ("dagbp", *path.removesuffix(".py").split("/"))
    return ".".join(parts).removesuffix(".__init__")


def stratum(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "dagbp"


def imported(tree, known):
    """Yield the modules of the package that a tree imports.

    Not those for type checkers alone, and not leaves that a function imports when it is called.
    """
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.FunctionDef)
        or (isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test))
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dagbp"):
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in known else node.module


@cache
def arrows():
    """Return the imported modules of each module."""
    known = {name_of(path) for path in modules()}
    return {
        name_of(path): set(imported(tree, known)) - {name_of(path), "dagbp"}
        for path, tree in modules().items()
    }


def test_every_stratum_is_listed():
    found = {stratum(name) for name in arrows()} - {"dagbp"}
    assert found == set(MAY_IMPORT) | LEAVES


def test_arrows_go_down():
    wrong = [
        f"{module} imports {target}"
        for module, targets in arrows().items()
        for target in sorted(targets)
        if (of := stratum(module)) in MAY_IMPORT
        and (to := stratum(target)) != of
        and to not in MAY_IMPORT[of]
    ]
    assert wrong == []


def test_strata_have_an_order():
    """Each stratum imports only those above it in the table, so there is no circle of strata."""
    seen = set()
    for name, targets in MAY_IMPORT.items():
        assert targets - seen - {name} == set() or name in BASE, (name, targets - seen)
        seen |= {name} | (BASE if name == "_user_functions" else set())


def test_no_circles():
    done, path = set(), []

    def visit(module):
        if module in path:
            pytest.fail(" -> ".join([*path[path.index(module) :], module]))
        if module in done:
            return
        path.append(module)
        for target in sorted(arrows().get(module, ())):
            visit(target)
        done.add(path.pop())

    for module in arrows():
        visit(module)


def test_imports_stand_at_the_top():
    """Inside functions, only optional packages and leaves are imported."""
    wrong = []
    for path, tree in modules().items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                names = []
                if isinstance(node, ast.Import):
                    names = [name.name for name in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module]
                for name in names:
                    parts = name.split(".")
                    leaf = parts[0] == "dagbp" and len(parts) > 1 and parts[1] in LEAVES
                    if parts[0] not in OPTIONAL and not leaf and not path.startswith("_compiler/"):
                        wrong.append(f"{path}:{node.lineno} {name}")
    assert wrong == []


def test_private_attributes_belong_to_their_object():
    wrong = []
    for path, tree in modules().items():
        if path.startswith("_compiler/"):  # the only package that knows Numba's inside
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            owners = PRIVATE.get(node.attr, "")
            allowed = owners is None or path == owners or path in tuple(owners)
            if not own and not allowed and not node.attr.startswith("__"):
                wrong.append(f"{path}:{node.lineno} .{node.attr}")
    assert wrong == []


NUMBA = {
    "numba",
    "numba.config",
    "numba.core.cgutils",
    "numba.core.types",
    "numba.extending",
    "numba.typed",
}


def test_numba_outside_the_compiler_is_its_public_part():
    wrong = []
    for path, tree in modules().items():
        if path.startswith("_compiler/"):
            continue
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == "numba.core":
                    names = [f"{node.module}.{name.name}" for name in node.names]
            wrong += [
                f"{path}:{node.lineno} {name}"
                for name in names
                if name.startswith("numba") and name not in NUMBA
            ]
    assert wrong == []


def test_sizes():
    """No module over 500 lines, no function body over 60; docstrings of functions do not count."""
    long = []
    for path, tree in modules().items():
        lines = (PACKAGE / path).read_text().count("\n")
        if lines > 500 and path != "_network.py":  # whose lines are public docstrings
            long.append(f"{path}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                size = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if size > 60:
                    long.append(f"{path}:{node.lineno} {node.name}: {size} lines")
    assert long == []


def test_every_module_has_a_docstring():
    wrong = []
    for path, tree in modules().items():
        first = (ast.get_docstring(tree) or "").split("\n", 1)[0]
        if not first or first.startswith(RIDDLES):
            wrong.append(f"{path}: {first!r}")
        if path.endswith("__init__.py") and path.count("/") == 1 and path.startswith("_"):
            text = ast.get_docstring(tree) or ""
            if "import" not in text or len(text) < 200:
                wrong.append(f"{path}: a paragraph must say what it is and what it may import")
    assert wrong == []


def test_few_modules_and_packages_at_the_top():
    rooms = {path.split("/")[0] for path in modules()}
    assert len(rooms) <= 32, sorted(rooms)
