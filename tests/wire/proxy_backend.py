"""A backend on a real socket that records the exact bytes it gets and answers what its script says, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from fleet.discovery.sources import Backend
from tests.support.judge import Disagreement, agreed_requests
from tests.support.sockets import reset
from tests.support.strict_reader import Message, read_request, read_requests

__all__ = ["BackendPeer", "RawBackend", "Script", "answer", "ok"]


class BackendPeer:
    """One connection that the proxy opened."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = bytearray()
        self.ended = asyncio.Event()
        """The proxy closed or cut its side."""
        self.switched = False
        """It was told to go on in another protocol."""
        self._taken = 0

    async def read_some(self, limit: int = 1 << 16) -> bytes:
        """What comes next; empty at the end. A cut counts as an end."""
        try:
            data = await self.reader.read(limit)
        except ConnectionError:
            data = b""
        if not data:
            self.ended.set()
        self.received += data
        return data

    async def read_until(self, marker: bytes) -> bytes:
        """Read on until the marker is in what was received since the last request taken."""
        while marker not in self.received[self._taken :]:
            if not await self.read_some():
                raise ConnectionError("ended early")
        return bytes(self.received[self._taken :])

    async def request(self) -> Message:
        """The next whole request. Raises ConnectionError when the connection ends first."""
        while True:
            found = read_request(bytes(self.received[self._taken :]))
            if found is not None:
                message, rest = found
                self._taken = len(self.received) - len(rest)
                return message
            if not await self.read_some():
                raise ConnectionError("ended early")

    async def read_to_end(self) -> None:
        while await self.read_some():
            pass

    def send(self, data: bytes) -> None:
        """Send, unless the connection is closed already: uvloop's would raise then, and asyncio's says nothing."""
        self.switched = self.switched or data.startswith(b"HTTP/1.1 101")
        if not self.writer.is_closing():
            self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        reset(self.writer)


Script = Callable[[BackendPeer], Awaitable[None]]


def ok(body: bytes = b"ok", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A response with a length."""
    lines = [b"HTTP/1.1 " + status, b"Date: then", *fields, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def answer(*responses: bytes) -> Script:
    """A script that answers each whole request with the next of some bytes, the last one again and again."""

    async def script(peer: BackendPeer) -> None:
        turn = 0
        while True:
            await peer.request()
            peer.send(responses[min(turn, len(responses) - 1)])
            turn += 1

    return script


class RawBackend:
    """Serves every connection with the same script; a script that ends closes its connection."""

    def __init__(self, script: Script | None = None, *, receive_buffer: int = 0) -> None:
        self.script = script or answer(ok())
        self.peers: list[BackendPeer] = []
        self.errors: list[BaseException] = []
        self.backend = Backend("127.0.0.1", 0)
        self._receive_buffer = receive_buffer
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.bind(("127.0.0.1", port))
        self.backend = Backend("127.0.0.1", sock.getsockname()[1])
        self._server = await asyncio.start_server(self._serve, sock=sock, backlog=1024)

    @property
    def address(self) -> tuple[str, int]:
        return (self.backend.host, self.backend.port)

    @property
    def received(self) -> bytes:
        """Everything, connection after connection."""
        return b"".join(bytes(peer.received) for peer in self.peers)

    @property
    def requests(self) -> list[Message]:
        """Every whole request of every connection."""
        return [message for peer in self.peers for message in read_requests(bytes(peer.received))[0]]

    @property
    def open(self) -> list[BackendPeer]:
        """Connections that the proxy has not ended."""
        return [peer for peer in self.peers if not peer.ended.is_set()]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            # asyncio's has no loop any more once its last bytes went out after it was closed, and does not look for that.
            with contextlib.suppress(AttributeError):
                peer.writer.transport.abort()
        await asyncio.sleep(0)
        self._judge()

    def _judge(self) -> None:
        """Two readers that know nothing of each other must agree on every whole request that came, whatever the test was for."""
        for peer in self.peers:
            try:
                agreed_requests(bytes(peer.received), switched=peer.switched)
            except Disagreement as error:
                self.errors.append(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        peer = BackendPeer(reader, writer)
        self.peers.append(peer)
        try:
            await self.script(peer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 -- told by the rig at the end of the test
            self.errors.append(error)
        finally:
            peer.ended.set()
            writer.close()
