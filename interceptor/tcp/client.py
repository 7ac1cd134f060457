"""A client's connection at a TCP port: whose it is, whether it counts, and its bytes until there is a backend. Where the port
terminates TLS, this is the connection up to the ClientHello (`interceptor.tcp.over_tls` has the rest).

What the client sends first is kept within a bound, and goes on in order. Then the kernel holds back the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from fleet.routing.firstbytes import fits
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Fields, Response
from interceptor.core.replies import Reply
from interceptor.core.sides import ClientTunnelEvents, Upstream
from interceptor.exchange.stream import METHOD, UNCOUNTED, StreamExchange, StreamHead
from interceptor.exchange.stream_tunnel import DECISION_SECONDS, StreamTunnel
from interceptor.http1.states import ACTIVITIES, CLOSED, COMPLETE, CUT, DISCARD, HEAD, TUNNEL
from interceptor.proxy_protocol.writer import proxy_header
from interceptor.tcp.downstream import StreamDownstream
from interceptor.tcp.hello import HelloError, HelloReader
from interceptor.tcp.site import PortSite, StreamHost
from interceptor.transport.keepalive import keep_alive
from interceptor.transport.peers import client_address
from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, CHUNKS_VIEW, FULL_READ, HEAD_VIEW
from interceptor.uncounted import prepared

if TYPE_CHECKING:
    from fleet.routing.port import ListenPort
    from fleet.routing.port_index import PortOwner
    from interceptor.app.app import App

__all__ = ["EARLY_BYTES", "StreamClient"]

EARLY_BYTES: Final = 16 * 1024
"""Bytes of one client that are kept until there is a backend. A hello of TLS fits."""
SSL_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
GSS_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x30"
"""PostgreSQL's clients ask in its own form for TLS, or for encryption by GSSAPI, and wait for the answer: one letter."""
UNRECOGNIZED_NAME: Final = 112
NO_APPLICATION_PROTOCOL: Final = 120
"""Alerts of TLS (RFC 6066, RFC 7301)."""
INTERNAL_ERROR: Final = 80
"""The alert where no certificate can be had (RFC 8446 6.2)."""


class StreamClient(StreamDownstream):
    """A downstream whose exchange is a `StreamExchange`."""

    __slots__ = (
        "_answered_ssl", "_exchange", "_hello", "_part", "_site", "_source", "_stash", "half_closed", "own_backend", "peer",
        "since",
    )  # fmt: skip

    protocol, requests = METHOD.decode(), 1
    trusted = unframed = persists = False
    _tunnel: StreamTunnel | None

    def __init__(self, host: StreamHost, site: PortSite, source: str = "") -> None:
        """`source` is the client's address, if a load balancer has sent one."""
        super().__init__(host)
        self._site = site
        self._source = source
        self._exchange: StreamExchange | None = None
        self._part: App | None = None
        """Of the application, once it is known."""
        self._hello: HelloReader | None = None
        self._answered_ssl = False
        """Whether the client was told that there is TLS, in the form of PostgreSQL."""
        self._stash = b""
        self.half_closed = False
        self.own_backend: Upstream | None = None
        self.peer = b"unknown"
        self.since = 0.0

    # -- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = client_address(transport, self._source).encode()
        self.since = self._host.clock()
        self._host.client_opened(self)
        keep_alive(transport)
        self.meet()

    def meet(self) -> None:
        """Find out whose the connection is, at once or by its first bytes."""
        alone = self._site.routes.alone
        if alone is not None and not alone.port.terminates:
            self._owned(alone)
        else:
            self._hello = HelloReader()
            self.wait_for(self.since + self._host.head_timeout)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._tunnel is not None or self._state == DISCARD or self._state == CUT:  # noqa: PLR1714 -- quicker
            return self._view
        left = EARLY_BYTES - len(self._stash)
        if self._exchange is not None and self._part is not None:
            left = min(left, self._part.room.free_bytes)
        return HEAD_VIEW[: max(1, left)]

    def buffer_updated(self, nbytes: int) -> None:
        tunnel = self._tunnel
        if tunnel is not None:
            view = self._view
            if view is not BULK_VIEW:
                data = view[:nbytes]
                to = tunnel.to_backend
                if to is not None and nbytes < MIN_SPLICED and to.pass_on(data):
                    tunnel.touched = tunnel.clock()
                    return
                tunnel.on_client_data(data)
                if nbytes >= MIN_SPLICED:
                    self._view = BULK_VIEW
                    if nbytes >= FULL_READ:
                        self.fall_behind()
            elif tunnel.on_client_bulk(view[:nbytes], self) <= 0:
                self._view = BODY_VIEW
        elif self._state == HEAD or self._state == COMPLETE:  # noqa: PLR1714
            self._on_early(bytes(HEAD_VIEW[:nbytes]))
        elif nbytes == len(CHUNKS_VIEW):
            self.fall_behind()

    def eof_received(self) -> bool:
        """The client has closed its sending side. One that has said nothing has left; otherwise the backend is told."""
        if self._tunnel is not None:
            self._tunnel.on_client_end()
            return True
        if self._state == CUT:  # it is still to be reset
            return True
        if self._exchange is None or not self._stash:
            return False
        self.half_closed = True
        self._host.hangups.watch(self, half_closed=True)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self._host.deadlines.forget(self)
        self._host.hangups.forget(self)
        self._host.early.drop(self)
        self._host.client_closed(self)
        sink, self._exchange, self._tunnel = self._exchange or self._tunnel, None, None
        self._part = None
        if sink is not None:
            sink.on_client_lost()

    def pause_writing(self) -> None:
        self.congested = True
        if self._tunnel is not None:
            self._tunnel.pause_answer()

    def resume_writing(self) -> None:
        self.congested = False
        if self._tunnel is not None:
            self._tunnel.resume_answer()
        elif self._state == DISCARD:
            self._linger(self._host.clock())
        elif self._state == CUT:
            self._wait_to_reset(self._host.clock())

    def pause_reading(self) -> None:
        if not self._paused:
            super().pause_reading()
            if self._paused:
                self._host.hangups.watch(self, half_closed=self.half_closed)

    def on_hangup(self, *, gone: bool) -> None:
        """The client has reset the connection, or closed its sending side, while it is not read from."""
        if gone:
            if self._paused or self.half_closed:
                super().abort()
        elif self._paused:
            self._host.hangups.watch(self, half_closed=True)

    def outlives(self, error: OSError) -> bool:
        return False

    # -- whose it is, and whether it counts -----------------------------------------------------------------------

    def _on_early(self, data: bytes) -> None:
        stash = self._stash = self._stash + data
        if self._exchange is not None:
            self._exchange.grew(len(stash))
            if len(stash) >= EARLY_BYTES or (self._part is not None and self._part.room.free_bytes <= 0):
                self.pause_reading()
        elif self._hello is not None:
            self._host.early.keep(self, len(stash))
            if self._state == HEAD:
                self._on_hello(self._hello)
        elif self._part is not None:
            self._host.early.keep(self, len(stash))
            if self._state == HEAD:
                self._weigh(self._part)

    def _on_hello(self, hello: HelloReader) -> None:
        """Find the application by what the client of TLS says, or the default for what is no TLS."""
        stash = self._stash
        if len(stash) < len(SSL_REQUEST) and (SSL_REQUEST.startswith(stash) or GSS_REQUEST.startswith(stash)):
            return
        if stash.startswith((SSL_REQUEST, GSS_REQUEST)) and not self._answered_ssl:
            if len(stash) > len(SSL_REQUEST):  # it has to wait for the answer: bytes sent ahead may be somebody else's
                self.abort()
                return
            self._stash = b""
            self._answered_ssl = stash == SSL_REQUEST
            self.write(b"S" if self._answered_ssl else b"N")
            return
        try:
            hello.feed(stash)
        except HelloError as error:
            self._refuse_tls(error.alert, "bad_hello")
            return
        if not hello.done:
            return
        if self._answered_ssl and not hello.is_tls:
            self.abort()
            return
        owner = self._site.routes.find(hello.name, hello.alpn)
        if owner is not None and owner.port.terminates and hello.is_tls:
            self._terminate(owner)
        elif owner is not None and not owner.port.terminates:
            self._hello = None
            self._owned(owner, asks_tls=self._answered_ssl)
        elif hello.is_tls:
            known = self._site.routes.knows(hello.name)
            self._refuse_tls(NO_APPLICATION_PROTOCOL if known else UNRECOGNIZED_NAME, "no_server_name")
        else:
            reason = "no_server_name" if owner is None else "no_tls"
            self._host.refused(ExchangeError("no TLS", status=404, reason=reason))
            self.abort()

    def _terminate(self, owner: PortOwner) -> None:
        """The handshake follows, and this connection goes on as another one."""
        termination, stash = self._site.termination, self._stash
        if termination is None:
            self._refuse_tls(INTERNAL_ERROR, "no_certificate")
            return
        self.flush()
        self._state, self._stash = CLOSED, b""
        self._host.deadlines.forget(self)
        self._host.early.drop(self)
        self._host.client_closed(self)
        termination.take(self._transport, stash, site=self._site, source=self._source, owner=owner)

    def _refuse_tls(self, alert: int, reason: str) -> None:
        self._host.refused(ExchangeError("no application for this hello", status=404, reason=reason))
        self.write(bytes((21, 3, 1, 0, 2, 2, alert)))
        self._state = DISCARD
        self._linger(self._host.clock())

    def _owned(self, owner: PortOwner, *, asks_tls: bool = False) -> None:
        """The application is known."""
        self._answered_ssl = asks_tls
        app = self._host.apps.get(owner.app)
        part = None if app is None else app.port_parts.get(owner.port.place)
        if part is None or part.port is None:
            self.abort()
            return
        self._part = part
        uncounted = part.port.uncounted
        networks, patterns = prepared(uncounted)
        if networks is not None and networks.trusts(self.peer.decode()):
            self._begin(part, counted=False)
        elif not patterns and uncounted.silent is None:
            self._begin(part, counted=True)
        elif part.endpoints.ready and not part.room and not self._stash:
            self._begin(part, counted=False, patterns=patterns)
        elif self._stash:
            self._weigh(part)
        else:
            self.wait_for(self._host.clock() + (uncounted.silent or DECISION_SECONDS))

    def _weigh(self, part: App) -> None:
        """The client has said something, and it is to be seen whether the connection counts."""
        assert part.port is not None  # noqa: S101
        found = fits(prepared(part.port.uncounted)[1], self._stash)
        if found is None:
            self.wait_for(self._host.clock() + DECISION_SECONDS)
        else:
            self._begin(part, counted=not found)

    def _begin(self, part: App, *, counted: bool, patterns: Sequence[tuple[bytes, ...]] | None = None) -> None:
        host, port = self._host, cast("ListenPort", part.port)
        host.early.drop(self)
        head = StreamHead(METHOD, b"", b"", b"", held=len(self._stash), asks_tls=SSL_REQUEST if self._answered_ssl else b"")
        if port.proxy_protocol is not None:
            head.preamble = proxy_header(port.proxy_protocol, self._client_end(), _end(self._transport, "sockname"))
        self._state = COMPLETE
        exchange = self._exchange = StreamExchange(host, self, head, part, counted=counted, patterns=patterns)
        exchange.begin()

    def _client_end(self) -> tuple[str, int] | None:
        return (self._source, 0) if self._source else _end(self._transport, "peername")

    # -- Downstream -----------------------------------------------------------------------------------------------

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        early, self._stash = self._stash, b""
        assert isinstance(tunnel, StreamTunnel)  # noqa: S101 -- what a StreamExchange becomes
        self._exchange, self._tunnel, self._state, self._part = None, tunnel, TUNNEL, None
        self.resume_reading()
        return early

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        """Nothing can be said in an unknown protocol: a connection that is refused is reset, and one that does not count ends."""
        self._exchange = self._part = None
        if reply.reason == UNCOUNTED:
            self._state = DISCARD
            self._linger(now)
        else:
            self.abort()

    # -- Client ---------------------------------------------------------------------------------------------------

    @property
    def activity(self) -> str:
        return "tunnel" if self._tunnel is not None else "held" if self._exchange is not None else ACTIVITIES[self._state]

    @property
    def begun(self) -> bool:
        """Whether it is not known yet whose it is, or whether it counts."""
        return self._state == HEAD

    def evict(self) -> None:
        self.abort()

    def wind_down(self, now: float, seconds: float) -> None:
        if self._state == HEAD:
            self.abort()
        else:
            super().wind_down(now, seconds)

    def on_deadline(self, now: float) -> None:
        if (sink := self._exchange or self._tunnel) is not None:
            sink.on_deadline(now)
        elif self._state == CUT:
            self._wait_to_reset(now)
        elif self.congested:
            self._wait_for_reader(now)
        elif self._state != HEAD:
            self.close()
        elif self._part is not None and self._part.port is not None:
            self._decide_without_bytes(self._part, self._part.port)
        else:
            self._host.refused(ExchangeError("no hello in time", status=408, reason="slow_head"))
            self.abort()

    def _decide_without_bytes(self, part: App, port: ListenPort) -> None:
        """Nothing that decides has come in time: a connection that is silent does not count where that is said."""
        self._begin(part, counted=bool(self._stash) or port.uncounted.silent is None)

    def _drop_input(self) -> None:
        self._stash = b""


def _end(transport: asyncio.BaseTransport, name: str) -> tuple[str, int] | None:
    found = transport.get_extra_info(name)
    return (found[0], found[1]) if isinstance(found, tuple) and len(found) > 1 else None
