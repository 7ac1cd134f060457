"""Connections to backends whose bytes are passed on as they are, and what opens them."""

from __future__ import annotations

import asyncio
from typing import Final

from interceptor.core.deadlines import FLUSH_SECONDS, NEVER
from interceptor.core.errors import BackendError, BadResponse
from interceptor.core.messages import Fields, Request
from interceptor.core.sides import Place, ResponseEvents, UpstreamTunnelEvents
from interceptor.exchange.stream import StreamHead
from interceptor.exchange.stream_tunnel import SWITCHED, StreamTunnel
from interceptor.transport.keepalive import keep_alive
from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, FULL_READ, Connection, Outbox

__all__ = ["StreamBackend", "StreamDialer"]

AGREES: Final = b"S"
"""PostgreSQL's answer to a request for TLS that is granted."""


class StreamBackend(Connection):
    """An upstream, used by one connection of a client and never kept."""

    __slots__ = ("_early", "_reset", "_sink", "_tunnel", "_view", "endpoint")

    personal = reports_unprocessed = False

    def __init__(self, endpoint: Place, outbox: Outbox) -> None:
        super().__init__(outbox, deadline=NEVER)
        self.endpoint = endpoint
        self._sink: ResponseEvents | None = None
        self._tunnel: StreamTunnel | None = None
        self._view = BODY_VIEW
        self._reset = False
        self._early = b""
        """What the server has said before the client's connection was there to take it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        keep_alive(transport)

    # -- called by an exchange ------------------------------------------------------------------------------------

    def send_request(
        self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, end: bool, peer: bytes, trusted: bool
    ) -> None:
        assert isinstance(head, StreamHead)  # noqa: S101
        self._sink = sink
        if head.preamble or head.asks_tls:
            self.write(head.preamble + head.asks_tls)
        if not head.asks_tls:
            sink.on_switched(SWITCHED, b"")

    def send_end(self, trailers: Fields) -> None:
        """There is no end but that of the connection."""

    def ending(self, status: Fields) -> bytes:
        return b""

    def release(self) -> None:
        """It is used once."""

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        assert isinstance(tunnel, StreamTunnel)  # noqa: S101 -- no other one has a connection of bytes to a backend
        self._sink, self._tunnel = None, tunnel
        early, self._early = self._early, b""
        if early:
            tunnel.on_tunnel_data(memoryview(early))
        self.resume_reading()

    def close(self) -> None:
        self._sink = self._tunnel = None
        super().close()

    def close_after_flush(self, now: float) -> None:
        self.close()
        if self.congested:
            self.deadline = now + FLUSH_SECONDS
            self.endpoint.owner.deadlines.watch(self)

    def abort(self) -> None:
        self._sink = self._tunnel = None
        if not self._transport.is_closing():
            self.reset_on_close(on=True)
        super().abort()

    def on_deadline(self, now: float) -> None:
        self.deadline = NEVER
        self.abort()

    # -- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            self._on_greeting(bytes(self._view[:nbytes]))
        elif self._view is BULK_VIEW:
            if tunnel.on_tunnel_bulk(self._view[:nbytes], self) <= 0:
                self._view = BODY_VIEW
        else:
            data = self._view[:nbytes]
            to = tunnel.to_client
            if to is not None and nbytes < MIN_SPLICED and to.pass_on(data):
                tunnel.touched = tunnel.clock()
                return
            tunnel.on_tunnel_data(data)
            if nbytes >= MIN_SPLICED:
                self._view = BULK_VIEW
                if nbytes >= FULL_READ:
                    self.fall_behind()

    def _on_greeting(self, data: bytes) -> None:
        """Bytes before the tunnel: a server that speaks first, or the answer to a request for TLS."""
        sink, self._sink = self._sink, None
        if sink is None:
            self._early += data
            self.pause_reading()
        elif data == AGREES and not self._early:
            sink.on_switched(SWITCHED, b"")
        else:
            self.abort()
            sink.on_lost(BadResponse("the backend does not speak TLS"))

    def eof_received(self) -> bool:
        if self._tunnel is None or self._reset:
            return False
        self._tunnel.on_tunnel_end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.owner.deadlines.forget(self)
        sink, self._sink, self._tunnel = self._sink or self._tunnel, None, None
        if sink is not None:
            sink.on_lost(exc or BackendError("the backend closed the connection"))

    def pause_writing(self) -> None:
        self.congested = True
        if (sink := self._sink or self._tunnel) is not None:
            sink.pause_body()

    def resume_writing(self) -> None:
        self.congested = False
        if (sink := self._sink or self._tunnel) is not None:
            sink.resume_body()

    def outlives(self, error: OSError) -> bool:
        """What the backend sent before it closed may still be unread."""
        if self._tunnel is None:
            return False
        self._reset = self._reset or isinstance(error, ConnectionResetError)
        return True


class StreamDialer:
    """Opens connections for bytes."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def connect(self, endpoint: Place) -> StreamBackend:
        """Return an open connection. Raises OSError."""
        backend, loop = endpoint.backend, asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: StreamBackend(endpoint, self._outbox), backend.host, backend.port)
        return connection

    def probe(self, endpoint: Place, path: str) -> Request:
        """Never called: ports have no readiness path."""
        raise NotImplementedError
