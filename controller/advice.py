"""Tells a ScaledObject's author what is wrong with it: an Event on the ScaledObject. Its status is KEDA's, and is not touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.events import EventRecorder, News
from controller.resources import Key
from controller.wiring import Scaler, Trouble, miswiring
from controller.world import World

__all__ = ["GRACE_SECONDS", "Adviser"]

GRACE_SECONDS = 2.0
"""Objects that are applied together come one after the other."""
AGAIN_SECONDS = 1800.0
"""An Event is forgotten after an hour; what is still wrong is told again before."""


class Adviser:
    """`later` asks for a ScaledObject again, after some seconds."""

    def __init__(self, world: World, scaler: Scaler, recorder: EventRecorder, *, later: Callable[[Key, float], None]) -> None:
        self._world = world
        self._scaler = scaler
        self._recorder = recorder
        self._later = later
        self._clock = asyncio.get_running_loop().time
        self._due: dict[Key, tuple[Trouble, float]] = {}
        """What is wrong with each, and when that is to be told."""

    def look(self, key: Key) -> None:
        """At a ScaledObject, after a change of it or of what it names."""
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
            self._recorder.tell(found, News(trouble.reason, trouble.message, warning=True))
            due = now + AGAIN_SECONDS
        self._due[key] = (trouble, due)
        self._later(key, due - now)
