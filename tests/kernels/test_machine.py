"""Facts about the processor agree with Numba, and one module alone depends on them."""

import ast
import platform
from pathlib import Path

import pytest
from numba.core import codegen, config
from numba.core.registry import cpu_target

import dagbp
from dagbp import _machine


def test_processor_and_features_are_those_that_numba_compiles_for():
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    assert name == _machine.CPU
    assert _machine._features() == features


@pytest.mark.parametrize("avx", [0, 1])
@pytest.mark.parametrize("name", [None, "haswell"])
def test_features_without_a_list_are_the_hosts(monkeypatch, name, avx):
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    monkeypatch.setattr(config, "CPU_NAME", name)
    monkeypatch.setattr(config, "ENABLE_AVX", avx)
    found = _machine._features()
    assert found == codegen.get_host_cpu_features()
    assert avx or "+avx" not in found


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("x86-64", "", 16),
        ("x86-64", "+avx,+sse3", 32),
        ("x86-64", "+avx512f", 64),
        ("haswell", "", 32),
        ("haswell", "-avx", 16),
        ("nehalem", "", 16),
        ("alderlake", "", 32),
        ("sapphirerapids", "", 64),
        ("znver4", "", 64),
    ],
)
def test_register_width_follows_name_and_features(monkeypatch, name, features, expected):
    monkeypatch.setattr(_machine, "CPU", name)
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    assert _machine._register_bytes() == expected


def branches(tree):
    """Return the lines that compare the processor or the width of its registers."""
    compared = (node for node in ast.walk(tree) if isinstance(node, ast.Compare))
    names = {"CPU", "REGISTER_BYTES"}
    return [
        node.lineno
        for node in compared
        if any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))
    ]


def test_one_module_alone_branches_on_the_processor():
    package = Path(dagbp.__file__).parent
    trees = {file.name: ast.parse(file.read_text("utf-8")) for file in package.rglob("*.py")}
    found = {name for name, tree in trees.items() if branches(tree)}
    assert found == {"_machine.py"}
