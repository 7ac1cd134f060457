"""The part of a place at a backend of HTTP/2 that sends the body of a request."""

from __future__ import annotations

import asyncio
from typing import Protocol

from fleet.runtime.backlog import Backlog
from interceptor.core.errors import BadRequest
from interceptor.core.messages import Fields
from interceptor.core.sides import ResponseEvents, UpstreamTunnelEvents
from interceptor.grpcweb.call import WebCall
from interceptor.http2.core.frames import CANCEL
from interceptor.http2.core.session import Session
from interceptor.http2.core.stream import Stream
from interceptor.http2.framed_body import FramedBody
from interceptor.http2.side import StreamSide

__all__ = ["SendingHost", "SendingPlace"]


class SendingHost(Protocol):
    """The connection that a place is on, as far as sending uses it."""

    session: Session

    @property
    def backlog(self) -> Backlog: ...
    def now(self) -> float: ...


class SendingPlace(StreamSide):
    """The connection that it is on, the exchange or tunnel that has it, and the stream of that."""

    __slots__ = ("_connection", "_framed", "_sink", "_stream", "_tunnel", "_web")

    def __init__(self, connection: SendingHost) -> None:
        super().__init__()
        self._connection = connection
        self._sink: ResponseEvents | None = None
        self._tunnel: UpstreamTunnelEvents | None = None
        self._stream: Stream | None = None
        self._framed: FramedBody | None = None
        """The body of the request, if its framing has to be taken off."""
        self._web: WebCall | None = None
        """A call of gRPC-Web, which the backend gets as one of gRPC."""

    def now(self) -> float:
        return self._connection.now()

    def current(self) -> tuple[Session, Stream] | None:
        return None if self._stream is None else (self._connection.session, self._stream)

    def send_end(self, trailers: Fields) -> None:
        if self._framed is None:
            self._finish(trailers)
        else:
            self._framed.end()

    def write_through(self, data: bytes | memoryview) -> None:
        if self._framed is None:
            self._send(data)
        else:
            self._framed.add(bytes(data))

    def write(self, data: bytes) -> None:
        self.write_through(data)

    def write_eof(self) -> None:
        self.send_end(())

    def _send(self, data: bytes | memoryview) -> None:
        stream = self._stream
        if not data or stream is None:
            return
        if self._web is not None:
            try:
                data = self._web.content(data)
            except ValueError as error:
                self._break_off(error)
                return
        self._connection.session.send_data(stream, data)
        if self.becomes_congested(stream) and (receiver := self._sink or self._tunnel) is not None:
            receiver.pause_body()

    def _finish(self, trailers: Fields) -> None:
        web = self._web
        if web is not None:
            trailers = ()
            try:
                web.finish()
            except ValueError as error:
                self._break_off(error)
        if self._stream is not None:
            self._connection.session.send_trailers(self._stream, trailers)

    def _break_off(self, error: ValueError) -> None:
        """The content of the request cannot be translated: reset the stream. The exchange, which is sending now, is notified in
        the next turn of the event loop."""
        stream, sink, self._stream = self._stream, self._sink, None
        if stream is not None:
            self._connection.session.reset(stream, CANCEL)
        asyncio.get_running_loop().call_soon(self._broken, sink, error)

    def _broken(self, sink: ResponseEvents | None, error: ValueError) -> None:
        if sink is not None and self._sink is sink and self._stream is None:
            self._lost(BadRequest(f"malformed text of gRPC-Web: {error}", reason="framing"))

    def _leave_body(self) -> None:
        framed, self._framed = self._framed, None
        if framed is not None:
            framed.cancel()

    def _lost(self, error: Exception) -> None:
        """The stream has failed, before its end."""
        raise NotImplementedError
