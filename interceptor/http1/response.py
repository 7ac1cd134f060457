"""A response's head: parses the backend's bytes, and encodes the head for a client. Raises BadResponse only.

Pure, except that a response without a Date gets the current time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import httptools
import msgspec

from interceptor.core.errors import BadResponse
from interceptor.core.keep_awake import KEEP_AWAKE, read_keep_awake
from interceptor.core.messages import BODILESS, NO_BODY, Field, FieldEdit, Response
from interceptor.core.sizes import MAX_LENGTH_DIGITS, MAX_RESPONSE_FIELDS
from interceptor.date import http_date
from interceptor.http1.fields import (
    CHUNKED,
    CHUNKED_LINE,
    CRLF,
    MAX_CACHED_HEAD,
    collect,
    connection_options,
    edited_head,
    field_splitter,
    is_tied_to_connection,
    response_pairs,
    tokens,
    without_fields,
)
from interceptor.http1.grammar import GrammarError, check_head, check_status_line

__all__ = ["UNTIL_CLOSE", "ResponseHead", "malformed", "parse_response"]

UNTIL_CLOSE: Final = -2
"""Body length of a response that ends with its connection."""
_SHORTEST_FIELDS: Final = MAX_RESPONSE_FIELDS * len(b"a:\r\n")
"""A head up to this size cannot have more fields, so they need not be counted."""

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
        "x-keda-http-cold-start",  # only the interceptor sets it
        "weir-keep-awake",  # only for the interceptor
    ]
).split
_KEPT_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b""})
_LENGTH_NAMES: Final = frozenset({b"Content-Length", b"content-length"})


class ResponseHead(Response, gc=False, eq=False):
    """An HTTP/1 response without its body; its length may be CHUNKED or UNTIL_CLOSE. Must not be changed once it is parsed:
    the same object is returned for the same bytes."""

    _wire: bytes = b""
    """The head for the client; without the empty line at its end unless `_whole`."""
    _whole: bool = True
    _undated: bool = False
    """Whether a Date is missing."""

    def encode(self, *, chunked: bool, connection: bytes | None, lines: bytes = b"") -> bytes:
        """The head for a client, with `lines` added at its end. `chunked`: whether the body is sent in chunks. `connection`: the
        value of that field; options that the head itself needs are added."""
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

    def fields(self) -> Sequence[Field]:
        """The fields of `encode`, for a client of another protocol."""
        return response_pairs(self._wire)

    def edited(self, edit: FieldEdit) -> ResponseHead:
        wire = edited_head(self._wire if self._whole else self._wire + CRLF, edit)
        return msgspec.structs.replace(self, _wire=wire, _whole=True, composed=None)


class _NoCallbacks:
    """A parser protocol without callbacks: llhttp only checks the grammar; `_split` finds the fields."""


_quiet = _NoCallbacks()


def parse_response(data: bytes, method: bytes) -> ResponseHead:
    """Parse one head; `data` is all of it, including the empty line; `method` is that of the request.

    Raises BadResponse, also for framing that two parsers could read differently.
    """
    head = _remembered(data) if len(data) <= MAX_CACHED_HEAD else _parse(data)
    if head._undated:  # noqa: SLF001 -- parsing is the other half of the class
        head = _dated(head)
    if method == b"HEAD" and head.length != NO_BODY:
        head = msgspec.structs.replace(head, length=NO_BODY)
    return head


def _parse(data: bytes) -> ResponseHead:
    """The same without what is not in the bytes: the current time, and the method of the request."""
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
    if head.status < 200 or head.status in BODILESS:
        head.length = NO_BODY
    head._undated = head._wire.find(_DATED) < 0 and head.status >= 200 and not _DATE.search(head._wire)  # noqa: SLF001
    return head


_remembered: Final = lru_cache(maxsize=256)(_parse)
"""The responses of an application often have the same head for a second, as long as their Date is the same."""


def _check_grammar(data: bytes) -> None:
    """Check a head that llhttp does not accept. Raises BadResponse."""
    try:
        check_head(data, check_status_line)
    except GrammarError as error:
        raise malformed(error) from None


def _bound_fields(data: bytes) -> None:
    if data.count(CRLF) > MAX_RESPONSE_FIELDS + 2:
        raise BadResponse(f"malformed response: more than {MAX_RESPONSE_FIELDS} header fields")


def malformed(error: GrammarError) -> BadResponse:
    """The error for a head that breaks the grammar."""
    return BadResponse(f"malformed response: {error}")


def _dated(head: ResponseHead) -> ResponseHead:
    """A recipient with a clock adds the Date field to a response without one (RFC 9110 6.6.1)."""
    wire = head._wire[:-2] if head._whole else head._wire  # noqa: SLF001 -- parsing is the other half of the class
    dated = b"%bDate: %b\r\n" % (wire, http_date())
    return msgspec.structs.replace(head, _wire=dated, _whole=False, _undated=False)


_DATED: Final = b"\r\nDate: "
_DATE: Final = re.compile(rb"\r\ndate:", re.IGNORECASE)
UPGRADE_REQUIRED: Final = 426
_USUAL_LINES: Final = (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.1 204 No Content\r\n")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _without_phrase(data: bytes) -> bytes:
    """Remove the reason phrase, which is the only place in an accepted head for control characters. They could harm a terminal
    that shows them, and clients ignore the phrase (RFC 9112 4)."""
    end = data.find(CRLF)
    return data[: len(b"HTTP/1.1 200 ")] + data[end:]


def _from_plain(data: bytes, parts: list[bytes]) -> ResponseHead | None:
    """Fast path for the usual head: its only special field is Content-Length, perhaps with "Connection: keep-alive", which is the
    default anyway. None for any other head."""
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


BLANK: Final = ord(" ")
ZERO: Final = ord("0")
_VERSION: Final = re.compile(rb"HTTP/1\.[0-9] ")
_UPGRADES: Final = frozenset({101, UPGRADE_REQUIRED})
LOWEST_STATUS: Final = 100


def _from_fields(data: bytes, parts: list[bytes]) -> ResponseHead:
    if not _VERSION.match(data):
        raise BadResponse("malformed response: the protocol version is not HTTP/1")
    http11 = data[7] != ZERO  # a higher minor version is processed as HTTP/1.1 (RFC 9110 2.5)
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
    if KEEP_AWAKE in found:
        head.keep_awake = read_keep_awake(found[KEEP_AWAKE])
    if b"www-authenticate" in found:
        challenges = found[b"www-authenticate"]
        head.personal = is_tied_to_connection(challenges)
        block += b"".join(b"WWW-Authenticate: %b\r\n" % value for value in challenges)
    head._wire = line + block  # noqa: SLF001 -- parsing is the other half of the class
    return head


def _apply_framing(head: ResponseHead, found: dict[bytes, list[bytes]], *, http11: bool) -> bytes | None:
    """Set the length of the body. Returns the Content-Length to send, if any."""
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
    """Set whether the connection can be used again. Returns the names of fields that must not be passed on."""
    options = connection_options(found.get(b"connection", []))
    head.keep_alive = b"close" not in options and (http11 or b"keep-alive" in options)
    return options - _KEPT_OPTIONS
