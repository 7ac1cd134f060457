"""What a flow has to do with the rest of the interceptor: its host, its port, and the exchange that it is until its backend has
answered. Waiting, choice, limits and bounds are those of connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from interceptor.core.sides import Downstream
from interceptor.exchange.life import ExchangeHost
from interceptor.exchange.phases import SENT
from interceptor.exchange.stream import StreamExchange, StreamHead
from interceptor.transport.datagrams import DatagramPoller, ListeningSocket
from interceptor.udp.flows import Flows

if TYPE_CHECKING:
    from fleet.demand.ledger import Lease
    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint
    from interceptor.core.deadlines import Deadlines

__all__ = ["METHOD", "Address", "FlowExchange", "FlowHost", "FlowSite"]

METHOD: Final = b"UDP"
"""What metrics have in place of a method."""
Address = tuple[Any, ...]
"""As the socket module has it: host and port, and for IPv6 two more."""


class FlowHost(ExchangeHost, Protocol):
    """The proxy as flows see it."""

    deadlines: Deadlines
    flows: Flows


class FlowSite(Protocol):
    """The port that a flow came to."""

    poller: DatagramPoller
    socket: ListeningSocket

    def forget(self, address: Address, local: bytes) -> None:
        """It has ended."""

    def begin(self, address: Address, local: bytes, size: int, now: float) -> bool:
        """Begin a flow with the datagram in the buffer. Returns False if it is refused."""


class Relayed(Protocol):
    """The flow, as its exchange sees it."""

    host: FlowHost
    app: App

    def relay(self, endpoint: Endpoint, lease: Lease, now: float) -> None:
        """There is a backend."""


class FlowExchange(StreamExchange):
    """A flow until its backend has answered: it waits, and may move to another backend."""

    __slots__ = ("flow",)

    def __init__(self, flow: Relayed, held: int, *, counted: bool) -> None:
        """`held` is what is kept of it, in bytes."""
        head = StreamHead(METHOD, b"", b"", b"", held=held)
        super().__init__(flow.host, cast("Downstream", flow), head, flow.app, counted=counted, patterns=None)
        self.flow = flow

    def go(self, endpoint: Endpoint, now: float) -> None:
        """Nothing has to be opened at a distance: the datagrams can go at once."""
        self.phase = SENT
        if self.record is not None:
            self.record.note_sent(self.app, now, started=self.started, dialed=False, again=self.attempts > 0)
        if endpoint.owner.waiting_apps:
            # Others wait, perhaps thousands: as with connections, a backend gets some at a time, in turns of the event loop.
            endpoint.dialing += 1
            asyncio.get_running_loop().call_soon(_go_on, endpoint)
        self.flow.relay(endpoint, self.lease, now)


def _go_on(endpoint: Endpoint) -> None:
    endpoint.dialing -= 1
    owner = endpoint.owner
    if owner.waiting_apps:
        owner.pump(owner.clock())
