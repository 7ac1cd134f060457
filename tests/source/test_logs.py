"""What another process logs is waited for: it can be read later than what the process did."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def taken_at_once(text: str) -> list[int]:
    """The lines that assert that something is in a log, without waiting for it."""
    return [
        node.lineno
        for statement in ast.walk(ast.parse(text))
        if isinstance(statement, ast.Assert)
        for node in ast.walk(statement.test)
        if isinstance(node, ast.Compare)
        for operator, right in zip(node.ops, node.comparators, strict=True)
        if isinstance(operator, ast.In) and isinstance(right, ast.Attribute) and right.attr == "log"
    ]


def test_no_log_of_a_process_is_taken_at_once() -> None:
    paths = [path for part in ("system", "wire", "cluster") for path in (TESTS / part).rglob("*.py")]
    found = {str(path.relative_to(TESTS)): taken_at_once(path.read_text()) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_what_counts_as_taken_at_once() -> None:
    text = """
assert "started" in up.log
assert "started" not in up.log
assert ready and "started" in running.process.log, up.log
await until(lambda: "started" in up.log)
"""
    assert taken_at_once(text) == [2, 4]
