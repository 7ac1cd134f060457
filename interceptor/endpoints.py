"""The backends of a target as one interceptor sees them: idle connections, load, failures. Chooses; dials; keeps no request.

Only connections that nobody uses are kept here; a connection in use belongs to its exchange.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
from operator import attrgetter
from time import monotonic
from typing import Any, Protocol

from fleet.discovery.sources import Backend
from interceptor.deadlines import NEVER, Deadlines
from interceptor.http1.backend import BackendConnection
from interceptor.http1.connection import Outbox
from interceptor.waiting import WaitingRoom

__all__ = ["CONNECT_TIMED_OUT", "Crowd", "DialRequest", "Endpoint", "EndpointSet", "PoolLimits"]

logger = logging.getLogger(__name__)

MAX_DIALS = 32
"""Connections being opened to one backend at once: small servers have short accept queues, and an overflow costs a second."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
"""Seconds for which a backend that refused a connection is set aside, doubling from the first to the longest."""

CONNECT_TIMED_OUT = "connect timed out"
"""The error of a dial that took too long, for people."""

_random = random.random
_load = attrgetter("load")
_since = attrgetter("room.since")


class Crowd(Protocol):
    """An application of which requests wait for a backend of the set."""

    @property
    def room(self) -> WaitingRoom[Any]: ...
    def let_in(self, now: float) -> bool:
        """Let in who is next; False when no backend can take it."""


class DialRequest(Protocol):
    """Who waits for a connection that is being opened."""

    def connected(self, endpoint: Endpoint, connection: BackendConnection) -> bool:
        """Take the connection; False when it is no longer wanted."""

    def dial_failed(self, endpoint: Endpoint, error: Exception) -> None: ...


class PoolLimits:
    """Bounds that every endpoint of an interceptor shares."""

    __slots__ = ("idle_timeout", "max_idle")

    def __init__(self, *, idle_timeout: float, max_idle: int) -> None:
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle


class Endpoint:
    """One backend address of one target."""

    __slots__ = ("backend", "bucket", "deadline", "dialing", "failures", "gone", "idle", "load", "owner")

    def __init__(self, backend: Backend, owner: EndpointSet) -> None:
        self.backend = backend
        self.owner = owner
        self.idle: list[BackendConnection] = []
        self.load = 0
        """Exchanges that this interceptor has given it and that are not over."""
        self.dialing = 0
        self.failures = 0
        self.gone = False
        self.deadline = NEVER
        """End of the pause after a failed dial."""
        self.bucket = 0

    def takes(self, bound: int) -> bool:
        """Whether one more request may be given to it now, when it may have up to `bound`."""
        return self.load < bound and (bool(self.idle) or self.dialing < MAX_DIALS)

    def give_back(self, connection: BackendConnection, now: float) -> None:
        """Keep a connection whose exchange is over, for the next one."""
        if self.gone or len(self.idle) >= self.owner.limits.max_idle:
            connection.close()
            return
        connection.deadline = now + self.owner.limits.idle_timeout
        self.idle.append(connection)
        if not connection.bucket:
            self.owner.deadlines.watch(connection)

    def drop_idle(self, connection: BackendConnection) -> None:
        """A kept connection ended."""
        if connection in self.idle:
            self.idle.remove(connection)

    def retire(self) -> None:
        """Discovery no longer lists it: exchanges on it go on, kept connections do not."""
        self.gone = True
        self.owner.deadlines.forget(self)
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def set_aside(self, now: float) -> None:
        """It refused a connection: choose others for a while."""
        self.failures += 1
        self.deadline = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures - 1, 10))
        self.owner.set_aside(self)

    def on_deadline(self, now: float) -> None:
        self.deadline = NEVER
        self.owner.bring_back(self)


class EndpointSet:
    """The backends of one target, which may be that of several applications."""

    __slots__ = ("_all", "_dials", "crowd", "deadlines", "key", "last_error", "limits", "outbox", "ready")

    def __init__(self, key: str, *, limits: PoolLimits, deadlines: Deadlines, outbox: Outbox) -> None:
        self.key = key
        self.limits = limits
        self.deadlines = deadlines
        self.outbox = outbox
        self.ready: list[Endpoint] = []
        """Those that may be chosen now."""
        self.last_error = ""
        """Why the last connection could not be opened, without its address: clients are told. Empty when the last one could."""
        self.crowd: dict[Crowd, None] = {}
        """Applications of which somebody waits."""
        self._all: dict[Backend, Endpoint] = {}
        self._dials: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def endpoints(self) -> list[Endpoint]:
        return list(self._all.values())

    def update(self, backends: tuple[Backend, ...]) -> None:
        """Take over what discovery lists now."""
        wanted = set(backends)
        for backend in [backend for backend in self._all if backend not in wanted]:
            self._all.pop(backend).retire()
        for backend in backends:
            if backend not in self._all:
                self._all[backend] = Endpoint(backend, self)
        self._choose_from()

    def choose(self) -> Endpoint | None:
        """The less loaded of two taken at random; None when no backend can be chosen."""
        ready = self.ready
        count = len(ready)
        if count <= 1:
            return ready[0] if ready else None
        first = int(_random() * count)
        second = int(_random() * (count - 1))
        one, other = ready[first], ready[second + (second >= first)]
        return one if one.load <= other.load else other

    def find(self, bound: int) -> Endpoint | None:
        """One that can take another request and has fewer than `bound`; None when there is none.

        The less loaded of two taken at random, or the least loaded of all where that one has enough.
        """
        endpoint = self.choose()
        if endpoint is None or endpoint.takes(bound):
            return endpoint
        return min((each for each in self.ready if each.takes(bound)), key=_load, default=None)

    def pump(self, now: float) -> None:
        """Let in who waits, whoever came first first, for as long as a backend can take one more."""
        waiting = [app for app in self.crowd if app.room]
        while waiting:
            app = waiting[0] if len(waiting) == 1 else min(waiting, key=_since)
            if not app.let_in(now) or not app.room:
                waiting.remove(app)

    def set_aside(self, endpoint: Endpoint) -> None:
        self.ready = [other for other in self.ready if other is not endpoint]
        if not endpoint.gone:
            self.deadlines.watch(endpoint)

    def bring_back(self, endpoint: Endpoint) -> None:
        if not endpoint.gone and endpoint not in self.ready:
            self._choose_from()

    def dial(self, endpoint: Endpoint, request: DialRequest, *, timeout: float) -> None:
        """Open a connection within so many seconds, in a task of its own, and tell the request how it went."""
        endpoint.dialing += 1
        task = asyncio.get_running_loop().create_task(self._dial(endpoint, request, timeout), name=f"dial {self.key}")
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def close(self) -> None:
        """End every dial and every kept connection."""
        dials = list(self._dials)
        for task in dials:
            task.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        self.update(())

    def _choose_from(self) -> None:
        self.ready = [endpoint for endpoint in self._all.values() if endpoint.deadline == NEVER]
        self._pump()

    def _pump(self) -> None:
        if self.crowd and self.ready:
            self.pump(monotonic())

    async def _dial(self, endpoint: Endpoint, request: DialRequest, seconds: float) -> None:
        backend = endpoint.backend
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds if seconds < math.inf else None):
                _, connection = await loop.create_connection(lambda: BackendConnection(endpoint), backend.host, backend.port)
        except (OSError, TimeoutError) as error:
            endpoint.dialing -= 1
            self._failed(endpoint, error)
            request.dial_failed(endpoint, error)
            self._pump()
            return
        except BaseException:
            endpoint.dialing -= 1
            raise
        endpoint.dialing -= 1
        endpoint.failures = 0
        self.last_error = ""
        if not request.connected(endpoint, connection):
            endpoint.give_back(connection, monotonic())
        self._pump()

    def _failed(self, endpoint: Endpoint, error: Exception) -> None:
        number = error.errno if isinstance(error, OSError) else None
        self.last_error = os.strerror(number) if number else CONNECT_TIMED_OUT
        if not endpoint.failures:
            backend = endpoint.backend
            logger.warning("backend %s:%d of %s set aside: %s", backend.host, backend.port, self.key, self.last_error)
        endpoint.set_aside(monotonic())
