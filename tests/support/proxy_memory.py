"""The proxy's connections without sockets: transports that record writes and deliver the bytes that a test feeds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any, cast

from fleet.demand.ledger import Ledger
from fleet.discovery.fixed import FixedBackends
from fleet.discovery.sources import Backend
from fleet.routing.table import RoutingTable
from interceptor.backends.endpoint import Endpoint
from interceptor.http1.client import ClientConnection
from interceptor.http1.dialer import Http1Dialer
from interceptor.proxy import Proxy
from interceptor.transport.tcp import Outbox
from tests.support.loopback import APP, loopback_settings, route
from tests.support.strict import StrictBackend, StrictClient, StrictExchange

__all__ = ["MemoryProxy", "MockTransport"]

_SETTINGS = loopback_settings()
_quiet, _other_end = socket.socketpair()
"""A socket with nothing to read, for code that polls it."""
_loud, _speaker = socket.socketpair()
_speaker.send(b"G")
"""A socket with data that is never read."""


class MockTransport(asyncio.Transport):
    """Delivers fed bytes at once, or when reading resumes if it is paused."""

    def __init__(self, protocol: asyncio.BufferedProtocol, *, unread: bool = False) -> None:
        """`unread`: its socket has data that was not read yet."""
        super().__init__({"peername": ("192.0.2.1", 4711), "socket": _loud if unread else _quiet})
        self.protocol = protocol
        self.written = bytearray()
        self.closing = False
        self.aborted = False
        self.ended = False
        self.paused = False
        self._full = self._noted = False
        self._waiting = b""
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Bytes from the peer, in as many reads as the buffer needs."""
        self._waiting += data
        while self._waiting and not self.paused and not self.closing:
            view = memoryview(self.protocol.get_buffer(-1))
            size = min(len(view), len(self._waiting))
            view[:size] = self._waiting[:size]
            self._waiting = self._waiting[size:]
            self.protocol.buffer_updated(size)

    def feed_eof(self) -> None:
        if not self.closing and not self.protocol.eof_received():
            self.close()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.ended, "written after the end"
        if not self.closing:
            self.written += data
            if self._full and not self._noted:
                self._noted = True
                self.protocol.pause_writing()

    def stop_taking(self) -> None:
        """The peer stops reading: the next write fills the buffer."""
        self._full = True

    def go_on_taking(self) -> None:
        """The peer reads everything."""
        self._full = self._noted = False
        self.protocol.resume_writing()

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = not self.closing
        self.close()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        if self._waiting:
            asyncio.get_running_loop().call_soon(self.feed, b"")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignored: the buffer has no limit."""

    def get_write_buffer_size(self) -> int:
        """Not 0, as if the socket were full, so that a connection writes to the transport and not to the socket directly."""
        return 1


class NoProbes:
    """A prober that does nothing."""

    def probe(self, endpoint: Endpoint) -> None:
        """No result is ever reported."""


class MemoryProxy:
    """A proxy whose backend connections are open from the start, so that it never dials. Create it inside a running loop."""

    def __init__(self, connections: int = 4, *, clock: Callable[[], float] = monotonic) -> None:
        self.ledger = Ledger()
        backends, outbox = FixedBackends({APP: [Backend("192.0.2.2", 80)]}), Outbox()
        self.proxy = Proxy(_SETTINGS, self.ledger, backends, clock, outbox=outbox, dialer=Http1Dialer(outbox))
        self.proxy.open_exchange = partial(StrictExchange, self.proxy)
        self.proxy.set_table(RoutingTable([route()]))
        self.endpoint: Endpoint = self.proxy.apps[APP].endpoints.endpoints[0]
        self.proxy.apps[APP].endpoints._prober = NoProbes()
        self.backends = [MockTransport(StrictBackend(self.endpoint, self.proxy.outbox)) for _ in range(connections)]
        # The pool uses the last connection first, so this list is in the order of use.
        self.endpoint.spare = [transport.protocol for transport in reversed(self.backends)]  # type: ignore[misc]

    def connect(self, *, unread: bool = False) -> MockTransport:
        return MockTransport(StrictClient(self.proxy), unread=unread)

    @property
    def clients(self) -> set[ClientConnection]:
        return cast("set[ClientConnection]", self.proxy.clients)

    @property
    def received(self) -> list[bytes]:
        """The bytes received by each backend connection, in the order of first use."""
        return [bytes(transport.written) for transport in self.backends]

    async def deliver(self, transport: MockTransport, parts: Iterable[bytes]) -> None:
        """Feed piece after piece, and let callbacks run after each."""
        for part in parts:
            transport.feed(part)
        await self.turn()

    async def turn(self) -> None:
        """Let callbacks run, also callbacks that they schedule, and work left for later turns."""
        for _ in range(3):
            await asyncio.sleep(0)
        while self.proxy.outbox.backlog:  # noqa: ASYNC110 -- it has its part of every turn, and there is nothing else
            await asyncio.sleep(0)
