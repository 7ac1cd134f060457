"""The connections of HTTP/1 over TLS. They differ from others only in how bytes are written (`interceptor.transport.tls`)."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from interceptor.core.messages import HTTPS
from interceptor.core.sides import Place
from interceptor.http1.backend import BackendConnection
from interceptor.http1.client import ClientConnection
from interceptor.http1.dialer import Http1Dialer
from interceptor.http1.host import ClientHost
from interceptor.tls.upstream import HTTP1, BackendTls, certifiable
from interceptor.transport.tcp import Outbox
from interceptor.transport.tls import CLOSE_SECONDS, OverTls

__all__ = ["TlsBackendConnection", "TlsClientConnection", "TlsHttp1Dialer", "begin"]


class TlsClientConnection(OverTls, ClientConnection):
    """Speaks HTTP/1.0 and HTTP/1.1 with one client over TLS."""

    __slots__ = ()
    scheme: ClassVar[bytes] = HTTPS

    @property
    def idle(self) -> bool:
        # A connection that we have ended waits for the client's end: it must not be chosen again to be closed.
        return super().idle and not self._transport.is_closing()


class TlsBackendConnection(OverTls, BackendConnection):
    """Speaks HTTP/1.1 to one backend over TLS."""

    __slots__ = ()


class TlsHttp1Dialer(Http1Dialer):
    """Its connections are open when the backend's certificate has been verified."""

    def __init__(self, outbox: Outbox, tls: BackendTls) -> None:
        super().__init__(outbox)
        self._tls = tls

    async def connect(self, endpoint: Place) -> BackendConnection:
        """Return an open, idle connection. Raises OSError."""
        owner = endpoint.owner
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: TlsBackendConnection(endpoint, self._outbox),
            endpoint.backend.host,
            endpoint.backend.port,
            ssl=await self._tls.context(HTTP1, owner.connects.tls),
            server_hostname=certifiable(owner.server_name),
            ssl_shutdown_timeout=CLOSE_SECONDS,
        )
        return connection


def begin(host: ClientHost, transport: asyncio.Transport, source: str = "") -> None:
    """Serve a client on a transport whose handshake is done. `source` is its address, if a load balancer has sent it."""
    client = TlsClientConnection(host, source)
    transport.set_protocol(client)
    client.connection_made(transport)
