"""Connections at TCP ports of routes: held while the application wakes, relayed, counted, ended."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket

import pytest
from grpc.aio import insecure_channel
from msgspec.structs import replace

from fleet.routing.route import ColdStart, Protection, StaticResponse, Timeouts
from interceptor.exchange import stream_tunnel, tunnel
from interceptor.tcp.client import EARLY_BYTES
from protos.weir.interceptor.v1 import routing_pb2, routing_pb2_grpc
from tests.support.ports import free_port
from tests.support.sockets import reset as cut
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import echo, port, port_route, stream_rig


async def test_a_connection_is_relayed_and_counted_while_it_is_open() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        await rig.server()
        client = await rig.connect(number)
        client.send(b"hello")
        assert await client.read(5) == b"hello"
        assert (rig.entry.in_flight, rig.entry.connections, rig.entry.requests_total) == (1, 1, 1)
        client.close()
        await eventually(lambda: rig.entry.in_flight == 0)
        assert rig.rig.app.stats.answers()["TCP", "101", "false"].count == 1


async def test_held_while_the_application_wakes_with_its_bytes_in_order() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        server = await rig.server(listed=False)
        client = await rig.connect(number)
        sent = os.urandom(200_000)
        client.send(sent)
        await eventually(lambda: rig.entry.held == 1)
        (part,) = rig.rig.app.port_parts.values()
        await eventually(lambda: part.room.held_bytes >= EARLY_BYTES)
        assert part.room.held_bytes < EARLY_BYTES + 2048
        rig.list(server)
        assert await client.read(len(sent)) == sent
        assert rig.entry.held == 0


async def test_a_server_may_speak_first() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        await echo(reader, writer)

    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        client = await rig.connect(number)
        await eventually(lambda: rig.entry.held == 1)
        await rig.server(greet)
        assert await client.read(11) == b"SSH-2.0-x\r\n"
        client.send(b"x")
        assert await client.read(1) == b"x"


@pytest.mark.parametrize("cold", [False, True])
async def test_half_close_goes_on_in_both_directions(cold: bool) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(hashlib.sha256(data).digest())

    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        server = await rig.server(count, listed=not cold)
        client = await rig.connect(number)
        client.send(b"some bytes")
        client.writer.write_eof()
        if cold:
            await eventually(lambda: rig.entry.held == 1)
            rig.list(server)
        assert await client.rest() == hashlib.sha256(b"some bytes").digest()
        await eventually(lambda: rig.entry.in_flight == 0)


async def test_much_data_in_both_directions() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        await rig.server()
        client = await rig.connect(number)
        sent = os.urandom(24 << 20)

        async def send() -> None:
            for at in range(0, len(sent), 1 << 18):
                client.send(sent[at : at + (1 << 18)])
                await client.writer.drain()
            client.writer.write_eof()

        sending = asyncio.create_task(send())
        async with asyncio.timeout(60):
            received = await client.reader.read()
        await sending
        assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


async def test_a_slow_reader_holds_the_other_side_back() -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(2000):
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16

    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        await rig.server(pour)
        client = await rig.connect(number, limit=1 << 12)
        await client.read(1)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)  # until nothing moves any more
        assert sent < 100 << 20
        client.writer.transport.abort()


async def test_a_reset_of_the_backend_reaches_the_client() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        cut(writer)

    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        await rig.server(reset)
        client = await rig.connect(number)
        client.send(b"x")
        assert await client.is_reset()
        await eventually(lambda: rig.entry.in_flight == 0)


async def test_clients_that_leave_while_held_are_not_waited_for() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        one, other = await rig.connect(number), await rig.connect(number)
        other.send(bytes(2 * EARLY_BYTES))
        await eventually(lambda: rig.entry.held == 2)
        one.close()
        await eventually(lambda: rig.entry.held == 1)
        cut(other.writer)
        await eventually(lambda: rig.entry.held == 0)


async def test_the_waiting_room_is_bounded_and_what_is_beyond_is_reset() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number), cold_start=ColdStart(max_held=2))) as rig:
        held = [await rig.connect(number) for _ in range(2)]
        await eventually(lambda: rig.entry.held == 2)
        assert await (await rig.connect(number)).is_reset()
        await rig.server()
        for client in held:
            client.send(b"x")
            assert await client.read(1) == b"x"
        assert rig.rig.app.stats.own["overflow", 503] == 1


async def test_the_readiness_limit_ends_a_wait() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number), timeouts=Timeouts(readiness=0.2))) as rig:
        assert await (await rig.connect(number)).is_reset()
        assert rig.rig.app.stats.own["readiness_timeout", 504] == 1


async def test_the_idle_limit_of_a_route_ends_a_connection_and_the_setting_does_not() -> None:
    number, other = free_port(), free_port()
    routes = (port_route(port(number), timeouts=Timeouts(idle=0.3)), port_route(port(other), app="default/b"))
    async with stream_rig(*routes, idle_timeout=0.2) as rig:
        await rig.server()
        await rig.server(app="default/b")
        limited, open_ended = await rig.connect(number), await rig.connect(other)
        assert await limited.is_reset()
        open_ended.send(b"x")
        assert await open_ended.read(1) == b"x"


@pytest.mark.parametrize("side", ["client", "backend"])
async def test_half_a_connection_without_bytes_is_not_kept(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "HALF_CLOSED_SECONDS", 0.3)
    monkeypatch.setattr(tunnel, "TUNNEL_GRACE_SECONDS", 3600.0)

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if side == "backend":
            writer.write_eof()
        await reader.read()
        await asyncio.Event().wait()

    number = free_port()
    async with stream_rig(port_route(port(number))) as rig:
        await rig.server(says_nothing)
        client = await rig.connect(number)
        client.send(b"x")
        await eventually(lambda: rig.entry.in_flight == 1)
        if side == "client":
            client.writer.write_eof()
        await eventually(lambda: rig.entry.in_flight == 0)


async def test_so_many_connections_of_an_application_and_so_many_at_a_backend() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number), protection=Protection(backend_concurrency=1, max_requests=2))) as rig:
        await rig.server()
        first = await rig.connect(number)
        first.send(b"1")
        assert await first.read(1) == b"1"
        second = await rig.connect(number)
        await eventually(lambda: rig.entry.held == 1)
        assert await (await rig.connect(number)).is_reset()
        first.close()
        second.send(b"2")
        assert await second.read(1) == b"2"


async def test_maintenance_refuses_and_wakes_nothing() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number), maintenance=StaticResponse())) as rig:
        assert await (await rig.connect(number)).is_reset()
        assert rig.entry.requests_total == 0


async def test_ports_come_and_go_and_no_connection_is_dropped() -> None:
    number, other = free_port(), free_port()
    route = port_route(port(number))
    async with stream_rig(route) as rig:
        await rig.server()
        client = await rig.connect(number)
        client.send(b"1")
        assert await client.read(1) == b"1"
        rig.rig.set_routes(route, port_route(port(other), app="default/b"))
        await rig.server(app="default/b")
        await rig.bound(other)
        beside = await rig.connect(other)
        beside.send(b"b")
        assert await beside.read(1) == b"b"
        rig.rig.set_routes(route)
        await eventually(lambda: not _accepts(other))
        for open_one in (client, beside):
            open_one.send(b"2")
            assert await open_one.read(1) == b"2"
        assert _accepts(number)


def _accepts(number: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", number)) == 0


async def test_held_connections_of_a_removed_port_are_reset_and_those_of_another_target_go_there() -> None:
    number, other = free_port(), free_port()
    first = port_route(port(number), port(other))
    async with stream_rig(first) as rig:
        gone, stays = await rig.connect(number), await rig.connect(other)
        await eventually(lambda: rig.entry.held == 2)
        rig.rig.set_routes(replace(first, ports=(port(other),)))
        assert await gone.is_reset()
        await rig.server()
        stays.send(b"x")
        assert await stays.read(1) == b"x"


async def test_a_port_that_somebody_else_has_is_named_and_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        async with stream_rig(port_route(port(number))) as rig:
            ports = rig.rig.interceptor._ports
            ((key, why),) = ports.unbound()
            assert (str(key), "in use" in why) == (f"TCP port {number}", True)
            (row,) = ports.rows()
            assert (row.port, row.accepts, row.failure) == (number, False, why)
            assert rig.rig.interceptor._not_ready() is None
            async with insecure_channel(f"127.0.0.1:{rig.rig.interceptor.rpc_port}") as channel:
                stub = routing_pb2_grpc.RoutingServiceStub(channel)
                answer = await stub.SyncRoutingTable(routing_pb2.SyncRoutingTableRequest(sync_id="1"), timeout=10)
            assert [(one.protocol, one.port, one.reason) for one in answer.unbound_ports] == [("TCP", number, why)]
            taken.close()
            await rig.bound(number)
            assert not list(ports.unbound())


async def test_the_drain_lets_connections_end_and_then_asks_them_to() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number)), drain_delay=0, drain_timeout=2) as rig:
        await rig.server()
        client = await rig.connect(number)
        client.send(b"x")
        assert await client.read(1) == b"x"
        drain = asyncio.create_task(rig.rig.interceptor.drain())
        await eventually(lambda: not _accepts(number))
        client.send(b"y")
        assert await client.read(1) == b"y"
        assert await client.rest() == b""  # the echo ends when it is told that its client has ended
        await drain


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_backends_get_the_address_of_the_client(version: str) -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, proxy_protocol=version))) as rig:
        client = await rig.connect(number)
        client.send(b"data")
        await eventually(lambda: rig.entry.held == 1)
        await rig.server()
        local = client.writer.get_extra_info("sockname")[1]
        if version == "v1":
            expected = f"PROXY TCP4 127.0.0.1 127.0.0.1 {local} {number}\r\n".encode()
        else:
            address = socket.inet_aton("127.0.0.1")
            expected = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + 2 * address
            expected += local.to_bytes(2, "big") + number.to_bytes(2, "big")
        assert await client.read(len(expected) + 4) == expected + b"data"


async def test_a_header_of_a_load_balancer_says_who_the_client_is() -> None:
    number = free_port()
    async with stream_rig(port_route(port(number, proxy_protocol="v1")), proxy_protocol="127.0.0.0/8") as rig:
        await rig.server()
        client = await rig.connect(number)
        client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\ndata")
        expected = f"PROXY TCP4 192.0.2.7 127.0.0.1 0 {number}\r\ndata".encode()
        assert await client.read(len(expected)) == expected
