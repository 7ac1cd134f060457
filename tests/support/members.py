"""Interceptors for tests of the scaler: a QueueService on loopback that sends what a test sets, and can stop sending."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from fleet.discovery.sources import Member
from fleet.runtime.rpc import RpcServer
from fleet.runtime.tls import TlsFiles
from protos.weir.interceptor.v1 import queue_pb2, queue_pb2_grpc
from tests.support.ports import KeptPort

__all__ = ["PlayedMember", "playing"]

_SERVICE = "weir.interceptor.v1.QueueService"


class PlayedMember(queue_pb2_grpc.QueueServiceServicer):
    """One interceptor. `set` changes a count and sends it at once."""

    def __init__(self, name: str = "m1", *, heartbeat: float = 0.1, tls: TlsFiles | None = None) -> None:
        self.name = name
        self.incarnation = f"{name}-1"
        self._kept: KeptPort | None = None
        self.streams = 0
        self.opened = 0
        self._began = time.monotonic()
        self._heartbeat = heartbeat
        self._tls = tls
        self._sizes: dict[str, queue_pb2.QueueSize] = {}
        self._queues: set[asyncio.Queue[list[queue_pb2.QueueSize] | None]] = set()
        self._moving = asyncio.Event()
        self._moving.set()
        self._server: RpcServer | None = None

    @property
    def port(self) -> int:
        """The port, the same for every start until `leave`."""
        assert self._kept is not None, "it was not started"
        return self._kept.number

    @property
    def discovered(self) -> Member:
        return Member(self.name, f"127.0.0.1:{self.port}")

    async def start(self) -> None:
        self._kept = self._kept or KeptPort()
        self._server = RpcServer("127.0.0.1", self.port, tls=self._tls)
        self._server.add(queue_pb2_grpc.add_QueueServiceServicer_to_server, self, _SERVICE)
        await self._server.start()

    async def stop(self) -> None:
        """Stop, and reset connections, as if the process had died."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(0)

    async def leave(self) -> None:
        """Stop for good."""
        self.thaw()
        await self.stop()
        if self._kept is not None:
            self._kept.release()

    async def restart(self) -> None:
        """Stop, and start again at the same port with empty counts."""
        await self.stop()
        self.incarnation = f"{self.name}-{int(self.incarnation.rpartition('-')[2]) + 1}"
        self._began = time.monotonic()
        self._sizes.clear()
        await self.start()

    def set(self, app: str, *, held: int = 0, in_flight: int = 0, total: int = 0, seconds: float = 0.0) -> None:
        size = queue_pb2.QueueSize(
            app=app, held=held, in_flight=in_flight, requests_total=total, concurrency_seconds_total=seconds, generation=1
        )
        self._sizes[app] = size
        for queue in self._queues:
            queue.put_nowait([size])

    def freeze(self) -> None:
        """Send nothing more, with all connections open."""
        self._moving.clear()

    def thaw(self) -> None:
        self._moving.set()

    def end_streams(self) -> None:
        """End every stream with OK, as an interceptor does at the end of its drain."""
        for queue in self._queues:
            queue.put_nowait(None)

    async def GetQueueSizes(  # noqa: N802
        self, request: queue_pb2.GetQueueSizesRequest, context: object
    ) -> queue_pb2.GetQueueSizesResponse:
        raise NotImplementedError

    async def WatchQueueSizes(  # type: ignore[override]  # noqa: N802
        self, request: queue_pb2.WatchQueueSizesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        queue: asyncio.Queue[list[queue_pb2.QueueSize] | None] = asyncio.Queue()
        self._queues.add(queue)
        self.streams += 1
        self.opened += 1
        try:
            await self._write(context, list(self._sizes.values()), snapshot=True)
            while (news := await self._news(queue)) is not None:
                await self._write(context, news)
        finally:
            self.streams -= 1
            self._queues.discard(queue)

    async def _news(self, queue: asyncio.Queue[list[queue_pb2.QueueSize] | None]) -> list[queue_pb2.QueueSize] | None:
        try:
            async with asyncio.timeout(self._heartbeat):
                return await queue.get()
        except TimeoutError:
            return []

    async def _write(
        self, context: grpc.aio.ServicerContext[Any, Any], sizes: Iterable[queue_pb2.QueueSize], *, snapshot: bool = False
    ) -> None:
        await self._moving.wait()
        message = queue_pb2.WatchQueueSizesResponse(
            member=self.name, incarnation=self.incarnation, snapshot=snapshot, apps=sizes, age=time.monotonic() - self._began
        )
        # A change is sent in a message of its own.
        message.partial = bool(message.apps) and not snapshot
        await context.write(message)


@asynccontextmanager
async def playing(*members: PlayedMember) -> AsyncIterator[None]:
    """Running members, which are stopped at the end."""
    try:
        for member in members:
            await member.start()
        yield
    finally:
        for member in members:
            await member.leave()
