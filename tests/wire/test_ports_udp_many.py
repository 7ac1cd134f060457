"""Thousands of flows at once: each has a socket to the backend, and gets its own answers."""

from __future__ import annotations

import resource

from tests.support.full import FULL
from tests.support.ports import free_port
from tests.wire.flow_rig import UdpClient, flow_rig, udp
from tests.wire.relay_rig import open_files
from tests.wire.stream_rig import port_route

SPARE = 20
"""Descriptors that are opened once, when first needed."""
KEPT_FILES = 256
"""More than an interceptor keeps for other things, of the half of its files that flows may have."""
MOST = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - KEPT_FILES
FLOWS = min(10_000 if FULL else 1_500, MOST)
"""As many as the limit of open files allows."""


async def test_each_of_many_flows_gets_its_own_answers() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, idle=600.0)), max_flows=FLOWS) as rig:
        server = await rig.server(lambda data: (data[::-1],))
        before = open_files()
        for flow in range(FLOWS):
            # An address for each, as the port of a client that has gone may be the next one's.
            client = UdpClient("127.0.0.1", number, source=f"127.1.{flow // 200}.{flow % 200 + 1}")
            assert await client.ask(asked := b"flow %d" % flow) == asked[::-1]
            client.close()
        assert rig.entry.in_flight == len(rig.flows) == len(server.peers) == FLOWS
        assert rig.dropped == {}
        assert open_files() >= before + FLOWS
        rig.end_flows()
        assert open_files() <= before + SPARE
