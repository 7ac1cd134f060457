"""A connection of a client that speaks HTTP/2: opens an exchange for each stream."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final, cast

from interceptor.core.deadlines import HORIZON, NEVER
from interceptor.core.errors import BadRequest, ExchangeError
from interceptor.core.messages import HTTP, HTTPS
from interceptor.core.replies import text_reply
from interceptor.http2.connection import SessionConnection
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import NO_ERROR
from interceptor.http2.core.header_rules import Head
from interceptor.http2.core.stream import Stream
from interceptor.http2.downstream import StreamClient
from interceptor.http2.heads import final_reply, read_kind, read_request
from interceptor.http2.host import ClientHost
from interceptor.transport.peers import client_address
from interceptor.transport.tls import OverTls

__all__ = ["Http2Client", "TlsHttp2Client", "take_over"]

CONFIG: Final = Config(connect=True)
MAX_DUE: Final = 32
"""Streams of one connection that are told at once that their deadline has passed; others are when the deadlines are checked next.
Each causes a response."""


class Http2Client(SessionConnection):
    """Speaks HTTP/2 with one client."""

    scheme: ClassVar[bytes] = HTTP
    """Of its requests."""

    __slots__ = (
        "_host", "_source", "clock", "deadlines", "linger", "open_exchange", "peer", "requests", "since", "trusted",
    )  # fmt: skip

    protocol = "HTTP/2"

    def __init__(self, host: ClientHost, source: str = "") -> None:
        """`source` is the client's address, if a load balancer has sent it; the connection's own peer is then the balancer."""
        super().__init__(host.outbox, host.clock, CONFIG, client=False, deadline=0.0)
        self._host = host
        self._source = source
        self.clock = host.clock
        self.deadlines = host.deadlines
        self.open_exchange = host.open_exchange
        self.linger = host.keep_alive_timeout
        self.peer = b""
        self.trusted = False
        self.since = 0.0
        self.requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = client_address(transport, self._source)
        self.peer = address.encode()
        self.trusted = self._host.proxies.trusts(address)
        self.since = self.clock()
        self.deadline = self.since + self._host.head_timeout
        self.deadlines.watch(self)
        self._host.client_opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.session.lost()
        self.deadline = NEVER
        self.deadlines.forget(self)
        self._host.client_closed(self)

    # -- events of the session ------------------------------------------------------------------------------------

    def on_request(self, stream: Stream, head: Head, *, end: bool, data: bytes | memoryview = b"") -> None:
        self.requests += 1
        client = stream.sink = StreamClient(self, stream)
        try:
            request = read_request(head, end=end, scheme=self.scheme, deadline=stream.deadline)
        except BadRequest as error:
            client.kind = read_kind(head)
            self._host.refused(error)
            client.reply(text_reply(error), method=head.method, now=self.clock())
            return
        client.kind = request.kind
        if request.hops == 0:
            self._host.refused(ExchangeError("not to be forwarded any further", status=200, reason="max_forwards"))
            client.reply(final_reply(request), method=request.method, now=self.clock())
            return
        client.begin(request, data)
        if self._host.sheds:
            self._shed()

    def on_stream_closed(self, stream: Stream) -> None:
        host, session = self._host, self.session
        if not session.streams:
            self.deadline = self.clock() + host.keep_alive_timeout
            if not self.bucket or host.keep_alive_timeout < HORIZON:
                self.deadlines.watch(self)
        if host.sheds:
            self._shed()
        if session.going_away and session.drained:
            self.on_output()

    def _shed(self) -> None:
        """There shall be fewer connections: have the client go elsewhere with its next requests."""
        if not self.session.going_away:
            self.session.shutdown()

    # -- Client ---------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return self.session.ready and not self.session.streams and not self.congested

    @property
    def activity(self) -> str:
        """What it is doing, for people."""
        if self.session.streams:
            return f"{len(self.session.streams)} streams"
        return "idle" if self.idle else "closing" if self.session.ready else "head"

    @property
    def begun(self) -> bool:
        """The preface is on its way."""
        return not self.session.ready

    def close_if_idle(self) -> bool:
        if self.has_input():
            return False
        self.session.close(NO_ERROR)
        self.write_output()
        self.close()
        return True

    def evict(self) -> None:
        self.abort()

    def wind_down(self, now: float, seconds: float) -> None:
        self.session.shutdown()
        for client in self._clients():
            client.wind_down(now, seconds)

    def check_at(self, deadline: float) -> None:
        self.deadline = deadline
        self.deadlines.watch(self)

    def _clients(self) -> list[StreamClient]:
        """One of each open stream: the user that `on_request` gave it."""
        return [cast("StreamClient", stream.sink) for stream in self.session.streams.values()]

    def _check_streams(self, now: float) -> None:
        """Call the streams whose deadline has passed, some of them now. The connection is checked again when the next one is
        due."""
        soonest, due = now + self._host.keep_alive_timeout, 0
        for client in self._clients():
            if client.deadline <= now and due < MAX_DUE:
                due += 1
                client.on_deadline(now)
            soonest = min(soonest, client.deadline)
        if self.session.streams:
            self.check_at(soonest)

    def on_deadline(self, now: float) -> None:
        if self.session.streams:
            self._check_streams(now)
        elif self.congested or not self.session.ready:
            self.abort()
        elif not self.close_if_idle():
            self.deadline = now
            self.deadlines.watch(self)


class TlsHttp2Client(OverTls, Http2Client):
    """Speaks HTTP/2 with one client over TLS."""

    __slots__ = ()
    scheme: ClassVar[bytes] = HTTPS

    @property
    def idle(self) -> bool:
        return super().idle and not self.is_closing()


def take_over(host: ClientHost, transport: asyncio.Transport, data: bytes, source: str = "") -> None:
    """Go on with a connection whose client speaks HTTP/2, as its first bytes say, which are all that was read, or as was agreed
    during the TLS handshake."""
    encrypted = transport.get_extra_info("sslcontext") is not None
    client = TlsHttp2Client(host, source) if encrypted else Http2Client(host, source)
    transport.set_protocol(client)
    client.connection_made(transport)
    if data:
        client.take(data)
