"""Servers and clients of plain TCP around an interceptor, for tests of ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fleet.discovery.sources import Backend
from fleet.routing.port import ListenPort, Uncounted
from fleet.routing.port_index import PortKey
from fleet.routing.route import Route, Target
from tests.support.loopback import APP
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

__all__ = ["Peer", "StreamRig", "TcpServer", "echo", "port", "port_route", "stream_rig"]

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def port(number: int, **fields: Any) -> ListenPort:
    uncounted = Uncounted(**{name: fields.pop(name) for name in ("silent", "networks", "first_bytes") if name in fields})
    return ListenPort(number, uncounted=uncounted, **fields)


def port_route(*ports: ListenPort, app: str = APP, **fields: Any) -> Route:
    return Route(app, Target(app), ports=ports, **fields)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


class TcpServer:
    """Serves every connection with one script; counts them and what they sent."""

    def __init__(self, script: Script = echo) -> None:
        self._script = script
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.open = 0
        self.backend = Backend("127.0.0.1", 0)

    async def start(self) -> TcpServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.backend = Backend("127.0.0.1", self._server.sockets[0].getsockname()[1])
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            await self._script(reader, writer)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*list(self._tasks), return_exceptions=True)


class Peer:
    """A client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(60):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """Everything until the end; raises ConnectionResetError for a reset."""
        async with asyncio.timeout(60):
            return await self.reader.read()

    async def is_reset(self) -> bool:
        try:
            await self.rest()
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        self.writer.close()


class StreamRig:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._peers: list[Peer] = []
        self._servers: list[TcpServer] = []

    async def server(self, script: Script = echo, *, app: str = APP, listed: bool = True) -> TcpServer:
        server = await TcpServer(script).start()
        self._servers.append(server)
        if listed:
            self.list(server, app)
        return server

    def list(self, server: TcpServer, app: str = APP) -> None:
        self.rig.sources.set(app, [*self.rig.sources.get(app), server.backend])

    async def connect(self, number: int, **options: Any) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", number, **options)
        peer = Peer(reader, writer)
        self._peers.append(peer)
        return peer

    async def bound(self, number: int) -> None:
        await eventually(lambda: self.rig.interceptor.listens_at(PortKey("TCP", number)) is not None)

    @property
    def entry(self) -> Any:
        return self.rig.app.entry

    @property
    def clients(self) -> set[Any]:
        return set(self.rig.interceptor.proxy.clients)

    async def close(self) -> None:
        for peer in self._peers:
            peer.close()
        await eventually(lambda: not self.clients)
        assert self.rig.ledger.balanced()
        for app in self.rig.interceptor.proxy.apps.values():
            assert app.uncounted is None or not app.uncounted.in_flight
            assert not any(part.room or part.room.held_bytes for part in app.parts)
        await eventually(lambda: not any(endpoint.load for each in self.rig.endpoints for endpoint in each.in_use))
        for server in self._servers:
            await server.close()


@asynccontextmanager
async def stream_rig(*routes: Route, **settings: Any) -> AsyncIterator[StreamRig]:
    async with proxy_rig(routes=list(routes), backends=0, settle=False, **settings) as rig:
        stage = StreamRig(rig)
        try:
            yield stage
        except BaseException:
            with contextlib.suppress(AssertionError):
                await stage.close()
            raise
        await stage.close()
