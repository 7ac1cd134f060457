"""Another protocol through the same exchange, apps and backends: cold start, waiting, retry, upgrade, limits and drain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

from fleet.demand.ledger import Ledger
from fleet.discovery.fixed import FixedBackends
from fleet.discovery.sources import Backend
from fleet.routing.route import Protection, Route, Rule, Target, Timeouts
from fleet.routing.table import RoutingTable
from interceptor.backends.dialers import Dialers
from interceptor.drain import finish
from interceptor.http1.dialer import Http1Dialer
from interceptor.proxy import TICK_SECONDS, Proxy
from interceptor.transport.tcp import Outbox
from tests.support.lines_codec import LineClient, LineDialer
from tests.wire.proxy_rig import APP, eventually, loopback_settings

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[bool]]
"""Of one request; whether the connection goes on."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
    """Says what it was asked, and every line of the body."""
    lines = []
    while not line.endswith(b" .\n") and (more := await reader.readline()) != b".\n":
        lines.append(more)
    writer.write(b"200\n>" + line + b"".join(lines) + b".\n")
    return True


class Stage:
    def __init__(self, route: Route) -> None:
        outbox = Outbox()
        self.ledger, self.backends = Ledger(), FixedBackends()
        dialers = Dialers(Http1Dialer(outbox), {"lines": LineDialer(outbox)})
        self.proxy = Proxy(loopback_settings(), self.ledger, self.backends, monotonic, outbox=outbox, dialer=dialers)
        self.backends.subscribe(self.proxy.backends_changed)
        self.proxy.set_table(RoutingTable([route]))
        self.asked: list[bytes] = []
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server = await asyncio.get_running_loop().create_server(lambda: LineClient(self.proxy), "127.0.0.1", 0)
        self._servers.append(server)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        self._writers.append(writer)
        return reader, writer

    async def backend(self, answer: Answer = echo) -> Backend:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            while line := await reader.readline():
                self.asked.append(line)
                if not await answer(reader, writer, line):
                    break
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        host, port = server.sockets[0].getsockname()
        return Backend(host, port, "lines")

    async def up(self, answer: Answer = echo) -> None:
        self.backends.set(APP, [*self.backends.get(APP), await self.backend(answer)])

    async def sweep(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.proxy.deadlines.sweep(monotonic())

    async def close(self) -> None:
        await self.proxy.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        for server in self._servers:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def stage(*, readiness_path: str | None = None, **timeouts: float) -> AsyncIterator[Stage]:
    rule, protection = Rule(hosts=("a.test",)), Protection(readiness_path=readiness_path)
    made = Stage(Route(app=APP, target=Target(APP), rules=(rule,), timeouts=Timeouts(**timeouts), protection=protection))
    sweeper = asyncio.create_task(made.sweep())
    try:
        yield made
    finally:
        sweeper.cancel()
        await made.close()
        await asyncio.sleep(0)
    await eventually(made.ledger.balanced)


async def test_a_cold_start_is_held_and_let_in() -> None:
    async with stage() as made:
        reader, writer = await made.client()
        writer.write(b"GET a.test /one .\n")
        entry = made.proxy.apps[APP].entry
        await eventually(lambda: entry.held)
        await made.up()
        assert await reader.readline() == b"200 X-KEDA-HTTP-Cold-Start=true\n"
        assert await reader.readuntil(b"\n.\n") == b">GET a.test /one .\n.\n"
        writer.write(b"PUT a.test /two\n>a\n>b\n.\n")
        assert await reader.readline() == b"200 X-KEDA-HTTP-Cold-Start=false\n"
        assert (await reader.readuntil(b"\n.\n")) == b">PUT a.test /two\n>a\n>b\n.\n"
        assert entry.requests_total == 2


async def test_a_backend_that_ends_unanswered_loses_only_what_is_sent_once() -> None:
    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        return len(made.asked) > 1 and await echo(reader, writer, line)

    async with stage() as made:
        await made.up(lose)
        reader, writer = await made.client()
        writer.write(b"GET a.test / .\n")
        assert (await reader.readuntil(b"\n.\n")).startswith(b"200 ")
        assert len(made.asked) == 2
        made.asked.clear()
        writer.write(b"POST a.test / .\n")
        assert (await reader.readuntil(b"\n.\n")).startswith(b"502\n")
        assert len(made.asked) == 1


async def test_limits_and_replies() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readline()
        return False

    async with stage(response_header=0.2, readiness=0.2) as made:
        reader, writer = await made.client()
        writer.write(b"GET a.test / .\nGET b.test / .\n")
        assert (await reader.readuntil(b"\n.\n")).startswith(b"504\n>weir: no backend")
        assert (await reader.readuntil(b"\n.\n")).startswith(b"404\n")
        await made.up(silent)
        writer.write(b"GET a.test / .\n")
        assert b"sent no response within" in await reader.readuntil(b"\n.\n")


async def test_an_upgrade_becomes_a_tunnel() -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        writer.write(b"101 upgrade=shout\nhello ")
        while data := await reader.read(100):
            writer.write(data.upper())
        return False

    async with stage() as made:
        await made.up(switch)
        reader, writer = await made.client()
        writer.write(b"GET a.test / . upgrade=shout\n")
        assert await reader.readline() == b"101 upgrade=shout\n"
        assert await reader.readexactly(6) == b"hello "
        writer.write(b"you")
        assert await reader.readexactly(3) == b"YOU"
        assert made.proxy.apps[APP].entry.in_flight == 1
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_readiness_path_is_asked_in_the_backends_protocol() -> None:
    async with stage(readiness_path="/health") as made:
        await made.up()
        reader, writer = await made.client()
        writer.write(b"GET a.test / .\n")
        assert (await reader.readuntil(b"\n.\n")).startswith(b"200 ")
        assert made.asked == [b"GET probe /health .\n", b"GET a.test / .\n"]


async def test_a_drain_lets_finish_and_takes_nothing_more() -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        writer.write(b"200\n>first\n")
        await go_on.wait()
        writer.write(b">last\n.\n")
        return True

    async with stage() as made:
        await made.up(slow)
        reader, writer = await made.client()
        writer.write(b"GET a.test / .\n")
        assert (await reader.readuntil(b">first\n")).startswith(b"200 ")
        made.proxy.draining = True
        ending = asyncio.create_task(finish(made.proxy, began=monotonic(), seconds=20))
        go_on.set()
        assert await reader.read() == b">last\n.\n"
        await ending
        assert not made.proxy.clients
