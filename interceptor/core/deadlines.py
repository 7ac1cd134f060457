"""Time limits without a timer per request: watched things stand in coarse buckets and are asked when theirs is reached.

Moving a limit later costs an assignment to `deadline` and nothing else; only an earlier one moves the thing to another bucket.
Pure: the caller brings the time.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

__all__ = ["HORIZON", "NEVER", "Deadlines", "Watched"]

NEVER = math.inf
HORIZON = 5.0
"""Seconds within which everything that is watched is looked at. A limit at least this far away needs no call of `watch`."""


class Watched(Protocol):
    """Something with a time limit."""

    deadline: float
    """When it is due, in the clock's seconds; NEVER without a limit."""
    bucket: int
    """Where it stands now; 0 when it is not watched. Owned by Deadlines."""

    def on_deadline(self, now: float) -> None:
        """`deadline` has passed."""


class Deadlines:
    """Buckets of `tick` seconds, from `now` on."""

    def __init__(self, tick: float, *, now: float) -> None:
        self.tick = tick
        self._buckets: dict[int, set[Watched]] = {}
        self._due: deque[int] = deque()
        """Buckets whose time has come, the oldest first."""
        self._swept = int(now / tick)
        self._horizon = int(HORIZON / tick)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def watch(self, thing: Watched) -> None:
        """Ask `thing` once its deadline has passed. To be called after setting an earlier deadline, or the first."""
        if thing.deadline == NEVER:
            return
        bucket = min(max(int(thing.deadline / self.tick), self._swept) + 1, self._swept + self._horizon)
        if thing.bucket:
            if thing.bucket <= bucket:
                return
            self.forget(thing)
        thing.bucket = bucket
        self._buckets.setdefault(bucket, set()).add(thing)

    def forget(self, thing: Watched) -> None:
        """Stop watching. Harmless for what is not watched."""
        if thing.bucket:
            things = self._buckets.get(thing.bucket)
            if things is not None:
                things.discard(thing)
                if not things:
                    del self._buckets[thing.bucket]
            thing.bucket = 0

    def sweep(self, now: float, *, most: float = math.inf) -> bool:
        """Ask what is due by `now`, `most` of those whose limit has passed. False when some are left for the next call."""
        reached = int(now / self.tick)
        if reached > self._swept:
            span = range(self._swept + 1, reached + 1)
            self._due.extend(span if len(span) <= len(self._buckets) else sorted(at for at in self._buckets if at in span))
            self._swept = reached
        while self._due:
            things = self._buckets.get(self._due[0])
            while things:
                if most <= 0:
                    return False
                thing = things.pop()
                thing.bucket = 0
                if thing.deadline <= now:
                    most -= 1
                    thing.on_deadline(now)
                if not thing.bucket:
                    self.watch(thing)
            self._buckets.pop(self._due.popleft(), None)
        return True
