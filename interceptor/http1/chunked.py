"""Chunked bodies (RFC 9112 7.1): finds where they end and passes them on in one canonical form. Pure.

Bytes that are canonical already are passed on without a copy. llhttp is not used, because it does not report where in its input a
message ended, which pipelining needs.

A line costs about a microsecond whatever its length, and a sender can make a line of every three bytes. So a call reads a
bounded number of lines; the rest is left for the next call.
"""

from __future__ import annotations

import re
from typing import Final

from interceptor.core.messages import Field, may_trail
from interceptor.http1.grammar import is_text, is_token

__all__ = ["LINES_AT_ONCE", "ChunkError", "ChunkedReader"]

LINES_AT_ONCE: Final = 32
"""Lines read by one call (a chunk has two): less than 0.1 ms. The usual chunks have some KiB, so one read contains fewer."""
MAX_LINE_BYTES: Final = 1024
"""Maximum size of a chunk-size line with its extensions."""
MAX_EXTENSION_BYTES: Final = 16 * 1024
"""Maximum size of all extensions of one body: they have no use, and take time to check."""
MAX_TRAILER_BYTES: Final = 16 * 1024
MAX_TRAILERS: Final = 256
"""The same as fields in a head."""
MAX_SIZE_DIGITS: Final = 15
"""Chunks below 2**60 bytes; no real chunk is larger."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# Blanks and an empty extension are refused: parsers disagree about them, so a client could smuggle a request.
_EXTENSIONS: Final = re.compile(rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*")
_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
_BLANKS: Final = b" \t"

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3


class ChunkError(ValueError):
    """The bytes are not a valid chunked body."""


class ChunkedReader:
    """Reads one body. `feed` returns bytes to pass on; `done` and `rest` report its end, `behind` that input is left to read.

    With `plain`, only the content is passed on, for a receiver that does not know chunks (HTTP/1.0, other protocols), and
    trailers that may be passed on are in `trailers`, with lower-case names. With `lenient` (responses), blanks around a size and
    a semicolon are skipped, as the grammar allows (BWS, RFC 9112 7.1.1); for requests they are refused, because a client could
    use them to smuggle a request. Everything that is passed on is canonical.
    """

    __slots__ = (
        "_at", "_data", "_extensions", "_left", "_lenient", "_line", "_out", "_plain", "_state", "_trailer_bytes", "_trailers",
        "done", "trailers",
    )  # fmt: skip

    def __init__(self, *, plain: bool = False, lenient: bool = False) -> None:
        self._plain = plain
        self._lenient = lenient
        self._state = _SIZE
        self._left = 0
        self._line = b""
        self._out: list[bytes] = []
        self._extensions = 0
        self._trailer_bytes = 0
        self._trailers = 0
        self.trailers: list[Field] = []
        self._data = b""
        self._at = 0
        """Bytes of `_data` that have been read."""
        self.done = False

    @property
    def behind(self) -> bool:
        """Whether input is left because a call reads a bounded number of lines: call `feed` again, without new bytes."""
        return not self.done and self._at < len(self._data)

    @property
    def rest(self) -> bytes:
        """Bytes that came after the body."""
        return self._data[self._at :] if self.done else b""

    def feed(self, data: bytes = b"") -> bytes:
        """Read more. Returns bytes to pass on to the other side. Raises ChunkError."""
        position = self._at
        if self._data:
            data = self._data + data if data else self._data
        copied, end, lines = position, len(data), LINES_AT_ONCE
        while position < end and lines and not self.done:
            if self._state == _DATA:
                take = min(self._left, end - position)
                self._left -= take
                if self._plain:
                    self._out.append(data[position : position + take])
                position += take
                if not self._left:
                    self._state = _DATA_END
                continue
            lines -= 1
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
        if position < end:
            self._data, self._at = data, position
        else:
            self._data, self._at = b"", 0
        return self._collect()

    def _take_line(self, data: bytes, start: int) -> tuple[bytes | None, int]:
        """The next line without its line end, and the position after it; None if the line is incomplete."""
        most = MAX_LINE_BYTES if self._state != _TRAILERS else MAX_TRAILER_BYTES
        newline = data.find(b"\n", start, start + most)
        piece = data[start : newline + 1] if newline >= 0 else data[start : start + most + 1]
        line = self._line + piece if self._line else piece
        if len(line) > most:
            raise ChunkError("a line of a chunked body is too long")
        if newline < 0:
            self._check_part(line, piece)
            self._line = line
            return None, len(data)
        if line[-2:] != b"\r\n":
            raise ChunkError("a line of a chunked body ends without CR LF")
        self._line = b""
        return line[:-2], newline + 1

    def _check_part(self, line: bytes, piece: bytes) -> None:
        """Check an incomplete line, of which `piece` is new: a line that cannot become valid any more is refused at once."""
        if self._state == _DATA_END and line != b"\r":
            raise ChunkError("chunk data goes on after its size")
        if self._state == _SIZE and line[:1].translate(None, _HEX_DIGITS):
            raise ChunkError("a malformed chunk size")
        if not is_text(piece.removesuffix(b"\r")) or (self._line[-1:] == b"\r"):
            raise ChunkError("control characters in a line of a chunked body")

    def _on_line(self, line: bytes) -> bytes | None:
        """Process a line. Returns the bytes to pass on instead of it; None for the line itself."""
        if self._state == _SIZE:
            return self._on_size(line)
        if self._state == _DATA_END:
            if line:
                raise ChunkError("chunk data goes on after its size")
            self._state = _SIZE
            return None
        return self._on_trailer(line)

    def _on_size(self, line: bytes) -> bytes | None:
        digits, semicolon, extensions = line.partition(b";")
        if self._lenient:
            digits = digits.rstrip(_BLANKS)
        if not 0 < len(digits) <= MAX_SIZE_DIGITS or digits.translate(None, _HEX_DIGITS):
            raise ChunkError("a malformed chunk size")
        self._left = int(digits, 16)
        self._state = _DATA if self._left else _TRAILERS
        if digits == line:
            return None
        if not (is_text(extensions) if self._lenient else _EXTENSIONS.fullmatch(semicolon + extensions)):
            raise ChunkError("a malformed chunk extension")
        self._extensions += len(line)
        if self._extensions > MAX_EXTENSION_BYTES:
            raise ChunkError("too many chunk extensions")
        return digits + b"\r\n"

    def _on_trailer(self, line: bytes) -> bytes | None:
        if not line:
            self.done = True
            return None
        self._trailers += 1
        self._trailer_bytes += len(line)
        name, colon, value = line.partition(b":")
        if not colon or not is_token(name) or not is_text(value):
            raise ChunkError("a malformed trailer")
        if self._trailer_bytes > MAX_TRAILER_BYTES or self._trailers > MAX_TRAILERS:
            raise ChunkError("too many or too large trailers")
        if not may_trail(name):
            return b""
        value = value.strip(_BLANKS)
        if self._plain:
            self.trailers.append((name.lower(), value))
        return b"%b: %b\r\n" % (name, value)

    def _flush(self, data: bytes, start: int, end: int) -> None:
        if start < end and not self._plain:
            self._out.append(data if start == 0 and end == len(data) else data[start:end])

    def _emit(self, line: bytes) -> None:
        if line and not self._plain:
            self._out.append(line)

    def _collect(self) -> bytes:
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)
