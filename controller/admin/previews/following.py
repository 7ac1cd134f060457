"""Waits, for whoever listens, until a preview is served by every interceptor, until a replica is ready, or until nothing is left
of it. Nothing depends on it: what is waited for comes about without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controller.admin.following import ASK_SECONDS, UNKNOWN, Outcome
from controller.admin.objects import Json
from controller.admin.previews.objects import HOPELESS, parsed
from controller.admin.sse import Progress
from controller.finding import Finding
from controller.status import READY
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["MAX_WAIT_SECONDS", "until_awake", "until_deleted", "until_made", "within"]

MAX_WAIT_SECONDS = 1800
"""Hooks of previews restore databases."""
NO_BASE_SECONDS = 10.0
"""Seconds for which a base may be missing: what has just been made is not seen at once."""
HINT_SECONDS = 3.0
"""Seconds between looks at why no replica is ready: each reads pods and their Service."""

Read = Callable[[], Awaitable[Json | None]]
_NOT_SEEN = Finding("Unknown", "Pending", "the controller has not seen it yet: does one run with WEIR_PREVIEWS?")
_GONE = Finding("False", "Deleted", "somebody has deleted it")


def within(seconds: float) -> float:
    """When a wait of so many seconds ends, by the clock of the event loop."""
    return asyncio.get_running_loop().time() + min(seconds, MAX_WAIT_SECONDS)


async def until_made(read: Read, uid: str, progress: Progress, until: float) -> Outcome | None:
    """None once it is served; otherwise why it is not."""
    clock = asyncio.get_running_loop().time
    last, began = None, clock()
    while True:
        try:
            seen = _judged(await read(), uid)
        except ApiError as error:
            seen = Finding("Unknown", "Unread", str(error))
        if seen.status == "True":
            return None
        hopeless = seen.reason in HOPELESS or seen is _GONE or (seen.reason == "NoBase" and clock() - began > NO_BASE_SECONDS)
        if hopeless or clock() >= until:
            return {"outcome": "not-served", "reason": seen.reason, "message": seen.message, "final": hopeless}
        if seen != last:
            progress.tell("waiting until it is served", reason=seen.reason, message=seen.message)
        last = seen
        if not await progress.pause(ASK_SECONDS):
            return UNKNOWN


def _judged(found: Json | None, uid: str) -> Finding:
    """What Ready says of the object as it is now."""
    if found is None or found["metadata"].get("uid") != uid:
        return _GONE
    preview = parsed(found)
    ready = preview.conditions.get(READY)
    if ready is None or ready.observed_generation < preview.meta.generation:
        return _NOT_SEEN
    return Finding(ready.status, ready.reason, ready.message)


async def until_awake(
    is_awake: Callable[[], Awaitable[bool]], look: Callable[[], Awaitable[Finding | None]], progress: Progress, until: float
) -> Outcome:
    """Until a replica is ready. `look` reads why none is; what cannot change by itself ends the wait."""
    clock = asyncio.get_running_loop().time
    last, found, looked = None, None, clock()
    while True:
        try:
            if await is_awake():
                return {"outcome": "awake"}
            if clock() - looked >= HINT_SECONDS or clock() >= until:
                found, looked = await look(), clock()
        except ApiError as error:
            found = Finding("Unknown", "Unread", str(error))
        reason, message = (found.reason, found.message) if found is not None else ("Starting", "no replica is ready yet")
        hopeless = found is not None and found.status == "False"
        if hopeless or clock() >= until:
            return {"outcome": "not-awake", "reason": reason, "message": message, "final": hopeless}
        if (reason, message) != last:
            progress.tell("waiting until a replica is ready", reason=reason, message=message)
        last = reason, message
        if not await progress.pause(ASK_SECONDS):
            return UNKNOWN


async def until_deleted(is_gone: Callable[[], Awaitable[bool]], progress: Progress, until: float) -> Outcome:
    clock = asyncio.get_running_loop().time
    progress.tell("waiting until nothing is left")
    while True:
        try:
            if await is_gone():
                return {"outcome": "deleted"}
        except ApiError as error:
            progress.tell("waiting until nothing is left", message=str(error))
        if clock() >= until:
            return {"outcome": "deleting"}
        if not await progress.pause(ASK_SECONDS):
            return UNKNOWN
