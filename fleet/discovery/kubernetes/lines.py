"""Splits a stream of bytes into lines. Pure. An incomplete last line is never returned."""

from __future__ import annotations

from typing import Final

__all__ = ["LineTooLong", "Lines"]

MAX_LINE_BYTES: Final = 16 << 20
"""Maximum bytes of a line. An object has at most 1.5 MiB in etcd; escaped and encoded it stays far below this."""


class LineTooLong(ValueError):
    """The stream contains a line that is too long for an event."""


class Lines:
    """Takes bytes; returns complete lines."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`, without line ends. Raises LineTooLong."""
        first, *others = data.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > MAX_LINE_BYTES:
            raise LineTooLong(f"a line of more than {MAX_LINE_BYTES} bytes")
        if not others:
            return []
        lines = [b"".join(self._parts), *others]
        rest = lines.pop()
        self._parts, self._size = [rest], len(rest)
        return lines
