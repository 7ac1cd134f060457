"""gRPC-Web through the proxy on real sockets, by both protocols, with a server of grpcio's."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest
from h2.errors import ErrorCodes

from fleet.discovery.sources import Backend
from tests.support.h2_peer import Http2Peer, serving
from tests.support.loopback import APP
from tests.wire.proxy_rig import eventually
from tests.wire.test_http2 import http1_backend, listening
from tests.wire.test_second_codec import Stage, stage

WEB = "application/grpc-web+proto"
TEXT = "application/grpc-web-text+proto"
PATH = "/test.Echo/"


def message(content: bytes) -> bytes:
    return b"\0" + len(content).to_bytes(4) + content


def frames(content: bytes) -> list[tuple[int, bytes]]:
    """Flags and content of each."""
    found = []
    while content:
        size = int.from_bytes(content[1:5])
        found.append((content[0], content[5 : 5 + size]))
        assert len(content) >= 5 + size
        content = content[5 + size :]
    return found


def from_text(content: bytes) -> bytes:
    """Base64 with padding anywhere."""
    return b"".join(b64decode(piece, validate=True) for piece in re.findall(rb"[^=]+=*", content))


class _Echo(grpc.GenericRpcHandler):
    """Unary, Many (each byte is one message) and Fail, with bytes as messages."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str | bytes]] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        async def unary(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            self.asked.append(dict(context.invocation_metadata() or ()))
            await context.send_initial_metadata((("x-head", "1"),))
            context.set_trailing_metadata((("x-tail", "2"),))
            return request

        async def many(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
            for byte in request:
                yield bytes((byte,))

        async def fail(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            context.set_trailing_metadata((("x-tail", "2"),))
            await context.abort(grpc.StatusCode.NOT_FOUND, "none, at 100%")
            raise AssertionError

        kind = details.method.rpartition("/")[2]
        if kind == "Many":
            return grpc.unary_stream_rpc_method_handler(many)
        return grpc.unary_unary_rpc_method_handler(fail if kind == "Fail" else unary)


@asynccontextmanager
async def grpc_backend() -> AsyncIterator[tuple[_Echo, Backend]]:
    server, echo = grpc.aio.server(), _Echo()
    server.add_generic_rpc_handlers((echo,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield echo, Backend("127.0.0.1", port, "kubernetes.io/h2c")
    finally:
        await server.stop(None)


@asynccontextmanager
async def called(*, http2: bool, up: bool = True) -> AsyncIterator[tuple[Stage, _Echo, httpx.AsyncClient, Backend]]:
    async with stage() as made, listening(made) as port, grpc_backend() as (echo, backend):
        if up:
            made.backends.set(APP, [backend])
        headers = {"host": "a.test"}
        async with httpx.AsyncClient(
            http1=not http2, http2=http2, base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20
        ) as client:
            yield made, echo, client, backend


both = pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
as_text = pytest.mark.parametrize("kind", [WEB, TEXT], ids=["binary", "text"])


async def call(client: httpx.AsyncClient, method: str, content: bytes, kind: str, **headers: str) -> httpx.Response:
    body = b64encode(content) if kind == TEXT else content
    return await client.post(PATH + method, content=body, headers={"content-type": kind, "x-grpc-web": "1", **headers})


def content_of(answer: httpx.Response, kind: str) -> list[tuple[int, bytes]]:
    assert answer.headers["content-type"] == kind
    return frames(from_text(answer.content) if kind == TEXT else answer.content)


def trailers_of(frame: tuple[int, bytes]) -> dict[bytes, bytes]:
    assert frame[0] == 0x80
    lines = frame[1].split(b"\r\n")
    assert lines.pop() == b""
    return dict(line.split(b": ", 1) for line in lines)


@both
@as_text
async def test_unary_calls(kind: str, *, http2: bool) -> None:
    async with called(http2=http2) as (_, echo, client, _):
        for content in b"", b"a", bytes(range(256)) * 400:
            answer = await call(client, "Unary", message(content), kind, **{"x-own": "1"})
            assert (answer.status_code, answer.headers.get("x-head")) == (200, "1"), answer.content
            said, last = content_of(answer, kind)
            assert said == (0, content)
            assert trailers_of(last) | {b"grpc-message": b""} == {b"grpc-status": b"0", b"x-tail": b"2", b"grpc-message": b""}
            assert "grpc-status" not in answer.headers
        assert echo.asked[0]["x-own"] == "1"
        assert "x-grpc-web" not in echo.asked[0]


@both
@as_text
async def test_server_streaming(kind: str, *, http2: bool) -> None:
    async with called(http2=http2) as (_, _, client, _):
        answer = await call(client, "Many", message(bytes(range(100))), kind)
        *said, last = content_of(answer, kind)
        assert said == [(0, bytes((byte,))) for byte in range(100)]
        assert trailers_of(last)[b"grpc-status"] == b"0"


@both
@as_text
async def test_a_status_of_the_backend(kind: str, *, http2: bool) -> None:
    async with called(http2=http2) as (_, _, client, _):
        answer = await call(client, "Fail", message(b"a"), kind)
        (last,) = content_of(answer, kind)
        told = trailers_of(last)
        assert (told[b"grpc-status"], told[b"grpc-message"], told[b"x-tail"]) == (b"5", b"none, at 100%25", b"2")


@both
async def test_text_in_pieces_with_padding_between_them(*, http2: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in message(b"abcdefgh")[:4], message(b"abcdefgh")[4:]:
            text = b64encode(piece)
            yield text[:3]
            await asyncio.sleep(0)
            yield text[3:]

    async with called(http2=http2) as (_, _, client, _):
        answer = await client.post(PATH + "Unary", content=pieces(), headers={"content-type": TEXT})
        assert content_of(answer, TEXT)[0] == (0, b"abcdefgh")


@both
@as_text
async def test_own_answers_and_a_cold_start(kind: str, *, http2: bool) -> None:
    async with called(http2=http2, up=False) as (made, _, client, backend):
        unrouted = await call(client, "Unary", message(b"a"), kind, host="b.test")
        told = trailers_of(content_of(unrouted, kind)[0])
        assert (told[b"grpc-status"], told[b"grpc-message"][:12]) == (b"12", b"no route for")
        late = await call(client, "Unary", message(b"a"), kind, **{"grpc-timeout": "200m"})
        assert trailers_of(content_of(late, kind)[0])[b"grpc-status"] == b"4"
        waiting = asyncio.create_task(call(client, "Unary", message(b"a"), kind))
        await eventually(lambda: made.proxy.apps[APP].entry.held)
        made.backends.set(APP, [backend])
        assert content_of(await waiting, kind)[0] == (0, b"a")


@both
@pytest.mark.parametrize("body", [b"AA*A", b"AAAAA", b"AA==" * 300])
async def test_text_that_is_malformed(body: bytes, *, http2: bool) -> None:
    async with called(http2=http2) as (made, _, client, _):
        answer = await client.post(PATH + "Unary", content=body, headers={"content-type": TEXT})
        told = trailers_of(content_of(answer, TEXT)[0])
        assert (told[b"grpc-status"], told[b"grpc-message"][:28]) == (b"13", b"malformed text of gRPC-Web: ")
        assert content_of(await call(client, "Unary", message(b"a"), TEXT), TEXT)[0] == (0, b"a")
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)


@both
async def test_a_backend_of_http1_gets_it_untouched(*, http2: bool) -> None:
    async with called(http2=http2, up=False) as (made, _, client, _):
        await made.up(http1_backend, "grpc-web")
        answer = await call(client, "Unary", message(b"abc"), TEXT)
        head, _, body = answer.content.partition(b"\r\n\r\n")
        assert (b"content-type: " + TEXT.encode() in head.lower(), body) == (True, b64encode(message(b"abc")))


async def test_a_slow_reader_of_a_large_answer_holds_the_backend_up() -> None:
    sent = 0

    async def serve(peer: Http2Peer) -> None:
        nonlocal sent
        number, _ = await peer.request()
        peer.say(number, ((b":status", b"200"), (b"content-type", b"application/grpc")))
        while sent < 8 << 20:
            while not peer.h2.local_flow_control_window(number):
                await peer.more()
            most = min(peer.h2.local_flow_control_window(number), 16_384)
            peer.send(number, bytes(most))
            sent += most
        peer.say(number, ((b"grpc-status", b"0"),), end=True)

    async with stage() as made, listening(made) as port, serving(serve) as (host, backend_port):
        made.backends.set(APP, [Backend(host, backend_port, "kubernetes.io/h2c")])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        head = f"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Type: {TEXT}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)  # for the kernel's buffers to fill
        assert sent < 8 << 20
        size = 0
        while chunk := int(await reader.readline(), 16):
            size += len(from_text((await reader.readexactly(chunk + 2))[:-2]))
        assert size == sent + len(b"\x80\0\0\0\x10grpc-status: 0\r\n")
        writer.close()


@asynccontextmanager
async def cut_short(*pieces: bytes, http2: bool, reset: bool = True) -> AsyncIterator[tuple[Stage, httpx.AsyncClient]]:
    """A backend whose responses begin with these pieces and are never complete."""

    async def serve(peer: Http2Peer) -> None:
        while True:
            number, _ = await peer.request()
            peer.say(number, ((b":status", b"200"), (b"content-type", b"application/grpc")))
            for piece in pieces:
                peer.send(number, piece)
            if reset:
                peer.reset(number, ErrorCodes.CANCEL)

    async with stage() as made, listening(made) as port, serving(serve) as (host, backend):
        made.backends.set(APP, [Backend(host, backend, "kubernetes.io/h2c")])
        address, fields = f"http://127.0.0.1:{port}", {"host": "a.test"}
        async with httpx.AsyncClient(http1=not http2, http2=http2, base_url=address, headers=fields, timeout=20) as client:
            yield made, client


@both
@as_text
@pytest.mark.parametrize("pieces", [(), (message(b"a"),), (message(b""), message(b"b" * 300))])
async def test_a_response_that_is_cut_between_messages_ends_with_a_status(
    pieces: Sequence[bytes], kind: str, *, http2: bool
) -> None:
    async with cut_short(*pieces, http2=http2) as (made, client):
        for _ in range(2):  # the connection of the client goes on
            *messages, last = content_of(await call(client, "Many", message(b"x"), kind), kind)
            assert [message(content) for _, content in messages] == list(pieces)
            assert trailers_of(last)[b"grpc-status"] == b"1", "what a reset with CANCEL means"
        assert made.proxy.apps[APP].stats.cut["backend"] == 2
        assert made.proxy.apps[APP].entry.in_flight == 0


@both
@as_text
async def test_at_the_deadline_too(kind: str, *, http2: bool) -> None:
    async with cut_short(message(b"a"), http2=http2, reset=False) as (made, client):
        answer = await call(client, "Many", message(b"x"), kind, **{"grpc-timeout": "300m"})
        *messages, last = content_of(answer, kind)
        assert (messages, trailers_of(last)[b"grpc-status"]) == ([(0, b"a")], b"4")
        assert made.proxy.apps[APP].stats.cut["grpc_timeout"] == 1


@both
@pytest.mark.parametrize(
    "pieces", [(message(b"abc")[:6],), (message(b"a"), b"\0"), (message(b"ab")[:6], b"b"), (message(b"a") * 2,)]
)
async def test_a_response_that_may_be_cut_inside_a_message_is_reset(pieces: Sequence[bytes], *, http2: bool) -> None:
    """The status would become a part of the message."""
    async with cut_short(*pieces, http2=http2) as (_, client):
        with pytest.raises(httpx.TransportError):
            await call(client, "Many", message(b"x"), WEB)
