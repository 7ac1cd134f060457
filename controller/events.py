"""Kubernetes Events: what became of an object, told where its author looks. Told once, at the change; never required.

An event that cannot be written is dropped: the conditions say the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Protocol

import msgspec

from controller.crds import Kind
from controller.resources import Key, ObjectMeta, Resource
from controller.schema.common import Condition
from controller.schema.http_scaled_object import HTTPScaledObjectStatus
from controller.status import BACKEND_FOUND, BODIES_FOUND, CONFLICT, PROTOCOL_SPOKEN, REACHABLE, READY, SCALED_OBJECT_READY
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import Resource as Path
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["EventRecorder", "News", "news_of"]

EVENTS = Path("/api/v1", "events")
COMPONENT = "weir-controller"
MAX_WAITING = 1000
"""Events not written yet; more are dropped. An API server that is slow must not be made slower."""
REPEAT_SECONDS = 60.0
"""News of the same reason about the same object is told no more often, here and in the log; but that all is well again after
every warning that was told."""
MAX_REPEATS = 10_000
"""What is remembered for that."""
MAX_MESSAGE = 1024
"""Characters; the API server refuses longer ones."""

_WORTH = (CONFLICT, BACKEND_FOUND, BODIES_FOUND, SCALED_OBJECT_READY, REACHABLE, PROTOCOL_SPOKEN, READY)

_log = logging.getLogger(__name__)


class News(msgspec.Struct, frozen=True):
    """One event."""

    reason: str
    message: str
    warning: bool = False


def news_of(resource: Resource, status: HTTPScaledObjectStatus) -> Iterator[News]:
    """What a new status has to tell to somebody who knows the one before."""
    before = resource.conditions
    after = {condition.type: condition for condition in status.conditions}
    for kind in _WORTH:
        if kind == REACHABLE and after[BACKEND_FOUND].status == "False" and after[kind].reason == after[BACKEND_FOUND].reason:
            continue  # told already
        if kind in after and _is_other(before.get(kind), after[kind]):
            yield from _told(kind, before, after[kind])


def _is_other(before: Condition | None, after: Condition) -> bool:
    return before is None or (before.status, before.reason) != (after.status, after.reason)


def _told(kind: str, before: Mapping[str, Condition], after: Condition) -> Iterator[News]:
    good = "False" if kind == CONFLICT else "True"
    if after.status == good:
        # What is as it should be is news only after it was not; but that an object is ready always is.
        if kind == READY or (kind in before and before[kind].status not in (good, "Unknown")):
            yield News(after.reason, after.message)
    elif (after.status != "Unknown" and kind != READY) or (after.status == "False" and after.reason == "Invalid"):
        yield News(after.reason, after.message, warning=True)


class Told(Protocol):
    """An object that events are about."""

    @property
    def kind(self) -> Kind: ...
    @property
    def key(self) -> Key: ...
    @property
    def meta(self) -> ObjectMeta: ...


class EventRecorder:
    """Writes events one after the other, behind the work that they are about."""

    def __init__(self, api: Api, instance: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._api = api
        self._instance = instance
        self._waiting: asyncio.Queue[tuple[Told, News]] = asyncio.Queue(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._clock = clock
        self._told: dict[tuple[str, str, bool], float] = {}
        """When it was last told, by the object's uid, the reason, and whether it was a warning: both may have the same reason."""
        self.dropped = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._write(), name="events")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    def tell(self, resource: Told, news: News) -> None:
        """A warning is a line of the log, too."""
        if self._is_repeated(resource.meta.uid, news):
            return
        if news.warning:
            _log.warning("%s: %s: %s", resource.key, news.reason, news.message[:MAX_MESSAGE])
        try:
            self._waiting.put_nowait((resource, news))
        except asyncio.QueueFull:
            self.dropped += 1

    def _is_repeated(self, uid: str, news: News) -> bool:
        now, what, worry = self._clock(), (uid, news.reason, news.warning), (uid, "", True)
        due = self._told.get(what, -REPEAT_SECONDS) + REPEAT_SECONDS
        if now < due and (news.warning or worry not in self._told):
            return True
        self._remember(what, now)
        if news.warning:
            self._remember(worry, now)
        else:
            self._told.pop(worry, None)
        return False

    def _remember(self, what: tuple[str, str, bool], now: float) -> None:
        self._told.pop(what, None)  # to the end: the oldest is forgotten first
        self._told[what] = now
        if len(self._told) > MAX_REPEATS:
            del self._told[next(iter(self._told))]

    async def _write(self) -> None:
        while True:
            resource, news = await self._waiting.get()
            body = event(resource, news, instance=self._instance, now=_now())
            try:
                await self._api.request("POST", EVENTS.path(resource.meta.namespace), body=body)
            except ApiError as error:
                self.dropped += 1
                _log.debug("event not written: %s", error)


def event(resource: Told, news: News, *, instance: str, now: str) -> dict[str, Any]:
    """The Event to create."""
    meta = resource.meta
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta.name[:200].rstrip('-.')}.", "namespace": meta.namespace},
        "involvedObject": {
            "apiVersion": resource.kind.api_version,
            "kind": resource.kind.kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
        },
        "type": "Warning" if news.warning else "Normal",
        "reason": news.reason,
        "message": news.message[:MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:128],
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
