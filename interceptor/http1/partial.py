"""A head that arrives in pieces. Pure.

Each byte is checked once, when it arrives, so a peer that sends a long head byte by byte causes only linear work. A head that can
no longer become valid is refused at once, because the peer may never send its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from interceptor.http1.grammar import LINE_END, GrammarError, check_field, is_text, is_token

__all__ = ["MAX_EMPTY_LINES", "PartialHead", "TooManyFields"]

MAX_EMPTY_LINES: Final = 4
"""Empty lines that are ignored before a request line (RFC 9112 2.2); some old clients send one after a body."""

_LINE_FEED: Final = ord("\n")
_CARRIAGE_RETURN: Final = ord("\r")


class TooManyFields(GrammarError):
    """More fields than a head may have."""


class PartialHead:
    """Collects one head."""

    __slots__ = ("_beginning", "_check_first", "_data", "_delimiter", "_empty", "_fields", "_line", "_most_fields", "_named")

    def __init__(
        self, check_first: Callable[[bytes], None], *, delimiter: bytes, most_fields: int, beginning: bytes = b""
    ) -> None:
        """`check_first` checks the first line without its line end. The part of that line before `delimiter` must be a token.
        With a `beginning` (responses), the first line must begin with it, and no empty lines are allowed before."""
        self._check_first = check_first
        self._delimiter = delimiter
        self._beginning = beginning
        self._most_fields = most_fields
        self._data = bytearray()
        self._line = 0
        """Where the first incomplete line begins. The lines before it are valid."""
        self._named = False
        """Whether the token at the beginning of this line is complete."""
        self._fields = -1
        """Number of complete field lines; -1 until the first line is complete."""
        self._empty = 0

    def __len__(self) -> int:
        return len(self._data)

    def add(self, piece: bytes) -> int:
        """Add bytes. Returns the length of the head when it is complete, 0 before. Raises GrammarError."""
        data = self._data
        start = len(data)
        data += piece
        while (end := data.find(b"\n", start)) >= 0:
            if end == self._line or data[end - 1] != _CARRIAGE_RETURN:
                raise GrammarError(LINE_END)
            line = bytes(data[self._line : end - 1])
            start = self._line = end + 1
            if line:
                self._on_line(line)
            elif self._fields >= 0:
                return end + 1
            else:
                start = self._on_empty_line()
            self._named = False
        if self._fields < 0 and not data.startswith(self._beginning[: len(data)]):
            raise GrammarError("this is not HTTP/1")
        self._on_rest(bytes(data[max(start - 1, self._line) :]), begins=start == self._line)
        return 0

    @property
    def has_line(self) -> bool:
        """Whether the first line is complete."""
        return self._fields >= 0

    def take(self) -> bytes:
        """The head, and the bytes that came after it."""
        return bytes(self._data)

    def _on_empty_line(self) -> int:
        self._empty += 1
        if self._empty > MAX_EMPTY_LINES or self._beginning:
            raise GrammarError("too many empty lines before it")
        del self._data[: self._line]
        self._line = 0
        return 0

    def _on_line(self, line: bytes) -> None:
        if self._fields < 0:
            self._check_first(line)
        else:
            check_field(line)
        self._fields += 1
        if self._fields > self._most_fields:
            raise TooManyFields(f"more than {self._most_fields} header fields")

    def _on_rest(self, rest: bytes, *, begins: bool) -> None:
        """Check the new bytes of an incomplete line. `rest` includes the byte before them, unless the line `begins` with them."""
        if not begins and rest[0] == _CARRIAGE_RETURN and len(rest) > 1:
            raise GrammarError("a CR without LF in the head")
        if rest.endswith(b"\r"):
            rest = rest[:-1]
        if not is_text(rest) and not (self._beginning and self._fields < 0):  # but not in reason phrases
            raise GrammarError("control characters in the head")
        if self._named or not rest:
            return
        if not begins:
            rest = rest[1:]
        name, delimiter, _ = rest.partition(self._delimiter if self._fields < 0 else b":")
        if delimiter:
            self._named = True
        if (name or (delimiter and begins)) and not is_token(name):
            raise GrammarError("a line of the head begins with characters that none begins with")
