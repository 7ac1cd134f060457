"""Encodes the proxy's own replies as HTTP/1.1. Pure."""

from __future__ import annotations

from typing import Final

from interceptor.core.messages import BODILESS
from interceptor.core.phrases import reason_phrase
from interceptor.core.replies import Reply
from interceptor.http1.fields import CRLF, HEAD_END
from interceptor.http1.request import RequestHead

__all__ = ["HEAD", "encode_reply", "final_reply", "has_body"]

HEAD: Final = b"HEAD"


def encode_reply(reply: Reply, *, method: bytes, close: bool, date: bytes) -> bytes:
    """The reply's bytes, with `date` unless it has its own Date field. For HEAD the same head without the body."""
    lines = [b"HTTP/1.1 %d %b" % (reply.status, reason_phrase(reply.status))]
    lines += [b"%b: %b" % field for field in reply.fields]
    if not any(name.lower() == b"date" for name, _ in reply.fields):
        lines.append(b"Date: " + date)  # the proxy is the origin here (RFC 9110 6.6.1)
    if reply.status not in BODILESS:
        lines.append(b"Content-Length: %d" % len(reply.body))
    if close:
        lines.append(b"Connection: close")
    head = CRLF.join(lines) + HEAD_END
    return head + reply.body if has_body(reply, method) else head


def final_reply(head: RequestHead) -> Reply:
    """The reply to TRACE or OPTIONS with Max-Forwards 0 (RFC 9110 7.6.2, 9.3.7, 9.3.8)."""
    if head.method == b"TRACE":
        return Reply(200, ((b"Content-Type", b"message/http"),), head.trace())
    return Reply(200, ())


def has_body(reply: Reply, method: bytes) -> bool:
    """Whether the reply to a request with this method has a body."""
    return method != HEAD and reply.status not in BODILESS
