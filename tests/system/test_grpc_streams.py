"""Bidirectional streams of gRPC through an interceptor's process, between grpcio's own client and server: many at once with all
messages in order and bounded memory, and readers that stop.

WEIR_FULL_SIZE=1 keeps 1,000 streams for a minute; every day it is 100 for three seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import grpc
import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Target
from tests.support.full import FULL
from tests.support.waiting import settled
from tests.system.alone import Alone, alone

STREAMS = 1000 if FULL else 100
SECONDS = 60.0 if FULL else 3.0
PER_CHANNEL = 100
"""Streams of one connection. grpcio queues those that a server does not allow, and an interceptor allows 128."""
AHEAD = 4
"""Messages that a stream sends before it reads the echo of the first of them."""
SIZES = (0, 10, 100, 1000, 10_000)
BYTES_PER_STREAM = 64 * 1024
"""Memory that a stream may cost: far less than the windows of its two sides, which fill only if somebody does not read."""
BESIDE = 32 << 20
"""Memory that does not depend on the number of streams, as connections do, and pages that the allocator keeps."""
LATER_GROWTH = 8 << 20
"""Memory that may be added in the second half, when everything has been used."""

MESSAGE = 16 * 1024
WINDOW = 64 * 1024
WINDOWS = [("grpc.http2.lookahead_bytes", WINDOW), ("grpc.http2.bdp_probe", 0)]
"""grpcio would have windows of 4 MiB, and more on connections that it finds to be fast."""
PATIENT = ("grpc.server_max_unrequested_time_in_server", 600)
"""Client and server share one event loop here. With 1,000 calls it takes longer than the 30 seconds after which grpcio's server
cancels a call that was not accepted."""
MOST_TAKEN = 4 * WINDOW
"""Bytes that a sender gets rid of before it is stopped: a window of the reader, one of the interceptor and what it has queued for
the reader meanwhile, and what the sender has buffered itself."""

PATIENCE_OF_ALL = 200.0
"""Seconds until the first message of every stream has come back."""

APP = "default/streams"
ECHO, SOURCE, SINK = "/test.Streams/Echo", "/test.Streams/Source", "/test.Streams/Sink"

pytestmark = pytest.mark.timeout(600 if FULL else 120)


class Server(grpc.GenericRpcHandler):  # type: ignore[misc, unused-ignore]
    """Messages are bytes."""

    def __init__(self) -> None:
        self.sent = 0
        """Bytes that Source got rid of."""
        self.reads = asyncio.Event()
        """Whether Sink reads."""

    def service(self, details: Any) -> Any:
        behaviour = {ECHO: self._echo, SOURCE: self._source, SINK: self._sink}[details.method]
        return grpc.stream_stream_rpc_method_handler(behaviour)

    async def _echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in requests:
            yield message

    async def _source(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Numbered messages without end."""
        for number in range(1 << 30):
            yield number.to_bytes(4) + bytes(MESSAGE - 4)
            self.sent += MESSAGE

    async def _sink(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Answers with the number of each message, once it reads."""
        yield b"begun"
        await self.reads.wait()
        async for message in requests:
            yield message[:4]


@asynccontextmanager
async def streaming(directory: Path) -> AsyncIterator[tuple[Alone, Server]]:
    """An interceptor with a server behind it."""
    server: Any = grpc.aio.server(options=[*WINDOWS, PATIENT])
    handler = Server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    route = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("streams.test",)),))
    backends = {APP: [Backend("127.0.0.1", port, "grpc")]}
    try:
        async with alone(directory, route, backends=backends) as running:
            yield running, handler
    finally:
        await server.stop(None)


@asynccontextmanager
async def channels(running: Alone, count: int) -> AsyncIterator[list[Any]]:
    """Each a connection of its own."""
    options = [("grpc.default_authority", "streams.test"), ("grpc.use_local_subchannel_pool", 1), *WINDOWS]
    made: list[Any] = [grpc.aio.insecure_channel(f"127.0.0.1:{running.port}", options=options) for _ in range(count)]
    try:
        yield made
    finally:
        await asyncio.gather(*(channel.close() for channel in made))


def message_of(random: Random, number: int) -> bytes:
    return number.to_bytes(4) + random.randbytes(random.choice(SIZES))


async def echoed(channel: Any, seed: int, over: asyncio.Event, flowing: set[int] | None = None) -> int:
    """One stream: every message has to come back, and in order. Returns how many there were; the seed is in `flowing` once the
    first one has come back."""
    random, call = Random(seed), channel.stream_stream(ECHO)()
    under_way: list[bytes] = []
    number = 0

    async def read() -> None:
        got = await call.read()
        assert got is not grpc.aio.EOF, await call.details()
        assert got == under_way.pop(0)
        if flowing is not None:
            flowing.add(seed)

    while not over.is_set() or number < AHEAD:
        under_way.append(message_of(random, number))
        number += 1
        await call.write(under_way[-1])
        if len(under_way) >= AHEAD:
            await read()
    await call.done_writing()
    while under_way:
        await read()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    return number


async def test_many_streams_at_once_keep_their_order_and_bound_the_memory(tmp_path: Path) -> None:
    async with streaming(tmp_path) as (running, _), channels(running, -(-STREAMS // PER_CHANNEL)) as opened:
        over, flowing = asyncio.Event(), set[int]()
        quiet = running.rss
        calls = [asyncio.create_task(echoed(opened[at // PER_CHANNEL], at, over, flowing)) for at in range(STREAMS)]
        await running.until_queue(APP, in_flight=STREAMS)
        await running.until(lambda: len(flowing) == STREAMS or any(call.done() for call in calls), timeout=PATIENCE_OF_ALL)
        most: list[int] = []
        for _ in range(2):
            half = monotonic() + SECONDS / 2
            most.append(running.rss)
            while monotonic() < half:
                await asyncio.sleep(0.1)
                most[-1] = max(most[-1], running.rss)
        over.set()
        await asyncio.gather(*calls)
        assert max(most) - quiet < BESIDE + STREAMS * BYTES_PER_STREAM
        assert most[1] - most[0] < LATER_GROWTH
        await running.until_queue(APP, in_flight=0)


async def test_a_reader_that_stops_stops_its_server(tmp_path: Path) -> None:
    async with streaming(tmp_path) as (running, server), channels(running, 1) as (channel,):
        call = channel.stream_stream(SOURCE)()
        assert (await call.read())[:4] == bytes(4)
        quiet = running.rss
        await settled(lambda: server.sent, seconds=0.5)
        taken = server.sent
        assert MESSAGE < taken <= MOST_TAKEN
        over = asyncio.Event()
        over.set()
        assert await echoed(channel, 1, over) == AHEAD  # another stream of the same connections goes on
        assert server.sent == taken
        for number in range(1, 2 * taken // MESSAGE):
            assert (await call.read())[:4] == number.to_bytes(4)
        assert running.rss - quiet < BESIDE
        call.cancel()
        await running.until_queue(APP, in_flight=0)


async def test_a_server_that_stops_reading_stops_its_client(tmp_path: Path) -> None:
    async with streaming(tmp_path) as (running, server), channels(running, 1) as (channel,):
        call = channel.stream_stream(SINK)()
        assert await call.read() == b"begun"
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await call.write((sent // MESSAGE).to_bytes(4) + bytes(MESSAGE - 4))
                sent += MESSAGE

        flooding = asyncio.create_task(flood())
        await settled(lambda: sent, seconds=0.5)
        taken = sent
        assert MESSAGE < taken <= MOST_TAKEN
        over = asyncio.Event()
        over.set()
        assert await echoed(channel, 2, over) == AHEAD
        assert sent == taken
        server.reads.set()
        for number in range(2 * taken // MESSAGE):
            assert await call.read() == number.to_bytes(4)
        flooding.cancel()
        call.cancel()
        await running.until_queue(APP, in_flight=0)
