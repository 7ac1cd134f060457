"""A TCP connection from its application to its end: it is counted or not, it waits for a backend, and becomes a tunnel.

An exchange in which nothing is asked and nothing is answered: waiting, choice, dials, limits and drain are those of requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interceptor.backends.endpoint import MAX_DIALS
from interceptor.core.errors import ExchangeError, Unavailable
from interceptor.core.messages import Request, Response
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import Downstream, Upstream
from interceptor.exchange.attempt import Attempt
from interceptor.exchange.exchange import Exchange
from interceptor.exchange.life import ExchangeHost
from interceptor.exchange.phases import DIALING, DONE, SENT, WAITING
from interceptor.exchange.stream_tunnel import StreamTunnel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint

__all__ = ["METHOD", "UNCOUNTED", "StreamExchange", "StreamHead"]

METHOD: Final = b"TCP"
"""What metrics have in place of a method."""
UNCOUNTED: Final = "uncounted"
"""Reason for metrics: a connection that does not count came while no backend was ready."""
HELD_BYTES: Final = 1024
"""What a held connection counts for in memory, beside the bytes that it has sent."""
GREETING_SECONDS: Final = 10.0
"""Time for a backend to say whether it speaks TLS, where that is asked inside its protocol."""


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
        tunnel = StreamTunnel(exchange, exchange.lease, counted=exchange.counted, patterns=exchange.patterns)
        tunnel.open_stream(self.slot, connection)
