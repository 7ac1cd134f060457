"""Opens connections of HTTP/1.1 to backends."""

from __future__ import annotations

import asyncio

from interceptor.core.sides import Place
from interceptor.http1.backend import BackendConnection
from interceptor.http1.request import OwnRequest
from interceptor.transport.tcp import Outbox

__all__ = ["Http1Dialer"]


class Http1Dialer:
    """Its connections send what they have at the end of a turn of the event loop, by the outbox of all others."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def connect(self, endpoint: Place) -> BackendConnection:
        """A connection that is open, and at rest. Raises OSError."""
        backend, loop = endpoint.backend, asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: BackendConnection(endpoint, self._outbox), backend.host, backend.port
        )
        return connection

    def probe(self, endpoint: Place, path: str) -> OwnRequest:
        """A GET that names who asks, and nothing of a client."""
        target, authority = path.encode(), endpoint.authority
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: weir-probe\r\nAccept: */*\r\n\r\n" % (target, authority)
        return OwnRequest(b"GET", target, target, authority, _data=head)
