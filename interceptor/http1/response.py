"""A response's head: from bytes to values, and from values to the bytes a client gets. Raises BadResponse only.

Pure, but for the date that a response without one gets.
"""

from __future__ import annotations

import re

import httptools

from interceptor.core.errors import BadResponse
from interceptor.core.messages import NO_BODY, Response
from interceptor.http1.date import http_date
from interceptor.http1.fields import (
    CHUNKED,
    CHUNKED_LINE,
    CRLF,
    MAX_LENGTH_DIGITS,
    collect,
    connection_options,
    field_splitter,
    is_tied_to_connection,
    tokens,
    without_fields,
)
from interceptor.http1.grammar import GrammarError, check_head, check_status_line

__all__ = ["MAX_FIELDS", "MAX_HEAD_BYTES", "UNTIL_CLOSE", "ResponseHead", "malformed", "parse_response"]

UNTIL_CLOSE = -2
"""Body length of a response that ends with its connection."""
MAX_HEAD_BYTES = 64 * 1024
"""A response's head. Backends are trusted with more than clients: large cookies and policies are theirs to send."""
MAX_FIELDS = 1024
"""Header fields in one head. Each costs about a microsecond where they are looked at one by one."""
_SHORTEST_FIELDS = MAX_FIELDS * len(b"a:\r\n")
"""Bytes up to which a head cannot have more."""

_split = field_splitter(
    [
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "www-authenticate",
        "x-keda-http-cold-start",  # the interceptor's to say
    ]
).split
_KEPT_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b""})
_LENGTH_NAMES = frozenset({b"Content-Length", b"content-length"})


class ResponseHead(Response, gc=False, eq=False):
    """A response of HTTP/1 without its body, whose length may be CHUNKED or UNTIL_CLOSE."""

    _wire: bytes = b""
    """The head as it goes on, when nothing is to be added; without its last line end otherwise."""
    _whole: bool = True

    def encode(self, *, chunked: bool, connection: bytes | None, lines: bytes = b"") -> bytes:
        """The head for a client, with lines that are added at its end. `chunked` says how a body without a length goes on;
        `connection` is that field's value, but for what the head itself names in it."""
        if connection is None and not chunked and self.upgrade is None:
            return b"".join((self._wire[:-2] if self._whole else self._wire, lines, CRLF))
        if chunked:
            lines += CHUNKED_LINE
        if self.upgrade is not None and self.status == UPGRADE_REQUIRED:
            connection = b"upgrade" if connection is None else b"upgrade, " + connection
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
    if len(data) > _SHORTEST_FIELDS:
        _bound_fields(data)
    try:
        httptools.HttpResponseParser(_quiet).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        _check_grammar(data)
    if not data.startswith(_USUAL_LINES) and _CONTROL.search(data):
        data = _without_phrase(data)
    parts = _split(data)
    head = _from_plain(data, parts) if data.startswith(b"HTTP/1.1 ") else None
    if head is None:
        try:
            head = _from_fields(data, parts)
        except GrammarError as error:
            raise malformed(error) from None
    if head.status < 200 or head.status in _BODILESS or method == b"HEAD":
        head.length = NO_BODY
    if head._wire.find(_DATED) < 0 and head.status >= 200 and not _DATE.search(head._wire):  # noqa: SLF001
        _add_date(head)
    return head


def _check_grammar(data: bytes) -> None:
    """Judge a head that llhttp does not accept. Raises BadResponse."""
    try:
        check_head(data, check_status_line)
    except GrammarError as error:
        raise malformed(error) from None


def _bound_fields(data: bytes) -> None:
    if data.count(CRLF) > MAX_FIELDS + 2:
        raise BadResponse(f"malformed response: more than {MAX_FIELDS} header fields")


def malformed(error: GrammarError) -> BadResponse:
    """The failure of a backend whose head breaks the grammar."""
    return BadResponse(f"malformed response: {error}")


def _add_date(head: ResponseHead) -> None:
    """Who receives an answer without a date, and has a clock, tells it (RFC 9110 6.6.1)."""
    wire = head._wire[:-2] if head._whole else head._wire  # noqa: SLF001 -- parsing is the other half of the class
    head._wire = b"%bDate: %b\r\n" % (wire, http_date())  # noqa: SLF001
    head._whole = False  # noqa: SLF001


_DATED = b"\r\nDate: "
_DATE = re.compile(rb"\r\ndate:", re.IGNORECASE)
UPGRADE_REQUIRED = 426
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
    return ResponseHead(status, int(value), _wire=wire)


BLANK, ZERO = b" 0"
_VERSION = re.compile(rb"HTTP/1\.[0-9] ")
_UPGRADES = frozenset({101, UPGRADE_REQUIRED})
LOWEST_STATUS = 100


def _from_fields(data: bytes, parts: list[bytes]) -> ResponseHead:
    if not _VERSION.match(data):
        raise BadResponse("malformed response: the protocol version is not HTTP/1")
    http11 = data[7] != ZERO  # a higher minor version is processed as the highest that is known (RFC 9110 2.5)
    rest = b"".join(parts[::3])
    end = rest.find(CRLF)
    head = ResponseHead(int(rest[9:12]), UNTIL_CLOSE, _whole=False)
    if head.status < LOWEST_STATUS:
        raise BadResponse("malformed response: there is no such status")
    found = collect(parts)
    named = _apply_connection(head, found, http11=http11) if b"connection" in found or not http11 else frozenset()
    value = _apply_framing(head, found, http11=http11)
    if head.status in _UPGRADES:
        protocols = found.get(b"upgrade", [])
        head.upgrade = b", ".join(protocols) if any(tokens(protocols)) else None
    block = without_fields(rest[end:-2], named) if named else rest[end:-2]
    line = b"HTTP/1.1 " + (rest[9:end] if end > 12 else rest[9:12] + b" ")
    if value is not None and head.status >= 200 and head.status != 204:
        block += b"Content-Length: %b\r\n" % value
    if b"www-authenticate" in found:
        challenges = found[b"www-authenticate"]
        head.personal = is_tied_to_connection(challenges)
        block += b"".join(b"WWW-Authenticate: %b\r\n" % value for value in challenges)
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
