"""Reads the objects of a Preview, and deletes that version of one which was looked at, and no other. Only while this controller
leads is anything written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import msgspec

from controller.preview.manifests import KINDS, Json
from fleet.discovery.kubernetes.client import Api, ApiError, Query, Stream
from fleet.discovery.kubernetes.objects import Resource as Path

__all__ = ["BACKGROUND", "CHANGED", "FOREGROUND", "JOBS", "MERGE", "WORKLOADS", "LeadersApi", "delete", "find", "listed", "read"]

WORKLOADS = {kind: Path("/apis/apps/v1", f"{kind.lower()}s") for kind in KINDS}
JOBS = Path("/apis/batch/v1", "jobs")
MERGE = "application/merge-patch+json"
BACKGROUND, FOREGROUND = "Background", "Foreground"
"""What belongs to an object is deleted after it, or before it: then it is there until nothing of that is left."""
CHANGED = 409
"""What was looked at is another by now."""


class LeadersApi(Api):
    """Requests of a controller that leads, as `leads` says: it writes nothing any more once another one does, which may have
    finished by now what it is in the middle of."""

    def __init__(self, api: Api, leads: Callable[[], bool]) -> None:
        super().__init__(_none)
        self._api, self._leads = api, leads

    async def get(self, path: str, query: Query = ()) -> bytes:
        return await self._api.get(path, query)

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        if method != "GET" and not self._leads():
            raise ApiError(f"{method} {path}: another controller leads by now")
        return await self._api.request(method, path, **options)

    @asynccontextmanager
    async def stream(self, path: str, query: Query, *, silence: float) -> AsyncIterator[Stream]:
        async with self._api.stream(path, query, silence=silence) as stream:
            yield stream


async def _none() -> NoReturn:
    raise AssertionError("requests are those of another Api")


class _Meta(msgspec.Struct):
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    items: tuple[msgspec.Raw, ...] = ()
    metadata: _Meta = msgspec.field(default_factory=_Meta)


async def listed(api: Api, path: str, limit: str, query: Iterable[tuple[str, str]] = ()) -> AsyncIterator[msgspec.Raw]:
    """All objects of a path, of which `limit` are in memory at once. Raises ApiError."""
    token = ""
    while True:
        asked = [*query, ("limit", limit), *([("continue", token)] if token else [])]
        page = msgspec.json.decode(await api.get(path, asked), type=_Page)
        for one in page.items:
            yield one
        if not (token := page.metadata.continue_):
            return


async def read(api: Api, path: str) -> bytes | None:
    """One object as it was sent; None if it is not there. Raises ApiError."""
    try:
        return await api.request("GET", path)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


async def find(api: Api, path: str) -> Json | None:
    """One object; None if it is not there. Raises ApiError."""
    data = await read(api, path)
    return None if data is None else msgspec.json.decode(data, type=dict[str, Any])


async def delete(api: Api, path: str, uid: str, version: str, policy: str = BACKGROUND) -> None:
    """Delete this version and no other. Raises ApiError: 409 when it has changed meanwhile; one that is gone is no error."""
    body = {"preconditions": {"uid": uid, "resourceVersion": version}, "propagationPolicy": policy}
    try:
        await api.request("DELETE", path, body=body)
    except ApiError as error:
        if error.status != 404:
            raise
