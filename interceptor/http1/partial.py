"""A head that comes in pieces, as far as it is here. Pure.

Each byte is looked at once, when it comes: a peer that sends a long head byte by byte costs no more than its bytes. What can no
longer become a valid head is told at once, so that nobody waits for an end that will not come.
"""

from __future__ import annotations

from collections.abc import Callable

from interceptor.http1.grammar import LINE_END, GrammarError, check_field, is_text, is_token

__all__ = ["MAX_EMPTY_LINES", "PartialHead", "TooManyFields"]

MAX_EMPTY_LINES = 4
"""Before a request line. They are to be ignored (RFC 9112 2.2), since some clients once sent one after a body."""

_LINE_FEED, _CARRIAGE_RETURN = b"\n\r"


class TooManyFields(GrammarError):
    """More fields than a head may have."""


class PartialHead:
    """Collects one head."""

    __slots__ = ("_beginning", "_check_first", "_data", "_delimiter", "_empty", "_fields", "_line", "_most_fields", "_named")

    def __init__(
        self, check_first: Callable[[bytes], None], *, delimiter: bytes, most_fields: int, beginning: bytes = b""
    ) -> None:
        """`check_first` judges the first line without its end. What stands in it before `delimiter` has to be a token. A response
        has a `beginning`, with which its first line begins, and nothing before it."""
        self._check_first = check_first
        self._delimiter = delimiter
        self._beginning = beginning
        self._most_fields = most_fields
        self._data = bytearray()
        self._line = 0
        """Where the line begins that is not whole yet. The lines before it are valid."""
        self._named = False
        """Whether the token that this line begins with is over."""
        self._fields = -1
        """Whole lines, without the first."""
        self._empty = 0

    def __len__(self) -> int:
        return len(self._data)

    def add(self, piece: bytes) -> int:
        """Take more bytes in. Returns the length of the head once it is whole, 0 before. Raises GrammarError."""
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
        """Whether the first line is whole."""
        return self._fields >= 0

    def take(self) -> bytes:
        """The head, and what came after it."""
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
        """The end of what is here, which is no whole line. With the byte before it, unless the line begins with it."""
        if not begins and rest[0] == _CARRIAGE_RETURN and len(rest) > 1:
            raise GrammarError("a CR without LF in the head")
        if rest.endswith(b"\r"):
            rest = rest[:-1]
        if not is_text(rest) and not (self._beginning and self._fields < 0):  # not in a reason phrase, which means nothing
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
