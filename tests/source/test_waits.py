"""What a test waits for has a minute: a busy machine takes many times what a quiet one does. Shorter than a second is a wait for
nothing to happen, or for a limit that is under test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
WHERE = ("support", "system", "unit", "wire")
SHORT, LONG = 1.0, 60.0
"""Seconds."""
PLACES = {"timeout": 0, "wait_for": 1}
"""Of asyncio: which argument the limit is."""
KEYWORD = "within"
OF_THE_PRODUCT = {"wire/random_clients.py"}
"""Files where a limit is what is under test: clients that leave."""


def limits_of(tree: ast.AST) -> Iterator[tuple[int, float]]:
    """Line and seconds of each limit that is a number, or the name of one in the same file."""
    named = dict(_constants(tree))
    for call in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(call, ast.Call):
            found += [keyword.value for keyword in call.keywords if keyword.arg == KEYWORD]
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name in PLACES and ast.unparse(call.func) == f"asyncio.{name}":
                found += call.args[PLACES[name] : PLACES[name] + 1]
        elif isinstance(call, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = zip(call.args.kwonlyargs, call.args.kw_defaults, strict=True)
            found += [default for argument, default in defaults if argument.arg == KEYWORD]
        for one in filter(None, found):
            value = named.get(one.id) if isinstance(one, ast.Name) else one
            if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
                yield one.lineno, float(value.value)


def _constants(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for statement in ast.iter_child_nodes(tree):
        if isinstance(statement, ast.Assign):
            yield from ((target.id, statement.value) for target in statement.targets if isinstance(target, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
            yield statement.target.id, statement.value


def test_every_wait_is_long_enough_for_a_busy_machine() -> None:
    files = {str(path.relative_to(TESTS)): path for name in WHERE for path in (TESTS / name).rglob("*.py")}
    found = {name: list(limits_of(ast.parse(path.read_text()))) for name, path in files.items() if name not in OF_THE_PRODUCT}
    assert sum(map(len, found.values())) > 20
    assert [f"{name}:{line}" for name, limits in found.items() for line, limit in limits if SHORT <= limit < LONG] == []


def test_what_is_a_limit() -> None:
    text = """
async def ask(*, within: float = 20.0): ...
async with asyncio.timeout(20): ...
await asyncio.wait_for(x, 5)
await eventually(y, within=4)
z.timeout(3)
ENDING = 10.0
async with asyncio.timeout(ENDING): ...
async with asyncio.timeout(elsewhere): ...
"""
    assert list(limits_of(ast.parse(text))) == [(2, 20.0), (3, 20.0), (4, 5.0), (5, 4.0), (8, 10.0)]
