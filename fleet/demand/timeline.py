"""When the counts of a message were measured, in the receiver's time. Pure: ages and the time come in as arguments.

A total that grew says how much, not when; and messages arrive late, by network and scheduling delays, never early. So each
message carries the age of its sender by the sender's clock: the length of the period in which the growth happened is a difference
of two ages, and its position follows from the message with the least delay so far. If arrival times were used, a heartbeat
delayed by 100 ms would make the next one report one second of growth within 900 ms, which is more demand than there was.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["MessageTime", "Timeline"]

_SLACK: Final = 0.002
"""Seconds per second by which the least delay may grow. Clocks of machines differ by less than half of that; and after a pause
of the sender (such as a live migration) the estimate recovers within minutes."""


class MessageTime(msgspec.Struct, frozen=True, gc=False):
    """When one message was measured, and the period in which its growth happened."""

    now: float
    """When it arrived."""
    at: float
    """When it was measured: the arrival time minus its delay."""
    age: float
    """When it was measured, by the member's clock."""
    since: float
    """Start of the period: everything that happened before was in an earlier message."""
    since_age: float
    late: bool
    """A message that was measured later has arrived before it."""

    def share(self, begin: float, begin_age: float) -> float:
        """How much of a level that has lasted since `begin` fits into our timeline: 1, or less if earlier growth was placed
        too late."""
        length = self.age - begin_age
        return min(1.0, max(0.0, self.at - begin) / length) if length > 0.0 else 1.0


class Timeline:
    """The timeline of one member. Periods never overlap, and are never shorter than they were at the member."""

    __slots__ = ("_age", "_covered", "_covered_age", "_delay", "_last")

    def __init__(self, now: float) -> None:
        self._age: float | None = None
        # Our time when the member's clock was at zero, estimated from the message with the least delay so far.
        self._delay = 0.0
        self._last = now
        self._covered, self._covered_age = now, 0.0

    def restart(self) -> None:
        """The member is a new process, whose clock starts at zero. It started after the last message of the old one."""
        self._age = None
        self._covered, self._covered_age = self._last, 0.0

    def place(self, now: float, age: float | None, *, partial: bool) -> MessageTime:
        """Place a message. `age` is None when the member's clock is ours and it was measured now. A partial message covers
        some applications; others may have changed as well."""
        if age is None:
            age = now
            if self._age is None:
                self._covered_age = self._covered
        late = self._age is not None and age < self._age
        self._settle(now, age)
        at = self._delay + age
        times = MessageTime(now, at, age, self._covered, self._covered_age, late)
        if not late:
            self._age, self._last = age, at
            if not partial:
                self._covered, self._covered_age = at, age
        return times

    def _settle(self, now: float, age: float) -> None:
        if self._age is None:
            self._delay = now - age
            # Nothing happened before the process started.
            self._covered = max(self._covered, self._delay)
        else:
            self._delay = min(now - age, self._delay + _SLACK * max(0.0, age - self._age))
