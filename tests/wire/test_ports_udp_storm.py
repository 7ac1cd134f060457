"""Whatever happens to backends, clients and ports in whatever order: every count is at zero afterwards, and datagrams go on."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.support.ports import free_port
from tests.wire.flow_rig import FlowRig, UdpClient, UdpServer, flow_rig, udp
from tests.wire.stream_rig import port_route

STEPS = 400


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_leaves_every_count_at_zero(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interceptor.udp.flow.CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr("interceptor.udp.flow.GONE_SECONDS", 0.05)
    monkeypatch.setattr("interceptor.udp.flows.UNANSWERED_SECONDS", 0.05)
    number, chance = free_port(), random.Random(seed)
    port = udp(number, idle=0.1, replies=chance.choice([None, 1]), silent=chance.choice([None, 0.05]))
    # Each client sends from an address of its own; the bounds are reached again and again.
    async with flow_rig(port_route(port), max_flows=40, max_flows_per_source=16) as rig:
        storm = _Storm(rig, chance, number)
        for step in range(STEPS):
            await chance.choice(storm.steps)()
            if step % 20 == 0:
                await asyncio.sleep(0)
            assert len(rig.flows) <= 40
        rig.rig.set_routes(port_route(udp(number)))
        await rig.bound(number)
        for server in storm.servers:
            server.script = lambda data: (data,)
        await rig.server()
        client = rig.client(number)
        assert await client.insist(b"?") == b"?"
        rig.end_flows()
        assert (rig.entry.held, rig.entry.in_flight, rig.flows.kept_bytes) == (0, 0, 0)


class _Storm:
    def __init__(self, rig: FlowRig, chance: random.Random, number: int) -> None:
        self._rig, self._chance, self._number = rig, chance, number
        self.servers: list[UdpServer] = []
        self._clients: list[UdpClient] = []
        self.steps = [
            *[self.send] * 8,
            *[self.wait] * 2,
            self.client,
            self.server,
            self.kill,
            self.unlist,
            self.ports,
            self.change,
        ]

    async def client(self) -> None:
        source = f"127.0.0.{self._chance.randint(1, 4)}"
        self._clients.append(self._rig.client(self._number, source=source, connects=False))

    async def send(self) -> None:
        if not self._clients:
            await self.client()
        client = self._chance.choice(self._clients)
        for _ in range(self._chance.randint(1, 20)):
            client.own.sendto(bytes(self._chance.choice([0, 1, 100, 30_000])), client.to)

    async def wait(self) -> None:
        """Turns of the event loop, in which other things happen."""
        for _ in range(self._chance.choice([1, 10, 300])):
            await asyncio.sleep(0)

    async def server(self) -> None:
        if len(self.servers) < 5:
            answers = self._chance.choice([0, 1, 1, 3])
            self.servers.append(await self._rig.server(lambda data: (data,) * answers))

    async def kill(self) -> None:
        """It stays listed."""
        if self.servers:
            await self.servers.pop().close()

    async def unlist(self) -> None:
        if self.servers:
            self._rig.unlist(self._chance.choice(self.servers).backend)

    async def ports(self) -> None:
        """The port goes, and may come back."""
        other = port_route(udp(free_port()))
        self._rig.rig.set_routes(self._chance.choice([other, port_route(udp(self._number, idle=0.1))]))

    async def change(self) -> None:
        self._rig.rig.set_routes(port_route(udp(self._number, replies=self._chance.choice([None, 1, 2]))))
