"""A response's head: from bytes to values, and from values to the bytes a client gets. Pure; raises BadResponse only."""

from __future__ import annotations

import httptools

from interceptor.errors import BadResponse
from interceptor.http1.fields import CHUNKED, CHUNKED_LINE, CRLF, NO_BODY, connection_options

__all__ = ["MAX_HEAD_BYTES", "UNTIL_CLOSE", "ResponseHead", "parse_response"]

UNTIL_CLOSE = -2
"""Body length of a response that ends with its connection."""
MAX_HEAD_BYTES = 64 * 1024
"""A response's head. Backends are trusted with more than clients: large cookies and policies are theirs to send."""

_SPECIAL = frozenset(
    {
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"upgrade",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
    }
)


class _Sink:
    __slots__ = ("complete", "fields", "phrase", "special")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.special: list[tuple[bytes, bytes]] = []
        self.phrase = b""
        self.complete = False

    def on_status(self, phrase: bytes) -> None:
        self.phrase = phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in _SPECIAL:
            self.special.append((lower, value.strip(b" \t")))
        else:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


class ResponseHead:
    """A response without its body. `length` is the body's: bytes, NO_BODY, CHUNKED or UNTIL_CLOSE."""

    __slots__ = ("content_length", "fields", "keep_alive", "length", "phrase", "status", "upgrade")

    def __init__(self, status: int, phrase: bytes) -> None:
        self.status = status
        self.phrase = phrase
        self.length = UNTIL_CLOSE
        self.content_length: bytes | None = None
        self.keep_alive = True
        self.upgrade: bytes | None = None
        self.fields: list[tuple[bytes, bytes]] = []

    @property
    def interim(self) -> bool:
        """Whether another response follows for the same request."""
        return self.status < 200 and self.status != 101

    def encode(self, *, chunked: bool, connection: bytes | None) -> bytes:
        """The head for a client. `chunked` says how a body without a length goes on; `connection` is that field's value."""
        parts = [b"HTTP/1.1 %d " % self.status, self.phrase, CRLF]
        for name, value in self.fields:
            parts += (name, b": ", value, b"\r\n")
        if self.content_length is not None:
            parts += (b"Content-Length: ", self.content_length, b"\r\n")
        if chunked:
            parts.append(CHUNKED_LINE)
        if connection is not None:
            parts += (b"Connection: ", connection, b"\r\n")
        if self.upgrade is not None:
            parts += (b"Upgrade: ", self.upgrade, b"\r\n")
        parts.append(CRLF)
        return b"".join(parts)


def parse_response(data: bytes, method: bytes) -> ResponseHead:
    """One head, `data` being all of it up to and with the empty line; `method` is that of its request.

    Raises BadResponse, also for framing that two readers could read differently.
    """
    sink = _Sink()
    parser = httptools.HttpResponseParser(sink)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadResponse(f"malformed response: {error}") from None
    if not sink.complete or data[:7] != b"HTTP/1.":
        raise BadResponse("malformed response head")
    head = ResponseHead(parser.get_status_code(), sink.phrase)
    head.fields = sink.fields
    special = sink.special
    http11 = data[7:8] == b"1"
    if len(special) == 1 and special[0][0] == b"content-length" and http11:
        _set_length(head, special[0][1])
    elif special or not http11:
        _apply_fields(head, special, http11=http11)
    if head.status < 200 or head.status in (204, 304) or method == b"HEAD":
        _set_bodiless(head)
    return head


def _set_length(head: ResponseHead, value: bytes) -> None:
    if not value.isdigit() or len(value) > 18:
        raise BadResponse("a Content-Length that is not one number")
    head.content_length = value
    head.length = int(value)


def _set_bodiless(head: ResponseHead) -> None:
    if head.status < 200 or head.status == 204:
        head.content_length = None
    head.length = NO_BODY


def _apply_fields(head: ResponseHead, special: list[tuple[bytes, bytes]], *, http11: bool) -> None:
    found: dict[bytes, list[bytes]] = {}
    for name, value in special:
        found.setdefault(name, []).append(value)
    options = connection_options(found.get(b"connection", []))
    head.keep_alive = b"close" not in options and (http11 or b"keep-alive" in options)
    if b"transfer-encoding" in found:
        if b"content-length" in found or found[b"transfer-encoding"] != [found[b"transfer-encoding"][0]]:
            raise BadResponse("ambiguous framing of the body")
        if found[b"transfer-encoding"][0].lower() != b"chunked" or not http11:
            raise BadResponse("a Transfer-Encoding other than chunked")
        head.length = CHUNKED
    elif b"content-length" in found:
        if len(found[b"content-length"]) > 1:
            raise BadResponse("more than one Content-Length")
        _set_length(head, found[b"content-length"][0])
    if head.status == 101 or (b"upgrade" in options and b"upgrade" in found):
        head.upgrade = b", ".join(found.get(b"upgrade", [])) or None
    named = options - {b"close", b"keep-alive", b"upgrade", b""}
    if named:
        head.fields = [field for field in head.fields if field[0].lower() not in named]
