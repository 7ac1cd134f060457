"""A port that is kept is kept while it is used. Afterwards the kernel may give it to any outgoing connection, and whoever still
names it fails now and then on a busy machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]


def escapes(tree: ast.AST) -> Iterator[int]:
    """Lines of `with` blocks that keep a port for nothing but to read its number."""
    for block in ast.walk(tree):
        if not isinstance(block, ast.With | ast.AsyncWith) or len(block.items) != 1 or len(block.body) != 1:
            continue
        kept, read = block.items[0].optional_vars, getattr(block.body[0], "value", None)
        if kept is None or read is None or not ast.unparse(block.items[0].context_expr).startswith("KeptPort("):
            continue
        if ast.unparse(read) == f"{ast.unparse(kept)}.number":
            yield block.lineno


def test_no_test_names_a_port_that_it_has_released() -> None:
    found = {path.relative_to(TESTS): list(escapes(ast.parse(path.read_text()))) for path in TESTS.rglob("*.py")}
    assert [f"{path}:{line}" for path, lines in found.items() for line in lines] == [], "take unbound_port or free_port"


def test_what_is_one() -> None:
    text = """
with KeptPort() as kept:
    port = kept.number
with KeptPort() as port:
    use(port.number)
"""
    assert list(escapes(ast.parse(text))) == [2]
