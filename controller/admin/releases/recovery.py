"""Ends operations on releases that nobody makes any more: of controllers that were killed, and those not undone at once.

Helm brings the release back to what it was, or deletes what was never complete, with the rights of who began the operation, or
of who wants to begin the next one.
"""

from __future__ import annotations

import asyncio
import logging

from controller.admin.journal import Entry, Journal
from controller.admin.locks import Locks
from controller.admin.problems import Refused
from controller.admin.recovery import SWEEP_SECONDS, TAKEOVER_SECONDS
from controller.admin.releases.helm import HelmFailed
from controller.admin.releases.session import Session, Sessions
from controller.admin.releases.state import operation_of
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["ReleaseRecovery"]

RETRY_SECONDS = 60.0
"""Seconds until something is tried again that could not be undone: it runs helm, and may wait for pods."""

_log = logging.getLogger(__name__)


class ReleaseRecovery:
    """Does nothing without helm."""

    def __init__(self, sessions: Sessions, journal: Journal, locks: Locks) -> None:
        self._sessions = sessions
        self._journal = journal
        self._locks = locks
        self._clock = asyncio.get_running_loop().time
        self._seen: dict[tuple[str, str], float] = {}
        """When an entry was first seen, by uid and version."""
        self._later: dict[str, float] = {}
        """Until when an entry is left alone, by uid."""
        self._failure = ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.sweep()
                self._failure = ""
            except ApiError as error:
                if str(error) != self._failure:
                    _log.warning("operations on releases that were cut off are not undone yet: %s", error)
                self._failure = str(error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Undo every operation that nobody makes any more. Raises ApiError."""
        entries = await self._journal.entries()
        now = self._clock()
        self._seen = {key: self._seen.get(key, now) for key in ((entry.uid, entry.version) for entry in entries)}
        self._later = {entry.uid: self._later[entry.uid] for entry in entries if entry.uid in self._later}
        for entry in entries:
            dead = self._journal.is_dead(entry.record)
            if now < self._later.get(entry.uid, 0.0):
                continue
            if not dead and now - self._seen[entry.uid, entry.version] < TAKEOVER_SECONDS:
                continue
            try:
                async with self._locks.of(entry.record.app):
                    await self.recover(entry if dead else await self._journal.take(entry))
            except (HelmFailed, Refused) as error:
                self._later[entry.uid] = self._clock() + RETRY_SECONDS
                _log.warning("release %s: an operation by %s is not undone yet: %s", entry.record.app, entry.record.user, error)
            except ApiError as error:
                if error.status != 409:  # another controller was faster
                    raise

    async def recover(self, entry: Entry, opened: Session | None = None) -> None:
        """Undo one operation and end its entry, with the rights of who began it, or those of a session. Call it with the lock of
        its release. Raises HelmFailed, Refused and ApiError."""
        record = entry.record
        before = operation_of(record)
        if before is None or not self._journal.is_dead(record):
            return
        if opened is not None:
            undone = await opened.restore(before)
        else:
            async with self._sessions.open(before.caller, record.namespace, record.name) as own:
                undone = await own.restore(before)
        await self._journal.end(entry)
        if undone:
            _log.warning("release %s: an operation by %s was cut off, and is undone", record.app, record.user)
