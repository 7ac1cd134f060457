"""Backends of TCP applications that are refused, replaced, lost or gone while clients are held or connected: who waits is
served by the next one, other applications do not notice, and nothing is left of it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

import psutil
import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Timeouts
from tests.support.loopback import APP
from tests.support.ports import free_port, refusing_port
from tests.support.sockets import reset
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import Peer, StreamRig, TcpServer, echo, port, port_route, stream_rig

CLIENTS = 8
BESIDE = "default/beside"


@dataclass
class Stage:
    """Clients of an application whose backends are lost, and one of an application beside it."""

    rig: StreamRig
    number: int
    beside: Peer
    clients: list[Peer] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)

    async def hold(self, count: int = CLIENTS) -> None:
        """So many more connections wait, and have sent their numbers."""
        before, expected = len(self.clients), self.rig.entry.held + count
        for number in range(before, before + count):
            client = await self.rig.connect(self.number)
            client.send(b"%04d" % number)
            self.clients.append(client)
        await eventually(lambda: self.rig.entry.held == expected)

    def offer(self, *backends: Backend) -> None:
        """Discovery lists these, and no others."""
        self.backends += backends
        self.rig.rig.sources.set(APP, [*backends])

    async def server(self, *, listed: bool = True) -> TcpServer:
        server = await self.rig.server(listed=False)
        self.backends.append(server.backend)
        if listed:
            self.offer(server.backend)
        return server

    async def all_are_served(self) -> None:
        for number, client in enumerate(self.clients):
            assert await client.read(4) == b"%04d" % number
        assert (self.rig.entry.held, self.rig.entry.in_flight) == (0, len(self.clients))

    async def others_go_on(self) -> None:
        self.beside.send(data := os.urandom(8))
        assert await self.beside.read(8) == data

    async def nothing_is_left(self) -> None:
        """Once all clients have gone, but the one beside."""
        for client in self.clients:
            client.close()
        entry, app = self.rig.entry, self.rig.rig.app
        await eventually(lambda: (entry.held, entry.in_flight, entry.connections) == (0, 0, 0))
        await eventually(lambda: len(self.rig.clients) == 1)
        assert not any(part.room or part.room.held_bytes for part in app.parts)
        assert self.rig.rig.interceptor.proxy.early.total == 0
        addresses, process = {(backend.host, backend.port) for backend in self.backends}, psutil.Process()
        await eventually(
            lambda: not any(one.raddr in addresses and one.status != "TIME_WAIT" for one in process.net_connections("tcp4"))
        )
        await self.others_go_on()


def routes(number: int, beside: int, timeouts: Timeouts | None = None) -> tuple[Route, Route]:
    return port_route(port(number), timeouts=timeouts or Timeouts()), port_route(port(beside), app=BESIDE)


async def a_stage(rig: StreamRig, number: int, beside: int) -> Stage:
    await rig.server(app=BESIDE)
    stage = Stage(rig, number, await rig.connect(beside))
    await stage.others_go_on()
    return stage


def refusing() -> Backend:
    return Backend("127.0.0.1", refusing_port())


@pytest.mark.parametrize("way", ["refuses", "replaced", "vanishes", "dies"])
async def test_held_clients_are_served_by_the_next_backend(way: str) -> None:
    number, beside = free_port(), free_port()
    async with stream_rig(*routes(number, beside)) as rig:
        stage = await a_stage(rig, number, beside)
        failures = rig.rig.interceptor.proxy.probes
        await stage.hold()
        if way == "dies":  # it was there, and is not any more when it is dialled
            server = await stage.server(listed=False)
            await server.close()
            stage.offer(server.backend)
        else:
            stage.offer(refusing())
        await eventually(lambda: failures.failures)
        if way == "replaced":
            for _ in range(3):
                before = failures.failures
                stage.offer(refusing(), refusing())
                await eventually(lambda before=before: failures.failures > before)  # type: ignore[misc]
        elif way == "vanishes":
            stage.offer()
            await eventually(lambda: not rig.rig.app.endpoints.endpoints)
        await stage.hold()
        await stage.others_go_on()
        assert len(stage.clients) == rig.entry.held == 2 * CLIENTS
        last = await stage.server()
        await stage.all_are_served()
        assert last.connections >= 2 * CLIENTS, "and probes"
        await stage.nothing_is_left()
        await eventually(lambda: last.open == 0)


async def test_held_clients_without_a_backend_in_time_are_reset() -> None:
    number, beside = free_port(), free_port()
    async with stream_rig(*routes(number, beside, timeouts=Timeouts(readiness=1.0))) as rig:
        stage = await a_stage(rig, number, beside)
        stage.offer(refusing(), refusing())
        stage.clients = [await rig.connect(number) for _ in range(CLIENTS)]
        assert all(await asyncio.gather(*(client.is_reset() for client in stage.clients)))
        assert sum(rig.rig.app.stats.own.values()) == CLIENTS
        await stage.nothing_is_left()


async def test_clients_that_leave_while_held_are_not_served() -> None:
    """By an end, by a reset, and with its sending side alone: only the last one still waits for something."""
    number, beside = free_port(), free_port()
    async with stream_rig(*routes(number, beside)) as rig:
        stage = await a_stage(rig, number, beside)
        silent = [await rig.connect(number) for _ in range(CLIENTS)]
        await eventually(lambda: rig.entry.held == CLIENTS)
        await stage.hold(2 * CLIENTS)
        for client in silent:
            client.writer.write_eof()
        for client in stage.clients[CLIENTS:]:
            reset(client.writer)
        del stage.clients[CLIENTS:]
        for client in stage.clients:
            client.writer.write_eof()
        await eventually(lambda: rig.entry.held == CLIENTS)
        server = await stage.server()
        for count, client in enumerate(stage.clients):
            assert await client.rest() == b"%04d" % count
        assert all([await client.rest() == b"" for client in silent])
        await eventually(lambda: server.open == 0)
        await stage.nothing_is_left()


async def test_connections_stay_with_a_backend_that_is_not_listed_and_end_with_it() -> None:
    number, beside = free_port(), free_port()
    async with stream_rig(*routes(number, beside)) as rig:
        stage = await a_stage(rig, number, beside)
        old = await stage.server()
        stage.clients = [await rig.connect(number) for _ in range(CLIENTS)]
        for count, client in enumerate(stage.clients):
            client.send(b"%04d" % count)
        await stage.all_are_served()
        stage.offer()
        await eventually(lambda: not rig.rig.app.endpoints.ready)
        for client in stage.clients:
            client.send(b"more")
            assert await client.read(4) == b"more"
        early, stage.clients = stage.clients, []
        await stage.hold()
        await old.close()
        assert [await client.rest() for client in early] == [b""] * CLIENTS
        assert rig.entry.held == CLIENTS, "who waits is not concerned"
        stage.clients, held = [], stage.clients
        await stage.server()
        for count, client in enumerate(held):
            assert await client.read(4) == b"%04d" % count
        stage.clients = [*early, *held]
        await stage.nothing_is_left()


async def test_a_backend_that_ends_every_connection_at_once_is_not_asked_for_ever() -> None:
    """It accepts, so it is there: what it does to its clients is passed on, and each of them has had one connection."""

    async def slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    number, beside = free_port(), free_port()
    async with stream_rig(*routes(number, beside)) as rig:
        stage = await a_stage(rig, number, beside)
        await stage.hold()
        server = await rig.server(slam, listed=False)
        stage.offer(server.backend)
        assert all(await asyncio.gather(*(client.is_reset() for client in stage.clients)))
        await stage.others_go_on()
        assert server.connections <= 2 * CLIENTS
        server._script = echo
        again = await rig.connect(number)
        again.send(b"x")
        assert await again.read(1) == b"x"
        stage.clients.append(again)
        await stage.nothing_is_left()
