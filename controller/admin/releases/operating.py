"""One operation on a release at a time: its entry in the journal, helm as long as the entry can be renewed, and the way back.

Others see by the entry that the operation is under way, and undo it if it is cut off (controller.admin.releases.recovery). Who
cannot renew it ends helm, before others take it for dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from controller.admin.apps import BUSY_PAUSE_SECONDS, BUSY_SECONDS
from controller.admin.journal import Busy, Entry, Journal
from controller.admin.locks import Locks
from controller.admin.problems import Refused
from controller.admin.releases.helm import HelmFailed
from controller.admin.releases.recovery import ReleaseRecovery
from controller.admin.releases.session import Session
from controller.admin.releases.state import Before, before_of
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["Operator", "explained", "under_way"]

RENEW_SECONDS = 15.0
LOST_SECONDS = 45.0
"""Seconds without a renewed entry after which helm is ended: before another controller takes the operation for dead."""

COMPARED = 100
"""Characters of a refusal that helm's reason must have, which is cut off at some length."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Operator:
    """Runs operations."""

    def __init__(self, journal: Journal, recovery: ReleaseRecovery, locks: Locks) -> None:
        self._journal = journal
        self._recovery = recovery
        self._locks = locks
        self._clock = asyncio.get_running_loop().time

    @asynccontextmanager
    async def alone(self, namespace: str, name: str) -> AsyncIterator[None]:
        """Wait until nobody else of this process is at the release, for a while. Raises Refused: 409."""
        lock = self._locks.of(f"{namespace}/{name}")
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await lock.acquire()
        except TimeoutError as error:
            raise under_way("this controller") from error
        try:
            yield
        finally:
            lock.release()

    async def operate(self, opened: Session, before: Before, work: Coroutine[Any, Any, None], *, step: str) -> None:
        """Run helm with an entry in the journal, and undo what it leaves if it fails."""
        try:
            entry = await self._begin(opened, before)
        except BaseException:
            work.close()
            raise
        try:
            try:
                await self._held(entry, work)
            except HelmFailed as failed:
                rolled_back = await self._undone(opened, before)
                if rolled_back:
                    await self._end(entry)
                raise _failure(opened, failed, step=step, rolled_back=rolled_back) from failed
            await self._end(entry)
        finally:
            self._journal.release(entry)

    async def _begin(self, opened: Session, before: Before) -> Entry:
        until = self._clock() + BUSY_SECONDS
        while True:
            try:
                entry = await self._journal.begin(opened.namespace, opened.name, before.caller.username, before.packed())
            except Busy as busy:
                if busy.entry is not None and self._journal.is_dead(busy.entry.record):
                    await self._recover(busy.entry, opened)
                elif self._clock() >= until:
                    raise under_way(busy.entry.record.holder if busy.entry is not None else "another controller") from busy
                await asyncio.sleep(BUSY_PAUSE_SECONDS)
                continue
            # What was decided about may have changed before the entry was there.
            try:
                states = await explained(opened, opened.states())
                if before_of(before.action, states, before.caller) != before:
                    raise Refused(409, "changed", "the release was changed in the meantime", headers={"Retry-After": "1"})
                if states and states[-1].is_pending:
                    raise under_way("another program")
            except BaseException:
                await self._end(entry)
                self._journal.release(entry)
                raise
            return entry

    async def _recover(self, entry: Entry, opened: Session) -> None:
        """Undo what nobody makes any more, with the rights of who is here now: who began it may have lost his. Raises Refused."""
        try:
            await self._recovery.recover(entry, opened)
        except (HelmFailed, Refused) as error:
            detail = f"an operation by {entry.record.user} was cut off, and cannot be undone now: {error}"
            raise Refused(409, "under-way", detail, headers={"Retry-After": "60"}) from error

    async def _held(self, entry: Entry, work: Coroutine[Any, Any, None]) -> None:
        """Run helm as long as the entry can be renewed."""
        running = asyncio.create_task(work, name="admin:helm")
        keeper = asyncio.create_task(self._keep(entry), name="admin:helm-entry")
        try:
            await asyncio.wait([running, keeper], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                # Whoever has the entry now brings the release back.
                detail = "the journal could not be written, so helm was ended"
                raise Refused(503, "cluster-unavailable", detail, rolled_back=False, headers={"Retry-After": "75"})
        finally:
            running.cancel()
            keeper.cancel()
            await asyncio.wait([running, keeper])
        running.result()

    async def _keep(self, entry: Entry) -> None:
        """Renew an entry; ends when that was not possible for too long, or when another controller has taken it."""
        renewed = self._clock()
        while self._clock() - renewed < LOST_SECONDS:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                entry = await self._journal.renew(entry)
                renewed = self._clock()
            except ApiError as error:
                if error.status in (404, 409):
                    return
                _log.info("release %s: its entry in the journal was not renewed: %s", entry.record.app, error)

    async def _undone(self, opened: Session, before: Before) -> bool:
        """Whether everything is as before, or a deletion complete; helm itself has undone most already."""
        try:
            await opened.restore(before)
        except (HelmFailed, ApiError, Refused) as error:
            _log.warning("release %s/%s: an operation has failed and is not undone yet: %s", opened.namespace, opened.name, error)
            return False
        return True

    async def _end(self, entry: Entry) -> None:
        try:
            await self._journal.end(entry)
        except ApiError as error:
            _log.info("release %s: its entry in the journal is removed later: %s", entry.record.app, error)


async def explained(opened: Session, work: Coroutine[Any, Any, T], *, step: str = "", kind: str = "helm-failed") -> T:
    """The result of helm. Raises Refused when it has failed."""
    try:
        return await work
    except HelmFailed as failed:
        raise _failure(opened, failed, step=step or None, kind=kind) from failed


def _failure(
    opened: Session, failed: HelmFailed, *, step: str | None, rolled_back: bool | None = None, kind: str = "helm-failed"
) -> Refused:
    # Helm goes on without some of what it asks, so a refusal is the reason only if helm says so.
    refusals = [said for said in opened.refusals if said[:COMPARED] in str(failed)]
    if refusals:
        return Refused(403, "forbidden", "; ".join(refusals), step=step, rolled_back=rolled_back)
    return Refused(422, kind, str(failed), step=step, rolled_back=rolled_back)


def under_way(who: str) -> Refused:
    return Refused(409, "under-way", f"another operation on this release is under way, by {who}", headers={"Retry-After": "5"})
