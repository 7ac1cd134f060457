"""The interceptor's gRPC services: the demand it counts and the routing table it serves.

Reads the ledger and the route source and changes neither. A scaler that does not read its stream does not delay the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc

from fleet.demand.ledger import ChangeCursor, Ledger, QueueSize
from fleet.discovery.sources import RouteSource, SourceError
from fleet.routing.codec import encode_json
from fleet.routing.port_index import PortKey
from fleet.routing.table import RoutingTable
from protos.weir.interceptor.v1 import queue_pb2, queue_pb2_grpc, routing_pb2, routing_pb2_grpc

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

__all__ = ["MAX_WATCHERS", "QueueServicer", "RoutingServicer"]

MAX_WATCHERS: Final = 64
"""Streams at once: three scalers, twice that during a rollout, and people. Each costs a cursor over all applications."""
EDGE_SPACING_SECONDS: Final = 0.001
"""Pause after a message with edges: the first edge is sent at once, the following ones share a message, to limit their number."""
SLICE: Final = 256
"""Sizes added to a message before other tasks get a turn: half a millisecond of work."""
SYNC_TIMEOUT_SECONDS: Final = 10.0
"""A store that has not answered within this time is reported as an error."""

_NONE: Final[Mapping[str, int]] = {}

_log = logging.getLogger(__name__)

_WatchContext = grpc.aio.ServicerContext[queue_pb2.WatchQueueSizesRequest, queue_pb2.WatchQueueSizesResponse]


class _Watcher:
    """One stream: a cursor over the changes it has not been sent, and the event that wakes it."""

    def __init__(self, cursor: ChangeCursor) -> None:
        self.cursor = cursor
        self.awake = asyncio.Event()
        self.sent_draining = False

    async def edge_before(self, due: float) -> bool:
        """Wait for an edge, at most until `due` in the loop's time. Returns whether there was one."""
        try:
            async with asyncio.timeout_at(due):
                await self.awake.wait()
        except TimeoutError:
            return False
        self.awake.clear()
        return True


class QueueServicer(queue_pb2_grpc.QueueServiceServicer):
    """weir.interceptor.v1.QueueService over a ledger. `clock` must be the ledger's clock; `heartbeat` is in seconds."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        member: str,
        incarnation: str,
        clock: Callable[[], float],
        heartbeat: float = 1.0,
        draining: Callable[[], bool] = lambda: False,
        called: Callable[[], Mapping[str, int]] = dict,
        max_watchers: int = MAX_WATCHERS,
    ) -> None:
        """`called`: replicas that keep applications awake by a call."""
        self._ledger = ledger
        self._member = member
        self._incarnation = incarnation
        self._clock = clock
        self._began = clock()
        self._heartbeat = heartbeat
        self._draining = draining
        self._called = called
        self._max_watchers = max_watchers
        self._watchers: set[_Watcher] = set()
        self._closing = False

    @property
    def watchers(self) -> int:
        """Number of open streams."""
        return len(self._watchers)

    def wake(self, app: str) -> None:  # the cursors know the application; this is the ledger's on_edge
        """Send edges to every watcher now, not with the next heartbeat."""
        self._wake_all()

    def tell_draining(self) -> None:
        """Report to every watcher now that the member drains."""
        self._wake_all()

    def close(self) -> None:
        """End every stream with OK, and refuse new ones. All have ended when the server's `stop` returns."""
        self._closing = True
        self._wake_all()

    async def GetQueueSizes(  # noqa: N802  # the contract's name
        self, request: queue_pb2.GetQueueSizesRequest, context: object
    ) -> queue_pb2.GetQueueSizesResponse:
        wanted = frozenset(request.apps)
        sizes = [size for size in self._ledger.sizes(self._clock()) if not wanted or size.app in wanted]
        sizes.sort(key=lambda size: size.app)
        response = queue_pb2.GetQueueSizesResponse(member=self._member, incarnation=self._incarnation)
        await _fill(response.apps, sizes, self._called())
        return response

    # A coroutine that writes, not a generator: a generator that is abandoned at its yield is closed only by garbage collection.
    async def WatchQueueSizes(  # type: ignore[override]  # noqa: N802
        self, request: queue_pb2.WatchQueueSizesRequest, context: _WatchContext
    ) -> None:
        if self._closing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{self._member} is shutting down")
        if len(self._watchers) >= self._max_watchers:
            _log.warning("watcher %.100r refused: %d are watching", request.watcher, self._max_watchers)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._max_watchers} are watching already")
        with self._watching() as watcher:
            await self._tell_changes(watcher, context)

    async def _tell_changes(self, watcher: _Watcher, context: _WatchContext) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._heartbeat
        await self._tell_all(watcher, context, snapshot=True)
        while not self._closing:
            edge = await watcher.edge_before(due)
            if self._closing:
                break
            if not edge:
                due = loop.time() + self._heartbeat
                await self._tell_all(watcher, context)
            else:
                await self._tell_edges(watcher, context)
        # A final message: a scaler keeps the last sizes, which should not contain requests that have ended meanwhile.
        await self._tell_all(watcher, context)

    async def _tell_all(self, watcher: _Watcher, context: _WatchContext, *, snapshot: bool = False) -> None:
        now = self._clock()
        message = self._message(watcher, now)
        message.snapshot = snapshot
        await _fill(message.apps, watcher.cursor.take(now))
        await context.write(message)

    async def _tell_edges(self, watcher: _Watcher, context: _WatchContext) -> None:
        now = self._clock()
        edges = watcher.cursor.take_edges(now)
        if edges or self._draining() != watcher.sent_draining:
            message = self._message(watcher, now)
            message.partial = True
            await _fill(message.apps, edges)
            await context.write(message)
            await asyncio.sleep(EDGE_SPACING_SECONDS)

    def _message(self, watcher: _Watcher, now: float) -> queue_pb2.WatchQueueSizesResponse:
        watcher.sent_draining = self._draining()
        return queue_pb2.WatchQueueSizesResponse(
            member=self._member, incarnation=self._incarnation, draining=watcher.sent_draining, age=now - self._began
        )

    @contextmanager
    def _watching(self) -> Iterator[_Watcher]:
        watcher = _Watcher(self._ledger.watch())
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            watcher.cursor.close()

    def _wake_all(self) -> None:
        for watcher in self._watchers:
            watcher.awake.set()


async def _fill(
    apps: RepeatedCompositeFieldContainer[queue_pb2.QueueSize], sizes: Collection[QueueSize], called: Mapping[str, int] = _NONE
) -> None:
    # Added in place: a list of complete messages would be copied all at once.
    for number, size in enumerate(sizes, 1):
        apps.add(
            app=size.app,
            held=size.held,
            in_flight=size.in_flight,
            connections=size.connections,
            requests_total=size.requests_total,
            concurrency_seconds_total=size.concurrency_seconds_total,
            generation=size.generation,
            busy=size.busy,
            busy_by_call=called.get(size.app, 0),
            dropped_total=size.dropped_total,
        )
        if number % SLICE == 0:
            await asyncio.sleep(0)


class RoutingServicer(routing_pb2_grpc.RoutingServiceServicer):
    """weir.interceptor.v1.RoutingService over a route source."""

    def __init__(self, routes: RouteSource, member: str, unbound: Callable[[], Iterable[tuple[PortKey, str]]] = tuple) -> None:
        """`unbound`: the ports of routes that cannot be bound, and why."""
        self._unbound = unbound
        self._routes = routes
        self._member = member
        self._encoded: tuple[str, str] = ("", "")

    async def GetRoutingTable(  # noqa: N802
        self, request: routing_pb2.GetRoutingTableRequest, context: object
    ) -> routing_pb2.GetRoutingTableResponse:
        table = self._routes.current
        if table is None:
            return routing_pb2.GetRoutingTableResponse(member=self._member)
        return routing_pb2.GetRoutingTableResponse(
            member=self._member,
            version=table.version,
            routes=len(table.routes),
            table_json="" if request.version_only else self._json(table),
        )

    async def SyncRoutingTable(  # noqa: N802
        self, request: routing_pb2.SyncRoutingTableRequest, context: object
    ) -> routing_pb2.SyncRoutingTableResponse:
        error = await self._refresh()
        table = self._routes.current
        return routing_pb2.SyncRoutingTableResponse(
            sync_id=request.sync_id,
            member=self._member,
            version=table.version if table else "",
            error=error,
            unbound_ports=[
                routing_pb2.UnboundPort(protocol=key.protocol, port=key.port, reason=why) for key, why in self._unbound()
            ],
        )

    async def _refresh(self) -> str:
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_SECONDS):
                await self._routes.refresh()
        except SourceError as error:
            return str(error)
        except TimeoutError:
            return f"the store did not answer in {SYNC_TIMEOUT_SECONDS:g} s"
        return ""

    def _json(self, table: RoutingTable) -> str:
        # Encoded once per version: ten thousand routes are megabytes.
        if self._encoded[0] != table.version:
            self._encoded = (table.version, encode_json(table).decode())
        return self._encoded[1]
