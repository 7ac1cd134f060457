"""Deletes copies in other namespaces whose Preview is gone. A part of a term.

A Preview is there until nothing of its copy is left, unless somebody takes its finalizers off, its author included, or a
controller that has been deposed still sends what it had begun. Nothing owns what is left then, and it could run for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS, PREVIEWS
from controller.preview.elsewhere import PAGE_OBJECTS, SECRETS
from controller.preview.manifests import FROM_LABEL, UID_LABEL
from controller.preview.objects import CHANGED, FOREGROUND, WORKLOADS, delete, listed
from controller.world import path_of
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import CONFIG_MAPS, SERVICES
from fleet.discovery.kubernetes.objects import Resource as Path
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Leftovers"]

ROUND_SECONDS = 600.0
"""Seconds between looks, each at all copies in other namespaces."""
MAX_FOUND = 100
"""Objects of a kind that one look deletes: they are in memory, and each may name another namespace."""
_PATHS = (path_of(HTTP_SCALED_OBJECTS), SERVICES, *WORKLOADS.values(), CONFIG_MAPS, SECRETS)
_NOT_PERMITTED = 403
"""Of Secrets, where none are copied."""

_log = logging.getLogger(__name__)


class _Head(msgspec.Struct):
    metadata: dict[str, Any]


class _Found(NamedTuple):
    """An object of a Preview that is not known."""

    path: Path
    metadata: dict[str, Any]
    uid: str
    source: str
    """The namespace of the Preview."""


class Leftovers:
    """`uids` returns those of all Previews, as far as known, when they have been read."""

    def __init__(self, api: Api, uids: Callable[[], Awaitable[Collection[str]]]) -> None:
        self._api = api
        self._uids = uids
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="previews:leftovers")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(ROUND_SECONDS)

    async def look(self) -> None:
        """Once."""
        uids = await self._uids()
        for path in _PATHS:
            try:
                for found in await self._gone(await self._unknown(path, uids)):
                    await self._delete(found)
            except (ApiError, ValueError) as error:
                known = isinstance(error, ApiError) and error.status == _NOT_PERMITTED and path == SECRETS
                _log.log(logging.DEBUG if known else logging.WARNING, "copies whose Preview is gone: %s", error)

    async def _unknown(self, path: Path, uids: Collection[str]) -> list[_Found]:
        """Raises ApiError and ValueError."""
        unknown: list[_Found] = []
        async for one in listed(self._api, path.path(), PAGE_OBJECTS, [("labelSelector", f"{UID_LABEL},{FROM_LABEL}")]):
            metadata = msgspec.json.decode(one, type=_Head).metadata
            uid, source = (str((metadata.get("labels") or {}).get(label, "")) for label in (UID_LABEL, FROM_LABEL))
            if uid not in uids and source not in ("", metadata["namespace"]) and "deletionTimestamp" not in metadata:
                unknown.append(_Found(path, metadata, uid, source))
                if len(unknown) == MAX_FOUND:
                    break
        return unknown

    async def _gone(self, unknown: list[_Found]) -> list[_Found]:
        """Those whose Preview is not there either by what the API server has now, after they were seen: it is there before they
        are. Raises ApiError and ValueError."""
        there = {source: await self._there(source) for source in dict.fromkeys(one.source for one in unknown)}
        return [one for one in unknown if one.uid not in there[one.source]]

    async def _there(self, namespace: str) -> set[str]:
        """The uids of its Previews."""
        path = path_of(PREVIEWS).path(namespace)
        return {
            str(msgspec.json.decode(one, type=_Head).metadata.get("uid", ""))
            async for one in listed(self._api, path, PAGE_OBJECTS)
        }

    async def _delete(self, found: _Found) -> None:
        namespace, name = found.metadata["namespace"], found.metadata["name"]
        _log.warning("%s %s/%s: its Preview in namespace %s is gone", found.path.plural, namespace, name, found.source)
        at, version = found.path.path(namespace, name), found.metadata["resourceVersion"]
        try:
            await delete(self._api, at, found.metadata["uid"], version, FOREGROUND)
        except ApiError as error:
            if error.status != CHANGED:  # it is looked at again
                raise
