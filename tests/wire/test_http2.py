"""HTTP/2 through the proxy, with clients and servers that others wrote: httpx over h2, curl, and servers of HTTP/1 and HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx

from fleet.discovery.sources import Backend
from interceptor.http1.client import ClientConnection
from interceptor.http2.client import take_over
from tests.support.h2_echo import EchoConnection
from tests.support.loopback import APP
from tests.wire.proxy_rig import eventually
from tests.wire.test_second_codec import Stage, stage

__all__ = ["http1_backend", "listening"]


@asynccontextmanager
async def listening(made: Stage) -> AsyncIterator[int]:
    """The proxy's usual port, where HTTP/1 is spoken too."""
    made.proxy.on_http2 = partial(take_over, made.proxy)
    server = await asyncio.get_running_loop().create_server(lambda: ClientConnection(made.proxy), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def http2_client(made: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        listening(made) as port,
        httpx.AsyncClient(http1=False, http2=True, base_url=f"http://127.0.0.1:{port}", headers={"host": "a.test"}) as client,
    ):
        yield client


async def http1_backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
    head = line + await reader.readuntil(b"\r\n\r\n")
    body = b""
    if b"chunked" in head:
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif b"content-length: " in (small := head.lower()):
        body = await reader.readexactly(int(small.partition(b"content-length: ")[2].split(b"\r\n")[0]))
    content = head + body
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-One: 1\r\n\r\n%b" % (len(content), content))
    return True


async def test_requests_of_http2_reach_a_backend_of_http1() -> None:
    async with stage() as made, http2_client(made) as client:
        waiting = asyncio.create_task(client.get("/cold?x=y"))
        await eventually(lambda: made.proxy.apps[APP].entry.held)
        await made.up(http1_backend, None)
        answer = await waiting
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        assert answer.headers["x-keda-http-cold-start"] == "true"
        assert answer.text.startswith("GET /cold?x=y HTTP/1.1\r\nHost: a.test\r\n")
        many = await asyncio.gather(*(client.get(f"/{n}") for n in range(50)))
        assert [each.text.split()[1] for each in many] == [f"/{n}" for n in range(50)]

        async def pieces() -> AsyncIterator[bytes]:
            for n in range(20):
                yield b"%d," % n
                await asyncio.sleep(0)

        posted = await client.post("/post", content=pieces())
        assert posted.text.endswith("".join(f"{n}," for n in range(20)))
        assert (await client.get("/", headers={"host": "b.test"})).status_code == 404


async def test_requests_of_http2_reach_a_backend_of_http2() -> None:
    async with stage() as made:
        server = await asyncio.get_running_loop().create_server(EchoConnection, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        made.backends.set(APP, [Backend(host, port, "kubernetes.io/h2c")])
        async with http2_client(made) as client:
            content = bytes(range(256)) * 4096
            answers = await asyncio.gather(*(client.post(f"/{n}", content=content) for n in range(10)))
            assert all(each.content == content for each in answers)
            assert answers[0].headers["server"] == "echo"
        reader, writer = await made.client(ClientConnection)
        writer.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"
        server.close()


async def test_many_tiny_chunks_that_waited_for_a_backend_of_http2_arrive_whole() -> None:
    content = bytes(range(65, 91)) * 80
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"
    server = await asyncio.get_running_loop().create_server(EchoConnection, "127.0.0.1", 0)
    async with stage() as made:
        try:
            for cold in (True, False):  # the place at the backend is used again
                reader, writer = await made.client(ClientConnection)
                writer.write(b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
                if cold:
                    await eventually(lambda: made.proxy.apps[APP].entry.held)
                    made.backends.set(APP, [Backend("127.0.0.1", server.sockets[0].getsockname()[1], "kubernetes.io/h2c")])
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
                came = b""
                while size := int(await reader.readline(), 16):
                    came += (await reader.readexactly(size + 2))[:-2]
                assert came == content
        finally:
            server.close()
