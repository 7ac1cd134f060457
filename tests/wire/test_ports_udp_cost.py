"""What a datagram and a flow cost: calls of our functions, an exact measure, and nothing that stays."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc

import pytest

from tests.support.calls import calls
from tests.support.ports import free_port
from tests.wire.flow_rig import flow_rig, udp
from tests.wire.stream_rig import port_route

ROUNDS = 50
PARTS = ("Flow", "Datagram", "Stream", "Exchange", "Life", "Wait", "App", "Entry", "Lease", "Endpoint", "Slot", "Deadlines.watch")


async def test_a_warm_datagram_is_one_call_on_its_way_and_one_back_beside_the_turn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    number = free_port()
    async with flow_rig(port_route(udp(number)), host="0.0.0.0") as rig:
        await rig.server()
        client = rig.client(number)
        for _ in range(3):
            await client.ask(b"x")
        tasks, lines = len(asyncio.all_tasks()), len(caplog.records)
        with calls() as made:
            for _ in range(ROUNDS):
                client.send(b"y")
                await asyncio.get_running_loop().sock_recv(client.own, 10)
        ours = {name: count for name, count in made.items() if name.startswith(PARTS)}
        turns = ours.pop("DatagramPoller._read_all")
        assert ours == {"FlowListener.read": ROUNDS, "Flow.take": ROUNDS, "Flow.read": ROUNDS}
        assert turns <= 2 * ROUNDS
        assert (len(asyncio.all_tasks()), len(caplog.records)) == (tasks, lines)


async def test_flows_take_little_memory_and_give_it_back() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        await rig.server()
        rig.client(number).send(b"x")
        flows = [rig.client(number) for _ in range(200)]
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for client in flows:
                assert await client.ask(b"x") == b"x"
            assert len(rig.flows) == 201
            each = (tracemalloc.get_traced_memory()[0] - before) / len(flows)
            assert each < 3500, f"{each:.0f} bytes for each flow"
            rig.end_flows()
            gc.collect()
            left = (tracemalloc.get_traced_memory()[0] - before) / len(flows)
            assert left < 600, f"{left:.0f} bytes of each flow are left"
        finally:
            tracemalloc.stop()
