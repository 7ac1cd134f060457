"""Every way in which a backend is lost, in every state of the flows to it: what was not answered goes to the next backend, in
order and once, what was answered begins anew, other applications do not notice, and nothing is left of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum

import psutil
import pytest

from fleet.discovery.sources import Backend
from interceptor.udp.flow import HELD_DATAGRAMS
from tests.support.loopback import APP
from tests.support.ports import free_port
from tests.wire.flow_rig import FlowRig, UdpClient, UdpServer, echo, flow_rig, udp
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import port_route

CLIENTS = 5
LONG = 600.0
"""Seconds that no test lasts: no flow ends by itself, and none is taken to be served, unless a test says so."""
FIRST = (b"1", b"2", b"3")
AGAIN = b"4"
BESIDE = "default/beside"


class State(Enum):
    HELD = "held"
    SENT = "sent"
    ANSWERED = "answered"


class Loss(Enum):
    REFUSES = "refuses"
    """Nobody is at its port any more, and discovery does not know."""
    GONE = "gone"
    """The same, and discovery knows: the application was scaled away."""
    UNLISTED = "unlisted"
    """It ends, and serves what it has."""
    SILENT = "silent"


def mute(_data: bytes) -> tuple[bytes, ...]:
    return ()


@dataclass
class Stage:
    """Flows to an application whose backend is lost, and one to an application beside it."""

    rig: FlowRig
    number: int
    beside: UdpClient
    other: UdpServer
    clients: list[UdpClient] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)

    async def server(self, *, answers: bool = True, listed: bool = True) -> UdpServer:
        server = await self.rig.server(echo if answers else mute, listed=listed)
        self.backends.append(server.backend)
        return server

    async def begin(self, state: State) -> UdpServer:
        """So many flows in this state; returns their backend."""
        server = await self.server(answers=state is State.ANSWERED, listed=state is not State.HELD)
        self.clients += [self.rig.client(self.number) for _ in range(CLIENTS)]
        for client in self.clients:
            client.send(*FIRST)
            if state is State.ANSWERED:
                assert await client.receive(len(FIRST)) == [*FIRST]
        if state is State.SENT:
            await eventually(lambda: len(server.received) == CLIENTS * len(FIRST))
        await eventually(lambda: self.rig.rig.app.stats.datagrams_in == CLIENTS * len(FIRST))
        expected = (CLIENTS, 0) if state is State.HELD else (0, CLIENTS)
        await eventually(lambda: (self.rig.entry.held, self.rig.entry.in_flight) == expected)
        return server

    async def lose(self, server: UdpServer, loss: Loss) -> None:
        """One that is not listed yet is, and then it is lost."""
        if loss is Loss.SILENT:
            server.script = mute
        elif loss is not Loss.UNLISTED:
            await server.close()
        if server.backend not in self.rig.rig.sources.get(APP):
            self.rig.list(server.backend)
            if loss is not Loss.SILENT:
                await eventually(lambda: self.rig.rig.interceptor.proxy.probes.failures)
        if loss in (Loss.GONE, Loss.UNLISTED):
            self.rig.unlist(server.backend)
            await eventually(lambda: not self.rig.rig.app.endpoints.ready)

    async def others_go_on(self) -> None:
        assert await self.beside.ask(data := os.urandom(8)) == data
        assert len(self.other.peers) == 1, "it is the same flow"

    async def nothing_is_left(self) -> None:
        proxy, now = self.rig.rig.interceptor.proxy, self.rig.rig.interceptor.proxy.clock()
        self.rig.flows.end_idle(now + 2 * LONG, 1.0)
        assert (len(self.rig.flows), list(self.rig.flows), self.rig.flows.kept_bytes) == (0, [], 0)
        assert not self.rig.flows._sources
        assert not self.rig.flows._groups
        for app in proxy.apps.values():
            assert (app.entry.held, app.entry.in_flight, app.entry.connections) == (0, 0, 0)
        addresses = {(backend.host, backend.port) for backend in (*self.backends, self.other.backend)}
        process = psutil.Process()
        await eventually(lambda: not any(one.raddr in addresses for one in process.net_connections("udp4")))


async def a_stage(rig: FlowRig, number: int, beside: int) -> Stage:
    other = await rig.server(app=BESIDE)
    stage = Stage(rig, number, rig.client(beside), other)
    await stage.others_go_on()
    return stage


CASES = [
    *((State.HELD, loss) for loss in (Loss.REFUSES, Loss.GONE, Loss.SILENT)),
    *((state, loss) for state in (State.SENT, State.ANSWERED) for loss in Loss),
]


@pytest.mark.parametrize(("state", "loss"), CASES, ids=lambda each: each.value)
async def test_every_loss_in_every_state(state: State, loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interceptor.udp.flow.CONFIRM_SECONDS", LONG)
    number, beside = free_port(), free_port()
    async with flow_rig(port_route(udp(number, idle=LONG)), port_route(udp(beside, idle=LONG), app=BESIDE)) as rig:
        stage = await a_stage(rig, number, beside)
        server = await stage.begin(state)
        await stage.lose(server, loss)
        for client in stage.clients:
            client.send(AGAIN)
        await stage.others_go_on()
        if loss is Loss.SILENT:
            await _is_heard_again(stage, server, state)
        elif state is not State.ANSWERED:
            await _moves(stage)
        elif loss is Loss.UNLISTED:
            for client in stage.clients:
                assert await client.receive() == [AGAIN]
        else:
            await _begins_anew(stage)
        await stage.others_go_on()
        assert rig.dropped == {}
        await stage.nothing_is_left()


async def _is_heard_again(stage: Stage, server: UdpServer, state: State) -> None:
    """Nobody says that a server is silent: its flows stay with it, and it has all that was sent."""
    new = await stage.server()
    expected = CLIENTS * (len(FIRST) + 1)
    await eventually(lambda: len(server.received) == expected)
    server.script = echo
    for client in stage.clients:
        assert await client.ask(b"5") == b"5"
    assert len(server.peers) == CLIENTS
    assert not new.received
    assert [flow.activity for flow in stage.rig.flows if flow.app_name == APP] == ["answered"] * CLIENTS, state


async def _moves(stage: Stage) -> None:
    """All of it comes to the next backend, once, and in order."""
    await eventually(lambda: stage.rig.entry.held == CLIENTS)
    new = await stage.server()
    for client in stage.clients:
        assert await client.receive(len(FIRST) + 1) == [*FIRST, AGAIN]
    assert len([data for data in new.received if data]) == CLIENTS * (len(FIRST) + 1)
    assert (stage.rig.entry.held, stage.rig.entry.in_flight) == (0, CLIENTS)


async def _begins_anew(stage: Stage) -> None:
    """The flow has ended, and the next datagram begins one."""
    await eventually(lambda: stage.rig.rig.app.stats.cut["refused"] == CLIENTS)
    assert stage.rig.entry.in_flight == 0
    await stage.server()
    for client in stage.clients:
        assert await client.ask(b"5") == b"5"


async def test_more_than_is_kept_stays_with_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that has sent more than can be sent again ends with its backend, as an answered one does."""
    monkeypatch.setattr("interceptor.udp.flow.CONFIRM_SECONDS", LONG)
    number, beside = free_port(), free_port()
    async with flow_rig(port_route(udp(number, idle=LONG)), port_route(udp(beside, idle=LONG), app=BESIDE)) as rig:
        stage = await a_stage(rig, number, beside)
        server = await stage.begin(State.SENT)
        for client in stage.clients:
            client.send(*[b""] * HELD_DATAGRAMS)
        await eventually(lambda: len(server.received) == CLIENTS * (len(FIRST) + HELD_DATAGRAMS))
        assert rig.flows.kept_bytes == 0
        await stage.lose(server, Loss.REFUSES)
        for client in stage.clients:
            client.send(AGAIN)
        await _begins_anew(stage)
        await stage.others_go_on()
        await stage.nothing_is_left()


@pytest.mark.parametrize("cold", [False, True])
async def test_a_datagram_that_is_too_long_for_the_other_side_is_dropped_alone(cold: bool) -> None:
    """Over IPv6 a datagram may be longer than over IPv4, and so than this backend can get."""
    number = free_port()
    async with flow_rig(port_route(udp(number, idle=LONG)), host="::1") as rig:
        server = await rig.server(listed=not cold)
        client = rig.client(number, "::1")
        client.send(b"before", bytes(65_527), b"", b"after")
        if cold:
            await eventually(lambda: rig.entry.held == 1 and rig.rig.app.stats.datagrams_in == 4)
            rig.list(server.backend)
        # Held, the last one does not fit into the bound.
        assert await client.receive(2 if cold else 3) == [b"before", b"", *([] if cold else [b"after"])]
        await eventually(lambda: rig.dropped == {"send": 1} | ({"overflow": 1} if cold else {}))
        assert await client.ask(b"again") == b"again"
        assert len(rig.flows) == 1


async def test_an_answer_that_is_too_long_for_the_client_is_dropped_alone() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, idle=LONG))) as rig:
        await rig.server(lambda data: (bytes(65_527), data), host="::1")
        client = rig.client(number)
        for data in (b"1", b""):
            assert await client.ask(data) == data
        assert rig.dropped == {"answer": 2}


async def test_an_application_that_is_removed_frees_what_its_flows_have() -> None:
    """Its held flows end, with a reason; those of others stay."""
    number, beside = free_port(), free_port()
    other = port_route(udp(beside, idle=LONG), app=BESIDE)
    async with flow_rig(port_route(udp(number, idle=LONG)), other) as rig:
        stage = await a_stage(rig, number, beside)
        await stage.begin(State.HELD)
        app = rig.rig.app
        rig.rig.set_routes(other)
        await eventually(lambda: not app.entry.held)
        assert sum(app.stats.dropped.values()) == CLIENTS * len(FIRST)
        assert [flow.app_name for flow in rig.flows] == [BESIDE]
        await stage.others_go_on()
        await stage.nothing_is_left()
