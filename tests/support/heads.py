"""Heads as they go on to the other side: the one place of the tests that knows how they are written."""

from __future__ import annotations

from interceptor.http1.fields import CHUNKED
from interceptor.http1.request import RequestHead
from interceptor.http1.response import ResponseHead

__all__ = ["AUTHORITY", "PEER", "SCHEME", "forwarded", "passed_on"]

PEER = b"192.0.2.1"
SCHEME = b"http"
AUTHORITY = b"192.0.2.9:80"
"""Of the backend, for a request that names none."""


def forwarded(head: RequestHead) -> bytes:
    """The head that a backend gets."""
    return head.encode(PEER, SCHEME, trusted=True, authority=AUTHORITY)


def passed_on(head: ResponseHead) -> bytes:
    """The head that a client of HTTP/1.1 gets."""
    connection = b"upgrade" if head.status == 101 else None
    return head.encode(chunked=head.length == CHUNKED, connection=connection)
