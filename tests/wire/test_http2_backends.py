"""Backends of HTTP/2: streams that they refuse, connections that they end, their limits, slow clients, cut answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from fleet.discovery.sources import Backend
from interceptor.http1.client import ClientConnection
from tests.support.h2_peer import GET, POST, Http2Peer, Pairs, Serve, connected, serving
from tests.support.loopback import APP
from tests.support.ports import KeptPort
from tests.support.waiting import turns
from tests.wire.proxy_rig import eventually
from tests.wire.test_http2 import listening
from tests.wire.test_second_codec import Stage, stage

OK = ((b":status", b"200"),)


@asynccontextmanager
async def behind(
    *serves: Serve,
    greedy: bool = True,
    readiness_path: str | None = None,
    limits: dict[str, float] | None = None,
    **settings: int,
) -> AsyncIterator[tuple[Stage, Http2Peer]]:
    """A proxy with backends of HTTP/2, which have these settings, and a client of it."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(stage(readiness_path=readiness_path, **(limits or {})))
        addresses = [await stack.enter_async_context(serving(serve, **settings)) for serve in serves]
        made.backends.set(APP, [Backend(host, port, "kubernetes.io/h2c") for host, port in addresses])
        client = await stack.enter_async_context(connected(await stack.enter_async_context(listening(made)), greedy=greedy))
        yield made, client


async def serve_all(peer: Http2Peer) -> None:
    """Answer whatever is asked with what was sent."""
    while await answer_one(peer):
        pass


async def answer_one(peer: Http2Peer) -> bool:
    while not any(isinstance(event, StreamEnded) for event in peer.events):
        if not await peer.more():
            return False
    number = next(event.stream_id for event in peer.events if isinstance(event, StreamEnded))
    content = await peer.content(number)
    peer.say(number, OK)
    peer.send(number, content + b"!", end=True)
    return True


async def test_many_requests_share_one_connection() -> None:
    connections = []

    async def serve(peer: Http2Peer) -> None:
        connections.append(peer)
        await serve_all(peer)

    async with behind(serve) as (made, client):
        await client.answer(client.ask())
        numbers = [client.ask(POST, end=False) for _ in range(50)]
        for number in numbers:
            client.send(number, b"%d" % number, end=True)
        for number in numbers:
            assert (await client.answer(number))[1] == b"%d!" % number
        assert len(connections) == 1
        made.backends.set(APP, [])  # its pod goes: so does the connection
        await eventually(lambda: connections[0].goaways)


async def burst(made: Stage, client: Http2Peer, backends: list[Backend], count: int) -> None:
    """So many requests at once for backends that come up meanwhile. Each is answered."""
    made.backends.set(APP, [])
    numbers = [client.ask(POST, end=True) for _ in range(count)]
    await eventually(lambda: made.proxy.apps[APP].entry.held == count)
    made.backends.set(APP, backends)
    for number in numbers:
        assert (await client.answer(number))[0][b":status"] == b"200"
    await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)


async def test_a_burst_at_a_cold_backend_needs_one_connection() -> None:
    connections = []

    async def serve(peer: Http2Peer) -> None:
        connections.append(peer)
        await serve_all(peer)

    async with behind(serve) as (made, client):
        await burst(made, client, list(made.backends.get(APP)), 60)
        assert len(connections) == 1


async def test_a_burst_opens_as_many_connections_as_the_streams_that_a_backend_allows_need() -> None:
    connections = []
    all_open = asyncio.Event()

    async def serve(peer: Http2Peer) -> None:
        connections.append(peer)
        if len(connections) == 4:
            all_open.set()
        await all_open.wait()  # none is answered before
        await serve_all(peer)

    async with behind(serve, max_concurrent_streams=5) as (made, client):
        await burst(made, client, list(made.backends.get(APP)), 20)
        assert len(connections) == 4
        assert made.proxy.apps[APP].entry.requests_total == 20


async def test_a_connection_that_several_wait_for_and_that_is_refused() -> None:
    async with behind() as (made, client):
        with KeptPort() as port:
            made.backends.set(APP, [Backend("127.0.0.1", port.number, "kubernetes.io/h2c")])
            numbers = [client.ask(POST, end=True) for _ in range(5)]
            entry = made.proxy.apps[APP].entry
            await eventually(lambda: entry.held == 5)  # back to waiting
            for number in numbers:
                client.reset(number, ErrorCodes.CANCEL)
            await eventually(lambda: entry.held == 0)


async def test_a_refused_stream_is_sent_again_with_its_body_whatever_its_method() -> None:
    refused = 0

    async def serve(peer: Http2Peer) -> None:
        nonlocal refused
        if not refused:
            number, _ = await peer.request()
            await peer.until(StreamEnded, number)
            refused = number
            peer.reset(number, ErrorCodes.REFUSED_STREAM)
        await serve_all(peer)

    async with behind(serve) as (made, client):
        number = client.ask(POST, end=False)
        client.send(number, b"one ")
        await turns()
        client.send(number, b"two", end=True)
        head, content = await client.answer(number)
        assert (head[b":status"], content, refused) == (b"200", b"one two!", 1)
        assert made.proxy.apps[APP].entry.requests_total == 1


async def test_a_stream_after_the_last_of_goaway_is_sent_elsewhere() -> None:
    ended = 0

    async def serve(peer: Http2Peer) -> None:
        nonlocal ended
        if not ended:
            ended, _ = await peer.request()
            peer.say_goaway(0)
            return
        await serve_all(peer)

    async with behind(serve) as (_, client):
        head, content = await client.answer(client.ask((*POST,), end=True))
        assert (head[b":status"], content, ended) == (b"200", b"!", 1)


async def test_a_stream_before_the_last_of_goaway_ends_well() -> None:
    connections: list[Http2Peer] = []

    async def serve(peer: Http2Peer) -> None:
        connections.append(peer)
        if len(connections) > 1:
            await serve_all(peer)
            return
        number, _ = await peer.request()
        peer.say_goaway(number)
        peer.say(number, OK)
        peer.send(number, b"last", end=True)

    async with behind(serve) as (_, client):
        assert (await client.answer(client.ask()))[1] == b"last"
        assert (await client.answer(client.ask()))[1] == b"!"
        assert len(connections) == 2


@pytest.mark.parametrize("request_of", [GET, POST])
async def test_a_reset_that_says_nothing_of_that_is_no_reason_to_send_twice(request_of: Pairs) -> None:
    """Not even if it is idempotent: a gRPC server resets what is no call, and each time more connections would be opened."""
    asked, connections = [], []

    async def serve(peer: Http2Peer) -> None:
        connections.append(peer)
        while True:
            number, fields = await peer.request()
            asked.append(fields[b":method"])
            peer.reset(number, ErrorCodes.INTERNAL_ERROR)

    async with behind(serve) as (_, client):
        for _ in range(3):
            assert (await client.answer(client.ask(request_of)))[0][b":status"] == b"502"
        assert asked == [request_of[0][1]] * 3
        assert len(connections) == 1


async def test_no_more_streams_than_the_backend_allows_and_then_another_connection() -> None:
    connections: list[Http2Peer] = []
    go_on = asyncio.Event()

    async def serve(peer: Http2Peer) -> None:
        connections.append(peer)
        expected = 2 if len(connections) == 1 else 1
        for _ in range(expected):
            await peer.until(StreamEnded)
        await asyncio.wait_for(go_on.wait(), 60)
        for number in list(peer.h2.streams):
            peer.say(number, OK, end=True)

    async with behind(serve, max_concurrent_streams=2) as (made, client):
        first = client.ask()
        await eventually(lambda: connections)
        await turns(50)
        second, third = client.ask(), client.ask()
        await eventually(lambda: len(connections) == 2)
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 3)
        go_on.set()
        for number in (first, second, third):
            assert (await client.answer(number))[0][b":status"] == b"200"
        assert len(connections) == 2
        for peer in connections:
            assert peer.h2.open_inbound_streams <= 2


async def test_a_client_that_resets_its_stream_ends_that_of_the_backend_and_no_other() -> None:
    codes = []

    async def serve(peer: Http2Peer) -> None:
        first, _ = await peer.request()
        second, _ = await peer.request()
        codes.append((await peer.until(StreamReset)).error_code)
        left = next(number for number in (first, second) if not peer.h2.streams[number].closed_by)
        peer.say(left, OK, end=True)

    async with behind(serve) as (made, client):
        first = client.ask()
        await eventually(lambda: made.proxy.apps[APP].endpoints.ready[0].spare)
        second = client.ask()
        await turns(50)
        client.reset(first, ErrorCodes.CANCEL)
        assert (await client.answer(second))[0][b":status"] == b"200"
        assert codes == [ErrorCodes.CANCEL]
        assert made.proxy.apps[APP].entry.in_flight == 0


async def test_trailers_and_fields_of_calls_pass_both_ways() -> None:
    asked: list[dict[bytes, bytes]] = []

    async def serve(peer: Http2Peer) -> None:
        number, fields = await peer.request()
        asked.append(fields)
        asked.append(dict((await peer.until(TrailersReceived, number)).headers))
        await peer.content(number)
        peer.say(number, (*OK, (b"content-type", b"application/grpc")))
        peer.send(number, b"message")
        peer.say(number, ((b"grpc-status", b"0"), (b"grpc-message", b"")), end=True)

    async with behind(serve) as (_, client):
        number = client.ask((*POST, (b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"own", b"1")), end=False)
        client.send(number, b"message")
        client.say(number, [(b"sum", b"1")], end=True)
        trailers = await client.until(TrailersReceived, number)
        assert list(trailers.headers) == [(b"grpc-status", b"0"), (b"grpc-message", b"")]
        assert (await client.answer(number))[1] == b"message"
        assert (asked[0][b"te"], asked[0][b"own"], asked[1]) == (b"trailers", b"1", {b"sum": b"1"})
        assert asked[0][b"x-forwarded-for"] == b"127.0.0.1"


async def test_a_slow_client_stops_its_own_stream_only() -> None:
    async def serve(peer: Http2Peer) -> None:
        slow, _ = await peer.request()
        await peer.content(slow)
        peer.say(slow, OK)
        sent = 0
        while window := peer.h2.local_flow_control_window(slow):
            peer.send(slow, bytes(min(window, 16384)))
            sent += min(window, 16384)
            if not peer.h2.local_flow_control_window(slow):
                try:
                    await asyncio.wait_for(peer.more(), 0.3)
                except TimeoutError:
                    break
        taken.append(sent)
        await serve_all(peer)

    taken: list[int] = []
    async with behind(serve, greedy=False) as (made, client):
        client.h2.increment_flow_control_window(1 << 20)  # of the connection: what stops is the stream
        slow = client.ask()
        await client.until(ResponseReceived, slow)
        await eventually(lambda: taken)
        assert 65535 < taken[0] < 512 * 1024
        assert (await client.answer(client.ask()))[1] == b"!"
        client.reset(slow, ErrorCodes.CANCEL)
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)


async def test_an_answer_of_another_length_than_it_says_is_reset() -> None:
    async def serve(peer: Http2Peer) -> None:
        while True:
            number, _ = await peer.request()
            peer.say(number, (*OK, (b"content-length", b"5")))
            peer.send(number, b"abc", end=True)

    async with behind(serve) as (_, client):
        for _ in range(2):
            number = client.ask()
            assert await client.reset_code(number) == ErrorCodes.INTERNAL_ERROR


async def test_a_backend_that_says_nothing_is_answered_for_and_its_stream_reset() -> None:
    codes = []

    async def serve(peer: Http2Peer) -> None:
        codes.append((await peer.until(StreamReset)).error_code)

    async with behind(serve, limits={"response_header": 0.2}) as (_, client):
        assert (await client.answer(client.ask()))[0][b":status"] == b"504"
        await eventually(lambda: codes == [ErrorCodes.CANCEL])


async def test_a_backend_that_speaks_another_protocol_is_answered_for() -> None:
    async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return False

    async with stage() as made, listening(made) as port:
        await made.up(http1, "kubernetes.io/h2c")
        async with connected(port) as client:
            assert (await client.answer(client.ask(POST)))[0][b":status"] == b"502"


async def test_a_readiness_path_is_asked_over_http_2() -> None:
    asked = []

    async def serve(peer: Http2Peer) -> None:
        number, fields = await peer.request()
        asked.append(fields[b":path"])
        await peer.content(number)
        peer.say(number, OK, end=True)
        await serve_all(peer)

    async with behind(serve, readiness_path="/ready") as (_, client):
        assert (await client.answer(client.ask()))[0][b":status"] == b"200"
        assert asked == [b"/ready"]


async def test_clients_of_http_1_reach_it_without_what_concerns_connections() -> None:
    asked: list[dict[bytes, bytes]] = []

    async def serve(peer: Http2Peer) -> None:
        for _ in range(2):
            number, fields = await peer.request()
            asked.append(fields)
            if b"expect" in fields:
                peer.say(number, ((b":status", b"100"),))
            content = await peer.content(number)
            peer.say(number, OK)
            peer.send(number, content + b"!", end=True)

    async with behind(serve) as (made, _):
        reader, writer = await made.client(ClientConnection)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a.test\r\nTE: gzip\r\nKeep-Alive: 5\r\nConnection: upgrade, x\r\nUpgrade: websocket\r\n"
        )
        writer.write(b"X: y\r\nProxy-Connection: close\r\nA: b\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        await reader.readuntil(b"0\r\n\r\n")
        assert not {b"te", b"keep-alive", b"connection", b"upgrade", b"x", b"proxy-connection", b"host"} & asked[0].keys()
        assert (asked[0][b":authority"], asked[0][b"a"]) == (b"a.test", b"b")
        writer.write(b"PUT / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        await reader.readuntil(b"abc!")
        assert asked[1][b"te"] == b"trailers"


async def test_content_of_both_sides_at_once() -> None:
    async def serve(peer: Http2Peer) -> None:
        number, _ = await peer.request()
        peer.say(number, OK)
        while (data := await peer.until(DataReceived, number)).data != b"end":
            peer.send(number, data.data.upper())
        peer.send(number, b"END", end=True)

    async with behind(serve) as (_, client):
        number = client.ask(POST, end=False)
        for piece in (b"a", b"b", b"c"):
            client.send(number, piece)
            assert (await client.until(DataReceived, number)).data == piece.upper()
        client.send(number, b"end", end=True)
        assert (await client.answer(number))[1] == b"END"
