"""Connections that are no demand: from listed networks, silent ones, those that begin as monitoring does, and idle ones."""

from __future__ import annotations

import asyncio

from tests.support.ports import free_port
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import port, port_route, stream_rig


async def test_connections_of_listed_networks_neither_wake_nor_keep_awake() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, networks=("127.0.0.0/8",)))) as rig:
        client = await rig.connect(number)
        client.send(b"x")
        assert await client.rest() == b""
        assert rig.entry.requests_total == 0
        assert rig.rig.app.stats.own["uncounted", 503] == 1
        await rig.server()
        client = await rig.connect(number)
        client.send(b"x")
        assert await client.read(1) == b"x"
        assert (rig.entry.requests_total, rig.entry.in_flight) == (0, 0)


async def test_one_that_says_nothing_does_not_count() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, silent=0.3))) as rig:
        assert await (await rig.connect(number)).rest() == b""
        assert rig.entry.requests_total == 0
        spoken = await rig.connect(number)
        spoken.send(b"x")
        await eventually(lambda: rig.entry.held == 1)
        await rig.server()
        assert await spoken.read(1) == b"x"
        # Awake: it is there for the server's first words, and counts from the client's first byte on.
        silent = await rig.connect(number)
        await eventually(lambda: rig.rig.app.uncounted is not None and rig.rig.app.uncounted.in_flight == 1)
        await asyncio.sleep(0.5)  # longer than the limit: it stays open
        assert rig.entry.in_flight == 1
        silent.send(b"y")
        assert await silent.read(1) == b"y"
        assert rig.entry.in_flight == 2


async def test_first_bytes_of_monitoring_do_not_count() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, first_bytes=(r"PING\r\n", "HEALTH*?")))) as rig:
        monitoring = await rig.connect(number)
        for piece in (b"PI", b"NG\r", b"\n"):
            monitoring.send(piece)
            await monitoring.writer.drain()
            await asyncio.sleep(0.02)  # so that it comes in pieces
        assert await monitoring.rest() == b""
        assert rig.entry.requests_total == 0
        client = await rig.connect(number)
        client.send(b"PIN")
        await eventually(lambda: rig.entry.held == 1)  # it may still fit, but not for long
        other = await rig.connect(number)
        other.send(b"GET x\r\n")
        await eventually(lambda: rig.entry.held == 2)
        await rig.server()
        assert await other.read(7) == b"GET x\r\n"
        assert await client.read(3) == b"PIN"
        awake = await rig.connect(number)
        awake.send(b"HEALTH a")
        assert await awake.read(8) == b"HEALTH a"
        awake.send(b"?")
        assert await awake.read(1) == b"?"
        assert rig.entry.requests_total == 2
        counted = await rig.connect(number)
        counted.send(b"SET\r\n")
        assert await counted.read(5) == b"SET\r\n"
        assert rig.entry.requests_total == 3


async def test_a_server_that_speaks_first_is_woken_in_spite_of_patterns() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, first_bytes=("PING",)))) as rig:
        await rig.connect(number)
        await eventually(lambda: rig.entry.held == 1)


async def test_an_idle_connection_stops_counting_and_counts_again() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, idle=0.3))) as rig:
        await rig.server()
        client = await rig.connect(number)
        client.send(b"x")
        assert await client.read(1) == b"x"
        assert rig.entry.in_flight == 1
        await eventually(lambda: rig.entry.in_flight == 0)
        assert rig.rig.app.uncounted is not None
        assert rig.rig.app.uncounted.in_flight == 1
        client.send(b"y")
        assert await client.read(1) == b"y"
        assert (rig.entry.in_flight, rig.rig.app.uncounted.in_flight) == (1, 0)
        await eventually(lambda: rig.entry.in_flight == 0)


async def test_uncounted_connections_are_bounded_too() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, networks=("127.0.0.1",))), max_requests=2) as rig:
        await rig.server()
        for _ in range(2):
            client = await rig.connect(number)
            client.send(b"x")
            assert await client.read(1) == b"x"
        assert await (await rig.connect(number)).rest() == b""
