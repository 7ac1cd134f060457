"""Ends changes that nobody makes any more: of processes that were killed, of controllers that are gone, and those that could not
be undone at once. Runs in every controller that has an Admin API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from controller.admin.change import undo
from controller.admin.cluster import Cluster
from controller.admin.journal import Entry, Journal
from controller.admin.locks import Locks
from controller.admin.objects import MANAGED, MANAGED_BY, UNDER_WAY
from controller.resources import Resource
from controller.scaledobject import SKIP
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["SWEEP_SECONDS", "TAKEOVER_SECONDS", "Recovery"]

SWEEP_SECONDS = 5.0
"""Seconds between looks at the journal, which is empty nearly always."""
TAKEOVER_SECONDS = 75.0
"""Seconds for which an entry of another controller is seen before its change is undone: longer than a change and its own undoing
may take. Measured with our own clock from when we first saw it."""

_log = logging.getLogger(__name__)


class Recovery:
    """`resources` are the custom resources as they are watched."""

    def __init__(
        self, cluster: Cluster, journal: Journal, locks: Locks, resources: Callable[[], Iterable[Resource]] = lambda: ()
    ) -> None:
        self._cluster = cluster
        self._journal = journal
        self._locks = locks
        self._resources = resources
        self._clock = asyncio.get_running_loop().time
        self._seen: dict[tuple[str, str], float] = {}
        """When an entry was first seen, by uid and version."""
        self._marks: dict[tuple[str, str], float] = {}
        """When a mark without an entry was first seen, by uid and change."""
        self._failure = ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.sweep()
                self._failure = ""
            except ApiError as error:
                if str(error) != self._failure:
                    _log.warning("changes that were cut off are not undone yet: %s", error)
                self._failure = str(error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Undo every change that nobody makes any more. Raises ApiError."""
        entries = await self._journal.entries()
        now, failure = self._clock(), None
        self._seen = {key: self._seen.get(key, now) for key in ((entry.uid, entry.version) for entry in entries)}
        for entry in entries:
            dead = self._journal.is_dead(entry.record)
            if not dead and now - self._seen[entry.uid, entry.version] < TAKEOVER_SECONDS:
                continue
            try:
                async with self._locks.of(entry.record.app):
                    await self.recover(entry if dead else await self._journal.take(entry))
            except ApiError as error:
                if error.status != 409:  # another controller was faster
                    failure = error
        await self._remove_marks({entry.record.change for entry in entries}, now)
        if failure is not None:
            raise failure

    async def recover(self, entry: Entry) -> None:
        """Undo one change and end its entry. Call it with the lock of its application. Raises ApiError."""
        record = entry.record
        if not self._journal.is_dead(record):
            return
        undone = await undo(self._cluster, record)
        await self._journal.end(entry)
        if undone:
            _log.warning("app %s: a change by %s was cut off, and is undone", record.app, record.user)

    async def _remove_marks(self, changes: set[str], now: float) -> None:
        """Marks that no entry knows: a write that arrived after everybody had given it up."""
        found = {
            (resource.meta.uid, change): resource
            for resource in self._resources()
            if (change := (resource.meta.annotations or {}).get(UNDER_WAY)) is not None
            and change not in changes
            and (resource.meta.labels or {}).get(MANAGED_BY) == MANAGED
        }
        self._marks = {key: self._marks.get(key, now) for key in found}
        for key, resource in found.items():
            if now - self._marks[key] < TAKEOVER_SECONDS:
                continue
            meta = resource.meta
            async with self._locks.of(resource.key.app):
                if meta.annotated(SKIP):
                    await self._cluster.delete("HTTPScaledObject", meta.namespace, meta.name, meta.uid)
                else:
                    patch = {"metadata": {"uid": meta.uid, "annotations": {UNDER_WAY: None}}}
                    await self._cluster.merge("HTTPScaledObject", meta.namespace, meta.name, patch)
            _log.warning("app %s: the mark of a change that nobody makes is removed", resource.key.app)
