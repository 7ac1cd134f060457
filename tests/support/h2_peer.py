"""A peer of HTTP/2 on a socket, of either role, over the library h2: what it receives is kept until a test asks for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

__all__ = ["GET", "POST", "Http2Peer", "Serve", "connected", "serving"]

E = TypeVar("E", bound=Event)
Pairs = Sequence[tuple[bytes, bytes]]
GET: Pairs = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test"))
POST: Pairs = ((b":method", b"POST"), *GET[1:])
READ_BYTES = 64 * 1024
PREFACE_BYTES, FRAME_HEAD, GOAWAY = 24, 9, 7


class Http2Peer:
    """One connection. What is received opens no windows by itself, if it is not `greedy`."""

    def __init__(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], *, client: bool, lax: bool = False, greedy: bool = True
    ) -> None:
        """`lax` to send what no peer may."""
        self.reader, self.writer = streams
        self.h2 = H2Connection(
            H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_outbound_headers=not lax,
                normalize_outbound_headers=not lax,
            )
        )
        self.events: list[Event] = []
        self.goaways: list[tuple[int, int]] = []
        """The last stream and the code of each."""
        self._preface = 0 if client else PREFACE_BYTES
        self._kept = b""
        self._greedy = greedy

    def start(self, **settings: int) -> None:
        """The preface, with some settings."""
        client = self.h2.config.client_side
        announced = {SettingCodes(code): value for code, value in self.h2.local_settings.items()}
        announced.update({SettingCodes[name.upper()]: value for name, value in settings.items()})
        self.h2.local_settings = Settings(client, announced)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what there is to send."""
        data = self.h2.data_to_send()
        if data and not self.writer.is_closing():  # uvloop raises for a connection that has ended
            self.writer.write(data)

    def ask(self, fields: Pairs = GET, *, end: bool = True) -> int:
        """Begin a stream."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, list(fields), end_stream=end)
        self.flush()
        return number

    def say(self, number: int, fields: Pairs, *, end: bool = False) -> None:
        """Headers on a stream: a response, or trailers."""
        self.h2.send_headers(number, list(fields), end_stream=end)
        self.flush()

    def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Content, in frames, as far as windows allow."""
        if not data and end:
            self.h2.end_stream(number)
        while data:
            most = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            part, data = data[:most], data[most:]
            assert part, "the window is too small for this test"
            self.h2.send_data(number, part, end_stream=end and not data)
        self.flush()

    def reset(self, number: int, code: int) -> None:
        self.h2.reset_stream(number, code)
        self.flush()

    def say_goaway(self, last: int) -> None:
        """By hand: the library takes nothing more once it has sent it."""
        self.writer.write(bytes((0, 0, 8, GOAWAY, 0, 0, 0, 0, 0)) + last.to_bytes(4) + bytes(4))

    def close(self) -> None:
        """End the connection, without a word of HTTP/2."""
        self.writer.close()

    async def more(self) -> bool:
        """Read once. False at the end."""
        async with asyncio.timeout(60):  # wait_for of Python 3.11 loses a cancellation that comes together with data
            data = await self.reader.read(READ_BYTES)
        if not data:
            return False
        for event in self.h2.receive_data(self._without_goaways(data)):
            self.events.append(event)
            if isinstance(event, DataReceived) and self._greedy and event.flow_controlled_length:
                with contextlib.suppress(ProtocolError):  # the stream is over
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        return True

    def _without_goaways(self, data: bytes) -> bytes:
        """Whole frames. GOAWAY is kept from the library, which takes it for the end of all streams."""
        self._kept += data
        if len(self._kept) < self._preface:
            return b""
        whole, self._kept = self._kept[: self._preface], self._kept[self._preface :]
        self._preface = 0
        while len(self._kept) >= FRAME_HEAD and len(self._kept) >= (size := FRAME_HEAD + int.from_bytes(self._kept[:3])):
            frame, self._kept = self._kept[:size], self._kept[size:]
            if frame[3] == GOAWAY:
                self.goaways.append((int.from_bytes(frame[9:13]), int.from_bytes(frame[13:17])))
            else:
                whole += frame
        return whole

    async def until(self, kind: type[E], number: int = 0) -> E:
        """The next event of a kind, of a stream if one is given; it is taken out."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and number in (0, getattr(event, "stream_id", 0)):
                    self.events.remove(event)
                    return event
            assert await self.more(), f"the connection ended before {kind.__name__}; there came {self.events}"

    async def answer(self, number: int) -> tuple[dict[bytes, bytes], bytes]:
        """The fields of a whole response, and its content."""
        head = await self.until(ResponseReceived, number)
        return dict(head.headers), await self.content(number)

    async def content(self, number: int) -> bytes:
        """What is still to come of a stream. Fails when it is reset."""
        await self.until(StreamEnded, number)
        taken = [event for event in self.events if isinstance(event, DataReceived) and event.stream_id == number]
        self.events = [event for event in self.events if event not in taken]
        return b"".join(event.data for event in taken)

    async def request(self) -> tuple[int, dict[bytes, bytes]]:
        """Of a server: the next one."""
        event = await self.until(RequestReceived)
        return event.stream_id, dict(event.headers)

    async def goaway(self) -> tuple[int, int]:
        """The next one: its last stream and its code."""
        while not self.goaways:
            assert await self.more(), "the connection ended without GOAWAY"
        return self.goaways.pop(0)

    async def reset_code(self, number: int) -> int:
        """With which the peer resets a stream."""
        return int((await self.until(StreamReset, number)).error_code or 0)

    async def drain(self) -> None:
        """Read to the end."""
        while await self.more():
            pass


Serve = Callable[[Http2Peer], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, **settings: int) -> AsyncIterator[tuple[str, int]]:
    """A server that does this with every connection, and its address. What goes wrong there fails the test."""
    tasks: set[asyncio.Task[None]] = set()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Http2Peer((reader, writer), client=False)
        peer.start(**settings)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(peer)
            with contextlib.suppress(ConnectionError):
                await peer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    wrong = [end for end in ends if isinstance(end, Exception) and not isinstance(end, (ConnectionError, TimeoutError))]
    assert not wrong, wrong


@asynccontextmanager
async def connected(port: int, *, lax: bool = False, greedy: bool = True, **settings: int) -> AsyncIterator[Http2Peer]:
    """A client of this port."""
    peer = Http2Peer(await asyncio.open_connection("127.0.0.1", port), client=True, lax=lax, greedy=greedy)
    peer.start(**settings)
    try:
        yield peer
    finally:
        peer.writer.close()
        with contextlib.suppress(ConnectionError):
            await peer.writer.wait_closed()
