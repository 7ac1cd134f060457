"""A work queue: each key is processed by one worker at a time, however often it is added; failures are retried with backoff.

`controller.schedule` decides what is due; `WorkQueue` runs the workers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from controller.schedule import Schedule
from fleet.discovery.sources import SourceError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["WorkQueue"]

K = TypeVar("K", bound=Hashable)

_log = logging.getLogger(__name__)


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
