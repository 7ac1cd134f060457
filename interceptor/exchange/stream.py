"""A TCP connection from its application to its end: it is counted or not, it waits for a backend, and becomes a tunnel.

An exchange in which nothing is asked and nothing is answered: waiting, choice, dials, limits and drain are those of requests.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol, cast

from fleet.routing.firstbytes import FIRST_BYTES, fits
from interceptor.backends.endpoint import MAX_DIALS
from interceptor.core.errors import ExchangeError, Unavailable
from interceptor.core.messages import Request, Response
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import Downstream, Upstream
from interceptor.exchange.attempt import Attempt
from interceptor.exchange.exchange import Exchange
from interceptor.exchange.life import ExchangeHost
from interceptor.exchange.phases import DIALING, DONE, SENT, WAITING
from interceptor.exchange.tunnel import BACKEND_SIDE, CLIENT_SIDE, Tunnel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.demand.ledger import Lease
    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint, Slot

__all__ = ["DECISION_SECONDS", "METHOD", "SWITCHED", "UNCOUNTED", "StreamExchange", "StreamHead", "StreamTunnel"]

METHOD: Final = b"TCP"
"""What metrics have in place of a method."""
UNCOUNTED: Final = "uncounted"
"""Reason for metrics: a connection that does not count came while no backend was ready."""
HELD_BYTES: Final = 1024
"""What a held connection counts for in memory, beside the bytes that it has sent."""
GREETING_SECONDS: Final = 10.0
"""Time for a backend to say whether it speaks TLS, where that is asked inside its protocol."""
HALF_CLOSED_SECONDS: Final = 300.0
"""How long the open side of a connection may be silent after the other has closed its sending side. Bytes renew it."""
DECISION_SECONDS: Final = 1.0
"""How long first bytes that may still fit a pattern are waited for: then the connection counts."""
_BULK: Final = 512 * 1024
"""Bytes that are moved inside the kernel at once."""
RELAY_SECONDS: Final = 1.0
"""After so long without a byte, a connection goes on without transports of the event loop, until something else than a small read
comes."""
SWITCHED: Final = Response(101, 0)


class RelayedClient(Protocol):
    """A client's connection whose tunnel may do without transports of the event loop."""

    encrypted: bool

    def relay_with(self, connection: Upstream, tunnel: StreamTunnel) -> bool:
        """Go on without, if that is possible now. Returns whether."""

    def end_relay(self) -> None:
        """Have transports again, if it has none."""


class Passing(Protocol):
    """A connection that another one may pass small reads on to, past the tunnel."""

    def pass_on(self, data: memoryview) -> bool:
        """Send a few bytes now. Returns False, without having sent any, if that is not possible."""


class AskedBackend(Protocol):
    """A connection to a backend that is asked whether it is worth to count for."""

    def has_ended(self) -> bool:
        """Whether the backend has closed its sending side, or the connection, read or not."""


class StreamHead(Request, gc=False, eq=False, kw_only=True):
    """What is known of a connection before its first byte."""

    held: int = 0
    """Bytes of the client that are kept until there is a backend."""
    preamble: bytes = b""
    """What the backend gets before the client's bytes: the header of the PROXY protocol."""
    asks_tls: bytes = b""
    """Sent after that, where the protocol asks for TLS in its own form; the backend has to answer before the client's bytes."""

    @property
    def size(self) -> int:
        return HELD_BYTES + self.held

    @property
    def is_for_another(self) -> bool:
        return False


class StreamExchange(Exchange):
    """One connection, until it is a tunnel."""

    __slots__ = ("counted", "patterns")

    def __init__(
        self,
        host: ExchangeHost,
        client: Downstream,
        head: StreamHead,
        app: App,
        *,
        counted: bool,
        patterns: Sequence[tuple[bytes, ...]] | None,
    ) -> None:
        """One that is not `counted` may come to be so by its first bytes, unless `patterns` is None."""
        super().__init__(host, client, head)
        self.app = app
        self.counted = counted
        self.patterns = patterns

    def begin(self) -> None:
        now, app = self.host.clock(), self.app
        self.started, self.limits = now, app.limits
        if app.removed:
            self._refuse(app.removal(), now)
        elif app.main.route.maintenance is not None:
            self._refuse(Unavailable(f"application {app.name} is in maintenance", reason="maintenance"), now)
        elif not self.counted:
            self._begin_uncounted(now)
        else:
            endpoint = None if app.room else app.endpoints.choose()
            busy = endpoint is None or endpoint.load >= app.ceiling or endpoint.dialing >= MAX_DIALS
            if endpoint is None or busy or self._total() >= app.max_requests:
                self.waiting.begin(now)
            else:
                self.lease = app.entry.acquire(now)
                self.go(endpoint, now)

    def _begin_uncounted(self, now: float) -> None:
        app = self.app
        endpoint = None if app.room else app.endpoints.find(app.ceiling)
        if endpoint is None or self._total() >= app.max_requests:
            self._refuse(_asleep(app), now)
            return
        self.lease = app.main.uncounted_entry().acquire(now)
        self.go(endpoint, now)

    def _total(self) -> int:
        uncounted = self.app.main.uncounted
        return self.app.entry.in_flight + (0 if uncounted is None else uncounted.in_flight)

    def follow_again(self, now: float) -> bool:
        """Nothing of a connection depends on the rules of its route."""
        return True

    def go(self, endpoint: Endpoint, now: float) -> None:
        StreamAttempt(self, endpoint).dial(now)

    def find_again(self, lost: Endpoint, now: float) -> None:
        if not self.counted and not self.app.endpoints.ready:
            self.fail(_asleep(self.app))
        else:
            super().find_again(lost, now)

    def grew(self, size: int) -> None:
        """More bytes of the client are kept, `size` in all."""
        assert isinstance(self.head, StreamHead)  # noqa: S101
        self.head.held = size
        if self.phase == WAITING and self.wait is not None:
            self.app.room.resize(self.wait, self.kept_bytes)

    def _refuse(self, error: ExchangeError, now: float) -> None:
        """End one that is not counted yet."""
        self.phase = DONE
        self.app.stats.timeless(self.method, error.status)
        self._reply(text_reply(error), now, reason=error.reason)

    def _reply(self, reply: Reply, now: float, *, reason: str) -> None:
        self.app.stats.own[reason, reply.status] += 1
        self.client.reply(reply, method=self.method, now=now)


def _asleep(app: App) -> Unavailable:
    return Unavailable(f"application {app.name} sleeps, and the connection does not wake it", reason=UNCOUNTED)


class StreamAttempt(Attempt):
    """One attempt to reach one backend."""

    __slots__ = ()

    def send(self, connection: Upstream, now: float) -> None:
        exchange = self.exchange
        head = exchange.head
        assert isinstance(head, StreamHead)  # noqa: S101
        if exchange.record is not None:
            dialed = exchange.phase == DIALING
            exchange.record.note_sent(exchange.app, now, started=exchange.started, dialed=dialed, again=exchange.attempts > 0)
        self.connection = connection
        exchange.phase = SENT
        if head.asks_tls:
            exchange.limit(now, GREETING_SECONDS)
        connection.send_request(self, head, None, end=True, peer=self.client.peer, trusted=False)

    def on_switched(self, head: Response, data: bytes) -> None:
        exchange, connection = self.exchange, self.connection
        assert isinstance(exchange, StreamExchange)  # noqa: S101
        assert connection is not None  # noqa: S101
        exchange.phase = DONE
        exchange.attempt = self.connection = None
        StreamTunnel(exchange, exchange.lease).open_stream(self.slot, connection)


class StreamTunnel(Tunnel):
    """A tunnel whose connection may stop counting while it is silent, and count again."""

    __slots__ = (
        "_counts", "_first", "_opened", "_patterns", "_relayed", "_rest", "clock", "looks", "to_backend", "to_client",
        "touched",
    )  # fmt: skip

    def __init__(self, exchange: StreamExchange, lease: Lease) -> None:
        super().__init__(exchange.host, exchange.client, exchange.app, lease, exchange.method)
        self._counts = exchange.counted
        """Whether it counts now."""
        self._patterns = None if exchange.counted else exchange.patterns
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
        self._rest = (
            math.inf
            if port is None or port.idle is None or not (exchange.counted or exchange.patterns is not None)
            else port.idle
        )
        """Seconds of silence after which it does not count."""
        self.looks = False
        """While it does not count, and its client's next byte changes that. Never once its backend has ended."""
        self._relayed: bool | None = False
        """Whether its connections are without transports; None if they never can be."""

    def open_stream(self, slot: Slot, connection: Upstream) -> None:
        client, now = self._client, self._host.clock()
        self._slot, self._connection = slot, connection
        if cast("RelayedClient", client).encrypted:
            self._relayed = None
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
        self.to_backend = cast("Passing | None", self._connection) if self._counts else None
        self.to_client = cast("Passing", self._client)
        self.looks = not self._counts and self._rest != math.inf and self._patterns is None

    def on_client_data(self, data: memoryview) -> None:
        if self._connection is not None and not self._ends & CLIENT_SIDE:
            if self._patterns is not None:
                self._weigh(data, self._host.clock())
            self._connection.write_through(data)
            self._client_said()

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
        self._relayed = False
        if self._connection is not None and not self._ends and not self._wound_down:
            self._look_again(self._host.clock())

    def wind_down(self, now: float, seconds: float) -> None:
        cast("RelayedClient", self._client).end_relay()
        super().wind_down(now, seconds)

    def _relay(self) -> None:
        if self._connection is not None:
            self._relayed = cast("RelayedClient", self._client).relay_with(self._connection, self)

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
            if self._relayed is False and self._patterns is None and not self._ends and quiet >= RELAY_SECONDS:
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
