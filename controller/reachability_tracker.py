"""Which applications have waiting requests, when to look for the cause, and what was found. Reading and judging is done
elsewhere.

Only applications with waiting requests are looked at, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from controller.finding import Finding
from controller.queue import WorkQueue
from controller.reachability import Demand, Evidence, judge
from controller.reachability_evidence import Subject

__all__ = ["MAX_TRACKED", "Tracker"]

LOOK_AFTER_SECONDS = 3.0
"""Seconds before the first look; most applications are ready by then."""
FIRST_AGAIN_SECONDS = 5.0
LONGEST_AGAIN_SECONDS = 60.0
"""Maximum seconds between two looks at one application, doubling."""
REFRESH_SECONDS = 30.0
"""Minimum age in seconds of a message before only its numbers are updated, because each update writes a status."""
MAX_TRACKED = 500
"""Maximum number of tracked applications; others are tracked when one of these has recovered."""
MAX_LOOKS_AFTERWARDS = 20
"""Looks at an application without waiting requests; after that, the next request is awaited."""
LOOKS_AT_ONCE = 4


class _State:
    """The state of one application."""

    __slots__ = ("afterwards", "demand", "finding", "pause", "reported", "since", "subject", "timed_out")

    def __init__(self) -> None:
        self.demand = Demand()
        self.finding: Finding | None = None
        self.since = 0.0
        """When the finding was made."""
        self.subject: Subject | None = None
        self.pause = FIRST_AGAIN_SECONDS
        self.afterwards = 0
        self.timed_out = False
        self.reported = False
        """Whether anything was ever found: then the recovery is reported."""

    @property
    def over(self) -> bool:
        return self.demand.ready > 0


class Tracker:
    """`subject` describes an application, `look` reads, and `on_finding` is called with each application whose finding
    changes."""

    def __init__(
        self,
        *,
        subject: Callable[[str], Subject | None],
        look: Callable[[Subject], Awaitable[Evidence]],
        on_finding: Callable[[str], None],
    ) -> None:
        self._subject = subject
        self._look = look
        self._on_finding = on_finding
        self._clock = asyncio.get_running_loop().time
        self._states: dict[str, _State] = {}
        self._queue: WorkQueue[str] = WorkQueue(self._attend, workers=LOOKS_AT_ONCE, name="reachability")

    def __len__(self) -> int:
        return len(self._states)

    def start(self) -> None:
        self._queue.start()

    async def close(self) -> None:
        await self._queue.close()

    def finding(self, app: str) -> Finding | None:
        """The finding, if it is about the application in its current form."""
        state = self._states.get(app)
        if state is None or state.finding is None:
            return None
        if not state.over and state.subject is not None and state.subject != self._subject(app):
            state.finding = state.subject = None
            self._queue.add(app)
            return None
        return state.finding

    def observe(self, demands: Mapping[str, Demand]) -> None:
        """Process the current reports of the interceptors, by application."""
        for app, state in self._states.items():
            if app not in demands:
                state.demand = Demand()
        for app, demand in demands.items():
            if demand.ready:
                self._recovered(app, demand)
            elif demand.timed_out or max(demand.held_seconds, demand.unserved_seconds) >= LOOK_AFTER_SECONDS:
                self._in_trouble(app, demand)

    def adopt(self, app: str, finding: Finding) -> None:
        """Take over a finding of a previous leader. It is checked again."""
        if app not in self._states and len(self._states) < MAX_TRACKED:
            state = self._states[app] = _State()
            state.finding, state.subject, state.reported = finding, self._subject(app), True
            self._queue.add(app)

    def _recovered(self, app: str, demand: Demand) -> None:
        """Report the recovery once; forget the application after that was written."""
        state = self._states.get(app)
        if state is None or (state.finding is not None and state.finding.status == "True"):
            return
        state.demand = demand
        if not state.reported:
            del self._states[app]
            return
        state.finding, state.since, state.pause = judge(demand, Evidence()), self._clock(), FIRST_AGAIN_SECONDS
        self._queue.add(app, after=REFRESH_SECONDS)
        self._on_finding(app)

    def _in_trouble(self, app: str, demand: Demand) -> None:
        state = self._states.get(app)
        if state is None:
            if len(self._states) >= MAX_TRACKED:
                return
            state = self._states[app] = _State()
        news = not state.demand.wants
        state.demand, state.afterwards = demand, 0
        if news or bool(demand.timed_out) != state.timed_out:
            state.timed_out, state.pause = bool(demand.timed_out), FIRST_AGAIN_SECONDS
            self._queue.add(app)

    async def _attend(self, app: str) -> None:
        state, subject = self._states.get(app), self._subject(app)
        if state is None or subject is None:
            self._states.pop(app, None)
            return
        if state.over:
            self._forget(app, state)
            return
        evidence = await self._look(subject)
        if self._states.get(app) is not state:
            return
        state.subject = subject
        if state.demand.wants:
            self._found(app, state, judge(state.demand, evidence))
        elif evidence.service is not None and evidence.service.ready:
            self._recovered(app, Demand(ready=evidence.service.ready))
            return
        else:
            state.afterwards += 1
        if state.afterwards < MAX_LOOKS_AFTERWARDS:
            self._queue.add(app, after=state.pause)
            state.pause = min(LONGEST_AGAIN_SECONDS, state.pause * 2)

    def _forget(self, app: str, state: _State) -> None:
        """Drop an application that has recovered, but not because of a look that was planned before: its status would never
        tell of the recovery."""
        left = state.since + REFRESH_SECONDS - self._clock()
        if left > 0:
            self._queue.add(app, after=left)
        else:
            del self._states[app]

    def _found(self, app: str, state: _State, finding: Finding | None) -> None:
        now, before = self._clock(), state.finding
        if finding is None or finding == before:
            return
        same = before is not None and (before.status, before.reason) == (finding.status, finding.reason)
        if not same or now >= state.since + REFRESH_SECONDS:
            state.finding, state.since, state.reported = finding, now, True
            self._on_finding(app)
