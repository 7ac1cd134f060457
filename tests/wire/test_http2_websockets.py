"""WebSockets to backends of HTTP/2, by extended CONNECT (RFC 8441), from clients of both versions."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived, StreamEnded

from fleet.discovery.sources import Backend
from interceptor.http1.client import ClientConnection
from tests.support.h2_peer import Http2Peer, Pairs
from tests.support.loopback import APP
from tests.wire.proxy_rig import eventually
from tests.wire.test_http2_backends import OK, behind, serve_all
from tests.wire.test_second_codec import stage

SOCKET: Pairs = (
    (b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":path", b"/chat?x=1"),
    (b":authority", b"a.test"), (b"sec-websocket-version", b"13"), (b"sec-websocket-protocol", b"chat"),
)  # fmt: skip
UPGRADE = (
    b"GET /chat?x=1 HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""With the key of RFC 6455 1.3, to which s3pPLMBiTxaQ9kYGzzhZRbK+xOo= is the answer."""
AGREES: Pairs = (*OK, (b"sec-websocket-protocol", b"chat"))
STOPPED_SECONDS = 5.0
"""Seconds in which nothing more is taken of a sender, who has been stopped then. A busy machine takes something in that time."""


async def agree(peer: Http2Peer) -> None:
    """Agree to the first WebSocket, and say everything louder, until the client has ended."""
    number, head = await peer.request()
    assert {**head, b"x-forwarded-for": b""} == {
        **dict(SOCKET), b"x-forwarded-for": b"", b"x-forwarded-proto": b"http", b"x-forwarded-host": b"a.test",
    }  # fmt: skip
    peer.say(number, AGREES)
    peer.send(number, b"hi ")
    while not any(isinstance(event, StreamEnded) and event.stream_id == number for event in peer.events):
        for event in [event for event in peer.events if isinstance(event, DataReceived)]:
            peer.events.remove(event)
            if event.data:
                peer.send(number, event.data.upper())
        if not await peer.more():
            return
    rest = b"".join(event.data for event in peer.events if isinstance(event, DataReceived))
    peer.send(number, rest.upper() + b"END", end=True)


async def test_a_client_of_http_1_gets_the_proof_that_it_waits_for() -> None:
    async with behind(agree, enable_connect_protocol=1) as (made, _):
        reader, writer = await made.client(ClientConnection)
        writer.write(UPGRADE + b"early ")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        lines = {line.lower() for line in head.split(b"\r\n")}
        assert {b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-protocol: chat"} <= lines
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".lower() in lines
        assert await reader.readexactly(9) == b"hi EARLY "
        writer.write(b"more")
        assert await reader.readexactly(4) == b"MORE"
        assert made.proxy.apps[APP].entry.in_flight == 1
        writer.write_eof()
        assert await reader.read() == b"END"
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)


async def test_a_client_of_http_2_too() -> None:
    async with behind(agree, enable_connect_protocol=1) as (made, client):
        number = client.ask(SOCKET, end=False)
        head = dict((await client.until(ResponseReceived, number)).headers)
        assert (head[b":status"], head[b"sec-websocket-protocol"]) == (b"200", b"chat")
        assert b"sec-websocket-accept" not in head
        client.send(number, b"you", end=True)
        assert await client.content(number) == b"hi YOUEND"
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)


@pytest.mark.parametrize("ready", [False, True], ids=["a new connection", "a used one"])
async def test_a_backend_that_knows_no_websockets_over_http_2(ready: bool) -> None:
    connections = 0

    async def serve(peer: Http2Peer) -> None:
        nonlocal connections
        connections += 1
        await serve_all(peer)

    async with behind(serve) as (made, client):
        if ready:
            await client.answer(client.ask())
        reader, writer = await made.client(ClientConnection)
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")
        assert b"takes no WebSockets over it" in await reader.readline()
        assert connections == 1
        assert made.proxy.apps[APP].entry.in_flight == 0


async def test_a_backend_that_refuses_one_answers_what_it_wants_and_goes_on() -> None:
    async def serve(peer: Http2Peer) -> None:
        number, _ = await peer.request()
        peer.say(number, ((b":status", b"403"), (b"content-length", b"2")))
        peer.send(number, b"no", end=True)
        assert await peer.reset_code(number) == ErrorCodes.CANCEL
        await serve_all(peer)

    async with behind(serve, enable_connect_protocol=1) as (made, client):
        reader, writer = await made.client(ClientConnection)
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
        assert await reader.readexactly(2) == b"no"
        assert (await client.answer(client.ask()))[1] == b"!"


async def test_the_settings_are_waited_for_and_a_connection_without_any_is_no_backend() -> None:
    """The first connection ends without SETTINGS: nothing was sent there, so the request goes out again."""
    go = asyncio.Event()
    connections = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await go.wait()
        with contextlib.closing(writer):
            if connections > 1:
                peer = Http2Peer((reader, writer), client=False)
                peer.start(enable_connect_protocol=1)
                await agree(peer)

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with stage() as made:
        try:
            made.backends.set(APP, [Backend("127.0.0.1", server.sockets[0].getsockname()[1], "kubernetes.io/h2c")])
            reader, writer = await made.client(ClientConnection)
            writer.write(UPGRADE)
            await eventually(lambda: connections == 1)
            go.set()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await reader.readexactly(3) == b"hi "
            writer.write_eof()
            assert await reader.read() == b"END"
            assert connections == 2
        finally:
            server.close()


async def test_a_client_that_leaves_before_the_settings_leaves_nothing_behind() -> None:
    came, left = asyncio.Event(), asyncio.Event()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        with contextlib.closing(writer):
            await reader.read()
            left.set()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with stage() as made:
        try:
            made.backends.set(APP, [Backend("127.0.0.1", server.sockets[0].getsockname()[1], "kubernetes.io/h2c")])
            _, writer = await made.client(ClientConnection)
            writer.write(UPGRADE)
            await came.wait()
            await eventually(lambda: made.proxy.apps[APP].entry.in_flight)
            writer.transport.abort()
            await eventually(lambda: not made.proxy.apps[APP].entry.in_flight)
            made.backends.set(APP, [])
            await asyncio.wait_for(left.wait(), 60)
        finally:
            server.close()


async def test_a_backend_that_resets_the_stream_cuts_the_tunnel() -> None:
    async def serve(peer: Http2Peer) -> None:
        number, _ = await peer.request()
        peer.say(number, AGREES)
        peer.send(number, b"hi ")
        await peer.until(DataReceived, number)
        peer.reset(number, ErrorCodes.INTERNAL_ERROR)
        await serve_all(peer)

    async with behind(serve, enable_connect_protocol=1) as (made, client):
        reader, writer = await made.client(ClientConnection)
        writer.write(UPGRADE)
        await reader.readuntil(b"hi ")
        writer.write(b"x")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)
        assert (await client.answer(client.ask()))[1] == b"!"


async def test_a_backend_that_does_not_read_stops_its_client() -> None:
    go = asyncio.Event()

    async def serve(peer: Http2Peer) -> None:
        number, _ = await peer.request()
        peer.say(number, AGREES)
        await go.wait()
        while not any(isinstance(event, StreamEnded) for event in peer.events):
            await peer.more()
        size = sum(len(event.data) for event in peer.events if isinstance(event, DataReceived))
        peer.send(number, b"%d" % size, end=True)

    async with behind(serve, enable_connect_protocol=1) as (made, _):
        reader, writer = await made.client(ClientConnection)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        sent, stopped = 0, set[asyncio.Future[None]]()
        while sent < 64 << 20 and not stopped:
            writer.write(bytes(1 << 20))
            sent += 1 << 20
            drained = asyncio.ensure_future(writer.drain())
            _, stopped = await asyncio.wait([drained], timeout=STOPPED_SECONDS)
        assert stopped, "everything was read, and kept"
        go.set()
        await drained
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 60) == b"%d" % sent
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)
