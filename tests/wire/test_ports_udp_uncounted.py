"""Flows that are no demand: from listed networks, those that begin as monitoring does, and those of one datagram."""

from __future__ import annotations

import asyncio

from tests.support.ports import free_port
from tests.wire.flow_rig import flow_rig, udp
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import port_route


async def test_flows_of_listed_networks_neither_wake_nor_keep_awake() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, networks=("127.0.0.0/8",)))) as rig:
        client = rig.client(number)
        client.send(b"x")
        await eventually(lambda: rig.dropped == {"uncounted": 1})
        assert (rig.entry.requests_total, len(rig.flows)) == (0, 0)
        assert rig.rig.app.stats.own["uncounted", 503] == 1
        await rig.server()
        assert await client.ask(b"y") == b"y"
        assert (rig.entry.requests_total, rig.entry.in_flight, len(rig.flows)) == (0, 0, 1)


async def test_a_first_datagram_of_monitoring_does_not_count() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, first_bytes=("PING", "*\\x00status*")))) as rig:
        monitoring = rig.client(number)
        monitoring.send(b"PING and more", b"..\0status")
        await eventually(lambda: rig.dropped == {"uncounted": 2})
        assert rig.entry.requests_total == 0
        client = rig.client(number)
        client.send(b"PIN")  # a datagram is whole: nothing more of it comes
        await eventually(lambda: rig.entry.held == 1)
        await rig.server()
        assert await client.receive() == [b"PIN"]
        assert await monitoring.ask(b"PING") == b"PING"
        assert (rig.entry.requests_total, rig.entry.in_flight) == (1, 1)


async def test_one_datagram_alone_does_not_wake_and_two_do() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, silent=0.3))) as rig:
        rig.client(number).send(b"a scan")
        await eventually(lambda: rig.dropped == {"uncounted": 1})
        assert (rig.entry.requests_total, len(rig.flows), rig.flows.kept_bytes) == (0, 0, 0)
        client = rig.client(number)
        client.send(b"1", b"2", b"3")
        await eventually(lambda: rig.entry.held == 1)
        await rig.server()
        assert await client.receive(3) == [b"1", b"2", b"3"]
        # Awake: the first one is answered, and the flow counts from the second on.
        other = rig.client(number)
        assert await other.ask(b"4") == b"4"
        assert (rig.entry.in_flight, rig.entry.requests_total) == (1, 1)
        assert await other.ask(b"5") == b"5"
        assert (rig.entry.in_flight, rig.entry.requests_total, rig.entry.connections) == (2, 2, 2)
        assert await other.ask(b"6") == b"6"


async def test_one_datagram_that_does_not_count_is_passed_on_if_there_is_a_backend_in_time() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, silent=0.5))) as rig:
        client = rig.client(number)
        client.send(b"x")
        await eventually(lambda: len(rig.flows) == 1)
        await rig.server()
        assert await client.receive() == [b"x"]
        assert rig.entry.requests_total == 0


async def test_a_flow_counts_from_its_second_datagram_on_while_the_first_is_unanswered() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, silent=5.0))) as rig:
        server = await rig.server(lambda data: (data,) if data != b"1" else ())
        client = rig.client(number)
        client.send(b"1")
        await eventually(lambda: server.received == [b"1"])
        assert rig.entry.in_flight == 0
        assert await client.ask(b"2") == b"2"
        assert rig.entry.in_flight == 1
        rig.end_flows()
        await asyncio.sleep(0)
        assert rig.entry.in_flight == 0
