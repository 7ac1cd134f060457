"""Merges what all interceptors report about applications with waiting requests. One stream and one task per interceptor."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping

import grpc

from controller.propagation import Interceptor
from controller.reachability import Demand
from fleet.defaults import MAX_MEMBERS
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait
from protos.weir.interceptor.v1 import waiting_pb2, waiting_pb2_grpc

__all__ = ["Reports", "merged"]

SILENCE_SECONDS = 30.0
"""Three heartbeats: a stream that is silent for so many seconds is opened again."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
OLDER_PAUSE_SECONDS = 60.0
"""Seconds before an interceptor without the service, because of an older version, is asked again."""


class Reports:
    """`on_message` is called after every message."""

    def __init__(self, channels: ChannelFactory, *, watcher: str, on_message: Callable[[], None]) -> None:
        self._channels = channels
        self._watcher = watcher
        self._on_message = on_message
        self._reports: dict[str, tuple[waiting_pb2.WaitingApp, ...]] = {}
        self._busy: dict[str, frozenset[str]] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        """By name and address."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._unsubscribe = channels.subscribe(self._on_certificates)

    @property
    def demands(self) -> Mapping[str, Demand]:
        """By application."""
        return merged(self._reports.values())

    @property
    def busy(self) -> frozenset[str]:
        """The applications that backends keep awake after their answers."""
        return frozenset().union(*self._busy.values())

    def members(self, interceptors: Iterable[Interceptor]) -> None:
        """Set the interceptors to follow."""
        wanted = {(one.name, one.address) for one in itertools.islice(interceptors, MAX_MEMBERS) if one.address}
        for gone in self._tasks.keys() - wanted:
            self._leave(self._tasks.pop(gone))
            self._forget(gone[0])
        for name, address in wanted - self._tasks.keys():
            self._tasks[name, address] = asyncio.create_task(self._follow(name, address), name=f"waits:{name}")

    async def close(self) -> None:
        self._unsubscribe()
        tasks = [*self._tasks.values(), *self._leaving]
        self._tasks.clear()
        await cancel_and_wait(*tasks)

    async def _follow(self, name: str, address: str) -> None:
        pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        channel = self._channels.open(address)
        try:
            while True:
                pause = None
                try:
                    await self._hear(name, channel, pauses)
                except grpc.aio.AioRpcError as error:
                    pause = OLDER_PAUSE_SECONDS if error.code() == grpc.StatusCode.UNIMPLEMENTED else None
                except TimeoutError:
                    """Silent stream: open it again."""
                self._forget(name)
                await asyncio.sleep(pauses.next() if pause is None else pause)
        finally:
            await channel.close()

    async def _hear(self, name: str, channel: grpc.aio.Channel, pauses: Pauses) -> None:
        stream = waiting_pb2_grpc.WaitingServiceStub(channel).WatchWaiting(waiting_pb2.WatchWaitingRequest(watcher=self._watcher))
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    message = await stream.read()
                if not isinstance(message, waiting_pb2.WatchWaitingResponse):
                    return
                pauses.reset()
                self._reports[name] = tuple(message.apps)
                self._busy[name] = frozenset(one.app for one in message.busy)
                self._on_message()
        finally:
            stream.cancel()

    def _forget(self, name: str) -> None:
        self._reports.pop(name, None)
        self._busy.pop(name, None)

    def _leave(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _on_certificates(self) -> None:
        """Channels keep the certificates with which they were opened."""
        interceptors = [Interceptor(name, address, ready=True) for name, address in self._tasks]
        self.members(())
        self.members(interceptors)


def merged(reports: Iterable[Iterable[waiting_pb2.WaitingApp]]) -> dict[str, Demand]:
    """Sums of requests, the maximum of waiting times; an application has a backend when all interceptors that report it have
    one."""
    found: dict[str, Demand] = {}
    for one in itertools.chain.from_iterable(reports):
        so_far = found.get(one.app)
        found[one.app] = Demand(
            held=one.held + (so_far.held if so_far else 0),
            held_seconds=max(one.held_seconds, so_far.held_seconds if so_far else 0.0),
            timed_out=one.timed_out + (so_far.timed_out if so_far else 0),
            timed_out_seconds=max(one.timed_out_seconds, so_far.timed_out_seconds if so_far else 0.0),
            listed=max(one.listed, so_far.listed if so_far else 0),
            ready=min(one.ready, so_far.ready) if so_far else one.ready,
            last_error=one.last_error or (so_far.last_error if so_far else ""),
            unserved=one.unserved + (so_far.unserved if so_far else 0),
            unserved_seconds=max(one.unserved_seconds, so_far.unserved_seconds if so_far else 0.0),
            trouble_kind=one.trouble_kind or (so_far.trouble_kind if so_far else ""),
            trouble=one.trouble or (so_far.trouble if so_far else ""),
        )
    return found
