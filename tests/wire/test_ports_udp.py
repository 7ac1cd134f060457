"""Flows at UDP ports of routes: held while the application wakes, relayed, counted, moved, ended."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.port import UDP, ListenPort
from fleet.routing.port_index import PortKey
from fleet.routing.route import ColdStart, Protection, StaticResponse, Timeouts
from interceptor.metrics import Metrics
from interceptor.udp.flow import GONE_SECONDS, HELD_DATAGRAMS
from tests.support.loopback import APP
from tests.support.ports import free_port
from tests.wire.flow_rig import UdpServer, flow_rig, udp
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import TcpServer, echo, port_route


async def test_a_flow_is_relayed_and_counted_until_it_is_idle() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, idle=0.3))) as rig:
        server = await rig.server()
        client = rig.client(number)
        for data in (b"one", b"two", b""):
            assert await client.ask(data) == data
        assert (rig.entry.in_flight, rig.entry.connections, rig.entry.requests_total) == (1, 1, 1)
        assert len(server.peers) == 1
        await eventually(lambda: not len(rig.flows))
        assert rig.entry.in_flight == 0
        assert rig.rig.app.stats.answers()["UDP", "101", "false"].count == 1
        assert await client.ask(b"again") == b"again"
        assert len(server.peers) == 2
        assert (rig.rig.app.stats.datagrams_in, rig.rig.app.stats.datagrams_out) == (4, 4)


async def test_held_while_the_application_wakes_in_order_and_within_the_bound() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        server = await rig.server(listed=False)
        client, other = rig.client(number), rig.client(number)
        sent = [bytes([one]) for one in range(HELD_DATAGRAMS + 3)]
        client.send(*sent)
        other.send(b"x")
        await eventually(lambda: rig.entry.held == 2 and rig.dropped == {"overflow": 3})
        rig.list(server.backend)
        assert await client.receive(HELD_DATAGRAMS) == sent[:HELD_DATAGRAMS]
        assert await other.receive() == [b"x"]
        assert (rig.entry.held, rig.entry.in_flight, rig.flows.kept_bytes) == (0, 2, 0)
        assert rig.rig.app.stats.answers() == {}


async def test_datagrams_are_passed_on_as_they_are_up_to_the_longest() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        client = rig.client(number)
        longest = os.urandom(65507)
        client.send(longest)
        await eventually(lambda: rig.entry.held == 1)
        client.send(bytes(100))
        await eventually(lambda: rig.dropped == {"overflow": 1})
        await rig.server()
        assert await client.receive() == [longest]
        for data in (b"", longest, b"\0", os.urandom(1400)):
            assert await client.ask(data) == data


async def test_a_flow_ends_with_its_replies() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number, replies=2))) as rig:
        gate: list[bytes] = []
        server = await rig.server(lambda data: (data, b"+") if data not in gate else ())
        client = rig.client(number)
        client.send(b"a")
        assert await client.receive(2) == [b"a", b"+"]
        await eventually(lambda: not len(rig.flows))
        gate.append(b"b")
        client.send(b"b", b"c")  # of one that has no answer the flow stays, for as long as it is not idle
        assert await client.receive(2) == [b"c", b"+"]
        await eventually(lambda: len(server.received) == 3)
        assert len(rig.flows) == 1


async def test_without_a_backend_in_time_a_flow_ends() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number), timeouts=Timeouts(readiness=0.3))) as rig:
        client = rig.client(number)
        client.send(b"x", b"y")
        await eventually(lambda: rig.entry.held == 1)
        await eventually(lambda: not len(rig.flows))
        assert rig.dropped == {"readiness_timeout": 2}
        assert rig.rig.app.stats.own["readiness_timeout", 504] == 1
        assert rig.entry.held == 0


async def test_no_more_wait_than_the_route_permits() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number), cold_start=ColdStart(max_held=2))) as rig:
        for _ in range(3):
            rig.client(number).send(b"x")
        await eventually(lambda: rig.dropped == {"overflow": 1})
        assert (rig.entry.held, len(rig.flows)) == (2, 2)


async def test_no_more_flows_than_the_route_permits() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number), protection=Protection(max_requests=2))) as rig:
        await rig.server()
        for _ in range(2):
            assert await rig.client(number).ask(b"x") == b"x"
        rig.client(number).send(b"x")
        await eventually(lambda: rig.dropped == {"max_requests": 1})
        assert rig.entry.in_flight == 2


async def test_in_maintenance_nothing_is_relayed_or_woken() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number), maintenance=StaticResponse())) as rig:
        rig.client(number).send(b"x")
        await eventually(lambda: rig.dropped == {"maintenance": 1})
        assert rig.entry.requests_total == 0


async def test_flows_are_spread_over_the_backends() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        servers = [await rig.server() for _ in range(2)]
        clients = [rig.client(number) for _ in range(20)]
        for client in clients:
            assert await client.ask(b"x") == b"x"
        counts = [len(server.peers) for server in servers]
        assert sum(counts) == 20
        assert min(counts) > 3


async def test_a_flow_that_is_refused_moves_with_all_that_it_has_sent() -> None:
    number = free_port()
    gone = Backend("127.0.0.1", free_port())
    async with flow_rig(port_route(udp(number))) as rig:
        rig.list(gone)
        client = rig.client(number)
        sent = [bytes([one]) for one in range(5)]
        client.send(*sent)
        await eventually(lambda: rig.entry.held == 1 and rig.rig.interceptor.proxy.probes.failures)
        server = await rig.server()
        assert await client.receive(5) == sent
        assert server.received == sent
        assert (rig.entry.held, rig.entry.in_flight, rig.dropped) == (0, 1, {})


async def test_a_backend_that_comes_back_at_its_address_gets_what_waits() -> None:
    number = free_port()
    backend = Backend("127.0.0.1", free_port())
    async with flow_rig(port_route(udp(number))) as rig:
        rig.list(backend)
        client = rig.client(number)
        client.send(b"x")
        await eventually(lambda: rig.rig.interceptor.proxy.probes.failures >= 2)
        await rig.server(listed=False, port=backend.port)
        assert await client.receive() == [b"x"]


async def test_an_answered_flow_ends_with_its_backend_and_begins_anew() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        first = await rig.server()
        client = rig.client(number)
        assert await client.ask(b"1") == b"1"
        await first.close()
        client.send(b"2")
        await eventually(lambda: rig.rig.app.stats.cut["refused"] == 1)
        assert not len(rig.flows)
        await rig.server(lambda data: (b"new " + data,))
        assert await client.ask(b"3") == b"new 3"


async def test_a_backend_that_is_not_listed_keeps_its_flows_while_it_answers() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        speaks = True
        old = await rig.server(lambda data: (b"old " + data,) if speaks else ())
        client = rig.client(number)
        assert await client.ask(b"1") == b"old 1"
        await rig.server(lambda data: (b"new " + data,))
        rig.unlist(old.backend)
        assert await client.ask(b"2") == b"old 2"
        assert await rig.client(number).ask(b"3") == b"new 3"
        speaks = False
        client.send(b"4")
        await eventually(lambda: old.received[-1] == b"4")
        for flow in rig.flows:
            flow.heard -= GONE_SECONDS
        assert await client.ask(b"5") == b"new 5"
        assert len(rig.flows) == 2


async def test_an_unanswered_flow_leaves_a_backend_that_is_not_listed_with_all_that_it_has_sent() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        old = await rig.server(lambda _: ())
        client = rig.client(number)
        client.send(b"1")
        await eventually(lambda: old.received == [b"1"])
        rig.unlist(old.backend)
        await rig.server()
        client.send(b"2")
        assert await client.receive(2) == [b"1", b"2"]


async def test_ports_come_and_go_with_the_table_and_their_flows_stay() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        await rig.server()
        client = rig.client(number)
        assert await client.ask(b"1") == b"1"
        rig.rig.set_routes(port_route(udp(free_port())))
        await eventually(lambda: rig.rig.interceptor.proxy.apps[APP].route.ports[0].port != number)
        assert await client.ask(b"2") == b"2"
        rig.client(number).send(b"x")
        await eventually(lambda: rig.rig.interceptor.proxy.refusals["draining", 503] == 1)
        rig.rig.set_routes(port_route(udp(number)))
        assert await client.ask(b"3") == b"3"
        await rig.bound(number)
        assert await rig.client(number).ask(b"4") == b"4"
        assert len(rig.flows) == 2
        rig.rig.set_routes(port_route(udp(free_port())))
        rig.end_flows()
        # It is closed with its last flow: somebody else can have it.
        await eventually(lambda: _is_free(number))


def _is_free(number: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True


async def test_a_port_that_somebody_else_has_is_named_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interceptor.port_listeners.RETRY_SECONDS", 0.1)
    number = free_port()
    other = await UdpServer().start(port=number)
    async with flow_rig(port_route(udp(number))) as rig:
        rows = [row for row in rig.rig.interceptor.pages.ports() if row.port == number]
        assert [(row.protocols, row.accepts, "in use" in row.failure) for row in rows] == [("UDP", False, True)]
        await other.close()
        await rig.bound(number)
        await rig.server()
        assert await rig.client(number).ask(b"x") == b"x"
        (row,) = (row for row in rig.rig.interceptor.pages.ports() if row.port == number)
        assert (row.accepts, row.connections, row.failure) == (True, 1, "")


async def test_one_number_for_tcp_and_udp_of_two_applications() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number)), port_route(ListenPort(number), app="default/b")) as rig:
        await rig.server()
        tcp = await TcpServer(echo).start()
        rig.rig.sources.set("default/b", [tcp.backend])
        assert await rig.client(number).ask(b"x") == b"x"
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        apps = rig.rig.interceptor.proxy.apps
        assert (apps[APP].entry.in_flight, apps["default/b"].entry.in_flight) == (1, 1)
        writer.close()
        await eventually(lambda: apps["default/b"].entry.in_flight == 0)
        await tcp.close()


@pytest.mark.parametrize(
    ("host", "asked", "source"),
    [("0.0.0.0", "127.0.0.3", "127.0.0.9"), ("::", "::1", "::1"), ("::", "127.0.0.3", "127.0.0.9"), ("::1", "::1", "::1")],
)
async def test_answers_come_from_the_address_that_was_asked(host: str, asked: str, source: str) -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number)), host=host) as rig:
        await rig.server()
        client = rig.client(number, asked, source)  # it is connected, and takes answers from there alone
        for data in (b"1", b"2"):
            assert await client.ask(data) == data


async def test_a_backend_of_ipv6() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        await rig.server(host="::1")
        assert await rig.client(number).ask(b"x") == b"x"


async def test_in_a_drain_flows_go_on_and_new_ones_do_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interceptor.drain.IDLE_FLOW_SECONDS", 0.5)
    number = free_port()
    async with flow_rig(port_route(udp(number)), drain_timeout=600.0) as rig:
        await rig.server()
        client = rig.client(number)
        assert await client.ask(b"1") == b"1"
        draining = asyncio.create_task(rig.rig.interceptor.drain())
        await eventually(lambda: rig.rig.interceptor.listens_at(PortKey(UDP, number)) is None)
        rig.client(number).send(b"x")
        await eventually(lambda: rig.rig.interceptor.proxy.refusals["draining", 503] == 1)
        for data in (b"2", b"3"):
            assert await client.ask(data) == data
        async with asyncio.timeout(60):
            await draining  # the flow has been idle for long enough
        assert not len(rig.flows)


async def test_flows_are_seen_on_pages_in_metrics_and_in_the_queue() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        client = rig.client(number)
        client.send(*[b"x"] * (HELD_DATAGRAMS + 2))
        await eventually(lambda: rig.dropped == {"overflow": 2})
        proxy = rig.rig.interceptor.proxy
        (flow,) = rig.flows
        assert (flow.peer, flow.activity, flow.protocol) == (b"127.0.0.1", "held", "UDP")
        await rig.server()
        await client.receive(HELD_DATAGRAMS)
        assert flow.activity == "answered"
        page = rig.rig.interceptor.pages.all()["/connections"].show(10)
        assert [row.state for row in page["flows"].rows] == ["answered"]
        (row,) = [row for row in rig.rig.interceptor.pages.all()["/listeners"].show().rows if row.port == number]
        assert (row.protocols, row.dropped) == ("UDP", {"overflow": 2})
        (size,) = rig.rig.ledger.sizes(proxy.clock())
        assert (size.in_flight, size.connections, size.dropped_total) == (1, 1, 2)
        text = "".join(Metrics(proxy, 1 << 20, lost=lambda: 7).parts())
        for line in (
            f'weir_interceptor_datagrams_total{{app="a",direction="in",namespace="default"}} {HELD_DATAGRAMS + 2}.0',
            f'weir_interceptor_datagrams_total{{app="a",direction="out",namespace="default"}} {HELD_DATAGRAMS}.0',
            'weir_interceptor_dropped_datagrams_total{app="a",namespace="default",reason="overflow"} 2.0',
            "weir_interceptor_flows 1.0",
            "weir_interceptor_lost_datagrams_total 7.0",
        ):
            assert f"{line}\n" in text


async def test_without_epoll_each_socket_is_watched_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.epoll")
    number = free_port()
    async with flow_rig(port_route(udp(number, idle=0.2))) as rig:
        await rig.server()
        clients = [rig.client(number) for _ in range(3)]
        for client in clients:
            client.send(*[b"x"] * 40)
        for client in clients:
            assert await client.receive(40) == [b"x"] * 40
        await eventually(lambda: not len(rig.flows))
