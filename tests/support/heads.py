"""Encoded heads: the only place in the tests that knows how to call the encoders."""

from __future__ import annotations

from interceptor.http1.fields import CHUNKED
from interceptor.http1.request import RequestHead
from interceptor.http1.response import ResponseHead

__all__ = ["AUTHORITY", "PEER", "SCHEME", "forwarded", "passed_on"]

PEER = b"192.0.2.1"
SCHEME = b"http"
AUTHORITY = b"192.0.2.9:80"
"""The backend's authority, for a request without a Host."""


def forwarded(head: RequestHead) -> bytes:
    """The head that a backend gets."""
    return head.encode(PEER, SCHEME, trusted=True, authority=AUTHORITY)


def passed_on(head: ResponseHead) -> bytes:
    """The head that an HTTP/1.1 client gets."""
    connection = b"upgrade" if head.status == 101 else None
    return head.encode(chunked=head.length == CHUNKED, connection=connection)
