"""Schedules: the minimum of replicas at an instant, and when it changes next. Pure; instants come in as seconds since the epoch.

The rule is KEDA's, so that a schedule means the same on one machine and on Kubernetes: it is within its window while its next end
comes no later than its next start. With one start and one end it is what it looks like, also across midnight. Of several starts
before an end the last one counts, and of several ends before a start the last one too.

Times are those that the clock on the wall shows. A time that daylight saving skips does not come on that day; one that it repeats
comes twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from fleet.schedules.cron import HORIZON, Cron

__all__ = ["DAY", "Minimum", "Schedule", "last_before", "minimum_at", "next_after", "when"]

DAY: Final = 24 * 3600
FAR: Final = HORIZON * DAY
"""Seconds after which a change is of no interest."""
LOOKS: Final = 8
"""How many changes that change nothing are looked past: an end and a start at once, or windows of several schedules that overlap.
Beyond, the last of them is given, and it is right to look again then. So is the work bounded, whatever the expressions are."""


def next_after(cron: Cron, zone: tzinfo, after: float) -> int | None:
    """The first instant after `after` at which the wall clock of the zone shows a time of the expression."""
    low = math.floor(after) + 1
    limit = low + FAR
    while low < limit:
        offset = _offset(zone, low)
        high = low + DAY
        changes = _offset(zone, high) != offset
        if changes:
            high = _change(zone, low, high)
        wall = cron.next_wall(-((-low - offset) // 60))
        if wall is None:
            return None
        found = wall * 60 - offset
        if found < high:
            return found
        # Nothing is between: but a clock that is set back shows times before `low` again, so a change is never skipped.
        low = high if changes else max(high, found - DAY)
    return None


def last_before(cron: Cron, zone: tzinfo, before: float) -> int | None:
    """The last instant before `before` at which the wall clock of the zone shows a time of the expression."""
    high = math.ceil(before) - 1
    limit = high - FAR
    while high > limit:
        offset = _offset(zone, high)
        low = high - DAY
        changes = _offset(zone, low) != offset
        if changes:
            low = _change(zone, low, high)
        wall = cron.last_wall((high + offset) // 60)
        if wall is None:
            return None
        found = wall * 60 - offset
        if found >= low:
            return found
        high = low - 1 if changes else min(low - 1, found + DAY)
    return None


def _offset(zone: tzinfo, at: int) -> int:
    """Seconds by which the zone's wall clock is ahead of UTC."""
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _change(zone: tzinfo, low: int, high: int) -> int:
    """The first second with the offset of `high`. No zone changes its offset twice a day."""
    after = _offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(zone, middle) == after else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Schedule:
    """At least `replicas` from each start to the next end."""

    start: Cron
    end: Cron
    zone: tzinfo
    timezone: str
    """The name of the zone."""
    replicas: int

    def within(self, at: float) -> bool:
        """Whether an instant is in a window. The start belongs to it, the end does not."""
        start, end = self._next_start(at), self._next_end(at)
        return end is not None and (start is None or end <= start)

    def change(self, after: float) -> float | None:
        """When the window ends, or the next one begins; None if that is years away."""
        inside, at = self.within(after), after
        for _ in range(LOOKS):
            found = self._last_end(at) if inside else self._last_start(at)
            if found is None or found - after > FAR:
                return None
            if self.within(found) != inside:
                return found
            at = found  # an end and a start at once: the window goes on
        return at

    def _next_start(self, after: float) -> int | None:
        return next_after(self.start, self.zone, after)

    def _next_end(self, after: float) -> int | None:
        return next_after(self.end, self.zone, after)

    def _last_end(self, after: float) -> int | None:
        """Of the ends that come before the next start, or with it, the last one."""
        start = self._next_start(after)
        return self._next_end(after) if start is None else last_before(self.end, self.zone, start + 1)

    def _last_start(self, after: float) -> int | None:
        """Of the starts that come before the next end, the last one."""
        end = self._next_end(after)
        return None if end is None else last_before(self.start, self.zone, end)


@dataclass(frozen=True, slots=True)
class Minimum:
    """What schedules ask for at an instant."""

    replicas: int
    """The minimum; 0 outside of every window."""
    until: float | None
    """When the minimum changes next, as far as is known; None if that is years away."""
    then: int
    """The minimum from then on."""
    schedule: Schedule | None
    """The one that asks for the most: now, or, outside of every window, from `until` on."""


def minimum_at(schedules: Sequence[Schedule], now: float) -> Minimum:
    """What the schedules of an app ask for together: the most of those that are within their windows."""
    replicas, chosen = _most(schedules, lambda each: each.within(now))
    changes = {position: each.change(now) for position, each in enumerate(schedules)}
    at: float | None = None
    for _ in range(LOOKS):
        known = [change for change in changes.values() if change is not None and change - now <= FAR]
        if not known:
            break
        moment = at = min(known)
        then, following = _most(schedules, lambda each, moment=moment: each.within(moment))  # type: ignore[misc]
        if then != replicas:
            return Minimum(replicas, moment, then, chosen or following)
        changes |= {position: schedules[position].change(moment) for position, change in changes.items() if change == moment}
    return Minimum(replicas, at, replicas, chosen)


def _most(schedules: Sequence[Schedule], fits: Callable[[Schedule], bool]) -> tuple[int, Schedule | None]:
    chosen = max(filter(fits, schedules), key=lambda each: each.replicas, default=None)
    return (0, None) if chosen is None else (chosen.replicas, chosen)


def when(at: float, zone: tzinfo, now: float | None = None) -> str:
    """An instant as the zone's clock shows it: with the date, or, for readers at `now`, as short as it is clear."""
    moment = datetime.fromtimestamp(at, zone)
    if now is not None and moment.date() == datetime.fromtimestamp(now, zone).date():
        return f"{moment:%H:%M}"
    if now is not None and 0 <= at - now < 6 * DAY:
        return f"{moment:%a %H:%M}"
    return f"{moment:%Y-%m-%d %H:%M}"
