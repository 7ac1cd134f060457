"""Backoff for repeated writes: the controller writes a value less and less often if something else keeps changing it back. Pure;
the clock is passed in.

Without it, another controller or a policy that changes the same objects would make both write as fast as the API server allows.
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["FREE_WRITES", "LONGEST_PAUSE_SECONDS", "WriteBackoff"]

FREE_WRITES = 3
"""Writes of the same value without a pause: somebody may have edited the object by hand."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Maximum pause in seconds between two writes of the same value; pauses double."""
FORGET_SECONDS = 300.0
"""Seconds without a write after which counting starts again."""


class WriteBackoff:
    """For many objects; written values are compared by content. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._written: dict[Hashable, _Written] = {}

    def __len__(self) -> int:
        return len(self._written)

    def pause(self, key: Hashable, what: object, now: float) -> float:
        """Seconds to wait before this may be written; 0 for now."""
        last = self._written.get(key)
        if last is None or not last.is_of(what, now) or last.count < FREE_WRITES:
            return 0.0
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(last.count - FREE_WRITES, 16))
        return max(0.0, last.when + pause - now)

    def wrote(self, key: Hashable, what: object, now: float) -> bool:
        """Record a write. Returns whether the same value was written so often in a row that something else must be changing it
        back."""
        last = self._written.get(key)
        if last is None or not last.is_of(what, now):
            last = self._written[key] = _Written(what)
        last.count += last.was_there
        last.when, last.was_there = now, False
        return last.count > FREE_WRITES

    def settled(self, key: Hashable) -> None:
        """The last written value was seen in the object: if it has to be written again, something has changed it."""
        last = self._written.get(key)
        if last is not None:
            last.was_there = True

    def forget(self, key: Hashable) -> None:
        self._written.pop(key, None)


class _Written:
    """The last value written to one object, when, and how often in a row it was rewritten although it had been seen there."""

    __slots__ = ("count", "was_there", "what", "when")

    def __init__(self, what: object) -> None:
        self.what = what
        self.when = 0.0
        self.count = 0
        self.was_there = True

    def is_of(self, what: object, now: float) -> bool:
        return self.what == what and now < self.when + FORGET_SECONDS
