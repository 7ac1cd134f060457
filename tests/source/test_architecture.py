"""What import contracts do not say: no circle of modules, not even of types, and no file or class that does too much."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir")
MOST_LINES, MOST_METHODS = 400, 30
MOST_LINES_OF_TESTS = 500
"""More than a module may have: scripts and tables of cases are long. A file that is longer has more than one subject."""


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other: Tarjan's strongly connected components of more than one."""
    found: list[set[str]] = []
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for other in imports.get(module, ()):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in path:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            circle = set(path[path.index(module) :])
            del path[path.index(module) :]
            if len(circle) > 1:
                found.append(circle)

    for module in imports:
        if module not in number:
            visit(module)
    return found


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [{"a", "b"}]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}}, [{"d", "e"}, {"a", "b", "c"}]),
    ],
)
def test_circles_are_found(imports: dict[str, set[str]], expected: list[set[str]]) -> None:
    assert circles(imports) == expected


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, "protos", cache_dir=None)
    assert circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_and_no_class_does_too_much(package: str) -> None:
    long, wide = [], []
    for file in sorted((ROOT / package).rglob("*.py")):
        text = file.read_text()
        if text.count("\n") > MOST_LINES:
            long.append(f"{file.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
                if methods > MOST_METHODS:
                    wide.append(f"{file.relative_to(ROOT)}: {node.name} has {methods} methods")
    assert (long, wide) == ([], [])


def test_no_file_of_tests_has_too_many_subjects() -> None:
    lines = {str(file.relative_to(ROOT)): file.read_text().count("\n") for file in sorted((ROOT / "tests").rglob("*.py"))}
    assert {name: count for name, count in lines.items() if count > MOST_LINES_OF_TESTS} == {}
