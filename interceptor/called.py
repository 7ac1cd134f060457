"""Replicas that keep applications awake by a call, for those who look at this interceptor: it shows where demand comes from.

Nothing of the proxy depends on it, and scalers read the leases themselves. The rule is theirs (`scaler/busy.py`), with the
requests that this interceptor knows of: so the largest number over all interceptors is what a scaler counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import time
from typing import Final

from fleet.demand.busy import replicas_kept
from fleet.demand.ledger import Entry
from fleet.discovery.busy import BusySource
from fleet.routing.table import RoutingTable
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Called"]

LOOK_AGAIN_SECONDS: Final = 1.0
"""Seconds between two looks at who has had a request."""
LOOK_SLICE: Final = 500
"""Applications that are looked at in one turn."""


class _Seen:
    __slots__ = ("at", "most", "total")

    def __init__(self, most: float, at: float) -> None:
        self.most = most
        """Seconds after its last request for which replicas may keep the application awake."""
        self.total = 0
        self.at = at
        """When it last had a request."""


class Called:
    """`entry` finds the counts of an application. `clock` is the ledger's, `wall` the time in seconds since the epoch."""

    def __init__(
        self,
        source: BusySource,
        entry: Callable[[str], Entry | None],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float] = time,
    ) -> None:
        self._source = source
        self._entry = entry
        self._clock, self._wall = clock, wall
        self._seen: dict[str, _Seen] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._source.start()
        self._task = asyncio.create_task(self._run(), name="leases by calls")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self._source.close()

    def set_table(self, table: RoutingTable) -> None:
        """What was before an application is permitted to do so counts as a request, because nobody has looked."""
        now, before, after = self._clock(), self._seen, {}
        for route in table.routes:
            if most := route.scaling.max_busy:
                after[route.app] = seen = before.get(route.app) or _Seen(most, now)
                seen.most = most
        self._seen = after

    def replicas(self) -> Mapping[str, int]:
        """How many keep each application awake now, without those that none does."""
        leases = self._source.current
        if not leases:
            return {}
        now, wall = self._clock(), self._wall()
        found: dict[str, int] = {}
        for app, held in leases.items():
            if (seen := self._seen.get(app)) is not None:
                self._look(app, seen, now)
                if kept := replicas_kept(held, wall, most=seen.most, quiet=now - seen.at):
                    found[app] = kept
        return found

    def _look(self, app: str, seen: _Seen, now: float) -> None:
        entry = self._entry(app)
        if entry is not None and (entry.held or entry.in_flight or entry.requests_total != seen.total):
            seen.total, seen.at = entry.requests_total, now

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            for number, (app, seen) in enumerate(list(self._seen.items()), 1):
                self._look(app, seen, self._clock())
                if number % LOOK_SLICE == 0:
                    await asyncio.sleep(0)
