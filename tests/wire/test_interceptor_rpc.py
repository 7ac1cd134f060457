"""The interceptor's gRPC services, through a real server and channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from fleet.demand.ledger import Ledger
from fleet.discovery.files import FileRoutes, write_routes
from fleet.discovery.fixed import FixedRoutes
from fleet.discovery.sources import RouteSource
from fleet.routing.codec import decode_json
from fleet.routing.route import Route, Target
from fleet.routing.table import RoutingTable
from fleet.runtime.rpc import RpcServer
from interceptor import rpc
from interceptor.rpc import QueueServicer, RoutingServicer
from protos.weir.interceptor.v1 import queue_pb2, queue_pb2_grpc, routing_pb2, routing_pb2_grpc

NEVER = 3600.0
WATCH = queue_pb2.WatchQueueSizesRequest(watcher="test")
Stream = grpc.aio.UnaryStreamCall[queue_pb2.WatchQueueSizesRequest, queue_pb2.WatchQueueSizesResponse]


@dataclass
class Member:
    """An interceptor without its proxy: a ledger, both services, a client."""

    heartbeat: float = NEVER
    max_watchers: int = 2
    routes: RouteSource = field(default_factory=FixedRoutes)
    draining: bool = False
    now: float = 100.0

    async def start(self) -> None:
        self.ledger = Ledger()
        self.queue = QueueServicer(
            self.ledger,
            member="one",
            incarnation="first",
            clock=lambda: self.now,
            heartbeat=self.heartbeat,
            draining=lambda: self.draining,
            called=lambda: {"default/web": 2},
            max_watchers=self.max_watchers,
        )
        self.ledger.on_edge = self.queue.wake
        self.server = RpcServer("127.0.0.1", 0)
        self.server.add(queue_pb2_grpc.add_QueueServiceServicer_to_server, self.queue, "weir.interceptor.v1.QueueService")
        self.server.add(
            routing_pb2_grpc.add_RoutingServiceServicer_to_server,
            RoutingServicer(self.routes, "one"),
            "weir.interceptor.v1.RoutingService",
        )
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{await self.server.start()}")
        self.queues = queue_pb2_grpc.QueueServiceStub(self.channel)
        self.routing = routing_pb2_grpc.RoutingServiceStub(self.channel)

    async def stop(self) -> None:
        self.queue.close()
        await self.channel.close()
        await self.server.stop(1)
        assert self.queue.watchers == 0

    def watch(self) -> Stream:
        return self.queues.WatchQueueSizes(WATCH)


Starting = Callable[[Member], Awaitable[Member]]


@pytest_asyncio.fixture
async def starting() -> AsyncIterator[Starting]:
    """Starts a member, and ends it when the test is over, however it went."""
    started: list[Member] = []

    async def start(member: Member) -> Member:
        await member.start()
        started.append(member)
        return member

    yield start
    for member in started:
        await member.stop()


@pytest_asyncio.fixture
async def member(starting: Starting) -> Member:
    return await starting(Member())


async def read(stream: Stream) -> queue_pb2.WatchQueueSizesResponse:
    message = await asyncio.wait_for(stream.read(), 60)
    assert isinstance(message, queue_pb2.WatchQueueSizesResponse), message
    return message


def gauges(apps: object) -> dict[str, tuple[int, int, int, int]]:
    return {size.app: (size.held, size.in_flight, size.connections, size.requests_total) for size in apps}  # type: ignore[attr-defined]


async def test_sizes_are_every_counter(member: Member) -> None:
    member.ledger.entry("default/web").acquire(98.0).upgrade(99.0)
    member.ledger.entry("default/cold").hold(99.0)
    answer = await member.queues.GetQueueSizes(queue_pb2.GetQueueSizesRequest())
    assert (answer.member, answer.incarnation) == ("one", "first")
    assert gauges(answer.apps) == {"default/cold": (1, 0, 0, 1), "default/web": (0, 1, 1, 1)}
    assert [size.app for size in answer.apps] == ["default/cold", "default/web"]
    assert [size.concurrency_seconds_total for size in answer.apps] == pytest.approx([1.0, 2.0])
    assert len({size.generation for size in answer.apps}) == 2


async def test_sizes_of_the_applications_asked_for(member: Member) -> None:
    for app in ("default/a", "default/b", "default/c"):
        member.ledger.entry(app)
    answer = await member.queues.GetQueueSizes(queue_pb2.GetQueueSizesRequest(apps=["default/c", "default/x", "default/a"]))
    assert [size.app for size in answer.apps] == ["default/a", "default/c"]


async def test_replicas_that_are_busy_by_a_call_are_in_answers_and_in_no_stream(member: Member) -> None:
    member.ledger.entry("default/web").acquire(99.0)
    member.ledger.entry("default/other").acquire(99.0)
    answer = await member.queues.GetQueueSizes(queue_pb2.GetQueueSizesRequest())
    assert {size.app: size.busy_by_call for size in answer.apps} == {"default/web": 2, "default/other": 0}
    first = await read(member.watch())
    assert {size.app: size.busy_by_call for size in first.apps} == {"default/web": 0, "default/other": 0}


async def test_a_stream_begins_with_a_snapshot(member: Member) -> None:
    member.ledger.entry("default/web").acquire(99.0)
    first = await read(member.watch())
    assert (first.snapshot, first.member, first.incarnation, first.draining) == (True, "one", "first", False)
    assert gauges(first.apps) == {"default/web": (0, 1, 0, 1)}


async def test_an_edge_reaches_every_watcher_at_once(member: Member) -> None:
    streams = [member.watch(), member.watch()]
    for stream in streams:
        assert (await read(stream)).snapshot
    member.ledger.entry("default/busy").acquire(99.0)
    for stream in streams:
        await read(stream)
    delays = []
    for number in range(5):
        started = time.perf_counter()
        member.ledger.entry(f"default/cold{number}").hold(member.now)
        for stream in streams:
            message = await read(stream)
            assert not message.snapshot
            # Only the edge: what is busy without news waits for the heartbeat.
            assert gauges(message.apps) == {f"default/cold{number}": (1, 0, 0, 1)}
        delays.append(time.perf_counter() - started)
    assert sorted(delays)[2] < 1.0


async def test_every_message_tells_its_age_and_whether_it_is_a_part(starting: Starting) -> None:
    member = await starting(Member(heartbeat=0.3))
    member.now = 107.5
    stream = member.watch()
    first = await read(stream)
    assert (first.snapshot, first.partial, first.age) == (True, False, 7.5)
    member.now = 107.625
    member.ledger.entry("default/cold").hold(member.now)
    while not (edge := await read(stream)).partial:
        pass
    assert (edge.snapshot, edge.age, gauges(edge.apps)) == (False, 7.625, {"default/cold": (1, 0, 0, 1)})
    member.now = 108.5
    # A heartbeat may have been on its way.
    while (beat := await read(stream)).age == 7.625:
        pass
    assert (beat.snapshot, beat.partial, beat.age) == (False, False, 8.5), "of the clock that the ledger is given"
    member.now = 109.0
    member.queue.close()
    while (last := await read(stream)).age == 8.5:
        pass
    assert (last.partial, last.age) == (False, 9.0)


async def test_edges_close_together_share_messages(member: Member) -> None:
    stream = member.watch()
    await read(stream)
    apps = {f"default/app{number:03}" for number in range(700)}
    for app in sorted(apps):
        member.ledger.entry(app).hold(member.now)
    message = await read(stream)
    assert {size.app for size in message.apps} == apps


async def test_the_heartbeat_comes_even_when_nothing_changed(starting: Starting) -> None:
    member = await starting(Member(heartbeat=0.02))
    stream = member.watch()
    assert (await read(stream)).snapshot
    for _ in range(3):
        message = await read(stream)
        assert (message.snapshot, list(message.apps)) == (False, [])


async def test_the_heartbeat_carries_what_no_edge_told(starting: Starting) -> None:
    member = await starting(Member(heartbeat=0.02))
    entry = member.ledger.entry("default/web")
    leases = [entry.acquire(99.0)]
    stream = member.watch()
    await read(stream)
    leases += [entry.acquire(member.now), entry.acquire(member.now)]
    assert gauges((await read(stream)).apps) == {"default/web": (0, 3, 0, 3)}
    member.ledger.retain([])
    while "default/web" not in (told := gauges((await read(stream)).apps)):
        pass
    assert told["default/web"][:3] == (0, 0, 0)


async def test_draining_is_reported_at_once(member: Member) -> None:
    stream = member.watch()
    await read(stream)
    member.draining = True
    member.queue.tell_draining()
    assert (await read(stream)).draining


async def test_streams_end_with_ok_and_the_last_word(member: Member) -> None:
    lease = member.ledger.entry("default/web").acquire(99.0)
    streams = [member.watch(), member.watch()]
    for stream in streams:
        await read(stream)
    member.ledger.on_edge = None  # so that only the end can tell the release
    lease.release(member.now)
    member.queue.close()
    for stream in streams:
        assert gauges((await read(stream)).apps) == {"default/web": (0, 0, 0, 1)}
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() == grpc.StatusCode.OK
    refused = member.watch()
    assert await refused.code() == grpc.StatusCode.UNAVAILABLE


async def admitted(stream: Stream) -> bool:
    try:
        return (await read(stream)).snapshot
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False


async def test_watchers_are_bounded_and_leave_their_place(member: Member) -> None:
    streams = [member.watch(), member.watch()]
    for stream in streams:
        await read(stream)
    assert not await admitted(member.watch())
    assert member.queue.watchers == 2
    streams[0].cancel()
    async with asyncio.timeout(60):
        while not await admitted(member.watch()):
            pass
    assert member.queue.watchers == 2


async def test_a_watcher_that_does_not_read_delays_nobody(starting: Starting) -> None:
    member = await starting(Member(heartbeat=0.001))
    entries = [member.ledger.entry(f"default/{'x' * 200}{number}") for number in range(500)]
    for entry in entries:
        entry.acquire(99.0)
    frozen, reading = member.watch(), member.watch()
    for stream in (frozen, reading):
        await read(stream)
    # Far more than the windows and buffers of one stream hold.
    for _ in range(100):
        await read(reading)
    frozen.cancel()


def table(*apps: str) -> RoutingTable:
    return RoutingTable([Route(app=app, target=Target(service=app, port=80)) for app in apps])


async def test_routing_before_the_first_table(member: Member) -> None:
    answer = await member.routing.GetRoutingTable(routing_pb2.GetRoutingTableRequest())
    assert answer == routing_pb2.GetRoutingTableResponse(member="one")


async def test_routing_tells_the_table_and_its_version(member: Member) -> None:
    assert isinstance(member.routes, FixedRoutes)
    for served in (table("default/web"), table("default/web", "default/api")):
        member.routes.set(served)
        answer = await member.routing.GetRoutingTable(routing_pb2.GetRoutingTableRequest())
        assert (answer.member, answer.version, answer.routes) == ("one", served.version, len(served.routes))
        assert decode_json(answer.table_json.encode()).routes == served.routes
        brief = await member.routing.GetRoutingTable(routing_pb2.GetRoutingTableRequest(version_only=True))
        assert (brief.version, brief.routes, brief.table_json) == (served.version, len(served.routes), "")


async def test_sync_fetches_now_and_tells_what_failed(tmp_path: Path, starting: Starting) -> None:
    path = tmp_path / "routes.json"
    member = await starting(Member(routes=FileRoutes(path)))
    missing = await member.routing.SyncRoutingTable(routing_pb2.SyncRoutingTableRequest(sync_id="1"))
    assert (missing.sync_id, missing.member, missing.version) == ("1", "one", "")
    assert "No such file" in missing.error
    good = table("default/web")
    write_routes(path, good)
    answer = await member.routing.SyncRoutingTable(routing_pb2.SyncRoutingTableRequest(sync_id="2"))
    assert (answer.sync_id, answer.version, answer.error) == ("2", good.version, "")
    path.write_text("{")
    broken = await member.routing.SyncRoutingTable(routing_pb2.SyncRoutingTableRequest(sync_id="3"))
    assert broken.version == good.version
    assert "routes.json" in broken.error


class _Stuck(FixedRoutes):
    async def refresh(self) -> None:
        await asyncio.Event().wait()


async def test_sync_does_not_wait_for_a_store_that_is_stuck(monkeypatch: pytest.MonkeyPatch, starting: Starting) -> None:
    monkeypatch.setattr(rpc, "SYNC_TIMEOUT_SECONDS", 0.01)
    member = await starting(Member(routes=_Stuck()))
    answer = await member.routing.SyncRoutingTable(routing_pb2.SyncRoutingTableRequest(sync_id="1"))
    assert answer.error == "the store did not answer in 0.01 s"
