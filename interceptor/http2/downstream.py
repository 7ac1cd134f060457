"""A stream of a client's connection: the downstream of one exchange, and of the tunnel that it may become."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from interceptor.core.deadlines import NEVER
from interceptor.core.grpc import GRPC, NO_CALL, cut_fields, status_fields
from interceptor.core.messages import BODILESS, Field, Fields, Request, Response
from interceptor.core.replies import Reply
from interceptor.core.sides import ClientTunnelEvents, RequestEvents, Upstream
from interceptor.date import http_date
from interceptor.http2.core.frames import CANCEL, INTERNAL_ERROR, NO_ERROR
from interceptor.http2.core.session import Session
from interceptor.http2.core.states import CLOSED
from interceptor.http2.core.stream import Stream
from interceptor.http2.host import StreamHost
from interceptor.http2.side import StreamSide

__all__ = ["StreamClient"]

BAD_GATEWAY: Final = 502
_STATUS: Final = {status: (b":status", b"%d" % status) for status in range(100, 1000)}
_TRAILERS_ONLY: Final = (_STATUS[200], (b"content-type", b"application/grpc"))
"""A response of gRPC without a message (Trailers-Only)."""
_NOT_OVER_HTTP2: Final = frozenset({b"sec-websocket-accept", b"connection", b"upgrade"})


class StreamClient(StreamSide):
    """Lives until the stream is closed, which may be after the end of the exchange."""

    __slots__ = (
        "_early",
        "_ended",
        "_exchange",
        "_host",
        "_ignores_end",
        "_stream",
        "_switches",
        "_tunnel",
        "half_closed",
        "kind",
        "own_backend",
        "peer",
        "trusted",
    )  # fmt: skip

    unframed = True
    persists = False  # a stream carries one request; no backend is kept for its client

    def __init__(self, host: StreamHost, stream: Stream) -> None:
        super().__init__()
        self._host = host
        self._stream = stream
        self._exchange: RequestEvents | None = None
        self._tunnel: ClientTunnelEvents | None = None
        self._early = b""
        """Data of the requested protocol that arrived before the backend switched to it."""
        self._ended = False
        """Whether the end of the response (END_STREAM) was passed to the session."""
        self._ignores_end = False
        """Whether the request has no body, so that data on the stream belongs to the requested protocol."""
        self.kind = NO_CALL
        """Which kind of call of gRPC it is."""
        self._switches = False
        """Whether the request is an extended CONNECT (RFC 8441)."""
        self.half_closed = False
        self.own_backend: Upstream | None = None
        self.peer: bytes = host.peer
        self.trusted: bool = host.trusted

    @property
    def paused(self) -> bool:
        return self._paused

    def now(self) -> float:
        return self._host.clock()

    def current(self) -> tuple[Session, Stream]:
        return self._host.session, self._stream

    def begin(self, request: Request, data: bytes | memoryview = b"") -> None:
        """Open an exchange for the request, which may have come with all of its content."""
        self._ignores_end = request.length == 0
        self._switches = request.upgrade is not None
        exchange = self._exchange = self._host.open_exchange(self, request)
        if not data:
            exchange.begin()
        elif self._ignores_end:  # data of the requested protocol
            exchange.begin()
            self.on_data(data, end=True)
        else:
            exchange.on_body(data, complete=True)
            exchange.begin()

    # -- events of the session ------------------------------------------------------------------------------------

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        size = len(data)
        if self._tunnel is not None:
            if size:
                self._tunnel.on_client_data(memoryview(data))
            self.passed_on(size)
            if end and self._tunnel is not None:
                self._tunnel.on_client_end()
        elif self._exchange is None:
            self._host.session.consumed(self._stream, size)
            self._reset_or_linger()
        elif self._ignores_end:  # data of the requested protocol, before the switch
            self._early += bytes(data)
            self._unconsumed += size  # acknowledged once the tunnel is open
            self.half_closed = end
        else:
            self._exchange.on_body(data, complete=end)
            self.passed_on(size)

    def on_trailers(self, fields: Fields) -> None:
        if self._exchange is not None and not self._ignores_end:
            self._exchange.on_body(b"", complete=True, trailers=fields)
        elif self._tunnel is not None:
            self._tunnel.on_client_end()

    def on_reset(self, code: int, *, unprocessed: bool) -> None:
        exchange, tunnel = self._exchange, self._tunnel
        self._close()
        if exchange is not None:
            exchange.on_client_lost()
        elif tunnel is not None:
            tunnel.on_client_lost()

    def on_writable(self) -> None:
        self.congested = False
        if (sink := self._exchange or self._tunnel) is not None:
            sink.resume_answer()

    def wind_down(self, now: float, seconds: float) -> None:
        if self._tunnel is not None:
            self._tunnel.wind_down(now, seconds)

    def keep_deadline(self) -> None:
        if self.deadline < self._host.deadline:
            self._host.check_at(self.deadline)

    # -- Downstream -----------------------------------------------------------------------------------------------

    def on_deadline(self, now: float) -> None:
        if (sink := self._exchange or self._tunnel) is not None:
            sink.on_deadline(now)
        elif self._stream.queued < self._stuck_queued:
            self._linger(now)
        else:
            self.deadline = NEVER
            self._host.session.reset(self._stream, CANCEL)

    def send_interim(self, head: Response) -> None:
        self._host.session.send_headers(self._stream, (_STATUS[head.status], *head.fields()))

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool, trailers: Fields = ()) -> None:
        session, stream, composed = self._host.session, self._stream, head.composed
        if (
            composed is not None
            and composed[0] is fields
            and not self._switches
            and (not composed[1] or composed[1] == http_date())
        ):
            whole = composed[2]
        else:
            whole = self._compose(head, fields)
        self._ended = end
        if end and data:
            session.send_message(stream, whole, data, trailers)
            return
        session.send_headers(stream, whole, end=end and not trailers)
        if data:
            session.send_data(stream, data)
            self._look_for_congestion()
        if trailers:
            session.send_trailers(stream, trailers)

    def _compose(self, head: Response, added: Fields) -> Fields:
        """All fields of the head. They are kept with the response, unless they depend on this stream."""
        whole: Fields = (_status(head.status) if self._switches else _STATUS[head.status], *head.fields(), *_lowered(added))
        date = b"" if b"date" in dict(whole) else http_date()
        if date:
            whole += ((b"date", date),)
        if not self._switches:
            head.composed = (added, date, whole)
        return whole

    def write_through(self, data: bytes | memoryview) -> None:
        if data:
            self._host.session.send_data(self._stream, data)
            self._look_for_congestion()

    def _look_for_congestion(self) -> None:
        if self.becomes_congested(self._stream) and (sink := self._exchange or self._tunnel) is not None:
            sink.pause_answer()

    def send_trailers(self, trailers: Fields) -> None:
        self._ended = True
        self._host.session.send_trailers(self._stream, trailers)

    def exchange_done(self, now: float) -> None:
        self._exchange = None
        if not self._ended:
            self.write_eof()
        if self._stream.state == CLOSED and not self._unconsumed:  # as usual; `_finish` would do no more
            self._early, self.deadline = b"", NEVER
        else:
            self._finish()

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        session, stream = self._host.session, self._stream
        if self.kind == GRPC:
            session.send_headers(stream, (*_TRAILERS_ONLY, *status_fields(reply)), end=True)
        else:
            fields = tuple((name.lower(), value) for name, value in reply.fields)
            if reply.status not in BODILESS:
                fields += ((b"content-length", b"%d" % len(reply.body)),)
            body = b"" if method == b"HEAD" or reply.status in BODILESS else reply.body
            session.send_headers(
                stream, _dated((_status(reply.status) if self._switches else _STATUS[reply.status], *fields)), end=not body
            )
            if body:
                session.send_data(stream, body, end=True)
        self._ended = True
        self.exchange_done(now)

    def cut(self, reason: str, rpc_status: int | None) -> None:
        """End a response that has begun: with a status of gRPC if the client takes it, or else with a reset."""
        if self.kind == GRPC and not self._ended and not self._stream.queued:
            self.send_trailers(cut_fields(reason, rpc_status))
            self._finish()
        else:
            self.abort()

    def abort(self) -> None:
        """Reset the stream, so that a response that was cut short does not look complete."""
        self._close()
        self._host.session.reset(self._stream, INTERNAL_ERROR)

    def _finish(self) -> None:
        """The response is complete: stop a client that is still sending its request (RFC 9113 8.1)."""
        self._close()
        self._reset_or_linger()

    def _reset_or_linger(self) -> None:
        stream = self._stream
        if not stream.closed and not stream.queued:
            self._host.session.reset(stream, NO_ERROR)
        elif not stream.closed:
            self._linger(self.now())

    def _linger(self, now: float) -> None:
        """Part of the response is still queued: reset the stream if the client accepts none of it for `linger` seconds."""
        self._stuck_queued = self._stream.queued
        self.deadline = now + self._host.linger
        self.keep_deadline()

    def _close(self) -> None:
        """Detach the exchange or the tunnel: it gets no more events."""
        self._exchange = self._tunnel = None
        self._early = b""
        if self._unconsumed:
            self.give_back()
        self.deadline = NEVER

    # -- tunnels (RFC 8441) ---------------------------------------------------------------------------------------

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        """Answer 200, which RFC 8441 has in place of 101. Returns the data that the client sent early."""
        self._exchange, self._tunnel = None, tunnel
        early, self._early = self._early, b""
        kept = [field for field in head.fields() if field[0] not in _NOT_OVER_HTTP2]
        self._host.session.send_headers(self._stream, _dated((_STATUS[200], *kept, *_lowered(fields))))
        self._ignores_end = False
        self.resume_reading()
        self.write_through(data)
        return early

    def write_eof(self) -> None:
        if not self._ended:
            self._ended = True
            self._host.session.send_data(self._stream, b"", end=True)

    def leave_tunnel(self, *, patience: float) -> None:
        self.write_eof()
        self._finish()

    def cut_tunnel(self) -> None:
        self._close()
        self._host.session.reset(self._stream, CANCEL)


def _status(status: int) -> Field:
    """The field of a status after an extended CONNECT. There 2xx means that the protocol was switched (RFC 8441 5), so the
    response of a backend that has not switched becomes 502."""
    return _STATUS[BAD_GATEWAY if 200 <= status < 300 else status]


@lru_cache(maxsize=256)
def _lowered(fields: Fields) -> Fields:
    """Added fields, which are the same for most responses of an application."""
    return tuple((name.lower(), value) for name, value in fields)


def _dated(fields: Fields) -> Fields:
    """The fields with a Date: a recipient with a clock adds it to a response without one (RFC 9110 6.6.1)."""
    if any(name == b"date" for name, _ in fields):
        return fields
    return (*fields, (b"date", http_date()))
