"""Lines of logs, out of bytes in any pieces."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.admin.logs import MAX_LINE, Lines, prefixed
from tests.support.full import examples


@given(st.lists(st.binary(max_size=20) | st.just(b"\n") | st.just(b"\r\n\n"), max_size=12))
@settings(max_examples=examples(200), deadline=None)
def test_any_split_gives_the_same_lines(pieces: list[bytes]) -> None:
    lines = Lines("web-a")
    found = b"".join(lines.of(piece) for piece in pieces) + lines.rest()
    *whole, last = b"".join(pieces).split(b"\n")
    assert found == b"".join(prefixed("web-a", line) for line in (*whole, *([last] if last else [])))


def test_long_lines_come_in_several_and_cost_linear_time() -> None:
    lines = Lines("a")
    began = time.process_time()
    found = b"".join(lines.of(b"x" * 1000) for _ in range(5_000)) + lines.rest()
    assert time.process_time() - began < 1.0
    parts = found.splitlines()
    assert {len(part) for part in parts[:-1]} == {MAX_LINE + len(b"[a] ")}
    assert sum(len(part) - len(b"[a] ") for part in parts) == 5_000_000
    assert lines.rest() == b""
