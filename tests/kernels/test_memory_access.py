"""Every emitted access to memory names its type: llvmlite's pointers will have no element type."""

import ast
from pathlib import Path

import dagbp

KERNELS = Path(dagbp.__file__).parent / "_kernels"
KEYWORD = {"gep": "source_etype", "load": "typ", "load_atomic": "typ"}


def untyped(source):
    """Return each untyped call of the builder, and each use of a pointer's element type."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "pointee":
            found.append((node.lineno, "pointee"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name in KEYWORD and KEYWORD[name] not in {word.arg for word in node.keywords}:
                found.append((node.lineno, name))
    return sorted(found)


def test_untyped_accesses_are_found():
    source = "builder.load(builder.gep(p, [i]))\nx = p.type.pointee\nbuilder.load(p, typ=t)\n"
    assert untyped(source) == [(1, "gep"), (1, "load"), (2, "pointee")]


def test_kernels_name_the_type_of_every_access():
    files = sorted(KERNELS.rglob("*.py"))
    assert len(files) > 20
    calls = {str(file): untyped(file.read_text("utf-8")) for file in files}
    assert not {file: found for file, found in calls.items() if found}
