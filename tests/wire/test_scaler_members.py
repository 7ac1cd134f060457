"""The scaler's streams to interceptors that freeze, die, move, drain and come back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from fleet.demand.ledger import Ledger
from fleet.discovery.fixed import FixedMembers
from fleet.discovery.sources import Member
from fleet.runtime.rpc import RpcServer
from interceptor.rpc import QueueServicer
from protos.weir.interceptor.v1.queue_pb2_grpc import add_QueueServiceServicer_to_server
from tests.support.members import PlayedMember, playing
from tests.support.scalers import APP, a_scaler, eventually, route

WAKE_LIMIT = 1.0
"""Seconds; a loaded machine included, and less than any deadline of a silent member in these tests."""


async def test_a_frozen_member_delays_nobody_and_keeps_its_counts() -> None:
    apps = [f"shop/web-{number}" for number in range(5)]
    frozen, lively = PlayedMember("m1"), PlayedMember("m2")
    routes = [route(app, concurrency=10) for app in (APP, *apps)]
    async with playing(frozen, lively), a_scaler(frozen, lively, routes=routes) as running:
        frozen.set(APP, in_flight=5, total=5)
        await eventually(lambda: running.scaler._demand.level(APP) == 5)
        frozen.freeze()
        for number, app in enumerate(apps):
            pushes = await running.keda.pushes(app)
            asked = time.monotonic()
            lively.set(app, held=1, total=1)
            await pushes.until(1)
            assert pushes.times[0] - asked < WAKE_LIMIT
            assert await running.keda.value() == 5.0
            assert time.monotonic() - asked < WAKE_LIMIT
            if number == 2:  # some before the deadline has passed, and some after it
                await eventually(lambda: frozen.opened > 1)
        lively.set(APP, in_flight=2, total=2)
        await eventually(lambda: running.scaler._demand.level(APP) == 7)
        frozen.thaw()
        frozen.set(APP, in_flight=1, total=9)
        await eventually(lambda: running.scaler._demand.level(APP) == 3)


async def test_a_dead_member_keeps_its_counts_until_its_time_to_live() -> None:
    dead, alive = PlayedMember("m1"), PlayedMember("m2")
    async with playing(dead, alive), a_scaler(dead, alive, member_ttl=3.0) as running:
        dead.set(APP, held=4, total=4)
        alive.set(APP, in_flight=1, total=1)
        await eventually(lambda: running.scaler._demand.level(APP) == 5)
        begun = time.monotonic()
        await dead.stop()
        assert await running.keda.value() == 5.0
        await eventually(lambda: running.scaler._demand.level(APP) == 1)
        assert time.monotonic() - begun > 2.5
        assert await running.keda.active()


async def test_a_dead_member_that_discovery_no_longer_names_is_gone() -> None:
    dead, alive = PlayedMember("m1"), PlayedMember("m2")
    async with playing(dead, alive), a_scaler(dead, alive) as running:
        dead.set(APP, held=4, total=4)
        await eventually(lambda: running.scaler._demand.level(APP) == 4)
        await dead.stop()
        await eventually(lambda: [news.connected for news in running.scaler._demand.members(0.0)] == [False, True])
        assert running.scaler._demand.level(APP) == 4
        running.members.set([alive.discovered])
        assert running.scaler._demand.level(APP) == 0


async def test_a_draining_member_counts_until_its_stream_ends(caplog: pytest.LogCaptureFixture) -> None:
    draining, alive = PlayedMember("m1"), PlayedMember("m2")
    async with playing(draining, alive), a_scaler(draining, alive) as running:
        draining.set(APP, in_flight=4, total=4)
        await eventually(lambda: running.scaler._demand.level(APP) == 4)
        running.members.set([alive.discovered])
        draining.set(APP, in_flight=3, total=4)
        await eventually(lambda: running.scaler._demand.level(APP) == 3)
        draining.set(APP, in_flight=2, total=4)
        await eventually(lambda: running.scaler._demand.level(APP) == 2)
        draining.end_streams()
        await eventually(lambda: running.scaler._demand.level(APP) == 0)
        await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("member:m1")])
        assert draining.streams == 0, "nobody dials it again"
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "it is no trouble"


async def test_a_member_that_restarts_starts_anew() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member) as running:
        member.set(APP, in_flight=4, total=400)
        await eventually(lambda: running.scaler._demand.level(APP) == 4)
        await member.restart()
        await eventually(lambda: running.scaler._demand.level(APP) == 0)
        assert member.streams == 1
        member.set(APP, held=1, total=1)
        await eventually(lambda: running.scaler._demand.held(APP) == 1)


async def test_members_come_and_move() -> None:
    first, second = PlayedMember("m1"), PlayedMember("m1")
    async with playing(first, second), a_scaler(heard=False) as running:
        running.members.set([first.discovered])
        await eventually(lambda: first.streams == 1)
        running.members.set([Member("m1", second.discovered.address)])
        await eventually(lambda: (first.streams, second.streams) == (0, 1))


async def test_one_process_behind_two_addresses_counts_once() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member) as running:
        member.set(APP, in_flight=3, total=3)
        running.members.set([member.discovered, Member("again", f"localhost:{member.port}")])
        await eventually(lambda: member.opened >= 3)
        assert await running.keda.value() == 3.0
        running.members.set([Member("again", f"localhost:{member.port}")])
        member.end_streams()
        await eventually(lambda: [news.member for news in running.scaler._demand.members(0.0) if news.connected] == ["again"])
        assert await running.keda.value() == 3.0


async def test_a_silent_address_is_given_up_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A host that accepts connections and never speaks HTTP/2."""
    accepted: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.read()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    alive = PlayedMember("m2")
    async with playing(alive), a_scaler(alive, news_timeout=0.3) as running:
        port = server.sockets[0].getsockname()[1]
        running.members.set([Member("m1", f"127.0.0.1:{port}"), alive.discovered])
        await eventually(lambda: len(accepted) >= 3)
        assert not await running.keda.active()
        begun = time.monotonic()
        await running.scaler.close()
        assert time.monotonic() - begun < 3.0
    assert caplog.text.count("member m1 at") == 1, "the same trouble is told once"
    server.close()
    for writer in accepted:
        writer.close()
    await server.wait_closed()


async def test_news_that_cannot_be_taken_stops_no_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = PlayedMember("m1"), PlayedMember("m2")
    async with playing(one, two), a_scaler(one, two) as running:
        update = running.scaler._demand.update

        def failing(member: str, *rest: object, **more: object) -> None:
            if member == "m1":
                raise ArithmeticError("no sum")
            update(member, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(running.scaler._demand, "update", failing)
        one.set(APP, held=1, total=1)
        two.set(APP, in_flight=2, total=2)
        await eventually(lambda: running.scaler._demand.level(APP) == 3)
        assert "no sum" in caplog.text, "told; and the next snapshot brought what the update did not"


async def test_a_large_fleet_is_heard() -> None:
    members = [PlayedMember(f"m{number}", heartbeat=0.3) for number in range(20)]
    async with playing(*members), a_scaler(*members) as running:
        for member in members:
            member.set(APP, in_flight=2, total=2)
        await eventually(lambda: running.scaler._demand.level(APP) == 40)
        assert await running.keda.value() == 40.0


@asynccontextmanager
async def a_real_member(ledger: Ledger, *, heartbeat: float = 1.0) -> AsyncIterator[tuple[Member, QueueServicer]]:
    """The interceptor's own service, over a ledger that the test writes."""
    servicer = QueueServicer(ledger, member="m1", incarnation="i1", clock=time.monotonic, heartbeat=heartbeat)
    ledger.on_edge = servicer.wake
    server = RpcServer("127.0.0.1", 0)
    server.add(add_QueueServiceServicer_to_server, servicer, "weir.interceptor.v1.QueueService")
    try:
        yield Member("m1", f"127.0.0.1:{await server.start()}"), servicer
    finally:
        servicer.close()
        await server.stop(1)


async def test_a_real_ledger_wakes_and_settles() -> None:
    ledger = Ledger()
    async with (
        a_real_member(ledger, heartbeat=60.0) as (member, servicer),
        a_scaler(news_timeout=180.0, heard=False) as running,
    ):
        running.members.set([member])
        await eventually(lambda: servicer.watchers == 1)
        pushes = await running.keda.pushes()
        begun = time.monotonic()
        lease = ledger.entry(APP).hold(begun)
        await pushes.until(1)
        assert pushes.times[0] - begun < WAKE_LIMIT
        assert await running.keda.value() == 1.0
        lease.admit(time.monotonic())
        lease.release(time.monotonic())
        await eventually(lambda: running.scaler._demand.level(APP) == 0)
        assert time.monotonic() - begun < 60.0, "an edge, and no heartbeat"


async def test_the_wakes_of_others_make_no_demand_greater() -> None:
    """Between two heartbeats only wakes are told; what is steady is told with the next, for all of the time between."""
    ledger = Ledger()
    leases = [ledger.entry(APP).acquire(time.monotonic()) for _ in range(9)]
    async with (
        a_real_member(ledger, heartbeat=0.3) as (member, _),
        a_scaler(news_timeout=3.0, concurrency_window=0.2, heard=False) as running,
    ):
        running.members.set([member])
        await eventually(lambda: running.scaler._demand.level(APP) == 9)
        for number in range(60):
            ledger.entry(f"shop/other-{number}").hold(time.monotonic())
            await asyncio.sleep(0.02)  # heartbeats and windows are of real time: some of both pass
            assert await running.keda.value() == 9.0
        for lease in leases:
            lease.release(time.monotonic())
        await eventually(lambda: running.scaler._demand.level(APP) == 0)


async def test_shutting_down_during_every_kind_of_trouble() -> None:
    frozen, dead = PlayedMember("m1"), PlayedMember("m2")
    async with playing(frozen, dead), a_scaler(frozen, dead) as running:
        pushes = await running.keda.pushes()
        frozen.freeze()
        await dead.stop()
        await eventually(lambda: [news.connected for news in running.scaler._demand.members(0.0)][1] is False)
        begun = time.monotonic()
        await running.scaler.close()
        assert time.monotonic() - begun < 3.0
        assert await pushes.code() is grpc.StatusCode.OK
        assert isinstance(running.members, FixedMembers)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("member")]
