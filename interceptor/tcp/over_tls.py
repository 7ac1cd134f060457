"""Connections of TCP ports at which TLS ends: those of clients are encrypted, and backends get the plain bytes.

They wait, count and wake their application only once the handshake is done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from interceptor.tcp.client import StreamClient
from interceptor.tcp.site import PortSite, StreamHost
from interceptor.tls.certificates import Certificates
from interceptor.transport.handshakes import Handshakes
from interceptor.transport.start_tls import StartTls
from interceptor.transport.tls import OverTls

if TYPE_CHECKING:
    from fleet.routing.port_index import PortOwner

__all__ = ["NO_CERTIFICATE", "Termination", "TlsStreamClient"]

NO_CERTIFICATE: Final = (
    "TLS is to be terminated, but the interceptor has no certificate: set WEIR_PROXY_TLS_CERT or WEIR_PROXY_TLS_DIRECTORIES"
)


class TlsStreamClient(OverTls, StreamClient):
    """A client's connection after its handshake."""

    __slots__ = ("_owner",)

    def __init__(self, host: StreamHost, site: PortSite, source: str, owner: PortOwner) -> None:
        super().__init__(host, site, source)
        self._owner = owner

    def meet(self) -> None:
        self._owned(self._owner)


class Termination:
    """Leads clients to their handshake, and from there to the application."""

    def __init__(self, host: StreamHost, handshakes: Handshakes, certificates: Certificates) -> None:
        self._host = host
        self._handshakes = handshakes
        self._certificates = certificates

    async def start(self) -> None:
        """Raises TlsError if a certificate cannot be used."""
        await self._certificates.start()

    async def close(self) -> None:
        await self._certificates.close()

    def take(self, transport: asyncio.Transport, read: bytes, *, site: PortSite, source: str, owner: PortOwner) -> None:
        """Go on with a connection of which `read` has been read: the ClientHello."""

        def serve(encrypted: asyncio.Transport) -> None:
            client = TlsStreamClient(self._host, site, source, owner)
            encrypted.set_protocol(client)
            client.connection_made(encrypted)

        StartTls(self._handshakes, context=self._certificates.context, serve=serve).begin(transport, read, source)
