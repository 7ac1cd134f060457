"""What the connections of a TCP port see of the proxy and of their port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from interceptor.exchange.life import ExchangeHost
from interceptor.http1.host import ClientHost

if TYPE_CHECKING:
    from fleet.routing.port_index import PortOwner, PortRoutes
    from interceptor.transport.relay import Relay

__all__ = ["PortSite", "StreamHost", "Terminates"]


class StreamHost(ClientHost, ExchangeHost, Protocol):
    """The proxy as such a connection, and its exchange, see it."""

    relay: Relay


class PortSite(Protocol):
    """The port that a connection came to."""

    routes: PortRoutes

    @property
    def termination(self) -> Terminates | None:
        """None without certificates."""


class Terminates(Protocol):
    """Ends TLS of connections."""

    def take(self, transport: asyncio.Transport, read: bytes, *, site: PortSite, source: str, owner: PortOwner) -> None:
        """Go on with a connection of which `read` has been read: the ClientHello."""
