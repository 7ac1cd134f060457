"""Opens HTTP/1.1 connections to backends."""

from __future__ import annotations

import asyncio

from interceptor.core.sides import Place
from interceptor.http1.backend import BackendConnection
from interceptor.http1.request import RequestHead
from interceptor.transport.tcp import Outbox

__all__ = ["Http1Dialer"]


class OwnRequest(RequestHead, gc=False, eq=False):
    """A request made by this process, for a probe: it is sent unchanged."""

    def encode(self, peer: bytes, scheme: bytes, *, trusted: bool = False, authority: bytes = b"") -> bytes:
        return self._data


class Http1Dialer:
    """Its connections share one outbox, which sends their data at the end of each turn of the event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def connect(self, endpoint: Place) -> BackendConnection:
        """Return an open, idle connection. Raises OSError."""
        backend, loop = endpoint.backend, asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: BackendConnection(endpoint, self._outbox), backend.host, backend.port
        )
        return connection

    def probe(self, endpoint: Place, path: str) -> OwnRequest:
        """A GET request with our own User-Agent and no client data."""
        target, authority = path.encode(), endpoint.authority
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: weir-probe\r\nAccept: */*\r\n\r\n" % (target, authority)
        return OwnRequest(b"GET", target, target, authority, _data=head)
