"""What fields say of calls of gRPC: kinds of content, deadlines, and the status of a response that the proxy makes itself. Pure.

A client of gRPC that gets a response of HTTP makes up a status from it; one that gets a status knows what happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from interceptor.core.messages import Field, Fields, Request
from interceptor.core.phrases import reason_phrase
from interceptor.core.replies import Reply

__all__ = [
    "CANCELLED",
    "GRPC",
    "INTERNAL",
    "NO_CALL",
    "RESOURCE_EXHAUSTED",
    "WEB",
    "WEB_TEXT",
    "cut_fields",
    "kind_of",
    "kind_of_fields",
    "read_timeout",
    "status_fields",
    "timeout_left",
    "write_timeout",
]

NO_CALL: Final = 0
GRPC: Final = 1
WEB: Final = 2
"""gRPC-Web, whose trailers are in the content."""
WEB_TEXT: Final = 3
"""The same in base64."""

CANCELLED: Final = 1
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

_BY_STATUS: Final = {
    400: INTERNAL, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: UNIMPLEMENTED, 405: UNIMPLEMENTED, 408: DEADLINE_EXCEEDED,
    413: RESOURCE_EXHAUSTED, 414: RESOURCE_EXHAUSTED, 417: UNIMPLEMENTED, 429: UNAVAILABLE, 431: RESOURCE_EXHAUSTED,
    500: INTERNAL, 501: UNIMPLEMENTED, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: DEADLINE_EXCEEDED,
}  # fmt: skip
"""By status of HTTP. 404 means that no route matches, which to a client is a service that there is not. 429, 502 and 503 may be
tried again."""
_BY_REASON: Final = {"bad_response": INTERNAL}
"""Where the status of HTTP says less than the reason: a backend that breaks a rule breaks it again."""
_BY_CUT: Final = {
    "backend": UNAVAILABLE,
    "grpc_timeout": DEADLINE_EXCEEDED,
    "idle_timeout": DEADLINE_EXCEEDED,
    "request_timeout": DEADLINE_EXCEEDED,
}

_KINDS: Final = {b"application/grpc": GRPC, b"application/grpc-web": WEB, b"application/grpc-web-text": WEB_TEXT}
_LONGEST: Final = max(map(len, _KINDS)) + 1
_END: Final = re.compile(rb"[+; \t]")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
MAX_DIGITS: Final = 8
"""Of a deadline."""
_MOST: Final = 10**MAX_DIGITS
_NOT_PLAIN: Final = re.compile(rb"[^ -$&-~]")
MAX_MESSAGE: Final = 1024


def kind_of(content_type: bytes) -> int:
    """Which kind of call a content-type means."""
    if content_type[:16].lower() != b"application/grpc":
        return NO_CALL
    media = content_type[:_LONGEST].lower()
    end = _END.search(media)
    return _KINDS.get(media if end is None else media[: end.start()], NO_CALL)


def kind_of_fields(fields: Iterable[Field]) -> int:
    """The same by the fields of a request, whose names are in lower case."""
    return kind_of(next((value for name, value in fields if name == b"content-type"), b""))


# -- deadlines ----------------------------------------------------------------------------------------------------


def read_timeout(value: bytes) -> float | None:
    """Seconds of a grpc-timeout; None if it is malformed, which is for the backend to say."""
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    return int(digits) * unit if unit is not None and digits.isdigit() and len(digits) <= MAX_DIGITS else None


def write_timeout(seconds: float) -> bytes:
    """A grpc-timeout of about so many seconds, and of one millisecond at least."""
    thousandths = max(1, int(seconds * 1000))
    return b"%dm" % thousandths if thousandths < _MOST else b"%dS" % min(int(seconds), _MOST - 1)


def timeout_left(head: Request, value: bytes) -> bytes:
    """The grpc-timeout of a request for its backend: as it came, or what is left of it if the request has waited."""
    return value if head.timeout is None or not head.elapsed else write_timeout(head.timeout - head.elapsed)


# -- statuses -----------------------------------------------------------------------------------------------------


def status_fields(reply: Reply) -> Fields:
    """The status of a response, its message, and a pause before the next attempt if the reply has one. A route's own response
    that has a status already keeps it."""
    own = tuple((name.lower(), value) for name, value in reply.fields if name[:5].lower() == b"grpc-")
    if any(name == b"grpc-status" for name, _ in own):
        return own
    code = reply.rpc_status or _BY_REASON.get(reply.reason, _BY_STATUS.get(reply.status, UNKNOWN))
    fields: list[Field] = [(b"grpc-status", b"%d" % code), (b"grpc-message", _escaped(_text(reply)))]
    pause = next((value for name, value in reply.fields if name.lower() == b"retry-after"), b"")
    if pause.isdigit() and code == UNAVAILABLE:
        fields.append((b"grpc-retry-pushback-ms", b"%d" % (1000 * int(pause[:6]))))
    return tuple(fields)


def cut_fields(reason: str, code: int | None) -> Fields:
    """The status of a response that has begun and is cut short: `code`, or that of the reason."""
    message = f"the response was cut short: {reason}".encode()
    return (b"grpc-status", b"%d" % (code or _BY_CUT.get(reason, INTERNAL))), (b"grpc-message", message)


def _text(reply: Reply) -> bytes:
    """What the reply says, if that is text; never the HTML of a page."""
    kind = next((value for name, value in reply.fields if name.lower() == b"content-type"), b"")
    text = reply.body.removeprefix(b"weir: ").strip() if kind[:10].lower() == b"text/plain" else b""
    if text:
        return text[:MAX_MESSAGE].decode(errors="ignore").encode()
    return b"%d %b" % (reply.status, reason_phrase(reply.status))


def _escaped(text: bytes) -> bytes:
    return _NOT_PLAIN.sub(lambda found: b"%%%02X" % found[0][0], text)
