"""One change of an application, from its first write to its last, and the way back. All of it or nothing, whenever it ends.

Before the first write the journal says what there was. While objects are written, the HTTPScaledObject has a mark with the
change's id; the write that removes the mark makes the change complete. So whoever comes later can tell: without the mark there is
nothing to undo; with it, everything that the change wrote is undone by what the journal says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from controller.admin.cluster import Cluster, Foreign
from controller.admin.documents import Document
from controller.admin.journal import Record
from controller.admin.objects import KINDS, Json, Live, manifests, marked, partial_document_of
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["CHANGE_SECONDS", "Change", "ChangeFailed", "Tell", "Unreadable", "before_of", "undo"]

CHANGE_SECONDS = 30.0
"""Seconds for all writes of a change. Another controller takes over only later (controller.admin.recovery), and each write checks
that there is time left, so that a process that was stopped for a while writes nothing after that."""
Tell = Callable[[str], object]
"""Called with each step before it is made. May not fail."""
_OWNER, _OTHERS = "HTTPScaledObject", ("Service", "Deployment")


class ChangeFailed(Exception):
    """A step has failed. Nothing is undone yet."""

    def __init__(self, step: str, cause: ApiError | Foreign | TimeoutError) -> None:
        super().__init__(f"{step}: {cause}")
        self.step = step
        self.cause = cause


class Unreadable(Exception):
    """The objects say what no document can, so there would be no way back."""


def before_of(live: Live) -> dict[str, Json | None]:
    """What the journal keeps: the objects as they would be applied to stay as they are. Raises Unreadable."""
    if live.owner is None:
        return dict.fromkeys(KINDS)
    document = partial_document_of(live)
    if document is None:
        raise Unreadable
    made = manifests(document, live.owner["metadata"]["namespace"], owner_uid=live.uid)
    return {kind: None if live.objects[kind] is None else made[kind] for kind in KINDS}


class Change:
    """Makes the objects of an application what a complete document says. `live` is how they are; `tell` gets each step."""

    def __init__(self, cluster: Cluster, record: Record, document: Document, live: Live, *, tell: Tell) -> None:
        self._cluster = cluster
        self._record = record
        self._document = document
        self._live = live
        self._tell = tell
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + CHANGE_SECONDS
        self._step = ""

    async def make(self) -> None:
        """Write everything. Raises ChangeFailed."""
        try:
            async with asyncio.timeout_at(self._until):
                uid = await self._mark()
                made = self._manifests(uid)
                for kind in _OTHERS:
                    await self._write(kind, made[kind])
                self._begin(f"completing {_OWNER}")
                await self._cluster.update(_OWNER, made[_OWNER], uid)
        except (ApiError, Foreign, TimeoutError) as error:
            raise ChangeFailed(self._step, error) from error

    async def _mark(self) -> str:
        """Mark the owner, which is made first; returns its uid."""
        change, before = self._record.change, self._record.before[_OWNER]
        if before is None:
            self._begin(f"creating {_OWNER}")
            made = await self._cluster.create(_OWNER, marked(self._manifests("")[_OWNER], change, first=True))
            return str(made["metadata"]["uid"])
        self._begin(f"marking {_OWNER}")
        await self._cluster.update(_OWNER, marked(before, change, first=False), self._live.uid)
        return self._live.uid

    async def _write(self, kind: str, manifest: Json) -> None:
        found = self._live.objects[kind]
        if found is not None:
            self._begin(f"updating {kind}")
            await self._cluster.update(kind, manifest, found["metadata"]["uid"])
            return
        self._begin(f"creating {kind}")
        if kind != "Deployment":
            await self._cluster.create(kind, manifest)
            return
        manifest = manifest | {"spec": manifest["spec"] | {"replicas": 0}}
        made = await self._cluster.create(kind, manifest)
        self._begin("holding the Deployment's replicas")
        await self._cluster.hold_replicas(manifest, made["metadata"]["uid"])

    def _manifests(self, uid: str) -> Mapping[str, Json]:
        return manifests(self._document, self._record.namespace, owner_uid=uid)

    def _begin(self, step: str) -> None:
        self._step = step
        self._tell(step)
        if self._clock() >= self._until:
            raise TimeoutError("there was no time left for it")


async def undo(cluster: Cluster, record: Record) -> bool:
    """Bring back what there was before a change; returns False if there was nothing to undo, because it never began, or is
    complete. Raises ApiError; then it must be repeated."""
    namespace, name = record.namespace, record.name
    live = await cluster.live(namespace, name)
    if live.change != record.change:
        return False
    if record.before[_OWNER] is None:
        # The owner last read as marked goes first: that is enough, as the API server's garbage collector deletes the others.
        await cluster.delete(_OWNER, namespace, name, live.uid)
        for kind in _OTHERS:
            if (found := live.objects[kind]) is not None and live.owns(found):
                await cluster.delete(kind, namespace, name, found["metadata"]["uid"])
        return True
    for kind in (*reversed(_OTHERS), _OWNER):
        await _bring_back(cluster, kind, record.before[kind], live)
    return True


async def _bring_back(cluster: Cluster, kind: str, before: Json | None, live: Live) -> None:
    found = live.objects[kind]
    if found is None:
        return  # somebody has deleted it in the meantime, or it was never made
    metadata = found["metadata"]
    if before is None:
        if live.owns(found):
            await cluster.delete(kind, metadata["namespace"], metadata["name"], metadata["uid"])
        return
    try:
        await cluster.update(kind, before, metadata["uid"])
    except ApiError as error:
        if error.status not in (404, 409):  # gone, or another one by now
            raise
