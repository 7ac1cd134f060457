"""Bodies in chunks (RFC 9112 7.1): finds where they end and passes them on in one canonical form. Pure.

The bytes go on as they came wherever that is canonical already, so a large body costs no copy of its own.
llhttp cannot tell where in its input a message ended, which pipelining needs; hence this reader.
"""

from __future__ import annotations

import re

__all__ = ["ChunkError", "ChunkedReader"]

MAX_LINE_BYTES = 1024
"""One chunk-size line with its extensions."""
MAX_EXTENSION_BYTES = 16 * 1024
"""All extensions of one body: they cost the sender nothing and the reader time."""
MAX_TRAILER_BYTES = 16 * 1024

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# Up to 15 digits: no chunk of 2**60 bytes is honest. Blanks and a bare semicolon are refused, not repaired.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*)")
_TRAILER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*")
# Fields that frame, route or authorise a message mean nothing after it (RFC 9110 6.5.1).
_NOT_IN_TRAILERS = frozenset(
    b"transfer-encoding content-length content-encoding content-type content-range trailer host connection te upgrade expect "
    b"authorization cookie set-cookie cache-control keep-alive proxy-authorization max-forwards x-forwarded-for "
    b"x-forwarded-host x-forwarded-proto forwarded".split()
)

_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)


class ChunkError(ValueError):
    """The bytes are not a body in chunks."""


class ChunkedReader:
    """Reads one body. `feed` returns what goes on; `done` and `rest` tell its end.

    With `plain`, what goes on is the content alone, for a reader that does not know chunks (HTTP/1.0).
    """

    __slots__ = ("_extensions", "_left", "_line", "_out", "_plain", "_state", "_trailer_bytes", "done", "rest")

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._state = _SIZE
        self._left = 0
        self._line = b""
        self._out: list[bytes] = []
        self._extensions = 0
        self._trailer_bytes = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Read on. Returns bytes that may go on to the other side. Raises ChunkError."""
        position, copied, end = 0, 0, len(data)
        while position < end and not self.done:
            if self._state == _DATA:
                take = min(self._left, end - position)
                self._left -= take
                if self._plain:
                    self._out.append(data[position : position + take])
                position += take
                if not self._left:
                    self._state = _DATA_END
                continue
            start = position
            line, position = self._take_line(data, start)
            if line is None:
                self._flush(data, copied, start)
                copied = end
                break
            split = len(line) != position - start - 2
            canonical = self._on_line(line)
            if split or canonical is not None:
                self._flush(data, copied, start)
                copied = position
                self._emit(line + b"\r\n" if canonical is None else canonical)
        self._flush(data, copied, position)
        if self.done:
            self.rest = data[position:]
        return self._collect()

    def _take_line(self, data: bytes, start: int) -> tuple[bytes | None, int]:
        """The next line without its end, and where it ended; None when it goes on in the next bytes."""
        newline = data.find(b"\n", start)
        piece = data[start : newline + 1] if newline >= 0 else data[start:]
        line = self._line + piece if self._line else piece
        if len(line) > (MAX_LINE_BYTES if self._state != _TRAILERS else MAX_TRAILER_BYTES):
            raise ChunkError("a line of a chunked body is too long")
        if newline < 0:
            self._line = line
            return None, len(data)
        if line[-2:] != b"\r\n":
            raise ChunkError("a line of a chunked body ends without CR LF")
        self._line = b""
        return line[:-2], newline + 1

    def _on_line(self, line: bytes) -> bytes | None:
        """Take a line in. Returns what is written in its place; None for the line itself."""
        if self._state == _SIZE:
            return self._on_size(line)
        if self._state == _DATA_END:
            if line:
                raise ChunkError("chunk data goes on after its size")
            self._state = _SIZE
            return None
        return self._on_trailer(line)

    def _on_size(self, line: bytes) -> bytes | None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise ChunkError("a malformed chunk size")
        digits, extension = match.groups()
        self._left = int(digits, 16)
        self._state = _DATA if self._left else _TRAILERS
        if not extension:
            return None
        self._extensions += len(extension)
        if self._extensions > MAX_EXTENSION_BYTES:
            raise ChunkError("too many chunk extensions")
        return digits + b"\r\n"

    def _on_trailer(self, line: bytes) -> bytes | None:
        if not line:
            self.done = True
            return None
        self._trailer_bytes += len(line)
        match = _TRAILER.fullmatch(line)
        if match is None or self._trailer_bytes > MAX_TRAILER_BYTES:
            raise ChunkError("malformed or too large trailers")
        name, value = match.groups()
        return b"" if name.lower() in _NOT_IN_TRAILERS else name + b": " + value + b"\r\n"

    def _flush(self, data: bytes, start: int, end: int) -> None:
        if start < end and not self._plain:
            self._out.append(data if start == 0 and end == len(data) else data[start:end])

    def _emit(self, line: bytes) -> None:
        if line and not self._plain:
            self._out.append(line)

    def _collect(self) -> bytes:
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)
