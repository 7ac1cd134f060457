"""A response's head: from bytes to values, and from values to the bytes a client gets. Pure; raises BadResponse only."""

from __future__ import annotations

import re

import httptools
import msgspec

from interceptor.errors import BadResponse
from interceptor.http1.fields import (
    CHUNKED,
    CHUNKED_LINE,
    CRLF,
    MAX_LENGTH_DIGITS,
    NO_BODY,
    collect,
    connection_options,
    field_splitter,
    without_fields,
)

__all__ = ["MAX_HEAD_BYTES", "UNTIL_CLOSE", "ResponseHead", "parse_response"]

UNTIL_CLOSE = -2
"""Body length of a response that ends with its connection."""
MAX_HEAD_BYTES = 64 * 1024
"""A response's head. Backends are trusted with more than clients: large cookies and policies are theirs to send."""

_split = field_splitter(
    [
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "x-keda-http-cold-start",  # the interceptor's to say
    ]
).split
_KEPT_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b""})
_LENGTH_NAMES = frozenset({b"Content-Length", b"content-length"})


class ResponseHead(msgspec.Struct, gc=False, eq=False):
    """A response without its body."""

    status: int
    _wire: bytes
    """The head as it goes on, when nothing is to be added; without its last line end otherwise."""
    length: int = UNTIL_CLOSE
    """Of the body: bytes, NO_BODY, CHUNKED or UNTIL_CLOSE."""
    keep_alive: bool = True
    upgrade: bytes | None = None
    _whole: bool = True

    def encode(self, *, chunked: bool, connection: bytes | None, fields: bytes = b"") -> bytes:
        """The head for a client, with lines that are added at its end. `chunked` says how a body without a length goes on;
        `connection` is that field's value."""
        if connection is None and not chunked and self.upgrade is None:
            return b"".join((self._wire[:-2] if self._whole else self._wire, fields, CRLF))
        lines = fields + CHUNKED_LINE if chunked else fields
        if connection is not None:
            lines += b"Connection: %b\r\n" % connection
        if self.upgrade is not None:
            lines += b"Upgrade: %b\r\n" % self.upgrade
        return b"".join((self._wire[:-2] if self._whole else self._wire, lines, CRLF))


class _Quiet:
    """Hears nothing: llhttp accepts or refuses, and the splitter finds what matters."""


_quiet = _Quiet()


def parse_response(data: bytes, method: bytes) -> ResponseHead:
    """One head, `data` being all of it up to and with the empty line; `method` is that of its request.

    Raises BadResponse, also for framing that two readers could read differently.
    """
    try:
        httptools.HttpResponseParser(_quiet).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadResponse(f"malformed response: {error}") from None
    if not data.startswith(_USUAL_LINES) and _CONTROL.search(data):
        data = _without_phrase(data)
    parts = _split(data)
    http11 = data.startswith(b"HTTP/1.1 ")
    head = _from_plain(data, parts) if http11 else None
    if head is None:
        head = _from_fields(data, parts, http11=http11)
    if head.status < 200 or head.status in _BODILESS or method == b"HEAD":
        head.length = NO_BODY
    return head


_BODILESS = frozenset({204, 304})
_USUAL_LINES = (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.1 204 No Content\r\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _without_phrase(data: bytes) -> bytes:
    """An accepted head can hold control characters nowhere but in its reason phrase. That is for people, who would see them in
    a terminal, and means nothing (RFC 9112 4): the answer is as good without."""
    end = data.find(CRLF)
    return data[: len(b"HTTP/1.1 200 ")] + data[end:]


def _from_plain(data: bytes, parts: list[bytes]) -> ResponseHead | None:
    """Where a length is all that matters: alone, or with the keep-alive that goes without saying."""
    if len(parts) == 4:
        name, value = parts[1], parts[2]
        wire = data
    elif len(parts) == 7 and parts[4] == b"Connection" and parts[5] == b"keep-alive":
        name, value = parts[1], parts[2]
        wire = b"".join((parts[0], b"\r\nContent-Length: ", value, parts[3], parts[6]))
    elif len(parts) == 7 and parts[1] == b"Connection" and parts[2] == b"keep-alive":
        name, value = parts[4], parts[5]
        wire = b"".join((parts[0], parts[3], b"\r\nContent-Length: ", value, parts[6]))
    else:
        return None
    status = int(data[9:12])
    if (
        name not in _LENGTH_NAMES
        or not value.isdigit()
        or len(value) > MAX_LENGTH_DIGITS
        or status < 200
        or status == 204
        or data[12] != BLANK
    ):
        return None
    return ResponseHead(status, wire, int(value))


BLANK = ord(" ")
LOWEST_STATUS = 100


def _from_fields(data: bytes, parts: list[bytes], *, http11: bool) -> ResponseHead:
    if not http11 and not data.startswith(b"HTTP/1.0 "):
        raise BadResponse("malformed response: the protocol version is not HTTP/1.1 or HTTP/1.0")
    rest = b"".join(parts[::3])
    end = rest.find(CRLF)
    head = ResponseHead(int(rest[9:12]), b"", _whole=False)
    if head.status < LOWEST_STATUS:
        raise BadResponse("malformed response: there is no such status")
    found = collect(parts)
    named = _apply_connection(head, found, http11=http11) if b"connection" in found or not http11 else frozenset()
    value = _apply_framing(head, found, http11=http11)
    if head.status == 101:
        head.upgrade = b", ".join(found.get(b"upgrade", [])) or None
    block = without_fields(rest[end:-2], named) if named else rest[end:-2]
    line = b"HTTP/1.1 " + (rest[9:end] if end > 12 else rest[9:12] + b" ")
    if value is not None and head.status >= 200 and head.status != 204:
        block += b"Content-Length: %b\r\n" % value
    head._wire = line + block  # noqa: SLF001 -- parsing is the other half of the class
    return head


def _apply_framing(head: ResponseHead, found: dict[bytes, list[bytes]], *, http11: bool) -> bytes | None:
    """How long the body is. Returns the Content-Length to tell."""
    lengths = found.get(b"content-length")
    if b"transfer-encoding" in found:
        if lengths or len(found[b"transfer-encoding"]) > 1:
            raise BadResponse("ambiguous framing of the body")
        if found[b"transfer-encoding"][0].lower() != b"chunked" or not http11:
            raise BadResponse("a Transfer-Encoding other than chunked")
        head.length = CHUNKED
        return None
    if not lengths:
        return None
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS:
        raise BadResponse("a Content-Length that is not one number")
    head.length = int(lengths[0])
    return lengths[0]


def _apply_connection(head: ResponseHead, found: dict[bytes, list[bytes]], *, http11: bool) -> frozenset[bytes]:
    """Whether the connection goes on. Returns the fields that are not to go on."""
    options = connection_options(found.get(b"connection", []))
    head.keep_alive = b"close" not in options and (http11 or b"keep-alive" in options)
    return options - _KEPT_OPTIONS
