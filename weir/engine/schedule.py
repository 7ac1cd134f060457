"""Follows the schedules of one app by the clock on the wall: one timer for each app that has any."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from fleet.schedules.windows import Minimum, Schedule, minimum_at, when

__all__ = ["ScheduleClock"]

LONGEST_LOOK = 30.0
"""Seconds after which a schedule is looked at again in any case: the clock may have been set, or the machine have slept."""


class ScheduleClock:
    """Tells `on_change` what the schedules ask for: when they are set, and at each change after that."""

    def __init__(self, on_change: Callable[[Minimum], None], *, wall: Callable[[], float] = time.time) -> None:
        """`wall` gives seconds since the epoch."""
        self._on_change, self._wall = on_change, wall
        self._schedules: Sequence[Schedule] = ()
        self._timer: asyncio.TimerHandle | None = None
        self.minimum = minimum_at((), 0.0)

    def follow(self, schedules: Sequence[Schedule]) -> None:
        """Set the schedules, in place of those before."""
        self._schedules = schedules
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def reason(self) -> str:
        """Why the app is awake, for people: "schedule until 18:00"; "" outside of every window."""
        minimum = self.minimum
        if not minimum.replicas or minimum.schedule is None:
            return ""
        if minimum.until is None:
            return "schedule"
        return f"schedule until {when(minimum.until, minimum.schedule.zone, self._wall())}"

    def _look(self) -> None:
        self.stop()
        now = self._wall()
        self.minimum = minimum = minimum_at(self._schedules, now)
        if self._schedules:
            left = LONGEST_LOOK if minimum.until is None else min(minimum.until - now, LONGEST_LOOK)
            self._timer = asyncio.get_running_loop().call_later(left, self._look)
        self._on_change(minimum)
