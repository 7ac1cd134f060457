"""Waits, for whoever listens, until what was asked for has come about: served by every interceptor, gone, awake, asleep.

Nothing depends on it: what is waited for comes about without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from controller.admin.objects import Json, Live
from controller.admin.sse import Progress
from controller.admin.views import replicas_of
from controller.resources import Resource
from controller.schema.common import Condition
from controller.status import CONFLICT, READY, SCALED_OBJECT_READY
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["ASK_SECONDS", "UNKNOWN", "WAIT_SECONDS", "Outcome", "until_gone", "until_scaled", "until_served"]

WAIT_SECONDS = 120.0
"""Seconds for which a call waits: several times what a fleet needs that works."""
LOOK_SECONDS = 0.1
"""Seconds between looks at what this process watches anyway."""
ASK_SECONDS = 1.0
"""Seconds between questions to the API server."""

UNKNOWN = {"outcome": "unknown"}
"""Nobody listens any more, or the controller ends."""

Outcome = Json


class _Seen(msgspec.Struct, frozen=True):
    """How far an application is."""

    served: bool
    reason: str
    message: str
    final: bool = False
    """Waiting does not help."""


async def until_served(find: Callable[[], Resource | None], live: Live, progress: Progress) -> Outcome:
    """`find` returns the HTTPScaledObject as it is watched; `live` is how the change has left it."""
    clock = asyncio.get_running_loop().time
    generation = int((live.owner or {})["metadata"].get("generation") or 0)
    last, until = None, clock() + WAIT_SECONDS
    while True:
        seen = _judged(find(), live.uid, generation)
        if seen.served:
            return {"outcome": "served"}
        if seen.final or clock() >= until:
            return {"outcome": "not-served", "reason": seen.reason, "message": seen.message}
        if seen != last:
            progress.tell("waiting until it is served", reason=seen.reason, message=seen.message)
        last = seen
        if not await progress.pause(LOOK_SECONDS):
            return UNKNOWN


async def until_gone(is_gone: Callable[[], Awaitable[bool]], progress: Progress) -> Outcome:
    """`is_gone` waits itself for a while."""
    clock = asyncio.get_running_loop().time
    until = clock() + WAIT_SECONDS
    progress.tell("waiting until nothing is left")
    while clock() < until:
        try:
            if await is_gone():
                return {"outcome": "deleted"}
        except ApiError as error:
            progress.tell("waiting until nothing is left", message=str(error))
        if not await progress.pause(ASK_SECONDS):
            return UNKNOWN
    return {"outcome": "deleting"}


async def until_scaled(read: Callable[[], Awaitable[Live]], progress: Progress, *, awake: bool) -> Outcome:
    """Until a replica is ready, or until none is wanted."""
    clock = asyncio.get_running_loop().time
    word, until = "awake" if awake else "asleep", clock() + WAIT_SECONDS
    last: tuple[int, int] | None = None
    while clock() < until:
        try:
            wanted, ready = replicas_of(await read())
        except ApiError as error:
            progress.tell(f"waiting until it is {word}", message=str(error))
            if not await progress.pause(ASK_SECONDS):
                return UNKNOWN
            continue
        if (wanted > 0 and ready > 0) if awake else (wanted == 0):
            return {"outcome": word}
        if (wanted, ready) != last:
            progress.tell(f"waiting until it is {word}", wanted=wanted, ready=ready)
        last = (wanted, ready)
        if not await progress.pause(ASK_SECONDS):
            return UNKNOWN
    return {"outcome": f"not-{word}"}


def _judged(resource: Resource | None, uid: str, generation: int) -> _Seen:
    if resource is None or resource.meta.uid != uid or resource.meta.generation < generation:
        return _Seen(served=False, reason="Pending", message="the controller has not seen the change yet")
    now = {kind: condition for kind, condition in resource.conditions.items() if condition.observed_generation >= generation}
    ready, scaled, conflict = (now.get(kind) for kind in (READY, SCALED_OBJECT_READY, CONFLICT))
    if conflict is not None and conflict.status == "True":
        return _Seen(served=False, reason=conflict.reason, message=conflict.message, final=True)
    if ready is None:
        return _Seen(served=False, reason="Pending", message="the controller has not said yet whether it is served")
    # Ready does not speak of scaling while the object is marked to have no ScaledObject, as it is during its creation.
    missing: Condition | None = next((one for one in (ready, scaled) if one is not None and one.status != "True"), None)
    if missing is not None:
        return _Seen(served=False, reason=missing.reason, message=missing.message, final=missing.reason == "Invalid")
    return _Seen(served=True, reason=ready.reason, message=ready.message)
