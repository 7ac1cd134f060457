"""When what a member told took place, in the time of whoever listens. Pure: ages and the time come in as arguments.

A total that grew says how much, never when; and news arrives late, by what networks and schedulers take, never early. So
each message carries its member's age, by the member's own clock: how long a stretch the growth took is a difference of
two ages, and where the stretch lies follows from the message that came with the least delay. With the times of arrival
instead, a heartbeat that comes 100 ms late would make the next one tell of a second in 900 ms, which is more demand
than there ever was.
"""

from __future__ import annotations

import msgspec

__all__ = ["News", "Timeline"]

_SLACK = 0.002
"""Seconds by which the least delay is forgotten in each second. Clocks of machines differ by less than half of that, and
one that was paused (a machine that moved to another host) is believed again within minutes."""


class News(msgspec.Struct, frozen=True, gc=False):
    """When one message was measured, and since when what it brings is new."""

    now: float
    """When it came."""
    at: float
    """When it was measured: now, less its delay."""
    age: float
    """When it was measured, by the member's clock."""
    since: float
    """When all was told before: nothing that this message brings happened earlier."""
    since_age: float
    late: bool
    """A later one came before it."""

    def share(self, begin: float, begin_age: float) -> float:
        """How much of a level that lasted from then to now finds room in our time: all of it, or less when what came
        before was placed too late."""
        length = self.age - begin_age
        return min(1.0, max(0.0, self.at - begin) / length) if length > 0.0 else 1.0


class Timeline:
    """The time of one member. What it places never overlaps what it placed before, and is never shorter than it was."""

    __slots__ = ("_age", "_delay", "_last", "_told", "_told_age")

    def __init__(self, now: float) -> None:
        self._age: float | None = None
        # The time at which the member's clock said zero, as far as we know: later by the least delay met so far.
        self._delay = 0.0
        self._last = now
        self._told, self._told_age = now, 0.0

    def restart(self) -> None:
        """The member is another process, with a clock that starts at zero. It began after the last word of the old one."""
        self._age = None
        self._told, self._told_age = self._last, 0.0

    def place(self, now: float, age: float | None, *, partial: bool) -> News:
        """A message came. `age` is None when the member's clock is ours and it was measured now. A partial one tells of
        some applications; what it does not name may have changed as well."""
        if age is None:
            age = now
            if self._age is None:
                self._told_age = self._told
        late = self._age is not None and age < self._age
        self._settle(now, age)
        at = self._delay + age
        news = News(now, at, age, self._told, self._told_age, late)
        if not late:
            self._age, self._last = age, at
            if not partial:
                self._told, self._told_age = at, age
        return news

    def _settle(self, now: float, age: float) -> None:
        if self._age is None:
            self._delay = now - age
            # Nothing happened before it began.
            self._told = max(self._told, self._delay)
        else:
            self._delay = min(now - age, self._delay + _SLACK * max(0.0, age - self._age))
