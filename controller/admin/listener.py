"""HTTP connections of the Admin API: uvicorn's, with bounds on what a client may send before anybody has asked who it is."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["GuardedProtocol"]

MAX_HEAD = 65_536
"""Bytes of a request's line and fields. The longest tokens have a quarter of it."""
HEAD_SECONDS = 10.0
"""Seconds for a request's line and fields to arrive, from when the connection was made or the answer before was sent."""
READ_SECONDS = 30.0
"""Seconds for which a client may not read while there is more for it than the kernel and we keep."""


class GuardedProtocol(HttpToolsProtocol):
    """Ends a connection whose head is too long, or takes too long, and one that does not read its answer."""

    _head = 0
    """Bytes of the head so far; -1 while there is a whole one."""
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._is_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._is_read()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._is_read()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._head >= 0:
            self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._forget()
        self._head = -1
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._await_head()
        super().on_response_complete()

    def _await_head(self) -> None:
        self._forget()
        self._head = 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _is_read(self) -> None:
        timer, self._unread = self._unread, None
        if timer is not None:
            timer.cancel()
