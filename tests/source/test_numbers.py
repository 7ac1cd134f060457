"""One place for each number: what two modules call by the same name and the same value is one constant, or says why it is two."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import defaults

ROOT = Path(__file__).parents[2]
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir", "tools")
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
OF_THEIR_OWN = {
    "CALL_TIMEOUT": "a command that a person waits for, and the engine's calls to its scaler",
    "CONNECT_SECONDS": "to an API server, and to a backend that is probed",
    "FIRST_AGAIN_SECONDS": "between comparisons of selectors, and between looks at waiting requests",
    "FIRST_PAUSE_SECONDS": "before calls to interceptors, and before retries of the work queue",
    "IDLE": "a state of a connection, and one of a stream",
    "LONGEST_PAUSE_SECONDS": "before calls to interceptors, before retries of the work queue, and between writes of one value",
    "MAX_BLOCKS": "blocks received, which the peer chooses, and blocks sent",
    "MAX_ENTRIES": "of a list of trusted proxies, and of a list of places that targets may be in",
    "MAX_MESSAGE": "of Events, which the API server limits; of a condition; of an answer to a call of gRPC",
    "MAX_REPLICAS": "of an app on Kubernetes, and of one on one machine",
    "NO_ERROR": "a code of an answer of DNS, and of the end of a connection of HTTP/2",
    "PATIENCE": "with a scaler, and with whoever reads the output",
    "STOP_GRACE_SECONDS": "of pages of diagnostics, and of streams to KEDA",
    "TUNNEL": "a kind of lease, and a state of a connection",
}
"""Names that are used for different things whose numbers happen to be equal: what each is about."""


def numbers_of(tree: ast.Module) -> Iterator[tuple[str, float]]:
    """The constants of a module that are a number, written as one or calculated of numbers. Names that are assigned together
    (`A, B = 1, 2`) are not looked at."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(name)], value=value) | ast.AnnAssign(target=ast.Name(name), value=value):
                if name.strip("_").isupper() and (number := _value(value)) is not None:
                    yield name.strip("_"), number


def _value(expression: ast.expr | None) -> float | None:
    parts = ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop
    if expression is None or not all(isinstance(part, parts) for part in ast.walk(expression)):
        return None
    value = eval(compile(ast.Expression(expression), "", "eval"), {"__builtins__": {}})  # noqa: S307  operators and literals only
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("A = 64 * 1024", [("A", 65536.0)]),
        ("_A: Final = 1 << 4", [("A", 16.0)]),
        ("A: Final[float] = -0.5", [("A", -0.5)]),
        ("A, B = 1, 2\nC = B\nd = 1\nE = 'x'\nF = True\nG: int", []),
    ],
)
def test_numbers_are_found(source: str, expected: list[tuple[str, float]]) -> None:
    assert list(numbers_of(ast.parse(source))) == expected


def test_a_number_with_one_meaning_is_one_constant() -> None:
    places: dict[tuple[str, float], list[str]] = defaultdict(list)
    for name, tree in TREES.items():
        for number in numbers_of(tree):
            places[number].append(name)
    twice = {number: files for number, files in places.items() if len(files) > 1}
    assert {number: files for number, files in twice.items() if number[0] not in OF_THEIR_OWN} == {}
    assert {name for name, _ in twice} == set(OF_THEIR_OWN), "no longer twice"


def test_a_default_port_is_written_in_one_place() -> None:
    named = [name for name in defaults.__all__ if name.endswith("_PORT") and "LEASED" not in name]  # a range of round numbers
    ports = {getattr(defaults, name) for name in named} - {defaults.HTTPS_PORT}
    assert len(ports) > 5
    found = {
        (name, node.value)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and not isinstance(node.value, bool) and node.value in ports
    }
    assert {name for name, _ in found} == {"fleet/defaults.py"}
