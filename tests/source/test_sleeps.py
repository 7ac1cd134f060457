"""Tests on sockets wait for events: each sleep that is left in them has its reason, on its line or on the one above."""

from __future__ import annotations

import re
from pathlib import Path

WIRE = Path(__file__).parents[1] / "wire"
SLEEP = re.compile(r"\b(?:asyncio|time)\.sleep\((?!0\))")
"""Also in the text of a program that a test starts. `sleep(0)` is a turn of the event loop, and takes no time."""
COMMENT = re.compile(r"#(?! noqa\b)(?!:)\s*\w+(?:\W+\w+){2}")
"""Of three words at least; what is said to a linter is no reason."""
MOST = 54
"""Of all of them."""


def sleeps_of(text: str) -> dict[int, bool]:
    """The number of each line with a sleep, and whether it has a reason."""
    lines = ["", *text.splitlines()]
    return {
        number: bool(COMMENT.search(line) or (lines[number - 1].lstrip().startswith("#") and COMMENT.search(lines[number - 1])))
        for number, line in enumerate(lines)
        if SLEEP.search(line)
    }


def test_every_sleep_has_its_reason() -> None:
    found = {path.name: sleeps_of(path.read_text()) for path in WIRE.rglob("*.py")}
    assert [f"{name}:{number}" for name, lines in found.items() for number, reason in lines.items() if not reason] == []
    assert sum(map(len, found.values())) <= MOST


def test_what_counts_as_a_reason() -> None:
    text = """
    await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    await asyncio.sleep(0.1)  # half of the limit
    # Nothing comes of it.
    time.sleep(1)
    await asyncio.sleep(0.1)  # noqa: ASYNC110 and more of it
    x = 1  # a reason of its own
    await asyncio.sleep(LIMIT)
    """
    assert sleeps_of(text) == {3: False, 4: True, 6: True, 7: False, 9: False}
