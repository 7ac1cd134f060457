"""Another protocol through the same exchange, apps and backends: cold start, waiting, retry, upgrade, limits and drain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from fleet.demand.ledger import Ledger
from fleet.discovery.fixed import FixedBackends
from fleet.discovery.sources import Backend
from fleet.routing import protocols
from fleet.routing.protocols import HTTP1, HTTP2, Spoken
from fleet.routing.route import Protection, Route, Rule, Target, Timeouts
from fleet.routing.table import RoutingTable
from interceptor.backends.dialers import Dialers
from interceptor.drain import finish
from interceptor.http1.dialer import Http1Dialer
from interceptor.http2.dialer import Http2Dialer
from interceptor.proxy import TICK_SECONDS, Proxy
from interceptor.transport.tcp import Outbox
from tests.support.lines_codec import LineClient, LineDialer
from tests.support.loopback import APP, loopback_settings
from tests.wire.proxy_rig import eventually

LINES = Spoken("lines")
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
        self.route = route
        self.ledger, self.backends = Ledger(), FixedBackends()
        http2 = Http2Dialer(outbox, monotonic)
        dialers = Dialers({Spoken(HTTP1): Http1Dialer(outbox), LINES: LineDialer(outbox), Spoken(HTTP2): http2})
        self.proxy = Proxy(loopback_settings(), self.ledger, self.backends, monotonic, outbox=outbox, dialer=dialers)
        self.backends.subscribe(self.proxy.backends_changed)
        self.proxy.set_table(RoutingTable([route]))
        self.asked: list[bytes] = []
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def client(
        self, connection: Callable[[Any], asyncio.BaseProtocol] = LineClient
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server = await asyncio.get_running_loop().create_server(lambda: connection(self.proxy), "127.0.0.1", 0)
        self._servers.append(server)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        self._writers.append(writer)
        return reader, writer

    async def backend(self, answer: Answer = echo, protocol: str | None = "lines") -> Backend:
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
        return Backend(host, port, protocol)

    async def up(self, answer: Answer = echo, protocol: str | None = "lines") -> None:
        self.backends.set(APP, [*self.backends.get(APP), await self.backend(answer, protocol)])

    async def sweep(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)  # as the server's clock does, which moves time limits on
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
        with patch.object(protocols, "PROTOCOLS", {**protocols.PROTOCOLS, "lines": LINES}):
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


async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
    """Changes the protocol, and says what it hears in capitals."""
    writer.write(b"101 upgrade=shout\nhello ")
    while data := await reader.read(100):
        writer.write(data.upper())
    return False


async def test_an_upgrade_becomes_a_tunnel() -> None:
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


async def test_requests_wait_for_a_busy_backend_and_clients_that_leave_are_not_sent() -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await go_on.wait()
        return await echo(reader, writer, line)

    async with stage() as made:
        made.proxy.set_table(RoutingTable([replace(made.route, protection=Protection(backend_concurrency=1))]))
        await made.up(slow)
        entry, clients = made.proxy.apps[APP].entry, [await made.client() for _ in range(4)]
        sent: list[bytes] = []
        for number, (_, writer) in enumerate(clients):
            sent.append(b"GET a.test /%d .\n" % number)
            writer.write(sent[-1])
            await eventually(lambda: entry.requests_total == len(sent))
        assert (entry.in_flight, entry.held) == (1, 3)
        clients.pop(1)[1].close()
        await eventually(lambda: entry.held == 2)
        go_on.set()
        for reader, _ in clients:
            assert (await reader.readuntil(b"\n.\n")).startswith(b"200 ")
        assert made.asked == [sent[0], *sent[2:]]


async def test_a_drain_ends_tunnels_and_answers_requests_that_wait() -> None:
    async with stage() as made:
        other = Route(app="default/b", target=Target("default/b"), rules=(Rule(hosts=("b.test",)),))
        made.proxy.set_table(RoutingTable([made.route, other]))
        await made.up(switch)
        tunnel, writer = await made.client()
        writer.write(b"GET a.test / . upgrade=shout\n")
        assert await tunnel.readuntil(b"hello ") == b"101 upgrade=shout\nhello "
        held, writer = await made.client()
        writer.write(b"GET b.test / .\n")
        await eventually(lambda: made.proxy.apps["default/b"].entry.held)
        made.proxy.draining = True
        await finish(made.proxy, began=monotonic(), seconds=1)
        assert await tunnel.read() == b""
        assert (await held.read()).startswith(b"503\n>weir: ")
        assert not made.proxy.apps[APP].entry.connections


async def test_a_slow_reader_holds_its_backend_back() -> None:
    line, count = b">" + bytes(65536) + b"\n", 500

    async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> bool:
        writer.write(b"200\n")
        for _ in range(count):
            writer.write(line)
            await writer.drain()
        writer.write(b".\n")
        return True

    async with stage() as made:
        await made.up(much)
        reader, writer = await made.client()
        writer.write(b"GET a.test / .\n")
        await eventually(lambda: made.asked)
        (client,) = made.proxy.clients
        assert isinstance(client, LineClient)
        exchange: Any = client._exchange
        await eventually(lambda: client.congested and exchange.attempt.connection.paused)
        assert (await reader.readline()).startswith(b"200 ")
        assert await reader.readexactly(count * len(line)) == count * line
        assert await reader.readexactly(2) == b".\n"
