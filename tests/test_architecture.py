"""The packages of gate form layers: imports only point down, and no module imports itself through others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import gate

ROOT = Path(gate.__file__).parent

# top to bottom; packages in one layer do not import each other
LAYERS = (
    {"__main__"},
    {"cli"},
    {"app", "demo", "doctor"},
    {"gitlab"},
    {"github"},
    {"report"},
    {"decision"},
    {"evaluation"},
    {"importers", "store"},
    {"samples"},
    {"engines"},
    {"tasks"},
    {"stats"},
    {"config"},
    {"common"},
    {"errors"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py")) if "node_modules" not in path.parts}


def imports(tree: ast.AST, everywhere: bool) -> Iterator[str]:
    """Yield the modules of gate that are imported; `everywhere` includes functions and TYPE_CHECKING blocks."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "gate")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            if node.module is not None and node.module.split(".")[0] == "gate":
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    yield submodule if submodule in MODULES else node.module
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.If):
            yield from imports(node, everywhere)


def graph(everywhere: bool) -> dict[str, set[str]]:
    return {
        name: set(imports(ast.parse(path.read_text(encoding="utf-8")), everywhere)) - {name}
        for name, path in MODULES.items()
    }


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_package_has_a_layer() -> None:
    assert {package(name) for name in MODULES} - {""} == set(RANK)


def test_imports_only_point_down() -> None:
    upward = [
        f"{module} imports {other}"
        for module, others in graph(everywhere=True).items()
        for other in sorted(others)
        if package(module)  # gate/__init__.py exports the public names lazily
        and package(other)
        and package(module) != package(other)
        and RANK[package(module)] >= RANK[package(other)]
    ]
    assert not upward, "\n".join(upward)


def test_modules_import_without_cycles() -> None:
    TopologicalSorter(graph(everywhere=False)).prepare()


def test_files_stay_small() -> None:
    """300 lines are a guide; the exceptions are named with a reason."""
    exceptions: dict[str, str] = {}
    long = {
        name: count
        for name, path in MODULES.items()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert set(long) == set(exceptions), long
