"""Clients of HTTP/2, and backends of HTTP/1: cold starts, resets, windows, trailers, errors, drain, upgrades, smuggling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, InformationalResponseReceived, ResponseReceived, TrailersReceived

from interceptor.drain import finish
from interceptor.http1.client import ClientConnection
from tests.support.h2_peer import GET, POST, Http2Peer, Pairs, connected
from tests.support.loopback import APP
from tests.support.waiting import settled, turns
from tests.wire.proxy_rig import eventually
from tests.wire.test_http2 import http1_backend, listening
from tests.wire.test_second_codec import Answer, Stage, stage

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GRPC = (b"content-type", b"application/grpc+proto")
SOCKET: Pairs = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:], (b"sec-websocket-version", b"13"))


@asynccontextmanager
async def fronted(
    answer: Answer | None = http1_backend, *, lax: bool = False, greedy: bool = True, timeouts: dict[str, float] | None = None
) -> AsyncIterator[tuple[Stage, Http2Peer]]:
    """A proxy with a backend of HTTP/1, unless there is none, and a client of it."""
    async with stage(readiness_path=None, **(timeouts or {})) as made, listening(made) as port:
        if answer is not None:
            await made.up(answer, None)
        async with connected(port, lax=lax, greedy=greedy) as client:
            yield made, client


async def test_a_cold_start_holds_a_request_with_its_body() -> None:
    async with fronted(None) as (made, client):
        number = client.ask(POST, end=False)
        client.send(number, b"early")
        await eventually(lambda: made.proxy.apps[APP].entry.held)
        client.send(number, b" late", end=True)
        await made.up(http1_backend, None)
        head, content = await client.answer(number)
        assert head[b"x-keda-http-cold-start"] == b"true"
        assert content.endswith(b"early late")
        assert made.proxy.apps[APP].entry.requests_total == 1


async def test_bodies_of_requests_that_are_answered_unread_do_not_use_up_the_connections_window() -> None:
    """While a request waits, its body is not read; the answer may come before it ever is."""
    size = 60_000
    async with fronted(None, timeouts={"readiness": 0.1}) as (_, client):
        for _ in range(2 * (1 << 20) // size):
            number = client.ask(POST, end=False)
            for at in range(0, size, 10_000):
                client.send(number, bytes(10_000), end=at + 10_000 == size)
            assert (await client.answer(number))[0][b":status"] == b"504"
        assert client.h2.outbound_flow_control_window >= 1 << 19


async def test_the_preface_may_come_byte_by_byte() -> None:
    async with stage() as made, listening(made) as port:
        await made.up(http1_backend, None)
        client = Http2Peer(await asyncio.open_connection("127.0.0.1", port), client=True)
        client.h2.initiate_connection()
        client.h2.send_headers(1, list(GET), end_stream=True)
        for byte in client.h2.data_to_send():
            client.writer.write(bytes((byte,)))
            await turns(3)
        assert (await client.answer(1))[0][b":status"] == b"200"
        client.writer.close()


async def test_requests_of_http_1_behind_the_preface_reach_nobody() -> None:
    async with stage() as made, listening(made) as port:
        await made.up(http1_backend, None)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert b"a frame that is longer than" in await reader.read()  # of a GOAWAY
        writer.close()
        assert made.asked == []


async def test_http_2_is_not_begun_after_a_request_of_http_1() -> None:
    async with stage() as made, listening(made):
        await made.up(http1_backend, None)
        reader, writer = await made.client(ClientConnection)
        writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert b"HTTP/1.1 505 " in await reader.read()


async def test_a_stream_that_is_reset_frees_its_place_and_the_backend() -> None:
    gone = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        assert line.startswith(b"GET")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b""
        gone.set()
        return False

    async with fronted(slow) as (made, client):
        entry = made.proxy.apps[APP].entry
        number = client.ask()
        await eventually(lambda: made.asked)
        assert entry.in_flight == 1
        client.reset(number, ErrorCodes.CANCEL)
        await asyncio.wait_for(gone.wait(), 60)
        assert entry.in_flight == 0
        assert [len(each.session.streams) for each in made.proxy.clients] == [0]  # type: ignore[attr-defined]


async def test_a_client_that_leaves_frees_all_its_places() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.read()
        return False

    async with fronted(silent) as (made, client):
        for _ in range(20):
            client.ask()
        await eventually(lambda: len(made.asked) == 20)
        client.writer.close()
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)
        await eventually(lambda: not made.proxy.clients)
        assert not len(made.proxy.deadlines)


async def test_a_slow_reader_stops_its_sender() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            writer.write(bytes(65536))
            sent += 65536
            await writer.drain()
        return True

    async with fronted(flood, greedy=False) as (made, client):
        slow, fast = client.ask(), client.ask(((b":method", b"HEAD"), *GET[1:]))
        await client.until(ResponseReceived, slow)
        await client.until(ResponseReceived, fast)  # another stream goes on
        connection = next(iter(made.proxy.clients))
        await settled(lambda: sent, seconds=0.3)  # the sockets between are full
        assert connection.session.queued < 1 << 20  # type: ignore[attr-defined]
        assert sent < 32 << 20
        client.reset(slow, ErrorCodes.CANCEL)
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight <= 1)


async def test_a_client_that_takes_nothing_of_a_whole_response_is_given_up() -> None:
    async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
        return True

    async with stage() as made, listening(made) as port:
        made.proxy.keep_alive_timeout = 0.2
        await made.up(large, None)
        async with connected(port, greedy=False, initial_window_size=1000) as client:
            number = client.ask()
            assert await client.reset_code(number) == ErrorCodes.CANCEL
            await eventually(lambda: not made.proxy.clients)


async def test_a_slow_backend_stops_the_client_within_its_window() -> None:
    go_on = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        return False

    async with fronted(late) as (_, client):
        number = client.ask(POST, end=False)
        sent = 0
        while True:
            window = client.h2.local_flow_control_window(number)
            if window:
                client.send(number, bytes(window))
                sent += window
                continue
            try:
                await asyncio.wait_for(client.more(), 0.5)
            except TimeoutError:
                break
        assert sent < 32 << 20  # what sockets take, and a window
        go_on.set()


async def test_trailers_and_interim_answers_both_ways() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"3\r\nabc\r\n0\r\nsum: 6\r\n\r\n"
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")
        return True

    async with fronted(answer) as (_, client):
        for _ in range(2):
            number = client.ask(POST, end=False)
            client.send(number, b"abc")
            client.say(number, [(b"sum", b"6")], end=True)
            interim = await client.until(InformationalResponseReceived, number)
            assert dict(interim.headers) == {b":status": b"103", b"link": b"</a>"}
            trailers = await client.until(TrailersReceived, number)
            assert list(trailers.headers) == [(b"x-sum", b"7")]
            head, content = await client.answer(number)
            assert (head[b":status"], content) == (b"200", b"ok")
            assert b"transfer-encoding" not in head


async def test_head_and_answers_without_content() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No\r\n\r\n" if b"/none" in line else b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        return True

    async with fronted(answer) as (_, client):
        head, content = await client.answer(client.ask(((b":method", b"HEAD"), *GET[1:])))
        assert (head[b":status"], head[b"content-length"], content) == (b"200", b"1000", b"")
        none, content = await client.answer(client.ask((*GET[:2], (b":path", b"/none"), GET[3])))
        assert (none[b":status"], content) == (b"204", b"")
        elsewhere = (*GET[:3], (b":authority", b"b.test"))
        head, content = await client.answer(client.ask(((b":method", b"HEAD"), *elsewhere[1:])))
        assert (head[b":status"], content) == (b"404", b"")
        head, content = await client.answer(client.ask(elsewhere))
        assert (head[b":status"], head[b"content-length"]) == (b"404", b"%d" % len(content))


async def test_fields_about_a_connection_of_http_1_are_not_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 426 Upgrade\r\nUpgrade: websocket\r\nConnection: upgrade, x\r\nKeep-Alive: timeout=5\r\nX: y\r\n")
        writer.write(b"Proxy-Connection: keep-alive\r\nA: b\r\nContent-Length: 0\r\n\r\n")
        return True

    async with fronted(answer) as (_, client):
        head, _ = await client.answer(client.ask())
        assert head.keys() == {b":status", b"a", b"content-length", b"date", b"x-keda-http-cold-start"}


async def test_calls_of_grpc_are_refused_in_its_own_way() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        return b"/cut" not in line and not await reader.read()

    async with fronted(None, timeouts={"response_header": 0.2, "readiness": 0.2}) as (made, client):
        unknown = (*POST[:3], (b":authority", b"b.test"), GRPC)
        head, content = await client.answer(client.ask(unknown))
        assert (head[b":status"], head[b"grpc-status"], head[b"content-type"]) == (b"200", b"12", b"application/grpc")
        assert content == b""
        head, _ = await client.answer(client.ask((*POST, GRPC)))
        assert (head[b"grpc-status"], b"no backend" in head[b"grpc-message"]) == (b"4", True)
        await made.up(silent, None)
        head, _ = await client.answer(client.ask((*POST, GRPC)))
        assert head[b"grpc-status"] == b"4"
        head, _ = await client.answer(client.ask((*POST[:2], (b":path", b"/cut"), POST[3], GRPC)))
        assert head[b"grpc-status"] == b"14"


async def test_an_answer_that_is_cut_is_reset() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        return False

    async with fronted(cut) as (_, client):
        number = client.ask()
        assert await client.reset_code(number) == ErrorCodes.INTERNAL_ERROR
        assert await client.reset_code(client.ask()) == ErrorCodes.INTERNAL_ERROR  # the connection goes on


async def test_an_answer_before_the_end_of_the_request_ends_the_stream() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno")
        return False

    async with fronted(early) as (_, client):
        number = client.ask(POST, end=False)
        head, content = await client.answer(number)
        assert (head[b":status"], content) == (b"413", b"no")
        assert await client.reset_code(number) == ErrorCodes.NO_ERROR


async def test_a_drain_says_so_and_lets_streams_end() -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst")
        await go_on.wait()
        writer.write(b"last")
        return True

    async with fronted(slow) as (made, client):
        first = client.ask()
        await client.until(DataReceived, first)
        made.proxy.draining = True
        ending = asyncio.create_task(finish(made.proxy, began=monotonic(), seconds=20))
        second = client.ask()
        assert await client.goaway() == (2**31 - 1, ErrorCodes.NO_ERROR)
        go_on.set()
        assert await client.content(first) == b"last"
        assert await client.content(second) == b"firstlast"
        assert await client.goaway() == (second, ErrorCodes.NO_ERROR)
        await client.drain()
        await asyncio.wait_for(ending, 60)


async def test_an_idle_connection_is_ended_by_a_drain() -> None:
    async with fronted() as (made, client):
        await client.answer(client.ask())
        made.proxy.draining = True
        await asyncio.wait_for(finish(made.proxy, began=monotonic() - 1, seconds=20), 60)
        assert await client.goaway() == (1, ErrorCodes.NO_ERROR)
        await client.drain()


async def websocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
    """Agrees, and says everything louder."""
    head = await reader.readuntil(b"\r\n\r\n")
    key = next(each for each in head.lower().split(b"\r\n") if each.startswith(b"sec-websocket-key: "))
    assert len(key) == len(b"sec-websocket-key: ") + 24
    assert b"upgrade: websocket" in head.lower()
    writer.write(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhi ")
    while data := await reader.read(100):
        writer.write(data.upper())
    return False


async def test_a_websocket_by_extended_connect() -> None:
    async with fronted(websocket) as (made, client):
        number = client.ask(SOCKET, end=False)
        head = dict((await client.until(ResponseReceived, number)).headers)
        assert head[b":status"] == b"200"
        assert not {b"sec-websocket-accept", b"upgrade", b"connection"} & head.keys()
        assert (await client.until(DataReceived, number)).data == b"hi "
        client.send(number, b"you")
        assert (await client.until(DataReceived, number)).data == b"YOU"
        assert made.proxy.apps[APP].entry.in_flight == 1
        client.send(number, b"", end=True)
        assert await client.content(number) == b""
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)


async def test_what_is_said_early_and_the_end_of_it_reach_the_tunnel() -> None:
    async with fronted(None) as (made, client):
        number = client.ask(SOCKET, end=False)
        client.send(number, b"early", end=True)
        await eventually(lambda: made.proxy.apps[APP].entry.held)
        await made.up(websocket, None)
        assert await client.content(number) == b"hi EARLY"


async def test_a_refused_upgrade_does_not_look_like_an_open_tunnel() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        return True

    async with fronted(refuse) as (_, client):
        head, content = await client.answer(client.ask(SOCKET, end=False))
        assert (head[b":status"], content) == (b"502", b"no")


async def test_a_tunnel_whose_client_resets_it_is_over() -> None:
    async with fronted(websocket) as (made, client):
        number = client.ask(SOCKET, end=False)
        await client.until(ResponseReceived, number)
        client.reset(number, ErrorCodes.CANCEL)
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)


SMUGGLED: dict[str, Pairs] = {
    "a line end in a value": (*GET, (b"x", b"a\r\nGET /evil HTTP/1.1")),
    "a bare line feed": (*GET, (b"x", b"a\nb: c")),
    "a bare carriage return": (*GET, (b"x", b"a\rb")),
    "NUL": (*GET, (b"x", b"a\0b")),
    "a line end in a name": (*GET, (b"x\r\ny", b"a")),
    "a colon in a name": (*GET, (b"x: y", b"a")),
    "a line end in the path": (*GET[:2], (b":path", b"/ HTTP/1.1\r\nx: y"), GET[3]),
    "a blank in the path": (*GET[:2], (b":path", b"/ HTTP/1.1"), GET[3]),
    "a line end in the method": ((b":method", b"GET / HTTP/1.1\r\nx:"), *GET[1:]),
    "a line end in the authority": (*GET[:3], (b":authority", b"a.test\r\nx: y")),
    "transfer-encoding": (*POST, (b"transfer-encoding", b"chunked")),
    "connection": (*GET, (b"connection", b"x")),
    "upgrade": (*GET, (b"upgrade", b"h2c")),
    "upper case": (*GET, (b"X", b"a")),
    "another host": (*GET, (b"host", b"b.test")),
    "two lengths": (*POST, (b"content-length", b"1"), (b"content-length", b"2")),
    "a length that is none": (*POST, (b"content-length", b"+1")),
    "a length and no content": (*POST, (b"content-length", b"5")),
}


@pytest.mark.parametrize("what", SMUGGLED)
async def test_nothing_is_smuggled(what: str) -> None:
    async with fronted(lax=True) as (made, client):
        number = client.ask(SMUGGLED[what])
        assert await client.reset_code(number) == ErrorCodes.PROTOCOL_ERROR
        assert made.asked == []
        assert (await client.answer(client.ask()))[0][b":status"] == b"200"


@pytest.mark.parametrize("content", [b"abc", b"abcdefg"], ids=["less", "more"])
async def test_content_of_another_length_never_makes_a_whole_request(content: bytes) -> None:
    taken = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        taken.append(await reader.read())
        return False

    async with fronted(take, lax=True) as (made, client):
        number = client.ask((*POST, (b"content-length", b"5")), end=False)
        client.send(number, content, end=True)
        assert await client.reset_code(number) == ErrorCodes.PROTOCOL_ERROR
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)
    assert all(len(each.partition(b"\r\n\r\n")[2]) < 5 for each in taken)


async def test_http_1_goes_on_beside_it() -> None:
    async with fronted() as (made, client):
        reader, writer = await made.client(ClientConnection)
        writer.write(b"GET /one HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await client.answer(client.ask())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_status_that_nobody_has_defined_goes_on() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n")
        return True

    async with fronted(answer) as (_, client):
        assert (await client.answer(client.ask()))[0][b":status"] == b"799"


async def test_trace_and_options_that_may_not_be_forwarded_are_answered() -> None:
    async with stage() as made, listening(made) as port, connected(port) as client:
        for method, content_type in (b"TRACE", b"message/http"), (b"OPTIONS", None):
            begin = ((b":method", method), *GET[1:])
            head, content = await client.answer(client.ask((*begin, (b"max-forwards", b"0"))))
            assert (head[b":status"], head.get(b"content-type")) == (b"200", content_type)
            assert content.startswith(b"TRACE / HTTP/2\r\n") == (method == b"TRACE")
        assert made.proxy.refusals["max_forwards", 200] == 2
