"""A TCP connection and its backend's: it counts or not, bytes are passed on, perhaps without the event loop's transports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol, cast

from fleet.routing.firstbytes import FIRST_BYTES, fits
from interceptor.core.messages import Response
from interceptor.exchange.tunnel import BACKEND_SIDE, CLIENT_SIDE, Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleet.demand.ledger import Lease
    from interceptor.backends.endpoint import Slot
    from interceptor.core.sides import Upstream
    from interceptor.exchange.life import Life

__all__ = ["DECISION_SECONDS", "SWITCHED", "StreamTunnel"]

RELAY_READS: Final = 16
"""After so many small reads from its client a connection goes on without transports as well: it is no short one, for which the
change would cost more than it saves."""
MOST_RELAY_READS: Final = 1024
"""The same of a connection that has had to go back soon. After more than these it is not tried again, unless it is silent."""
RELAY_LASTS: Final = 10.0
"""Seconds without transports after which the change was worth it."""
SWITCHED: Final = Response(101, 0)
DECISION_SECONDS: Final = 1.0
"""How long first bytes that may still fit a pattern are waited for: then the connection counts."""
HALF_CLOSED_SECONDS: Final = 300.0
"""How long the open side of a connection may be silent after the other has closed its sending side. Bytes renew it."""
_BULK: Final = 1 << 30
"""More bytes than are ever moved inside the kernel at once: how long a tunnel's data is, nobody knows before its end."""
RELAY_SECONDS: Final = 1.0
"""After so long without a byte, a connection goes on without transports of the event loop, until something else than a small read
comes."""


class RelayedClient(Protocol):
    """A client's connection whose tunnel may do without transports of the event loop."""

    encrypted: bool

    def relay_with(self, connection: Upstream, tunnel: StreamTunnel) -> bool:
        """Go on without, if that is possible now. Returns whether."""

    def end_relay(self) -> None:
        """Have transports again, if it has none."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call it in the next turn of the event loop."""


class Passing(Protocol):
    """A connection that another one may pass small reads on to, past the tunnel."""

    def pass_on(self, data: memoryview) -> bool:
        """Send a few bytes now. Returns False, without having sent any, if that is not possible."""


class AskedBackend(Protocol):
    """A connection to a backend that is asked whether it is worth to count for."""

    def has_ended(self) -> bool:
        """Whether the backend has closed its sending side, or the connection, read or not."""


class StreamTunnel(Tunnel):
    """A tunnel whose connection may stop counting while it is silent, and count again."""

    __slots__ = (
        "_counts", "_first", "_needed", "_opened", "_patterns", "_reads", "_relayed", "_relayed_at", "_rest",
        "clock", "looks", "to_backend", "to_client", "touched",
    )  # fmt: skip

    def __init__(self, exchange: Life, lease: Lease, *, counted: bool, patterns: Sequence[tuple[bytes, ...]] | None) -> None:
        super().__init__(exchange.host, exchange.client, exchange.app, lease, exchange.method)
        self._counts = counted
        """Whether it counts now."""
        self._patterns = None if counted else patterns
        """While it is not known whether it is to count."""
        self._first = b""
        self.clock = exchange.host.clock
        self.touched = self._opened = self.clock()
        """When the last byte came. Set as well by the connections, while they pass bytes on by themselves."""
        self.to_backend: Passing | None = None
        self.to_client: Passing | None = None
        """While it counts, and nothing is to be found out about bytes: where each connection passes small reads on to by itself.
        What cannot be passed on, such as to a side that has ended, comes here."""
        port = exchange.app.port
        self._rest = math.inf if port is None or port.idle is None or not (counted or patterns is not None) else port.idle
        """Seconds of silence after which it does not count."""
        self.looks = False
        """While it does not count, and its client's next byte changes that. Never once its backend has ended."""
        self._relayed: bool | None = False
        """Whether its connections are without transports; None if they never can be."""
        self._relayed_at = 0.0
        self._needed = self._reads = RELAY_READS
        """How many small reads are needed until they are, and how many of these are left."""

    def open_stream(self, slot: Slot, connection: Upstream) -> None:
        client, now = self._client, self._host.clock()
        self._slot, self._connection = slot, connection
        if cast("RelayedClient", client).encrypted:
            self._relayed, self._reads = None, 0
        self._lease.upgrade(now)
        connection.enter_tunnel(self)
        early = client.upgrade(self, SWITCHED, (), b"")
        if early:
            if self._patterns is not None:
                self._weigh(early, now)
            connection.write(early)
        self._look_again(now)
        self._straighten()
        if client.half_closed:
            self.on_client_end()

    def _straighten(self) -> None:
        """The client's bytes need to be looked at while it does not count: they may change that. Those of the backend never do:
        a server that is being stopped says farewell, and that must not start another one."""
        self.to_backend = cast("Passing | None", self._connection) if self._counts and not self._reads else None
        self.to_client = cast("Passing", self._client)
        self.looks = not self._counts and self._rest != math.inf and self._patterns is None

    def on_client_data(self, data: memoryview) -> None:
        if self._connection is not None and not self._ends & CLIENT_SIDE:
            if self._patterns is not None:
                self._weigh(data, self._host.clock())
            self._connection.write_through(data)
            self._client_said()
            if self._reads and self._patterns is None:  # before that it cannot do without transports
                self._reads -= 1
                if not self._reads:
                    self._straighten()
                    cast("RelayedClient", self._client).call_soon(self._relay)  # not while a transport calls this

    def on_client_lost(self) -> None:
        """A client that had not ended its side has not said all, also if its backend had. Over TLS the end of one side is that of
        both."""
        cut = not self._ends & CLIENT_SIDE and not cast("RelayedClient", self._client).encrypted
        self._end(self._host.clock(), cut=cut)

    def on_client_bulk(self, data: memoryview, source: object) -> int:
        """More of much data, the rest of which is in the source's socket. Returns how many bytes of the rest were passed on."""
        if self._connection is None or self._ends & CLIENT_SIDE:
            return 0
        self._client_said()
        return self._connection.splice(data, source, _BULK)

    def on_tunnel_bulk(self, data: memoryview, source: object) -> int:
        """The same from the backend."""
        self._alive()
        return self._client.splice(data, source, _BULK)

    def _alive(self) -> None:
        self.touched = self._host.clock()

    def _client_said(self) -> None:
        self.touched = now = self._host.clock()
        if self.looks:
            self.heard(now)

    def _weigh(self, data: bytes | memoryview, now: float) -> None:
        assert self._patterns is not None  # noqa: S101
        self._first += bytes(data[: FIRST_BYTES - len(self._first)])
        found = fits(self._patterns, self._first)
        if found is not None:
            self._decide(now, counts=not found)

    def _decide(self, now: float, *, counts: bool) -> None:
        self._patterns, self._first = None, b""
        if counts:
            self._count(now)
        else:
            self._rest = math.inf
            self._straighten()

    def _count(self, now: float) -> None:
        self._counts = True
        self._straighten()
        self._move(self._app.entry.acquire(now), now)
        self._look_again(now)

    def heard(self, now: float) -> None:
        """Bytes of the client have come while it `looks`: it counts, unless nobody is there who gets them."""
        if self._connection is not None and not cast("AskedBackend", self._connection).has_ended():
            self._count(now)

    def _stop_counting(self, now: float, *, for_good: bool = False) -> None:
        if for_good:
            self._rest, self._patterns, self._first = math.inf, None, b""
        counted, self._counts = self._counts, False
        self._straighten()
        if counted:
            self._move(self._app.main.uncounted_entry().acquire(now), now)

    def returned(self) -> None:
        """Its connections have transports again: the end of one, much data, or a peer that does not read."""
        now, self._relayed = self._host.clock(), False
        if now >= self._relayed_at + RELAY_LASTS:
            self._needed = RELAY_READS
        else:
            self._needed = self._needed * 4 if self._needed < MOST_RELAY_READS else 0
        self._reads = self._needed
        if self._connection is not None and not self._ends and not self._wound_down:
            self._straighten()
            self._look_again(now)

    def wind_down(self, now: float, seconds: float) -> None:
        cast("RelayedClient", self._client).end_relay()
        super().wind_down(now, seconds)

    def _relay(self) -> None:
        """Go on without transports, if that is possible now."""
        if self._relayed is not False or self._ends:
            return
        if self._connection is not None and self._patterns is None:
            self._relayed = cast("RelayedClient", self._client).relay_with(self._connection, self)
            self._relayed_at = self._host.clock()

    def _move(self, lease: Lease, now: float) -> None:
        before, self._lease = self._lease, lease
        lease.upgrade(now)
        before.release(now)

    @property
    def _silence_is_none(self) -> bool:
        """Whether a connection whose client says nothing is no demand."""
        return self._app.port is not None and self._app.port.uncounted.silent is not None

    def _look_again(self, now: float) -> None:
        until = self.touched + self._most_silence
        if self._counts:
            until = min(until, self.touched + self._rest)
        elif self._patterns and (self._first or not self._silence_is_none):
            until = min(until, (self.touched if self._first else self._opened) + DECISION_SECONDS)
        if self._relayed is False and self._patterns is None and not self._ends:
            until = min(until, (self.touched if now < self.touched + RELAY_SECONDS else now) + RELAY_SECONDS)
        self._client.deadline = until
        self._client.keep_deadline()

    def on_deadline(self, now: float) -> None:
        quiet = now - self.touched
        if self._wound_down or quiet >= self._most_silence:
            super().on_deadline(now)
        else:
            if self._counts and quiet >= self._rest:
                self._stop_counting(now)
            elif self._patterns and (self._first or not self._silence_is_none):
                self._decide(now, counts=True)
            if quiet >= RELAY_SECONDS:
                self._relay()
            self._look_again(now)

    @property
    def _most_silence(self) -> float:
        return HALF_CLOSED_SECONDS if self._ends else self._app.limits.idle

    def _side_ended(self, side: int) -> None:
        """A connection is no demand once its backend has ended: no other one can go on with it. One whose client has ended counts
        until its backend is silent, as it may still be answered."""
        super()._side_ended(side)
        if self._connection is not None and not self._wound_down:
            self.touched = now = self._host.clock()
            if side == BACKEND_SIDE:
                self._stop_counting(now, for_good=True)
            elif self._patterns is not None:
                self._decide(now, counts=bool(self._first))
            self._look_again(now)
