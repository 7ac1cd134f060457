"""The UDP ports of an interceptor: which flow a datagram belongs to, and which begin a new one.

A port that is closed stays open for the flows that it has; it takes no new ones. All of it happens inside the event of a readable
socket: there is no task and no timer for a datagram or a flow.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from socket import inet_pton
from typing import Final, Protocol

from fleet.routing.port_index import PortRoutes
from interceptor.core.errors import ExchangeError
from interceptor.transport.datagrams import BUFFER, CONTROL_BYTES, VIEW, DatagramPoller, ListeningSocket
from interceptor.trust import plain_address
from interceptor.udp.exchange import Address, FlowHost
from interceptor.udp.flow import Flow
from interceptor.udp.flows import source_of
from interceptor.udp.returns import LOOP, BoundedFlow, Bounds

__all__ = ["FlowListener", "FlowListeners"]

NEW_FLOW: Final = 7
"""What a new flow costs in addition to its datagram, in datagrams: the work in one turn of the event loop is bounded in them."""
_INTO: Final = (BUFFER,)


class PortSite(Protocol):
    """The port of the table that a listener is for."""

    routes: PortRoutes


class FlowListener:
    """One port."""

    __slots__ = ("_bounds", "_flows", "_host", "_on_end", "_ours", "_receive", "_receive_from", "_site", "poller", "socket")

    def __init__(
        self,
        host: FlowHost,
        site: PortSite,
        own: ListeningSocket,
        poller: DatagramPoller,
        on_end: Callable[[FlowListener], None],
        *,
        ours: Container[int],
    ) -> None:
        """`on_end` is called when it is closed, and its last flow has ended; `ours` are the ports of all listeners."""
        self.socket = own
        self.poller = poller
        self._host = host
        self._site: PortSite | None = site
        self._on_end = on_end
        self._ours = ours
        self._bounds = Bounds()
        self._flows: dict[tuple[Address, bytes], Flow] = {}
        """By the client's address and port, and the address that it sends to."""
        self._receive = own.own.recvmsg_into
        self._receive_from = own.own.recvfrom_into
        poller.add(own.own, self)

    def __len__(self) -> int:
        return len(self._flows)

    @property
    def port(self) -> int:
        return self.socket.port

    @property
    def started(self) -> bool:
        """Whether it takes new flows."""
        return self._site is not None

    def pause(self) -> None:
        """Flows have bounds of their own: that of connections does not concern them."""

    def resume(self) -> None:
        """The same."""

    def adopt(self, site: PortSite) -> None:
        """Take new flows again, for a port that has come back."""
        self._site = site

    async def close(self) -> None:
        """Take no new flows. It ends with the last one that it has."""
        self._site = None
        if not self._flows:
            self._on_end(self)

    def read(self, most: int, now: float) -> int:
        flows, wild, local, done = self._flows, self.socket.wild, b"", 0
        while done < most:
            try:
                if wild:
                    size, control, _, address = self._receive(_INTO, CONTROL_BYTES)
                    local = control[0][2][self.socket.local] if control else b""
                else:
                    size, address = self._receive_from(BUFFER)
            except BlockingIOError:
                return done or 1
            except OSError:  # of an answer that could not be delivered, for example
                done += 1
                continue
            done += 1
            flow = flows.get((address, local))
            if flow is not None:
                flow.take(VIEW[:size], now)
            elif self.begin(address, local, size, now):
                done += NEW_FLOW
        return done

    def begin(self, address: Address, local: bytes, size: int, now: float) -> bool:
        """Begin a flow with the datagram in the buffer. Returns False if it is refused."""
        host, site = self._host, self._site
        owner = None if site is None else site.routes.alone
        app = None if owner is None else host.apps.get(owner.app)
        if owner is None or app is None:
            return self._refuse("draining" if site is None else "no_route", 503 if site is None else 404)
        returns = address[1] in self._ours
        if not address[1] or (returns and self._is_ours(address[0], local)):
            return self._refuse("bad_source", 400)
        bound = self._bounds.of(address, now) if returns else None
        why = LOOP if bound is not None and not bound.permits(now) else host.flows.make_room(app.name, source_of(address[0]), now)
        if why:
            app.stats.dropped[why] += 1
            app.entry.dropped_total += 1
            return False
        part = app.port_parts[owner.port.place]
        whose = (host, self, part, address, local)
        flow = self._flows[address, local] = Flow(*whose) if bound is None else BoundedFlow(*whose, bound=bound)
        flow.begin(bytes(VIEW[:size]), now)
        return True

    def _is_ours(self, address: str, local: bytes) -> bool:
        """Whether a client claims to be this interceptor: its answers would come back as questions, without end. `local` is the
        address that it has sent to, where that is known."""
        host = plain_address(address)
        if host.startswith("127.") or host == "::1" or host == plain_address(self.socket.own.getsockname()[0]):
            return True
        return bool(local) and inet_pton(self.socket.own.family, address.partition("%")[0]) == local

    def _refuse(self, reason: str, status: int) -> bool:
        self._host.refused(ExchangeError("no flow for this datagram", status=status, reason=reason))
        return False

    def forget(self, address: Address, local: bytes) -> None:
        """A flow has ended."""
        del self._flows[address, local]
        if self._site is None and not self._flows:
            self._on_end(self)


class FlowListeners:
    """All ports."""

    def __init__(self, host: FlowHost, address: str) -> None:
        self._host = host
        self._address = address
        self._poller = DatagramPoller(host.clock)
        self._all: dict[int, FlowListener] = {}
        self._lost = 0
        """Datagrams that the kernel has dropped at ports that are closed by now."""

    def open(self, site: PortSite, port: int) -> FlowListener:
        """Take flows at this port. Raises StartError."""
        listener = self._all.get(port)
        if listener is not None:
            listener.adopt(site)
            return listener
        own = ListeningSocket(self._address, port)
        listener = self._all[own.port] = FlowListener(self._host, site, own, self._poller, self._end, ours=self._all)
        return listener

    @property
    def lost(self) -> int:
        """Datagrams that the kernel has dropped, because they came faster than they were read."""
        return self._lost + sum(listener.socket.lost for listener in self._all.values())

    def close(self) -> None:
        """All flows have ended."""
        self._poller.close()

    def _end(self, listener: FlowListener) -> None:
        if self._all.pop(listener.port, None) is not None:
            own = listener.socket
            self._lost += own.lost
            self._poller.remove(own.own)
            own.own.close()
