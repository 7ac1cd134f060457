"""When a member counts as silent: after rounds without a message, not by the clock of a scaler that was busy."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fleet.demand.merge import FleetDemand
from fleet.discovery.fixed import FixedMembers
from fleet.discovery.sources import Member
from fleet.runtime.channels import ChannelFactory
from protos.weir.interceptor.v1 import queue_pb2
from scaler.members import MemberStreams, Watch, size_of
from tests.support.loops import LOOPS

NEWS_TIMEOUT = 3.0
NEWS_BYTES = 260
"""Maximum bytes for the data of one member about one application."""


class PlayedCall:
    """A WatchQueueSizes stream whose messages come from a test."""

    def __init__(self) -> None:
        self._news: asyncio.Queue[queue_pb2.WatchQueueSizesResponse] = asyncio.Queue()
        self.tell()

    def tell(self) -> None:
        self._news.put_nowait(queue_pb2.WatchQueueSizesResponse(member="m1", incarnation="i1", snapshot=True))

    async def read(self) -> queue_pb2.WatchQueueSizesResponse:
        return await self._news.get()


class Rig:
    """Streams to one member, with rounds and clock controlled by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, news_timeout: float) -> None:
        self.now = 0.0
        self.calls: list[PlayedCall] = []
        self.demand = FleetDemand()
        monkeypatch.setattr("scaler.members.queue_pb2_grpc.QueueServiceStub", lambda _: self)
        watch = Watch(self.demand, ChannelFactory(None), "s1", lambda: self.now, news_timeout=news_timeout)
        self.streams = MemberStreams(FixedMembers([Member("m1", "127.0.0.1:1")]), watch)

    def WatchQueueSizes(self, request: object) -> PlayedCall:  # noqa: N802
        self.calls.append(PlayedCall())
        return self.calls[-1]

    @property
    def connected(self) -> bool:
        return all(news.connected for news in self.demand.members(self.now))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def rounds_of(self, count: int) -> None:
        """Run `count` rounds without messages between them."""
        for _ in range(count):
            for stream in self.streams._streams.values():
                stream.count_round(self.streams._most_rounds)
            await self.settle()


@asynccontextmanager
async def a_rig(monkeypatch: pytest.MonkeyPatch, *, news_timeout: float = NEWS_TIMEOUT) -> AsyncIterator[Rig]:
    rig = Rig(monkeypatch, news_timeout)
    rig.streams.start()
    await rig.settle()
    assert rig.connected
    try:
        yield rig
    finally:
        await rig.streams.close()


async def test_a_member_without_news_in_all_rounds_of_its_time_is_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_rig(monkeypatch) as rig:
        rounds = rig.streams._most_rounds
        assert NEWS_TIMEOUT <= (rounds - 1) * rig.streams._round_seconds <= rounds * rig.streams._round_seconds < 2 * NEWS_TIMEOUT
        await rig.rounds_of(rounds - 1)
        assert rig.connected
        await rig.rounds_of(1)
        assert not rig.connected
        assert "silent for 3 s" in caplog.text


async def test_a_clock_that_jumps_makes_nobody_silent(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The scaler was busy for a minute between any two rounds, while messages waited."""
    async with a_rig(monkeypatch) as rig:
        for _ in range(30):
            rig.now += 60.0
            rig.calls[0].tell()
            await rig.rounds_of(1)
        assert len(rig.calls) == 1
        assert not caplog.records


async def test_each_attempt_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_rig(monkeypatch) as rig:
        await rig.rounds_of(rig.streams._most_rounds - 1)
        rig.streams._streams["m1"].redial()
        await rig.settle()
        assert len(rig.calls) == 2
        await rig.rounds_of(rig.streams._most_rounds - 1)
        assert rig.connected


@pytest.mark.parametrize("make", LOOPS.values(), ids=LOOPS)
def test_news_that_waits_is_taken_before_anybody_is_called_silent(
    make: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last round is due and a message has arrived while the loop was busy."""

    async def main() -> None:
        async with a_rig(monkeypatch, news_timeout=0.08) as rig:
            loop, (ours, theirs) = asyncio.get_running_loop(), socket.socketpair()
            # A message is processed one turn of the loop after it was noticed.
            loop.add_reader(ours, lambda: (ours.recv(1), loop.call_soon(rig.calls[0].tell)))
            for _ in range(5):
                rig.streams._streams["m1"]._rounds = rig.streams._most_rounds - 1
                theirs.send(b"x")
                time.sleep(2 * rig.streams._round_seconds)  # noqa: ASYNC251 -- busy, and longer than until the next round
                await rig.settle()
            assert len(rig.calls) == 1
            loop.remove_reader(ours)
            ours.close()
            theirs.close()

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())
    assert not caplog.records


def test_what_a_member_tells_of_an_application_takes_few_bytes() -> None:
    """A hundred interceptors report ten thousand applications each."""
    apps, heard = 500, 8
    demand = FleetDemand()

    def hear(member: str) -> None:
        sizes = [
            queue_pb2.QueueSize(
                app=f"load/app-{number:05d}",
                requests_total=1000 + number,
                concurrency_seconds_total=1.5 + number,
                generation=1 + number,
            )
            for number in range(apps)
        ]
        told = queue_pb2.WatchQueueSizesResponse(apps=sizes).SerializeToString()
        news = queue_pb2.WatchQueueSizesResponse.FromString(told)
        demand.snapshot(member, member, map(size_of, news.apps), 1.0, age=1.0)

    hear("m")
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(heard):
            hear(f"m{number}")
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] / (heard * apps) < NEWS_BYTES
    finally:
        tracemalloc.stop()
