"""Opens HTTP/2 connections to backends that are known to speak it (prior knowledge, RFC 9113 3.3).

A connection carries many requests, so requests for a backend to which one is being opened wait for that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from interceptor.core.sides import Place
from interceptor.http2.backend import Http2Backend
from interceptor.http2.heads import ProbeRequest
from interceptor.http2.place import StreamPlace
from interceptor.transport.tcp import Outbox

__all__ = ["Http2Dialer"]


class _Opening:
    """A connection that is being opened."""

    __slots__ = ("_task", "_waiting")

    def __init__(self, task: asyncio.Task[Http2Backend]) -> None:
        self._task = task
        self._waiting = 0

    async def connection(self) -> Http2Backend:
        """Wait until it is open. Raises OSError. When the last waiting request is cancelled, the connection is closed."""
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._waiting == 1 and not self._task.cancel() and not self._task.cancelled() and self._task.exception() is None:
                self._task.result().end_if_unused()
            raise
        finally:
            self._waiting -= 1


class Http2Dialer:
    """Opens at most one connection to each backend at a time."""

    def __init__(self, outbox: Outbox, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._opening: dict[Place, _Opening] = {}

    async def connect(self, endpoint: Place) -> StreamPlace:
        """Return a place of a new connection. Raises OSError.

        Requests that come while a connection is being opened get places of that one, if the backend allows so many streams.
        They wait for its SETTINGS, which say how many; the request for which the connection was opened does not.
        """
        while True:
            opening = self._opening.get(endpoint)
            if opening is None:
                return (await self._begin(endpoint).connection()).place()
            connection = await opening.connection()
            await connection.settled()
            if connection.session.available > 0:
                return connection.place()

    def _begin(self, endpoint: Place) -> _Opening:
        task = asyncio.get_running_loop().create_task(self._open(endpoint), name=f"dial {endpoint.address}")
        task.add_done_callback(lambda _: self._opening.pop(endpoint, None))
        opening = self._opening[endpoint] = _Opening(task)
        return opening

    async def _open(self, endpoint: Place) -> Http2Backend:
        backend, loop = endpoint.backend, asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Http2Backend(endpoint, self._outbox, self._clock), backend.host, backend.port
        )
        return connection

    def probe(self, endpoint: Place, path: str) -> ProbeRequest:
        """A GET request of our own, without any field of a client."""
        target = path.encode()
        return ProbeRequest(b"GET", target, target, endpoint.authority)
