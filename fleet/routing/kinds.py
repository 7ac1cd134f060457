"""The kinds of values that fields of routes have, each with its check and what a schema can say of it. Pure."""

from __future__ import annotations

import re
import sys
from typing import Final
from urllib.parse import unquote

from fleet.defaults import PORT_LIMIT
from fleet.routing.declare import Kind
from fleet.routing.faults import Fail
from fleet.routing.host import is_host

__all__ = [
    "AGENT",
    "AMOUNT",
    "ANSWER_HEADER",
    "BAGGAGE_KEY",
    "CHANGED_HEADER",
    "CHANGED_NAME",
    "CONTENT_TYPE",
    "COOKIE_NAME",
    "COUNT",
    "GRANULARITY",
    "HEADER_NAME",
    "HOST",
    "INSTANT",
    "MATCHED",
    "MAX_AGENT",
    "MAX_COUNT",
    "MAX_PATH",
    "MAX_REPLIES",
    "METHOD",
    "MIN_GRANULARITY",
    "NAME",
    "NEW_PATH",
    "OCTETS",
    "PATH",
    "PORT",
    "PORT_NUMBER",
    "POSITIVE_SECONDS",
    "REDIRECTS",
    "REDIRECT_HOST",
    "REDIRECT_STATUS",
    "REPLIES",
    "REQUEST_TARGET",
    "SCHEME",
    "SECONDS",
    "STATUS",
    "WEIGHT",
    "check_changed_name",
    "check_changed_value",
    "check_header_name",
    "check_sendable",
    "is_name",
]

MAX_PATH: Final = 8192
"""Characters of one path prefix. Longer request targets are refused by most servers, so more could never match."""
MAX_COUNT: Final = 1 << 53
"""What every reader of JSON takes for the same number (RFC 8259 section 6)."""
MAX_REPLIES: Final = 1000
"""Datagrams that answer one. A protocol with more has no use for an end after them."""
MAX_WEIGHT: Final = 1_000_000
"""As in the Gateway API."""
MAX_AGENT: Final = 256
"""Characters of one pattern. Longer than the user agents that there are."""
MIN_GRANULARITY: Final = 0.001
"""Seconds. Finer than any clock that the counts come from."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and lone surrogates: no bytes of a request stand for them
_UNSENDABLE: Final = re.compile(r"^[ \t]|[ \t]$|[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # RFC 9110 section 5.5
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")  # names of Kubernetes objects
_REQUEST_TARGET_PATTERN: Final = r'^/[!"$-~]*$'
_REQUEST_TARGET: Final = re.compile(_REQUEST_TARGET_PATTERN)  # sent as it is: no spaces, no fragment
_NEW_PATH_PATTERN: Final = r"^/[!-\"$->@-\[\]-~]*$"
_NEW_PATH: Final = re.compile(_NEW_PATH_PATTERN)  # as a request carries it: no spaces, query, fragment and backslash
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_NOT_OURS: Final = frozenset(
    {
        "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""RFC 9110 section 7.6.1: of the connection, not of the answer; and the length, which follows from the body."""
_NOT_CHANGED: Final = _NOT_OURS | {
    "cdn-loop", "expect", "http2-settings", "max-forwards", "proxy-authenticate", "proxy-authorization", "sec-websocket-accept",
    "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version",
    "x-keda-http-cold-start",
}  # fmt: skip
"""What a rule may not change: these say how a message is read, whom a hop speaks to, or what both sides have agreed on."""
REDIRECTS: Final = (301, 302, 303, 307, 308)
MAX_VALUE: Final = 4096
"""Characters of one value that a rule gives a header: many of them still fit what usual servers take."""


# -- numbers ------------------------------------------------------------------------------------------------------


def _number(
    *, unit: str = "", gt: float | None = None, ge: float | None = None, le: int | None = None, what: str = "a number"
) -> Kind:
    """Finite numbers within bounds; `what` they are, in the error."""
    span = f"above {gt}" if gt is not None else f"from {ge} up" if le is None else f"from {ge} to {le}"
    least, most = (gt if ge is None else ge) or 0, sys.float_info.max if le is None else le

    def check(value: float, field: str, fail: Fail) -> None:
        # Of these comparisons NaN passes none, and infinity not all.
        if not least <= value <= most or value == gt:
            raise fail(field, f"{value} is not {what} {span}")

    return Kind(check, unit, gt=gt, ge=ge, le=le)


AMOUNT: Final = _number(gt=0)
COUNT: Final = _number(ge=0, le=MAX_COUNT)
OCTETS: Final = _number(ge=0, le=MAX_COUNT, unit="bytes")
SECONDS: Final = _number(ge=0, unit="s")
POSITIVE_SECONDS: Final = _number(gt=0, unit="s")
GRANULARITY: Final = _number(ge=MIN_GRANULARITY, unit="s")
WEIGHT: Final = _number(ge=0, le=MAX_WEIGHT, what="a weight")
REPLIES: Final = _number(ge=1, le=MAX_REPLIES, what="a number of replies")
INSTANT: Final = _number(ge=0, unit="s since the epoch")
# 1xx announces another answer, which would never come.
STATUS: Final = _number(ge=200, le=599, what="the status of an answer,")


# -- texts --------------------------------------------------------------------------------------------------------


def is_name(text: str) -> bool:
    """Whether an object could have this name."""
    return _NAME.fullmatch(text) is not None


def _name(text: str, field: str, fail: Fail) -> None:
    namespace, slash, name = text.partition("/")
    if not slash or not is_name(namespace) or not is_name(name):
        raise fail(field, f'{text!r} is not "namespace/name"')


def _port(port: int | str, field: str, fail: Fail) -> None:
    if isinstance(port, int) and not 1 <= port <= PORT_LIMIT:
        raise fail(field, f"{port} is not between 1 and {PORT_LIMIT}")
    if isinstance(port, str) and not is_name(port):
        raise fail(field, f"{port!r} is not the name of a port")


def _host(host: str, field: str, fail: Fail) -> None:
    if not host.isascii():
        raise fail(field, f"{host!r} is not ASCII; write the form with xn-- that clients send")
    if not is_host(host):
        raise fail(field, f'{host!r} is not a host, a wildcard such as "*.example.com", or "*"')


def _path(path: str, field: str, fail: Fail) -> None:
    if not path.startswith("/"):
        raise fail(field, f'{path!r} does not start with "/"')
    if _CONTROL.search(path):
        raise fail(field, f"{path!r} has control characters")
    if len(path) > MAX_PATH:
        raise fail(field, f"longer than {MAX_PATH} characters")


def _request_target(path: str, field: str, fail: Fail) -> None:
    if not (_REQUEST_TARGET.fullmatch(path) and len(path) <= MAX_PATH):
        raise fail(field, f'{path[:100]!r} is not a path that starts with "/", without spaces')


def _new_path(path: str, field: str, fail: Fail) -> None:
    if not (_NEW_PATH.fullmatch(path) and len(path) <= MAX_PATH):
        raise fail(field, f'{path[:100]!r} is not a path that starts with "/", without spaces, ?, # and backslash')
    segments = unquote(path).split("/")
    if "//" in path or ".." in segments or "." in segments:
        raise fail(field, f'{path[:100]!r} has empty segments, or "." or ".." as one')


def _token(text: str, field: str, fail: Fail, what: str = "the name of a header") -> None:
    if not _TOKEN.fullmatch(text):
        raise fail(field, f"{text!r} is not {what}")


def _cookie_name(text: str, field: str, fail: Fail) -> None:
    _token(text, field, fail, "the name of a cookie")


def _baggage_key(text: str, field: str, fail: Fail) -> None:
    _token(text, field, fail, "the key of a member of baggage")


def _method(method: str, field: str, fail: Fail) -> None:
    _token(method, field, fail, "a method")
    if method != method.upper() and method.upper() in _METHODS:
        # RFC 9110 section 9.1: the case of methods counts.
        raise fail(field, f"{method!r} is another method than {method.upper()!r}")


def check_sendable(value: str, field: str, fail: Fail, what: str = "message") -> None:
    """Whether a field of a message, or of a request, can have the value."""
    if _UNSENDABLE.search(value):
        raise fail(field, f"no {what} can carry it: spaces at an end, or control characters")


def _matched(value: str, field: str, fail: Fail) -> None:
    check_sendable(value, field, fail, "request")


def _agent(pattern: str, field: str, fail: Fail) -> None:
    if not pattern:
        raise fail(field, 'is empty; "*" is any user agent')
    if len(pattern) > MAX_AGENT:
        raise fail(field, f"longer than {MAX_AGENT} characters")
    _matched(pattern, field, fail)


def check_header_name(name: str, field: str, fail: Fail) -> None:
    """Check the name of a header in a response."""
    _token(name, field, fail)
    if name.lower() in _NOT_OURS:
        raise fail(field, f"{name} belongs to the connection, and is the interceptor's own")


def _answer_header(header: tuple[str, str], field: str, fail: Fail) -> None:
    name, value = header
    check_header_name(name, field, fail)
    check_sendable(value, field, lambda at, reason: fail(at, f"{name}: {reason}"))


def check_changed_name(name: str, field: str, fail: Fail) -> None:
    """Check the name of a header that a rule changes."""
    _token(name, field, fail)
    plain = name.lower().replace("_", "-")  # backends that make variables of names take one for the other
    if plain == "host":
        raise fail(field, "Host reaches the backend as the client sent it: by it the request was matched")
    if plain in _NOT_CHANGED:
        raise fail(field, f"{name} belongs to the connection or to the interceptor, and cannot be changed")


def check_changed_value(value: str, field: str, fail: Fail) -> None:
    check_sendable(value, field, fail)
    if len(value) > MAX_VALUE:
        raise fail(field, f"a value of more than {MAX_VALUE} characters")


def _changed_header(header: tuple[str, str], field: str, fail: Fail) -> None:
    name, value = header
    check_changed_name(name, field, fail)
    check_changed_value(value, field, lambda at, reason: fail(at, f"{name}: {reason}"))


def _scheme(text: str, field: str, fail: Fail) -> None:
    if text not in ("http", "https"):
        raise fail(field, f"{text!r} is neither http nor https")


def _redirect_host(host: str, field: str, fail: Fail) -> None:
    _host(host, field, fail)
    if "*" in host or ":" in host or not host.strip("."):
        raise fail(field, f"{host!r} is not the name of one host, without a port")


def _redirect_status(status: int, field: str, fail: Fail) -> None:
    if status not in REDIRECTS:
        raise fail(field, f"{status} is not one of {', '.join(map(str, REDIRECTS))}")


NAME: Final = Kind(_name)
PORT: Final = Kind(_port, ge=1, le=PORT_LIMIT)
PORT_NUMBER: Final = Kind(_port, ge=1, le=PORT_LIMIT)
HOST: Final = Kind(_host)
REDIRECT_HOST: Final = Kind(_redirect_host)
REDIRECT_STATUS: Final = Kind(_redirect_status)
SCHEME: Final = Kind(_scheme)
PATH: Final = Kind(_path, max_length=MAX_PATH)
REQUEST_TARGET: Final = Kind(_request_target, max_length=MAX_PATH, pattern=_REQUEST_TARGET_PATTERN)
NEW_PATH: Final = Kind(_new_path, max_length=MAX_PATH, pattern=_NEW_PATH_PATTERN)
HEADER_NAME: Final = Kind(_token)
COOKIE_NAME: Final = Kind(_cookie_name)
BAGGAGE_KEY: Final = Kind(_baggage_key)
METHOD: Final = Kind(_method)
MATCHED: Final = Kind(_matched)
AGENT: Final = Kind(_agent, max_length=MAX_AGENT)
ANSWER_HEADER: Final = Kind(_answer_header)
CHANGED_HEADER: Final = Kind(_changed_header)
CHANGED_NAME: Final = Kind(check_changed_name)
CONTENT_TYPE: Final = Kind(check_sendable)
