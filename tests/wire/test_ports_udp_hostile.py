"""UDP ports under attack: floods of false sources, backends that are silent, lie or are gone, sockets that take nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from fleet.routing.route import ColdStart, Scaling
from interceptor.backends.endpoint import MAX_DIALS
from interceptor.transport.datagrams import BURST, DATAGRAMS_AT_ONCE, connected
from interceptor.udp.listener import FlowListener, FlowListeners, PortSite
from interceptor.udp.returns import LOOP, MAX_BOUNDS, RETURNS_A_SECOND, Bounds
from tests.support.loopback import route
from tests.support.ports import free_port
from tests.wire.flow_rig import FlowRig, flow_rig, udp
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import port_route


def sources(count: int, first: int = 0) -> Iterator[str]:
    return (f"127.{1 + number // 60000}.{number // 250 % 240}.{1 + number % 250}" for number in range(first, first + count))


def flood(number: int, count: int, *, first: int = 0) -> None:
    """From so many addresses, one datagram each. A port that is closed may be given to the next socket of its address."""
    for source in sources(count, first):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            with contextlib.suppress(BlockingIOError):
                sock.sendto(b"?", ("127.0.0.1", number))


async def flood_on(rig: FlowRig, number: int, count: int) -> None:
    """The same, in steps that the interceptor has read before the next."""
    for first in range(0, count, 100):
        before = _read(rig)
        flood(number, 100, first=first)
        await eventually(lambda before=before: _read(rig) == before + 100)  # type: ignore[misc]


def _read(rig: FlowRig) -> int:
    """Every datagram begins a flow, or is refused one."""
    return rig.rig.app.stats.datagrams_in + sum(rig.dropped.get(why, 0) for why in ("flows", "source_flows"))


async def test_false_sources_at_a_sleeping_application_take_bounded_memory_and_no_others_place() -> None:
    number, other = free_port(), free_port()
    cold = ColdStart(max_held=50)
    routes = (port_route(udp(number), cold_start=cold), port_route(udp(other), app="default/b"))
    async with flow_rig(*routes, max_flows=200) as rig:
        early = rig.client(number)
        early.send(b"early")
        await eventually(lambda: rig.entry.held == 1)
        await flood_on(rig, number, 1000)
        assert rig.entry.held == 50
        assert len(rig.flows) == 50
        assert rig.flows.kept_bytes < 50 * 1000
        assert rig.dropped["overflow"] >= 900
        await rig.server(app="default/b")
        assert await rig.client(other).ask(b"x") == b"x"
        await rig.server()
        assert await early.receive() == [b"early"]


async def test_false_sources_at_a_silent_backend_end_for_each_other_and_not_for_flows_that_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number, other = free_port(), free_port()
    routes = (port_route(udp(number)), port_route(udp(other), app="default/b"))
    async with flow_rig(*routes, max_flows=100) as rig:
        await rig.server(lambda data: () if data == b"?" else (data,))
        client = rig.client(number)
        assert await client.ask(b"used") == b"used"
        await flood_on(rig, number, 1000)
        assert len(rig.flows) <= 50
        assert rig.dropped["flows"] > 0
        assert await client.ask(b"still") == b"still"
        await rig.server(app="default/b")
        for _ in range(3):
            assert await rig.client(other).ask(b"x") == b"x"
        # Flows without an answer that are idle for long enough give their places to new ones.
        monkeypatch.setattr("interceptor.udp.flows.UNANSWERED_SECONDS", 0.0)
        assert await rig.client(number).insist(b"new") == b"new"
        assert rig.flows.evicted > 0
        assert await client.ask(b"again") == b"again"


async def test_one_source_has_no_more_than_its_flows() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number)), max_flows_per_source=20) as rig:
        await rig.server()
        for _ in range(20):
            assert await rig.client(number, source="127.0.0.2").ask(b"x") == b"x"
        rig.client(number, source="127.0.0.2").send(b"x")
        await eventually(lambda: rig.dropped == {"source_flows": 1})
        assert await rig.client(number, source="127.0.0.3").ask(b"x") == b"x"


async def test_a_turn_of_the_event_loop_takes_a_bounded_number_of_datagrams() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number)), route("default/b", "b.test")) as rig:
        server = await rig.server(lambda _: ())
        client = rig.client(number)
        client.send(b"x")
        await eventually(lambda: server.received)
        client.send(*[b"x"] * 400)
        await _turns(rig, most=DATAGRAMS_AT_ONCE + BURST, total=401)
        flood(number, 60)
        await _turns(rig, most=DATAGRAMS_AT_ONCE // 4, total=461)  # new flows cost more, so there are fewer in a turn


async def test_flows_that_have_waited_together_do_not_go_on_in_one_turn() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number), scaling=Scaling(concurrency=1000))) as rig:
        await flood_on(rig, number, 300)
        assert rig.entry.held == 300
        server = await rig.server(lambda _: ())
        before, turns = 300, 0
        async with asyncio.timeout(60):
            while rig.entry.held:
                assert before - rig.entry.held <= 2 * MAX_DIALS
                before, turns = rig.entry.held, turns + 1
                await asyncio.sleep(0)
        assert turns >= 300 // (2 * MAX_DIALS)
        await eventually(lambda: len(server.received) == 300)


async def _turns(rig: FlowRig, *, most: int, total: int) -> None:
    stats = rig.rig.app.stats
    before, turns = stats.datagrams_in, 0
    async with asyncio.timeout(60):
        while stats.datagrams_in < total:
            await asyncio.sleep(0)
            assert stats.datagrams_in - before <= most
            before, turns = stats.datagrams_in, turns + 1
    assert turns > 3


async def test_kept_datagrams_are_bounded_over_all_flows() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number)), max_flow_bytes=100_000) as rig:
        for _ in range(4):
            rig.client(number).send(os.urandom(30_000))
        await eventually(lambda: rig.dropped == {"memory": 1})
        assert rig.entry.held == 3
        assert rig.flows.kept_bytes <= 100_000


async def test_a_backend_that_never_answers_costs_nothing_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interceptor.udp.flow.CONFIRM_SECONDS", 0.3)
    number = free_port()
    async with flow_rig(port_route(udp(number, idle=1.0))) as rig:
        server = await rig.server(lambda _: ())
        client = rig.client(number)
        client.send(b"1", b"2")
        await eventually(lambda: len(server.received) == 2)
        assert rig.flows.kept_bytes > 0
        await eventually(lambda: rig.flows.kept_bytes == 0)
        assert len(rig.flows) == 1
        client.send(b"3")
        await eventually(lambda: not len(rig.flows))
        assert server.received == [b"1", b"2", b"3"]
        assert rig.dropped == {}


async def test_an_answer_from_another_port_reaches_nobody() -> None:
    number = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
        async with flow_rig(port_route(udp(number))) as rig:
            server = await rig.server(lambda _: ())
            client = rig.client(number)
            client.send(b"x")
            await eventually(lambda: server.peers)
            (flow,) = server.peers
            liar.sendto(b"a lie", flow)
            server.script = lambda data: (data,)
            assert await client.ask(b"y") == b"y"
            assert rig.rig.app.stats.datagrams_out == 1


async def test_a_port_that_claims_to_be_ours_begins_no_flow() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        await rig.server()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.2", number))
            sock.sendto(b"x", ("127.0.0.1", number))
            await eventually(lambda: rig.rig.interceptor.proxy.refusals["bad_source", 400] == 1)
        assert not len(rig.flows)


async def test_another_port_that_claims_to_be_ours_begins_no_flow_either() -> None:
    """Two applications that echo would answer each other."""
    number, other = free_port(), free_port()
    routes = (port_route(udp(number)), port_route(udp(other), app="default/b"))
    async with flow_rig(*routes) as rig:
        server = await rig.server()
        await rig.server(app="default/b")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.2", other))
            sock.sendto(b"x", ("127.0.0.1", number))
            await eventually(lambda: rig.rig.interceptor.proxy.refusals["bad_source", 400] == 1)
        assert not server.received


@pytest.mark.parametrize("replies", [None, 1])
async def test_what_goes_round_between_interceptors_ends(monkeypatch: pytest.MonkeyPatch, replies: int | None) -> None:
    """A datagram whose source is false makes two applications that echo answer each other."""
    monkeypatch.setattr(FlowListener, "_is_ours", lambda *_: False)  # as the address of another interceptor
    opened, open_ = dict[int, FlowListener](), FlowListeners.open

    def noted(self: FlowListeners, site: PortSite, port: int) -> FlowListener:
        opened[port] = open_(self, site, port)
        return opened[port]

    monkeypatch.setattr(FlowListeners, "open", noted)
    number, other = free_port(), free_port()
    routes = (port_route(udp(number, replies=replies)), port_route(udp(other, replies=replies), app="default/b"))
    async with flow_rig(*routes) as rig:
        first, second = await rig.server(), await rig.server(app="default/b")
        apps = rig.rig.interceptor.proxy.apps
        for _ in range(3):
            before = sum(app.stats.dropped[LOOP] for app in apps.values())
            opened[other].socket.own.sendto(b"x", ("127.0.0.1", number))
            await eventually(lambda before=before: sum(app.stats.dropped[LOOP] for app in apps.values()) > before)  # type: ignore[misc]
        received = len(first.received) + len(second.received)
        assert RETURNS_A_SECOND <= received <= 100 * RETURNS_A_SECOND
        assert await rig.client(number).ask(b"y") == b"y"


def test_the_bound_of_what_comes_back() -> None:
    bounds = Bounds()
    address = ("192.0.2.1", 53)
    bound = bounds.of(address, 0.0)
    assert sum(bound.permits(0.0) for _ in range(10_000)) == RETURNS_A_SECOND
    assert sum(bounds.of(address, 0.0).permits(0.1) for _ in range(10_000)) == RETURNS_A_SECOND / 10
    assert sum(bound.permits(100.0) for _ in range(10_000)) == RETURNS_A_SECOND, "no more are saved"
    for number in range(3 * MAX_BOUNDS):
        bounds.of((f"192.0.2.{number}", 53), 0.0)
    assert len(bounds) == MAX_BOUNDS


async def test_what_cannot_be_sent_is_dropped_and_the_flow_goes_on() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        await rig.server()
        client = rig.client(number)
        assert await client.ask(b"1") == b"1"
        (flow,) = rig.flows
        send = flow._send

        def full(_: object) -> int:
            raise BlockingIOError(11, "would block")

        flow._send = full
        client.send(b"2")
        await eventually(lambda: rig.dropped == {"send": 1})
        flow._send = send
        assert await client.ask(b"3") == b"3"


async def test_a_client_that_is_gone_does_not_disturb_the_port() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        server = await rig.server(lambda data: (data,) * 3)
        client = rig.client(number)
        client.send(b"x")
        client.close()  # its answers are refused
        await eventually(lambda: server.received)
        assert await rig.client(number).ask(b"y") == b"y"


async def test_without_descriptors_flows_are_refused_and_the_port_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        await rig.server()

        def none(host: str, port: int) -> socket.socket:
            raise OSError(24, "too many open files")

        with monkeypatch.context() as patched:
            patched.setattr("interceptor.udp.flow.connected", none)
            rig.client(number).send(b"x")
            await eventually(lambda: rig.dropped == {"sockets": 1})
        assert rig.entry.in_flight == 0
        assert await rig.client(number).ask(b"y") == b"y"


async def test_backends_that_cannot_be_reached_are_set_aside_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    number = free_port()
    bad: set[int] = set()

    def unreachable(host: str, port: int) -> socket.socket:
        if port in bad:
            raise OSError(101, "network is unreachable")
        return connected(host, port)

    monkeypatch.setattr("interceptor.udp.flow.connected", unreachable)
    async with flow_rig(port_route(udp(number))) as rig:
        for _ in range(2):
            bad.add((await rig.server()).backend.port)
        good = await rig.server()
        for each in range(10):
            assert await rig.client(number).ask(bytes([each])) == bytes([each])
        assert len(good.peers) == 10


async def test_datagrams_that_the_kernel_loses_are_counted() -> None:
    number = free_port()
    async with flow_rig(port_route(udp(number))) as rig:
        await rig.server(lambda _: ())
        client = rig.client(number)
        for _ in range(400):
            client.send(bytes(60_000))  # without a turn of the event loop in between
        assert rig.rig.interceptor._ports.lost() > 0
