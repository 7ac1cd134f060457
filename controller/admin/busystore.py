"""Writes the leases of applications into their ConfigMap, from which scalers read them. Any controller may write it.

Changes that arrive while one write is under way are written together by the next one, so many replicas that renew their leases
cost the API server one write at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import time

import msgspec

from controller.store import FIELD_MANAGER
from fleet.demand.busy import Leases, TooMany, changed, decode_leases, encode_leases
from fleet.discovery.busy import FIELD
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import CONFIG_MAPS
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["BusyStore", "Overloaded"]

MAX_WAITING = 500
"""Changes that wait for a write."""
WRITE_ATTEMPTS = 5
"""Writes of one batch: another controller may have written in between."""
WRITE_SECONDS = 5.0


class Overloaded(Exception):
    """Too many changes wait."""


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Map(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()
    data: dict[str, str] | None = None


class _Listed(msgspec.Struct, frozen=True):
    items: tuple[_Map, ...] = ()


class _Change(msgspec.Struct, frozen=True, eq=False):
    app: str
    holder: str
    until: float
    """Seconds since the epoch."""
    done: asyncio.Future[bool]


class BusyStore:
    """`wall` is the time in seconds since the epoch."""

    def __init__(self, api: Api, namespace: str, name: str, *, wall: Callable[[], float] = time) -> None:
        self._api = api
        self._namespace, self._name = namespace, name
        self._wall = wall
        self._waiting: list[_Change] = []
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def change(self, app: str, holder: str, until: float) -> bool:
        """Have a lease end at this time, or at once if it is past; returns whether the holder had none before. Raises TooMany,
        Overloaded and ApiError."""
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Change(app, holder, until, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(), name="busy leases")
        return await done

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                results = await self._write(batch)
            except BaseException as error:
                _fail([*batch, *self._waiting], error)
                self._waiting = []
                if not isinstance(error, ApiError):
                    raise
                return
            for one, result in zip(batch, results, strict=True):
                if one.done.done():
                    continue
                if isinstance(result, TooMany):
                    one.done.set_exception(result)
                else:
                    one.done.set_result(result)

    async def _write(self, batch: list[_Change]) -> list[bool | TooMany]:
        for attempt in range(WRITE_ATTEMPTS):
            found = await self._read()
            leases, results = self._after(_leases_of(found), batch)
            try:
                await self._store(found, leases)
            except ApiError as error:
                if error.status != 409 or attempt == WRITE_ATTEMPTS - 1:
                    raise
            else:
                break
        return results

    def _after(self, leases: Leases, batch: list[_Change]) -> tuple[Leases, list[bool | TooMany]]:
        now = self._wall()
        results: list[bool | TooMany] = []
        for one in batch:
            is_new = leases.get(one.app, {}).get(one.holder, now) <= now
            try:
                leases = changed(leases, one.app, one.holder, one.until, now)
            except TooMany as error:
                results.append(error)
            else:
                results.append(is_new)
        return leases, results

    async def _read(self) -> _Map | None:
        query = [("fieldSelector", f"metadata.name={self._name}")]
        answer = await self._api.get(CONFIG_MAPS.path(self._namespace), query)
        try:
            return next(iter(msgspec.json.decode(answer, type=_Listed).items), None)
        except ValueError as error:
            raise ApiError(f"configmap {self._namespace}/{self._name}: {error}") from error

    async def _store(self, found: _Map | None, leases: Leases) -> None:
        data = {FIELD: encode_leases(leases).decode()}
        query = [("fieldManager", FIELD_MANAGER)]
        if found is None:
            labels = {"app.kubernetes.io/part-of": "weir"}
            metadata = {"name": self._name, "namespace": self._namespace, "labels": labels}
            body: dict[str, object] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await self._api.request("POST", CONFIG_MAPS.path(self._namespace), query=query, body=body, seconds=WRITE_SECONDS)
            return
        body = {"metadata": {"resourceVersion": found.metadata.resource_version}, "data": data}
        await self._api.request(
            "PATCH",
            CONFIG_MAPS.path(self._namespace, self._name),
            query=query,
            body=body,
            content_type="application/merge-patch+json",
            seconds=WRITE_SECONDS,
        )


def _fail(changes: list[_Change], error: BaseException) -> None:
    for one in changes:
        if not one.done.done():
            one.done.set_exception(error if isinstance(error, ApiError) else ApiError("the leases could not be written"))


def _leases_of(found: _Map | None) -> Leases:
    """What somebody else has made unreadable is made anew: its leases end, and are renewed by the next calls."""
    try:
        return decode_leases((found.data or {}).get(FIELD, "{}")) if found is not None else {}
    except ValueError:
        return {}
