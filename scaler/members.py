"""The streams to the interceptors: one WatchQueueSizes per member, each with its own task, deadline and pauses.

Passes messages to the merged demand and makes no decisions about them. A silent, slow or broken member does not delay the others.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Callable, Iterable
from math import ceil

import grpc
import msgspec

from fleet import defaults
from fleet.demand.ledger import QueueSize
from fleet.demand.merge import FleetDemand
from fleet.discovery.sources import Member, MemberSource
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.tasks import cancel_and_wait
from protos.weir.interceptor.v1 import queue_pb2, queue_pb2_grpc

__all__ = ["MemberStreams", "Watch", "size_of"]

FIRST_PAUSE_SECONDS = 0.05
"""Seconds after a member was lost. An interceptor that restarts on one machine is back within a few of these."""
ROUND_SECONDS = 0.5
"""Seconds between two rounds of the sweeper, which checks for silent members and expired counts."""
FEWEST_ROUNDS = 4
"""Minimum number of rounds within the time for which a member may be silent."""

LOOKS = 3
"""Passes of the event loop until a received message has been processed: its socket is read, its call wakes, its stream's task
runs."""

_log = logging.getLogger(__name__)

_Call = grpc.aio.UnaryStreamCall[queue_pb2.WatchQueueSizesRequest, queue_pb2.WatchQueueSizesResponse]


class Watch(msgspec.Struct, frozen=True):
    """What every stream needs: where messages go, how to reach a member, and the timeouts. Durations are seconds."""

    demand: FleetDemand
    channels: ChannelFactory
    watcher: str
    clock: Callable[[], float]
    """The demand's clock."""
    news_timeout: float = defaults.NEWS_TIMEOUT
    retry_limit: float = defaults.MEMBER_RETRY_LIMIT
    ttl: float = defaults.MEMBER_TTL


class MemberStreams:
    """Follows the members that discovery lists, and passes their messages to the demand."""

    def __init__(self, source: MemberSource, watch: Watch) -> None:
        self._source = source
        self._watch = watch
        self._streams: dict[str, _Stream] = {}
        self._unsubscribe: list[Callable[[], None]] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._round_seconds = min(ROUND_SECONDS, watch.news_timeout / FEWEST_ROUNDS)
        # Silence is counted in rounds and not in seconds: however busy this process was, received messages are processed between
        # two rounds. One round more than fits, because the first may come at once.
        self._most_rounds = ceil(watch.news_timeout / self._round_seconds) + 1

    def start(self) -> None:
        """Open the streams. The source and the channels must have been started."""
        self._unsubscribe = [self._source.subscribe(self._on_members), self._watch.channels.subscribe(self._on_certificates)]
        self._on_members(self._source.current or ())
        self._sweeper = asyncio.create_task(self._sweep(), name="members:sweep")

    async def close(self) -> None:
        """Cancel the streams. The demand is not changed."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
        sweeper, self._sweeper = self._sweeper, None
        streams, self._streams = [*self._streams.values()], {}
        await cancel_and_wait(sweeper, *(stream.task for stream in streams))

    def _on_members(self, members: Iterable[Member]) -> None:
        wanted = {member.name: member for member in members}
        for name in [name for name in self._streams if name not in wanted]:
            self._leave(self._streams[name])
        for member in wanted.values():
            stream = self._streams.get(member.name)
            if stream is not None:
                stream.listed = True
                stream.move(member.address)
            elif len(self._streams) < defaults.MAX_MEMBERS:
                self._join(member)
            else:
                _log.error("member %s is not watched: %d are already", member.name, defaults.MAX_MEMBERS)

    def _join(self, member: Member) -> None:
        self._watch.demand.member_joined(member.name, self._watch.clock())
        stream = self._streams[member.name] = _Stream(member, self._watch, self._drop)
        stream.task = asyncio.create_task(stream.run(), name=f"member:{member.name}")

    def _leave(self, stream: _Stream) -> None:
        """Discovery no longer lists the member. It may be draining with open requests: while its stream reports them, they
        count."""
        stream.listed = False
        if not stream.connected and stream.task is not None:
            stream.task.cancel()
            self._drop(stream)

    def _drop(self, stream: _Stream) -> None:
        if self._streams.get(stream.name) is stream:
            del self._streams[stream.name]
            self._watch.demand.member_left(stream.name, self._watch.clock())
            _log.info("member %s is gone", stream.name)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._round_seconds)
            # Timers run before socket events: let the loop process received messages before silence is counted.
            for _ in range(LOOKS):
                await asyncio.sleep(0)
            for stream in list(self._streams.values()):
                stream.count_round(self._most_rounds)
            for name in self._watch.demand.expire(self._watch.clock(), self._watch.ttl):
                _log.warning("member %s was not heard for %g s: its counts are dropped", name, self._watch.ttl)

    def _on_certificates(self) -> None:
        for stream in self._streams.values():
            stream.redial()


class _Stream:
    """One member: its task and its connection state."""

    def __init__(self, member: Member, watch: Watch, on_gone: Callable[[_Stream], None]) -> None:
        self._watch = watch
        self._on_gone = on_gone
        self._address = member.address
        self._attempt: asyncio.Task[str] | None = None
        self._again = False
        self._pause = FIRST_PAUSE_SECONDS
        self._logged = ""
        self._rounds = 0
        """Rounds since the last message, or since the connection was dialled."""
        self._silent = False
        self.name = member.name
        self.listed = True
        self.connected = False
        self.task: asyncio.Task[None] | None = None

    def move(self, address: str) -> None:
        """Discovery lists another address for the member."""
        if address != self._address:
            self._address = address
            self.redial()

    def redial(self) -> None:
        """Drop the current connection and dial again at once."""
        self._again = True
        if self._attempt is not None:
            self._attempt.cancel()

    def count_round(self, most: int) -> None:
        """A round without a message; after `most` rounds the member counts as silent and the connection is dropped."""
        self._rounds += 1
        if self._rounds >= most and self._attempt is not None:
            self._silent = True
            self._attempt.cancel()

    async def run(self) -> None:
        while True:
            self._again = self._silent = False
            self._rounds = 0
            self._lost(await self._attempt_once())
            if not self.listed:
                self._on_gone(self)
                return
            if not self._again:
                await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads attempts, hides nothing
                self._pause = min(2 * self._pause, self._watch.retry_limit)

    async def _attempt_once(self) -> str:
        """One connection from dial to end; returns the reason of its end."""
        attempt = self._attempt = asyncio.create_task(self._follow(), name=f"member:{self.name}:stream")
        try:
            await asyncio.wait((attempt,))
        finally:
            # Also when this task is cancelled: the attempt's task must not be left running.
            attempt.cancel()
            await asyncio.wait((attempt,))
        if attempt.cancelled():
            return f"silent for {self._watch.news_timeout:g} s" if self._silent else "dialing again"
        if (error := attempt.exception()) is not None:
            # A defect in processing one member's message: the other members and the next attempt continue.
            _log.error("member %s: its news could not be taken", self.name, exc_info=error)
            return "fault"
        return attempt.result()

    async def _follow(self) -> str:
        channel = self._watch.channels.open(self._address)
        try:
            return await self._listen(queue_pb2_grpc.QueueServiceStub(channel))
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        finally:
            await channel.close()

    async def _listen(self, stub: queue_pb2_grpc.QueueServiceAsyncStub) -> str:
        call = stub.WatchQueueSizes(queue_pb2.WatchQueueSizesRequest(watcher=self._watch.watcher))
        while (message := await self._next(call)) is not None:
            self._rounds = 0
            if not self._note(message):
                return f"the same process as another member ({message.member})"
        return "the member ended the stream"

    async def _next(self, call: _Call) -> queue_pb2.WatchQueueSizesResponse | None:
        message = await call.read()
        return message if isinstance(message, queue_pb2.WatchQueueSizesResponse) else None

    def _note(self, message: queue_pb2.WatchQueueSizesResponse) -> bool:
        demand, now, sizes = self._watch.demand, self._watch.clock(), map(size_of, message.apps)
        if not message.snapshot:
            demand.update(self.name, message.incarnation, sizes, now, age=message.age, partial=message.partial)
        elif demand.snapshot(self.name, message.incarnation, sizes, now, age=message.age):
            self._found()
        else:
            return False
        return True

    def _found(self) -> None:
        self.connected = True
        self._pause = FIRST_PAUSE_SECONDS
        self._logged = ""
        _log.info("member %s is heard, at %s", self.name, self._address)

    def _lost(self, reason: str) -> None:
        self.connected = False
        self._watch.demand.broken(self.name, self._watch.clock())
        # The details of the same problem differ between attempts.
        trouble = reason.partition(":")[0]
        if trouble != self._logged:
            # For a member that discovery no longer lists, the end of its stream is expected.
            _log.log(logging.WARNING if self.listed else logging.DEBUG, "member %s at %s: %s", self.name, self._address, reason)
        self._logged = trouble


def size_of(size: queue_pb2.QueueSize) -> QueueSize:
    """Convert to the demand's type."""
    return QueueSize(
        sys.intern(size.app),  # one str object for all members, each of which sends up to ten thousand names
        size.held,
        size.in_flight,
        size.connections,
        size.requests_total,
        size.concurrency_seconds_total,
        size.generation,
        size.busy,
    )
