r"""Patterns of the first bytes of a connection, such as "PING\r\n". Pure.

A pattern is compared with a bounded number of first bytes, from the first one on, each of its parts once from left to right: so
the time is proportional to the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["FIRST_BYTES", "PatternError", "fits", "parse_pattern"]

FIRST_BYTES: Final = 512
"""Bytes of a connection that patterns are compared with. Requests of monitoring are shorter."""
MAX_PATTERN: Final = 256
"""Characters of one pattern."""
_ESCAPES: Final = {"r": 13, "n": 10, "t": 9, "0": 0, "\\": 92, "*": 42}
_HEX: Final = frozenset("0123456789abcdefABCDEF")

Pattern = tuple[bytes, ...]
"""The parts between the stars."""


class PatternError(ValueError):
    """The text is no pattern."""


def parse_pattern(text: str) -> Pattern:
    """Raises PatternError."""
    if not text.strip("*"):
        raise PatternError("fits every connection" if text else "is empty")
    if len(text) > MAX_PATTERN:
        raise PatternError(f"longer than {MAX_PATTERN} characters")
    if not text.isascii() or not text.isprintable():
        raise PatternError(r"has characters that are not printable ASCII; write them as \xNN")
    parts = [bytearray()]
    at = 0
    while at < len(text):
        if text[at] == "\\":
            byte, at = _escape(text, at + 1)
            parts[-1].append(byte)
        elif text[at] == "*":
            parts.append(bytearray())
            at += 1
        else:
            parts[-1].append(ord(text[at]))
            at += 1
    return tuple(map(bytes, parts))


def _escape(text: str, at: int) -> tuple[int, int]:
    letter = text[at : at + 1]
    if letter == "x" and len(digits := text[at + 1 : at + 3]) == 2 and _HEX.issuperset(digits):
        return int(digits, 16), at + 3
    if letter not in _ESCAPES or not letter:
        raise PatternError(rf"{text[at - 1 : at + 3]!r} is none of \r, \n, \t, \0, \xNN, \* and \\")
    return _ESCAPES[letter], at + 1


def fits(patterns: Sequence[Pattern], data: bytes) -> bool | None:
    """Whether the first bytes of a connection fit one of the patterns; None while more bytes are needed to know."""
    unsure = False
    for pattern in patterns:
        found = _fits(pattern, data[:FIRST_BYTES])
        if found:
            return True
        unsure = unsure or found is None
    return None if unsure and len(data) < FIRST_BYTES else False


def _fits(pattern: Pattern, data: bytes) -> bool | None:
    first, *rest = pattern
    if not data.startswith(first):
        return None if first.startswith(data) else False
    at = len(first)
    for part in rest:
        at = data.find(part, at)
        if at < 0:
            return None
        at += len(part)
    return True
