"""A place at a backend of HTTP/2: the upstream of one exchange at a time, on a stream of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

from interceptor.core.deadlines import FLUSH_SECONDS, NEVER
from interceptor.core.errors import BackendError, BadResponse, ExchangeError, SpeaksAnother
from interceptor.core.grpc import CANCELLED, GRPC, INTERNAL, RESOURCE_EXHAUSTED, kind_of_fields
from interceptor.core.messages import Field, Fields, Request
from interceptor.core.sides import Place, ResponseEvents, UpstreamTunnelEvents
from interceptor.grpcweb.call import WebCall
from interceptor.http2.core.frames import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
)
from interceptor.http2.core.header_rules import Head
from interceptor.http2.framed_body import FramedBody
from interceptor.http2.heads import StreamRequest, read_response
from interceptor.http2.sending import SendingHost, SendingPlace
from interceptor.http2.websocket import Switch

__all__ = ["PlaceHost", "StreamPlace"]

_RPC_STATUSES: Final = {
    NO_ERROR: INTERNAL, PROTOCOL_ERROR: INTERNAL, INTERNAL_ERROR: INTERNAL, FLOW_CONTROL_ERROR: INTERNAL,
    FRAME_SIZE_ERROR: INTERNAL, CANCEL: CANCELLED, COMPRESSION_ERROR: INTERNAL, ENHANCE_YOUR_CALM: RESOURCE_EXHAUSTED,
}  # fmt: skip
"""What a reset by a backend means to its gRPC client (gRPC over HTTP2, "Errors")."""
_EXPECTS: Final = ((b"expect", b"100-continue"),)


class PlaceHost(SendingHost, Protocol):
    """The connection that a place is on."""

    endpoint: Place
    scheme: ClassVar[bytes]
    """Of its requests."""
    next_ping: float
    """When the next PING may be sent: after a response, at once."""
    broken: bool
    """Whether the backend has broken a rule of HTTP/2, or uses another protocol."""
    gone: bool
    """Whether the connection was lost, by nothing that the backend said."""
    why: str
    """Why the connection has ended, if it is known."""

    def is_closing(self) -> bool: ...
    def taken(self, place: StreamPlace) -> None:
        """An exchange uses the place: offer another one if the backend allows one more stream."""

    def released(self, place: StreamPlace) -> None:
        """The place is idle again."""

    def waits(self, place: StreamPlace) -> None:
        """The place's request depends on the backend's SETTINGS, which have not been received."""

    def left(self, place: StreamPlace) -> None:
        """The place is no longer used."""


class StreamPlace(SendingPlace):
    """An upstream. Between exchanges it is idle, in the pool."""

    __slots__ = ("_method", "_switch", "_waits", "endpoint", "personal")

    _connection: PlaceHost

    def __init__(self, connection: PlaceHost) -> None:
        super().__init__(connection)
        self.endpoint = connection.endpoint
        self._method = b""
        self._switch: Switch | None = None
        """The WebSocket that the request asks for."""
        self._waits: Fields = ()
        """The fields of a request that has to wait for the backend's SETTINGS."""
        self.personal = False

    reports_unprocessed = True

    # -- Upstream ---------------------------------------------------------------------------------------------------

    def send_request(
        self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, end: bool, peer: bytes, trusted: bool
    ) -> None:
        connection = self._connection
        session = connection.session
        self._sink, self._method, self.deadline = sink, head.method, NEVER
        if session.available <= 0:
            asyncio.get_running_loop().call_soon(self._refused, sink)
            return
        if isinstance(head, StreamRequest) and (lasting := head.for_stream(connection.scheme, peer, trusted=trusted)) is not None:
            self._web = None
            self._send_known(sink, head, lasting, body, end=end)
            return
        regular, self._web = _regular(head, peer, trusted=trusted)
        authority = head.host or self.endpoint.authority
        if head.upgrade is not None and (switch := Switch.asked_by(head, regular)) is not None:
            self._ask_for(switch, switch.request(head, connection.scheme, authority, regular))
            return
        fields = (
            (b":method", head.method),
            (b":scheme", connection.scheme),
            (b":path", head.target),
            (b":authority", authority),
            *regular,
            *(_EXPECTS if head.expects_continue else ()),
        )
        reader = head.body_reader()
        if reader is not None:
            self._framed = FramedBody(reader, connection.backlog, self._send, self._finish)
        whole = end and not body
        self._stream = session.request(self, fields, end=whole, bodiless=head.method == b"HEAD")
        for at, part in enumerate(body or ()):
            if self._framed is None:
                self._send(part)
            else:
                self._framed.add(part, later=at > 0)
        if end and not whole:
            self.send_end(())
        connection.taken(self)

    def _send_known(
        self, sink: ResponseEvents, head: Request, lasting: tuple[Fields, bytes], body: list[bytes] | None, *, end: bool
    ) -> None:
        """Send a request whose fields are the same each time, but for its deadline."""
        connection, (fields, deadline) = self._connection, lasting
        session, bodiless = connection.session, head.method == b"HEAD"
        if body and end:
            stream = self._stream = session.request(self, fields, bodiless=bodiless, deadline=deadline, data=b"".join(body))
            if stream.congested and self.becomes_congested(stream):
                sink.pause_body()
        else:
            self._stream = session.request(self, fields, end=end, bodiless=bodiless, deadline=deadline)
            for part in body or ():
                self._send(part)
        connection.taken(self)

    def _ask_for(self, switch: Switch, fields: Fields) -> None:
        """Whether the backend knows extended CONNECT is in its SETTINGS."""
        connection = self._connection
        self._switch, self._waits = switch, fields
        if connection.session.ready:
            asyncio.get_running_loop().call_soon(self.go_on)
        else:
            connection.waits(self)
            connection.taken(self)

    def go_on(self) -> None:
        """The backend's SETTINGS are known: ask for the WebSocket."""
        connection, fields = self._connection, self._waits
        self._waits = ()
        if not fields or self._sink is None:
            return
        if not connection.session.peer.connect:
            self._lost(BadResponse("the backend speaks HTTP/2, and takes no WebSockets over it (RFC 8441)"))
        elif connection.session.available <= 0:
            self._lost(BackendError("the backend takes no more streams", unprocessed=True))
        else:
            self._stream = connection.session.request(self, fields)
            connection.taken(self)

    def _refused(self, sink: ResponseEvents) -> None:
        if self._sink is sink and self._stream is None:
            session = self._connection.session
            if session.ready or not session.closed:
                self._lost(BackendError("the backend takes no more streams", unprocessed=True))
            else:
                self._lost(self._unspoken(silent=not self._connection.broken, unprocessed=True))

    def ending(self, status: Fields) -> bytes:
        return b"" if self._web is None else self._web.ending(status)

    def release(self) -> None:
        self._paused = False
        if self._unconsumed:
            self.give_back()
        framed, stream = self._framed, self._stream
        unsent = self._switch is not None
        if framed is not None:
            unsent = unsent or not framed.ended
            self._leave_body()
        self._sink = self._stream = self._switch = None
        if unsent and stream is not None and not stream.closed:
            self._connection.session.reset(stream, CANCEL)  # it was answered before all of the request was sent
        self._connection.released(self)

    def has_input(self) -> bool:
        session = self._connection.session
        return session.closed or session.going_away or self._connection.is_closing()

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        self._tunnel = tunnel

    def close_after_flush(self, now: float) -> None:
        stream, self._tunnel = self._stream, None
        if stream is None or stream.closed or not stream.queued:
            self.abort()
            return
        self.deadline = now + FLUSH_SECONDS
        self.endpoint.owner.deadlines.watch(self)

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Give the place up, and reset its stream if that is not over. The other streams go on."""
        self.give_back()
        self._leave_body()
        stream, self._stream = self._stream, None
        self._sink = self._tunnel = self._switch = None
        if stream is not None and not stream.closed:
            self._connection.session.reset(stream, CANCEL)
        self.deadline = NEVER
        self.endpoint.owner.deadlines.forget(self)
        self._connection.left(self)

    def on_deadline(self, now: float) -> None:
        """It has been idle for too long, or the time limit of `close_after_flush` has passed."""
        self.deadline = NEVER
        self.endpoint.withdraw(self)
        self.abort()

    # -- events of the session ------------------------------------------------------------------------------------

    def on_headers(self, head: Head, *, end: bool) -> None:
        sink = self._sink
        if sink is None:
            return
        self._connection.next_ping = 0.0
        response = read_response(head, self._method, end=end)
        if response.status < 200:
            sink.on_interim(response)
            return
        switched = None if self._switch is None else self._switch.response(response)
        if switched is not None:
            self._sink = None
            sink.on_switched(switched, b"")
            if end and self._tunnel is not None:
                self._tunnel.on_tunnel_end()
            return
        if self._web is None:
            sink.on_answer(response, b"", complete=end, reusable=end)
        else:
            translated, data = self._web.head(response, end=end)
            sink.on_answer(translated, data, complete=end, reusable=end)

    def on_message(self, head: Head, data: bytes | memoryview, trailers: Fields) -> None:
        sink = self._sink
        if sink is None or self._web is not None or self._switch is not None or self._tunnel is not None:
            self.on_headers(head, end=False)
            self.on_data(data, end=not trailers)
            if trailers:
                self.on_trailers(trailers)
            return
        self._connection.next_ping = 0.0
        response = read_response(head, self._method, end=False)
        sink.on_answer(response, data, complete=True, reusable=True, trailers=trailers)

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        sink, stream = self._sink, self._stream
        size = len(data)
        if self._tunnel is not None:
            self._on_tunnel_data(self._tunnel, data, end=end)
            return
        if sink is None or stream is None:
            return
        if size:
            sink.on_answer_data(data if self._web is None else self._web.data(data))
        self.passed_on(size)
        if end and self._sink is sink:
            self._end(sink, ())

    def _on_tunnel_data(self, tunnel: UpstreamTunnelEvents, data: bytes | memoryview, *, end: bool) -> None:
        if data:
            tunnel.on_tunnel_data(memoryview(data))
        self.passed_on(len(data))
        if end and self._tunnel is tunnel:
            tunnel.on_tunnel_end()

    def on_trailers(self, fields: Fields) -> None:
        sink = self._sink
        if self._tunnel is not None:
            self._tunnel.on_tunnel_end()
        elif sink is not None:
            self._end(sink, fields)

    def _end(self, sink: ResponseEvents, trailers: Fields) -> None:
        """The response is complete."""
        if self._web is not None:
            last, trailers = self._web.tail(trailers)
            if last:
                sink.on_answer_data(last)
        if self._sink is sink:  # the client may have gone with the last of the content
            sink.on_answer_end(reusable=True, trailers=trailers)

    def on_reset(self, code: int, *, unprocessed: bool) -> None:
        session = self._connection.session
        if session.ready:
            gone = self._connection.gone
            usual = "the connection to the backend was lost" if gone else f"the backend reset the stream (code {code})"
            why = self._connection.why or usual
            error = BackendError(why, unprocessed=unprocessed, declined=not unprocessed and not session.closed)
            if not gone:  # else the usual status of a backend that failed: the call may be tried again
                error.rpc_status = _RPC_STATUSES.get(code)
            self._lost(error)
        else:
            self._lost(self._unspoken(silent=code == INTERNAL_ERROR, unprocessed=unprocessed))

    def _unspoken(self, *, silent: bool, unprocessed: bool) -> ExchangeError:
        """The connection has ended before a byte of HTTP/2 came; `silent`: before any byte."""
        word = self.endpoint.owner.connects.app_protocol or self.endpoint.backend.app_protocol
        said = f"although its appProtocol ({word}) is HTTP/2"
        if silent:
            return BackendError(f"the backend closed the connection and said nothing, {said}", unprocessed=unprocessed)
        return SpeaksAnother(f"the backend does not speak HTTP/2, {said}")

    def _lost(self, error: Exception) -> None:
        self.give_back()
        self._leave_body()
        receiver = self._sink or self._tunnel
        self._sink = self._stream = self._tunnel = self._switch = None
        self._connection.left(self)
        if receiver is not None:
            receiver.on_lost(error)

    def on_writable(self) -> None:
        self.congested = False
        if (receiver := self._sink or self._tunnel) is not None:
            receiver.resume_body()


def _regular(head: Request, peer: bytes, *, trusted: bool) -> tuple[Sequence[Field], WebCall | None]:
    """The fields for the backend. Those of a call of gRPC-Web are translated, and the call itself has to be as well."""
    regular: Sequence[Field]
    if isinstance(head, StreamRequest):
        regular, kind = head.forwarded(peer, trusted=trusted), head.kind
    else:
        regular = head.fields(peer, trusted=trusted)
        kind = kind_of_fields(regular)
    if kind <= GRPC:
        return regular, None
    web = WebCall(regular)
    return web.request_fields(regular), web
