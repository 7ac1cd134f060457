"""Values of diagnostics pages as text for people."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fleet.runtime.documents import Pairs, Rows, json_parts
from fleet.runtime.texts import LONGEST_TEXT, text_parts
from tests.support.acting import HOSTILE, acting


class Size(msgspec.Struct, omit_defaults=True):
    app: str
    held: int = 0
    ready: bool = True
    limits: dict[str, int] = {}


def text(value: Any) -> str:
    return b"".join(text_parts(value)).decode()


CASES: dict[str, tuple[Any, str]] = {
    "a mapping": (
        {"level": "info", "seconds": 1.5, "ready": True, "why": None},
        "level: info\nseconds: 1.5\nready: yes\nwhy: -\n",
    ),
    "a mapping within": ({"a": {"b": 1, "c": [1, 2]}}, "a:\n  b: 1\n  c:\n    - 1\n    - 2\n"),
    "a flat one within": ({"a": {"b": 1, "c": ""}}, "a: b: 1  c: -\n"),
    "a row of simple members is a line": (Rows([Size("a/b", 2)]), "- app: a/b  held: 2\n"),
    "a row of others is a block": (
        Rows([Size("a/b", 0, False, {"x": 1}), Size("c/d")]),
        "- app: a/b\n  ready: no\n  limits: x: 1\n- app: c/d\n",
    ),
    "rows within": ({"version": "1", "rows": Rows([1, 2])}, "version: 1\nrows:\n  - 1\n  - 2\n"),
    "pairs": (Pairs([("a/b", Size("a/b", 1)), ("c/d", [Size("x")])]), "a/b: app: a/b  held: 1\nc/d:\n  - app: x\n"),
    "no rows": (Rows([]), "none\n"),
    "no pairs within": ({"a": Pairs([])}, "a:\n  none\n"),
    "a step without a row": (Rows([None, 1, None]), "- 1\n"),
    "an empty list": ({"a": []}, "a: -\n"),
    "bytes": ({"a": b"abc"}, "a: YWJj\n"),
    "a number": (7, "7\n"),
    "a list": ([1, {"a": 1}], "- 1\n- a: 1\n"),
    "tuples": (
        Rows([{"rules": ({"hosts": ("a", "b"), "paths": ()},), "one": (1,)}]),
        "- rules:\n    - hosts:\n        - a\n        - b\n      paths: -\n  one:\n    - 1\n",
    ),
    "a list of lists": ([[1, 2]], "-\n  - 1\n  - 2\n"),
}


@pytest.mark.parametrize(("value", "shown"), CASES.values(), ids=CASES)
def test_texts(value: Any, shown: str) -> None:
    assert text(value) == shown


def test_a_long_text_is_cut() -> None:
    assert text({"body": "x" * 5000}) == f"body: {'x' * LONGEST_TEXT}… (5000 characters)\n"


def test_text_of_others_acts_on_no_terminal_and_makes_no_line() -> None:
    shown = text({HOSTILE: HOSTILE, "rows": Rows([{"a": f"{HOSTILE}\nready: yes"}])})
    assert not acting(shown, lines=True)
    assert len(shown.splitlines()) == 3


def test_a_step_without_a_row_is_none_in_json_either() -> None:
    assert b"".join(json_parts({"rows": Rows([None, 1, None, 2]), "none": Rows([None])})) == b'{"rows":[1,2],"none":[]}'


@pytest.mark.parametrize("parts", [text_parts, json_parts])
def test_rows_are_read_one_at_a_time(parts: Any) -> None:
    read: list[int] = []

    def rows() -> Any:
        for number in range(10):
            read.append(number)
            yield Size(str(number))

    made = parts(Rows(rows()))
    for number in range(1, 11):
        next(made)
        assert len(read) == number
