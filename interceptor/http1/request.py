"""A request's head: from bytes to values, and from values to the bytes a backend gets. Pure; raises BadRequest only.

A head is parsed whole, so where the network cut it changes nothing. llhttp (by httptools) is the usual judge of its grammar; the
rules that it leaves to its user are here: hosts, targets, versions, framing that two readers could read differently. What llhttp
refuses is judged by the grammar itself, since llhttp knows a fixed list of methods and of versions.
"""

from __future__ import annotations

from collections.abc import Iterable

import httptools

from interceptor.core.errors import BadRequest
from interceptor.core.messages import NO_BODY, Request
from interceptor.http1.fields import (
    CHUNKED,
    CHUNKED_LINE,
    CONNECTION_SCHEMES,
    CRLF,
    HEAD_END,
    MAX_FIELDS,
    MAX_LENGTH_DIGITS,
    TOLD_BY_PROXIES,
    collect,
    connection_options,
    field_splitter,
    host_is_valid,
    tokens,
    without_fields,
)
from interceptor.http1.grammar import GrammarError, check_head, check_request_line

__all__ = ["MAX_HEAD_BYTES", "MAX_TARGET_BYTES", "OwnRequest", "RequestHead", "malformed", "parse_request"]

MAX_HEAD_BYTES = 32 * 1024
"""A request's head. Twice what most servers take (nginx 4 x 8 KiB, HAProxy 16 KiB), so that Weir is never the narrow part."""
MAX_TARGET_BYTES = 16 * 1024
"""A request's target. Servers commonly stop at 8 KiB."""

SHORTEST_FIELD = len(b"a:\r\n")

_PROTOCOLS = {b"HTTP/1.%d" % minor: minor for minor in range(10)}
"""Higher minor versions of 1 are processed as the highest that is known (RFC 9110 2.5)."""

# Fields that the proxy reads or writes itself; all others go on as they came.
_SPECIAL = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "expect",
    "te",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "http2-settings",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "max-forwards",
]
_NAMES = {name.encode(): "-".join(map(str.capitalize, name.split("-"))).encode() + b": %b\r\n" for name in TOLD_BY_PROXIES}
_TOLD = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", *_NAMES})
# X_Forwarded_For is another field than X-Forwarded-For, and the same to a backend that makes variables of names, as CGI, WSGI
# and PHP do. What so looks like a field of the proxy's does not go on; all other names with underscores do.
_split = field_splitter(
    [*_SPECIAL, *TOLD_BY_PROXIES], look_alikes=True, conditional={"authorization": "|".join(CONNECTION_SCHEMES)}
).split
# What a Connection field may name without effect: it must not let a client remove what a backend trusts (RFC 9110 7.6.1).
_KEPT_OPTIONS = frozenset(
    {b"close", b"", b"authorization", b"cookie", *(name.encode() for name in (*_SPECIAL, *TOLD_BY_PROXIES))}
)


class RequestHead(Request, gc=False, eq=False):
    """A request of HTTP/1 without its body, whose length may be CHUNKED."""

    _data: bytes = b""
    """The accepted head."""
    minor: int = 1
    """Minor version of HTTP/1: 0 or 1."""
    keep_alive: bool = True
    takes_trailers: bool = False
    hops: int | None = None
    """How often it may be forwarded from here, where it says so (RFC 9110 7.6.2); 0 when the proxy is to answer it."""
    _found: dict[bytes, list[bytes]] | None = None
    """The fields that matter here, unless Host is the only one and nothing else is to be changed."""
    _others: bytes = b""
    """The head without these fields."""
    _dropped: frozenset[bytes] = frozenset()
    """Fields that the client's Connection field keeps from going on."""

    @property
    def size(self) -> int:
        """Bytes of the head."""
        return len(self._data)

    def match_fields(self) -> list[tuple[bytes, bytes]]:
        """All fields with lower-case names, for routing by header."""
        pairs = [line.split(b":", 1) for line in self._data.split(CRLF)[1:] if line]
        return [(name.lower(), value.strip(b" \t")) for name, value in pairs]

    def encode(self, peer: bytes, scheme: bytes, *, trusted: bool = False, authority: bytes = b"") -> bytes:
        """The head for a backend: hop-by-hop fields gone, forwarding fields added, Host and target as they came.

        What it tells of the client before `peer` goes on only when `peer` is a proxy that is `trusted`. `authority` is the
        backend's own, for a request that names none (HTTP/1.0).
        """
        if self._found is not None:
            return self._encode_special(self._found, peer, scheme, authority, trusted=trusted)
        host = self.host
        return b"".join(
            (
                self._data[:-2],
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
        """Whether it says that it was forwarded: then others' requests come by the same connection."""
        return self._found is not None and (b"x-forwarded-for" in self._found or b"forwarded" in self._found)

    def trace(self) -> bytes:
        """The head as TRACE shows it: without what nobody but the recipient is to see (RFC 9110 9.3.8)."""
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
        if not _TOLD.isdisjoint(found) or not self.host:
            forwarding = self._forwarding(found if trusted else {}, peer, scheme)
        else:
            forwarding = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (peer, scheme, self.host)
        return line + block + forwarding + self._kept(found)

    def _forwarding(self, told: dict[bytes, list[bytes]], peer: bytes, scheme: bytes) -> bytes:
        """Where the request comes from: what was told before, and this hop."""
        clients = [value for value in told.get(b"x-forwarded-for", ()) if value]
        proto = _first(told.get(b"x-forwarded-proto", ()), scheme)
        host = _first(told.get(b"x-forwarded-host", ()), self.host)
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (b", ".join([*clients, peer]), proto)
        if host:
            lines += b"X-Forwarded-Host: %b\r\n" % host
        return lines + b"".join(_NAMES[name] % value for name, values in told.items() if name in _NAMES for value in values)

    def _kept(self, found: dict[bytes, list[bytes]]) -> bytes:
        """What goes on of the fields that were looked at, and the end of the head."""
        lines, options = b"", b""
        if self.length == CHUNKED:
            lines += CHUNKED_LINE
        elif b"content-length" in found:
            lines += b"Content-Length: %d\r\n" % self.length
        if self.expects_continue:
            lines += b"Expect: 100-continue\r\n"
        if self.personal:
            lines += b"".join(b"Authorization: %b\r\n" % value for value in found[b"authorization"])
        if self.hops is not None:
            lines += b"Max-Forwards: %d\r\n" % (self.hops - 1)
        elif b"max-forwards" in found:
            lines += b"".join(b"Max-Forwards: %b\r\n" % value for value in found[b"max-forwards"])
        if self.takes_trailers:
            lines += b"TE: trailers\r\n"
            options = b"TE"
        if self.upgrade:
            lines += b"Upgrade: %b\r\n" % self.upgrade
            options += b", upgrade" if options else b"upgrade"
        if options:
            lines += b"Connection: %b\r\n" % options
        return lines + CRLF


class OwnRequest(RequestHead, gc=False, eq=False):
    """A request of this process, which nobody has sent it: it goes out as it is."""

    def encode(self, peer: bytes, scheme: bytes, *, trusted: bool = False, authority: bytes = b"") -> bytes:
        return self._data


def _first(values: Iterable[bytes], otherwise: bytes) -> bytes:
    """The first value that says something."""
    return next(filter(None, values), otherwise)


_SECRETS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
_COUNTED = frozenset({b"TRACE", b"OPTIONS"})
"""Methods whose forwarding Max-Forwards counts."""


class _Validator:
    """llhttp, used to accept one whole head after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def check(self, data: bytes) -> None:
        """Raises BadRequest. After anything but a plain request without a body, `renew` is due."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if data.startswith(_NOT_PROXIED):  # whatever its target looks like
                self.renew()
                _check_grammar(data)
        except httptools.HttpParserError:
            self.renew()
            _check_grammar(data)

    def renew(self) -> None:
        """Forget what the last head said of a body or of the connection's end."""
        self._parser = httptools.HttpRequestParser(self)


_validator = _Validator()


def parse_request(data: bytes) -> RequestHead:
    """One head, `data` being all of it up to and with the empty line.

    Raises BadRequest: 400 for what is wrong or ambiguous, 414 for a long target, 417, 431 for many fields, 501, 505.
    """
    if len(data) > MAX_FIELDS * SHORTEST_FIELD and data.count(CRLF) > MAX_FIELDS + 2:
        raise BadRequest(f"more than {MAX_FIELDS} header fields", status=431, reason="too_large")
    _validator.check(data)
    parts = _split(data)
    line = parts[0]
    if NEWLINE in line:  # llhttp takes one without CR for the end of an HTTP/0.9 request's line, and what follows for fields
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
    else:
        _validator.renew()
        head = RequestHead(words[0], target, target, b"", _data=data, minor=1 if minor else 0)
        head._others = b"".join(parts[::3])  # noqa: SLF001 -- parsing is the other half of the class
        try:
            _apply_fields(head, collect(parts))
        except GrammarError as error:
            raise malformed(error) from None
    if not host_is_valid(head.host) and (head.host or head.minor or b"host" in (head._found or ())):  # noqa: SLF001
        raise BadRequest("the Host field is not a host", reason="host")
    if target[0] != SLASH or HASH in target or len(target) > MAX_TARGET_BYTES:
        _apply_target(head)
    elif QUESTION in target:
        head.path = target[: target.find(b"?")]
    return head


# Numbers: to look for one byte in bytes is several times quicker than for a string of one.
SLASH, HASH, QUESTION, CARRIAGE_RETURN, NEWLINE = b"/#?\r\n"
FIRST_LETTER = ord("A")
"""Of a usual method. llhttp passes over line ends before it, which would go on as a part of it."""
_NOT_PROXIED = (b"CONNECT ", b"PRI ")
"""Methods that say what becomes of a connection; a reverse proxy has none to give."""
_HOST_NAMES = frozenset({b"Host", b"host", b"HOST"})


def _check_grammar(data: bytes) -> None:
    """Judge a head that llhttp does not accept. Raises BadRequest."""
    try:
        check_head(data, check_request_line)
    except GrammarError as error:
        raise malformed(error) from None
    if data.startswith(_NOT_PROXIED):
        raise BadRequest(f"{data.split(b' ', 1)[0].decode()} is not for a reverse proxy", status=501, reason="method")


def malformed(error: GrammarError) -> BadRequest:
    """The answer to a head that breaks the grammar."""
    return BadRequest(f"malformed request: {error}", reason="malformed")


def _check_line(words: list[bytes]) -> None:
    """Raises BadRequest for what is no request line of HTTP/1, unusual as its method may be."""
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
    head._dropped = options - _KEPT_OPTIONS  # noqa: SLF001


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
    """Keep an upgrade only where it can mean one thing: asked for by Connection, and not to h2c (never proxied)."""
    protocols = found.get(b"upgrade")
    if not protocols or b"upgrade" not in options or head.minor == 0:
        return
    if not any(token.partition(b"/")[0] == b"h2c" for token in tokens(protocols)):
        head.upgrade = b", ".join(protocols) or None


def _apply_target(head: RequestHead) -> None:
    """Targets other than a path of moderate length."""
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
        head.target = b"*"  # the server is meant, and not one resource of it (RFC 9112 3.2.4)
    else:
        head.target = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
    head.path = head.target.partition(b"?")[0]
    if head._found is None:  # noqa: SLF001
        head._found = {}  # noqa: SLF001 -- the request line has changed: it cannot go on as it came
        head._others = b"".join(_split(head._data)[::3])  # noqa: SLF001
