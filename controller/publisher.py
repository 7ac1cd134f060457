"""Keeps the stored routing table equal to the objects. Level-triggered: each run looks at all objects.

Changes close together share a table; the first change after a pause is processed at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from controller.bodies import Bodies
from controller.copies import NO_GRANTS, Grants
from controller.portleases.assignment import NO_LEASES, PortView
from controller.propagation import Propagation
from controller.resources import Key, Resource
from controller.store import TableStore
from controller.table import Assembly, assemble
from fleet.discovery.sources import SourceError
from fleet.routing.table import RoutingTable
from fleet.runtime.pauses import Pauses

__all__ = ["Publisher", "affected"]

SPACING_SECONDS = 0.05
"""Minimum seconds between two tables, whether or not they are written."""
WRITING_SPACING_SECONDS = 1.0
"""Minimum seconds between two writes: each writes the whole table, and every interceptor and scaler reads it. The first change
after a pause is written at once; changes within this time after it are written together."""
SPACING_PER_BUILD = 1.0
"""Pause after a table, relative to the time that making and writing it took: at most half of the time is spent on tables."""

_log = logging.getLogger(__name__)


class Publisher:
    """`objects`, `bodies` and `authorities` return the current state. `on_objects` is called with the objects whose result in the
    new table differs; `on_published` after a table was stored that interceptors should take. Before each write, `leads` is
    checked: a process that was suspended may continue with outdated objects after it has lost the lease."""

    def __init__(
        self,
        objects: Callable[[], Iterable[Resource]],
        bodies: Callable[[], Bodies],
        store: TableStore,
        propagation: Propagation,
        *,
        authorities: Callable[[], Bodies] = dict,
        ports: Callable[[], PortView] = lambda: NO_LEASES,
        grants: Callable[[], Grants | None] = lambda: NO_GRANTS,
        on_objects: Callable[[Iterable[Key]], None],
        on_published: Callable[[], None],
        leads: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._objects = objects
        self._bodies = bodies
        self._authorities = authorities
        self._ports = ports
        self._grants = grants
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
        """The last one; it may not be stored yet."""
        self.failure = ""
        """Why the last one could not be stored, or ""."""
        self.writes = 0

    def changed(self) -> None:
        """An object or the store's content has changed."""
        self._stale.set()

    async def run(self) -> None:
        """Run until cancelled."""
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
        """Read the table that a previous leader stored: interceptors that serve it serve all routes that are unchanged since."""
        try:
            table = await self._store.read()
        except (SourceError, OSError) as error:
            _log.warning("the routing table that is kept is written anew: %s", error)
            return
        self._recalled = table
        if table is not None and self._propagation.publish(table):
            self._on_published()

    async def _publish(self) -> bool:
        """Make the table and store it; returns whether it had to be written."""
        before = self.assembly
        resources = [*self._objects()]
        served = self._recalled if before is None else before.table
        found = (self._bodies(), served, self._authorities(), self._ports())
        assembly = await asyncio.to_thread(assemble, resources, *found, grants=self._grants())
        self.assembly = assembly
        self._on_objects(affected(before, assembly))
        self._propagation.expect(assembly.table)
        if not self._leads():  # this process was suspended meanwhile, and another controller may have written a newer table
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
    """The objects whose result differs between two tables."""
    old = {} if before is None else _results(before)
    new = _results(after)
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def _results(assembly: Assembly) -> dict[Key, object]:
    results: dict[Key, object] = {
        key: route if key in assembly.asked else ("not read yet", route) for key, route in assembly.routes.items()
    }
    for part in (assembly.missing, assembly.problems, assembly.lost, assembly.shadowed, assembly.outdone, assembly.waits):
        for key, value in part.items():
            results[key] = (results.get(key), value)
    for key in assembly.unserved:
        results[key] = (results.get(key), "unserved")
    return results
