"""Which tests may import what: unit tests, and what all tests share, never import what needs sockets, processes or a cluster."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LARGER = {"bench", "cluster", "conformance", "deploy", "fuzz", "soak", "system", "wire"}
"""Directories of tests that need more than unit tests have: what all of them share is in `tests/support/`."""
OF_ITS_OWN = {"unit/bench": "bench", "unit/cluster": "cluster"}
"""Unit tests of the pure modules of such a directory import these."""


def imported_directories(source: str) -> Iterator[str]:
    """The directories of tests from which a module imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        else:
            continue
        yield from (parts[1] for name in names if (parts := name.split("."))[0] == "tests" and len(parts) > 1)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import tests.wire.proxy_rig", {"wire"}),
        ("from tests.wire.proxy_rig import Rig", {"wire"}),
        ("from tests import wire", {"wire"}),
        ("def test():\n    from tests.system.harness import Up", {"system"}),
        ("import asyncio\nfrom tests_of_others.wire import x", set()),
    ],
)
def test_imports_are_found(source: str, expected: set[str]) -> None:
    assert set(imported_directories(source)) == expected


@pytest.mark.parametrize("directory", ["unit", "support", "source"])
def test_unit_tests_need_nothing_of_larger_tests(directory: str) -> None:
    found = set()
    for path in sorted((TESTS / directory).rglob("*.py")):
        name = path.relative_to(TESTS).as_posix()
        own = {of for place, of in OF_ITS_OWN.items() if name.startswith(f"{place}/")}
        if other := (set(imported_directories(path.read_text())) & LARGER) - own:
            found.add((name, *other))
    assert found == set()
