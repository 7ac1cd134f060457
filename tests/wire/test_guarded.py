"""What a client may send to any HTTP server but the proxy before it is answered, and how many connections it may have."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from controller.admin.listener import AdminProtocol
from controller.admin.server import _configuration as admin_configuration
from fleet.runtime import diagnostics, guarded
from fleet.runtime.diagnostics import QuietServer, quiet_configuration
from tests.support.waiting import until

GET = b"GET /now HTTP/1.1\r\n\r\n"
MUCH = 32 << 20
"""Bytes, more than sockets keep."""
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served:
    """A server whose page /slow answers when it may."""

    def __init__(self, kind: str) -> None:
        self.may = asyncio.Event()
        self.asked = 0
        ways = [Route("/now", self._now, methods=["GET", "POST"]), Route("/slow", self._slow), Route("/much", self._much)]
        ways.append(Route("/read", self._read, methods=["POST"]))
        app: Any = Starlette(routes=ways)
        of_kind = {
            "admin": lambda: admin_configuration(app, None),
            "diagnostics": lambda: quiet_configuration(app),
            "page": lambda: quiet_configuration(app, is_patient=True),
        }
        self.server = QuietServer(of_kind[kind]())
        self.port = 0

    async def open(self) -> Opened:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _now(self, request: Request) -> Response:
        return PlainTextResponse("now")

    async def _slow(self, request: Request) -> Response:
        self.asked += 1
        await self.may.wait()
        return PlainTextResponse("slow")

    async def _read(self, request: Request) -> Response:
        self.asked += 1
        return PlainTextResponse(f"{len(await request.body())} {len(request.headers)}")

    async def _much(self, request: Request) -> Response:
        return Response(bytes(MUCH))


@asynccontextmanager
async def serving(kind: str) -> AsyncIterator[Served]:
    served = Served(kind)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served.port = listener.getsockname()[1]
        task = asyncio.create_task(served.server.serve(sockets=[listener]))
        await until(lambda: served.server.started)
        try:
            yield served
        finally:
            served.may.set()
            served.server.end()
            await task


@pytest.fixture(params=["admin", "diagnostics"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with serving(request.param) as held:
        yield held


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until the connection ends, however it does."""
    found = bytearray()
    try:
        async with asyncio.timeout(60):
            while part := await reader.read(1 << 16):
                found += part
    except ConnectionError:
        pass
    return bytes(found)


async def test_a_few_requests_at_once_are_answered_in_order(served: Served) -> None:
    reader, writer = await served.open()
    writer.write(GET.replace(b"now", b"slow") + 9 * GET + b"GET /now HTTP/1.1\r\nConnection: close\r\n\r\n")
    await until(lambda: served.asked == 1)
    served.may.set()
    answers = await rest_of(reader)
    assert answers.count(b"HTTP/1.1 200 OK") == 11
    assert answers.index(b"slow") < answers.index(b"now")
    writer.close()


async def test_requests_without_end_do_not_pile_up(served: Served) -> None:
    reader, writer = await served.open()
    writer.write(5000 * GET)
    assert (await rest_of(reader)).count(b"HTTP/1.1 200 OK") <= guarded.MAX_PIPELINED + 1
    await until(lambda: not served.server.server_state.connections)
    writer.close()


async def test_a_head_has_its_bound_while_an_answer_is_under_way(served: Served) -> None:
    reader, writer = await served.open()
    writer.write(GET.replace(b"now", b"slow") + b"GET /now HTTP/1.1\r\nX: ")
    await until(lambda: served.asked == 1)
    writer.write(b"x" * (1 << 20))
    assert await rest_of(reader) == b""
    writer.close()


async def test_a_request_that_waits_is_not_taken_for_a_slow_one(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "GUARDED_HEAD_SECONDS", 0.2)
    reader, writer = await served.open()
    writer.write(GET + b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n")
    await until(lambda: served.asked == 1)
    await asyncio.sleep(0.5)  # longer than a head may take, which is here already
    served.may.set()
    assert (await rest_of(reader)).endswith(b"slow")
    writer.close()


async def test_an_answer_arrives_though_the_body_is_not_read(served: Served) -> None:
    size = 4 << 20
    reader, writer = await served.open()
    writer.write(f"POST /now HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
    for _ in range(size >> 16):
        writer.write(b"x" * (1 << 16))
        await writer.drain()
    assert await asyncio.wait_for(reader.readline(), 60) == b"HTTP/1.1 200 OK\r\n"
    writer.close()


async def test_a_body_without_end_that_nobody_reads_ends_the_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "GUARDED_HEAD_SECONDS", 0.2)
    reader, writer = await served.open()
    writer.write(b"POST /now HTTP/1.1\r\nContent-Length: 100000000000\r\n\r\n")
    assert (await rest_of(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_connections_that_ask_for_nothing_are_bounded(served: Served) -> None:
    served.server.config.limit_concurrency = 2
    opened = [await served.open() for _ in range(5)]
    assert await rest_of(opened[4][0]) == b""
    opened[0][1].write(GET)
    assert await asyncio.wait_for(opened[0][0].readline(), 60) == b"HTTP/1.1 503 Service Unavailable\r\n"
    for _, writer in opened:
        writer.close()


async def test_one_address_leaves_connections_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AdminProtocol, "most_of_address", 2)
    async with serving("admin") as served:
        opened = [await served.open() for _ in range(3)]
        assert await rest_of(opened[2][0]) == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, local_addr=("127.0.0.2", 0))
        writer.write(GET)
        assert await asyncio.wait_for(reader.readline(), 60) == b"HTTP/1.1 200 OK\r\n"
        for _, one in (*opened, (reader, writer)):
            one.close()


@pytest.mark.parametrize(("kind", "is_ended"), [("diagnostics", True), ("page", False)])
async def test_an_answer_that_is_not_read(kind: str, is_ended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of logs in a pager nobody reads more than a page."""
    monkeypatch.setattr(guarded, "READ_SECONDS", 0.2)
    async with serving(kind) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        writer.write(b"GET /much HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert await asyncio.wait_for(reader.readline(), 60) == b"HTTP/1.1 200 OK\r\n"
        await asyncio.sleep(0.6)  # longer than an answer may be left unread
        assert (len(await rest_of(reader)) < MUCH) is is_ended
        writer.close()


@pytest.mark.parametrize("endless", [b"a:b\r\n", b"a"], ids=["fields", "a name"])
async def test_trailers_without_end(served: Served, endless: bytes) -> None:
    """uvicorn adds them to the fields of the head, however many they are."""
    reader, writer = await served.open()
    writer.write(b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    writer.write(endless * (4 * guarded.MAX_GUARDED_HEAD // len(endless)))
    assert await rest_of(reader) == b""
    await until(lambda: not served.server.server_state.connections)
    writer.close()


async def test_trailers_are_no_fields_of_the_head(served: Served) -> None:
    reader, writer = await served.open()
    writer.write(b"POST /read HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n")
    assert (await rest_of(reader)).endswith(b"\r\n\r\n1 2")
    writer.close()


async def test_a_large_body_in_small_pieces_arrives(served: Served) -> None:
    reader, writer = await served.open()
    writer.write(
        b"POST /read HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    )
    assert (await rest_of(reader)).endswith(b"\r\n\r\n50000 2")
    writer.close()


async def test_a_body_that_does_not_come_holds_no_place_of_diagnostics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "GUARDED_HEAD_SECONDS", 0.2)
    async with serving("diagnostics") as served:
        reader, writer = await served.open()
        writer.write(b"POST /read HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        assert await rest_of(reader) == b""
        assert served.asked == 1
        writer.close()


async def test_new_connections_do_not_push_each_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe is new as well, until its request is read."""
    monkeypatch.setattr(diagnostics, "MAX_CONNECTIONS", 10)
    async with serving("diagnostics") as served:
        busy = [await served.open() for _ in range(9)]
        for _, writer in busy:
            writer.write(GET.replace(b"now", b"slow"))
        await until(lambda: served.asked == 9)
        probe = await served.open()
        flood = [await served.open() for _ in range(5)]
        await until(lambda: len(served.server.server_state.connections) <= 10)
        probe[1].write(b"GET /now HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert (await rest_of(probe[0])).endswith(b"now")
        for _, writer in (*busy, probe, *flood):
            writer.close()
