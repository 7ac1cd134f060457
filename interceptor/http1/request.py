"""A request's head: parses the client's bytes, and encodes the head for a backend. Pure; raises BadRequest only.

A head is parsed as a whole, so it does not matter how the network divided it. `interceptor.http1.validator` checks its grammar;
this module has the other rules: hosts, targets, versions, and framing that two parsers could read differently.
"""

from __future__ import annotations

from copy import copy
from typing import Final

from fleet.routing.context import Marks
from interceptor.core.errors import BadRequest
from interceptor.core.grpc import kind_of_fields, read_timeout, timeout_left
from interceptor.core.messages import NO_BODY, OTHER_FORWARDING_FIELDS, Field, Request, RequestEdit
from interceptor.core.sizes import MAX_LENGTH_DIGITS, MAX_REQUEST_FIELDS, MAX_TARGET_BYTES
from interceptor.http1.chunked import ChunkedReader
from interceptor.http1.fields import (
    CHUNKED,
    CHUNKED_LINE,
    CRLF,
    HEAD_END,
    collect,
    connection_options,
    edited_head,
    field_pairs,
    host_is_valid,
    tokens,
    without_fields,
)
from interceptor.http1.grammar import GrammarError, check_request_line
from interceptor.http1.special_fields import KEPT_OPTIONS, USUAL_MARKS, has_marks, split_special, split_special_and_marks
from interceptor.http1.validator import Validator, malformed

__all__ = ["RequestHead", "parse_request"]


SHORTEST_FIELD: Final = len(b"a:\r\n")

_PROTOCOLS: Final = {b"HTTP/1.%d" % minor: minor for minor in range(10)}
"""A higher minor version is processed as HTTP/1.1 (RFC 9110 2.5)."""

_NAMES: Final = {
    name.encode(): "-".join(map(str.capitalize, name.split("-"))).encode() + b": %b\r\n" for name in OTHER_FORWARDING_FIELDS
}
_FORWARDING_NAMES: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", *_NAMES})


class RequestHead(Request, gc=False, eq=False):
    """An HTTP/1 request without its body; its length may be CHUNKED."""

    _data: bytes = b""
    """The accepted head."""
    _onward: bytes = b""
    """The part of the head to pass on unchanged, without its end; empty if that is the whole head."""
    minor: int = 1
    """Minor version of HTTP/1: 0 or 1."""
    keep_alive: bool = True
    takes_trailers: bool = False
    marked: bool = False
    """Whether it has one of the fields by which a request usually chooses a preview."""
    hops: int | None = None
    """How often the request may still be forwarded, if it has Max-Forwards (RFC 9110 7.6.2); 0 if the proxy must answer it."""
    _found: dict[bytes, list[bytes]] | None = None
    """The special fields; None if they need no processing (only Host, Content-Length and the default Connection)."""
    _others: bytes = b""
    """The head without these fields."""
    _dropped: frozenset[bytes] = frozenset()
    """Names of fields that the client's Connection field makes hop-by-hop."""
    _edit: RequestEdit | None = None

    @property
    def size(self) -> int:
        """Bytes of the head."""
        return len(self._data)

    def match_fields(self) -> list[Field]:
        """All fields with lower-case names, for routing by header."""
        return field_pairs(self._data)

    def may_have(self, marks: Marks) -> bool:
        cookie = marks.cookie
        if self.marked or not marks.usual or (cookie and self._data.rfind(cookie) >= 0):  # faster than `find`
            return has_marks(self._data, marks)
        return False

    def fields(self, peer: bytes, *, trusted: bool) -> list[Field]:
        """The fields of `encode`, for a backend of another protocol."""
        pairs = field_pairs(self.encode(peer, self.scheme, trusted=trusted))
        return [pair for pair in pairs if pair[0] not in _OF_HTTP1]

    def edited(self, edit: RequestEdit) -> RequestHead:
        head = copy(self)
        _write_anew(head)
        head.target, head._edit = edit.target, edit  # noqa: SLF001 -- its own class
        return head

    def body_reader(self) -> ChunkedReader | None:
        """A reader that removes the chunks of the body, if it is chunked. For backends of other protocols."""
        return ChunkedReader(plain=True) if self.length == CHUNKED else None

    def encode(self, peer: bytes, scheme: bytes, *, trusted: bool = False, authority: bytes = b"") -> bytes:
        """The head for a backend: without hop-by-hop fields, with forwarding fields, Host and target unchanged.

        The client's forwarding fields are kept only if `peer` is a `trusted` proxy. `authority` is the backend's own, for a
        request without a Host (HTTP/1.0).
        """
        if self._found is not None:
            return self._encode_special(self._found, peer, scheme, authority, trusted=trusted)
        host = self.host
        return b"".join(
            (
                self._onward or self._data[:-2],
                b"X-Forwarded-For: ",
                peer,
                b"\r\nX-Forwarded-Proto: ",
                scheme,
                b"\r\nX-Forwarded-Host: ",
                host,
                HEAD_END,
            )
        )

    @property
    def is_for_another(self) -> bool:
        """Whether the request has forwarding fields, so that its connection may carry several users' requests."""
        return self._found is not None and (b"x-forwarded-for" in self._found or b"forwarded" in self._found)

    def trace(self) -> bytes:
        """The head for the response to TRACE, without secrets (RFC 9110 9.3.8)."""
        line, _, fields = self._data.partition(CRLF)
        return line + without_fields(CRLF + fields[:-2], _SECRETS) + CRLF

    def _encode_special(
        self, found: dict[bytes, list[bytes]], peer: bytes, scheme: bytes, authority: bytes, *, trusted: bool
    ) -> bytes:
        others = self._others
        block = others[others.find(CRLF) : -2]
        if self._dropped:
            block = without_fields(block, self._dropped)
        line = b"%b %b HTTP/1.1\r\nHost: %b" % (self.method, self.target, self.host or authority)
        if not _FORWARDING_NAMES.isdisjoint(found) or not self.host:
            forwarding = self._forwarding(found if trusted else {}, peer, scheme)
        else:
            forwarding = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (peer, scheme, self.host)
        head = line + block + forwarding + self._kept(found)
        return head if self._edit is None else edited_head(head, self._edit)

    def _forwarding(self, received: dict[bytes, list[bytes]], peer: bytes, scheme: bytes) -> bytes:
        """The forwarding fields: the ones received (`received`), extended by this hop."""
        clients = [value for value in received.get(b"x-forwarded-for", ()) if value]
        proto = next(filter(None, received.get(b"x-forwarded-proto", ())), scheme)
        host = next(filter(None, received.get(b"x-forwarded-host", ())), self.host)
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (b", ".join([*clients, peer]), proto)
        if host:
            lines += b"X-Forwarded-Host: %b\r\n" % host
        return lines + b"".join(_NAMES[name] % value for name, values in received.items() if name in _NAMES for value in values)

    def _kept(self, found: dict[bytes, list[bytes]]) -> bytes:
        """The special fields that are passed on, and the end of the head."""
        lines, options = b"", b""
        if self.length == CHUNKED:
            lines += CHUNKED_LINE
        elif b"content-length" in found:
            lines += b"Content-Length: %d\r\n" % self.length
        if self.expects_continue:
            lines += b"Expect: 100-continue\r\n"
        if self.personal:
            lines += b"".join(b"Authorization: %b\r\n" % value for value in found[b"authorization"])
        if b"max-forwards" in found:
            values = found[b"max-forwards"] if self.hops is None else [b"%d" % (self.hops - 1)]
            lines += b"".join(b"Max-Forwards: %b\r\n" % value for value in values)
        if b"grpc-timeout" in found:
            lines += b"Grpc-Timeout: %b\r\n" % timeout_left(self, found[b"grpc-timeout"][-1])
        if self.takes_trailers:
            lines += b"TE: trailers\r\n"
            options = b"TE"
        if self.upgrade:
            lines += b"Upgrade: %b\r\n" % self.upgrade
            options += b", upgrade" if options else b"upgrade"
        if options:
            lines += b"Connection: %b\r\n" % options
        return lines + CRLF


_SECRETS: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
_OF_HTTP1: Final = frozenset({b"host", b"connection", b"transfer-encoding", b"upgrade", b"expect"})
_COUNTED: Final = frozenset({b"TRACE", b"OPTIONS"})
"""Methods to which Max-Forwards applies."""


_validator = Validator()


def parse_request(data: bytes) -> RequestHead:
    """Parse one head; `data` is all of it, including the empty line.

    Raises BadRequest: 400 if it is malformed or ambiguous, 414 for a long target, 417, 431 for many fields, 501, 505.
    """
    if len(data) > MAX_REQUEST_FIELDS * SHORTEST_FIELD and data.count(CRLF) > MAX_REQUEST_FIELDS + 2:
        raise BadRequest(f"more than {MAX_REQUEST_FIELDS} header fields", status=431, reason="too_large")
    _validator.check(data)
    parts = split_special_and_marks(data)
    line = parts[0]
    if NEWLINE in line:  # llhttp accepts a bare LF after an HTTP/0.9 request line
        end = line.find(b"\n")
        line = line[: end - 1] if line[end - 1] == CARRIAGE_RETURN else b""
    words = line.split(b" ")
    minor = _PROTOCOLS.get(words[-1])
    if len(words) != 3 or minor is None or data[0] < FIRST_LETTER:
        _validator.renew()
        _check_line(words)
    target = words[1]
    if len(parts) == 4 and minor == 1 and parts[1] in _HOST_NAMES:
        head = RequestHead(words[0], target, target, parts[2].strip(b" \t"), _data=data)
    elif len(parts) == 7 and minor == 1 and parts[4:6] in _NOTHING_NEW and parts[1] in _HOST_NAMES:
        host = parts[2].strip(b" \t")
        onward = b"".join((parts[0], b"\r\nHost: ", host, parts[3], parts[6][:-2]))
        head = RequestHead(words[0], target, target, host, _data=data, _onward=onward)
    else:
        _validator.renew()
        plain = _from_few_fields(words, parts, data) if minor == 1 else None
        head = plain or _from_fields(words, parts, data, minor=1 if minor else 0)
    if not host_is_valid(head.host) and (head.host or head.minor or b"host" in (head._found or ())):  # noqa: SLF001
        raise BadRequest("the Host field is not a host", reason="host")
    if target[0] != SLASH or HASH in target or len(target) > MAX_TARGET_BYTES:
        _apply_target(head)
    elif QUESTION in target:
        head.path = target[: target.find(b"?")]
    return head


# Numbers, because searching bytes for a number is several times faster than for a string of one byte.
SLASH: Final = ord("/")
HASH: Final = ord("#")
QUESTION: Final = ord("?")
CARRIAGE_RETURN: Final = ord("\r")
NEWLINE: Final = ord("\n")
ZERO: Final = ord("0")
FIRST_LETTER: Final = ord("A")
"""Lowest first byte of a usual method. llhttp skips line ends before the method, which would become part of it here."""
_HOST_NAMES: Final = frozenset({b"Host", b"host", b"HOST"})
_LENGTH_NAMES: Final = frozenset({b"Content-Length", b"content-length"})
_NOTHING_NEW: Final = [[name, b"keep-alive"] for name in (b"Connection", b"connection")]
"""Browsers and many libraries send this, though it is the default since HTTP/1.1 (RFC 9112 9.3)."""


def _from_fields(words: list[bytes], parts: list[bytes], data: bytes, *, minor: int) -> RequestHead:
    """Parse any request. Raises BadRequest."""
    head = RequestHead(words[0], words[1], words[1], b"", _data=data, minor=minor)
    try:
        found = collect(parts)
        if not USUAL_MARKS.isdisjoint(found):
            head.marked = True
            parts = split_special(data)
            found = collect(parts)
        head._others = b"".join(parts[::3])  # noqa: SLF001 -- parsing is the other half of the class
        _apply_fields(head, found)
    except GrammarError as error:
        raise malformed(error) from None
    return head


_MOST_PARTS: Final = 1 + 3 * (3 + len(USUAL_MARKS))


def _from_few_fields(words: list[bytes], parts: list[bytes], data: bytes) -> RequestHead | None:
    """Fast path for a request whose only special fields are Host, Content-Length, the default Connection and marks of a choice:
    it is forwarded unchanged. None for any other request, and for a length with leading zeros."""
    count = len(parts)
    if count > _MOST_PARTS:
        return None
    host = length = None
    anew = marked = False
    onward = [parts[0]]
    for at in range(1, count, 3):
        name, value, after = parts[at : at + 3]
        if host is None and name in _HOST_NAMES:
            name, host = b"Host", value.strip(b" \t")
            value = host
        elif length is None and name in _LENGTH_NAMES and value.isdigit() and len(value) <= MAX_LENGTH_DIGITS:
            length = value
        elif parts[at : at + 2] in _NOTHING_NEW:
            onward.append(after)
            anew = True
            continue
        elif name.lower() in USUAL_MARKS:
            marked = True
        else:
            return None
        onward.append(b"\r\n%b: %b%b" % (name, value, after))
    if host is None or (length is not None and length[0] == ZERO and length != b"0"):
        return None
    kept = b"".join(onward)[:-2] if anew else b""
    size = NO_BODY if length is None else int(length)
    return RequestHead(words[0], words[1], words[1], host, size, _data=data, _onward=kept, marked=marked)


def _check_line(words: list[bytes]) -> None:
    """Raises BadRequest if this is not an HTTP/1 request line. Any method is allowed."""
    try:
        check_request_line(b" ".join(words))
    except GrammarError as error:
        raise malformed(error) from None
    if words[2] not in _PROTOCOLS:
        raise BadRequest("the protocol version is not HTTP/1", status=505, reason="version")


def _apply_fields(head: RequestHead, found: dict[bytes, list[bytes]]) -> None:
    head._found = found  # noqa: SLF001 -- parsing is the other half of the class
    hosts = found.get(b"host", [])
    if len(hosts) > 1 or (not hosts and head.minor == 1):
        raise BadRequest("a request needs exactly one Host field", reason="host")
    head.host = hosts[0] if hosts else b""
    options = connection_options(found[b"connection"]) if b"connection" in found else frozenset()
    head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    _apply_framing(head, found)
    _apply_expect(head, found)
    _apply_upgrade(head, found, options)
    head.personal = b"authorization" in found
    head.takes_trailers = b"te" in found and head.minor == 1 and b"trailers" in tokens(found[b"te"])
    if b"max-forwards" in found and head.method in _COUNTED:
        hops = found[b"max-forwards"][0]
        head.hops = int(hops) if hops.isdigit() and len(hops) <= MAX_LENGTH_DIGITS else None
    if b"grpc-timeout" in found and kind_of_fields(head.match_fields()):
        head.timeout = read_timeout(found[b"grpc-timeout"][-1])
    head._dropped = options - KEPT_OPTIONS  # noqa: SLF001


def _apply_framing(head: RequestHead, found: dict[bytes, list[bytes]]) -> None:
    encodings = found.get(b"transfer-encoding")
    lengths = found.get(b"content-length")
    if encodings and lengths:
        raise BadRequest("both Content-Length and Transfer-Encoding", reason="framing")
    if encodings:
        if head.minor == 0:
            raise BadRequest("Transfer-Encoding in an HTTP/1.0 request", reason="framing")
        if len(encodings) > 1 or encodings[0].lower() != b"chunked":
            raise BadRequest("a Transfer-Encoding other than chunked", status=501, reason="framing")
        head.length = CHUNKED
    elif lengths:
        if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS:
            raise BadRequest("a Content-Length that is not one number", reason="framing")
        head.length = int(lengths[0])


def _apply_expect(head: RequestHead, found: dict[bytes, list[bytes]]) -> None:
    expectations = found.get(b"expect")
    if not expectations or head.minor == 0:
        return
    if expectations[0].lower() != b"100-continue" or len(expectations) > 1:
        raise BadRequest("an expectation other than 100-continue", status=417, reason="expectation")
    head.expects_continue = head.length != NO_BODY


def _apply_upgrade(head: RequestHead, found: dict[bytes, list[bytes]], options: frozenset[bytes]) -> None:
    """Keep an upgrade only if Connection names it, as the RFC demands, and not to h2c, which is never proxied."""
    protocols = found.get(b"upgrade")
    if not protocols or b"upgrade" not in options or head.minor == 0:
        return
    if not any(token.partition(b"/")[0] == b"h2c" for token in tokens(protocols)):
        head.upgrade = b", ".join(protocols) or None


def _apply_target(head: RequestHead) -> None:
    """Check targets that are not a path of usual length."""
    target = head.target
    if len(target) > MAX_TARGET_BYTES:
        raise BadRequest(f"a request target of more than {MAX_TARGET_BYTES} bytes", status=414, reason="too_large")
    if HASH in target:
        raise BadRequest("a fragment in the request target", reason="target")
    if target != b"*" or head.method != b"OPTIONS":
        _apply_absolute_form(head)


def _apply_absolute_form(head: RequestHead) -> None:
    """ "http://host/path": its authority replaces the Host field (RFC 9112 3.2.2), and the backend gets the usual form."""
    scheme, separator, rest = head.target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadRequest("a request target that is neither a path nor a URL", reason="target")
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority = rest[:end]
    if not authority or not host_is_valid(authority):
        raise BadRequest("a URL without a valid host as request target", reason="target")
    head.host = authority
    if end == len(rest) and head.method == b"OPTIONS":
        head.target = b"*"  # for the server as a whole (RFC 9112 3.2.4)
    else:
        head.target = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
    head.path = head.target.partition(b"?")[0]
    _write_anew(head)


def _write_anew(head: RequestHead) -> None:
    """The request line changes, so that the head must not be passed on as it came."""
    if head._found is None:  # noqa: SLF001 -- parsing is the other half of the class
        parts = split_special(head._data)  # noqa: SLF001
        head._found = collect(parts)  # noqa: SLF001
        head._others = b"".join(parts[::3])  # noqa: SLF001
