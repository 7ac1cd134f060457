"""Kubernetes Events about changes of an object's conditions. Optional: written once per change.

An Event that cannot be written is dropped, because the conditions contain the same information.
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

__all__ = ["EventRecorder", "Notice", "notices_of"]

EVENTS = Path("/api/v1", "events")
COMPONENT = "weir-controller"
MAX_WAITING = 1000
"""Maximum number of Events waiting to be written; further ones are dropped, so that a slow API server is not loaded more."""
REPEAT_SECONDS = 60.0
"""Seconds before an Event with the same reason about the same object is written or logged again. A recovery is reported after
every reported warning."""
MAX_REPEATS = 10_000
"""Maximum number of remembered Events for that limit."""
MAX_MESSAGE = 1024
"""Characters; the API server refuses longer messages."""

_WORTH = (CONFLICT, BACKEND_FOUND, BODIES_FOUND, SCALED_OBJECT_READY, REACHABLE, PROTOCOL_SPOKEN, READY)

_log = logging.getLogger(__name__)


class Notice(msgspec.Struct, frozen=True):
    """The content of one Event."""

    reason: str
    message: str
    warning: bool = False


def notices_of(resource: Resource, status: HTTPScaledObjectStatus) -> Iterator[Notice]:
    """The Events for the difference between the resource's old status and a new one."""
    before = resource.conditions
    after = {condition.type: condition for condition in status.conditions}
    for kind in _WORTH:
        if kind == REACHABLE and after[BACKEND_FOUND].status == "False" and after[kind].reason == after[BACKEND_FOUND].reason:
            continue  # reported already
        if kind in after and _is_other(before.get(kind), after[kind]):
            yield from _notices(kind, before, after[kind])


def _is_other(before: Condition | None, after: Condition) -> bool:
    return before is None or (before.status, before.reason) != (after.status, after.reason)


def _notices(kind: str, before: Mapping[str, Condition], after: Condition) -> Iterator[Notice]:
    good = "False" if kind == CONFLICT else "True"
    if after.status == good:
        # A good status is reported only after a bad one, except for Ready, which is always reported.
        if kind == READY or (kind in before and before[kind].status not in (good, "Unknown")):
            yield Notice(after.reason, after.message)
    elif (after.status != "Unknown" and kind != READY) or (after.status == "False" and after.reason == "Invalid"):
        yield Notice(after.reason, after.message, warning=True)


class EventTarget(Protocol):
    """An object that Events can refer to."""

    @property
    def kind(self) -> Kind: ...
    @property
    def key(self) -> Key: ...
    @property
    def meta(self) -> ObjectMeta: ...


class EventRecorder:
    """Writes Events one after the other, in the background."""

    def __init__(self, api: Api, instance: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._api = api
        self._instance = instance
        self._waiting: asyncio.Queue[tuple[EventTarget, Notice]] = asyncio.Queue(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._clock = clock
        self._reported: dict[tuple[str, str, bool], float] = {}
        """When it was last reported, by the object's uid, the reason, and whether it was a warning: a warning and its recovery
        may have the same reason."""
        self.dropped = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._write(), name="events")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    def tell(self, resource: EventTarget, notice: Notice) -> None:
        """Queue an Event. A warning is logged, too."""
        if self._is_repeated(resource.meta.uid, notice):
            return
        if notice.warning:
            _log.warning("%s: %s: %s", resource.key, notice.reason, notice.message[:MAX_MESSAGE])
        try:
            self._waiting.put_nowait((resource, notice))
        except asyncio.QueueFull:
            self.dropped += 1

    def _is_repeated(self, uid: str, notice: Notice) -> bool:
        now, what, worry = self._clock(), (uid, notice.reason, notice.warning), (uid, "", True)
        due = self._reported.get(what, -REPEAT_SECONDS) + REPEAT_SECONDS
        if now < due and (notice.warning or worry not in self._reported):
            return True
        self._remember(what, now)
        if notice.warning:
            self._remember(worry, now)
        else:
            self._reported.pop(worry, None)
        return False

    def _remember(self, what: tuple[str, str, bool], now: float) -> None:
        self._reported.pop(what, None)  # move it to the end: the oldest is forgotten first
        self._reported[what] = now
        if len(self._reported) > MAX_REPEATS:
            del self._reported[next(iter(self._reported))]

    async def _write(self) -> None:
        while True:
            resource, notice = await self._waiting.get()
            body = event(resource, notice, instance=self._instance, now=_now())
            try:
                await self._api.request("POST", EVENTS.path(resource.meta.namespace), body=body)
            except ApiError as error:
                self.dropped += 1
                _log.debug("event not written: %s", error)


def event(resource: EventTarget, notice: Notice, *, instance: str, now: str) -> dict[str, Any]:
    """The Event object to create."""
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
        "type": "Warning" if notice.warning else "Normal",
        "reason": notice.reason,
        "message": notice.message[:MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:128],
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
