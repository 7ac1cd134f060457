"""Keeps the stored routing table equal to the objects. Level-triggered: it looks at all of them, whatever has changed.

Changes that come together share a table; the first of them waits for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from controller.bodies import Bodies
from controller.propagation import Propagation
from controller.resources import Key, Resource
from controller.store import TableStore
from controller.table import Assembly, assemble
from fleet.discovery.kubernetes.pauses import Pauses
from fleet.discovery.sources import SourceError
from fleet.routing.table import RoutingTable

__all__ = ["Publisher", "affected"]

SPACING_SECONDS = 0.05
"""Between two tables at least, whether or not they are written."""
WRITING_SPACING_SECONDS = 1.0
"""Between two writes at least: each is of the whole table, and every interceptor and scaler reads it. The first change after a
pause is written at once, and what comes within this time after it is written together."""
SPACING_PER_BUILD = 1.0
"""A table that takes long to make and to write is made less often: half of the time goes into it at most."""

_log = logging.getLogger(__name__)


class Publisher:
    """`objects` and `bodies` give all there are; `on_objects` is told which of them another table says other things about, and
    `on_published` that the store has a table which interceptors should take. Nothing is written unless `leads` says so by then:
    a process that was stopped goes on where it was, with the objects of that time.
    """

    def __init__(
        self,
        objects: Callable[[], Iterable[Resource]],
        bodies: Callable[[], Bodies],
        store: TableStore,
        propagation: Propagation,
        *,
        on_objects: Callable[[Iterable[Key]], None],
        on_published: Callable[[], None],
        leads: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._objects = objects
        self._bodies = bodies
        self._store = store
        self._propagation = propagation
        self._on_objects = on_objects
        self._on_published = on_published
        self._leads = leads
        self._sleep = sleep
        self._stale = asyncio.Event()
        self._pauses = Pauses(0.2, 10.0)
        self._recalled: RoutingTable | None = None
        self.assembly: Assembly | None = None
        """The last; it may not be written yet."""
        self.failure = ""
        """Why the store has not taken the last one, or ""."""
        self.writes = 0

    def changed(self) -> None:
        """An object is another, or the store holds something else."""
        self._stale.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._recall()
        while True:
            await self._stale.wait()
            self._stale.clear()
            began = time.monotonic()
            try:
                wrote = await self._publish()
            except (SourceError, OSError, ValueError) as error:
                self._complain(str(error))
                self._stale.set()
                await self._sleep(self._pauses.next())
                continue
            self._pauses.reset()
            self.failure = ""
            spacing = WRITING_SPACING_SECONDS if wrote else SPACING_SECONDS
            await self._sleep(max(spacing, SPACING_PER_BUILD * (time.monotonic() - began)))

    async def _recall(self) -> None:
        """Begin with what another controller has written: what has not changed since is served by those that serve that."""
        try:
            table = await self._store.read()
        except (SourceError, OSError) as error:
            _log.warning("the routing table that is kept is written anew: %s", error)
            return
        self._recalled = table
        if table is not None and self._propagation.publish(table):
            self._on_published()

    async def _publish(self) -> bool:
        """Make the table, and have it kept; whether it had to be written."""
        before = self.assembly
        resources = [*self._objects()]
        served = self._recalled if before is None else before.table
        assembly = await asyncio.to_thread(assemble, resources, self._bodies(), served)
        self.assembly = assembly
        self._on_objects(affected(before, assembly))
        self._propagation.expect(assembly.table)
        if not self._leads():  # it stood still meanwhile, and another controller may have written what has come since
            raise SourceError("the lease has run out")
        wrote = await self._store.write(assembly.table)
        if wrote:
            self.writes += 1
            _log.info("routing table %s: %d routes", assembly.table.version, len(assembly.table.routes))
        if self._propagation.publish(assembly.table):
            self._on_published()
        return wrote

    def _complain(self, why: str) -> None:
        if why != self.failure:
            _log.warning("the routing table could not be written, and it is tried again: %s", why)
        self.failure = why


def affected(before: Assembly | None, after: Assembly) -> set[Key]:
    """The objects about which another table says something else than the one before."""
    told = {} if before is None else _told(before)
    tells = _told(after)
    return {key for key in told.keys() | tells.keys() if told.get(key) != tells.get(key)}


def _told(assembly: Assembly) -> dict[Key, object]:
    told: dict[Key, object] = {
        key: route if key in assembly.asked else ("not read yet", route) for key, route in assembly.routes.items()
    }
    for part in (assembly.missing, assembly.problems, assembly.lost, assembly.shadowed, assembly.outdone):
        for key, value in part.items():
            told[key] = (told.get(key), value)
    for key in assembly.unserved:
        told[key] = (told.get(key), "unserved")
    return told
