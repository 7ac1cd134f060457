"""Which tests may import what: unit tests, and what all tests share, never import what needs sockets, processes or a cluster; and
unit tests begin no processes and no connections themselves."""

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


OUTSIDE = {
    "Popen", "create_connection", "create_server", "create_subprocess_exec", "create_subprocess_shell", "create_unix_server",
    "fork", "open_connection", "open_unix_connection", "start_server", "start_unix_server", "subprocess",
}  # fmt: skip
"""What begins a process or a connection. A socketpair is memory."""


def outside_of(source: str) -> set[str]:
    """The names of these that a module uses."""
    nodes = [*ast.walk(ast.parse(source))]
    called = [each.func for each in nodes if isinstance(each, ast.Call)]
    names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in called}
    names |= {name.name for each in nodes if isinstance(each, ast.Import | ast.ImportFrom) for name in each.names}
    return names & OUTSIDE


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import socket\nsocket.create_server(('127.0.0.1', 0))", {"create_server"}),
        ("import subprocess", {"subprocess"}),
        ("from asyncio import start_server", {"start_server"}),
        ("import socket\nsocket.socketpair()", set()),
        ("def create_server(): ...", set()),
    ],
)
def test_what_begins_processes_and_connections_is_found(source: str, expected: set[str]) -> None:
    assert outside_of(source) == expected


def test_unit_tests_begin_no_process_and_no_connection() -> None:
    found = {path.name: used for path in sorted((TESTS / "unit").rglob("test_*.py")) if (used := outside_of(path.read_text()))}
    assert found == {}


CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}
IN_REAL_TIME = {"test_names.py", "test_specwatch.py"}
"""Unit tests whose subject is a wait of a thread or of the kernel's notices, which no clock of a test moves."""


def clocks_of(source: str) -> set[str]:
    """The clocks of the machine that a module reads or hands on."""
    nodes = [*ast.walk(ast.parse(source))]
    return {
        name for each in nodes if (name := each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "")) in CLOCKS
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from time import monotonic\nEndpointSet(clock=monotonic)", {"monotonic"}),
        ("import time\ntime.perf_counter()", {"perf_counter"}),
        ("def clock(): return now", set()),
    ],
)
def test_clocks_of_the_machine_are_found(source: str, expected: set[str]) -> None:
    assert clocks_of(source) == expected


def test_unit_tests_have_a_clock_of_their_own() -> None:
    """Mixed with the machine's, whose time begins when it was started, one took the longer the longer that was ago."""
    tests = [path for path in (TESTS / "unit").rglob("test_*.py") if path.name not in IN_REAL_TIME]
    assert {path.name: used for path in sorted(tests) if (used := clocks_of(path.read_text()))} == {}
