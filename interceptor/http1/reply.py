"""The proxy's own answers as bytes of HTTP/1.1. Pure."""

from __future__ import annotations

from http import HTTPStatus

from interceptor.core.replies import Reply
from interceptor.http1.fields import CRLF, HEAD_END
from interceptor.http1.request import RequestHead

__all__ = ["HEAD", "encode_reply", "final_reply", "has_body"]

HEAD = b"HEAD"

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODILESS = frozenset({204, 304})
"""They end with their head (RFC 9110 15.3.5, 15.4.5). The length of what a 304 stands for is not known here."""


def encode_reply(reply: Reply, *, method: bytes, close: bool, date: bytes) -> bytes:
    """The answer's bytes, made at a date which it tells unless it has one of its own. To HEAD the same head and no body."""
    lines = [b"HTTP/1.1 %d %b" % (reply.status, _PHRASES.get(reply.status, b""))]
    lines += [b"%b: %b" % field for field in reply.fields]
    if not any(name.lower() == b"date" for name, _ in reply.fields):
        lines.append(b"Date: " + date)  # who answers in a backend's place is the origin (RFC 9110 6.6.1)
    if reply.status not in _BODILESS:
        lines.append(b"Content-Length: %d" % len(reply.body))
    if close:
        lines.append(b"Connection: close")
    head = CRLF.join(lines) + HEAD_END
    return head + reply.body if has_body(reply, method) else head


def final_reply(head: RequestHead) -> Reply:
    """The answer to TRACE or OPTIONS that is not to be forwarded any further (RFC 9110 7.6.2, 9.3.7, 9.3.8)."""
    if head.method == b"TRACE":
        return Reply(200, ((b"Content-Type", b"message/http"),), head.trace())
    return Reply(200, ())


def has_body(reply: Reply, method: bytes) -> bool:
    """Whether the answer to a request of this method has one."""
    return method != HEAD and reply.status not in _BODILESS
