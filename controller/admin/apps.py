"""What the API does with applications: create, replace, patch, get, list, delete. HTTP is spoken in controller.admin.routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from controller.admin.change import Change, ChangeFailed, Tell, undo
from controller.admin.checks import asleep, check_is_free, check_match, is_ending, is_of, kept, refused_change, skips
from controller.admin.cluster import Cluster
from controller.admin.documents import Document
from controller.admin.journal import Busy, Entry, Journal
from controller.admin.locks import Locks
from controller.admin.objects import (
    KINDS,
    MANAGED,
    MANAGED_BY,
    Json,
    Live,
    document_of,
    manifests,
    same,
)
from controller.admin.problems import Refused
from controller.admin.recovery import Recovery
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["BUSY_PAUSE_SECONDS", "BUSY_SECONDS", "CLOSE_SECONDS", "GONE_SECONDS", "Apps"]

UNDO_SECONDS = 20.0
"""Seconds for undoing at once. After that the recovery goes on with it."""
BUSY_SECONDS = 10.0
"""Seconds for which a call waits for another change of the same application."""
BUSY_PAUSE_SECONDS = 0.25
GONE_SECONDS = 10.0
"""Seconds for which a deletion waits until nothing is left."""
GONE_PAUSE_SECONDS = 0.1
CLOSE_SECONDS = 5.0
"""Seconds for changes under way when the controller ends. What is not done then is undone by the next one."""
UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"
"""The owner's uid in a dry run, in which no owner is made."""

Decide = Callable[[Live], Document | None]
"""What to write for what there is; None for nothing. May raise Refused."""
T = TypeVar("T")


def _silent(step: str) -> None:
    """Nobody listens."""


_log = logging.getLogger(__name__)


class Apps:
    """Every method raises Refused or ApiError. `is_scaled` tells whether an application has a ScaledObject."""

    def __init__(
        self, api: Api, cluster: Cluster, journal: Journal, recovery: Recovery, *, locks: Locks, is_scaled: Callable[[str], bool]
    ) -> None:
        self._api = api
        self._cluster = cluster
        self._journal = journal
        self._locks = locks
        self._recovery = recovery
        self._is_scaled = is_scaled
        self._clock = asyncio.get_running_loop().time
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Wait for changes under way, for a while."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=CLOSE_SECONDS)
        await cancel_and_wait(*self._tasks)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def get(self, namespace: str, name: str) -> Live:
        live = await self._cluster.live(namespace, name)
        if not live.is_ours:
            raise Refused(404, "not-found", f"there is no app {namespace}/{name}")
        return live

    async def page(self, namespace: str, limit: int, token: str | None) -> tuple[list[Json], str | None]:
        """HTTPScaledObjects of a page, and the token of the next one."""
        query = [("labelSelector", f"{MANAGED_BY}={MANAGED}"), ("limit", str(limit))]
        if token is not None:
            query.append(("continue", token))
        listed = msgspec.json.decode(await self._api.get(KINDS["HTTPScaledObject"].path.path(namespace), query))
        return listed.get("items") or [], (listed.get("metadata") or {}).get("continue") or None

    # -- writing ----------------------------------------------------------------------------------------------------

    async def create(self, user: str, namespace: str, document: Document, *, tell: Tell = _silent) -> tuple[Live, bool]:
        """Create an application; the same one again is no mistake. Returns also whether it was created."""

        def decide(live: Live) -> Document | None:
            if not live.is_ours or live.change:
                return document
            found = document_of(live)
            if found is None or not same(found, document):
                detail = f"app {document.name} exists, and says something else: PUT replaces it"
                raise Refused(409, "exists", detail)
            return None

        return await self._whole(self._write(user, namespace, document.name, decide, tell))

    async def replace(
        self, user: str, namespace: str, document: Document, if_match: str | None, *, tell: Tell = _silent
    ) -> tuple[Live, bool]:
        """Create an application, or make it what the document says. Returns also whether it was created."""

        def decide(live: Live) -> Document | None:
            check_match(live, if_match)
            found = document_of(live)
            return None if found is not None and same(found, document) and not live.change else document

        return await self._whole(self._write(user, namespace, document.name, decide, tell))

    async def edit(
        self,
        user: str,
        namespace: str,
        name: str,
        edit: Callable[[Document], Document],
        if_match: str | None,
        *,
        tell: Tell = _silent,
    ) -> tuple[Live, bool]:
        """Change an application that exists. `edit` makes the new complete document, and may raise Refused."""

        def decide(live: Live) -> Document | None:
            document, found = self._edited(live, namespace, name, edit, if_match)
            return None if same(found, document) and not live.change else document

        return await self._whole(self._write(user, namespace, name, decide, tell))

    async def plan(self, namespace: str, document: Document, if_match: str | None, *, new: bool = False) -> list[Json]:
        """What the API server would store: a dry run of every write. `new` refuses another one that exists."""
        name = document.name
        live = await self._cluster.live(namespace, name)
        check_is_free(live, namespace, name)
        check_match(live, if_match)
        found = document_of(live)
        if new and live.is_ours and (found is None or not same(found, document)):
            raise Refused(409, "exists", f"app {name} exists, and says something else: PUT replaces it")
        planned = []
        for kind, manifest in manifests(document, namespace, owner_uid=live.uid or UNKNOWN_UID).items():
            now = live.objects[kind]
            if now is None:
                planned.append(await self._cluster.create(kind, asleep(kind, manifest), dry_run=True))
            else:
                planned.append(await self._cluster.update(kind, manifest, now["metadata"]["uid"], dry_run=True))
        return planned

    async def plan_edit(
        self, namespace: str, name: str, edit: Callable[[Document], Document], if_match: str | None
    ) -> list[Json]:
        """The same for a change of an application that exists."""
        document, _ = self._edited(await self._cluster.live(namespace, name), namespace, name, edit, if_match)
        return await self.plan(namespace, document, if_match)

    async def delete(
        self, namespace: str, name: str, if_match: str | None, *, dry_run: bool = False, tell: Tell = _silent
    ) -> bool:
        """Delete an application; returns whether nothing of it is left."""
        return await self._whole(self._delete(namespace, name, if_match, dry_run=dry_run, tell=tell))

    async def annotate(self, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of the HTTPScaledObject with this uid; None removes one."""
        await self._cluster.merge("HTTPScaledObject", namespace, name, {"metadata": {"uid": uid, "annotations": annotations}})

    async def is_gone(self, namespace: str, name: str, uid: str) -> bool:
        """Whether nothing is left of a deleted application."""
        live = await self._cluster.live(namespace, name)
        left = [found for found in live.objects.values() if found is not None and is_of(found, uid)]
        return not left and not self._is_scaled(f"{namespace}/{name}")

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end even if the caller leaves: half of a change is what nobody wants."""
        task = asyncio.create_task(work, name="admin:change")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def _edited(
        self, live: Live, namespace: str, name: str, edit: Callable[[Document], Document], if_match: str | None
    ) -> tuple[Document, Document]:
        """The new document and the old one."""
        if not live.is_ours:
            raise Refused(404, "not-found", f"there is no app {namespace}/{name}")
        check_match(live, if_match)
        found = document_of(live)
        if found is None:
            raise Refused(409, "unreadable", "objects of the app are missing, or say what no document can: PUT a whole one")
        return edit(found), found

    async def _write(self, user: str, namespace: str, name: str, decide: Decide, tell: Tell) -> tuple[Live, bool]:
        async with self._locks.of(f"{namespace}/{name}"):
            until = self._clock() + BUSY_SECONDS
            while True:
                live = await self._cluster.live(namespace, name)
                if is_ending(live) and self._clock() < until:
                    await asyncio.sleep(BUSY_PAUSE_SECONDS)
                    continue
                check_is_free(live, namespace, name)
                if decide(live) is None:
                    return live, False
                try:
                    entry = await self._journal.begin(namespace, name, user, kept(live))
                except Busy as busy:
                    await self._let_pass(busy, until)
                    continue
                try:
                    created = await self._change(entry, decide, tell)
                finally:
                    self._journal.release(entry)
                if created is not None:
                    return await self._read_back(namespace, name), created

    async def _let_pass(self, busy: Busy, until: float) -> None:
        """Another change is under way: wait for it, or undo it if nobody makes it any more."""
        if busy.entry is not None and self._journal.is_dead(busy.entry.record):
            await self._recovery.recover(busy.entry)
        elif self._clock() >= until:
            holder = busy.entry.record.holder if busy.entry is not None else "another controller"
            detail = f"another change of this app is under way, by {holder}"
            raise Refused(409, "under-way", detail, headers={"Retry-After": "5"})
        else:
            await asyncio.sleep(BUSY_PAUSE_SECONDS)

    async def _change(self, entry: Entry, decide: Decide, tell: Tell) -> bool | None:
        """Make a change with its entry, and end the entry. Returns whether the application was created; None when what there was
        has changed before the entry was there, so that it must be decided again."""
        record = entry.record
        try:
            live = await self._cluster.live(record.namespace, record.name)
            document = decide(live)
            is_leftover = live.owner is not None and live.change != "" and skips(live.owner)
            if document is None or is_leftover or kept(live) != record.before:
                if is_leftover:
                    await self._remove(live, record.namespace, record.name)
                await self._journal.end(entry)
                return None
            change = Change(self._cluster, record, document, live, tell=tell)
        except BaseException:
            await self._journal.end(entry)  # nothing was written yet
            raise
        try:
            await change.make()
        except ChangeFailed as failed:
            await self._undo(entry, failed)
        try:
            await self._journal.end(entry)
        except ApiError as error:
            _log.info("app %s: a change is complete, its entry is removed later: %s", record.app, error)
        return live.owner is None

    async def _read_back(self, namespace: str, name: str) -> Live:
        try:
            return await self._cluster.live(namespace, name)
        except ApiError as error:
            detail = f"the change is complete, and could not be read back: {error}"
            raise Refused(503, "done-but-unread", detail, headers={"Retry-After": "2"}) from error

    async def _undo(self, entry: Entry, failed: ChangeFailed) -> None:
        """Returns if the change is complete after all, because only the last answer was lost; otherwise raises Refused."""
        record = entry.record
        try:
            async with asyncio.timeout(UNDO_SECONDS):
                undone = await undo(self._cluster, record)
                if not undone and failed.step.startswith("completing"):
                    live = await self._cluster.live(record.namespace, record.name)
                    if live.is_ours:
                        return
                await self._journal.end(entry)
        except (ApiError, TimeoutError) as error:
            _log.warning("app %s: a change has failed and is not undone yet: %s", record.app, error)
            raise refused_change(failed, rolled_back=False) from error
        raise refused_change(failed, rolled_back=True) from failed

    async def _delete(self, namespace: str, name: str, if_match: str | None, *, dry_run: bool, tell: Tell) -> bool:
        async with self._locks.of(f"{namespace}/{name}"):
            live = await self.get(namespace, name)
            check_match(live, if_match)
            if dry_run:
                await self._cluster.delete("HTTPScaledObject", namespace, name, live.uid, dry_run=True)
                return True
            tell("deleting HTTPScaledObject")
            return await self._remove(live, namespace, name)

    async def _remove(self, live: Live, namespace: str, name: str) -> bool:
        """Delete the objects of an application; returns whether nothing is left."""
        # This alone is the deletion: all others have the owner's uid, and are deleted with it by the API server.
        await self._cluster.delete("HTTPScaledObject", namespace, name, live.uid)
        try:
            for kind in ("Service", "Deployment"):
                if (found := live.objects[kind]) is not None and live.owns(found):
                    await self._cluster.delete(kind, namespace, name, found["metadata"]["uid"])
            return await self._is_gone(namespace, name, live.uid)
        except ApiError as error:
            _log.info("app %s/%s: left to the garbage collector: %s", namespace, name, error)
            return False

    async def _is_gone(self, namespace: str, name: str, uid: str) -> bool:
        until = self._clock() + GONE_SECONDS
        while self._clock() < until:
            if await self.is_gone(namespace, name, uid):
                return True
            await asyncio.sleep(GONE_PAUSE_SECONDS)
        return False
