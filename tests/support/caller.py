"""A client for many requests: one connection, one request at a time, and exact errors for requests that were not answered.

Fast, so that a test does not measure its own load. Understands only responses with a length, in chunks, or without a body.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import NamedTuple

__all__ = ["Caller", "Lost", "Reply"]

PATIENCE = 60.0
"""Seconds after which a missing response fails the test."""


class Lost(Exception):
    """No complete response was received."""

    def __init__(self, came: bytes, *, reused: bool) -> None:
        super().__init__(f"lost after {came[:200]!r}")
        self.came = came
        self.reused = reused
        """Whether the connection had been used before, so that the server may have closed it while it was idle."""


class Reply(NamedTuple):
    status: int
    head: bytes
    body: bytes
    seconds: float

    def field(self, name: bytes) -> bytes | None:
        """The value of a field; names compare without case."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Caller(asyncio.Protocol):
    """Connects when needed: for the first request, and after the connection was closed after a response."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, port
        self.connects = 0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._data = bytearray()
        self._need = 0
        self._bodiless = False
        self._sent = 0.0
        self._answers = 0

    async def ask(self, wire: bytes, *, head: bool = False) -> Reply:
        """Send a request and wait for the complete response. Raises Lost, or OSError if nobody listens."""
        if self._transport is None:
            await self._connect()
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._data.clear()
        self._need, self._bodiless = 0, head
        self._sent = perf_counter()
        self._transport.write(wire)
        async with asyncio.timeout(PATIENCE):
            return await self._waiter

    def leave(self, *, politely: bool = True) -> None:
        """Close the connection, also during a request; without sending buffered bytes unless `politely`."""
        transport, self._transport = self._transport, None
        if transport is not None:
            (transport.close if politely else transport.abort)()

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._data += data
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if len(self._data) < self._need:
            return
        end = self._data.find(b"\r\n\r\n") + 4
        if end < 4 or not self._whole(end):
            return
        head = bytes(self._data[:end])
        self._answers += 1
        if b"onnection: close" in head:
            self.leave()
        waiter.set_result(Reply(int(head[9:12]), head, bytes(self._data[end:]), perf_counter() - self._sent))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Lost(bytes(self._data), reused=self._answers > 0))

    def _whole(self, end: int) -> bool:
        if self._bodiless or bytes(self._data[9:12]) in (b"204", b"304"):
            return True
        head = bytes(self._data[:end]).lower()
        if b"\r\ntransfer-encoding: chunked" in head:
            return self._data.endswith(b"0\r\n\r\n")
        _, _, rest = head.partition(b"\r\ncontent-length:")
        self._need = end + int(rest.partition(b"\r\n")[0])
        return len(self._data) >= self._need

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, self.host, self.port)
        self.connects += 1
        self._answers = 0
