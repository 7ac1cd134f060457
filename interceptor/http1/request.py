"""A request's head: from bytes to values, and from values to the bytes a backend gets. Pure; raises BadRequest only.

A head is parsed whole, so where the network cut it changes nothing. llhttp (by httptools) is the parser; the rules that
it leaves to its user are here: hosts, targets, versions, framing that two readers could read differently.
"""

from __future__ import annotations

import httptools

from interceptor.errors import BadRequest
from interceptor.http1.fields import CHUNKED, CHUNKED_LINE, HEAD_END, MAX_FIELDS, NO_BODY, connection_options, host_is_valid

__all__ = ["MAX_HEAD_BYTES", "MAX_TARGET_BYTES", "RequestHead", "parse_request"]

MAX_HEAD_BYTES = 32 * 1024
"""A request's head. Twice what most servers take (nginx 4 x 8 KiB, HAProxy 16 KiB), so that Weir is never the narrow part."""
MAX_TARGET_BYTES = 16 * 1024
"""A request's target. Servers commonly stop at 8 KiB."""

_PROTOCOLS = {b" HTTP/1.1": 1, b" HTTP/1.0": 0}

# Fields that the proxy reads or writes itself; all others go on as they came.
_SPECIAL = frozenset(
    {
        b"host",
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"te",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"http2-settings",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
    }
)
# What a Connection field may name without effect: it must not let a client remove what a backend trusts (RFC 9110 7.6.1).
_KEPT_OPTIONS = (
    frozenset({b"close", b"keep-alive", b"upgrade", b"te", b""}) | _SPECIAL | {b"forwarded", b"authorization", b"cookie"}
)


class _Sink:
    """What the parser found in one head."""

    __slots__ = ("complete", "fields", "special", "target")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.special: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in _SPECIAL:
            self.special.append((lower, value))
        else:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


class RequestHead:
    """A request without its body. `length` is the body's: bytes, NO_BODY or CHUNKED."""

    __slots__ = (
        "expects_continue",
        "fields",
        "host",
        "keep_alive",
        "length",
        "method",
        "minor",
        "path",
        "special",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.path = target
        self.minor = minor
        self.host = b""
        self.keep_alive = minor == 1
        self.length = NO_BODY
        self.upgrade: bytes | None = None
        self.expects_continue = False
        self.fields: list[tuple[bytes, bytes]] = []
        self.special: list[tuple[bytes, bytes]] = []

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice does what sending it once does (RFC 9110 9.2.2)."""
        return self.method in _IDEMPOTENT

    def match_fields(self) -> list[tuple[bytes, bytes]]:
        """All fields with lower-case names, for routing by header."""
        return [(name.lower(), value.strip(b" \t")) for name, value in self.fields] + self.special

    def encode(self, peer: bytes, scheme: bytes) -> bytes:
        """The head for a backend: hop-by-hop fields gone, forwarding fields added, Host and target as they came."""
        parts = [self.method, b" ", self.target, b" HTTP/1.1\r\nHost: ", self.host, b"\r\n"]
        for name, value in self.fields:
            parts += (name, b": ", value, b"\r\n")
        parts += self._forwarding(peer, scheme) if self.special_forwarding else (
            b"X-Forwarded-For: ", peer, b"\r\nX-Forwarded-Proto: ", scheme, b"\r\nX-Forwarded-Host: ", self.host,
        )  # fmt: skip
        parts.append(self._framing() if self.length or self.upgrade or self.expects_continue else HEAD_END)
        return b"".join(parts)

    @property
    def special_forwarding(self) -> bool:
        """Whether a proxy before this one has told who the client is."""
        return len(self.special) > 1 and any(name.startswith(b"x-f") for name, _ in self.special)

    def _forwarding(self, peer: bytes, scheme: bytes) -> tuple[bytes, ...]:
        told: dict[bytes, bytes] = {}
        for name, value in self.special:
            if name == b"x-forwarded-for" and name in told:
                told[name] += b", " + value
            elif name.startswith(b"x-f"):
                told.setdefault(name, value)
        before = told.get(b"x-forwarded-for")
        return (
            b"X-Forwarded-For: ",
            before + b", " + peer if before else peer,
            b"\r\nX-Forwarded-Proto: ",
            told.get(b"x-forwarded-proto", scheme),
            b"\r\nX-Forwarded-Host: ",
            told.get(b"x-forwarded-host", self.host),
        )

    def _framing(self) -> bytes:
        lines = b"\r\n"
        if self.length == CHUNKED:
            lines += CHUNKED_LINE
        elif self.length or self.method in _BODY_EXPECTED:
            lines += b"Content-Length: %d\r\n" % self.length
        if self.expects_continue:
            lines += b"Expect: 100-continue\r\n"
        if self.upgrade:
            lines += b"Connection: upgrade\r\nUpgrade: %b\r\n" % self.upgrade
        return lines + b"\r\n"


_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
_BODY_EXPECTED = frozenset({b"POST", b"PUT", b"PATCH"})


def parse_request(data: bytes) -> RequestHead:
    """One head, `data` being all of it up to and with the empty line.

    Raises BadRequest: 400 for what is wrong or ambiguous, 414 for a long target, 417, 431 for many fields, 501, 505.
    """
    sink = _Sink()
    parser = httptools.HttpRequestParser(sink)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        raise BadRequest("unknown request method", status=501, reason="method") from None
    except httptools.HttpParserError as error:
        raise BadRequest(f"malformed request: {_say(error)}", reason="malformed") from None
    if not sink.complete:
        raise BadRequest("malformed request: the head does not end where it should", reason="malformed")
    head = RequestHead(parser.get_method(), sink.target, _minor_version(data))
    if len(sink.fields) + len(sink.special) > MAX_FIELDS:
        raise BadRequest(f"more than {MAX_FIELDS} header fields", status=431, reason="too_large")
    head.fields = sink.fields
    head.special = sink.special
    _apply(head)
    return head


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__


def _minor_version(data: bytes) -> int:
    end = data.find(b"\r\n", 2 if data[:2] == b"\r\n" else 0)
    minor = _PROTOCOLS.get(data[end - 9 : end])
    if minor is None:
        raise BadRequest("the protocol version is not HTTP/1.1 or HTTP/1.0", status=505, reason="version")
    return minor


def _apply(head: RequestHead) -> None:
    special = head.special
    if len(special) == 1 and special[0][0] == b"host" and head.minor == 1:
        head.host = special[0][1].rstrip(b" \t")  # by far the most common: a Host and nothing else that matters here
    else:
        _apply_fields(head)
    if not host_is_valid(head.host):
        raise BadRequest("the Host field is not a host", reason="host")
    _apply_target(head)


def _apply_fields(head: RequestHead) -> None:
    found: dict[bytes, list[bytes]] = {}
    for name, value in head.special:
        found.setdefault(name, []).append(value.strip(b" \t"))
    head.special = [(name, value) for name, values in found.items() for value in values]
    hosts = found.get(b"host", [])
    if len(hosts) > 1 or (not hosts and head.minor == 1):
        raise BadRequest("a request needs exactly one Host field", reason="host")
    head.host = hosts[0] if hosts else b""
    options = connection_options(found[b"connection"]) if b"connection" in found else set()
    head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    _apply_framing(head, found)
    _apply_expect(head, found)
    _apply_upgrade(head, found, options)
    named = options - _KEPT_OPTIONS
    if named:
        head.fields = [field for field in head.fields if field[0].lower() not in named]


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
        if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
            raise BadRequest("a Content-Length that is not one number", reason="framing")
        head.length = int(lengths[0])


def _apply_expect(head: RequestHead, found: dict[bytes, list[bytes]]) -> None:
    expectations = found.get(b"expect")
    if not expectations or head.minor == 0:
        return
    if expectations[0].lower() != b"100-continue" or len(expectations) > 1:
        raise BadRequest("an expectation other than 100-continue", status=417, reason="expectation")
    head.expects_continue = head.length != NO_BODY


def _apply_upgrade(head: RequestHead, found: dict[bytes, list[bytes]], options: set[bytes]) -> None:
    """Keep an upgrade only where it can mean one thing: asked for by Connection, no body, not to h2c (never proxied)."""
    protocols = found.get(b"upgrade")
    if not protocols or b"upgrade" not in options or head.minor == 0 or head.length != NO_BODY:
        return
    wanted = b", ".join(protocols)
    if not any(token.strip().split(b"/")[0] == b"h2c" for token in wanted.lower().split(b",")):
        head.upgrade = wanted


def _apply_target(head: RequestHead) -> None:
    target = head.target
    if len(target) > MAX_TARGET_BYTES:
        raise BadRequest(f"a request target of more than {MAX_TARGET_BYTES} bytes", status=414, reason="too_large")
    if head.method == b"CONNECT":
        raise BadRequest("CONNECT is not for a reverse proxy", status=501, reason="method")
    if b"#" in target:
        raise BadRequest("a fragment in the request target", reason="target")
    if target[:1] == b"/":
        question = target.find(b"?")
        head.path = target if question < 0 else target[:question]
    elif target != b"*" or head.method != b"OPTIONS":
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
    head.target = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
    head.path = head.target.partition(b"?")[0]
