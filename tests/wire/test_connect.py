"""Calls of Connect (connectrpc.com), which pass as they are, whatever client and backend speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from h2.events import StreamEnded

from fleet.discovery.sources import Backend
from tests.support.h2_peer import Http2Peer, serving
from tests.support.loopback import APP
from tests.wire.test_http2 import listening
from tests.wire.test_second_codec import stage

VERSION = {"connect-protocol-version": "1", "connect-timeout-ms": "5000"}
REQUEST = b"\0\0\0\0\x0d" + b'{"text":"abc"}'[:13]
ANSWER = b"\0\0\0\0\x0f" + b'{"text":"abcd"}' + b"\0\0\0\0\x02{}" + b"\x02\0\0\0\x20" + b'{"metadata":{"x-tail":["1","2"]}}'[:32]
ERROR = b'{"code":"not_found","message":"none"}'


class _Server:
    """Answers by path, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[bytes, bytes], bytes]] = []

    def answer(self, path: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
        if path.endswith(b"/Stream"):
            return b"200", [(b"content-type", b"application/connect+json")], ANSWER
        if path.endswith(b"/Fail"):
            return b"404", [(b"content-type", b"application/json"), (b"trailer-x-tail", b"1")], ERROR
        return b"200", [(b"content-type", b"application/json"), (b"trailer-x-tail", b"1")], b'{"text":"abcd"}'

    async def http2(self, peer: Http2Peer) -> None:
        while True:
            number, head = await peer.request()
            while not any(isinstance(event, StreamEnded) and event.stream_id == number for event in peer.events):
                assert await peer.more()
            self.asked.append((head, await peer.content(number)))
            status, fields, content = self.answer(head[b":path"].partition(b"?")[0])
            peer.say(number, [(b":status", status), *fields])
            peer.send(number, content, end=True)

    async def http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        pairs = (each.split(b": ", 1) for each in head.split(b"\r\n") if each)
        fields = {name.lower(): value for name, value in pairs} | {b":path": line.split()[1], b":method": line.split()[0]}
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        while fields.get(b"transfer-encoding") == b"chunked" and (size := int(await reader.readline(), 16)):
            body += (await reader.readexactly(size + 2))[:-2]
        if b"transfer-encoding" in fields:
            await reader.readline()
        self.asked.append((fields, body))
        status, told, content = self.answer(fields[b":path"].partition(b"?")[0])
        lines = b"".join(b"%b: %b\r\n" % field for field in told)
        writer.write(b"HTTP/1.1 %b X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(content), content))
        return True


@asynccontextmanager
async def calling(*, http2: bool, to_http2: bool) -> AsyncIterator[tuple[_Server, httpx.AsyncClient]]:
    server = _Server()
    async with stage() as made, listening(made) as port, serving(server.http2) as (host, backend_port):
        if to_http2:
            made.backends.set(APP, [Backend(host, backend_port, "kubernetes.io/h2c")])
        else:
            await made.up(server.http1, None)
        url, headers = f"http://127.0.0.1:{port}", {"host": "a.test"}
        async with httpx.AsyncClient(http1=not http2, http2=http2, base_url=url, headers=headers) as client:
            yield server, client


both = pytest.mark.parametrize("http2", [False, True], ids=["from HTTP/1.1", "from HTTP/2"])
either = pytest.mark.parametrize("to_http2", [False, True], ids=["to HTTP/1.1", "to HTTP/2"])


@both
@either
async def test_unary_calls(*, http2: bool, to_http2: bool) -> None:
    async with calling(http2=http2, to_http2=to_http2) as (server, client):
        json = {"content-type": "application/json"}
        answer = await client.post("/a.B/Unary", content=b'{"text":"abc"}', headers=json | VERSION)
        assert (answer.status_code, answer.content, answer.headers["trailer-x-tail"]) == (200, b'{"text":"abcd"}', "1")
        asked, body = server.asked[-1]
        assert (body, asked[b"content-type"]) == (b'{"text":"abc"}', b"application/json")
        assert (asked[b"connect-protocol-version"], asked[b"connect-timeout-ms"]) == (b"1", b"5000")
        failed = await client.post("/a.B/Fail", content=b"{}", headers=json | VERSION)
        assert (failed.status_code, failed.content) == (404, ERROR)


@both
@either
async def test_a_unary_get(*, http2: bool, to_http2: bool) -> None:
    target = "/a.B/Unary?connect=v1&encoding=json&message=%7B%22text%22%3A%22abc%22%7D"
    async with calling(http2=http2, to_http2=to_http2) as (server, client):
        assert (await client.get(target)).content == b'{"text":"abcd"}'
        asked, body = server.asked[-1]
        assert (asked[b":method"], asked[b":path"], body) == (b"GET", target.encode(), b"")


@both
@either
async def test_a_stream_with_its_end(*, http2: bool, to_http2: bool) -> None:
    async def messages() -> AsyncIterator[bytes]:
        for at in range(0, len(REQUEST), 5):
            yield REQUEST[at : at + 5]
            await asyncio.sleep(0)

    async with calling(http2=http2, to_http2=to_http2) as (server, client):
        kind = {"content-type": "application/connect+json"}
        answer = await client.post("/a.B/Stream", content=messages(), headers=kind | VERSION)
        assert (answer.content, answer.headers["content-type"]) == (ANSWER, "application/connect+json")
        assert server.asked[-1][1] == REQUEST
