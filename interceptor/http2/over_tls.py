"""Connections of HTTP/2 over TLS to backends. They differ from others only in how bytes are written."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import ClassVar, Final, cast

from interceptor.core.messages import HTTPS
from interceptor.core.sides import Place
from interceptor.http2.backend import Http2Backend
from interceptor.http2.dialer import Http2Dialer
from interceptor.tls.upstream import HTTP2, BackendTls, certifiable
from interceptor.transport.tcp import Outbox
from interceptor.transport.tls import CLOSE_SECONDS, OverTls

__all__ = ["TlsHttp2Backend", "TlsHttp2Dialer"]


class TlsHttp2Backend(OverTls, Http2Backend):
    """Speaks HTTP/2 to one backend over TLS."""

    __slots__ = ()
    scheme: ClassVar[bytes] = HTTPS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send nothing to a backend that has not agreed to HTTP/2 (RFC 9113 3.2)."""
        if _agreed(transport):
            super().connection_made(transport)
        else:
            cast("asyncio.Transport", transport).abort()


class TlsHttp2Dialer(Http2Dialer):
    """Its connections are open when the backend's certificate has been verified, and HTTP/2 was agreed (ALPN)."""

    def __init__(self, outbox: Outbox, clock: Callable[[], float], tls: BackendTls) -> None:
        super().__init__(outbox, clock)
        self._tls = tls

    async def _open(self, endpoint: Place) -> Http2Backend:
        owner = endpoint.owner
        try:
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: TlsHttp2Backend(endpoint, self._outbox, self._clock),
                endpoint.backend.host,
                endpoint.backend.port,
                ssl=await self._tls.context(HTTP2, owner.connects.tls),
                server_hostname=certifiable(owner.server_name),
                ssl_shutdown_timeout=CLOSE_SECONDS,
            )
        except ssl.SSLError as error:
            if "no application protocol" in str(error).lower().replace("_", " "):  # the alert of RFC 7301 3.2
                raise ConnectionAbortedError(f"{_NOT_AGREED} and takes no other protocol") from error
            raise
        if not _agreed(transport):
            raise ConnectionAbortedError(f"{_NOT_AGREED} and has chosen {_chosen(transport) or 'none'}")
        return connection


_NOT_AGREED: Final = "TLS: the backend does not agree to HTTP/2, which alone is offered (ALPN),"


def _agreed(transport: asyncio.BaseTransport) -> bool:
    return _chosen(transport) == HTTP2


def _chosen(transport: asyncio.BaseTransport) -> str | None:
    protocol: str | None = transport.get_extra_info("ssl_object").selected_alpn_protocol()
    return protocol
