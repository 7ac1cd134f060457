"""Encodes messages of other protocols (HTTP/2) as HTTP/1.1, if client and backend use different ones. Pure, except that a
response without a Date gets the current time.

The other codec has validated methods, targets, names and values. Line ends are checked here once more, because a mistake of that
codec must not allow request smuggling.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from interceptor.core.messages import BODILESS, NO_BODY, SWITCHING_PROTOCOLS, Field, Fields, Request, Response
from interceptor.core.phrases import reason_phrase
from interceptor.core.sizes import MAX_LENGTH_DIGITS
from interceptor.date import http_date
from interceptor.http1.fields import CHUNKED_LINE, CRLF
from interceptor.http1.grammar import GrammarError, check_request_line, is_text, is_token

__all__ = ["MAX_KEPT", "ExactLength", "chunk", "encode_foreign_request", "encode_foreign_response", "last_chunk"]

MAX_STATUS: Final = 599
MAX_KEPT: Final = 2048
"""Maximum bytes of a head that is kept for the next request with the same one. A connection may have 64 of them."""
_OF_HTTP1: Final = frozenset({b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
"""Fields that this module writes itself, or that concern one connection of HTTP/1: a second one would contradict the first."""


def encode_foreign_request(head: Request, peer: bytes, *, trusted: bool, authority: bytes, body: int | None) -> bytes:
    """The head for a backend. `body` is the length of a body that has been received completely, or None; a body without a length
    is sent in chunks. `authority` is the backend's own, for a head without a host, of which nothing is remembered. Raises
    ValueError for what a codec must have refused."""
    known = head.encoded
    depends = (peer, trusted, body)
    if known is not None and known.depends == depends:
        return known.wire
    fields = head.fields(peer, trusted=trusted)
    line = b"%b %b HTTP/1.1" % (head.method, head.target)
    try:
        check_request_line(line)
    except GrammarError as error:
        raise ValueError(str(error)) from None
    _check_framing(fields, head.length)
    lines = [line + CRLF, *_lines([(b"Host", head.host or authority), *fields])]
    if head.length < 0:
        lines.append(CHUNKED_LINE if body is None else b"Content-Length: %d\r\n" % body)
    if head.expects_continue:
        lines.append(b"Expect: 100-continue\r\n")
    if head.upgrade is not None:
        lines += [*_lines([(b"Upgrade", head.upgrade)]), b"Connection: upgrade\r\n"]
    wire = b"".join((*lines, CRLF))
    if known is not None and len(wire) <= MAX_KEPT:
        known.depends, known.wire = depends, wire
    return wire


def encode_foreign_response(
    head: Response, added: Fields, *, chunked: bool, connection: bytes | None, to_head: bool = False
) -> bytes:
    """The head for a client, with added fields. `chunked`: whether the body is sent in chunks. `connection`: the value of that
    field. `to_head`: the request was HEAD, so that a length says nothing about this message. Raises ValueError for what a codec
    must have refused."""
    if not HTTPStatus.CONTINUE <= head.status <= MAX_STATUS:
        raise ValueError(f"{head.status} is no status")
    fields = head.fields()
    _check_framing(fields, None if to_head or head.status in BODILESS else head.length)
    names = {name for name, _ in fields}
    final = head.status >= HTTPStatus.OK
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, reason_phrase(head.status)), *_lines(fields), *_lines(added)]
    if final and b"date" not in names:
        lines.append(b"Date: %b\r\n" % http_date())  # a recipient adds a missing one (RFC 9110 6.6.1)
    if chunked:
        lines.append(CHUNKED_LINE)
    elif final and head.length == NO_BODY and not to_head and head.status not in BODILESS and b"content-length" not in names:
        lines.append(b"Content-Length: 0\r\n")
    if head.status == SWITCHING_PROTOCOLS and head.upgrade is not None:
        lines += _lines([(b"Upgrade", head.upgrade)])
    if connection is not None:
        lines.append(b"Connection: %b\r\n" % connection)
    return b"".join((*lines, CRLF))


def chunk(data: bytes | memoryview) -> bytes:
    """Encode a part of a body as a chunk. An empty part gives nothing, because an empty chunk would end the body."""
    return b"".join((b"%x\r\n" % len(data), data, b"\r\n")) if data else b""


class ExactLength:
    """Passes on a body whose length was announced: never more than that, so that the excess is not read as another message."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length
        """Bytes that are still to come."""

    def __call__(self, data: bytes | memoryview) -> bytes:
        taken = bytes(data[: self.left])
        self.left -= len(taken)
        return taken


def last_chunk(trailers: Iterable[Field]) -> bytes:
    """The end of a body in chunks. A trailer that cannot be written is left out: a body must not stay without its end."""
    return b"".join((b"0\r\n", *_lines(field for field in trailers if _is_field(field)), CRLF))


def _check_framing(fields: Iterable[Field], length: int | None) -> None:
    """Raises ValueError for fields that would contradict the framing of the body. `length` is None where it does not matter."""
    for name, value in fields:
        lower = name.lower()
        if lower in _OF_HTTP1:
            raise ValueError(f"a field that is not for another codec to send: {name!r}")
        if lower == b"content-length" and length is not None and not _is_number(value, length):
            raise ValueError(f"a content-length of {value!r} for a body of {length} bytes")


def _is_number(text: bytes, number: int) -> bool:
    return text.isdigit() and len(text) <= MAX_LENGTH_DIGITS and int(text) == number


def _lines(fields: Iterable[Field]) -> list[bytes]:
    lines = []
    for field in fields:
        if not _is_field(field):
            raise ValueError(f"not a field: {field!r}")
        lines.append(b"%b: %b\r\n" % field)
    return lines


def _is_field(field: Field) -> bool:
    return is_token(field[0]) and is_text(field[1])
