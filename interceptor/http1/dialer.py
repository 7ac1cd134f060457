"""Opens connections of HTTP/1.1 to backends."""

from __future__ import annotations

import asyncio

from interceptor.backends.endpoints import Endpoint
from interceptor.http1.backend import BackendConnection
from interceptor.transport.tcp import Outbox

__all__ = ["Http1Dialer"]


class Http1Dialer:
    """Its connections send what they have at the end of a turn of the event loop, by the outbox of all others."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def connect(self, endpoint: Endpoint) -> BackendConnection:
        """A connection that is open, and at rest. Raises OSError."""
        backend, loop = endpoint.backend, asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: BackendConnection(endpoint, self._outbox), backend.host, backend.port
        )
        return connection
