"""Constants of the modules that carry requests are `Final`: a compiler may then take their values, and mypy finds assignments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("interceptor", "fleet")
_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")


def _targets(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple):
        yield from target.elts
    else:
        yield target


def _is_type_variable(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"


def not_final(source: str) -> list[str]:
    """The names in capital letters that a module assigns without declaring them `Final`."""
    found: list[str] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            targets = [each for target in statement.targets for each in _targets(target)]
        elif isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.annotation).startswith("Final"):
            targets = [statement.target]
        else:
            continue
        names = [each.id for each in targets if isinstance(each, ast.Name) and _CONSTANT.fullmatch(each.id)]
        found += [] if _is_type_variable(statement.value) else names
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("A = 1", ["A"]),
        ("_A, B = 1, 2", ["_A", "B"]),
        ("A: int = 1", ["A"]),
        ("A: Final = 1\nB: Final[int] = 2", []),
        ("T = TypeVar('T')\nField = tuple[bytes, bytes]\nlog = 1", []),
    ],
)
def test_constants_are_found(source: str, expected: list[str]) -> None:
    assert not_final(source) == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_constants_are_final(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert {str(file.relative_to(ROOT)): names for file in files if (names := not_final(file.read_text()))} == {}
