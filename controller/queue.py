"""A work queue: each key is processed by one worker at a time, however often it is added; failures are retried with backoff.

`Schedule` makes the decisions (pure, the clock is passed in); `WorkQueue` runs the workers.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from fleet.discovery.sources import SourceError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["CHANGED_PAUSE_SECONDS", "FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "Schedule", "WorkQueue"]

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 60.0
"""Maximum seconds before a retry: the interval of a full re-list."""
CHANGED_PAUSE_SECONDS = 1.0
"""Maximum seconds before a retry after the key was added again, because a change may have fixed the failure."""

K = TypeVar("K", bound=Hashable)

_log = logging.getLogger(__name__)


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
            self.add(key, now + pause if again is None else again)
            return
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        if again is not None:
            self.add(key, again)

    def _pause(self, key: K) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
        return longest * self._uniform(0.5, 1.0)


class WorkQueue(Generic[K]):
    """Workers over a schedule. If `work` raises, the key is processed again after a pause."""

    def __init__(self, work: Callable[[K], Awaitable[None]], *, workers: int, name: str) -> None:
        self._work = work
        self._workers = workers
        self._name = name
        self._schedule: Schedule[K] = Schedule()
        self._clock = asyncio.get_running_loop().time
        self._tasks: list[asyncio.Task[None]] = []
        self._wakers: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._schedule)

    @property
    def failing(self) -> int:
        return self._schedule.failing

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(), name=f"{self._name}:{number}") for number in range(self._workers)]

    async def close(self) -> None:
        """Stop, cancelling running work; it is level-triggered, so it can be repeated."""
        tasks, self._tasks = self._tasks, []
        await cancel_and_wait(*tasks)

    def add(self, key: K, *, after: float = 0.0) -> None:
        """Add a key, to be processed after so many seconds."""
        self._schedule.add(key, self._clock() + after)
        self._wake()

    async def _run(self) -> None:
        while True:
            key = self._schedule.take(self._clock())
            if key is None:
                await self._sleep()
            else:
                await self._attempt(key)

    async def _attempt(self, key: K) -> None:
        failed = True
        try:
            await self._work(key)
            failed = False
        except Exception as error:  # noqa: BLE001 - one object's trouble, of whatever kind, stays its own
            _log.warning("%s: %s: %s", self._name, key, error, exc_info=not isinstance(error, SourceError))
        finally:
            self._schedule.done(key, self._clock(), failed=failed)
            self._wake()

    async def _sleep(self) -> None:
        due = self._schedule.next_due()
        waker = asyncio.get_running_loop().create_future()
        self._wakers.add(waker)
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await waker
        except TimeoutError:
            pass
        finally:
            self._wakers.discard(waker)

    def _wake(self) -> None:
        for waker in self._wakers:
            if not waker.done():
                waker.set_result(None)
                break
