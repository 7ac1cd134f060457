"""Reports what is wrong with a user's ScaledObject as an Event on it. Its status belongs to KEDA and is not changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.events import EventRecorder, Notice
from controller.resources import Key
from controller.wiring import Scaler, Trouble, miswiring
from controller.world import World

__all__ = ["GRACE_SECONDS", "Adviser"]

GRACE_SECONDS = 2.0
"""Seconds before the first Event: objects that are applied together arrive one after the other."""
AGAIN_SECONDS = 1800.0
"""Seconds before an Event is repeated: Kubernetes deletes Events after an hour."""


class Adviser:
    """`later` requests another call for a ScaledObject after some seconds."""

    def __init__(self, world: World, scaler: Scaler, recorder: EventRecorder, *, later: Callable[[Key, float], None]) -> None:
        self._world = world
        self._scaler = scaler
        self._recorder = recorder
        self._later = later
        self._clock = asyncio.get_running_loop().time
        self._due: dict[Key, tuple[Trouble, float]] = {}
        """The problem of each ScaledObject, and when to report it."""

    def look(self, key: Key) -> None:
        """Check a ScaledObject after it, or an object that it names, has changed."""
        found = self._world.scaled_objects.get(key.app)
        trouble = None if found is None or found.meta.deleting else miswiring(found, self._scaler, self._world.trouble_of)
        if found is None or trouble is None:
            self._due.pop(key, None)
            return
        now = self._clock()
        before, due = self._due.get(key, (None, 0.0))
        if before != trouble:
            due = now + GRACE_SECONDS
        elif due <= now:
            self._recorder.tell(found, Notice(trouble.reason, trouble.message, warning=True))
            due = now + AGAIN_SECONDS
        self._due[key] = (trouble, due)
        self._later(key, due - now)
