"""What is written again and again because something else changes it back: less and less often. Pure, with a clock handed in.

Another controller that looks after the same objects, or a policy that changes them, would otherwise be fought as fast as the
API server goes.
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["FREE_WRITES", "LONGEST_PAUSE_SECONDS", "Contest"]

FREE_WRITES = 3
"""Of the same, one after the other: somebody has tried something by hand."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Between two writes of the same, doubling."""
FORGET_SECONDS = 300.0
"""Without a write, after which it begins anew."""


class Contest:
    """Of many objects; what is written is compared by content. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._written: dict[Hashable, _Written] = {}

    def __len__(self) -> int:
        return len(self._written)

    def pause(self, key: Hashable, what: object, now: float) -> float:
        """Seconds before this may be written; 0 for now."""
        last = self._written.get(key)
        if last is None or not last.is_of(what, now) or last.count < FREE_WRITES:
            return 0.0
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(last.count - FREE_WRITES, 16))
        return max(0.0, last.when + pause - now)

    def wrote(self, key: Hashable, what: object, now: float) -> bool:
        """This was written. Whether it was, as often in a row, that something else must be changing it back."""
        last = self._written.get(key)
        if last is None or not last.is_of(what, now):
            last = self._written[key] = _Written(what)
        last.count += last.was_there
        last.when, last.was_there = now, False
        return last.count > FREE_WRITES

    def settled(self, key: Hashable) -> None:
        """What was written last is there: when it has to be written again, something has changed it."""
        last = self._written.get(key)
        if last is not None:
            last.was_there = True

    def forget(self, key: Hashable) -> None:
        self._written.pop(key, None)


class _Written:
    """What was written of one object last, when, and how often in a row it had to be although it was there."""

    __slots__ = ("count", "was_there", "what", "when")

    def __init__(self, what: object) -> None:
        self.what = what
        self.when = 0.0
        self.count = 0
        self.was_there = True

    def is_of(self, what: object, now: float) -> bool:
        return self.what == what and now < self.when + FORGET_SECONDS
