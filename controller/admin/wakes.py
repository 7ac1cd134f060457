"""When applications last went from zero to a replica: by a watch of their Deployments.

What happened before this process began is in the status of the HTTPScaledObject, where the leading controller keeps it: one write
for a wake. What happened while none ran is known only as far as the API server still knows when KEDA last changed the number of
replicas (metadata.managedFields).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import time
from typing import Any

import msgspec

from controller.admin.objects import DEPLOYMENTS, MANAGED, MANAGED_BY
from controller.by_hand import stamp
from controller.resources import ObjectMeta
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing

__all__ = ["Wakes"]

KEDA = "keda"
"""KEDA's field manager. It changes the number of replicas only from and to zero; everything between is the HPA's."""


class _Deployment(msgspec.Struct, frozen=True):
    """How many replicas a Deployment should have, and since when, if KEDA has said so."""

    uid: str
    replicas: int
    since: str | None


class Wakes:
    """`namespaces` are those that are watched; empty for all. `on_wake` hears of each wake of "namespace/name". `wall` is the
    clock, in seconds since the epoch."""

    def __init__(
        self,
        api: Api,
        namespaces: Collection[str],
        timing: Timing,
        *,
        on_wake: Callable[[str], None] = lambda app: None,
        wall: Callable[[], float] = time,
    ) -> None:
        self._on_wake = on_wake
        self._wall = wall
        self._last: dict[str, str] = {}
        self._deployments = ListWatch(
            api, DEPLOYMENTS, _parse, namespaces=namespaces, labels=f"{MANAGED_BY}={MANAGED}", timing=timing
        )
        self._deployments.subscribe(self._on_change)

    def start(self) -> None:
        self._deployments.start()

    async def close(self) -> None:
        await self._deployments.close()

    def last(self, app: str) -> str | None:
        """The last wake of "namespace/name" that this process has seen."""
        return self._last.get(app)

    def _on_change(self, change: Change[_Deployment]) -> None:
        before, after = change.before, change.after
        if after is None:
            self._last.pop(change.key, None)
        elif before is None or before.uid != after.uid:
            self._last.pop(change.key, None)
            if after.replicas and after.since is not None:
                self._woke(change.key, after.since)
        elif after.replicas and not before.replicas:
            self._woke(change.key, after.since or stamp(self._wall()))

    def _woke(self, app: str, at: str) -> None:
        self._last[app] = at
        self._on_wake(app)


def _parse(data: bytes | msgspec.Raw) -> _Deployment:
    """Raises ValueError."""
    raw: dict[str, Any] = msgspec.json.decode(data)
    metadata = raw["metadata"]
    replicas = (raw.get("spec") or {}).get("replicas", 1)
    since = next((one.get("time") for one in metadata.get("managedFields") or () if _scaled_by_keda(one)), None)
    return _Deployment(msgspec.convert(metadata, ObjectMeta).uid, int(replicas), since)


def _scaled_by_keda(entry: dict[str, Any]) -> bool:
    fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
    return entry.get("manager") == KEDA and entry.get("subresource") == "scale" and "f:replicas" in fields
