"""weir.interceptor.v1.WaitingService: reports applications whose requests wait without success to controllers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import grpc
import msgspec

from interceptor.app.waits import WaitReport
from protos.weir.interceptor.v1 import waiting_pb2, waiting_pb2_grpc

__all__ = ["HEARTBEAT_SECONDS", "MAX_WATCHERS", "WaitingServicer"]

MAX_WATCHERS: Final = 16
"""Streams at once: two controllers, twice that during a rollout, and people."""
INTERVAL_SECONDS: Final = 1.0
"""Seconds between two checks for changes."""
HEARTBEAT_SECONDS: Final = 10.0
"""Seconds between two messages if nothing has changed."""

_log = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[waiting_pb2.WatchWaitingRequest, waiting_pb2.WatchWaitingResponse]


class WaitingServicer(waiting_pb2_grpc.WaitingServiceServicer):
    """Sends the results of `waiting`, the current reports, and `busy`, backends that are busy by application, whenever one
    changes. `interval` is in seconds."""

    def __init__(
        self,
        waiting: Callable[[], tuple[WaitReport, ...]],
        *,
        busy: Callable[[], Mapping[str, int]] = dict,
        member: str,
        interval: float = INTERVAL_SECONDS,
        max_watchers: int = MAX_WATCHERS,
    ) -> None:
        self._waiting = waiting
        self._busy = busy
        self._member = member
        self._interval = interval
        self._max_watchers = max_watchers
        self._watchers: set[asyncio.Event] = set()
        """One event per stream, set when the stream has to end."""
        self._closing = False

    @property
    def watchers(self) -> int:
        """Number of open streams."""
        return len(self._watchers)

    def close(self) -> None:
        """End every stream with OK, and refuse new ones. All have ended when the server's `stop` returns."""
        self._closing = True
        for ended in self._watchers:
            ended.set()

    # A coroutine that writes, not a generator: a generator that is abandoned at its yield is closed only by garbage collection.
    async def WatchWaiting(  # type: ignore[override]  # noqa: N802  # the contract's name
        self, request: waiting_pb2.WatchWaitingRequest, context: _Context
    ) -> None:
        if self._closing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{self._member} is shutting down")
        if len(self._watchers) >= self._max_watchers:
            _log.warning("watcher %.100r refused: %d are watching", request.watcher, self._max_watchers)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._max_watchers} are watching already")
        ended = asyncio.Event()
        self._watchers.add(ended)
        try:
            await self._tell(ended, context)
        finally:
            self._watchers.discard(ended)

    async def _tell(self, ended: asyncio.Event, context: _Context) -> None:
        sent: tuple[tuple[WaitReport, ...], Mapping[str, int]] | None = None
        due, now = 0.0, asyncio.get_running_loop().time
        while not self._closing:
            waiting, at_work = known = self._waiting(), self._busy()
            if known != sent or now() >= due:
                sent, due = known, now() + HEARTBEAT_SECONDS
                apps = [waiting_pb2.WaitingApp(**msgspec.structs.asdict(one)) for one in waiting]
                busy = [waiting_pb2.BusyApp(app=app, backends=backends) for app, backends in at_work.items()]
                await context.write(waiting_pb2.WatchWaitingResponse(member=self._member, apps=apps, busy=busy))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await ended.wait()
