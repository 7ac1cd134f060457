"""Patterns of first bytes: what fits, what is not known yet, and that any split of the bytes says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleet.routing.firstbytes import FIRST_BYTES, PatternError, fits, parse_pattern


def test_parts_and_escapes() -> None:
    assert parse_pattern(r"PING\r\n") == (b"PING\r\n",)
    assert parse_pattern(r"GET *\x20HTTP\*\\") == (b"GET ", b" HTTP*\\")
    assert parse_pattern(r"*a\0") == (b"", b"a\x00")


@pytest.mark.parametrize("text", ["", "*", "**", "a\\", r"\q", r"\x1", r"\xgg", "a" * 257, "é", "a\n"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(PatternError):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("pattern", "data", "expected"),
    [
        (r"PING\r\n", b"PING\r\n", True),
        (r"PING\r\n", b"PING\r\nSET a b\r\n", True),
        (r"PING\r\n", b"PI", None),
        (r"PING\r\n", b"", None),
        (r"PING\r\n", b"GET ", False),
        (r"*1*ping", b"*1\r\n$4\r\nping\r\n", True),
        (r"a*c*b", b"axb", None),
        (r"a*c", b"a" + b"x" * FIRST_BYTES + b"c", False),
        (r"a*c", b"a" + b"x" * (FIRST_BYTES - 2) + b"c", True),
    ],
)
def test_first_bytes(pattern: str, data: bytes, expected: bool | None) -> None:
    assert fits([parse_pattern(pattern)], data) is expected


def test_one_of_several_is_enough() -> None:
    patterns = [parse_pattern("abc"), parse_pattern("xy")]
    assert fits(patterns, b"xy") is True
    assert fits(patterns, b"ab") is None
    assert fits(patterns, b"q") is False


_bytes = st.binary(min_size=1, max_size=8)


@given(parts=st.lists(_bytes, min_size=1, max_size=3), data=st.binary(max_size=40))
def test_more_bytes_never_change_what_is_known(parts: list[bytes], data: bytes) -> None:
    pattern = (parts[0], *parts[1:])
    known: bool | None = None
    for end in range(len(data) + 1):
        now = fits([pattern], data[:end])
        if known is not None:
            assert now is known
        known = now


def documented() -> list[tuple[bytes, ...]]:
    """The patterns of the example of Redis."""
    text = (Path(__file__).parents[4] / "docs/tcp.md").read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("first_bytes:"))
    return [parse_pattern(pattern) for pattern in yaml.safe_load(line)["first_bytes"]]


@pytest.mark.parametrize("data", [b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$4\r\nping\r\n"])
def test_the_documented_patterns_fit_a_ping(data: bytes) -> None:
    assert fits(documented(), data)


@pytest.mark.parametrize(
    "words", [b"GET a", b"SET a 1", b"set a ping", b"MSET a 1 b 2", b"INFO", b"QUIT", b"HELLO 3", b"COMMAND DOCS", b"PING a"]
)
def test_the_documented_patterns_fit_no_other_command_and_do_not_delay_it(words: bytes) -> None:
    parts = words.split()
    sent = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    assert fits(documented(), sent) is False
