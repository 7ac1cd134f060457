"""The proxy in memory with clients and backends of HTTP/2: `tests.support.proxy_memory` with sessions for connections."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from hpack import Encoder

from interceptor.core.messages import Fields
from interceptor.http2.backend import Http2Backend
from interceptor.http2.client import Http2Client
from interceptor.http2.core.config import DEFAULT_WINDOW
from interceptor.http2.core.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_WINDOW,
    PREFACE,
    SETTINGS,
    frame,
    settings,
    window_update,
)
from tests.support.proxy_memory import MemoryProxy, MockTransport

__all__ = ["Http2Memory", "Speaker"]

_WIDE = window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW)
"""So that the peers send no window updates."""
_BEGUN = settings({}) + frame(SETTINGS, ACK, 0, b"") + _WIDE


class Speaker:
    """A peer of HTTP/2: its encoder keeps every field in the dynamic table, as those of nghttp2, Go and gRPC do."""

    def __init__(self, protocol: Http2Client | Http2Backend) -> None:
        self.transport = MockTransport(protocol)
        self._encoder = Encoder()
        self.transport.feed(PREFACE + _BEGUN if isinstance(protocol, Http2Client) else _BEGUN)

    def head(self, stream: int, fields: Fields, *, end: bool = False) -> bytes:
        """A head or trailers."""
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self._encoder.encode(fields))

    def data(self, stream: int, data: bytes, *, end: bool = False) -> bytes:
        return frame(DATA, END_STREAM if end else 0, stream, data)


class Http2Memory(MemoryProxy):
    """Its client speaks HTTP/2, and so does its backend, or it has one connection of HTTP/1."""

    def __init__(self, *, http2: bool, clock: Callable[[], float] = monotonic) -> None:
        """`http2`: whether the backend speaks it."""
        super().__init__(connections=1, clock=clock)
        self.client = Speaker(Http2Client(self.proxy))
        if http2:
            connection = Http2Backend(self.endpoint, self.proxy.outbox, clock)
            self.backend = Speaker(connection)
            self.endpoint.spare = []
            self.endpoint.offer(connection.place(), clock())
