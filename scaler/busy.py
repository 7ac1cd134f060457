"""Counts the leases that applications have asked for by a call, and says to the demand how many replicas of each they keep awake.

A lease ends at its time, and whatever its time is, when the route's maximum has passed since the application's last request: a
call renews a lease, and is no request. What was before this scaler began counts as a request, because nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import time

from fleet.demand.busy import Leases, replicas_kept
from fleet.demand.merge import FleetDemand
from fleet.discovery.busy import BusySource
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["BusyLeases"]

COUNT_SECONDS = 0.5
"""Seconds between two rounds, by which a lease may end late."""


class BusyLeases:
    """`clock` is the demand's, `wall` the time in seconds since the epoch."""

    def __init__(
        self, demand: FleetDemand, source: BusySource, *, clock: Callable[[], float], wall: Callable[[], float] = time
    ) -> None:
        self._demand = demand
        self._source = source
        self._clock, self._wall = clock, wall
        self._since = clock()
        self._most: Mapping[str, float] = {}
        self._kept: set[str] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def configure(self, most: Mapping[str, float]) -> None:
        """Set the maximum of each application, in seconds; it has no leases without one."""
        self._most = most
        self.count(self._source.current)

    async def start(self) -> None:
        self._unsubscribe = self._source.subscribe(self.count)
        await self._source.start()
        self._task = asyncio.create_task(self._run(), name="busy leases")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        await self._source.close()

    def count(self, leases: Leases) -> None:
        """Once now."""
        now, wall = self._clock(), self._wall()
        kept = set()
        for app in {*leases, *self._kept}:
            replicas = self._replicas(app, leases.get(app, {}), now, wall)
            if replicas or app in self._kept:
                self._demand.leased.keep(app, replicas, now)
            if replicas:
                kept.add(app)
        self._kept = kept

    def _replicas(self, app: str, held: Mapping[str, float], now: float, wall: float) -> int:
        quiet = now - max(self._demand.leased.last_request(app), self._since)
        return replicas_kept(held, wall, most=self._most.get(app, 0.0), quiet=quiet)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            self.count(self._source.current)
