"""Which keys of a work queue are due, and when: one worker at a time for a key, and pauses after failures.

Pure, except for the jitter of pauses, whose source can be passed in; the clock is passed in.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["CHANGED_PAUSE_SECONDS", "FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "Schedule"]

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 60.0
"""Maximum seconds before a retry: the interval of a full re-list."""
CHANGED_PAUSE_SECONDS = 1.0
"""Maximum seconds before a retry after the key was added again, because a change may have fixed the failure."""

K = TypeVar("K", bound=Hashable)


class Schedule(Generic[K]):
    """Which keys are due, and when. A key that is added while it is processed is processed again afterwards."""

    def __init__(self, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0
        self._running: set[K] = set()
        self._again: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._not_before: dict[K, float] = {}

    def __len__(self) -> int:
        return len(self._due) + len(self._running)

    @property
    def failing(self) -> int:
        """Keys whose last attempt failed."""
        return len(self._failures)

    def add(self, key: K, due: float) -> None:
        """Schedule a key at `due` or earlier. After a failure, adding shortens the pause but does not end it, because the
        failed attempt itself may have caused the change."""
        due = max(due, self._not_before.get(key, due))
        if key in self._running:
            self._again[key] = min(due, self._again.get(key, due))
        elif due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, key))

    def take(self, now: float) -> K | None:
        """The key that has been due longest, now marked as processed; None when none is due."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self._running.add(key)
                return key
        return None

    def next_due(self) -> float | None:
        """When the next key is due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def done(self, key: K, now: float, *, failed: bool = False) -> None:
        """A worker has finished a key."""
        self._running.discard(key)
        again = self._again.pop(key, None)
        if failed:
            pause = self._pause(key)
            self._not_before[key] = now + min(pause, CHANGED_PAUSE_SECONDS)
            self.add(key, now + pause if again is None else min(again, now + pause))
            return
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        if again is not None:
            self.add(key, again)

    def _pause(self, key: K) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
        return longest * self._uniform(0.5, 1.0)
