"""A client on a real socket that sends exactly the bytes it is told to and reads answers strictly."""

from __future__ import annotations

import asyncio
import socket

from tests.support.sockets import reset
from tests.support.strict_reader import Message, read_response

__all__ = ["RawClient"]

PATIENCE = 60.0
"""Seconds after which an answer that does not come fails the test."""


class RawClient:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""
        """Bytes that came and were not taken yet."""
        self.closed = False
        self.was_reset = False

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int = 0, limit: int = 1 << 20) -> RawClient:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
        return cls(reader, writer)

    def send(self, data: bytes) -> None:
        """Send, unless the connection is closed already: uvloop's would raise then, and asyncio's says nothing."""
        if not self.writer.is_closing():
            self.writer.write(data)

    async def send_slowly(self, data: bytes, size: int) -> None:
        """In pieces that the proxy reads apart, as far as the kernel lets it."""
        for at in range(0, len(data), size):
            self.writer.write(data[at : at + size])
            for _ in range(3):
                await asyncio.sleep(0)

    async def read_some(self) -> bytes:
        """What comes next; empty at the end. A reset is an end with `closed` set, as is a clean one, and with `was_reset`."""
        async with asyncio.timeout(PATIENCE):
            try:
                data = await self.reader.read(1 << 16)
            except ConnectionError:
                data, self.was_reset = b"", True
        if not data:
            self.closed = True
        self.received += data
        return data

    async def read_until(self, marker: bytes) -> bytes:
        """Take everything up to and with the marker."""
        while marker not in self.received:
            if not await self.read_some():
                raise ConnectionError(f"ended early, after {self.received[:200]!r}")
        end = self.received.index(marker) + len(marker)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    async def response(self, method: bytes = b"GET", *, interim: bool = False) -> Message:
        """The next response; with `interim` also one that is not final. ConnectionError when it does not come whole."""
        while True:
            found = read_response(self.received, method, closed=self.closed)
            if found is not None:
                message, self.received = found
                if interim or message.status >= 200 or message.status == 101:
                    return message
                continue
            if self.closed:
                raise ConnectionError(f"ended early, after {self.received[:200]!r}")
            await self.read_some()

    async def ask(self, request: bytes, method: bytes = b"GET") -> Message:
        self.send(request)
        return await self.response(method)

    async def read_to_end(self) -> bytes:
        """Everything until the proxy closes."""
        while not self.closed:
            await self.read_some()
        return self.received

    async def ends(self) -> bool:
        """Wait for the end; True when nothing came before it."""
        return not await self.read_to_end()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        reset(self.writer)
