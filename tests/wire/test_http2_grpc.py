"""Calls of gRPC through the proxy on real sockets: deadlines, and what the proxy itself answers them."""

from __future__ import annotations

import asyncio

from h2.errors import ErrorCodes
from h2.events import StreamEnded, TrailersReceived

from fleet.discovery.sources import Backend
from tests.support.h2_peer import Http2Peer, Pairs, connected
from tests.support.loopback import APP
from tests.wire.proxy_rig import eventually
from tests.wire.test_http2 import listening
from tests.wire.test_http2_backends import behind
from tests.wire.test_second_codec import stage

CALL: Pairs = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"a.test"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
OK: Pairs = ((b":status", b"200"), (b"content-type", b"application/grpc"))
MESSAGE = b"\0\0\0\0\2ab"


def within(value: bytes) -> Pairs:
    return (*CALL, (b"grpc-timeout", value))


async def serve_nothing(peer: Http2Peer) -> None:
    await peer.drain()


async def test_no_route_and_no_backend_are_statuses() -> None:
    async with stage(readiness=0.2) as made, listening(made) as port, connected(port) as client:
        head, content = await client.answer(client.ask((*CALL[:3], (b":authority", b"b.test"), *CALL[4:])))
        assert (head[b":status"], head[b"content-type"], head[b"grpc-status"]) == (b"200", b"application/grpc", b"12")
        assert (head[b"grpc-message"], content) == (b'no route for host "b.test" and path "/a.B/C"', b"")
        head, _ = await client.answer(client.ask(CALL))
        assert head[b"grpc-status"] == b"4"
        assert head[b"grpc-message"].startswith(b"no backend of application default/a was ready within 0.2 s")


async def test_a_full_waiting_room_is_unavailable_with_a_pause() -> None:
    async with stage() as made, listening(made) as port, connected(port) as client:
        made.proxy.apps[APP].room.limit = 0
        head, _ = await client.answer(client.ask(CALL))
        assert (head[b"grpc-status"], head[b"grpc-retry-pushback-ms"]) == (b"14", b"1000")


async def test_a_cold_wait_ends_at_the_deadline() -> None:
    async with stage() as made, listening(made) as port, connected(port) as client:
        head, _ = await client.answer(client.ask(within(b"200m")))
        assert (head[b"grpc-status"], made.proxy.apps[APP].entry.held) == (b"4", 0)
        assert head[b"grpc-message"] == b"the call's deadline of 0.2 s has passed before application default/a answered"
        assert made.proxy.apps[APP].stats.own["grpc_timeout", 504] == 1


async def test_a_backend_gets_the_rest_of_a_deadline_and_a_reset_when_it_has_passed() -> None:
    told: list[bytes] = []
    codes: list[int] = []

    async def serve(peer: Http2Peer) -> None:
        for _ in range(2):
            number, head = await peer.request()
            told.append(head[b"grpc-timeout"])
            if len(told) == 1:
                await peer.until(StreamEnded, number)
                peer.say(number, OK)
                peer.say(number, ((b"grpc-status", b"0"),), end=True)
        codes.append(await peer.reset_code(number))

    async with behind(serve) as (made, client):
        await client.answer(client.ask(within(b"10S")))
        assert told[0] != b"10S"  # a connection was opened
        assert told[0].endswith(b"m")
        assert 5_000 < int(told[0][:-1]) < 10_000
        head, _ = await client.answer(client.ask(within(b"300m"), end=False))
        assert told[1] == b"300m"  # on an idle connection it goes on as it came
        assert head[b"grpc-status"] == b"4"
        await eventually(lambda: codes == [ErrorCodes.CANCEL])
        assert made.proxy.apps[APP].entry.in_flight == 0


async def test_an_answer_that_has_begun_ends_with_a_status_at_the_deadline() -> None:
    codes: list[int] = []

    async def serve(peer: Http2Peer) -> None:
        number, _ = await peer.request()
        peer.say(number, OK)
        peer.send(number, MESSAGE)
        codes.append(await peer.reset_code(number))

    async with behind(serve) as (made, client):
        number = client.ask(within(b"300m"), end=False)
        trailers = dict((await client.until(TrailersReceived, number)).headers)
        assert trailers[b"grpc-status"] == b"4"
        await eventually(lambda: codes == [ErrorCodes.CANCEL])
        assert made.proxy.apps[APP].stats.cut["grpc_timeout"] == 1


async def test_an_answer_that_the_backend_resets_ends_with_a_status() -> None:
    async def serve(peer: Http2Peer) -> None:
        number, _ = await peer.request()
        peer.say(number, OK)
        peer.send(number, MESSAGE)
        peer.reset(number, ErrorCodes.INTERNAL_ERROR)

    async with behind(serve) as (_, client):
        number = client.ask(CALL, end=False)
        trailers = dict((await client.until(TrailersReceived, number)).headers)
        assert trailers[b"grpc-status"] == b"13"


async def test_a_backend_that_is_gone_is_unavailable_before_and_within_an_answer() -> None:
    async def serve(peer: Http2Peer) -> None:
        number, head = await peer.request()
        if head[b":path"] == b"/begun":
            peer.say(number, OK)
            peer.send(number, MESSAGE)
        peer.close()

    for path in (b"/silent", b"/begun"):
        async with behind(serve) as (_, client):
            number = client.ask((*CALL[:2], (b":path", path), *CALL[3:]))
            fields, content = await client.answer(number)
            if path == b"/begun":
                assert content == MESSAGE
                fields = dict((await client.until(TrailersReceived, number)).headers)
            assert fields[b"grpc-status"] == b"14", fields


async def test_a_backend_that_resets_a_call_before_its_deadline() -> None:
    async def serve(peer: Http2Peer) -> None:
        number, _ = await peer.request()
        peer.reset(number, ErrorCodes.CANCEL)

    async with behind(serve) as (_, client):
        head, _ = await client.answer(client.ask(within(b"20S")))
        assert head[b"grpc-status"] == b"1"


async def test_a_backend_that_answers_in_another_protocol_than_it_declares() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await reader.read()  # closed with unread bytes it would be a reset, which may overtake the answer
        writer.close()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    for serve, status, words in (
        (refuse, b"13", b"the backend does not speak HTTP/2, although its appProtocol (kubernetes.io/h2c) is HTTP/2"),
        (say_nothing, b"14", b"the backend closed the connection and said nothing, although"),
    ):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            async with stage() as made, listening(made) as port, connected(port) as client:
                made.backends.set(APP, [Backend("127.0.0.1", server.sockets[0].getsockname()[1], "kubernetes.io/h2c")])
                head, _ = await client.answer(client.ask(CALL))
                assert head[b"grpc-status"] == status, head
                assert head[b"grpc-message"].startswith(words), head
        finally:
            server.close()
