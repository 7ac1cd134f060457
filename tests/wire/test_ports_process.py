"""An interceptor as a process of its own, with connections and flows at its ports: what SIGTERM does to them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from fleet.discovery.files import write_routes
from fleet.routing.table import RoutingTable
from tests.support.ports import free_port
from tests.wire.flow_rig import UdpClient, UdpServer, udp
from tests.wire.proxy_backend import BackendPeer, RawBackend
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import Peer, TcpServer, port, port_route
from tests.wire.test_proxy_process import interceptor, refused

CONNECTIONS = 10
DRAIN_SECONDS = 10
"""In the last five of them connections that are still open are asked to end."""


async def connect(number: int) -> Peer:
    return Peer(*await asyncio.open_connection("127.0.0.1", number))


async def ask(peer: Peer, data: bytes) -> bytes:
    peer.send(data)
    return await peer.read(len(data))


async def test_sigterm_closes_ports_lets_connections_end_and_resets_who_still_waits(tmp_path: Path) -> None:
    async def unasked(peer: BackendPeer) -> None:
        await peer.read_to_end()

    backend, server, datagrams = RawBackend(unasked), await TcpServer().start(), await UdpServer().start()
    await backend.start()
    awake, asleep, names = free_port(), free_port(), free_port()
    routes = [
        port_route(port(awake), app="default/stream"),
        port_route(port(asleep), app="default/sleeper"),
        port_route(udp(names), app="default/names"),
    ]
    flags = "--drain-delay", "0", "--drain-timeout", str(DRAIN_SECONDS)
    async with interceptor(tmp_path, backend, *flags) as process:
        write_routes(tmp_path / "routes.json", RoutingTable(routes))
        process.list(stream=[server.backend], names=[datagrams.backend])
        flow = UdpClient("127.0.0.1", names)
        assert await flow.insist(b"first") == b"first"
        peers = [await _insist(awake) for _ in range(CONNECTIONS)]
        assert [await ask(peer, b"one") for peer in peers] == [b"one"] * CONNECTIONS
        held = await _insist(asleep, b"")
        held.send(b"waits")
        while (await process.sizes())["default/sleeper"] != (1, 0):  # noqa: ASYNC110 -- another process's counts
            await asyncio.sleep(0)
        assert await flow.insist(b"second") == b"second"

        process.process.send_signal(signal.SIGTERM)
        assert await flow.insist(b"third") == b"third", "its flow is in use"
        await refused(awake)
        await refused(asleep)
        assert [await ask(peer, b"two") for peer in peers] == [b"two"] * CONNECTIONS, "they go on"
        own = peers.pop()
        own.writer.write_eof()
        assert await own.rest() == b"", "and may end by themselves"
        sizes = await process.sizes()
        assert (sizes["default/stream"], sizes["default/sleeper"]) == ((0, CONNECTIONS - 1), (1, 0))

        # The echo ends when it is told that its client has: an end, and no reset, reaches all of them.
        assert [await peer.rest() for peer in peers] == [b""] * len(peers)
        assert await held.is_reset()
        assert await process.ended(120) == 0
        assert not [line for line in process.log if "Traceback" in line]
        await eventually(lambda: server.open == 0)
        for peer in (*peers, own, held):
            peer.close()
        flow.close()
    await server.close()
    await datagrams.close()
    await backend.close()


async def test_a_second_sigterm_ends_connections_and_flows_at_once(tmp_path: Path) -> None:
    async def unasked(peer: BackendPeer) -> None:
        await peer.read_to_end()

    backend, server = RawBackend(unasked), await TcpServer().start()
    await backend.start()
    number = free_port()
    async with interceptor(tmp_path, backend, "--drain-timeout", "600") as process:
        write_routes(tmp_path / "routes.json", RoutingTable([port_route(port(number), app="default/stream")]))
        process.list(stream=[server.backend])
        peer = await _insist(number)
        process.process.send_signal(signal.SIGTERM)
        await eventually(lambda: any("draining" in line for line in process.log))
        assert await ask(peer, b"still") == b"still"
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended(60) == 128 + signal.SIGTERM
        await peer.is_reset()  # or an end: the kernel closes what it had open
        await eventually(lambda: server.open == 0)
        peer.close()
    await server.close()
    await backend.close()


async def _insist(number: int, data: bytes = b"x") -> Peer:
    """A connection, once the port is open."""
    async with asyncio.timeout(60):
        while True:
            try:
                peer = await connect(number)
            except ConnectionRefusedError:
                await asyncio.sleep(0)
            else:
                assert await ask(peer, data) == data
                return peer
