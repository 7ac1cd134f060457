"""A module whose docstring calls it pure imports nothing that does input or output, reads a clock or logs, directly or not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir")
IMPURE = [
    "asyncio",
    "grpc",
    "httpx",
    "kubernetes",
    "logging",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "starlette",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uvicorn",
]
"""Modules and packages of which a pure module has no use."""
HARMLESS = {
    ("interceptor.http2.heads", "secrets"): "the key of a WebSocket, which a request over HTTP/2 does not have",
    ("fleet.runtime.terminal", "os"): "to write to the null device once the reader of standard output has gone",
    ("interceptor.date", "time"): "the date that a response without one gets",
}
"""Imports that change nothing about what a pure module's functions give back."""

_CALLED_PURE = re.compile(r"\bPure\b")


def impure_imports(graph: grimp.ImportGraph, module: str) -> list[str]:
    """What of the impure modules it imports, with a way to each."""
    return [
        " -> ".join(graph.find_shortest_chain(module, name) or ())
        for name in IMPURE
        if name in graph.modules and graph.chain_exists(module, name)
    ]


def test_ways_are_found() -> None:
    graph = grimp.ImportGraph()
    graph.add_import(importer="a", imported="b")
    graph.add_import(importer="b", imported="time")
    graph.add_import(importer="c", imported="d")
    assert impure_imports(graph, "a") == ["a -> b -> time"]
    assert impure_imports(graph, "c") == []


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    made = grimp.build_graph(
        *PACKAGES, "protos", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    for importer, imported in HARMLESS:
        assert imported in made.find_modules_directly_imported_by(importer), "no such import any more"
        made.remove_import(importer=importer, imported=imported)
    return made


def _called_pure() -> list[str]:
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    called = (path for path in paths if _CALLED_PURE.search(ast.get_docstring(ast.parse(path.read_text())) or ""))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in called]


def test_what_is_called_pure_is_pure(graph: grimp.ImportGraph) -> None:
    called = _called_pure()
    assert len(called) > 50
    assert {module: ways for module in called if (ways := impure_imports(graph, module))} == {}
