"""Sliding windows: the mean growth of a counter per second. Pure: the time comes in as an argument.

A window keeps a ring of sums, one per bucket of `granularity` seconds, and adds them up at each reading, so there is no running
total that could drift. An increment that covers a period is spread evenly over it, and the oldest bucket counts in proportion to
the part still inside the window; so a constant rate reads as that rate at any moment.
"""

from __future__ import annotations

from array import array
from math import ceil
from typing import Final

__all__ = ["MAX_BUCKETS", "Window"]

MAX_BUCKETS: Final = 600
"""Maximum number of buckets: 10,000 applications with windows of this size take 100 MB. A finer granularity is made coarser."""
_MIN_SPAN: Final = 2.0
"""Minimum seconds for a mean: over a shorter time since the start it would be a guess."""


class Window:
    """Sums of the last `span` seconds. Increments may come in any order; those older than the window are ignored."""

    __slots__ = ("_head", "_ring", "granularity", "span")

    def __init__(self, span: float, granularity: float = 1.0) -> None:
        self.span = span
        self.granularity = max(min(granularity, span), span / MAX_BUCKETS)
        # One bucket more than fits, for the part of the oldest bucket that is still inside.
        self._ring = array("d", bytes(8 * (ceil(span / self.granularity) + 1)))
        self._head: int | None = None

    def add(self, amount: float, now: float, since: float | None = None) -> None:
        """A counter grew by `amount` between `since` (default: `now`) and `now`."""
        last = int(now // self.granularity)
        if last != self._head:
            self._advance(last)
        begun = last * self.granularity
        if since is None or since >= begun:
            self._put(last, amount)
        elif since >= begun - self.granularity:
            # Messages come about once per second, so an increment usually covers two buckets: handle that case fast.
            recent = amount * (now - begun) / (now - since)
            self._put(last, recent)
            self._put(last - 1, amount - recent)
        else:
            self._spread(amount, since, now)

    def mean(self, now: float, since: float = float("-inf")) -> float:
        """Growth per second over the window, or since `since` when that is later than the window's start."""
        return self.total(now) / min(self.span, max(now - since, _MIN_SPAN))

    def total(self, now: float) -> float:
        """Growth within the window."""
        if self._head is None:
            return 0.0
        self._advance(int(now // self.granularity))
        oldest = self._head - len(self._ring) + 1
        total = sum(self._ring)
        # If span is not a multiple of granularity, the window's edge may lie in the second oldest bucket.
        for index in (oldest, oldest + 1):
            inside = ((index + 1) * self.granularity - (now - self.span)) / self.granularity
            total -= self._ring[index % len(self._ring)] * (1.0 - min(1.0, max(0.0, inside)))
        return max(0.0, total)

    def resized(self, span: float, granularity: float) -> Window:
        """A window of another size with the same history, as far as both cover it."""
        other = Window(span, granularity)
        if self._head is not None:
            for index in range(self._head - len(self._ring) + 1, self._head + 1):
                start = index * self.granularity
                if amount := self._ring[index % len(self._ring)]:
                    other.add(amount, start + self.granularity, start)
        return other

    def _advance(self, index: int) -> None:
        """Clear buckets up to the index. A gap of any length costs at most one turn of the ring."""
        if self._head is None:
            self._head = index
        for empty in range(max(self._head + 1, index - len(self._ring) + 1), index + 1):
            self._ring[empty % len(self._ring)] = 0.0
        self._head = max(self._head, index)

    def _put(self, index: int, amount: float) -> None:
        if self._head is not None and index > self._head - len(self._ring):
            self._ring[index % len(self._ring)] += amount

    def _spread(self, amount: float, since: float, now: float) -> None:
        density = amount / (now - since)
        start = max(since, now - self.span - self.granularity)
        for index in range(int(start // self.granularity), int(now // self.granularity) + 1):
            begin = max(start, index * self.granularity)
            end = min(now, (index + 1) * self.granularity)
            if end > begin:
                self._put(index, density * (end - begin))
