"""From a stream of bytes to its lines. Pure; a line without its end is never given out."""

from __future__ import annotations

__all__ = ["LineTooLong", "Lines"]

MAX_LINE_BYTES = 16 << 20
"""An object is at most 1.5 MiB in etcd; escaped and encoded it stays far below this."""


class LineTooLong(ValueError):
    """The stream holds something that is no event."""


class Lines:
    """Feed it bytes; get whole lines."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends. Raises LineTooLong."""
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
