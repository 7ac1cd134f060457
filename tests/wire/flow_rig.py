"""Servers and clients of UDP around an interceptor, for tests of ports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fleet.discovery.sources import Backend
from fleet.routing.port import UDP, ListenPort, Uncounted
from fleet.routing.port_index import PortKey
from fleet.routing.route import Route
from tests.support.loopback import APP
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

__all__ = ["FlowRig", "UdpClient", "UdpServer", "flow_rig", "udp"]

Script = Callable[[bytes], Iterable[bytes]]
"""From a datagram to the answers."""


def udp(number: int, **fields: Any) -> ListenPort:
    uncounted = Uncounted(**{name: fields.pop(name) for name in ("silent", "networks", "first_bytes") if name in fields})
    return ListenPort(number, UDP, uncounted=uncounted, **fields)


def echo(data: bytes) -> Iterable[bytes]:
    return (data,)


class UdpServer:
    """Answers each datagram by a script."""

    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self.received: list[bytes] = []
        self.peers: dict[tuple[str, int], None] = {}
        """Flows have different ones."""
        self.backend = Backend("127.0.0.1", 0)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> UdpServer:
        own = self.own = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        own.bind((host, port))
        self.backend = Backend(host, own.getsockname()[1])
        asyncio.get_running_loop().add_reader(own, self._read)
        return self

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                data, address = self.own.recvfrom(1 << 16)
                self.received.append(data)
                self.peers[address[:2]] = None
                for answer in self.script(data):
                    self.own.sendto(answer, address)

    async def close(self) -> None:
        if self.own.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.own)
            self.own.close()


REFUSED = (ConnectionRefusedError, PermissionError)
"""How a datagram is refused: by a host without the port, or by a rule of this machine (a Service without port or pod)."""


class UdpClient:
    """Sends to one address, and takes answers from there alone."""

    def __init__(self, host: str, port: int, source: str = "", *, connects: bool = True) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.own = socket.socket(family, socket.SOCK_DGRAM)
        self.own.setblocking(False)
        self.own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        if source:
            self.own.bind((source, 0))
        self.to = (host, port)
        if connects:
            self.own.connect(self.to)

    def send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self.own.send(data)

    async def insist(self, data: bytes) -> bytes:
        """Send until there is an answer, as clients of UDP do: a datagram may be lost, or refused, at any time."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(*REFUSED, TimeoutError):
                    self.own.send(data)
                    return (await self.receive(within=0.3))[0]
                await asyncio.sleep(0)

    async def receive(self, count: int = 1, *, within: float = 60.0) -> list[bytes]:
        async with asyncio.timeout(within):
            return [await asyncio.get_running_loop().sock_recv(self.own, 1 << 16) for _ in range(count)]

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return (await self.receive())[0]

    def close(self) -> None:
        self.own.close()


class FlowRig:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._peers: list[UdpClient] = []
        self._servers: list[UdpServer] = []

    async def server(
        self, script: Script = echo, *, app: str = APP, listed: bool = True, host: str = "127.0.0.1", port: int = 0
    ) -> UdpServer:
        server = await UdpServer(script).start(host, port)
        self._servers.append(server)
        if listed:
            self.list(server.backend, app=app)
        return server

    def list(self, *backends: Backend, app: str = APP) -> None:
        self.rig.sources.set(app, [*self.rig.sources.get(app), *backends])

    def unlist(self, *backends: Backend, app: str = APP) -> None:
        self.rig.sources.set(app, [one for one in self.rig.sources.get(app) if one not in backends])

    def client(self, port: int, host: str = "127.0.0.1", source: str = "", *, connects: bool = True) -> UdpClient:
        client = UdpClient(host, port, source, connects=connects)
        self._peers.append(client)
        return client

    async def bound(self, number: int) -> None:
        await eventually(lambda: self.rig.interceptor.listens_at(PortKey(UDP, number)) is not None)

    @property
    def entry(self) -> Any:
        return self.rig.app.entry

    @property
    def flows(self) -> Any:
        return self.rig.interceptor.proxy.flows

    @property
    def dropped(self) -> dict[str, int]:
        return {reason: count for reason, count in self.rig.app.stats.dropped.items() if count}

    def end_flows(self) -> None:
        self.flows.close(self.rig.interceptor.proxy.clock())

    async def close(self) -> None:
        for peer in self._peers:
            peer.close()
        self.end_flows()
        assert not len(self.flows)
        assert self.flows.kept_bytes == 0
        await eventually(self.rig.ledger.balanced)
        for app in self.rig.interceptor.proxy.apps.values():
            assert app.uncounted is None or not app.uncounted.in_flight
            assert not any(part.room or part.room.held_bytes for part in app.parts)
        await eventually(lambda: not any(endpoint.load for each in self.rig.endpoints for endpoint in each.in_use))
        for server in self._servers:
            await server.close()


@asynccontextmanager
async def flow_rig(*routes: Route, **settings: Any) -> AsyncIterator[FlowRig]:
    async with proxy_rig(routes=list(routes), backends=0, settle=False, **settings) as rig:
        stage = FlowRig(rig)
        try:
            yield stage
        except BaseException:
            with contextlib.suppress(AssertionError):
                await stage.close()
            raise
        await stage.close()
