"""Waits, for whoever listens, until a preview is served by every interceptor, until a replica is ready, or until nothing is left
of it. Nothing depends on it: what is waited for comes about without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from controller.admin.following import ASK_SECONDS, UNKNOWN, Outcome
from controller.admin.objects import Json
from controller.admin.previews.objects import HOPELESS, PREVIEWS_PATH, parsed
from controller.admin.sse import Progress
from controller.finding import Finding
from controller.preview.resource import Preview as Parsed
from controller.preview.resource import parse_preview
from controller.preview.telling import AFTER
from controller.status import READY
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Change, ListWatch

__all__ = ["MAX_WAIT_SECONDS", "Followed", "until_awake", "until_deleted", "until_made", "within"]

MAX_WAIT_SECONDS = 1800
"""Hooks of previews restore databases."""
NO_BASE_SECONDS = 10.0
"""Seconds for which a base may be missing: what has just been made is not seen at once."""
SEEN_SECONDS = 5.0
"""Seconds for a watch to begin, and to see the end of what is gone."""
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


class Followed:
    """What is seen of one Preview, to its end and beyond: its last status says what became of its hooks after, and is written
    just before it is gone."""

    def __init__(self, api: Api, namespace: str, name: str) -> None:
        self.uid = ""
        """Of the one that is meant, as soon as it is known."""
        self._last: Parsed | None = None
        self._gone = asyncio.Event()
        self._watch = ListWatch(api, PREVIEWS_PATH, parse_preview, namespaces=[namespace], fields=f"metadata.name={name}")
        self._watch.subscribe(self._on_change)

    async def __aenter__(self) -> Self:
        self._watch.start()
        with suppress(TimeoutError):  # it is deleted all the same
            async with asyncio.timeout(SEEN_SECONDS):
                await self._watch.synced.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._watch.close()

    def _on_change(self, change: Change[Parsed]) -> None:
        for one in (change.before, change.after):
            if one is not None and self.uid in ("", one.meta.uid):
                self._last = one
        if change.after is None or self.uid not in ("", change.after.meta.uid):
            self._gone.set()

    @property
    def ending(self) -> Finding | None:
        """How far its hooks after are."""
        return self._finding(READY) if self._finding(AFTER) is not None else None

    async def failure(self) -> Finding | None:
        """Of one that is gone: what has failed of its hooks after."""
        if self._last is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEEN_SECONDS):
                    await self._gone.wait()
        found = self._finding(AFTER)
        return found if found is not None and found.status == "False" else None

    def _finding(self, kind: str) -> Finding | None:
        found = None if self._last is None or self._last.meta.uid != self.uid else self._last.conditions.get(kind)
        return None if found is None else Finding(found.status, found.reason, found.message)


async def until_deleted(is_gone: Callable[[], Awaitable[bool]], last: Followed, progress: Progress, until: float) -> Outcome:
    """With a reason and a message if hooks after have failed, or have not ended."""
    clock, step = asyncio.get_running_loop().time, "waiting until nothing is left"
    progress.tell(step)
    said: Finding | None = None
    while True:
        try:
            if await is_gone():
                return {"outcome": "deleted", **_why(await last.failure())}
        except ApiError as error:
            progress.tell(step, message=str(error))
        if clock() >= until:
            return {"outcome": "deleting", **_why(last.ending)}
        if (seen := last.ending) is not None and seen != said:
            progress.tell(step, **_why(seen))
            said = seen
        if not await progress.pause(ASK_SECONDS):
            return UNKNOWN


def _why(finding: Finding | None) -> dict[str, str]:
    return {} if finding is None else {"reason": finding.reason, "message": finding.message}
