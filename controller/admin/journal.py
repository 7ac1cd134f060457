"""A journal of changes under way, one ConfigMap in Weir's own namespace for each: a lock on the name of an application, and what
brings its objects back.

Only Weir and the operators of its namespace can write there, so what is brought back is never what somebody else wrote for the
controller to make with its rights. Decides nothing about when an entry is dead; see controller.admin.recovery.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping

import msgspec

from controller.admin.cluster import REQUEST_SECONDS
from controller.admin.objects import Json
from controller.store import FIELD_MANAGER
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import CONFIG_MAPS

__all__ = ["Busy", "Entry", "Journal", "Record"]

LABEL = "weir.dev/admin-change"
PREFIX = "weir-admin"
BEAT = "weir.dev/beat"
"""Annotation that changes while a long change goes on, so that others see that somebody makes it."""
FIELD = "change"


class Record(msgspec.Struct, frozen=True):
    """A change of one application."""

    namespace: str
    name: str
    change: str
    """Its id, which is on the HTTPScaledObject while the change is under way."""
    holder: str
    """Name of the controller that makes it, and below which one of its processes."""
    incarnation: str
    user: str
    before: Mapping[str, Json | None]
    """By kind, the object as it was applied before; None for one that did not exist."""

    @property
    def app(self) -> str:
        return f"{self.namespace}/{self.name}"


class Entry(msgspec.Struct, frozen=True):
    """A record as it is stored."""

    record: Record
    name: str
    uid: str
    version: str


class Busy(Exception):
    """Another change of the application is under way."""

    def __init__(self, entry: Entry | None) -> None:
        super().__init__("another change is under way")
        self.entry = entry


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    uid: str = ""
    resource_version: str = ""


class _Stored(msgspec.Struct, frozen=True):
    metadata: _Meta
    data: dict[str, str] = {}


class _Listed(msgspec.Struct, frozen=True):
    items: tuple[_Stored, ...] = ()


class Journal:
    """`holder` is this controller's name, which no other running controller has. Another journal has another label, and another
    prefix of its ConfigMaps' names."""

    def __init__(self, api: Api, namespace: str, holder: str, *, label: str = LABEL, prefix: str = PREFIX) -> None:
        self._api = api
        self._namespace = namespace
        self._label = label
        self._prefix = prefix
        self.holder = holder
        self.incarnation = uuid.uuid4().hex
        self.active: set[str] = set()
        """Ids of the changes that this process is making."""

    def is_dead(self, record: Record) -> bool:
        """Whether nobody makes the change any more, as far as this process can know it at once."""
        if record.holder != self.holder:
            return False
        return record.incarnation != self.incarnation or record.change not in self.active

    async def begin(self, namespace: str, name: str, user: str, before: Mapping[str, Json | None]) -> Entry:
        """Write an entry. Raises Busy when there is one for this application, and ApiError."""
        change = uuid.uuid4().hex
        record = Record(namespace, name, change, self.holder, self.incarnation, user, before)
        self.active.add(change)
        try:
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": self._name(record.app),
                    "namespace": self._namespace,
                    "labels": {self._label: "true", "app.kubernetes.io/part-of": "weir"},
                },
                "data": {FIELD: msgspec.json.encode(record).decode()},
            }
            try:
                stored = await self._request("POST", CONFIG_MAPS.path(self._namespace), body)
            except ApiError as error:
                if error.status != 409:
                    raise
                raise Busy(await self._of(record.app)) from error
        except BaseException:
            self.active.discard(change)
            raise
        return _entry(msgspec.json.decode(stored, type=_Stored), record)

    async def entries(self) -> list[Entry]:
        """All entries. Raises ApiError."""
        return await self._list(("labelSelector", f"{self._label}=true"))

    async def take(self, entry: Entry) -> Entry:
        """Make another one's entry ours, unless somebody was faster. Raises ApiError, with status 409 then."""
        record = msgspec.structs.replace(entry.record, holder=self.holder, incarnation=self.incarnation)
        body = {
            "metadata": {"uid": entry.uid, "resourceVersion": entry.version},
            "data": {FIELD: msgspec.json.encode(record).decode()},
        }
        stored = await self._request("PATCH", self._path(entry), body, "application/merge-patch+json")
        return _entry(msgspec.json.decode(stored, type=_Stored), record)

    async def renew(self, entry: Entry) -> Entry:
        """Show others that the change goes on. Raises ApiError, with status 409 when another one has taken it."""
        annotations = {BEAT: uuid.uuid4().hex}
        body = {"metadata": {"uid": entry.uid, "resourceVersion": entry.version, "annotations": annotations}}
        stored = await self._request("PATCH", self._path(entry), body, "application/merge-patch+json")
        return _entry(msgspec.json.decode(stored, type=_Stored), entry.record)

    async def end(self, entry: Entry) -> None:
        """Remove an entry, unless it is another one by now. Raises ApiError."""
        try:
            await self._request("DELETE", self._path(entry), {"preconditions": {"uid": entry.uid}})
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def release(self, entry: Entry) -> None:
        """This process does not make the change any more, whatever became of it."""
        self.active.discard(entry.record.change)

    async def _of(self, app: str) -> Entry | None:
        return next(iter(await self._list(("fieldSelector", f"metadata.name={self._name(app)}"))), None)

    async def _list(self, selector: tuple[str, str]) -> list[Entry]:
        listed = await self._api.get(CONFIG_MAPS.path(self._namespace), [selector])
        found = []
        for stored in msgspec.json.decode(listed, type=_Listed).items:
            try:
                record = msgspec.json.decode(stored.data.get(FIELD, ""), type=Record)
            except ValueError:
                continue  # not one of ours, or of a version to come; it is not for us to act on
            if self._name(record.app) == stored.metadata.name:
                found.append(_entry(stored, record))
        return found

    def _name(self, app: str) -> str:
        """Names may be longer than a ConfigMap's name can hold of two of them."""
        return f"{self._prefix}-{hashlib.sha256(app.encode()).hexdigest()[:40]}"

    def _path(self, entry: Entry) -> str:
        return CONFIG_MAPS.path(self._namespace, entry.name)

    async def _request(self, method: str, path: str, body: Json, content_type: str = "application/json") -> bytes:
        query = [("fieldManager", FIELD_MANAGER)] if method != "DELETE" else []
        return await self._api.request(method, path, query=query, body=body, content_type=content_type, seconds=REQUEST_SECONDS)


def _entry(stored: _Stored, record: Record) -> Entry:
    return Entry(record, stored.metadata.name, stored.metadata.uid, stored.metadata.resource_version)
