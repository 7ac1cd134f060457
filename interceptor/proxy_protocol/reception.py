"""Connections whose header of the PROXY protocol has not been read yet. Afterwards the protocol that follows takes
them over.

A header is accepted, and required, only from listed peers: the load balancers. Connections of all other peers have none, so that
a client cannot choose its own address.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

from fleet.runtime.terminal import one_line
from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import BadRequest, ExchangeError
from interceptor.core.sides import Client
from interceptor.proxy_protocol.header import HeaderError, HeaderReader
from interceptor.transport.peers import client_address
from interceptor.transport.tcp import HEAD_VIEW
from interceptor.trust import TrustedProxies

__all__ = ["HeaderClient", "HeaderConnection", "Reception", "hand_over"]

QUIET_SECONDS: Final = 60.0
"""Seconds between two log lines about load balancers that send no header: every one of their connections ends so."""

logger = logging.getLogger(__name__)

GoOn = Callable[[asyncio.Transport, str], None]
"""Receives a connection whose header was read, and the client's address; "" if that of the connection is used. The next byte to
read is the first one after the header."""


class Host(Protocol):
    """What these connections need of the proxy."""

    clock: Callable[[], float]
    deadlines: Deadlines
    early: EarlyBytes
    head_timeout: float

    def client_opened(self, client: Client) -> None: ...
    def client_closed(self, client: Client) -> None: ...
    def refused(self, error: ExchangeError) -> None: ...


def hand_over(transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
    """Replace the protocol of a connection."""
    transport.set_protocol(protocol)
    protocol.connection_made(transport)


class Reception:
    """What the connections of one listener have in common. `balancers` are the peers whose connections begin with a header."""

    def __init__(self, host: Host, balancers: TrustedProxies) -> None:
        self.host = host
        self.balancers = balancers
        self._quiet_until = 0.0

    def refused(self, peer: str, why: BadRequest) -> None:
        """A connection ended because of its header."""
        self.host.refused(why)
        now = self.host.clock()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            logger.warning("connections of %s are refused: %s; it is to send the PROXY protocol", one_line(peer), why)


class HeaderClient:
    """One connection, until its header has been read. The list of clients counts it as one that is sending a head."""

    __slots__ = ("_reader", "_reception", "bucket", "deadline", "peer", "since")

    protocol, requests, trusted = "PROXY", 0, False
    activity = "head"
    idle, begun = False, True

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._reader = HeaderReader()
        self.peer = b"unknown"
        """Of the load balancer."""
        self.since = reception.host.clock()
        self.deadline = NEVER
        self.bucket = 0

    def on_deadline(self, now: float) -> None:
        self._refuse(BadRequest("the header of the PROXY protocol did not arrive in time", status=408, reason="proxy_protocol"))

    def evict(self) -> None:
        """There is no room for heads and headers that arrive slowly."""
        self.abort()

    def close_if_idle(self) -> bool:
        """Never idle: the time limit for the header ends it."""
        return False

    def wind_down(self, now: float, seconds: float) -> None:
        """Its time limit ends it."""

    def abort(self) -> None:
        """Reset the connection."""
        raise NotImplementedError

    def _expect(self, address: str) -> None:
        """Wait for the header of a load balancer. The connection may be aborted by this call."""
        host = self._reception.host
        self.peer = address.encode()
        self.deadline = self.since + host.head_timeout
        host.deadlines.watch(self)
        host.client_opened(self)

    def _take(self, data: bytes) -> bool:
        """More of the header, and no byte more than the reader wants. Returns whether it is complete. If it is none, the
        connection is aborted, and it may be for want of room."""
        reader = self._reader
        try:
            reader.feed(data)
        except HeaderError as error:
            self._refuse(BadRequest(str(error), reason="proxy_protocol"))
            return False
        if reader.done:
            self._leave()
        else:
            self._reception.host.early.keep(self, len(reader))
        return reader.done

    def _refuse(self, error: BadRequest) -> None:
        # A client of an unknown protocol would not understand any answer.
        self._reception.refused(self.peer.decode(), error)
        self.abort()

    def _leave(self) -> None:
        """Remove this connection from the proxy's list and from its time limits: the next protocol is listed instead."""
        host = self._reception.host
        self.deadline = NEVER
        host.deadlines.forget(self)
        host.early.drop(self)
        host.client_closed(self)


class HeaderConnection(HeaderClient, asyncio.BufferedProtocol):
    """The first protocol of each connection in plaintext."""

    __slots__ = ("_go_on", "_transport")

    def __init__(self, reception: Reception, go_on: GoOn) -> None:
        super().__init__(reception)
        self._go_on = go_on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not transport.get_extra_info("peername"):
            # It has left already, as a health check does that is a reset: whether its bytes have a header cannot be known.
            self.abort()
            return
        address = client_address(transport)
        if self._reception.balancers.trusts(address):
            self._expect(address)
        else:
            self._go_on(self._transport, "")

    def get_buffer(self, sizehint: int) -> memoryview:
        return HEAD_VIEW[: self._reader.wants]

    def buffer_updated(self, nbytes: int) -> None:
        if self._take(bytes(HEAD_VIEW[:nbytes])):
            self._go_on(self._transport, self._reader.source)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def abort(self) -> None:
        self._transport.abort()
