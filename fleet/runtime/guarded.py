"""HTTP connections of uvicorn, with bounds on what a client may send, and leave unread, before anybody has asked who it is.

For every HTTP server but the proxy. uvicorn itself bounds neither the fields of a request nor the requests that are sent without
waiting for answers, nor the connections that have asked for nothing yet.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["GuardedProtocol"]

MAX_GUARDED_HEAD: Final = 65_536
"""Bytes of a request's line and fields. The longest tokens have a quarter of it."""
GUARDED_HEAD_SECONDS: Final = 10.0
"""Seconds for a request's line and fields to arrive, from when the connection was made or the answer before was sent. So long
the rest of a body is dropped, too, that came with a request which was answered without it."""
READ_SECONDS: Final = 30.0
"""Seconds for which a client may not read while there is more for it than the kernel and we keep."""
MAX_PIPELINED: Final = 16
"""Requests that wait for the answers before theirs. Hardly any client sends a second one before it has the first answer."""


class _TooManyRequests(Exception):
    """Ends the parser's work on what has arrived already."""


class GuardedProtocol(HttpToolsProtocol):
    """Ends a connection whose head is too long, or takes too long, one on which too many requests wait, and one that does not
    read its answer. Connections beyond what the server takes are closed before they have asked for anything."""

    most_of_address: ClassVar[int] = 0
    """Connections from one address; 0 for as many as the server takes."""
    ends_unread: ClassVar[bool] = True
    """Whether a connection ends that does not read its answer."""
    times_body: ClassVar[bool] = False
    """Whether the time for a head is for the whole request. Where it is not, whoever reads the body has a limit."""
    _head = 0
    """Bytes that have brought nothing: since the end of the request before, or since the last bytes of a body."""
    _in_body = False
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether there is no request to answer."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._is_one_too_many():
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._is_read()
        self.pipeline.clear()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._is_read()
        if self.ends_unread:
            self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._is_read()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_GUARDED_HEAD and not self.transport.is_closing():
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are dropped: nobody reads them, and uvicorn would keep any number."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.times_body:
            self._forget()
        self._head, self._in_body = 0, True
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            raise _TooManyRequests
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head, self._in_body = 0, False
        if self.times_body:
            self._forget()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self._await_head()
        super().on_response_complete()

    def _is_one_too_many(self) -> bool:
        most = self.limit_concurrency
        # As many again are kept, as those hear that it is too much: 503.
        if most is not None and len(self.connections) > 2 * most:
            return True
        if not self.most_of_address or self.client is None:
            return False
        clients = [one.client for one in self.connections if isinstance(one, GuardedProtocol) and one.client is not None]
        return sum(client[0] == self.client[0] for client in clients) > self.most_of_address

    def _await_head(self) -> None:
        self._forget()
        self._timer = self.loop.call_later(GUARDED_HEAD_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _is_read(self) -> None:
        timer, self._unread = self._unread, None
        if timer is not None:
            timer.cancel()
