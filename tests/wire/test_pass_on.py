"""Small reads that one connection writes to another at once: nothing is sent before what came earlier, twice, or in part only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from interceptor.transport.tcp import Connection, Outbox
from tests.wire.proxy_rig import eventually

PIECE = 32 * 1024


class Side(Connection):
    """A connection that is only written to."""

    def __init__(self) -> None:
        super().__init__(Outbox(), deadline=0.0)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(bytearray(100))

    def buffer_updated(self, nbytes: int) -> None:
        raise AssertionError("nothing is sent to it")

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Side, socket.socket]]:
    """A connection, and its other end, which is read when the test says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        _, side = await loop.create_connection(Side, *listener.getsockname())
        other, _ = await loop.sock_accept(listener)
    with other:
        other.setblocking(False)
        yield side, other
        side.abort()
        await eventually(side._transport.is_closing)


async def received(other: socket.socket, size: int) -> bytes:
    found, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(60):
        while len(found) < size:
            found += await loop.sock_recv(other, 1 << 20)
    return found


async def test_what_the_kernel_does_not_take_follows_and_nothing_overtakes_it() -> None:
    async with connected() as (side, other):
        sent = b""
        for number in count():
            if not side.pass_on(memoryview(piece := number.to_bytes(4, "big") * (PIECE // 4))):
                break
            sent += piece
        assert side.congested
        assert side._transport.get_write_buffer_size()
        taken = other.recv(len(sent))  # there is room in the kernel now, and the loop has not come to use it
        assert not side.pass_on(memoryview(b"next"))
        assert taken + await received(other, len(sent) - len(taken)) == sent
        await eventually(lambda: not side.congested)
        assert side.pass_on(memoryview(b"next"))
        assert await received(other, 4) == b"next"


async def test_what_waits_for_the_end_of_the_turn_comes_first() -> None:
    async with connected() as (side, other):
        side.write(b"first, ")
        assert not side.pass_on(memoryview(b"second"))
        side.write_through(b"second")
        assert await received(other, 13) == b"first, second"


async def test_an_encoder_is_not_passed_by() -> None:
    async with connected() as (side, _):
        side.framer = bytes
        assert not side.pass_on(memoryview(b"plain"))


async def test_nothing_is_written_to_a_connection_that_ends() -> None:
    async with connected() as (side, other):
        side.abort()
        assert not side.pass_on(memoryview(b"late"))
        assert await asyncio.get_running_loop().sock_recv(other, 10) == b""


async def test_an_error_is_left_to_whoever_reports_it() -> None:
    async with connected() as (side, _):
        side._raw = -1
        assert not side.pass_on(memoryview(b"lost"))
