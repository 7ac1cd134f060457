"""When to compare each application's Service with its workload: when it is new or has changed, and repeatedly if the selectors
alone are not conclusive. Reading and judging is done elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controller.finding import Finding
from controller.queue import WorkQueue
from controller.reachability_evidence import Subject
from controller.selection import Selection, compare

__all__ = ["Survey"]

LOOKS_AT_ONCE = 2
SPACING_SECONDS = 0.02
"""Seconds after each comparison, because a controller that starts compares all applications."""
FIRST_AGAIN_SECONDS = 5.0
UNKNOWN_AGAIN_SECONDS = 1.0
"""Seconds before another comparison after a change of an application whose result is unknown."""
LONGEST_UNSURE_SECONDS = 30.0
"""Maximum seconds between comparisons when a Service selects pods of unknown owners; doubling."""
LONGEST_AGAIN_SECONDS = 600.0
"""Maximum seconds between other comparisons of differing selectors, because pods come and go; doubling."""


class _State:
    """The state of one application."""

    __slots__ = ("finding", "pause", "subject")

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.finding: Finding | None = None
        self.pause = FIRST_AGAIN_SECONDS


class Survey:
    """`subject` describes an application, `look` reads, and `on_finding` is called with each application whose finding
    changes."""

    def __init__(
        self,
        *,
        subject: Callable[[str], Subject | None],
        look: Callable[[Subject], Awaitable[Selection | None]],
        on_finding: Callable[[str], None],
    ) -> None:
        self._subject = subject
        self._look = look
        self._on_finding = on_finding
        self._states: dict[str, _State] = {}
        self._queue: WorkQueue[str] = WorkQueue(self._attend, workers=LOOKS_AT_ONCE, name="survey")

    def __len__(self) -> int:
        return len(self._states)

    def start(self) -> None:
        self._queue.start()

    async def close(self) -> None:
        await self._queue.close()

    def observe(self, app: str) -> None:
        """The application, or an object around it, may have changed."""
        subject, state = self._subject(app), self._states.get(app)
        if subject is None:
            self._states.pop(app, None)
        elif state is None or state.subject != subject:
            self._states[app] = _State(subject)
            self._queue.add(app)
        elif state.finding is None:
            self._queue.add(app, after=UNKNOWN_AGAIN_SECONDS)  # its workload may exist by now

    def finding(self, app: str) -> Finding | None:
        """The finding about the application in its current form; None while unknown."""
        state = self._states.get(app)
        return None if state is None or state.subject != self._subject(app) else state.finding

    async def _attend(self, app: str) -> None:
        state = self._states.get(app)
        if state is None:
            return
        found = await self._look(state.subject)
        finding = None if found is None else compare(found)
        await asyncio.sleep(SPACING_SECONDS)
        if self._states.get(app) is not state:
            self._queue.add(app)
            return
        if finding != state.finding:
            state.finding = finding
            self._on_finding(app)
        # An inconclusive comparison is repeated with growing pauses and given up at the limit, until there is a change: the
        # controller may lack permission to read the scale.
        if state.pause < LONGEST_AGAIN_SECONDS if found is None else found.selected is not None:
            self._queue.add(app, after=state.pause)
            unsure = finding is None and found is not None and bool(found.selected)
            state.pause = min(LONGEST_UNSURE_SECONDS if unsure else LONGEST_AGAIN_SECONDS, state.pause * 2)
